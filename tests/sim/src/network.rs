//! The way to etcd and back: lost, late, doubled, unknown.

use shipped::core::event::Event;
use shipped::core::records::Record;
use shipped::core::store::{Hint, StoreError};

use crate::etcd::Change;
use crate::events::{Call, Ev};
use crate::host::{MS, S};
use crate::world::World;

impl World {
    pub(crate) fn call(&mut self, h: usize, call: Call) {
        let mut call = call;
        if let Call::Txn(_, txn) = &mut call {
            self.mutant.txn(txn, &self.keys, &self.hosts[h].name);
        }
        let life = self.hosts[h].life;
        let manners = self.hosts[h].manners.clone();
        let out = self.rng.range(MS / 2, manners.latency);
        let back = self.rng.range(MS / 2, manners.latency);
        let attempt = self.timing.attempt.as_nanos() as u64;
        self.push(
            attempt,
            Ev::Timeout {
                host: h,
                life,
                call: call.clone(),
            },
        );
        if !self.hosts[h].to_etcd || self.rng.chance(manners.lose) {
            self.count("request lost");
            return;
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
        let back = (!lost).then(|| {
            if self.rng.chance(manners.late) {
                self.rng.range(back, attempt)
            } else {
                back
            }
        });
        if self.rng.chance(manners.duplicate) {
            self.count("request duplicated");
            let again = self.rng.range(out, out + S);
            self.push(
                again,
                Ev::ToEtcd {
                    host: h,
                    life,
                    call: call.clone(),
                    back,
                },
            );
        }
        self.push(
            out,
            Ev::ToEtcd {
                host: h,
                life,
                call,
                back,
            },
        );
    }

    pub(crate) fn arrive(&mut self, h: usize, life: u64, call: Call, back: Option<u64>) {
        if !self.etcd_up {
            return;
        }
        let event = match call {
            Call::Txn(id, txn) => {
                let before = self.etcd.revision;
                match self.etcd.txn(&txn) {
                    Ok((succeeded, changes)) => {
                        if succeeded {
                            self.classify(&txn, &changes);
                        } else {
                            self.count("compare failed");
                        }
                        self.changed(Some(h), &changes);
                        debug_assert!(self.etcd.revision >= before);
                        let mut answer = self.etcd.answer(&self.keys, succeeded);
                        self.mutant.answer(&mut answer, &self.keys, &self.hosts[h].name);
                        Event::Answer { id, result: Ok(answer) }
                    }
                    Err(why) => Event::Answer {
                        id,
                        result: Err(StoreError::Refused(why)),
                    },
                }
            }
            Call::Read(id) => {
                let mut answer = self.etcd.answer(&self.keys, true);
                self.mutant.answer(&mut answer, &self.keys, &self.hosts[h].name);
                Event::Answer { id, result: Ok(answer) }
            }
            Call::Grant(grant) => {
                let end = self.now + grant.ttl.as_nanos() as u64;
                self.etcd.leases.insert(grant.lease, end);
                self.push(end - self.now, Ev::LeaseEnd { lease: grant.lease });
                Event::Granted {
                    lease: grant.lease,
                    result: Ok(()),
                }
            }
            Call::KeepAlive(lease) => {
                let end = self.now + self.timing.lease_ttl().as_nanos() as u64;
                if let Some(at) = self.etcd.leases.get_mut(&lease) {
                    *at = end;
                    self.push(end - self.now, Ev::LeaseEnd { lease });
                }
                return;
            }
            Call::Revoke(lease) => {
                let changes = self.etcd.revoke(lease);
                self.changed(Some(h), &changes);
                return;
            }
        };
        if let Some(back) = back.filter(|_| self.hosts[h].from_etcd) {
            self.push(back, Ev::Inbox { host: h, life, event });
        }
    }

    /// What follows in the world from what was written: hints, and the checks that need the true state.
    pub(crate) fn changed(&mut self, by: Option<usize>, changes: &[Change]) {
        let accepted = changes.iter().any(|(key, ..)| *key == self.keys.config());
        let mut hints = Vec::new();
        for (key, before, after) in changes {
            let Some(parts) = self
                .keys
                .parts(key)
                .map(|p| p.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
            else {
                continue;
            };
            match (parts[0].as_str(), parts.len()) {
                ("nodes", 2) => match (before, after) {
                    (_, Some(after)) => self.covered(&parts[1], after.lease, &after.value),
                    (Some(before), None) => hints.push(Hint::NodeGone {
                        node: parts[1].clone(),
                        lease: before.lease,
                        last_mod_revision: before.mod_revision,
                    }),
                    (None, None) => {}
                },
                ("groups", 3) => {
                    hints.push(Hint::Changed);
                    if parts[2] == "record"
                        && let Some(after) = after
                    {
                        let before = before
                            .as_ref()
                            .and_then(|kv| serde_json::from_str::<Record>(&kv.value).ok());
                        self.recorded(by, &parts[1], before, &after.value, accepted);
                    }
                }
                _ => {}
            }
        }
        for h in 0..self.hosts.len() {
            for hint in &hints {
                if self.rng.chance(800) && self.hosts[h].from_etcd {
                    let (life, delay) = (self.hosts[h].life, self.rng.range(MS, 30 * MS));
                    self.push(
                        delay,
                        Ev::Inbox {
                            host: h,
                            life,
                            event: Event::Hint(hint.clone()),
                        },
                    );
                }
            }
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
