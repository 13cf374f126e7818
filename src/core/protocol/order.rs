//! T12 to T16, and what else an operator orders. Each is sent with OWN.

use super::{AsRead, TxnKind, put};
use crate::protocol::keys::Keys;
use crate::protocol::policy::{Change, Policy, Setting};
use crate::protocol::records::{ClusterConfig, Intent, Record, StandingOrder, View, json};
use crate::store::{Compare, Op, Txn};

/// That a key is as it was read; 0: that it is absent.
fn same(key: String, revision: i64) -> Compare {
    Compare::Mod { key, revision }
}

/// That an order is as it was read.
fn found(key: String, order: Option<&(StandingOrder, i64)>) -> Compare {
    same(key, order.map_or(0, |(_, revision)| *revision))
}

impl Txn {
    /// T12: the cluster gets another ttl, if its configuration is still the one that was read.
    pub(crate) fn change_ttl(keys: &Keys, read_at: i64, wanted: ClusterConfig) -> Self {
        Self {
            kind: TxnKind::ChangeTtl,
            compare: vec![same(keys.config(), read_at)],
            then: vec![put(keys.config(), json(&wanted))],
        }
    }

    /// T13: the node never takes the group, which it does not hold. `rest` is left for it; each of two operators who take away
    /// the other's last node compares what the other one writes.
    pub(crate) fn unextend(keys: &Keys, of: AsRead<'_>, node: &str, rest: &str, order: &StandingOrder) -> Self {
        let key = keys.excluded(of.group, node);
        Self {
            kind: TxnKind::Unextend,
            compare: vec![
                found(key.clone(), of.keys.excluded.get(node)),
                found(keys.excluded(of.group, rest), None),
                of.same_record(keys),
            ],
            then: vec![put(key, json(order))],
        }
    }

    /// T14: the group is no more. The record is written anew with its epoch, so that no campaign which read the one before can
    /// land: from here on every candidate has read that the group is deleted.
    pub(crate) fn delete(keys: &Keys, of: AsRead<'_>, left_behind: &Record, order: &StandingOrder) -> Self {
        let group = of.group;
        let compare = vec![
            of.same_record(keys),
            same(keys.intent(group), of.keys.intent_mod),
            found(keys.deleted(group), None),
            found(keys.stopped(group), of.keys.stopped.as_ref()),
            found(keys.paused(group), of.keys.paused.as_ref()),
        ];
        let mut then = vec![
            put(keys.record(group), json(left_behind)),
            put(keys.deleted(group), json(order)),
        ];
        let gone = [
            keys.store(group),
            keys.stopped(group),
            keys.paused(group),
            keys.intent(group),
            keys.leader(group),
            keys.policy(group),
        ];
        then.extend(gone.into_iter().map(|key| Op::Delete { key }));
        let kind = TxnKind::Delete;
        let mut txn = Self { kind, compare, then };
        // The rest waits for a `create`, and for whoever extends it then.
        for node in of.keys.excluded.keys() {
            if txn.has_room(0, 1) {
                let key = keys.excluded(group, node);
                txn.then.push(Op::Delete { key });
            }
        }
        txn
    }

    /// T15: a deleted group is there again.
    pub(crate) fn create(keys: &Keys, of: AsRead<'_>) -> Self {
        let key = keys.deleted(of.group);
        Self {
            kind: TxnKind::Create,
            compare: vec![found(key.clone(), of.keys.deleted.as_ref())],
            then: vec![Op::Delete { key }],
        }
    }

    /// T16: what is set for a group at run time, in the place of what was read; nothing: the files count again. Of two operators
    /// who read the same the second one is told. What is deleted meanwhile gets nothing.
    pub(crate) fn set_policy(keys: &Keys, of: AsRead<'_>, wanted: &Policy) -> Self {
        let key = keys.policy(of.group);
        let compare = vec![
            same(key.clone(), of.keys.policy_mod),
            found(keys.deleted(of.group), None),
        ];
        let then = match wanted.is_empty() {
            true => Op::Delete { key },
            false => put(key, json(wanted)),
        };
        Self {
            kind: TxnKind::Policy,
            compare,
            then: vec![then],
        }
    }

    /// A standing order in a key of its own, which was read at this revision. It ends with `lease`, if that is not 0.
    pub(crate) fn give_order(key: String, read_at: i64, order: &StandingOrder, lease: i64) -> Self {
        let value = json(order);
        Self {
            kind: TxnKind::Order,
            compare: vec![same(key.clone(), read_at)],
            then: vec![Op::Put { key, value, lease }],
        }
    }

    /// The same order is taken back.
    pub(crate) fn withdraw_order(key: String, read_at: i64) -> Self {
        Self {
            kind: TxnKind::Order,
            compare: vec![same(key.clone(), read_at)],
            then: vec![Op::Delete { key }],
        }
    }

    /// A request about a group, or what its holder says to it, in the place of the one that was read. It ends with `lease`, if that
    /// is not 0.
    pub(crate) fn write_intent(keys: &Keys, group: &str, read_at: i64, intent: &Intent, lease: i64) -> Self {
        let (key, value) = (keys.intent(group), json(intent));
        Self {
            kind: TxnKind::Intent,
            compare: vec![same(key.clone(), read_at)],
            then: vec![Op::Put { key, value, lease }],
        }
    }

    /// A request is over: it was withdrawn, fulfilled, or told for long enough.
    pub(crate) fn delete_intent(keys: &Keys, group: &str, read_at: i64) -> Self {
        let key = keys.intent(group);
        Self {
            kind: TxnKind::Intent,
            compare: vec![same(key.clone(), read_at)],
            then: vec![Op::Delete { key }],
        }
    }

    /// The node's priorities go, so that others may have the numbers. With it, how many did not fit in.
    fn and_no_priority(&mut self, keys: &Keys, view: &View, node: &str) -> usize {
        let change = Change::Unset(Setting::Priority(node.to_owned()));
        let with = view
            .groups
            .iter()
            .filter(|(_, keys)| keys.policy.priority(node).is_some());
        let mut left = 0;
        for (group, of) in with {
            if !self.has_room(1, 1) {
                left += 1;
                continue;
            }
            let key = keys.policy(group);
            let rest = of
                .policy
                .clone()
                .changed(std::slice::from_ref(&change), &StandingOrder::default());
            self.compare.push(same(key.clone(), of.policy_mod));
            self.then.push(match rest.is_empty() {
                true => Op::Delete { key },
                false => put(key, json(&rest)),
            });
        }
        left
    }

    /// What a node left behind goes. Every transaction of that node would also be a beat: while its key is the one that was read,
    /// it holds nothing new. With it, how many orders about groups did not fit in.
    pub(crate) fn remove(keys: &Keys, view: &View, node: &str) -> (Self, usize) {
        let (key, drained) = (keys.node(node), keys.drained(node));
        let read_at = view.nodes.get(node).map_or(0, |key| key.mod_revision);
        let compare = vec![
            same(key.clone(), read_at),
            found(drained.clone(), view.drained.get(node)),
        ];
        let gone = [key, keys.status(node), keys.known(node), drained];
        let voter = view.voters.contains_key(node).then(|| keys.voter(node));
        let then = gone.into_iter().chain(voter).map(|key| Op::Delete { key }).collect();
        let kind = TxnKind::Remove;
        let (mut txn, mut left) = (Self { kind, compare, then }, 0);
        for (group, orders) in &view.groups {
            let Some(order) = orders.excluded.get(node) else {
                continue;
            };
            if !txn.has_room(1, 1) {
                left += 1;
                continue;
            }
            let key = keys.excluded(group, node);
            txn.compare.push(found(key.clone(), Some(order)));
            txn.then.push(Op::Delete { key });
        }
        left += txn.and_no_priority(keys, view, node);
        (txn, left)
    }
}
