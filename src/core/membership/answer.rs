//! What an answer proves, read in one way whatever was asked: where this node's own key puts it.

use std::time::Duration;

use super::place::{Place, place};
use super::{Attempt, Member, Pending, Purpose};
use crate::event::Action;
use crate::node::Node;
use crate::protocol::records::{ClusterConfig, NodeKey, View};
use crate::requests::refusal::Refusal;
use crate::snapshot::code::Code;
use crate::store::{Answer, RequestId, StoreError, Txn};
use crate::text;
use crate::time::Time;

/// The lease of a node that joined under a short ttl lives five minutes, whatever the ttl is by now.
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(100);

impl Node {
    /// Drops the old incarnation: the next one gets a new random lease id.
    pub(super) fn arrive(&mut self) {
        self.membership.member = Member::Arriving;
        self.facts.arrive();
        self.membership.exchange.drop_beats();
        self.promises.drop_round();
        self.membership.publication.forget();
    }

    /// An answer, or none.
    pub(crate) fn answered(
        &mut self,
        now: Time,
        id: RequestId,
        result: Result<Answer, StoreError>,
        out: &mut Vec<Action>,
    ) {
        let Some(pending) = self.membership.exchange.take(id) else {
            return;
        };
        match result {
            Ok(answer) => {
                self.membership.exchange.answered();
                self.not_refused(&pending.purpose);
                if let (Purpose::Evict(last) | Purpose::Campaign { ends: Some(last), .. }, true) =
                    (&pending.purpose, answer.succeeded)
                {
                    // It compared the very beat that was observed, so no later one came, nor can one come: what was held
                    // under it is gone since the observation began, and need not be waited for again.
                    self.facts.key_deleted(last.node.clone(), last.lease, last.revision);
                }
                let view = View::read(self.facts.keys(), &answer);
                self.learn(now, &pending, view, out);
                self.conclude(now, &pending, answer.succeeded, out);
            }
            Err(StoreError::Unknown(why)) => {
                let pause = (self.facts.timing().attempt / 4).min(Duration::from_millis(100));
                self.membership.exchange.unanswered(pause, why);
                self.fail_reply(&pending, Refusal::OutcomeUnknown, out);
            }
            Err(StoreError::Refused(why)) => {
                self.refused(now, &pending, &why, out);
                if pending.purpose != Purpose::Read {
                    self.membership.exchange.never_lands(pending.stamp);
                    self.promises.never_lands(pending.stamp);
                }
                // etcd no longer knows the lease, or never did: the next one gets another id.
                if pending.purpose == Purpose::Register {
                    self.membership.member = Member::Granting {
                        lease: self.membership.random.lease(),
                        asked: false,
                    };
                }
                self.fail_reply(&pending, Refusal::EtcdRefused { why: why.clone() }, out);
                self.membership.exchange.failed(why);
            }
        }
    }

    /// Reads a view: first whether it is of the etcd we trust, then what it proves.
    pub(super) fn learn(&mut self, now: Time, pending: &Pending, view: View, out: &mut Vec<Action>) {
        let view = self.with_last_good(view);
        if let Some(why) = self.trust.strange(&view) {
            // Watched only so that `accept` can tell whether a hold has ended; revisions may repeat after a restore.
            let anew = !matches!(self.membership.member, Member::Frozen { .. });
            let longest = view.config.map_or(Duration::ZERO, |config| config.longest());
            let missing = self.config_missing(&view);
            self.facts.watch_strange(view, longest.max(self.waiting()), anew);
            self.tell_damage(out);
            self.shorten_to_known_ttl(out);
            return match missing {
                true => self.freeze_until_config(out),
                false => self.freeze(Code::EtcdStrange, why, out),
            };
        }
        if self.trust.accepted_elsewhere(&view) {
            return self.start_over(now, view, out);
        }
        self.trust.raise_longest(&view);
        self.pin(&view, out);
        self.facts.learn(pending.stamp, view, self.waiting());
        self.tell_damage(out);
        self.mend_own_status();
        self.suspect_leases(now, out);
        self.adopt_config(out);
        self.adopt_promises(out);
        self.settle_config(now, out);
        self.heed_policies(now, out);
        self.prepare_groups(out);
        self.locate(now, out);
        self.compare_records(now, out);
    }

    /// What is set at run time counts from the view that shows it.
    pub(super) fn heed_policies(&mut self, now: Time, out: &mut Vec<Action>) {
        for (name, group) in &mut self.groups {
            if !group.has_left() {
                group.heed(now, &self.facts.view().group(name).policy, out);
            }
        }
    }

    /// The containers are made once the storage is known, and anew when it is initialised; those of a deleted group are not.
    fn prepare_groups(&mut self, out: &mut Vec<Action>) {
        for (name, group) in &mut self.groups {
            let keys = self.facts.view().group(name);
            if group.has_left() {
                continue;
            }
            if keys.deleted.is_some() {
                // What still runs is stopped and released first.
                if !group.is_held() {
                    group.unmanage(out);
                }
                continue;
            }
            group.manage(out);
            // What can't be read is not absent.
            if keys.store.is_none()
                && self
                    .facts
                    .view()
                    .unreadable
                    .contains_key(&self.facts.keys().store(name))
            {
                continue;
            }
            group.prepare(keys.store.as_ref().map(|store| store.id.clone()), out);
        }
    }

    /// Where the node's own key puts it.
    pub(super) fn locate(&mut self, now: Time, out: &mut Vec<Action>) {
        let me = self.facts.me();
        let own = self.facts.view().nodes.get(&me.name);
        let beat = own.and_then(|key| key.beat.as_ref());
        let landed = beat.and_then(|beat| self.membership.exchange.landed(beat.nonce));
        match place(&self.membership.member, own, landed.is_some(), &me.boot) {
            Place::Same => {}
            Place::Arrives => {
                let own = own.cloned();
                self.arrived(now, own, out);
            }
            Place::Waits => self.membership.member = Member::Waiting,
            Place::Proved {
                lease,
                mod_revision,
                adopts,
            } => {
                self.membership.member = Member::Joined { lease, mod_revision };
                self.proved(now, landed, out);
                if adopts {
                    self.adopt_runs(now, lease, out);
                }
            }
            Place::Follows { mod_revision, tries } => self.membership.member.follow(mod_revision, tries),
            Place::Lost { lease, why } => self.lose(now, lease, why, out),
        }
    }

    /// `own`: the key of this node's name, whosever it is.
    pub(super) fn arrived(&mut self, now: Time, own: Option<NodeKey>, out: &mut Vec<Action>) {
        if self.facts.view().config.is_none() && self.facts.damage().of_config() {
            return;
        }
        if self.facts.view().config.is_none() {
            let first = ClusterConfig::new(1, self.facts.timing().ttl, self.facts.timing().ttl);
            let txn = Txn::configure(self.facts.keys(), first);
            return self.send_plain(now, txn, Purpose::Configure, out);
        }
        if let Some(saved) = self.adoption.decide() {
            let same_boot = |key: &&NodeKey| key.beat.as_ref().is_some_and(|beat| beat.boot == self.facts.me().boot);
            let ours = own.as_ref().filter(|key| key.lease == saved.lease).filter(same_boot);
            if let Some(key) = ours {
                self.adoption.expect(saved.groups);
                self.membership.member = Member::Adopting {
                    lease: key.lease,
                    mod_revision: key.mod_revision,
                    tries: 0,
                };
                return;
            }
            self.disown_all(now, &saved, text::stop::LEASE_TAKEN, out);
            if self.groups.values().any(|group| group.is_held()) {
                self.membership.member = Member::Lost { lease: saved.lease };
                return;
            }
        }
        self.membership.member = if own.is_none() {
            Member::Granting {
                lease: self.membership.random.lease(),
                asked: false,
            }
        } else {
            // Also a key that hangs on no lease: it goes away by T9 alone.
            Member::Waiting
        };
    }

    /// The lease is there: T1 next.
    pub(crate) fn granted(&mut self, lease: i64, result: Result<(), StoreError>, out: &mut Vec<Action>) {
        if self.order_granted(lease, &result, out) {
            return;
        }
        if self.membership.member == (Member::Granting { lease, asked: true }) {
            match result {
                Ok(()) => self.membership.member = Member::Registering { lease },
                Err(StoreError::Unknown(why) | StoreError::Refused(why)) => {
                    self.membership.exchange.failed(why);
                    self.membership.exchange.pause(self.facts.timing().beat);
                    // It may have been granted all the same: an id is never used twice.
                    self.membership.member = Member::Granting {
                        lease: self.membership.random.lease(),
                        asked: false,
                    };
                }
            }
        }
    }

    /// An attempt has landed: its stamp is the proof, for every group of this incarnation.
    pub(super) fn proved(&mut self, now: Time, landed: Option<Attempt>, out: &mut Vec<Action>) {
        let Some(attempt) = landed else { return };
        self.membership.exchange.settle(attempt);
        let Member::Joined { lease, .. } = self.membership.member else {
            return;
        };
        self.membership.exchange.prove(attempt);
        self.promises.settled(attempt.stamp);
        let promised = self.round_proof(now, lease);
        for group in self.groups.values_mut() {
            if group.held().is_some_and(|held| held.lease == lease) {
                let deadlines = self
                    .facts
                    .timing()
                    .deadlines(attempt.stamp, attempt.promise, group.settings().grace);
                group.renew(
                    promised.map_or(deadlines, |proof| {
                        deadlines.later(proof.deadlines(self.facts.timing(), group.settings().grace))
                    }),
                    out,
                );
            }
        }
        if self
            .membership
            .exchange
            .keep_alive(now, self.facts.timing().ttl.min(KEEP_ALIVE_MAX))
        {
            out.push(Action::KeepAlive { lease });
        }
    }
}
