//! The end of the sidecar: hand over what is held, or leave it under a hold; then give the node's lease up.

use std::time::Duration;

use crate::event::Action;
use crate::group::{AfterStop, Group, Stage, StopMode};
use crate::membership::Member;
use crate::node::Node;
use crate::protocol::ReleaseCause;
use crate::requests::refusal::Refusal;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// How long a sidecar waits that can't reach its engine any more: there may be none yet that would start it again.
const ORPHANED_PATIENCE: Duration = Duration::from_secs(15);

/// How far the end of this sidecar has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ending {
    told: bool,
    over: bool,
    /// Since when the engine can't be reached by this process, only by the next one.
    orphaned: Option<Time>,
}

impl Ending {
    /// It was told to end: nothing is kept, and nothing taken.
    pub(crate) fn is_told(self) -> bool {
        self.told
    }

    /// The process ends: nothing is decided any more.
    pub(crate) fn is_over(self) -> bool {
        self.over
    }
}

impl Node {
    pub(crate) fn engine_answered(&mut self, result: Result<(), String>) {
        self.membership.ending.orphaned = self.membership.ending.orphaned.filter(|_| result.is_err());
        if result.is_ok() && self.host.engine_failure().is_some() {
            self.groups.values_mut().for_each(Group::engine_is_back);
        }
        self.host.engine_answered(result);
    }

    /// What was bound into this container is the socket of an engine that is gone. A new container gets the new one: where
    /// nothing is held this one ends, and the engine starts it again.
    pub(crate) fn engine_orphaned(&mut self, now: Time, out: &mut Vec<Action>) {
        let since = *self.membership.ending.orphaned.get_or_insert(now);
        if self.membership.ending.told {
            return;
        }
        let holds = self.groups.values().any(|group| group.held().is_some()) || self.adoption.is_under_way();
        if holds || self.membership.is_under_hold(now) {
            return self.mention(Code::EngineOrphaned, text::host::ENGINE_ORPHANED.to_owned(), out);
        }
        if now.since(since) >= ORPHANED_PATIENCE {
            self.mention(Code::EngineOrphaned, text::host::ENDS_FOR_ENGINE.to_owned(), out);
            self.terminate(now, out);
        }
    }

    /// SIGTERM: under a hold, leave everything as it is; otherwise hand over first.
    pub(crate) fn terminate(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.membership.is_under_hold(now) {
            self.membership.ending.over = true;
            self.say(Code::LeftUnderHold, text::stop::LEFT_UNDER_HOLD.to_owned(), out);
            out.push(Action::Exit { detached: true });
            return;
        }
        self.membership.ending.told = true;
        self.hand_over(now, out);
    }

    /// While ending, nothing is kept: neither what runs, nor what an adoption or a late campaign still brings.
    pub(crate) fn hand_over(&mut self, now: Time, out: &mut Vec<Action>) {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let successor = self.successor(&name, None);
            let Some(group) = self.groups.get_mut(&name) else {
                continue;
            };
            let reason = text::old::NODE_ENDING.to_owned();
            let (code, text) = match &successor {
                Some(next) => (Code::SwitchoverStarted, text::stop::node_ends(next)),
                None => (Code::StopWithoutSuccessor, text::stop::NODE_ENDS_ALONE.to_owned()),
            };
            let after = group.held().map(|held| &held.after);
            if matches!(
                after,
                Some(AfterStop::Restart | AfterStop::RanOut | AfterStop::Interrupted | AfterStop::Claimed)
            ) {
                let cause = ReleaseCause::NodeEnding;
                let after = AfterStop::Release {
                    cause,
                    reason,
                    successor,
                };
                group.stop(now, StopMode::Drain, after, text, code, out);
            }
        }
    }

    /// Ends once nothing is held any more.
    pub(crate) fn finish(&mut self, out: &mut Vec<Action>) {
        let now = self.facts.now();
        let busy = self.groups.values().filter_map(|group| group.held()).any(|held| {
            // Stopped but not released, because etcd does not answer: past its end nobody is kept waiting by it.
            !(held.stage == Stage::Stopped && held.proved_stopped() && now.reached(held.deadlines.end))
        });
        let adopting = self.adoption.is_under_way();
        if !self.membership.ending.told
            || self.membership.ending.over
            || busy
            || (adopting && self.membership.exchange().failure().is_none())
        {
            return;
        }
        // A campaign of ours may still land: its outcome is read back before the lease is given up.
        let unknown = self.membership.exchange().is_unknown();
        if unknown && self.membership.exchange().failure().is_none() {
            return;
        }
        if let Member::Joined { lease, .. } | Member::Registering { lease } = *self.membership.place() {
            out.push(Action::Revoke { lease });
        }
        self.dismiss_requests(&Refusal::Ending, out);
        self.membership.ending.over = true;
        // What could not be adopted runs to its deadline; the next sidecar still finds whose it was.
        if !adopting {
            self.membership.leave();
        }
        out.push(Action::Exit { detached: false });
    }
}
