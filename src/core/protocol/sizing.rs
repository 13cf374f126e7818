//! The sums that must hold before a node may take part (rules 1 and 9 of docs/protocol.md).

use std::time::Duration;

use crate::host::watchdog::COARSE;
use crate::text;
use crate::time::Time;

/// Time kept between the kill and the end of validity: signals, exits, a late wake-up.
pub const KILL_BUDGET: Duration = Duration::from_millis(500);

/// The longest promise that `leasehold hold` may make.
pub const HOLD_MAX: Duration = Duration::from_secs(300);

/// Every time that the election counts with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// What an ordinary beat promises: how long observers wait.
    pub ttl: Duration,
    /// The share of a promise that the holder does not trust, for clocks that drift.
    pub clock_margin: f64,
    /// From one beat to the next.
    pub beat: Duration,
    /// The deadline of one call to etcd.
    pub attempt: Duration,
    /// From the stop signal to the kill when the lease runs out.
    pub grace: Duration,
    /// The same where the file states it; else it is a tenth of the ttl.
    pub stated_grace: Option<Duration>,
    /// How long etcd may take to elect a leader.
    pub election_timeout: Duration,
    /// How long the hardware watchdog waits for its next feed, where this node has one.
    pub watchdog: Option<Duration>,
}

/// When a run must stop, be killed, and be unable to write: counted from the stamp of the last answered beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    pub soft: Time,
    pub hard: Time,
    pub end: Time,
}

impl Deadlines {
    /// The earlier of each, used before a shorter promise is sent.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        Self {
            soft: self.soft.earlier(other.soft),
            hard: self.hard.earlier(other.hard),
            end: self.end.earlier(other.end),
        }
    }

    /// The later of each, where two proofs stand side by side.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        Self {
            soft: self.soft.later(other.soft),
            hard: self.hard.later(other.hard),
            end: self.end.later(other.end),
        }
    }
}

/// Why a ttl is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooShort {
    pub ttl_ms: u128,
    pub sum: String,
    pub smallest_ms: u128,
}

impl Timing {
    /// Derives beat, attempt and grace from the ttl. `grace` overrides the last.
    #[must_use]
    pub fn new(ttl: Duration, clock_margin: f64, grace: Option<Duration>, election_timeout: Duration) -> Self {
        let tenth = ttl / 10;
        Self {
            ttl,
            clock_margin,
            beat: (ttl * 2 / 25).clamp(Duration::from_millis(200), Duration::from_secs(1)),
            attempt: tenth.clamp(Duration::from_millis(250), Duration::from_secs(1)),
            grace: grace.unwrap_or(tenth),
            stated_grace: grace,
            election_timeout,
            watchdog: None,
        }
    }

    /// The same with a hardware watchdog.
    #[must_use]
    pub fn with_watchdog(self, timeout: Option<Duration>) -> Self {
        Self {
            watchdog: timeout,
            ..self
        }
    }

    /// The same on this host with another ttl.
    #[must_use]
    pub fn with_ttl(self, ttl: Duration) -> Self {
        Self::new(ttl, self.clock_margin, self.stated_grace, self.election_timeout).with_watchdog(self.watchdog)
    }

    /// Time kept between the kill and the end of validity. A watchdog may strike a second before that end: whatever is
    /// killed in time must be proved stopped before it.
    #[must_use]
    pub fn kill_budget(&self) -> Duration {
        match self.watchdog {
            Some(_) => KILL_BUDGET + COARSE,
            None => KILL_BUDGET,
        }
    }

    /// The deadlines of a group, from a beat stamped `stamp` that promised `promise`. `grace`: what its file states.
    /// Nothing here counts on the ttl: a beat that was sent under a shorter one is good for what it promised.
    #[must_use]
    pub fn deadlines(&self, stamp: Time, promise: Duration, grace: Option<Duration>) -> Deadlines {
        let derived = || self.grace.min(promise / 10);
        let grace = grace.or(self.stated_grace).unwrap_or_else(derived);
        let end = stamp.plus(self.trusted(promise));
        let hard = end.minus(self.kill_budget());
        Deadlines {
            soft: hard.minus(grace),
            hard,
            end,
        }
    }

    /// What a holder counts on of a promise.
    #[must_use]
    pub fn trusted(&self, promise: Duration) -> Duration {
        promise.mul_f64(1.0 - self.clock_margin)
    }

    /// From a beat's stamp to the stop signal.
    #[must_use]
    pub fn soft_after(&self) -> Duration {
        self.trusted(self.ttl)
            .saturating_sub(self.kill_budget())
            .saturating_sub(self.grace)
    }

    /// The longest gap between two good reads that still counts as contact: an election after the crash of a host must
    /// fit in, with the two attempts that are lost on the endpoints of that host before it is noticed; a restore must not.
    #[must_use]
    pub fn contact_gap(&self) -> Duration {
        let crash = self.beat + self.attempt * 2 + self.election_timeout * 2;
        crash.max(self.election_timeout * 3).max(Duration::from_millis(1500))
    }

    /// The lowest lease TTL that etcd grants with this election timeout (whole seconds).
    #[must_use]
    pub fn floor(&self) -> Duration {
        Duration::from_secs(self.election_timeout.mul_f64(1.5).as_secs_f64().ceil() as u64)
    }

    /// The TTL of the node's lease in etcd. It only clears rubbish away; it outlives the longest hold, so that the beat
    /// which promised it can still be read by an observer that starts meanwhile.
    #[must_use]
    pub fn lease_ttl(&self) -> Duration {
        (self.ttl * 3)
            .max(self.floor() + Duration::from_secs(1))
            .max(HOLD_MAX + self.ttl)
    }

    /// Checks the sums.
    ///
    /// # Errors
    /// [`TooShort`] with the sum that fails and the smallest ttl that would do.
    pub fn check(&self) -> Result<(), TooShort> {
        let Err(sum) = self.sums() else { return Ok(()) };
        Err(TooShort {
            ttl_ms: self.ttl.as_millis(),
            sum,
            smallest_ms: self.smallest().map_or(0, |ttl| ttl.as_millis()),
        })
    }

    /// The smallest ttl that would do here, in steps of half a second.
    #[must_use]
    pub fn smallest(&self) -> Option<Duration> {
        let mut halves = (1..=600).map(|halves| Duration::from_millis(500) * halves);
        halves.find(|ttl| self.with_ttl(*ttl).sums().is_ok())
    }

    fn sums(&self) -> Result<(), String> {
        let soft = self.soft_after();
        let attempts = self.beat + self.attempt * 2;
        if attempts > soft {
            return Err(text::ttl::attempts_exceed(attempts, soft));
        }
        let election = self.beat + self.attempt + self.election_timeout * 3;
        if election > soft {
            return Err(text::ttl::election_exceeds(election, soft));
        }
        if let Some(watchdog) = self.watchdog {
            let valid = self.trusted(self.ttl);
            let fed = watchdog + COARSE + attempts;
            if fed > valid {
                return Err(text::ttl::watchdog_exceeds(watchdog, fed, valid));
            }
        }
        let floor = self.floor();
        if self.ttl <= floor {
            return Err(text::ttl::below_floor(floor));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(ttl_ms: u64, election_ms: u64) -> Timing {
        Timing::new(
            Duration::from_millis(ttl_ms),
            0.01,
            None,
            Duration::from_millis(election_ms),
        )
    }

    #[test]
    fn stock_etcd_takes_five_and_ten_seconds_and_says_what_it_would_take() {
        assert_eq!(timing(10_000, 1000).check(), Ok(()));
        assert_eq!(timing(5_000, 1000).check(), Ok(()));
        let refused = timing(4_000, 1000).check().unwrap_err();
        assert_eq!(refused.smallest_ms, 5_000);
        assert!(refused.to_string().contains("5000 ms"), "{refused}");
    }

    #[test]
    fn a_tuned_etcd_takes_three_seconds() {
        assert_eq!(timing(3_000, 500).check(), Ok(()));
        assert!(timing(2_500, 500).check().is_err());
    }

    #[test]
    fn each_sum_is_checked() {
        let mut two_attempts = timing(10_000, 100);
        two_attempts.attempt = Duration::from_secs(4);
        assert!(two_attempts.check().unwrap_err().sum.contains("2 attempts"));
        let mut floor = timing(10_000, 100);
        floor.ttl = Duration::from_millis(900);
        floor.beat = Duration::ZERO;
        floor.attempt = Duration::ZERO;
        floor.grace = Duration::ZERO;
        assert!(floor.sums().unwrap_err().contains("no lease below"));
    }

    #[test]
    fn a_watchdog_must_strike_before_the_end_and_leave_room_for_two_attempts() {
        let with = |ttl_ms, seconds| timing(ttl_ms, 500).with_watchdog(Some(Duration::from_secs(seconds)));
        assert_eq!(with(10_000, 6).check(), Ok(()));
        let refused = with(10_000, 7).check().unwrap_err();
        assert!(refused.sum.contains("watchdog's 7s"), "{refused}");
        assert_eq!(refused.smallest_ms, 11_000);
        // The kill comes a second earlier, so that a stop in the last moment is proved before it strikes.
        let (now, timing) = (Time::default(), with(10_000, 6));
        let deadlines = timing.deadlines(now, timing.ttl, None);
        assert_eq!(deadlines.end.boot, Duration::from_millis(9_900));
        assert_eq!(deadlines.hard.boot, Duration::from_millis(8_400));
    }

    #[test]
    fn deadlines_count_from_the_stamp_and_leave_room_for_the_kill() {
        let timing = timing(10_000, 1000);
        let stamp = Time::default().plus(Duration::from_secs(100));
        let deadlines = timing.deadlines(stamp, timing.ttl, None);
        assert_eq!(deadlines.end.boot, Duration::from_millis(109_900));
        assert_eq!(deadlines.hard.boot, Duration::from_millis(109_400));
        assert_eq!(deadlines.soft.boot, Duration::from_millis(108_400));
    }

    #[test]
    fn a_beat_of_an_earlier_ttl_is_good_for_what_it_promised() {
        let (stamp, old) = (Time::default(), Duration::from_secs(5));
        // Grown: the grace of sixty seconds would eat all of the five.
        let grown = timing(5_000, 1000).with_ttl(Duration::from_secs(60));
        let deadlines = grown.deadlines(stamp, old, None);
        assert_eq!(deadlines.end.boot, Duration::from_millis(4_950));
        assert_eq!(deadlines.soft.boot, Duration::from_millis(3_950));
        // A grace that the file states is kept through a change, whatever a tenth would be.
        let stated = Timing::new(old, 0.01, Some(old / 10), Duration::from_secs(1));
        assert_eq!(
            stated.with_ttl(Duration::from_secs(60)).grace,
            Duration::from_millis(500)
        );
    }
}
