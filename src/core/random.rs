//! Lease ids and nonces.

/// splitmix64: the seed comes from the operating system, so that no lease id is ever met twice.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A lease id: 63 random bits, never 0.
    pub(crate) fn lease(&mut self) -> i64 {
        i64::try_from(self.draw() >> 1).unwrap_or(1).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_positive_and_none_comes_twice() {
        let mut random = Random::new(1);
        let leases: std::collections::BTreeSet<i64> = (0..1000).map(|_| random.lease()).collect();
        assert!(leases.len() == 1000 && leases.iter().all(|lease| *lease > 0));
    }
}
