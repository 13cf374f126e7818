//! The way to etcd and back: lost, late, doubled, unknown; one endpoint after another, as the adapter takes them.

use std::rc::Rc;

use leasehold_core::event::Event;
use leasehold_core::store::{Hint, RequestId, StoreError, Txn};

use crate::etcd::Change;
use crate::events::{Call, Ev};
use crate::host::{Host, MS, S};
use crate::members::{MEMBERS, SWEEP, Service};
use crate::mutants::Mutant;
use crate::world::World;

/// An endpoint that failed is left alone this long.
const QUARANTINE: u64 = 3 * S;

impl World {
    pub(crate) fn send_txn(&mut self, h: usize, id: RequestId, mut txn: Txn) {
        self.mutant.txn(&mut txn, &self.keys, &self.hosts[h].name);
        self.call(h, Call::Txn(id, Rc::new(txn)));
    }

    pub(crate) fn call(&mut self, h: usize, call: Call) {
        if let Call::Txn(id, _) | Call::Read(id) = &call {
            self.hosts[h].asked = Some(*id);
        }
        let host = &self.hosts[h];
        let (life, member, manners) = (host.life, host.endpoint, host.manners.clone());
        let out = self.rng.range(MS / 2, manners.latency);
        let back = self.rng.range(MS / 2, manners.latency);
        let attempt = self.timing.attempt.as_nanos() as u64;
        self.push(
            attempt,
            Ev::Timeout {
                host: h,
                life,
                member,
                call: call.clone(),
            },
        );
        if !self.hosts[h].links[member].0 || self.rng.chance(manners.lose) {
            return self.count("request lost");
        }
        let late = self.rng.chance(manners.late);
        let out = if late { self.rng.range(out, 3 * S) } else { out };
        if late {
            self.count("request late");
        }
        let lost = self.rng.chance(manners.lose_answer);
        if lost {
            self.count("answer lost");
        }
        let slow = self.rng.chance(manners.late);
        let back = (!lost).then(|| {
            if slow {
                self.rng.range(back, attempt.max(back))
            } else {
                back
            }
        });
        let sent = self.now;
        if self.rng.chance(manners.duplicate) {
            self.count("request duplicated");
            let again = self.rng.range(out, out + S);
            let call = call.clone();
            let twin = Ev::ToEtcd {
                host: h,
                life,
                member,
                call,
                back,
                sent,
            };
            self.push(again, twin);
        }
        self.push(
            out,
            Ev::ToEtcd {
                host: h,
                life,
                member,
                call,
                back,
                sent,
            },
        );
    }

    /// No answer within one attempt: unknown, and the next endpoint's turn.
    pub(crate) fn timed_out(&mut self, h: usize, life: u64, member: usize, call: &Call) {
        let host = &mut self.hosts[h];
        if host.life != life {
            return;
        }
        if let Call::Txn(id, _) | Call::Read(id) = call
            && host.asked == Some(*id)
        {
            host.asked = None;
            host.endpoint_failed(member, self.now);
        }
        let why = StoreError::Unknown("timed out".to_owned());
        if let Some(event) = failed(call, why) {
            self.deliver(h, event);
        }
    }

    pub(crate) fn arrive(&mut self, h: usize, life: u64, member: usize, call: Call, back: Option<u64>, sent: u64) {
        if !self.etcd_up {
            return;
        }
        match self.members.service(member) {
            Service::Serves => {}
            Service::Silent => return self.count("no leader to ask"),
            Service::Refused => return self.refused(h, life, member, &call, back),
            Service::Waits => {
                self.count("waited for a paused member");
                return self.push(
                    100 * MS,
                    Ev::ToEtcd {
                        host: h,
                        life,
                        member,
                        call,
                        back: None,
                        sent,
                    },
                );
            }
            Service::Stale => return self.ask_stale(h, life, call, back, sent),
        }
        let Some(event) = self.serve(h, call, sent) else { return };
        let twice = self.rng.chance(self.hosts[h].manners.duplicate);
        if let Some(back) = back.filter(|_| self.hosts[h].links[member].1) {
            if twice {
                self.count("answer duplicated");
                let event = event.clone();
                self.push(back + 5 * MS, Ev::Inbox { host: h, life, event });
            }
            self.push(back, Ev::Inbox { host: h, life, event });
        }
    }

    fn answer_of_etcd(&mut self, txn: &Txn) -> Result<(bool, Vec<Change>), String> {
        match self.etcd.refuses(txn, self.keys.ranges().len()) {
            Some(why) => Err(why.to_owned()),
            None => self.etcd.txn(txn),
        }
    }

    fn serve(&mut self, h: usize, call: Call, sent: u64) -> Option<Event> {
        match call {
            Call::Txn(id, txn) => match self.answer_of_etcd(&txn) {
                Ok((succeeded, changes)) => {
                    if succeeded {
                        self.classify(&txn, &changes);
                    } else {
                        self.count("compare failed");
                    }
                    self.key_rightly(h, &changes);
                    self.changed(Some((h, sent)), &changes);
                    let mut answer = self.etcd.answer(&self.keys, succeeded);
                    self.mutant.answer(&mut answer, &self.keys, &self.hosts[h].name);
                    Some(Event::Answer { id, result: Ok(answer) })
                }
                Err(why) => Some(Event::Answer {
                    id,
                    result: Err(StoreError::Refused(why)),
                }),
            },
            Call::Read(id) => {
                let mut answer = self.etcd.answer(&self.keys, true);
                self.mutant.answer(&mut answer, &self.keys, &self.hosts[h].name);
                Some(Event::Answer { id, result: Ok(answer) })
            }
            Call::Grant(grant) => {
                let ttl = grant.ttl.as_nanos() as u64;
                self.etcd.grant(grant.lease, self.now + ttl, ttl);
                self.push(ttl + SWEEP, Ev::LeaseEnd { lease: grant.lease });
                Some(Event::Granted {
                    lease: grant.lease,
                    result: Ok(()),
                })
            }
            Call::KeepAlive(lease) => {
                if let Some(ttl) = self.etcd.keep_alive(lease, self.now) {
                    self.push(ttl + SWEEP, Ev::LeaseEnd { lease });
                }
                None
            }
            Call::Revoke(lease) => {
                let changes = self.etcd.revoke(lease);
                self.changed(Some((h, sent)), &changes);
                None
            }
        }
    }

    /// A deposed leader acknowledges keep-alives; what needs the others waits, and may be committed by its successor.
    fn ask_stale(&mut self, h: usize, life: u64, call: Call, back: Option<u64>, sent: u64) {
        match call {
            Call::KeepAlive(_) => self.count("keep-alive acknowledged by a stale leader"),
            Call::Read(id) => {
                self.count("read held back by a stale leader");
                let belief = self.members.belief().filter(|_| self.mutant == Mutant::StaleReads);
                let answer = belief.map(|etcd| etcd.answer(&self.keys, true));
                if let (Some(answer), Some(back)) = (answer, back) {
                    let event = Event::Answer { id, result: Ok(answer) };
                    self.push(back, Ev::Inbox { host: h, life, event });
                }
            }
            Call::Txn(..) | Call::Grant(_) | Call::Revoke(_) => self.members.keep_in_limbo(h, life, call, sent),
        }
    }

    fn refused(&mut self, h: usize, life: u64, member: usize, call: &Call, back: Option<u64>) {
        self.count("endpoint refused the connection");
        let Some(back) = back.filter(|_| self.hosts[h].life == life && self.hosts[h].links[member].1) else {
            return;
        };
        if let Call::Txn(id, _) | Call::Read(id) = call
            && self.hosts[h].asked == Some(*id)
        {
            self.hosts[h].endpoint_failed(member, self.now);
        }
        if let Some(event) = failed(call, StoreError::Unknown("connection refused".to_owned())) {
            self.push(back, Ev::Inbox { host: h, life, event });
        }
    }

    /// What follows in the world from what was written: hints, and the checks that need the true state.
    pub(crate) fn changed(&mut self, by: Option<(usize, u64)>, changes: &[Change]) {
        let accepted = changes.iter().any(|(key, ..)| *key == self.keys.config());
        let mut hints = Vec::new();
        for (key, before, after) in changes {
            let Some(parts) = self.keys.parts(key) else { continue };
            match parts.as_slice() {
                ["nodes", node] => match (before, after) {
                    (_, Some(after)) => {
                        let node = (*node).to_owned();
                        self.covered(&node, after.lease, &after.value, by.map_or(self.now, |(_, sent)| sent));
                    }
                    (Some(before), None) => hints.push(Hint::NodeGone {
                        node: (*node).to_owned(),
                        lease: before.lease,
                        last_mod_revision: before.mod_revision,
                    }),
                    (None, None) => {}
                },
                ["groups", _, "without", _] => {
                    hints.push(Hint::Changed);
                    if by.is_some() && after.is_some() {
                        self.count("a node left out");
                    }
                }
                ["groups", group, leaf] => {
                    hints.push(Hint::Changed);
                    match (*leaf, by, after) {
                        ("deleted", Some(_), Some(_)) => self.count("a group deleted"),
                        ("deleted", Some(_), None) => self.count("a group created"),
                        _ => {}
                    }
                    if *leaf == "policy" {
                        let group = (*group).to_owned();
                        let values = [&before, &after].map(|kv| kv.as_ref().map(|kv| kv.value.clone()));
                        self.set_rightly(by.is_some() && !accepted, &group, &values);
                    }
                    if *leaf == "record"
                        && let Some(after) = after
                    {
                        let group = (*group).to_owned();
                        let before = before.as_ref().map(|kv| kv.value.as_str());
                        self.recorded(by.map(|(h, _)| h), &group, before, &after.value, accepted);
                    }
                }
                _ => {}
            }
        }
        for h in 0..self.hosts.len() {
            for hint in &hints {
                let host = &self.hosts[h];
                let connected = host.links[host.endpoint].1 && self.members.service(host.endpoint) == Service::Serves;
                if self.rng.chance(800) && connected {
                    let (life, delay) = (self.hosts[h].life, self.rng.range(MS, 30 * MS));
                    let event = Event::Hint(hint.clone());
                    self.push(delay, Ev::Inbox { host: h, life, event });
                }
            }
        }
    }
}

impl Host {
    /// The next endpoint that is not in quarantine; if all are, they take turns.
    pub(crate) fn endpoint_failed(&mut self, member: usize, now: u64) {
        self.quarantine[member] = now + QUARANTINE;
        if self.endpoint == member {
            let others = (1..MEMBERS).map(|step| (member + step) % MEMBERS);
            let next = others.into_iter().find(|m| self.quarantine[*m] <= now);
            self.endpoint = next.unwrap_or((member + 1) % MEMBERS);
        }
    }
}

pub(crate) fn failed(call: &Call, why: StoreError) -> Option<Event> {
    match call {
        Call::Txn(id, _) | Call::Read(id) => Some(Event::Answer {
            id: *id,
            result: Err(why),
        }),
        Call::Grant(grant) => Some(Event::Granted {
            lease: grant.lease,
            result: Err(why),
        }),
        Call::KeepAlive(_) | Call::Revoke(_) => None,
    }
}
