//! Readings of the two clocks that count towards a deadline.
//!
//! `CLOCK_BOOTTIME` counts suspend but may be slewed (chrony: up to 8.3 %); `CLOCK_MONOTONIC_RAW` is never slewed but
//! stops in suspend. The kernel tells the time spent in suspend exactly, as `CLOCK_BOOTTIME` less `CLOCK_MONOTONIC`
//! (both are slewed alike), so the raw clock counts it, too. A deadline holds both and the earlier one wins. The core
//! never reads a clock: a [`Time`] comes in with every event.

use std::time::Duration;

/// Both clocks, read together; also used for a deadline on both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// `CLOCK_BOOTTIME`: since boot, suspend counted.
    pub boot: Duration,
    /// `CLOCK_MONOTONIC_RAW` and the time in suspend: since boot, never slewed.
    pub raw: Duration,
    /// How much of `raw` was spent in suspend: an observer does not count it.
    pub slept: Duration,
}

impl Time {
    /// How long ago `earlier` was, by whichever clock moved further: what a holder counts against itself.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.boot
            .saturating_sub(earlier.boot)
            .max(self.raw.saturating_sub(earlier.raw))
    }

    /// How long ago `earlier` was by the raw clock, awake: what an observer waits for, because suspend must not shorten
    /// it (its length is known only as well as the machine's battery clock keeps time).
    #[must_use]
    pub fn waited(self, earlier: Self) -> Duration {
        self.awake().saturating_sub(earlier.awake())
    }

    /// The raw clock without the time in suspend.
    #[must_use]
    pub fn awake(self) -> Duration {
        self.raw.saturating_sub(self.slept)
    }

    /// The deadline `by` after this reading, on both clocks.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self {
            boot: self.boot.saturating_add(by),
            raw: self.raw.saturating_add(by),
            slept: self.slept,
        }
    }

    /// The deadline `by` before this one, on both clocks; never before boot.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self {
            boot: self.boot.saturating_sub(by),
            raw: self.raw.saturating_sub(by),
            slept: self.slept,
        }
    }

    /// True once either clock stands at or past the deadline.
    #[must_use]
    pub fn reached(self, deadline: Self) -> bool {
        self.boot >= deadline.boot || self.raw >= deadline.raw
    }

    /// What is left until the deadline by the clock that reaches it first.
    #[must_use]
    pub fn until(self, deadline: Self) -> Duration {
        deadline
            .boot
            .saturating_sub(self.boot)
            .min(deadline.raw.saturating_sub(self.raw))
    }

    /// The later of two deadlines, clock by clock.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        Self {
            boot: self.boot.max(other.boot),
            raw: self.raw.max(other.raw),
            slept: self.slept,
        }
    }

    /// The earlier of two deadlines, clock by clock.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        Self {
            boot: self.boot.min(other.boot),
            raw: self.raw.min(other.raw),
            slept: self.slept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot_ms: u64, raw_ms: u64) -> Time {
        Time {
            boot: Duration::from_millis(boot_ms),
            raw: Duration::from_millis(raw_ms),
            slept: Duration::ZERO,
        }
    }

    fn asleep(ms: u64, then: Time) -> Time {
        let slept = Duration::from_millis(ms);
        Time { slept, ..then }
    }

    #[test]
    fn suspend_counts_against_a_holder_and_not_for_an_observer() {
        let (before, after) = (at(1000, 1000), asleep(7500, at(9000, 9000)));
        assert_eq!(after.since(before), Duration::from_secs(8));
        assert_eq!(after.waited(before), Duration::from_millis(500));
        // A deadline keeps what was slept before it was set.
        assert_eq!(after.plus(Duration::from_secs(1)).waited(after), Duration::from_secs(1));
    }

    #[test]
    fn suspend_counts_in_full_while_the_boot_clock_is_slewed_slow() {
        // 40 s awake at 92 % of the boot clock, and 20 s asleep.
        let (before, after) = (at(1000, 1000), asleep(20_000, at(57_800, 61_000)));
        assert_eq!(after.since(before), Duration::from_secs(60));
        assert!(after.reached(before.plus(Duration::from_secs(60))));
    }

    #[test]
    fn either_clock_ends_a_deadline() {
        let deadline = at(1000, 1000).plus(Duration::from_secs(1));
        assert!(!at(1999, 1999).reached(deadline));
        assert!(at(2000, 1200).reached(deadline));
        assert!(at(1200, 2000).reached(deadline));
        assert_eq!(at(1900, 1500).until(deadline), Duration::from_millis(100));
    }
}
