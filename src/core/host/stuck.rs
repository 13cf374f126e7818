//! Can't stop = don't hand over (rule 13 of docs/protocol.md): what follows when a run is not proved stopped in time.
//!
//! While beats are answered nobody else may take the group, so the holder never falls silent over it: it resets its
//! host where the file allows that, else it gives its healthy groups away, marks the record and goes on beating. A
//! marked record is never taken for silence; a fence frees it (T10), or the proof of stop when it comes after all.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::event::Action;
use crate::group::{Group, Holding};
use crate::host::watchdog::COARSE;
use crate::membership::{Purpose, WriteKind};
use crate::node::Node;
use crate::protocol::records::{Record, RecordState};
use crate::requests::refusal::Refusal;
use crate::snapshot::code::Code;
use crate::store::Txn;
use crate::text;
use crate::text::stuck::Missing;
use crate::time::Time;

/// What a node does when a run can't be stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStopFailure {
    /// The host is reset at once, without a sync: nothing of it may be written any more.
    Reboot,
    /// The record is marked stuck and held until a fence or the proof of stop.
    #[default]
    Hold,
}

/// The order to reset the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Reset {
    #[default]
    None,
    Ordered,
    /// It could not be carried out: as with `hold`.
    Failed,
}

/// What follows from stops that failed here.
#[derive(Clone, Debug, Default)]
pub(super) struct Stuck {
    reset: Reset,
    /// Groups that were handed over because another one is stuck here.
    given_away: BTreeSet<String>,
}

impl Node {
    /// Looks after the stops that failed; once a step.
    pub(crate) fn step_stuck(&mut self, now: Time, out: &mut Vec<Action>) {
        let strike = self.strike();
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in &names {
            self.take_up_mark(now, name, out);
            let Some(group) = self.groups.get_mut(name) else {
                continue;
            };
            let wait = match group.settings().on_stop_failure {
                OnStopFailure::Reboot => Duration::ZERO,
                OnStopFailure::Hold => strike,
            };
            if group.stop_fails_at().is_none_or(|at| !now.reached(at.plus(wait))) {
                continue;
            }
            let run = group.held().map(|held| held.run).unwrap_or_default();
            let ended = group.held().is_some_and(|held| held.unmounting_since().is_some());
            let missing = if ended { Missing::Unmount } else { Missing::Stop };
            match (group.settings().on_stop_failure, &self.host.stuck.reset) {
                (OnStopFailure::Reboot, Reset::None) => {
                    self.host.stuck.reset = Reset::Ordered;
                    let why = text::stuck::resetting(run, name, missing);
                    group.say(Code::HostReset, why.clone(), out);
                    out.push(Action::Reset { why });
                }
                (OnStopFailure::Reboot, Reset::Ordered) => {}
                (OnStopFailure::Reboot, Reset::Failed) | (OnStopFailure::Hold, _) => {
                    group.stick(
                        now,
                        &text::stuck::could_not_be(run, missing),
                        &self.facts.me().name,
                        out,
                    );
                }
            }
        }
        self.give_away(now, out);
    }

    /// How long the watchdog may take to reset this host: a record marked before would outlive the reset for nothing.
    fn strike(&self) -> Duration {
        let timeout = self.facts.timing().watchdog.filter(|_| self.host.watchdog.is_armed());
        timeout.map_or(Duration::ZERO, |timeout| timeout + COARSE * 2)
    }

    /// The host could not be reset: from here as with `hold`.
    pub(crate) fn reset_failed(&mut self, why: &str, out: &mut Vec<Action>) {
        self.host.stuck.reset = Reset::Failed;
        let text = text::stuck::reset_failed(why);
        self.say(Code::HostResetFailed, text, out);
    }

    /// An earlier sidecar of this incarnation marked the record: the mark holds, and so does what follows from it.
    fn take_up_mark(&mut self, now: Time, name: &str, out: &mut Vec<Action>) {
        let keys = self.facts.view().group(name);
        let Some(record) = keys.active() else { return };
        let Some(why) = &record.stuck else { return };
        let ours = |held: &Holding| held.lease == record.incarnation && held.run.epoch == record.epoch;
        if let Some(group) = self.groups.get_mut(name)
            && group.held().is_some_and(|held| held.stuck.is_none() && ours(held))
        {
            group.stick(now, why, &self.facts.me().name, out);
        }
    }

    /// The group that can't be stopped here, if there is one; proved stopped after all, it is only still to be released.
    pub(crate) fn stuck_here(&self) -> Option<&str> {
        let stuck = |held: &Holding| held.stuck.is_some() && !held.proved_stopped();
        let stuck = |group: &&Group| group.held().is_some_and(stuck);
        self.groups
            .values()
            .find(stuck)
            .map(|group| group.settings().name.as_str())
    }

    /// Why nobody should hand over to this node.
    pub(crate) fn unhealthy_reason(&self) -> Option<String> {
        self.stuck_here().map(text::stuck::here)
    }

    /// Why this node, of all, may not accept a restored etcd.
    pub(crate) fn stuck_here_refusal(&self) -> Option<Refusal> {
        let group = self.stuck_here()?.to_owned();
        Some(Refusal::StuckHere { group })
    }

    /// For the status: the mark in etcd, or what is not marked yet.
    pub(crate) fn stuck_line(&self, group: &Group, record: Option<&Record>) -> Option<String> {
        let here = group.held().and_then(|held| held.stuck.as_ref());
        let active = record.filter(|record| record.state == RecordState::Active);
        let marked = active.and_then(|record| Some((&record.node, record.stuck.as_ref()?)));
        let (node, why) = here.map(|why| (&self.facts.me().name, why)).or(marked)?;
        Some(text::stuck::on(node, why))
    }

    /// A host that can't stop a process is not healthy: its healthy groups go where somebody is ready for them.
    fn give_away(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(stuck) = self.stuck_here().map(str::to_owned) else {
            self.host.stuck.given_away.clear();
            return;
        };
        if !self.membership.is_joined() {
            return;
        }
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let healthy = |group: &Group| group.held().is_some_and(|held| !held.latched);
            if !self.groups.get(&name).is_some_and(healthy) {
                continue;
            }
            // Once each: whoever was ready and did not take it would be asked for ever, an outage each time.
            let Some(next) = self
                .successor(&name, None)
                .filter(|_| !self.host.stuck.given_away.contains(&name))
            else {
                continue;
            };
            self.host.stuck.given_away.insert(name.clone());
            if let Some(group) = self.groups.get_mut(&name) {
                group.give_away(now, &stuck, &self.facts.me().name, next, out);
            }
        }
    }

    /// Whether the mark is in etcd now.
    pub(crate) fn marked(&mut self, name: &str, succeeded: bool, out: &mut Vec<Action>) {
        let me = self.facts.me().name.clone();
        if let Some(group) = self.groups.get_mut(name).filter(|_| succeeded) {
            group.say(Code::StuckMarked, text::stuck::marked(&me), out);
        }
    }

    /// The mark, for the first record of this incarnation that misses it; without a beat where the node's key is lost.
    pub(crate) fn stuck_mark(&self, lease: i64) -> Option<(Txn, Purpose)> {
        let due = |name: &&String| {
            !self
                .membership
                .put_off(self.facts.now(), &WriteKind::Mark((*name).clone()))
        };
        self.groups
            .iter()
            .filter(|(name, _)| due(name))
            .find_map(|(name, group)| {
                let held = group.held().filter(|held| held.lease == lease)?;
                let why = held.stuck.clone().filter(|_| !held.proved_stopped())?;
                let keys = self.facts.view().group(name);
                let record = keys.active().filter(|record| {
                    record.incarnation == lease && record.epoch == held.run.epoch && record.stuck.is_none()
                })?;
                let txn = Txn::mark_stuck(self.facts.keys(), self.as_read(name), record, why);
                Some((txn, Purpose::Mark { group: name.clone() }))
            })
    }
}
