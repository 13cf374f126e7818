//! What a group's record in etcd says of the run that is held here, and what follows.

use super::{AfterStop, Group, Stage};
use crate::epoch::Run;
use crate::event::{Action, Decision};
use crate::protocol::records::Record;
use crate::protocol::sizing::Deadlines;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// The record as read, beside what is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meeting {
    /// It says what is held, or nothing that would be this node's affair.
    Agrees,
    /// A campaign of this node has landed with this epoch, and nothing runs that would be in its way.
    Won(u64),
    /// What is stopped here is somebody else's by now, or nobody's.
    Over,
    /// It names somebody else, and here it still runs.
    Taken,
}

/// An active record of this node's own incarnation.
#[derive(Clone, Copy, Debug)]
struct Named {
    epoch: u64,
    stuck: bool,
}

/// What is held here.
#[derive(Clone, Copy, Debug)]
struct Here {
    epoch: u64,
    /// Under this incarnation, and not an earlier one.
    own: bool,
    stopped: bool,
    /// It stopped only to start again.
    restarts: bool,
}

fn meeting(named: Option<Named>, here: Option<Here>) -> Meeting {
    let own = here.filter(|here| here.own);
    match (named, own) {
        (Some(named), Some(own)) if named.epoch == own.epoch => Meeting::Agrees,
        // What is marked stuck starts nowhere.
        (Some(named), Some(_) | None) => {
            let free = here.is_none_or(|here| named.epoch > here.epoch && here.stopped);
            if free && !named.stuck {
                Meeting::Won(named.epoch)
            } else {
                Meeting::Agrees
            }
        }
        (None, Some(own)) if own.stopped && !own.restarts => Meeting::Over,
        (None, Some(_)) => Meeting::Taken,
        (None, None) => Meeting::Agrees,
    }
}

impl Group {
    /// `lease`: of this node's incarnation; `named`: the record, if it is active and names that.
    pub(crate) fn meets(&self, lease: i64, named: Option<&Record>) -> Meeting {
        let named = named.map(|record| Named {
            epoch: record.epoch,
            stuck: record.stuck.is_some(),
        });
        let here = self.held.as_ref().map(|held| Here {
            epoch: held.run.epoch,
            own: held.lease == lease,
            stopped: held.stage == Stage::Stopped,
            restarts: held.after == AfterStop::Restart,
        });
        meeting(named, here)
    }

    /// An epoch that this node has won: its first run begins, unless the file has the group no more.
    pub(crate) fn take_up(
        &mut self,
        now: Time,
        epoch: u64,
        lease: i64,
        deadlines: Deadlines,
        me: &str,
        out: &mut Vec<Action>,
    ) {
        let run = Run { epoch, n: 1 };
        match &mut self.held {
            _ if self.settings.gone => self.take_to_release(now, run, lease, deadlines, me),
            Some(before) => {
                before.deadlines = deadlines;
                self.again(now, run, out);
            }
            None => self.begin(now, epoch, lease, deadlines, out),
        }
    }

    /// Nobody can take the group from a record that cannot be read, so its holder goes on.
    pub(crate) fn record_unreadable(&mut self, key: &str, out: &mut Vec<Action>) {
        if self.held.is_some() {
            let text = text::damage::own_record(key);
            self.say(Code::RecordUnreadable, text, out);
        }
    }

    /// The record can be read: that is news after one that could not.
    pub(crate) fn record_readable(&mut self, out: &mut Vec<Action>) {
        let told = |last: &Decision| last.code == Code::RecordUnreadable;
        if self.held.is_some() && self.said.last().is_some_and(told) {
            self.say(Code::KeyMended, text::damage::RECORD_SOUND.to_owned(), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Here, Meeting, Named, meeting};

    const RUNS: Here = Here {
        epoch: 3,
        own: true,
        stopped: false,
        restarts: true,
    };
    const STOPPED: Here = Here {
        stopped: true,
        restarts: false,
        ..RUNS
    };

    fn named(epoch: u64) -> Option<Named> {
        Some(Named { epoch, stuck: false })
    }

    #[test]
    fn a_record_that_says_what_is_held_changes_nothing() {
        assert_eq!(meeting(named(3), Some(RUNS)), Meeting::Agrees);
        assert_eq!(meeting(named(3), Some(STOPPED)), Meeting::Agrees);
        assert_eq!(meeting(None, None), Meeting::Agrees);
    }

    #[test]
    fn a_campaign_that_landed_is_taken_up_once_nothing_is_in_its_way() {
        assert_eq!(meeting(named(4), None), Meeting::Won(4));
        assert_eq!(meeting(named(4), Some(STOPPED)), Meeting::Won(4));
        let of_before = Here { own: false, ..STOPPED };
        assert_eq!(meeting(named(4), Some(of_before)), Meeting::Won(4));
        assert_eq!(meeting(named(4), Some(RUNS)), Meeting::Agrees, "it still runs");
        assert_eq!(meeting(named(2), Some(STOPPED)), Meeting::Agrees, "an earlier epoch");
        let stuck = Some(Named { epoch: 4, stuck: true });
        assert_eq!(meeting(stuck, None), Meeting::Agrees, "it is marked stuck");
    }

    #[test]
    fn a_record_that_names_somebody_else_ends_what_is_held() {
        assert_eq!(meeting(None, Some(RUNS)), Meeting::Taken);
        assert_eq!(meeting(None, Some(STOPPED)), Meeting::Over);
        let restarts = Here {
            restarts: true,
            ..STOPPED
        };
        assert_eq!(meeting(None, Some(restarts)), Meeting::Taken, "it would start again");
        let of_before = Here { own: false, ..RUNS };
        assert_eq!(meeting(None, Some(of_before)), Meeting::Agrees, "T8 releases it");
    }
}
