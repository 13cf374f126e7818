//! What each sidecar has been told by etcd, and what its core may make of it: judged when the core says it, so that
//! no order of messages excuses anything. Followed in worlds with policies and operators' orders only.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use leasehold_core::epoch::Run;
use leasehold_core::event::{Decision, ServiceKey};
use leasehold_core::protocol::policy::{Setting, Wanted};
use leasehold_core::protocol::records::{Beat, GroupKeys, Intent, Record, RecordState, View};
use leasehold_core::snapshot::code::Code;
use leasehold_core::store::{Answer, Compare, Op, Txn};

use crate::host::{Life, MS, S};
use crate::world::World;

/// How long ago a successor may have been ready: its holder stops meanwhile.
const CHOSEN: u64 = 15 * S;

/// What a standby has found it has published by then, where etcd answers.
const PUBLISHED: u64 = 10 * S;
/// A break in which nothing could be published.
const UNHEARD: u64 = 2 * S;

/// Of one host's sidecar; it starts anew with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) view: View,
    /// (node, lease, group): since when, and until when at least, it has been told ready without a break.
    ready: BTreeMap<(String, i64, String), (u64, u64)>,
    /// Groups whose storage it found wrong at its last look, and since when.
    pub(crate) faults: BTreeMap<String, u64>,
    /// Runs whose start was ordered.
    begun: BTreeSet<(ServiceKey, Run)>,
    /// Groups that stop to be started again as the file says, with their epoch.
    applying: BTreeMap<String, u64>,
    /// It was told to end.
    ending: bool,
    /// Since when etcd has answered it without a long break, and when it did last.
    heard: (u64, u64),
    /// Groups of which it goes by other values than it was told, and since when.
    pub(crate) differing: BTreeMap<String, u64>,
    /// By node: its last beat that it was told of.
    beats: BTreeMap<String, HeardBeat>,
}

/// A beat, when it was heard of first, and what it promised.
#[derive(Clone, Copy, Debug)]
struct HeardBeat {
    lease: i64,
    revision: i64,
    at: u64,
    promise: Duration,
}

impl Told {
    fn hear_beats(&mut self, view: &View, now: u64) {
        self.beats.retain(|node, beat| view.lease_of(node) == beat.lease);
        for (node, key) in &view.nodes {
            let Some(promise) = key.beat.as_ref().map(Beat::promise) else {
                continue;
            };
            let heard = HeardBeat {
                lease: key.lease,
                revision: key.mod_revision,
                at: now,
                promise,
            };
            let known = self.beats.entry(node.clone()).or_insert(heard);
            if (known.lease, known.revision) != (heard.lease, heard.revision) {
                *known = heard;
            }
        }
    }
}

impl World {
    pub(crate) fn tell(&mut self, h: usize, answer: &Answer) {
        if !self.policies.watched {
            return;
        }
        let view = View::read(&self.keys, answer);
        let told = &mut self.hosts[h].told;
        let since = if self.now - told.heard.1 > UNHEARD {
            self.now
        } else {
            told.heard.0
        };
        told.heard = (since, self.now);
        told.hear_beats(&view, self.now);
        let mut still = BTreeSet::new();
        for (node, status) in &view.statuses {
            let lease = view.lease_of(node);
            for (group, ready) in &status.groups {
                let without = view
                    .groups
                    .get(group)
                    .is_some_and(|keys| keys.excluded.contains_key(node));
                if lease != 0 && ready.ready && ready.why.is_empty() && !without {
                    still.insert((node.clone(), lease, group.clone()));
                }
            }
        }
        told.ready
            .retain(|who, (_, last)| still.contains(who) || self.now - *last < CHOSEN);
        for who in still {
            told.ready.entry(who).or_insert((self.now, self.now)).1 = self.now;
        }
        // Whoever was not told ready this time starts over when it is again, but is remembered as a successor for a while.
        for (since, last) in told.ready.values_mut() {
            if *last != self.now {
                *since = self.now;
            }
        }
        told.view = view;
    }

    pub(crate) fn told_to_end(&mut self, h: usize) {
        self.hosts[h].told.ending = true;
    }

    /// S16 to S21: a transaction leaves the core.
    pub(crate) fn sends_rightly(&mut self, h: usize, txn: &Txn) {
        if !self.policies.watched {
            return;
        }
        let accept = txn.then.iter().any(|op| matches!(op, Op::DeletePrefix { .. }));
        let registers = txn.compare.iter().any(|it| matches!(it, Compare::Create { .. }));
        for op in &txn.then {
            let Op::Put { key, value, .. } = op else { continue };
            let Some(parts) = self.keys.parts(key) else { continue };
            match parts.as_slice() {
                ["groups", group, "record"] => {
                    if let Ok(record) = serde_json::from_str::<Record>(value) {
                        let group = (*group).to_owned();
                        self.writes_rightly(h, &group, &record, accept);
                    }
                }
                // Before its next beat it could publish nothing.
                ["nodes", _] if registers => {
                    let now = self.now;
                    self.hosts[h].told.faults.values_mut().for_each(|since| *since = now);
                }
                ["nodes", _] => self.publishes_rightly(h),
                _ => {}
            }
        }
    }

    fn writes_rightly(&mut self, h: usize, group: &str, record: &Record, accept: bool) {
        let host = &self.hosts[h];
        let (name, keys) = (host.name.clone(), host.told.view.group(group).clone());
        let before = keys.record.as_ref().map_or(0, |record| record.epoch);
        if accept {
            return self.accepts_rightly(h, group, record.epoch, before);
        }
        if record.node == name && record.state == RecordState::Active && record.epoch > before {
            if keys.paused.is_some() {
                return self.fail(format!("S17: {name} campaigns for {group}, which is on pause"));
            }
            let drained = host.told.view.drained.contains_key(&name);
            if let Some(other) = self.ready_besides(h, group).filter(|_| drained) {
                return self.fail(format!(
                    "S16: {name} is drained and campaigns for {group}, for which {other} is ready"
                ));
            }
        }
        let own = keys.active().is_some_and(|record| record.node == name);
        if own && record.state == RecordState::Released && record.node == name {
            if let Some(next) = &record.successor {
                let known = self.hosts[h].told.ready.keys();
                if !known.into_iter().any(|(node, _, of)| node == next && of == group) {
                    return self.fail(format!("S21: {name} hands {group} over to {next}, which is not ready"));
                }
            }
            self.released_rightly(h, group, record, &keys);
        }
    }

    /// S20: neither T11 nor an import goes below what its node knows.
    fn accepts_rightly(&mut self, h: usize, group: &str, epoch: u64, before: u64) {
        let statuses = self.hosts[h].told.view.statuses.values();
        let claims = statuses.filter_map(|status| status.groups.get(group)?.claim);
        let known = claims.fold(before, u64::max);
        if epoch <= known {
            let name = &self.hosts[h].name;
            self.fail(format!(
                "S20: {name} accepts epoch {epoch} of {group} although it knows of {known}"
            ));
        }
    }

    /// S21: whoever found the storage wrong is nobody's successor.
    fn publishes_rightly(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        let view = &host.told.view;
        let status = view.statuses.get(&host.name);
        // Its own run has found the storage since then.
        host.told.faults.retain(|group, _| {
            let held = view.groups.get(group).and_then(GroupKeys::active);
            held.is_none_or(|record| record.node != host.name)
        });
        let bad = host.told.faults.iter().find(|(group, since)| {
            let ready = status.and_then(|status| status.groups.get(*group));
            let could = (**since).max(host.told.heard.0);
            ready.is_some_and(|ready| ready.ready && ready.why.is_empty()) && self.now - could > PUBLISHED
        });
        if let Some((group, _)) = bad {
            let why = format!(
                "S21: {} says that it is ready for {group}, whose storage it found wrong",
                host.name
            );
            self.fail(why);
        }
    }

    /// Another node that is ready by all that this one was told, and whose beats let nobody take it for silent.
    fn ready_besides(&self, h: usize, group: &str) -> Option<String> {
        let host = &self.hosts[h];
        let found = host.told.ready.iter().find(|((node, lease, of), (since, last))| {
            let told = *since <= *last;
            let lives = self.cover_of(node, *lease).is_some_and(|cover| cover.until > self.now);
            *node != host.name && of == group && told && lives
        });
        found.map(|((node, ..), _)| node.clone())
    }

    /// S19: what stops to be started again as the file says is not given up for it.
    fn released_rightly(&mut self, h: usize, group: &str, record: &Record, keys: &GroupKeys) {
        let host = &mut self.hosts[h];
        let Some(epoch) = host.told.applying.remove(group) else {
            return;
        };
        let view = &host.told.view;
        let wanted = matches!(keys.intent, Some((Intent::Switchover { .. }, _)));
        let ordered = keys.stopped.is_some()
            || keys.deleted.is_some()
            || keys.excluded.contains_key(&host.name)
            || view.drained.contains_key(&host.name);
        // Its lease ran out, somebody stopped it, or its node's key was taken away meanwhile.
        let otherwise = ["lease", "stop", "lost its place"];
        let otherwise = otherwise.iter().any(|word| record.reason.contains(word));
        if epoch == record.epoch && !wanted && !ordered && !otherwise && !host.told.ending {
            let name = host.name.clone();
            self.fail(format!(
                "S19: {name} gives {group} up instead of starting it again: {}",
                record.reason
            ));
        }
    }

    /// S17, S19: a run is to be started.
    pub(crate) fn starts_rightly(&mut self, h: usize, of: &ServiceKey, run: Run) {
        if !self.policies.watched {
            return;
        }
        let told = &mut self.hosts[h].told;
        let paused = told
            .view
            .groups
            .get(&of.group)
            .is_some_and(|keys| keys.paused.is_some());
        let first = told.begun.insert((of.clone(), run));
        let goes_on = told
            .begun
            .iter()
            .any(|(other, begun)| other.group == of.group && other != of && *begun == run);
        let applied = told.applying.remove(&of.group);
        let name = self.hosts[h].name.clone();
        // An apply that had begun before goes on: it was an operator who stopped it.
        if paused && first && run.n > 1 && !goes_on && applied.is_none() {
            return self.fail(format!(
                "S17: {name} starts run {run} of {}, which is on pause",
                of.group
            ));
        }
        if let Some(epoch) = applied {
            self.count("applied in place");
            if epoch > run.epoch {
                self.fail(format!(
                    "S19: {name} starts {} again in epoch {}, not {epoch}",
                    of.group, run.epoch
                ));
            }
        }
    }

    /// S17 to S19, S22, S27, S28: what the core says that it does now.
    pub(crate) fn decides_rightly(&mut self, h: usize, decision: &Decision) {
        let Some(group) = decision.group.clone().filter(|_| self.policies.watched) else {
            return;
        };
        let told = &mut self.hosts[h].told;
        let paused = told.view.groups.get(&group).is_some_and(|keys| keys.paused.is_some());
        let back = decision.code == Code::SwitchoverStarted && decision.text.starts_with("failback to ");
        let moves = back || matches!(decision.code, Code::RecoveryGivenUp | Code::UnreachedMoved);
        if decision.code == Code::ApplyStarted && decision.text.contains(": stopping, to start again here") {
            told.applying.insert(group.clone(), decision.epoch.unwrap_or(0));
        }
        let name = self.hosts[h].name.clone();
        if moves && paused {
            return self.fail(format!(
                "S17: {name} moves {group}, which is on pause: {}",
                decision.text
            ));
        }
        if back {
            self.goes_back_rightly(h, &group, &decision.text);
        }
        if decision.code == Code::UnreachedMoved {
            self.moves_rightly(h, &group);
        }
        if decision.code == Code::AddressTaken {
            self.passes_over_rightly(h, &group);
        }
        if decision.code == Code::RecoveryGivenUp && decision.text.contains("certificate is out of date") {
            self.moves_to_certified(h, &group);
        }
    }

    /// S28: an address that was answered for is taken only after it was said so.
    pub(crate) fn takes_rightly(&mut self, h: usize, group: &str) {
        let host = &mut self.hosts[h];
        if let Some(mac) = host.answered.remove(group).filter(|_| self.policies.watched) {
            let name = &host.name;
            let why = format!("S28: {name} takes the address of {group}, for which {mac} answers");
            self.fail(why);
        }
    }

    /// S28: it may be taken where the file says so, unless the one who answers has been heard of within his promise.
    fn passes_over_rightly(&mut self, h: usize, group: &str) {
        self.count("passed over who answers for an address");
        let host = &mut self.hosts[h];
        let Some(mac) = host.answered.remove(group) else { return };
        let takes = self.policies.groups.get(group).is_some_and(|policy| policy.take);
        // An observer's raw clock may run 0.4 % fast.
        let lives = host.told.beats.get(&mac).is_some_and(|beat| {
            let wait = beat.promise.as_nanos() as f64 / 1.004;
            (self.now - beat.at) as f64 + (MS as f64) < wait
        });
        if !takes || lives {
            let name = &host.name;
            let why = format!("S28: {name} takes the address of {group}, for which {mac} answers and lives");
            self.fail(why);
        }
    }

    /// S27: another host has said that its certificates are good.
    fn moves_to_certified(&mut self, h: usize, group: &str) {
        self.count("moved to a good certificate");
        let host = &self.hosts[h];
        let mut others = host.told.view.statuses.iter().filter(|(node, _)| **node != host.name);
        if !others.any(|(_, status)| status.groups.get(group).is_some_and(|ready| ready.certified)) {
            let why = format!(
                "S27: {} moves {group}, and no host's certificate is known to be good",
                host.name
            );
            self.fail(why);
        }
    }

    /// S18: to a preferred node, after the quiet window.
    fn goes_back_rightly(&mut self, h: usize, group: &str, text: &str) {
        self.count("went back by itself");
        let host = &self.hosts[h];
        let name = host.name.clone();
        let to = text
            .trim_start_matches("failback to ")
            .split(',')
            .next()
            .unwrap_or_default();
        let policy = self.policies.groups.get(group);
        let set = &host.told.view.group(group).policy;
        let quiet = match set.wanted(&Setting::Failback) {
            Some(Wanted::Failback(quiet)) => *quiet,
            Some(_) | None => policy.and_then(|policy| policy.failback),
        };
        let Some(quiet) = quiet else {
            return self.fail(format!("S18: {group} goes back to {to} although it may not"));
        };
        // A clock that runs fast by 0.4 %, and half a second for what was read in between.
        let quiet = (quiet.as_nanos() as f64 * 0.996) as u64 - 5 * MS;
        let lease = host.told.view.lease_of(to);
        let ready = host.told.ready.get(&(to.to_owned(), lease, group.to_owned()));
        let settled = ready.is_some_and(|(since, last)| self.now - *since >= quiet && *since <= *last);
        let priority = |node: &str| {
            let own = host.told.view.statuses.get(node).map(|status| status.priority);
            set.priority(node).or(own)
        };
        let preferred = priority(to) < priority(&name);
        let up = host
            .containers
            .iter()
            .filter(|(key, c)| key.group == group && c.life == Life::Up);
        // None of it is up: it ended a moment ago, and the core is about to hear of it.
        let served = up.map(|(_, c)| self.now - c.up_since).min();
        if !settled || !preferred || served.is_some_and(|served| served < quiet) {
            self.fail(format!(
                "S18: {name} gives {group} back to {to}: ready {ready:?}, preferred {preferred}, served {served:?} ns"
            ));
        }
    }

    /// S22: not while a standby reaches it.
    fn moves_rightly(&mut self, h: usize, group: &str) {
        self.count("moved for a second opinion");
        let host = &self.hosts[h];
        let run = host
            .containers
            .iter()
            .find(|(key, _)| key.group == group)
            .map(|(_, c)| c.run);
        let acts = self.policies.groups.get(group).is_some_and(|policy| policy.act);
        let reaches = host.told.view.statuses.iter().find(|(node, status)| {
            let lease = host.told.view.lease_of(node);
            let lives = self.cover_of(node, lease).is_some_and(|cover| cover.until > self.now);
            let ready = status
                .groups
                .get(group)
                .filter(|ready| ready.ready && ready.why.is_empty());
            let opinion = ready.and_then(|ready| ready.opinion.as_ref());
            **node != host.name && lives && opinion.is_some_and(|said| Some(said.of) == run && said.fault.is_empty())
        });
        if let Some((node, _)) = reaches {
            let why = format!("S22: {} moves {group} although {node} reaches it", host.name);
            return self.fail(why);
        }
        if !acts {
            self.fail(format!(
                "S22: {group} is moved for what standbys say, and the file does not say so"
            ));
        }
    }
}
