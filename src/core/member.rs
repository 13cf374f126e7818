//! This node's place in the cluster: its incarnation, its beats, and what each answer of etcd proves.
//!
//! Every transaction of a node is also its beat (protocol.md, OWN). One is in flight at a time. Whatever comes back is
//! read the same way: the node's own key tells which of the attempts has landed, and the youngest that did is the proof.

use std::collections::BTreeMap;
use std::time::Duration;

use super::epoch::Run;
use super::event::{Action, Level, Order, PageOrder, ServiceKey};
use super::group::{After, Stage, Way};
use super::node::Node;
use super::records::{Beat, Pin, Saved, View, json};
use super::sizing::KILL_BUDGET;
use super::store::{Answer, Compare, Grant, Op, RequestId, StoreError, Txn};
use super::time::Time;

/// Attempts whose outcome is unknown and that may still land.
const ATTEMPTS_MAX: usize = 16;
/// How often a sidecar that adopts lets a late beat of its predecessor go by.
const ADOPT_TRIES: u32 = 3;
/// How far the revision may grow before the pin on disk follows.
const PIN_STEP: i64 = 10_000;

/// Where the node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Member {
    /// Nothing has been read yet, or everything was dropped.
    Arriving,
    /// Our name's key belongs to somebody who may be alive.
    Waiting,
    /// A lease is asked for; `asked` is cleared to ask again.
    Granting {
        lease: i64,
        asked: bool,
    },
    Registering {
        lease: i64,
    },
    /// Taking over the incarnation of an earlier sidecar of this boot.
    Adopting {
        lease: i64,
        mod_revision: i64,
        tries: u32,
    },
    Joined {
        lease: i64,
        mod_revision: i64,
    },
    /// The key is gone or somebody else's: all groups stop, are released by T8, then we arrive anew.
    Lost {
        lease: i64,
    },
    /// etcd is not the one we trusted: nothing starts until an operator accepts.
    Frozen {
        why: String,
    },
    Left,
}

/// What a request was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Configure,
    Register,
    Evict,
    Beat,
    /// An operator's wish written to etcd; the reply follows the answer.
    Intent {
        reply: u64,
    },
    Hold {
        reply: u64,
        length: Duration,
    },
    Campaign {
        group: String,
    },
    Release {
        group: String,
    },
    ReleaseLost {
        group: String,
    },
    Accept {
        reply: u64,
    },
}

/// The request in flight.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    pub id: RequestId,
    pub stamp: Time,
    pub purpose: Purpose,
}

/// A beat that was sent and not yet superseded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    pub nonce: u64,
    pub stamp: Time,
    pub promise: Duration,
}

impl Node {
    /// Sends the most urgent request, if none is in flight.
    pub(super) fn request(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.pending.is_some() || now.since(self.sent_at) < self.pause {
            return;
        }
        if self.read_back {
            return self.send_read(now, out);
        }
        let due = now.since(self.sent_at) >= self.timing.beat || self.hinted;
        match self.member.clone() {
            Member::Arriving | Member::Frozen { .. } => {
                if due || !self.viewed {
                    self.request_unjoined(now, due, out);
                }
            }
            Member::Waiting => self.request_eviction(now, due, out),
            Member::Granting { lease, asked } => {
                if !asked {
                    self.member = Member::Granting { lease, asked: true };
                    self.sent_at = now;
                    out.push(Action::Grant(Grant {
                        lease,
                        ttl: self.timing.lease_ttl(),
                    }));
                }
            }
            Member::Registering { lease } => {
                let absent = Compare::Create {
                    key: self.keys.node(&self.me.name),
                    revision: 0,
                };
                self.send(
                    now,
                    lease,
                    self.timing.ttl,
                    vec![absent],
                    Vec::new(),
                    Purpose::Register,
                    out,
                );
            }
            Member::Adopting {
                lease, mod_revision, ..
            } => {
                self.send_own(
                    now,
                    lease,
                    mod_revision,
                    self.timing.ttl,
                    Txn::default(),
                    Purpose::Beat,
                    out,
                );
            }
            Member::Joined { lease, mod_revision } => self.request_joined(now, lease, mod_revision, due, out),
            Member::Lost { lease } => self.request_lost(now, lease, due, out),
            Member::Left => {}
        }
    }

    fn request_unjoined(&mut self, now: Time, due: bool, out: &mut Vec<Action>) {
        if let Some((reply, txn)) = self.acceptance(out) {
            return self.send_plain(now, txn, Purpose::Accept { reply }, out);
        }
        if due || !self.viewed {
            self.send_read(now, out);
        }
    }

    fn request_eviction(&mut self, now: Time, due: bool, out: &mut Vec<Action>) {
        let name = self.me.name.clone();
        let squatter = self.view.lease_of(&name);
        let ripe = self.observer.ripe(now, &name, squatter);
        if let Some(revision) = self.observer.beat_of(&name, squatter).filter(|_| ripe) {
            // T9: the namesake has been silent for as long as it promised.
            let key = self.keys.node(&name);
            let txn = Txn {
                compare: vec![Compare::Mod {
                    key: key.clone(),
                    revision,
                }],
                then: vec![Op::Delete { key }],
            };
            self.send_plain(now, txn, Purpose::Evict, out);
        } else if due {
            self.send_read(now, out);
        }
    }

    fn request_joined(&mut self, now: Time, lease: i64, mod_revision: i64, due: bool, out: &mut Vec<Action>) {
        let release = self.released(lease);
        if self.holding_until.is_some_and(|until| !now.reached(until)) && release.is_none() {
            // A beat with the ordinary promise would end the hold: only read. What is stopped here ends it.
            if due {
                self.send_read(now, out);
            }
            return;
        }
        self.holding_until = None;
        if let Some((reply, txn)) = self.acceptance(out) {
            return self.send_plain(now, txn, Purpose::Accept { reply }, out);
        }
        if let Some((reply, length)) = self.hold_wish.take() {
            let purpose = Purpose::Hold { reply, length };
            return self.send_own(now, lease, mod_revision, length, Txn::default(), purpose, out);
        }
        let wish = release
            .or_else(|| self.intent_wish())
            .or_else(|| self.campaign(now, lease));
        if let Some((txn, purpose)) = wish {
            self.send_own(now, lease, mod_revision, self.timing.ttl, txn, purpose, out);
        } else if due {
            let txn = Txn {
                compare: Vec::new(),
                then: self.publication(lease),
            };
            self.send_own(now, lease, mod_revision, self.timing.ttl, txn, Purpose::Beat, out);
        }
    }

    fn request_lost(&mut self, now: Time, lease: i64, due: bool, out: &mut Vec<Action>) {
        if let Some((txn, purpose)) = self.released_lost(lease) {
            self.send_plain(now, txn, purpose, out);
        } else if self.groups.values().all(|group| group.held.is_none()) {
            self.arrive();
            self.send_read(now, out);
        } else if due {
            self.send_read(now, out);
        }
    }

    /// Drops the old incarnation: the next one gets a new random lease id.
    fn arrive(&mut self) {
        self.member = Member::Arriving;
        self.viewed = false;
        self.attempts.clear();
        self.proof = None;
        self.published = None;
    }

    pub(super) fn send_read(&mut self, now: Time, out: &mut Vec<Action>) {
        let id = self.take_id(now, Purpose::Read);
        out.push(Action::Read { id });
    }

    fn send_plain(&mut self, now: Time, txn: Txn, purpose: Purpose, out: &mut Vec<Action>) {
        let id = self.take_id(now, purpose);
        out.push(Action::Txn { id, txn });
    }

    /// OWN: compares that the key is still this incarnation's last beat, and beats again.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call carries everything that is sent, and nothing is sent otherwise"
    )]
    fn send_own(
        &mut self,
        now: Time,
        lease: i64,
        mod_revision: i64,
        promise: Duration,
        txn: Txn,
        purpose: Purpose,
        out: &mut Vec<Action>,
    ) {
        let key = self.keys.node(&self.me.name);
        let mut compare = vec![
            Compare::Lease {
                key: key.clone(),
                lease,
            },
            Compare::Mod {
                key,
                revision: mod_revision,
            },
        ];
        compare.extend(txn.compare);
        self.send(now, lease, promise, compare, txn.then, purpose, out);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one call carries everything that is sent, and nothing is sent otherwise"
    )]
    fn send(
        &mut self,
        now: Time,
        lease: i64,
        promise: Duration,
        compare: Vec<Compare>,
        mut then: Vec<Op>,
        purpose: Purpose,
        out: &mut Vec<Action>,
    ) {
        self.seq += 1;
        let nonce = self.random();
        let beat = Beat {
            machine: self.me.machine.clone(),
            boot: self.me.boot.clone(),
            seq: self.seq,
            nonce,
            ttl_ms: u64::try_from(promise.as_millis()).unwrap_or(u64::MAX),
        };
        let key = self.keys.node(&self.me.name);
        then.insert(
            0,
            Op::Put {
                key,
                value: json(&beat),
                lease,
            },
        );
        if self.attempts.len() == ATTEMPTS_MAX {
            self.attempts.remove(0);
        }
        self.attempts.push(Attempt {
            nonce,
            stamp: now,
            promise,
        });
        // It may land unseen, and observers then wait no longer than it promises: nothing may count on more from here.
        self.shorten(now, promise);
        self.shorten_adoptable(now, promise, out);
        self.step_groups(now, out);
        let id = self.take_id(now, purpose);
        out.push(Action::Txn {
            id,
            txn: Txn { compare, then },
        });
    }

    fn take_id(&mut self, now: Time, purpose: Purpose) -> RequestId {
        self.next_id += 1;
        let id = RequestId(self.next_id);
        self.pending = Some(Pending {
            id,
            stamp: now,
            purpose,
        });
        self.sent_at = now;
        self.hinted = false;
        id
    }

    /// An answer, or none.
    pub(super) fn answered(
        &mut self,
        now: Time,
        id: RequestId,
        result: Result<Answer, StoreError>,
        out: &mut Vec<Action>,
    ) {
        let Some(pending) = self.pending.take_if(|pending| pending.id == id) else {
            return;
        };
        match result {
            Ok(answer) => {
                self.pause = Duration::ZERO;
                self.read_back = false;
                self.store_failure = None;
                let view = View::read(&self.keys, &answer);
                self.learn(now, &pending, view, out);
                self.conclude(now, &pending, answer.succeeded, out);
            }
            Err(StoreError::Unknown(why)) => {
                self.pause = (self.timing.attempt / 4).min(Duration::from_millis(100));
                self.read_back = true;
                self.store_failure = Some(why);
                self.disappoint(&pending, "etcd did not answer in time: the outcome is not known", out);
            }
            Err(StoreError::Refused(why)) => {
                self.pause = self.timing.beat;
                // Nothing of it will ever land.
                if pending.purpose != Purpose::Read {
                    self.attempts.retain(|attempt| attempt.stamp != pending.stamp);
                }
                // etcd no longer knows the lease, or never did: the next one gets another id.
                if pending.purpose == Purpose::Register {
                    self.member = Member::Granting {
                        lease: self.new_lease(),
                        asked: false,
                    };
                }
                self.disappoint(&pending, &why, out);
                self.store_failure = Some(why);
            }
        }
    }

    /// Reads a view: first whether it is of the etcd we trust, then what it proves.
    fn learn(&mut self, now: Time, pending: &Pending, view: View, out: &mut Vec<Action>) {
        if let Some(why) = self.strange(&view) {
            // Watched only so that `accept` can tell whether a hold has ended; revisions may repeat after a restore.
            if !matches!(self.member, Member::Frozen { .. }) {
                self.observer.clear();
            }
            self.observer.update(now, &view, self.timing.ttl);
            self.view = view;
            self.viewed = true;
            return self.freeze(why, out);
        }
        if self.accepted_elsewhere(&view) {
            return self.start_over(now, view, out);
        }
        self.pin(&view, out);
        self.contact.good(pending.stamp, now, self.timing.contact_gap());
        self.observer.update(now, &view, self.timing.ttl);
        self.view = view;
        self.viewed = true;
        self.adopt_config(out);
        self.prepare(out);
        self.locate(now, out);
        self.compare_records(now, out);
    }

    /// The containers are made once the storage is known, and anew when it is initialised.
    fn prepare(&mut self, out: &mut Vec<Action>) {
        for group in self.groups.keys() {
            let store = self.view.group(group).store.map(|store| store.id);
            if self.prepared_stores.get(group) != Some(&store) {
                self.prepared_stores.insert(group.clone(), store.clone());
                out.push(Action::Prepare {
                    group: group.clone(),
                    store,
                });
            }
        }
    }

    /// Where the node's own key puts it.
    fn locate(&mut self, now: Time, out: &mut Vec<Action>) {
        let own = self.view.nodes.get(&self.me.name).cloned();
        let beat = own.as_ref().and_then(|key| key.beat.clone());
        let landed = beat
            .as_ref()
            .and_then(|beat| self.attempts.iter().position(|attempt| attempt.nonce == beat.nonce));
        let lease = own.as_ref().map_or(0, |key| key.lease);
        let revision = own.as_ref().map_or(0, |key| key.mod_revision);
        match self.member.clone() {
            Member::Arriving | Member::Waiting => self.arrived(now, lease, revision, beat, out),
            Member::Registering { lease: wanted } if lease != 0 => {
                if lease == wanted && landed.is_some() {
                    self.member = Member::Joined {
                        lease,
                        mod_revision: revision,
                    };
                    self.proved(now, landed, out);
                } else {
                    self.member = Member::Waiting;
                }
            }
            Member::Adopting {
                lease: wanted,
                mod_revision,
                tries,
            } => {
                if lease != wanted || beat.is_none_or(|beat| beat.boot != self.me.boot) {
                    self.lose(now, wanted, "the key of the earlier sidecar is gone", out);
                } else if landed.is_some() {
                    self.member = Member::Joined {
                        lease,
                        mod_revision: revision,
                    };
                    self.proved(now, landed, out);
                    self.adopt_runs(now, lease, out);
                } else if revision != mod_revision {
                    // The predecessor's last beat landed after all; it is dead, so there is at most one.
                    match tries < ADOPT_TRIES {
                        true => {
                            self.member = Member::Adopting {
                                lease,
                                mod_revision: revision,
                                tries: tries + 1,
                            }
                        }
                        false => self.lose(now, wanted, "somebody else beats on this node's lease", out),
                    }
                }
            }
            Member::Joined {
                lease: mine,
                mod_revision,
            } => {
                if lease == mine && landed.is_some() {
                    self.member = Member::Joined {
                        lease,
                        mod_revision: revision,
                    };
                    self.proved(now, landed, out);
                } else if lease != mine || revision != mod_revision {
                    self.lose(now, mine, "its key in etcd is gone or not its own", out);
                }
            }
            Member::Granting { .. }
            | Member::Registering { .. }
            | Member::Lost { .. }
            | Member::Frozen { .. }
            | Member::Left => {}
        }
    }

    fn arrived(&mut self, now: Time, lease: i64, revision: i64, beat: Option<Beat>, out: &mut Vec<Action>) {
        if self.view.config.is_none() {
            let (generation, ttl_ms) = (1, u64::try_from(self.timing.ttl.as_millis()).unwrap_or(u64::MAX));
            let key = self.keys.config();
            let value = json(&super::records::ClusterConfig { generation, ttl_ms });
            let txn = Txn {
                compare: vec![Compare::Create {
                    key: key.clone(),
                    revision: 0,
                }],
                then: vec![Op::Put { key, value, lease: 0 }],
            };
            return self.send_plain(now, txn, Purpose::Configure, out);
        }
        if let Some(saved) = self.saved.take() {
            let ours = lease == saved.lease && beat.is_some_and(|beat| beat.boot == self.me.boot);
            if ours {
                self.adoptable = saved.groups;
                self.member = Member::Adopting {
                    lease,
                    mod_revision: revision,
                    tries: 0,
                };
                return;
            }
            self.disown_all(now, &saved, "its lease is no longer this node's", out);
            if self.groups.values().any(|group| group.held.is_some()) {
                self.member = Member::Lost { lease: saved.lease };
                return;
            }
        }
        self.member = if lease == 0 {
            Member::Granting {
                lease: self.new_lease(),
                asked: false,
            }
        } else {
            Member::Waiting
        };
    }

    /// The lease is there: T1 next.
    pub(super) fn granted(&mut self, lease: i64, result: Result<(), StoreError>) {
        if self.member == (Member::Granting { lease, asked: true }) {
            match result {
                Ok(()) => self.member = Member::Registering { lease },
                Err(StoreError::Unknown(why) | StoreError::Refused(why)) => {
                    self.store_failure = Some(why);
                    self.pause = self.timing.beat;
                    // It may have been granted all the same: an id is never used twice.
                    self.member = Member::Granting {
                        lease: self.new_lease(),
                        asked: false,
                    };
                }
            }
        }
    }

    /// An attempt has landed: its stamp is the proof, for every group of this incarnation.
    fn proved(&mut self, now: Time, landed: Option<usize>, out: &mut Vec<Action>) {
        let Some(attempt) = landed.map(|at| self.attempts[at]) else {
            return;
        };
        self.attempts.retain(|other| other.stamp > attempt.stamp);
        let Member::Joined { lease, .. } = self.member else {
            return;
        };
        self.proof = Some((attempt.stamp, attempt.promise));
        for group in self.groups.values_mut() {
            if group.held.as_ref().is_some_and(|held| held.lease == lease) {
                let deadlines = self
                    .timing
                    .deadlines(attempt.stamp, attempt.promise, group.settings.grace);
                group.renew(now, deadlines, out);
            }
        }
        if now.since(self.kept_alive) >= self.timing.ttl {
            self.kept_alive = now;
            out.push(Action::KeepAlive { lease });
        }
    }

    /// Before a shorter promise is sent, every deadline that counts on a longer one comes in.
    fn shorten(&mut self, stamp: Time, promise: Duration) {
        for group in self.groups.values_mut() {
            let deadlines = self.timing.deadlines(stamp, promise, group.settings.grace);
            if let Some(held) = group.held.as_mut() {
                held.deadlines = held.deadlines.earlier(deadlines);
            }
        }
    }

    /// The same for runs not yet adopted: a hold of the earlier sidecar may have promised them far more.
    fn shorten_adoptable(&mut self, stamp: Time, promise: Duration, out: &mut Vec<Action>) {
        for (name, saved) in &self.adoptable {
            let (Some(group), Some((soft, hard))) = (self.groups.get(name), self.pages.get_mut(name)) else {
                continue;
            };
            let deadlines = self.timing.deadlines(stamp, promise, group.settings.grace);
            (*soft, *hard) = (soft.earlier(deadlines.soft), hard.earlier(deadlines.hard));
            let order = if saved.latched { Order::Stop } else { Order::Open };
            let run = Run {
                epoch: saved.epoch,
                n: saved.n,
            };
            for service in 0..group.settings.services.len() {
                let page = PageOrder {
                    run,
                    order,
                    soft: *soft,
                    hard: *hard,
                };
                let of = ServiceKey {
                    group: name.clone(),
                    service,
                };
                out.push(Action::Page { of, page });
            }
            if group.settings.vips > 0 && !saved.latched {
                let valid = stamp.until(hard.plus(KILL_BUDGET));
                out.push(Action::VipHold {
                    group: name.clone(),
                    valid,
                    announce: false,
                });
            }
        }
    }

    /// LOST: whatever this incarnation held stops, is proved stopped, and is released by T8.
    pub(super) fn lose(&mut self, now: Time, lease: i64, why: &str, out: &mut Vec<Action>) {
        self.say(
            Level::Alarm,
            format!("this node lost its place in the cluster: {why}"),
            out,
        );
        self.member = Member::Lost { lease };
        self.holding_until = None;
        let adoptable = std::mem::take(&mut self.adoptable);
        let saved = Saved {
            boot: self.me.boot.clone(),
            lease,
            groups: adoptable,
        };
        self.disown_all(now, &saved, why, out);
        for group in self.groups.values_mut() {
            let text = format!("this node lost its place in the cluster ({why}): stopping");
            group.stop(now, Way::Fence, After::Lost, text, Level::Alarm, out);
        }
    }

    fn disown_all(&mut self, now: Time, saved: &Saved, why: &str, out: &mut Vec<Action>) {
        for (name, run) in &saved.groups {
            if let Some(group) = self.groups.get_mut(name).filter(|group| group.held.is_none()) {
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
    fn adopt_runs(&mut self, now: Time, lease: i64, out: &mut Vec<Action>) {
        let adoptable: BTreeMap<_, _> = std::mem::take(&mut self.adoptable);
        for (name, saved) in adoptable {
            let keys = self.view.group(&name);
            let ours = keys
                .active()
                .is_some_and(|record| record.incarnation == lease && record.epoch == saved.epoch);
            let Some(group) = self.groups.get_mut(&name) else {
                continue;
            };
            let run = Run {
                epoch: saved.epoch,
                n: saved.n,
            };
            match self.proof {
                Some((stamp, promise)) if ours && !saved.latched => {
                    let deadlines = self.timing.deadlines(stamp, promise, group.settings.grace);
                    group.adopt(now, run, lease, deadlines, out);
                }
                Some(_) | None => {
                    group.disown(now, run, lease, "its stop had begun or its record is not ours", out);
                    if let Some(held) = &mut group.held {
                        held.after = if ours { After::RanOut } else { After::Forget };
                    }
                }
            }
        }
    }

    /// Why this etcd is not the one that was pinned.
    fn strange(&self, view: &View) -> Option<String> {
        let pin = self.pinned?;
        let generation = view.config.map_or(0, |config| config.generation);
        if generation > pin.generation {
            return None;
        }
        if view.cluster_id != pin.cluster_id {
            return Some(format!(
                "etcd's cluster id is {:x}, not {:x} as before",
                view.cluster_id, pin.cluster_id
            ));
        }
        if generation < pin.generation {
            return Some(format!(
                "the cluster's generation went back from {} to {generation}",
                pin.generation
            ));
        }
        let back = view.revision < pin.revision;
        back.then(|| format!("etcd's revision went back from {} to {}", pin.revision, view.revision))
    }

    fn freeze(&mut self, why: String, out: &mut Vec<Action>) {
        let text = format!("{why}: nothing starts until `leasehold accept`; see whether etcd was restored or replaced");
        self.say(Level::Alarm, text, out);
        self.contact.clear();
        // Held groups run on to their deadline; no beat counts from here.
        self.member = Member::Frozen { why };
    }

    fn accepted_elsewhere(&self, view: &View) -> bool {
        let generation = view.config.map_or(0, |config| config.generation);
        self.pinned.is_some_and(|pin| generation > pin.generation)
    }

    /// After T11: everything seen before counts for nothing, this incarnation included.
    fn start_over(&mut self, now: Time, view: View, out: &mut Vec<Action>) {
        self.pinned = None;
        self.pin(&view, out);
        self.observer.clear();
        self.contact.clear();
        self.view = view;
        self.viewed = true;
        let lease = match self.member {
            Member::Joined { lease, .. } | Member::Adopting { lease, .. } | Member::Lost { lease } => lease,
            Member::Arriving
            | Member::Waiting
            | Member::Granting { .. }
            | Member::Registering { .. }
            | Member::Frozen { .. }
            | Member::Left => 0,
        };
        self.lose(now, lease, "an operator accepted a restored etcd", out);
    }

    fn pin(&mut self, view: &View, out: &mut Vec<Action>) {
        let Some(config) = view.config else { return };
        let pin = Pin {
            cluster_id: view.cluster_id,
            generation: config.generation,
            revision: view.revision,
        };
        let old = self.pinned.replace(pin);
        let far = old.is_none_or(|old| {
            old.cluster_id != pin.cluster_id
                || old.generation != pin.generation
                || pin.revision - self.pin_written >= PIN_STEP
        });
        if far {
            self.pin_written = pin.revision;
            out.push(Action::Pin(pin));
        }
    }

    /// The ttl in etcd is everybody's; a file that says otherwise is reported, not obeyed.
    fn adopt_config(&mut self, out: &mut Vec<Action>) {
        let Some(config) = self.view.config else { return };
        let ttl = Duration::from_millis(config.ttl_ms);
        if ttl != self.timing.ttl {
            let text = format!(
                "the compose file says ttl {:?}, the cluster {ttl:?}: the cluster's holds",
                self.timing.ttl
            );
            self.say(Level::Alarm, text, out);
            self.timing = super::sizing::Timing::new(ttl, self.timing.kappa, None, self.timing.election_timeout);
            if let Err(short) = self.timing.check() {
                self.freeze(short.to_string(), out);
            }
        }
    }

    /// A record that does not say what we hold, or that we hold what we do not run.
    fn compare_records(&mut self, now: Time, out: &mut Vec<Action>) {
        let Member::Joined { lease, .. } = self.member else {
            return;
        };
        for (name, group) in &mut self.groups {
            let keys = self.view.group(name);
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
                    if group
                        .held
                        .as_ref()
                        .is_none_or(|held| epoch > held.run.epoch && held.stage == Stage::Stopped) =>
                {
                    // A campaign of ours landed, late or at once: never ignored.
                    if let Some((stamp, promise)) = self.proof {
                        let deadlines = self.timing.deadlines(stamp, promise, group.settings.grace);
                        match group.held.as_mut() {
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
                        group.stop(now, Way::Fence, After::Forget, text, Level::Alarm, out);
                    }
                }
                (Some(_), Some(_) | None) | (None, None) => {}
            }
        }
    }
}
