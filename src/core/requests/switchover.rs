//! Switchovers, on the asker's side: an operator's request is written to etcd by whichever node was asked, the holder answers
//! it there, and its answer is the operator's. Of a withdrawal and a beginning one wins: each compares the request as written.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{Action, Done, IntentRef, Origin};
use crate::membership::{Purpose, WriteKind};
use crate::node::Node;
use crate::protocol::records::{GroupKeys, Intent};
use crate::requests::PendingIntent;
use crate::requests::apply::Comparing;
use crate::requests::refusal::Refusal;
use crate::snapshot::code::Code;
use crate::store::Txn;
use crate::text;
use crate::time::Time;

/// So long the asker waits for the holder's answer: with the time that the request may wait to be written, less than the
/// caller waits for its reply.
const ANSWER_PATIENCE: Duration = Duration::from_secs(4);
/// Requests that wait for an answer.
const ASKED_MAX: usize = 16;

/// What became of operators' requests to move a group or to start it again.
#[derive(Clone, Debug, Default)]
pub(super) struct Intents {
    /// Written here, and not answered yet.
    pub(super) asked: Vec<PendingMove>,
    /// By group: the mod revision of its refused request, and when this node first saw it.
    pub(super) refused: BTreeMap<String, (i64, Time)>,
    /// By group: the mod revision of the last request that its holder has taken up, or refused.
    pub(super) handled: BTreeMap<String, i64>,
    /// Requests to apply that are answered: their group and revision, to be deleted.
    pub(super) spent: Vec<(String, i64)>,
    /// By group: the request to apply that waits for the engine's comparison.
    pub(super) comparing: BTreeMap<String, Comparing>,
}

/// A request that was written here, and whom to tell what came of it.
#[derive(Clone, Debug)]
pub(super) struct PendingMove {
    reply: u64,
    group: String,
    /// The request as written: its mod revision.
    revision: i64,
    to: Option<String>,
    holder: String,
    epoch: u64,
    since: Time,
}

impl PendingMove {
    fn done(&self, text: String) -> Done {
        let intent = Some(IntentRef {
            id: self.revision,
            to: self.to.clone(),
        });
        Done { text, intent }
    }

    fn not_begun(&self) -> Done {
        let Self { group, holder, .. } = self;
        self.done(text::switchover::not_begun(holder, group))
    }
}

/// What an operator wants of a group that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MoveKind {
    /// That it moves.
    Move,
    /// That it starts again where it is.
    Anew,
}

impl MoveKind {
    /// Why it makes no sense where nobody holds the group.
    fn nowhere(self, group: String) -> Refusal {
        match self {
            Self::Move => Refusal::NothingToMove { group },
            Self::Anew => Refusal::NothingToApply { group },
        }
    }

    /// Why it can't be done, and what can, where the group is stuck on this node.
    fn stuck(self, group: String, node: String) -> Refusal {
        match self {
            Self::Move => Refusal::StuckNoMove { group, node },
            Self::Anew => Refusal::StuckNoApply { group, node },
        }
    }
}

impl Node {
    /// Who holds the group of which something is wanted; or why it can't be asked for now, whatever its details.
    pub(crate) fn askable(&self, group: &str, wanted: MoveKind) -> Result<String, Refusal> {
        let keys = self.facts.view().group(group);
        let Some(record) = keys.active() else {
            return Err(wanted.nowhere(group.to_owned()));
        };
        let holder = record.node.clone();
        if record.stuck.is_some() {
            return Err(wanted.stuck(group.to_owned(), holder));
        }
        if let Some(why) = self.forbidding(group) {
            return Err(why);
        }
        match moving(group, keys) {
            Some(why) => Err(why),
            None => Ok(holder),
        }
    }

    /// Takes an operator's request to move a group, or says why not.
    pub(crate) fn want_switchover(
        &mut self,
        reply: u64,
        group: String,
        to: Option<String>,
        origin: Origin,
    ) -> Option<Refusal> {
        let holder = match self.askable(&group, MoveKind::Move) {
            Ok(holder) => holder,
            Err(why) => return Some(why),
        };
        if to.as_ref() == Some(&holder) {
            return Some(Refusal::HoldsAlready { group, node: holder });
        }
        if let Some(why) = self.nobody_to_take(&group, &holder, to.as_deref()) {
            return Some(why);
        }
        if !self.membership.is_joined() {
            return Some(Refusal::NotMember);
        }
        if self.requests.has_intent() || self.requests.intents.asked.len() >= ASKED_MAX {
            return Some(Refusal::OtherIntent);
        }
        let Origin { by, why, .. } = origin;
        let begun = None;
        let intent = Intent::Switchover { to, by, why, begun };
        self.requests.intend(reply, group, intent).err()
    }

    /// As the node itself says; of one that is gone, or says nothing of it, that.
    pub(crate) fn why_not_ready(&self, group: &str, node: &str) -> String {
        let own = (*node == self.facts.me().name).then(|| self.unready(group)).flatten();
        let told = self
            .facts
            .view()
            .statuses
            .get(node)
            .and_then(|status| status.groups.get(group));
        let told = told.map(|ready| ready.why.clone()).filter(|why| !why.is_empty());
        let order = self.unextended(group, node);
        own.or(order)
            .or(told)
            .unwrap_or_else(|| text::switchover::SEE_STATUS.to_owned())
    }

    /// Whether the node is a ready standby, as far as it is known here.
    pub(crate) fn could_take(&self, group: &str, node: &str) -> bool {
        match node == self.facts.me().name {
            true => self.unready(group).is_none(),
            false => self.successor(group, Some(node)).is_some(),
        }
    }

    /// Why neither the node that is wanted nor, where none is named, any other could take the group from its holder.
    fn nobody_to_take(&self, group: &str, holder: &str, wanted: Option<&str>) -> Option<Refusal> {
        let ready = |node: &str| self.could_take(group, node);
        match wanted {
            Some(to) => (!ready(to)).then(|| Refusal::NotReady {
                group: group.to_owned(),
                node: to.to_owned(),
                why: self.why_not_ready(group, to),
            }),
            None => {
                let found = self
                    .facts
                    .view()
                    .statuses
                    .keys()
                    .any(|node| node != holder && ready(node));
                (!found).then(|| Refusal::NoStandby {
                    group: group.to_owned(),
                })
            }
        }
    }

    /// An operator's request that came in here, written for the holder to read.
    pub(crate) fn intent_txn(&mut self, out: &mut Vec<Action>) -> Option<(Txn, Purpose)> {
        let due = |(group, _): &(String, i64)| {
            !self
                .membership
                .put_off(self.facts.now(), &WriteKind::IntentAnswer(group.clone()))
        };
        if let Some(at) = self.requests.intents.spent.iter().rposition(due) {
            let (group, revision) = self.requests.intents.spent.remove(at);
            let txn = Txn::delete_intent(self.facts.keys(), &group, revision);
            return Some((txn, Purpose::IntentAnswer { group }));
        }
        let PendingIntent { reply, group, intent } = self.requests.take_intent()?;
        // Of two operators at once one is told that the other was faster; it may have been while this request waited.
        let keys = self.facts.view().group(&group);
        if let Some(why) = moving(&group, keys) {
            let result = Err(why);
            out.push(Action::Reply { reply, result });
            return None;
        }
        let txn = Txn::write_intent(self.facts.keys(), &group, keys.intent_mod, &intent, 0);
        let purpose = match intent {
            Intent::Apply { .. } => {
                let done = self.apply_asked(&group);
                Purpose::Request { reply, done }
            }
            Intent::Switchover { .. } | Intent::Refused { .. } => Purpose::Switchover { reply, group },
        };
        Some((txn, purpose))
    }

    /// The request is in etcd, or was not written; from here on the holder has the word.
    pub(crate) fn switchover_written(
        &mut self,
        now: Time,
        reply: u64,
        group: &str,
        succeeded: bool,
        out: &mut Vec<Action>,
    ) {
        let keys = self.facts.view().group(group).clone();
        let (Some(record), true) = (keys.active(), succeeded) else {
            let result = Err(Refusal::Faster);
            return out.push(Action::Reply { reply, result });
        };
        let holder = record.node.clone();
        let text = text::switchover::asked_of(&holder, group);
        self.mention(Code::OrderGiven, text, out);
        self.requests.intents.asked.push(PendingMove {
            reply,
            group: group.to_owned(),
            revision: keys.intent_mod,
            to: match keys.intent {
                Some((Intent::Switchover { ref to, .. }, _)) => to.clone(),
                Some((Intent::Apply { .. } | Intent::Refused { .. }, _)) | None => None,
            },
            holder,
            epoch: record.epoch,
            since: now,
        });
    }

    /// Tells whoever asked for a move what the holder says to it, or that it says nothing.
    pub(crate) fn answer_askers(&mut self, now: Time, out: &mut Vec<Action>) {
        for asked in std::mem::take(&mut self.requests.intents.asked) {
            match self.fate(now, &asked) {
                Some(result) => out.push(Action::Reply {
                    reply: asked.reply,
                    result,
                }),
                None => self.requests.intents.asked.push(asked),
            }
        }
    }

    fn fate(&self, now: Time, asked: &PendingMove) -> Option<Result<Done, Refusal>> {
        let PendingMove { group, holder, .. } = asked;
        let keys = self.facts.view().group(group);
        match &keys.intent {
            Some((Intent::Switchover { begun: None, .. }, revision)) if *revision == asked.revision => now
                .reached(asked.since.plus(ANSWER_PATIENCE))
                .then(|| Ok(asked.not_begun())),
            Some((Intent::Switchover { begun: Some(of), .. }, _)) if *of == asked.revision => {
                Some(Ok(asked.done(text::switchover::begun(holder, group))))
            }
            Some((Intent::Refused { of, why }, _)) if *of == asked.revision => Some(Err(Refusal::HolderRefuses {
                node: holder.clone(),
                why: why.clone(),
            })),
            Some(_) | None => {
                let here = keys.active().is_some_and(|record| record.epoch == asked.epoch);
                Some(if here {
                    Err(Refusal::Withdrawn {
                        group: group.clone(),
                        node: holder.clone(),
                    })
                } else {
                    Ok(asked.done(text::switchover::has_left(holder, group)))
                })
            }
        }
    }

    /// What waits for an answer when this node can't follow it any more: it is in etcd all the same.
    pub(crate) fn leave_askers(&mut self, out: &mut Vec<Action>) {
        for asked in self.requests.intents.asked.drain(..) {
            let (reply, result) = (asked.reply, Ok(asked.not_begun()));
            out.push(Action::Reply { reply, result });
        }
    }

    pub(crate) fn asked_deadlines(&self) -> impl Iterator<Item = Time> {
        self.requests
            .intents
            .asked
            .iter()
            .map(|asked| asked.since.plus(ANSWER_PATIENCE))
    }

    /// Why the group's switchover can't be withdrawn: it has begun, or is not the one that is meant.
    pub(crate) fn not_withdrawable(&self, group: &str, id: Option<i64>) -> Option<Refusal> {
        let name = || group.to_owned();
        let intent = self.facts.view().group(group).intent.as_ref();
        let standing = match intent {
            Some((Intent::Switchover { begun: Some(of), .. }, _)) => Some(*of),
            Some((Intent::Switchover { .. }, revision)) => Some(*revision),
            Some((Intent::Apply { .. } | Intent::Refused { .. }, _)) | None => None,
        };
        if id.is_some() && id != standing {
            return Some(Refusal::NotThatIntent { group: name() });
        }
        match intent? {
            (Intent::Switchover { begun: Some(_), .. }, _) => Some(Refusal::BegunAlready { group: name() }),
            (Intent::Apply { .. }, _) => Some(Refusal::ApplyNotMove { group: name() }),
            (Intent::Switchover { begun: None, .. } | Intent::Refused { .. }, _) => None,
        }
    }

    /// Takes a request back that the holder has not begun with.
    pub(crate) fn withdrawal(
        &self,
        reply: u64,
        group: &str,
        id: Option<i64>,
        out: &mut Vec<Action>,
    ) -> Option<(Txn, Purpose)> {
        if let Some(why) = self.not_withdrawable(group, id) {
            let result = Err(why);
            out.push(Action::Reply { reply, result });
            return None;
        }
        let revision = self.facts.view().group(group).intent_mod;
        let txn = Txn::delete_intent(self.facts.keys(), group, revision);
        let done = text::switchover::stays(group);
        Some((txn, Purpose::Request { reply, done }))
    }
}

/// Whose request is already to move the group, or to start it again.
pub(crate) fn moving(group: &str, keys: &GroupKeys) -> Option<Refusal> {
    let (intent, _) = keys.intent.as_ref()?;
    let group = group.to_owned();
    match intent {
        Intent::Switchover { to, by, begun, .. } => {
            let to = to.as_deref().unwrap_or(text::switchover::BEST_STANDBY).to_owned();
            let by = by.clone();
            Some(match begun {
                Some(_) => Refusal::MoveBegun { group, to, by },
                None => Refusal::MoveWanted { group, to, by },
            })
        }
        Intent::Apply { by, .. } => Some(Refusal::ApplyWanted { group, by: by.clone() }),
        Intent::Refused { .. } => None,
    }
}
