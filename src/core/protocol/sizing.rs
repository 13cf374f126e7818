//! The sums that must hold before a node may take part (rules 1 and 9 of docs/protocol.md).

use std::time::Duration;

use crate::host::watchdog::COARSE;
use crate::text;
use crate::time::Time;

/// Time kept between the kill and the end of validity: signals, exits, a late wake-up.
pub const KILL_BUDGET: Duration = Duration::from_millis(500);

/// The least of it, where a short ttl leaves no more and the tethers of the host are known to wake up in time.
pub const KILL_BUDGET_LEAST: Duration = Duration::from_millis(150);

/// Below this ttl every sum scales with it, and only what safety needs has a floor.
pub const TIGHT: Duration = Duration::from_secs(3);

/// Below this promise the kernel, which counts in whole seconds, can't end an address with the lease.
const COARSE_ADDRESS: Duration = Duration::from_secs(2);

/// The longest promise that `leasehold hold` may make.
pub const HOLD_MAX: Duration = Duration::from_secs(300);

/// The shortest one, in ttls.
pub const HOLD_TTLS_MIN: u32 = 4;

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
    /// The tethers of this host wake up in time, as they measured it themselves.
    pub prompt: bool,
}

/// When a run must stop, be killed, and be unable to write: counted from the stamp of the last answered beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    pub soft: Time,
    pub hard: Time,
    pub end: Time,
    /// The promise is shorter than what the kernel can end an address with.
    pub coarse: bool,
}

impl Deadlines {
    /// What lies between the kill and the end. Of a run that an earlier sidecar left, the end is not known.
    #[must_use]
    pub fn budget(&self) -> Duration {
        match self.hard.until(self.end) {
            Duration::ZERO => KILL_BUDGET,
            kept => kept.min(KILL_BUDGET),
        }
    }

    /// The earlier of each, used before a shorter promise is sent.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        Self {
            soft: self.soft.earlier(other.soft),
            hard: self.hard.earlier(other.hard),
            end: self.end.earlier(other.end),
            coarse: self.coarse || other.coarse,
        }
    }

    /// The later of each, where two proofs stand side by side.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        Self {
            soft: self.soft.later(other.soft),
            hard: self.hard.later(other.hard),
            end: self.end.later(other.end),
            coarse: self.coarse && other.coarse,
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
        let ms = Duration::from_millis;
        let (beat, attempt, derived) = if ttl < TIGHT {
            ((ttl / 16).max(ms(50)), (ttl / 10).max(ms(80)), ttl / 20)
        } else {
            let second = Duration::from_secs(1);
            let beat = (ttl * 2 / 25).clamp(ms(200), second);
            (beat, (ttl / 10).clamp(ms(250), second), ttl / 10)
        };
        Self {
            ttl,
            clock_margin,
            beat,
            attempt,
            grace: grace.unwrap_or(derived),
            stated_grace: grace,
            election_timeout,
            watchdog: None,
            prompt: false,
        }
    }

    /// The same where the tethers were found to wake up in time, or not.
    #[must_use]
    pub fn with_prompt(self, prompt: bool) -> Self {
        Self { prompt, ..self }
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
        Self::new(ttl, self.clock_margin, self.stated_grace, self.election_timeout)
            .with_watchdog(self.watchdog)
            .with_prompt(self.prompt)
    }

    /// Time kept between the kill and the end of validity. A watchdog may strike a second before that end: whatever is
    /// killed in time must be proved stopped before it.
    #[must_use]
    pub fn kill_budget(&self) -> Duration {
        match self.watchdog {
            Some(_) => KILL_BUDGET + COARSE,
            None if self.prompt && self.ttl < TIGHT => (self.ttl * 3 / 20).max(KILL_BUDGET_LEAST),
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
            coarse: promise < COARSE_ADDRESS,
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

    /// In which share of all cases a time without answers ends in a stop: it begins somewhere between two beats.
    #[must_use]
    pub fn share_stopped(&self, silence: Duration) -> f64 {
        let (soft, beat) = (self.soft_after().as_secs_f64(), self.beat.as_secs_f64());
        ((silence.as_secs_f64() + beat - soft) / beat).clamp(0.0, 1.0)
    }

    /// The longest gap between two good reads that still counts as contact: an election after the crash of a host must
    /// fit in, with the two attempts that are lost on the endpoints of that host before it is noticed; a restore must not.
    #[must_use]
    pub fn contact_gap(&self) -> Duration {
        let crash = self.beat + self.attempt * 2 + self.election_timeout * 2;
        let least = if self.ttl < TIGHT { 1000 } else { 1500 };
        let elections = if self.ttl < TIGHT { 2 } else { 3 };
        crash
            .max(self.election_timeout * elections)
            .max(Duration::from_millis(least))
    }

    /// The shortest contact that counts: where the ttl is shorter than a gap, two good reads would be a ttl of contact.
    #[must_use]
    pub fn contact_least(&self) -> Duration {
        if self.ttl < TIGHT {
            self.contact_gap() * 2
        } else {
            Duration::ZERO
        }
    }

    /// The TTL of the node's lease in etcd. It only clears rubbish away; it outlives the longest hold, so that the beat
    /// which promised it can still be read by an observer that starts meanwhile. etcd grants none below one and a half of
    /// its election timeouts.
    #[must_use]
    pub fn lease_ttl(&self) -> Duration {
        (self.ttl * 3).max(self.election_timeout * 2).max(HOLD_MAX + self.ttl)
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
        let mut halves = (2..=600).map(|halves| Duration::from_millis(500) * halves);
        halves.find(|ttl| self.with_ttl(*ttl).sums().is_ok())
    }

    /// As they are where the tethers wake up in time: they can be measured only once they run, and what is late costs a needless
    /// stop and nothing else.
    fn sums(&self) -> Result<(), String> {
        let soft = self.with_prompt(true).soft_after();
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
    fn a_tuned_etcd_takes_three_seconds_or_less_by_its_election_timeout() {
        assert_eq!(timing(3_000, 500).check(), Ok(()));
        assert_eq!(timing(2_500, 500).check(), Ok(()));
        assert_eq!(timing(2_000, 500).check().unwrap_err().smallest_ms, 2_500);
        assert_eq!(timing(1_000, 200).check(), Ok(()));
        assert_eq!(timing(1_000, 500).check().unwrap_err().smallest_ms, 2_500);
    }

    #[test]
    fn below_three_seconds_the_sums_scale_and_floors_stay_where_safety_needs_them() {
        let ms = Duration::from_millis;
        let tight = timing(1_000, 200);
        assert_eq!((tight.attempt, tight.grace), (ms(100), ms(50)));
        assert_eq!(tight.beat, ms(1_000) / 16);
        // A restore must not fit into a gap, nor two good reads be a ttl of contact.
        assert_eq!((tight.contact_gap(), tight.contact_least()), (ms(1_000), ms(2_000)));
        assert_eq!(timing(5_000, 1_000).contact_least(), Duration::ZERO);
        assert!(timing(2_999, 500).contact_least() >= timing(2_999, 500).contact_gap() * 2);
        // No rule waits for etcd's lease.
        assert!(tight.lease_ttl() > ms(300_000));
    }

    #[test]
    fn a_short_kill_budget_wants_tethers_that_wake_up_in_time() {
        let ms = Duration::from_millis;
        for (ttl, short) in [(1_000, 150), (2_000, 300), (3_000, 500), (5_000, 500)] {
            let timing = timing(ttl, 200);
            assert_eq!(timing.kill_budget(), ms(500), "ttl {ttl}: nobody has told that they do");
            assert_eq!(timing.with_prompt(true).kill_budget(), ms(short), "ttl {ttl}");
            assert!(timing.with_prompt(true).with_ttl(ms(1_000)).prompt);
        }
        let watched = timing(2_900, 200).with_watchdog(Some(Duration::from_secs(1)));
        assert_eq!(watched.with_prompt(true).kill_budget(), ms(1_500));
        let (stamp, tight) = (Time::default(), timing(1_000, 200).with_prompt(true));
        let deadlines = tight.deadlines(stamp, tight.ttl, None);
        assert_eq!((deadlines.end.boot, deadlines.budget()), (ms(990), ms(150)));
        assert_eq!((deadlines.hard.boot, deadlines.soft.boot), (ms(840), ms(790)));
        assert!(deadlines.coarse);
        assert!(!tight.deadlines(stamp, ms(2_000), None).coarse);
    }

    #[test]
    fn a_time_without_answers_stops_a_service_by_when_it_begins_between_two_beats() {
        let (ms, tight) = (Duration::from_millis, timing(1_000, 200).with_prompt(true));
        // The stop is at 790 ms, the beat every 62.5 ms.
        for (silence, share) in [(0, 0.0), (727, 0.0), (759, 0.5), (790, 1.0), (9_000, 1.0)] {
            let told = tight.share_stopped(ms(silence));
            assert!((told - share).abs() < 0.02, "{silence} ms: {told}");
        }
    }

    #[test]
    fn each_sum_is_checked() {
        let mut two_attempts = timing(10_000, 100);
        two_attempts.attempt = Duration::from_secs(4);
        assert!(two_attempts.check().unwrap_err().sum.contains("2 attempts"));
        let election = timing(4_000, 1_000).check().unwrap_err();
        assert!(election.sum.contains("3 election timeouts"), "{}", election.sum);
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
