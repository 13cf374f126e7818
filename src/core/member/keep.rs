//! What this node holds, after a loss, a restart of the sidecar, or a record that says something else.

use super::Member;
use crate::code::Code;
use crate::epoch::Run;
use crate::event::{Action, Decision};
use crate::group::{After, Held, Stage, Way};
use crate::node::Node;
use crate::records::Saved;
use crate::refusal::Refusal;
use crate::time::Time;

impl Node {
    /// LOST: whatever this incarnation held stops, is proved stopped, and is released by T8.
    pub(crate) fn lose(&mut self, now: Time, lease: i64, why: &str, out: &mut Vec<Action>) {
        self.say(
            Code::PlaceLost,
            format!("this node lost its place in the cluster: {why}"),
            out,
        );
        self.member = Member::Lost { lease };
        self.holding_until = None;
        self.dismiss_wishes(&Refusal::LostPlace, out);
        let adoptable = self.adoption.take_runs();
        let saved = Saved {
            boot: self.me.boot.clone(),
            lease,
            groups: adoptable,
        };
        self.disown_all(now, &saved, why, out);
        for group in self.groups.values_mut() {
            let unasked = |held: &&Held| matches!(held.after, After::Restart | After::RanOut | After::Interrupted);
            if let Some(held) = group.held.as_ref().filter(unasked) {
                group.lost = Some(held.run.epoch);
            }
            let text = format!("this node lost its place in the cluster ({why}): stopping");
            group.stop(now, Way::Fence, After::Lost, text, Code::PlaceLost, out);
        }
    }

    pub(super) fn disown_all(&mut self, now: Time, saved: &Saved, why: &str, out: &mut Vec<Action>) {
        for (name, run) in &saved.groups {
            if let Some(group) = self.groups.get_mut(name).filter(|group| group.held.is_none()) {
                group.lost = (!run.latched).then_some(run.epoch);
                group.disown(
                    now,
                    Run {
                        epoch: run.epoch,
                        n: run.n,
                    },
                    saved.lease,
                    why,
                    out,
                );
            }
        }
    }

    /// The runs of an earlier sidecar whose records still name this incarnation.
    pub(super) fn adopt_runs(&mut self, now: Time, lease: i64, out: &mut Vec<Action>) {
        let adoptable = self.adoption.take_runs();
        for (name, saved) in adoptable {
            let keys = self.view.group(&name);
            let ours = keys
                .active()
                .is_some_and(|record| record.incarnation == lease && record.epoch == saved.epoch);
            // One that cannot be read was this node's, and nobody could take it since.
            let ours = ours || keys.unreadable();
            // Its tether stops it at the deadline of its page, with no sidecar to latch it.
            let over = self.adoption.soft(&name).is_some_and(|soft| now.reached(soft));
            let me = &self.me.name;
            let Some(group) = self.groups.get_mut(&name) else {
                continue;
            };
            let run = Run {
                epoch: saved.epoch,
                n: saved.n,
            };
            match self.exchange.proof() {
                Some((stamp, promise)) if ours && !saved.latched && !over && group.is_as_the_file_says() => {
                    let deadlines = self.timing.deadlines(stamp, promise, group.settings.grace);
                    group.adopt(now, run, lease, deadlines, out);
                }
                Some((stamp, promise)) if ours => {
                    let deadlines = self.timing.deadlines(stamp, promise, group.settings.grace);
                    let sequel = group.sequel(run, saved.latched || over, me);
                    group.resume(now, run, lease, deadlines, self.adoption.pages(), sequel, out);
                }
                Some(_) | None => {
                    group.disown(now, run, lease, "its record in etcd is no longer this node's", out);
                    if let Some(held) = &mut group.held {
                        held.after = After::Forget;
                    }
                }
            }
        }
    }

    /// A record that does not say what we hold, or that we hold what we do not run.
    pub(super) fn compare_records(&mut self, now: Time, out: &mut Vec<Action>) {
        let Member::Joined { lease, .. } = self.member else {
            return;
        };
        self.meet_unknown(lease);
        for (name, group) in &mut self.groups {
            let keys = self.view.group(name);
            if keys.unreadable() {
                // Nobody can take the group from a record that cannot be read, so its holder goes on.
                if group.held.is_some() {
                    let key = self.keys.record(name);
                    let text = format!("its record in etcd ({key}) can't be read: it goes on; put the record right");
                    group.say(Code::RecordUnreadable, text, out);
                }
                continue;
            }
            let told = |last: &Decision| last.code == Code::RecordUnreadable;
            if group.held.is_some() && group.said.last().is_some_and(told) {
                group.say(Code::KeyMended, "its record in etcd is sound again".to_owned(), out);
            }
            let ours = keys
                .active()
                .filter(|record| record.incarnation == lease)
                .map(|record| record.epoch);
            let held = group
                .held
                .as_ref()
                .filter(|held| held.lease == lease)
                .map(|held| held.run.epoch);
            match (ours, held) {
                (Some(epoch), Some(held)) if epoch == held => {}
                (Some(epoch), Some(_) | None)
                    if keys.active().is_none_or(|record| record.stuck.is_none())
                        && group
                            .held
                            .as_ref()
                            .is_none_or(|held| epoch > held.run.epoch && held.stage == Stage::Stopped) =>
                {
                    // A campaign of ours landed, late or at once: never ignored.
                    if let Some((stamp, promise)) = self.exchange.proof() {
                        let deadlines = self.timing.deadlines(stamp, promise, group.settings.grace);
                        match group.held.as_mut() {
                            _ if group.settings.gone => {
                                let run = Run { epoch, n: 1 };
                                group.take_to_release(now, run, lease, deadlines, &self.me.name);
                            }
                            Some(before) => {
                                before.deadlines = deadlines;
                                group.again(now, Run { epoch, n: 1 }, out);
                            }
                            None => group.begin(now, epoch, lease, deadlines, out),
                        }
                    }
                }
                (None, Some(_)) => {
                    let released = group
                        .held
                        .as_ref()
                        .is_some_and(|held| held.stage == Stage::Stopped && held.after != After::Restart);
                    if released {
                        group.held = None;
                    } else {
                        let text = "its record in etcd names somebody else: stopping".to_owned();
                        group.stop(now, Way::Fence, After::Forget, text, Code::RecordTaken, out);
                    }
                }
                (Some(_), Some(_) | None) | (None, None) => {}
            }
        }
    }
}
