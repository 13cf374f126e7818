//! When this node may take what it does not hold, group by group, as of the last look; and what follows what it has stopped.

pub mod confirm;
pub(crate) mod election;
pub(crate) mod failback;
pub mod fencing;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::group::AfterStop;
use crate::protocol::ReleaseCause;
use crate::protocol::released::plain;
use crate::takeover::failback::Preferred;
use crate::takeover::fencing::{FenceSettings, Fences};
use crate::text;
use crate::time::Time;

/// What this node does about groups of others, and about those that others should have. It is changed by the files of this folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Takeover {
    /// The record's mod revision and when this node first saw it.
    first_seen: BTreeMap<String, (i64, Time)>,
    /// When this node may campaign, or why it does not.
    waits: BTreeMap<String, Wait>,
    /// The fence before it, and the nodes that are being fenced.
    fences: Fences,
    /// Who is preferred to this node for what it holds.
    preferred: Preferred,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wait {
    Until(Time),
    Because(String),
}

impl Takeover {
    /// `fence`: the one before an unclean take-over, where one is configured.
    pub(crate) fn new(fence: Option<FenceSettings>) -> Self {
        Self {
            fences: Fences::new(fence),
            ..Self::default()
        }
    }

    /// Since when this node knows the record at this revision.
    fn seen(&mut self, group: &str, revision: i64, now: Time) -> Time {
        match self.first_seen.get(group) {
            Some((known, at)) if *known == revision => *at,
            Some(_) | None => {
                self.first_seen.insert(group.to_owned(), (revision, now));
                now
            }
        }
    }

    /// Since when it knows the record, at whatever revision.
    fn first_seen(&self, group: &str) -> Option<Time> {
        self.first_seen.get(group).map(|(_, at)| *at)
    }

    fn wait_until(&mut self, group: &str, at: Time) {
        self.waits.insert(group.to_owned(), Wait::Until(at));
    }

    fn wait_because(&mut self, group: &str, why: String) {
        self.waits.insert(group.to_owned(), Wait::Because(why));
    }

    /// It is held here, or nobody's business here any more.
    pub(crate) fn end(&mut self, group: &str) {
        self.waits.remove(group);
    }

    /// Why this node does not take the group; empty where it only waits.
    pub(crate) fn why(&self, group: &str) -> &str {
        match self.waits.get(group) {
            Some(Wait::Because(why)) => why,
            Some(Wait::Until(_)) | None => "",
        }
    }

    /// When to look again.
    pub(crate) fn wakes(&self) -> impl Iterator<Item = Time> {
        self.waits.values().filter_map(|wait| match wait {
            Wait::Until(at) => Some(*at),
            Wait::Because(_) => None,
        })
    }
}

/// What follows a stop that is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sequel {
    /// It starts again in place, or waits for an operator: nothing is written.
    Stays,
    /// The record is no longer this node's.
    Over,
    /// T7: with the cause, the same for people, and who shall take it.
    Released(ReleaseCause, String, Option<String>),
    /// T6, with what the record says of it.
    StartsAgain(&'static str),
}

/// `other_ready`: somebody else could take it. `wanted`: of these the one that a switchover named, if its stop was cut short.
pub(crate) fn sequel(after: &AfterStop, other_ready: bool, wanted: Option<String>) -> Sequel {
    let released = |(cause, reason, successor)| Sequel::Released(cause, reason, successor);
    match after {
        AfterStop::Restart | AfterStop::Claimed => Sequel::Stays,
        AfterStop::Forget => Sequel::Over,
        AfterStop::Release {
            cause,
            reason,
            successor,
        } => Sequel::Released(*cause, reason.clone(), successor.clone()),
        AfterStop::RanOut | AfterStop::Lost if other_ready => released(plain(ReleaseCause::RanOut, None)),
        AfterStop::Interrupted if other_ready => released(plain(ReleaseCause::Interrupted, wanted)),
        AfterStop::RanOut | AfterStop::Lost => Sequel::StartsAgain(text::takeover::AGAIN_AFTER_LEASE),
        AfterStop::Interrupted => Sequel::StartsAgain(text::takeover::AGAIN_AFTER_STOP),
    }
}

/// What a node's turn to take a vacancy depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// From when anybody could take it.
    pub vacant_at: Time,
    /// When contact will have lasted for long enough; none before the first good read.
    pub contact_at: Option<Time>,
    /// What this node leaves to the others besides.
    pub later: Duration,
    /// From one rank to the next.
    pub step: Duration,
    /// 0 goes first.
    pub rank: u32,
}

impl Turn {
    /// When it comes. Ranks count from when everybody could: after a first start that is the contact, not the vacancy.
    pub(crate) fn at(self) -> Time {
        let after = self.contact_at.filter(|at| at.awake() > self.vacant_at.awake());
        let from = after.unwrap_or(self.vacant_at);
        from.plus(self.later + self.step * self.rank)
    }

    /// None: now. `contact`: it has lasted for long enough, without a gap until now.
    pub(crate) fn wait(self, now: Time, contact: bool) -> Option<TurnWait> {
        if !contact {
            return Some(self.contact_at.map_or(TurnWait::NoContact, TurnWait::Until));
        }
        let at = self.at();
        // An observer waits by its raw clock alone: suspend must not shorten the wait.
        (now.awake() < at.awake()).then_some(TurnWait::Until(at))
    }
}

/// What a node waits for whose turn has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnWait {
    Until(Time),
    NoContact,
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(300);

    fn turn(vacant: u64, contact: Option<u64>, rank: u32) -> Turn {
        Turn {
            vacant_at: at(vacant),
            contact_at: contact.map(at),
            later: Duration::ZERO,
            step: STEP,
            rank,
        }
    }

    #[test]
    fn a_turn_comes_rank_by_rank_from_when_everybody_could() {
        assert_eq!(turn(5, Some(3), 0).wait(at(5), true), None);
        assert_eq!(turn(5, Some(3), 2).at(), at(5).plus(STEP * 2));
        assert_eq!(turn(5, Some(8), 1).at(), at(8).plus(STEP), "contact came later");
        let early = turn(5, Some(3), 1).wait(at(5), true);
        assert_eq!(early, Some(TurnWait::Until(at(5).plus(STEP))));
        let later = Turn {
            later: Duration::from_secs(3),
            ..turn(5, None, 1)
        };
        assert_eq!(later.at(), at(8).plus(STEP));
    }

    #[test]
    fn without_contact_no_turn_comes() {
        assert_eq!(turn(5, None, 0).wait(at(9), false), Some(TurnWait::NoContact));
        assert_eq!(turn(5, Some(11), 0).wait(at(9), false), Some(TurnWait::Until(at(11))));
    }

    #[test]
    fn a_suspend_brings_no_turn_forward() {
        let mut woken = at(2);
        woken.boot = Duration::from_secs(60);
        assert_eq!(turn(5, Some(1), 0).wait(woken, true), Some(TurnWait::Until(at(5))));
    }

    #[test]
    fn what_ran_out_starts_again_where_nobody_else_is_ready_and_is_released_where_somebody_is() {
        for (after, cause, again) in [
            (
                AfterStop::RanOut,
                ReleaseCause::RanOut,
                "started again after its lease ran out",
            ),
            (
                AfterStop::Lost,
                ReleaseCause::RanOut,
                "started again after its lease ran out",
            ),
            (
                AfterStop::Interrupted,
                ReleaseCause::Interrupted,
                "started again after an interrupted stop",
            ),
        ] {
            assert_eq!(sequel(&after, false, None), Sequel::StartsAgain(again), "{after:?}");
            let released = sequel(&after, true, None);
            assert!(
                matches!(released, Sequel::Released(of, _, None) if of == cause),
                "{after:?}"
            );
        }
    }

    #[test]
    fn a_stop_that_was_cut_short_remembers_whom_a_switchover_named() {
        let named = || Some("b".to_owned());
        let to = |sequel| match sequel {
            Sequel::Released(_, _, to) => to,
            Sequel::Stays | Sequel::Over | Sequel::StartsAgain(_) => None,
        };
        assert_eq!(to(sequel(&AfterStop::Interrupted, true, named())), named());
        assert_eq!(to(sequel(&AfterStop::RanOut, true, named())), None);
    }

    #[test]
    fn an_order_is_followed_whoever_is_ready_and_a_restart_writes_nothing() {
        let after = AfterStop::Release {
            cause: ReleaseCause::Asked,
            reason: "asked".to_owned(),
            successor: Some("b".to_owned()),
        };
        let asked = Sequel::Released(ReleaseCause::Asked, "asked".to_owned(), Some("b".to_owned()));
        for other_ready in [false, true] {
            assert_eq!(sequel(&after, other_ready, None), asked);
            assert_eq!(sequel(&AfterStop::Forget, other_ready, None), Sequel::Over);
            assert_eq!(sequel(&AfterStop::Restart, other_ready, None), Sequel::Stays);
            assert_eq!(sequel(&AfterStop::Claimed, other_ready, None), Sequel::Stays);
        }
    }

    fn at(seconds: u64) -> Time {
        Time::default().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_record_is_known_since_it_was_first_seen_at_its_revision() {
        let mut takeover = Takeover::default();
        assert_eq!(takeover.seen("mail", 7, at(1)), at(1));
        assert_eq!(takeover.seen("mail", 7, at(5)), at(1));
        assert_eq!(takeover.seen("mail", 8, at(6)), at(6), "it has changed");
        assert_eq!(takeover.first_seen("mail"), Some(at(6)));
        assert_eq!(takeover.first_seen("web"), None);
    }

    #[test]
    fn a_wait_has_an_end_or_a_reason_and_only_an_end_wakes() {
        let mut takeover = Takeover::default();
        takeover.wait_because("mail", "no store".to_owned());
        assert_eq!((takeover.why("mail"), takeover.wakes().count()), ("no store", 0));
        takeover.wait_until("mail", at(3));
        assert_eq!((takeover.why("mail"), takeover.wakes().next()), ("", Some(at(3))));
        takeover.end("mail");
        assert_eq!(takeover.wakes().count(), 0);
    }
}
