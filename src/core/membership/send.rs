//! What goes to etcd next: one request at a time, every one of a member also its beat.

use std::time::Duration;

use super::{LastBeat, Member, Purpose, WriteKind};
use crate::event::Action;
use crate::node::Node;
use crate::protocol::Own;
use crate::protocol::records::Beat;
use crate::requests::refusal::Refusal;
use crate::store::{Grant, Txn};
use crate::time::Time;

impl Node {
    /// Sends the most urgent request, if none is in flight.
    pub(crate) fn request(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.membership.ending.is_over() || !self.membership.exchange.may_send(now) {
            return;
        }
        if self.membership.exchange.must_read_back() {
            return self.send_read(now, out);
        }
        let due = self.membership.exchange.is_due(now, self.facts.timing().beat);
        match self.membership.member.clone() {
            Member::Arriving | Member::Frozen { .. } => {
                if due || !self.facts.is_viewed() || self.requests.has_accept() {
                    self.request_unjoined(now, due, out);
                }
            }
            Member::Waiting => self.request_eviction(now, due, out),
            Member::Granting { lease, asked } => {
                if !asked {
                    self.membership.member = Member::Granting { lease, asked: true };
                    self.membership.exchange.sent(now);
                    out.push(Action::Grant(Grant {
                        lease,
                        ttl: self.lease_ttl(),
                    }));
                }
            }
            Member::Registering { lease } => {
                let txn = Txn::register(self.facts.keys(), &self.facts.me().name);
                self.send(now, lease, self.facts.timing().ttl, txn, Purpose::Register, out);
            }
            Member::Adopting {
                lease, mod_revision, ..
            } => {
                self.send_own(
                    now,
                    lease,
                    mod_revision,
                    self.facts.timing().ttl,
                    Txn::beat(),
                    Purpose::BareBeat,
                    out,
                );
            }
            Member::Joined { lease, mod_revision } => self.request_joined(now, lease, mod_revision, due, out),
            Member::Lost { lease } => self.request_lost(now, lease, due, out),
            Member::Left => {}
        }
    }

    pub(super) fn request_unjoined(&mut self, now: Time, due: bool, out: &mut Vec<Action>) {
        if let Some((txn, purpose)) = self.acceptance(out) {
            return self.send_acceptance(now, txn, purpose, out);
        }
        if due || !self.facts.is_viewed() {
            self.send_read(now, out);
        }
    }

    pub(super) fn request_eviction(&mut self, now: Time, due: bool, out: &mut Vec<Action>) {
        let name = self.facts.me().name.clone();
        let namesake_lease = self.facts.view().lease_of(&name);
        let ripe = self.facts.observer().ripe(now, &name, namesake_lease);
        if let Some(revision) = self.facts.observer().beat_of(&name, namesake_lease).filter(|_| ripe) {
            // The namesake has been silent for as long as it promised.
            let txn = Txn::evict(self.facts.keys(), &name, revision);
            let (node, lease) = (name, namesake_lease);
            self.send_plain(now, txn, Purpose::Evict(LastBeat { node, lease, revision }), out);
        } else if due {
            self.send_read(now, out);
        }
    }

    pub(super) fn request_joined(
        &mut self,
        now: Time,
        lease: i64,
        mod_revision: i64,
        due: bool,
        out: &mut Vec<Action>,
    ) {
        if std::mem::take(&mut self.membership.refusals.beat_first) {
            let (ttl, bare) = (self.facts.timing().ttl, Purpose::BareBeat);
            return self.send_own(now, lease, mod_revision, ttl, Txn::beat(), bare, out);
        }
        let release = self
            .released(now, lease)
            .or_else(|| self.stuck_mark(lease))
            .or_else(|| self.beginning(lease));
        if self.membership.holding_until.is_some_and(|until| !now.reached(until)) && release.is_none() {
            // A beat with the ordinary promise would end the hold: only read. What is stopped, or shall stop, here ends it.
            if due {
                self.send_read(now, out);
            }
            return;
        }
        self.membership.holding_until = None;
        if let Some((txn, purpose)) = self.acceptance(out) {
            return self.send_acceptance(now, txn, purpose, out);
        }
        if let Some((txn, purpose)) = self.fenced_by_hand(now, out) {
            return self.send_own(now, lease, mod_revision, self.facts.timing().ttl, txn, purpose, out);
        }
        if let Some((reply, length)) = self.requests.take_hold() {
            match self.promise_in_records(lease, Some(length)) {
                (txn, 0) => {
                    let purpose = Purpose::Hold { reply, length };
                    return self.send_own(now, lease, mod_revision, length, txn, purpose, out);
                }
                (_, left) => {
                    let result = Err(Refusal::HoldTooLarge { left });
                    out.push(Action::Reply { reply, result });
                }
            }
        }
        let found = release
            .or_else(|| self.refusal_mark(now, lease))
            .or_else(|| self.intent_txn(out))
            .or_else(|| self.order_txn(out))
            .or_else(|| self.campaign(now, lease));
        if let Some((txn, purpose)) = found {
            self.send_own(now, lease, mod_revision, self.facts.timing().ttl, txn, purpose, out);
        } else if due {
            let (mut txn, mut purpose) = (Txn::beat(), Purpose::BareBeat);
            if !self.membership.refusals.put_off(now, &WriteKind::Extras) {
                (txn, _) = self.promise_in_records(lease, None);
                self.publish_in(lease, &mut txn);
                self.introduce_in(&mut txn);
                self.enroll_in(&mut txn);
                self.settle_in(now, &mut txn);
                purpose = Purpose::Beat;
            }
            self.send_own(now, lease, mod_revision, self.facts.timing().ttl, txn, purpose, out);
        }
    }

    pub(super) fn request_lost(&mut self, now: Time, lease: i64, due: bool, out: &mut Vec<Action>) {
        if let Some((txn, purpose)) = self.released_lost(lease).or_else(|| self.stuck_mark(lease)) {
            self.send_plain(now, txn, purpose, out);
        } else if self.groups.values().all(|group| !group.is_held()) {
            self.arrive();
            self.send_read(now, out);
        } else if due {
            self.send_read(now, out);
        }
    }

    pub(crate) fn send_read(&mut self, now: Time, out: &mut Vec<Action>) {
        let id = self.membership.exchange.ask(now, Purpose::Read);
        out.push(Action::Read { id });
    }

    pub(super) fn send_plain(&mut self, now: Time, txn: Txn, purpose: Purpose, out: &mut Vec<Action>) {
        let id = self.membership.exchange.ask(now, purpose);
        out.push(Action::Txn { id, txn });
    }

    /// T11: it may land unseen, and everybody then waits one ttl, whatever a hold promised before.
    fn send_acceptance(&mut self, now: Time, txn: Txn, purpose: Purpose, out: &mut Vec<Action>) {
        self.shorten(now, self.facts.timing().ttl, out);
        self.shorten_adoptable(now, self.facts.timing().ttl, out);
        self.step_groups(now, out);
        self.note_acceptance(now);
        self.send_plain(now, txn, purpose, out);
    }

    /// With promises a holder that is cut off alone must find its key again for as long as it may run on.
    fn lease_ttl(&self) -> Duration {
        let timing = self.facts.timing();
        let alone = self.promises_bound().map(|bound| bound + timing.ttl * 3);
        timing.lease_ttl().max(alone.unwrap_or_default())
    }

    /// OWN: compares that the key is still this incarnation's last beat, and beats again.
    #[expect(
        clippy::too_many_arguments,
        reason = "one call carries everything that is sent, and nothing is sent otherwise"
    )]
    pub(super) fn send_own(
        &mut self,
        now: Time,
        lease: i64,
        mod_revision: i64,
        promise: Duration,
        txn: Txn,
        purpose: Purpose,
        out: &mut Vec<Action>,
    ) {
        let node = &self.facts.me().name;
        let own = Own {
            node,
            lease,
            mod_revision,
        };
        let txn = txn.with_own(self.facts.keys(), own);
        self.send(now, lease, promise, txn, purpose, out);
    }

    pub(super) fn send(
        &mut self,
        now: Time,
        lease: i64,
        promise: Duration,
        txn: Txn,
        purpose: Purpose,
        out: &mut Vec<Action>,
    ) {
        let seq = self.membership.exchange.next_seq();
        let nonce = self.membership.random.draw();
        let beat = Beat {
            machine: self.facts.me().machine.clone(),
            boot: self.facts.me().boot.clone(),
            seq,
            nonce,
            ttl_ms: u64::try_from(promise.as_millis()).unwrap_or(u64::MAX),
        };
        let txn = txn.with_beat(self.facts.keys(), &self.facts.me().name, lease, &beat);
        self.membership.exchange.attempt(nonce, now, promise);
        self.note_lists(now, lease, &txn);
        self.promises.shorter_sent(promise);
        // It may land unseen, and observers then wait no longer than it promises: nothing may count on more from here.
        self.shorten(now, promise, out);
        self.shorten_adoptable(now, promise, out);
        self.step_groups(now, out);
        let id = self.membership.exchange.ask(now, purpose);
        out.push(Action::Txn { id, txn });
    }

    /// Before a shorter promise is sent, every deadline that counts on a longer one comes in; that of the addresses, too.
    pub(crate) fn shorten(&mut self, stamp: Time, promise: Duration, out: &mut Vec<Action>) {
        for group in self.groups.values_mut() {
            let deadlines = self.facts.timing().deadlines(stamp, promise, group.settings().grace);
            let Some(held) = group.held() else { continue };
            let sooner = held.deadlines.earlier(deadlines);
            if sooner != held.deadlines {
                group.renew(sooner, out);
            }
        }
    }

    /// The same for runs not yet adopted: a hold of the earlier sidecar may have promised them far more.
    pub(crate) fn shorten_adoptable(&mut self, stamp: Time, promise: Duration, out: &mut Vec<Action>) {
        for group in self.groups.values() {
            let deadlines = self.facts.timing().deadlines(stamp, promise, group.settings().grace);
            self.adoption.shorten(group, deadlines, out);
        }
    }
}
