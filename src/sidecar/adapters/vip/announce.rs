//! When to announce: at once, again for some seconds, then now and then.

use std::time::Duration;

use leasehold_base::time::Time;

/// Offsets of the burst: caches that missed the first frame, ports that learn slowly, links that settle.
const BURST: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// Between announcements after the burst: heals a switch or a neighbour that forgot.
const PERIOD: Duration = Duration::from_secs(30);

/// The announcements of one group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    start: Time,
    /// How many of the burst went out.
    sent: usize,
    /// The next one.
    pub(super) due: Time,
}

impl Schedule {
    /// The full burst from now on.
    pub(super) fn burst(now: Time) -> Self {
        Self {
            start: now,
            sent: 0,
            due: now,
        }
    }

    /// Only the periodic ones.
    pub(super) fn periodic(now: Time) -> Self {
        Self {
            start: now,
            sent: BURST.len(),
            due: now.plus(PERIOD),
        }
    }

    /// Whether an announcement is due, and if so moves on to the next. What was missed in a long sleep is not made up.
    pub(super) fn step(&mut self, now: Time) -> bool {
        if !now.reached(self.due) {
            return false;
        }
        while now.reached(self.due) {
            self.sent = (self.sent + 1).min(BURST.len());
            self.due = match BURST.get(self.sent) {
                Some(offset) => self.start.plus(*offset),
                None => now.plus(PERIOD),
            };
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::default().plus(Duration::from_millis(ms))
    }

    #[test]
    fn burst_then_periodic() {
        let mut schedule = Schedule::burst(at(1000));
        let sent: Vec<u64> = (1000..70_000).filter(|ms| schedule.step(at(*ms))).collect();
        assert_eq!(sent, [1000, 1100, 1500, 2000, 3000, 6000, 36_000, 66_000]);
    }

    #[test]
    fn periodic_alone_starts_after_a_period() {
        let mut schedule = Schedule::periodic(at(0));
        let sent: Vec<u64> = (0..70_000).filter(|ms| schedule.step(at(*ms))).collect();
        assert_eq!(sent, [30_000, 60_000]);
    }

    #[test]
    fn a_long_sleep_is_answered_with_one_announcement() {
        let mut schedule = Schedule::burst(at(0));
        assert!(schedule.step(at(3_600_000)));
        assert!(!schedule.step(at(3_600_001)));
    }
}
