//! The page: what the sidecar tells the tethers, in one small file of the host's tmpfs.
//!
//! Written by the sidecar alone, read by every tether tick. A checksum over the whole page detects a torn read; the
//! reader then keeps what it had and reads again at its next tick.

use std::time::Duration;

pub use crate::order::Order;

use crate::bounds::COUNTED_MAX;
use crate::epoch::Run;
use crate::time::Time;

/// Bytes of an encoded page.
pub const PAGE_BYTES: usize = 128;

/// The page of one protected container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The boot it was written in; a page of another boot is worth nothing.
    pub boot_id: [u8; 16],
    pub run: Run,
    pub order: Order,
    /// The stop signal is sent at or after this.
    pub soft: Time,
    /// Everything is killed at or after this.
    pub hard: Time,
    /// The [`mark`] of the store id that the service's tether must be told to find; 0: none, or a sidecar of an earlier
    /// version, which does not say.
    pub store: u64,
}

/// A store id in the few bytes that a page has for it; never 0.
#[must_use]
pub fn mark(store: &str) -> u64 {
    checksum(store.as_bytes()).max(1)
}

impl Page {
    /// Encodes the page: magic and version, fields in little endian, FNV-1a over all before it at the end.
    #[must_use]
    pub fn encode(&self) -> [u8; PAGE_BYTES] {
        let mut bytes = Vec::with_capacity(PAGE_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.boot_id);
        bytes.extend_from_slice(&self.run.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.run.n.to_le_bytes());
        bytes.extend_from_slice(&u32::from(code(self.order)).to_le_bytes());
        for deadline in [self.soft.boot, self.soft.raw, self.hard.boot, self.hard.raw] {
            bytes.extend_from_slice(&nanoseconds(deadline).to_le_bytes());
        }
        bytes.extend_from_slice(&self.store.to_le_bytes());
        bytes.resize(PAGE_BYTES - 8, 0);
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        let mut page = [0; PAGE_BYTES];
        page.copy_from_slice(&bytes);
        page
    }

    /// Decodes a page; `None` when it is torn, empty or of another version.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.get(..PAGE_BYTES)?.split_at(PAGE_BYTES - 8);
        if u64::from_le_bytes(sum.try_into().ok()?) != checksum(body) || !body.starts_with(MAGIC) {
            return None;
        }
        let word = |at: usize| Some(u64::from_le_bytes(body.get(at..at + 8)?.try_into().ok()?));
        let half = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
        let time = |at: usize| {
            Some(Time {
                boot: Duration::from_nanos(word(at)?),
                raw: Duration::from_nanos(word(at + 8)?),
                slept: Duration::ZERO,
            })
        };
        if word(24)? > COUNTED_MAX {
            return None;
        }
        Some(Self {
            boot_id: body.get(8..24)?.try_into().ok()?,
            run: Run {
                epoch: word(24)?,
                n: half(32)?,
            },
            order: order(half(36)?)?,
            soft: time(40)?,
            hard: time(56)?,
            // An earlier version wrote zeros here, and reads past whatever is there.
            store: word(72)?,
        })
    }
}

const MAGIC: &[u8; 8] = b"lhpage01";

fn code(order: Order) -> u8 {
    match order {
        Order::Closed => 0,
        Order::Open => 1,
        Order::Stop => 2,
        Order::Kill => 3,
    }
}

fn order(code: u32) -> Option<Order> {
    match code {
        0 => Some(Order::Closed),
        1 => Some(Order::Open),
        2 => Some(Order::Stop),
        3 => Some(Order::Kill),
        _ => None,
    }
}

fn nanoseconds(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX)
}

/// FNV-1a, over whatever must be noticed when it is torn.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let at = |boot, raw| Time {
            boot: Duration::from_millis(boot),
            raw: Duration::from_millis(raw),
            slept: Duration::ZERO,
        };
        Page {
            boot_id: [7; 16],
            run: Run { epoch: 3, n: 2 },
            order: Order::Stop,
            soft: at(1000, 900),
            hard: at(2000, 1900),
            store: mark("s1"),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for order in [Order::Closed, Order::Open, Order::Stop, Order::Kill] {
            let page = Page { order, ..page() };
            assert_eq!(Page::decode(&page.encode()), Some(page));
        }
    }

    /// As a sidecar of before this field wrote it, and a tether of before it reads it.
    #[test]
    fn a_page_without_a_store_asks_for_none() {
        let old = Page { store: 0, ..page() };
        let bytes = old.encode();
        assert!(bytes[72..PAGE_BYTES - 8].iter().all(|byte| *byte == 0));
        assert_eq!(Page::decode(&bytes), Some(old));
        assert_eq!(bytes[..72], page().encode()[..72]);
    }

    #[test]
    fn every_flipped_byte_is_noticed() {
        let whole = page().encode();
        for at in 0..PAGE_BYTES {
            let mut torn = whole;
            torn[at] ^= 0x40;
            assert_eq!(Page::decode(&torn), None, "byte {at}");
        }
        assert_eq!(Page::decode(&whole[..PAGE_BYTES - 1]), None);
        assert_eq!(Page::decode(&[0; PAGE_BYTES]), None);
    }
}
