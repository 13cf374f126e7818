//! The beats of the last day of this node, minute by minute, in memory: for the pictures of the console.

use std::collections::VecDeque;
use std::time::Duration;

use leasehold_base::time::Time;

/// A day.
const MINUTES_MAX: usize = 1440;
const MINUTE_S: u64 = 60;

/// What became of the beats of a minute, or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beats {
    pub answered: u32,
    /// Without a good answer.
    pub failed: u32,
    /// The longest way of those that were answered, in milliseconds.
    pub slowest_ms: u32,
}

impl Beats {
    fn and(self, other: Self) -> Self {
        Self {
            answered: self.answered.saturating_add(other.answered),
            failed: self.failed.saturating_add(other.failed),
            slowest_ms: self.slowest_ms.max(other.slowest_ms),
        }
    }
}

/// The minutes that this sidecar has seen, a day of them at most.
#[derive(Clone, Debug, Default)]
pub struct Day {
    /// The number of the newest, since the host's boot.
    newest: u64,
    minutes: VecDeque<Beats>,
}

impl Day {
    /// A beat ended now. `took`: until its good answer; none: there was none.
    pub fn add(&mut self, now: Time, took: Option<Duration>) {
        self.begin_minutes(now);
        let beat = match took {
            Some(took) => Beats {
                answered: 1,
                failed: 0,
                slowest_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
            },
            None => Beats {
                failed: 1,
                ..Beats::default()
            },
        };
        if let Some(minute) = self.minutes.back_mut() {
            *minute = minute.and(beat);
        }
    }

    fn begin_minutes(&mut self, now: Time) {
        let number = now.boot.as_secs() / MINUTE_S;
        let gap = number.saturating_sub(self.newest);
        if self.minutes.is_empty() || gap >= MINUTES_MAX as u64 {
            self.minutes.clear();
            self.minutes.push_back(Beats::default());
            self.newest = number;
            return;
        }
        for _ in 0..gap {
            if self.minutes.len() == MINUTES_MAX {
                self.minutes.pop_front();
            }
            self.minutes.push_back(Beats::default());
        }
        self.newest = self.newest.max(number);
    }

    /// The last `count` parts of `length` minutes each, the oldest first; none: before this sidecar.
    #[must_use]
    pub fn parts(&self, now: Time, count: usize, length: usize) -> Vec<Option<Beats>> {
        let mut day = self.clone();
        if day.minutes.is_empty() {
            return vec![None; count];
        }
        day.begin_minutes(now);
        let seen: Vec<Beats> = day
            .minutes
            .iter()
            .rev()
            .copied()
            .take(count.saturating_mul(length))
            .collect();
        let mut parts: Vec<Option<Beats>> = seen
            .chunks(length.max(1))
            .map(|part| part.iter().copied().reduce(Beats::and))
            .collect();
        parts.resize(count, None);
        parts.reverse();
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::default().plus(Duration::from_secs(seconds))
    }

    fn answered(count: u32, slowest_ms: u32) -> Option<Beats> {
        Some(Beats {
            answered: count,
            failed: 0,
            slowest_ms,
        })
    }

    #[test]
    fn each_minute_has_its_beats_and_what_was_before_is_not_known() {
        let mut day = Day::default();
        assert_eq!(day.parts(at(0), 2, 1), [None, None]);
        day.add(at(600), Some(Duration::from_millis(7)));
        day.add(at(601), Some(Duration::from_millis(250)));
        day.add(at(790), None);
        let failed = Beats {
            failed: 1,
            ..Beats::default()
        };
        let (quiet, failed) = (Some(Beats::default()), Some(failed));
        assert_eq!(day.parts(at(800), 5, 1), [None, answered(2, 250), quiet, quiet, failed]);
        assert_eq!(day.parts(at(860), 2, 1), [failed, quiet], "nothing since");
        let both = day.parts(at(800), 2, 2);
        assert_eq!(both, [answered(2, 250), failed]);
    }

    #[test]
    fn it_never_holds_more_than_a_day() {
        let mut day = Day::default();
        for minute in 0..3000 {
            day.add(at(minute * 60), Some(Duration::from_millis(minute)));
        }
        assert_eq!(day.minutes.len(), MINUTES_MAX);
        assert_eq!(day.parts(at(2999 * 60), 1, 1), [answered(1, 2999)]);
        // A host that slept for a week.
        day.add(at(u64::from(u32::MAX)), None);
        assert_eq!(day.minutes.len(), 1);
    }
}
