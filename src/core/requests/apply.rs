//! What runs and is no longer what the file and the image say: seen, told, and at an operator's word started again in place.
//! The request is written to etcd by whichever node was asked; the holder looks anew before it acts.

use crate::event::{Action, Origin};
use crate::group::AfterStop;
use crate::membership::Member;
use crate::node::Node;
use crate::protocol::records::{Drift, Intent};
use crate::requests::refusal::Refusal;
use crate::requests::switchover::MoveKind;
use crate::snapshot::code::Code;
use crate::text;
use crate::text::switchover::apply;
use crate::time::Time;

/// A request that the holder has seen and whose answer the engine still owes.
#[derive(Clone, Debug)]
pub(super) struct Comparing {
    revision: i64,
    /// Who wants it, and why, as the end of a sentence.
    asked: String,
}

impl Node {
    /// Takes an operator's request in, or says why not.
    pub(crate) fn want_apply(&mut self, reply: u64, group: String, origin: Origin) -> Option<Refusal> {
        if let Err(why) = self.askable(&group, MoveKind::Anew) {
            return Some(why);
        }
        if !self.membership.is_joined() {
            return Some(Refusal::NotMember);
        }
        let Origin { by, why, .. } = origin;
        self.requests.intend(reply, group, Intent::Apply { by, why }).err()
    }

    /// What to answer once the request is written.
    pub(crate) fn apply_asked(&self, group: &str) -> String {
        let keys = self.facts.view().group(group);
        let holder = keys
            .active()
            .map_or(text::switchover::THE_HOLDER, |record| record.node.as_str());
        match self.drift(group) {
            Some(Drift {
                what,
                obstacle: Some(obstacle),
            }) => apply::looks_anew(holder, &what, &obstacle),
            Some(Drift { what, obstacle: None }) => apply::starts_again(holder, group, &what),
            None => apply::nothing_differs(holder, group),
        }
    }

    /// What the holder says of its run, as far as this node knows.
    pub(crate) fn drift(&self, group: &str) -> Option<Drift> {
        if let Some(held) = self.groups.get(group).filter(|group| group.is_held()) {
            return held.drift().cloned();
        }
        let keys = self.facts.view().groups.get(group)?;
        let status = self.facts.view().statuses.get(&keys.active()?.node)?;
        status.groups.get(group)?.drift.clone()
    }

    /// The same in a sentence, with what to do.
    pub(crate) fn drift_line(&self, group: &str) -> Option<String> {
        let Drift { what, obstacle } = self.drift(group)?;
        Some(match obstacle {
            Some(obstacle) => apply::impossible(&what, &obstacle),
            None => apply::possible(&what, group),
        })
    }

    /// The holder meets the request: it has the engine compare, unless there is nothing to do it for.
    pub(crate) fn execute_apply(&mut self, now: Time, name: &str, revision: i64, asked: String, out: &mut Vec<Action>) {
        if self.requests.intents.handled.get(name) == Some(&revision) {
            let waits = self
                .requests
                .intents
                .comparing
                .get(name)
                .is_some_and(|one| one.revision == revision);
            // Its end did not land.
            if !waits && !self.membership.exchange().is_pending() {
                self.spend(name, revision);
            }
            return;
        }
        let forbidden = self.forbidden(name);
        let Some(group) = self.groups.get_mut(name) else { return };
        let Some(held) = group.held() else { return };
        let comes_anew = held.latched && matches!(held.after, AfterStop::Restart | AfterStop::Claimed);
        if held.latched && !comes_anew {
            // It leaves: the next holder starts it as the file says, and deletes the request.
            return;
        }
        self.requests.intents.handled.insert(name.to_owned(), revision);
        if let Some(why) = forbidden.filter(|_| !comes_anew) {
            let text = apply::refused(&asked, &apply::is(&why));
            group.mention(now, Code::ApplyRefused, text, out);
            return self.spend(name, revision);
        }
        if comes_anew {
            return self.spend(name, revision);
        }
        self.requests
            .intents
            .comparing
            .insert(name.to_owned(), Comparing { revision, asked });
        let group = name.to_owned();
        out.push(Action::Compare {
            group,
            intent: revision,
        });
    }

    fn spend(&mut self, name: &str, revision: i64) {
        let intent = (name.to_owned(), revision);
        if !self.requests.intents.spent.contains(&intent) {
            self.requests.intents.spent.push(intent);
        }
    }

    /// What the engine says of the run: to be told, and acted upon where a request asked for it.
    pub(crate) fn compared(
        &mut self,
        now: Time,
        name: &str,
        drift: Option<Drift>,
        intent: Option<i64>,
        out: &mut Vec<Action>,
    ) {
        let Some(group) = self.groups.get_mut(name) else { return };
        group.compared(drift.clone());
        // A look that began before the request, or for an earlier one, may have missed what the request is about.
        let comparing = &mut self.requests.intents.comparing;
        if comparing.get(name).is_none_or(|one| intent != Some(one.revision)) {
            return;
        }
        let Some(Comparing { revision, asked }) = comparing.remove(name) else {
            return;
        };
        let stands = self
            .facts
            .view()
            .group(name)
            .intent
            .as_ref()
            .is_some_and(|(_, read)| *read == revision);
        if !stands {
            return;
        }
        self.spend(name, revision);
        let forbidden = match *self.membership.place() {
            Member::Joined { .. } => self.forbidden(name).map(|why| apply::is(&why)),
            // What is stopped might not be started again.
            Member::Arriving
            | Member::Waiting
            | Member::Granting { .. }
            | Member::Registering { .. }
            | Member::Adopting { .. }
            | Member::Lost { .. }
            | Member::Frozen { .. }
            | Member::Left => Some(apply::NOT_A_MEMBER.to_owned()),
        };
        let Some(group) = self.groups.get_mut(name) else { return };
        if group.held().is_none_or(|held| held.latched) {
            return;
        }
        let (what, obstacle) = match (drift, forbidden) {
            (None, _) => {
                return group.mention(now, Code::ApplyNeedless, apply::needless(&asked), out);
            }
            (Some(Drift { what, .. }), Some(why)) => (what, Some(why)),
            (Some(Drift { what, obstacle }), None) => (what, obstacle),
        };
        match obstacle {
            Some(obstacle) => {
                let text = apply::refused(&asked, &apply::impossible(&what, &obstacle));
                group.mention(now, Code::ApplyRefused, text, out);
            }
            None => {
                let text = apply::stopping(&asked, &what);
                group.start_anew(now, text, out);
            }
        }
    }
}
