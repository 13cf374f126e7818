//! What this node holds, after a loss, a restart of the sidecar, or a record that says something else.

use super::Member;
use crate::epoch::Run;
use crate::event::Action;
use crate::group::{AfterStop, Meeting, StopMode};
use crate::node::Node;
use crate::protocol::records::Saved;
use crate::requests::refusal::Refusal;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

impl Node {
    /// LOST: whatever this incarnation held stops, is proved stopped, and is released by T8.
    pub(crate) fn lose(&mut self, now: Time, lease: i64, why: &str, out: &mut Vec<Action>) {
        self.say(Code::PlaceLost, text::membership::place_lost(why), out);
        self.membership.member = Member::Lost { lease };
        self.membership.holding_until = None;
        self.promises.drop_round();
        self.dismiss_requests(&Refusal::LostPlace, out);
        let adoptable = self.adoption.take_runs();
        let saved = Saved {
            boot: self.facts.me().boot.clone(),
            lease,
            groups: adoptable,
        };
        self.disown_all(now, &saved, why, out);
        for group in self.groups.values_mut() {
            group.lose_place(now, why, out);
        }
    }

    pub(super) fn disown_all(&mut self, now: Time, saved: &Saved, why: &str, out: &mut Vec<Action>) {
        for (name, run) in &saved.groups {
            if let Some(group) = self.groups.get_mut(name).filter(|group| !group.is_held()) {
                group.disown_lost(now, run, saved.lease, why, out);
            }
        }
    }

    /// The runs of an earlier sidecar whose records still name this incarnation.
    pub(super) fn adopt_runs(&mut self, now: Time, lease: i64, out: &mut Vec<Action>) {
        let adoptable = self.adoption.take_runs();
        for (name, saved) in adoptable {
            let keys = self.facts.view().group(&name);
            let ours = keys
                .active()
                .is_some_and(|record| record.incarnation == lease && record.epoch == saved.epoch);
            // One that cannot be read was this node's, and nobody could take it since.
            let ours = ours || keys.unreadable();
            // Its tether stops it at the deadline of its page, with no sidecar to latch it.
            let over = self.adoption.soft(&name).is_some_and(|soft| now.reached(soft));
            let me = &self.facts.me().name;
            let Some(group) = self.groups.get_mut(&name) else {
                continue;
            };
            let run = Run {
                epoch: saved.epoch,
                n: saved.n,
            };
            match self.membership.exchange.proof() {
                Some((stamp, promise)) if ours && !saved.latched && !over && group.is_as_the_file_says() => {
                    let deadlines = self.facts.timing().deadlines(stamp, promise, group.settings().grace);
                    group.adopt(now, run, lease, deadlines, out);
                }
                Some((stamp, promise)) if ours => {
                    let deadlines = self.facts.timing().deadlines(stamp, promise, group.settings().grace);
                    let sequel = group.sequel(run, saved.latched || over, me);
                    group.resume(now, run, lease, deadlines, self.adoption.pages(), sequel, out);
                }
                Some(_) | None => {
                    let why = text::stop::RECORD_LOST;
                    group.disown(now, run, lease, why, AfterStop::Forget, out);
                }
            }
        }
    }

    /// A record that does not say what we hold, or that we hold what we do not run.
    pub(super) fn compare_records(&mut self, now: Time, out: &mut Vec<Action>) {
        let Member::Joined { lease, .. } = self.membership.member else {
            return;
        };
        self.meet_unknown(lease);
        for (name, group) in &mut self.groups {
            let keys = self.facts.view().group(name);
            if keys.unreadable() {
                group.record_unreadable(&self.facts.keys().record(name), out);
                continue;
            }
            group.record_readable(out);
            let named = keys.active().filter(|record| record.incarnation == lease);
            match group.meets(lease, named) {
                Meeting::Agrees => {}
                // A campaign of ours landed, late or at once: never ignored.
                Meeting::Won(epoch) => {
                    if let Some((stamp, promise)) = self.membership.exchange.proof() {
                        let deadlines = self.facts.timing().deadlines(stamp, promise, group.settings().grace);
                        group.take_up(now, epoch, lease, deadlines, &self.facts.me().name, out);
                    }
                }
                Meeting::Over => group.lay_down(),
                Meeting::Taken => {
                    let text = text::stop::RECORD_TAKEN.to_owned();
                    group.stop(now, StopMode::Fence, AfterStop::Forget, text, Code::RecordTaken, out);
                }
            }
        }
    }
}
