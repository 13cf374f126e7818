//! How often lengths of time occurred, by their size: small, and as exact as advice needs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Upper end of the first bin.
const FIRST: Duration = Duration::from_micros(250);

/// Each bin ends 9 % above the one before.
const BINS_AN_OCTAVE: f64 = 8.0;

/// The last one has all that is longer than a minute.
pub const BINS: u16 = 145;

/// Counts by length.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    bins: BTreeMap<u16, u32>,
    longest_us: u64,
}

impl Spread {
    /// One more.
    pub fn add(&mut self, length: Duration) {
        let count = self.bins.entry(bin_of(length)).or_default();
        *count = count.saturating_add(1);
        self.longest_us = self.longest_us.max(micros(length));
    }

    /// It was none after all.
    pub fn take_back(&mut self, length: Duration) {
        let bin = bin_of(length);
        if let Some(count) = self.bins.get_mut(&bin) {
            *count = count.saturating_sub(1);
        }
        self.bins.retain(|_, count| *count > 0);
        // The longest is then known no better than its bin.
        let last = self.bins.last_key_value().map_or(0, |(bin, _)| micros(end_of(*bin)));
        self.longest_us = self.longest_us.min(last);
    }

    /// The other's are counted here, too.
    pub fn join(&mut self, other: &Self) {
        for (bin, count) in &other.bins {
            let own = self.bins.entry(*bin).or_default();
            *own = own.saturating_add(*count);
        }
        self.longest_us = self.longest_us.max(other.longest_us);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.bins.values().map(|count| u64::from(*count)).sum()
    }

    /// None without any.
    #[must_use]
    pub fn longest(&self) -> Option<Duration> {
        (!self.bins.is_empty()).then(|| Duration::from_micros(self.longest_us))
    }

    /// What such a share of them did not exceed, to 9 %; none without any.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = self.total() * share;
        let mut seen = 0.0;
        let bin = self.bins.iter().find(|(_, count)| {
            seen += f64::from(**count);
            seen >= wanted
        });
        bin.map(|(bin, _)| self.end(*bin))
    }

    /// Each one's weight, added up. A length is taken as 9 % too long rather than too short.
    #[must_use]
    pub fn sum(&self, weight: impl Fn(Duration) -> f64) -> f64 {
        let each = self.bins.iter();
        each.map(|(bin, count)| f64::from(*count) * weight(self.end(*bin)))
            .sum()
    }

    /// Whether it can be one: what comes from a file may be anything.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.bins.keys().all(|bin| *bin < BINS)
    }

    fn total(&self) -> f64 {
        self.bins.values().map(|count| f64::from(*count)).sum()
    }

    /// Nothing is longer than the longest.
    fn end(&self, bin: u16) -> Duration {
        let longest = Duration::from_micros(self.longest_us);
        if bin + 1 >= BINS {
            longest
        } else {
            end_of(bin).min(longest)
        }
    }
}

fn micros(length: Duration) -> u64 {
    u64::try_from(length.as_micros()).unwrap_or(u64::MAX)
}

fn bin_of(length: Duration) -> u16 {
    let octaves = (length.as_secs_f64() / FIRST.as_secs_f64()).max(1.0).log2();
    let bin = (octaves * BINS_AN_OCTAVE).ceil().min(f64::from(BINS - 1));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the number of bins"
    )]
    let bin = bin as u16;
    bin
}

fn end_of(bin: u16) -> Duration {
    FIRST.mul_f64((f64::from(bin) / BINS_AN_OCTAVE).exp2())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn of(lengths: impl IntoIterator<Item = u64>) -> Spread {
        let mut spread = Spread::default();
        lengths.into_iter().for_each(|length| spread.add(ms(length)));
        spread
    }

    #[test]
    fn quantiles_are_known_to_nine_in_a_hundred_and_never_too_short() {
        let spread = of(1..=1000);
        for (share, exact) in [(0.5, 500), (0.99, 990), (0.001, 1)] {
            let told = spread.quantile(share).unwrap();
            let most = ms(exact).mul_f64(1.091);
            assert!((ms(exact)..=most).contains(&told), "{share}: {told:?}");
        }
        assert_eq!(
            spread.quantile(1.0),
            Some(ms(1000)),
            "nothing is longer than the longest"
        );
        assert_eq!((spread.count(), spread.longest()), (1000, Some(ms(1000))));
        let none = Spread::default();
        assert_eq!((none.quantile(0.5), none.longest()), (None, None));
    }

    #[test]
    fn every_length_has_its_place() {
        for length in [0, 1, 60_000, 70_000, 3_600_000] {
            let spread = of([length]);
            assert!(spread.is_sound(), "{length} ms");
            assert_eq!(spread.longest(), Some(ms(length)));
            assert_eq!(spread.quantile(0.5), spread.longest(), "{length} ms");
        }
        assert!(
            !serde_json::from_str::<Spread>(r#"{"bins":{"145":1},"longest_us":1}"#)
                .unwrap()
                .is_sound()
        );
    }

    #[test]
    fn what_is_joined_counts_together_and_what_is_taken_back_not_at_all() {
        let mut spread = of([5, 500]);
        spread.join(&of([50]));
        assert!(spread.sum(|length| if length > ms(40) { 1.0 } else { 0.0 }) > 1.9);
        spread.take_back(ms(500));
        spread.take_back(ms(900));
        assert_eq!(spread.count(), 2);
        assert!((ms(50)..ms(55)).contains(&spread.longest().unwrap()), "{spread:?}");
    }
}
