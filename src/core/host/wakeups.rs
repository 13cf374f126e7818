//! How late the tethers of this host wake up, as they measure it themselves: a kill that comes late needs more time before the
//! end of the lease.

use std::time::Duration;

use crate::event::Action;
use crate::node::Node;
use crate::protocol::sizing::TIGHT;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// Later than this is late: a third of the shortest time that is kept for a kill.
const LATE: Duration = Duration::from_millis(50);

/// A host that was late is not trusted for so long.
const FORGIVEN: Duration = Duration::from_secs(600);

/// Each tether tells every 2 s. What was told longer ago says nothing of the runs of now.
const FRESH: Duration = Duration::from_secs(10);

/// What the tethers have told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wakeups {
    /// When any told anything last.
    told_at: Option<Time>,
    /// When the last one was late.
    late_at: Option<Time>,
}

impl Wakeups {
    fn hear(&mut self, now: Time, late: Duration) {
        self.told_at = Some(now);
        if late > LATE {
            self.late_at = Some(now);
        }
    }

    /// Whether all that was told lately was in time. Nothing told is not in time.
    fn are_prompt(&self, now: Time) -> bool {
        let fresh = self.told_at.is_some_and(|at| now.since(at) <= FRESH);
        fresh && self.late_at.is_none_or(|at| now.since(at) >= FORGIVEN)
    }
}

impl Node {
    /// A tether tells how late it woke up at the worst since it told that last.
    pub(crate) fn tether_woke(&mut self, now: Time, late: Duration, out: &mut Vec<Action>) {
        let before = self.facts.timing().kill_budget();
        self.host.wakeups.hear(now, late);
        self.heed_wakeups(now, out);
        let timing = self.facts.timing();
        if timing.kill_budget() > before && timing.ttl < TIGHT {
            let text = text::host::wakes_late(late, before, timing.kill_budget());
            self.mention(Code::TetherLate, text, out);
        }
    }

    /// Keeps as much time for a kill as what is known of the tethers asks for.
    pub(crate) fn heed_wakeups(&mut self, now: Time, out: &mut Vec<Action>) {
        let timing = *self.facts.timing();
        let prompt = self.host.wakeups.are_prompt(now);
        if prompt == timing.prompt {
            return;
        }
        self.facts.take_timing(timing.with_prompt(prompt));
        if prompt || timing.ttl >= TIGHT {
            return;
        }
        // Of the lease that runs too little was kept so far.
        if let Some((stamp, promise)) = self.membership.exchange().proof() {
            self.shorten(stamp, promise, out);
            self.shorten_adoptable(stamp, promise, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::default().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_host_is_prompt_when_it_was_told_to_be_and_not_late_for_ten_minutes() {
        let mut wakeups = Wakeups::default();
        assert!(!wakeups.are_prompt(at(1)), "nobody has told");
        wakeups.hear(at(1), Duration::from_millis(50));
        assert!(wakeups.are_prompt(at(1)));
        wakeups.hear(at(2), Duration::from_millis(51));
        wakeups.hear(at(4), Duration::ZERO);
        assert!(!wakeups.are_prompt(at(4)));
        wakeups.hear(at(601), Duration::ZERO);
        assert!(!wakeups.are_prompt(at(601)));
        assert!(wakeups.are_prompt(at(602)));
    }

    #[test]
    fn what_was_told_of_a_run_before_counts_for_no_other() {
        let mut wakeups = Wakeups::default();
        wakeups.hear(at(1), Duration::ZERO);
        assert!(wakeups.are_prompt(at(11)) && !wakeups.are_prompt(at(12)));
    }
}
