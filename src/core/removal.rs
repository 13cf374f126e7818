//! A node that is gone for good: what it left in etcd is deleted at an operator's word.

use super::event::Action;
use super::extent::found;
use super::member::Purpose;
use super::node::Node;
use super::protocol::TxnKind;
use super::refusal::Refusal;
use super::store::{Compare, Op, Txn};

impl Node {
    /// Why nothing of the node may be deleted: it may be alive, or something still counts on it.
    pub(super) fn not_removable(&self, node: &str) -> Option<Refusal> {
        let named = || node.to_owned();
        if *node == self.me.name {
            return Some(Refusal::ThisNode { node: named() });
        }
        let lease = self.view.lease_of(node);
        if lease != 0 && !self.observer.ripe(self.now, node, lease) {
            let ttl = self.timing.ttl;
            return Some(Refusal::RemovedBeats { node: named(), ttl });
        }
        self.view.groups.iter().find_map(|(name, keys)| {
            if keys.unreadable() {
                let (group, whom) = (name.clone(), named());
                return Some(Refusal::RecordUnreadable { group, whom });
            }
            let held = keys.active().is_some_and(|record| record.node == node);
            held.then(|| Refusal::NamedHolder {
                group: name.clone(),
                node: named(),
            })
        })
    }

    /// Every transaction of the node would also be a beat: while its key is the one that was read, it holds nothing new.
    pub(super) fn removal(&self, reply: u64, node: &str, out: &mut Vec<Action>) -> Option<(Txn, Purpose)> {
        if let Some(why) = self.not_removable(node) {
            out.push(Action::Reply {
                reply,
                result: Err(why),
            });
            return None;
        }
        let (key, drained) = (self.keys.node(node), self.keys.drained(node));
        let compare = vec![
            Compare::Mod {
                key: key.clone(),
                revision: self.view.nodes.get(node).map_or(0, |key| key.mod_revision),
            },
            Compare::Mod {
                key: drained.clone(),
                revision: self.view.drained.get(node).map_or(0, |(_, revision)| *revision),
            },
        ];
        let keys = [key, self.keys.status(node), drained];
        let then = keys.into_iter().map(|key| Op::Delete { key }).collect();
        let (mut txn, mut left) = (
            Txn {
                kind: TxnKind::Remove,
                compare,
                then,
            },
            0,
        );
        for (group, orders) in &self.view.groups {
            let Some(order) = orders.without.get(node) else {
                continue;
            };
            if !txn.has_room(1, 1) {
                left += 1;
                continue;
            }
            let key = self.keys.without(group, node);
            txn.compare.push(found(key.clone(), Some(order)));
            txn.then.push(Op::Delete { key });
        }
        let mut done = format!("what {node} left in etcd is deleted");
        if left > 0 {
            done +=
                &format!(" but for {left} orders about groups, which did not fit into one transaction: say it again");
        }
        Some((txn, Purpose::Intent { reply, done }))
    }
}
