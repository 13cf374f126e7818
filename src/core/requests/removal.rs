//! A node that is gone for good: what it left in etcd is deleted at an operator's word.

use crate::event::Action;
use crate::membership::Purpose;
use crate::node::Node;
use crate::requests::refusal::Refusal;
use crate::store::Txn;
use crate::text;

impl Node {
    /// Why nothing of the node may be deleted: it may be alive, or something still counts on it.
    pub(crate) fn not_removable(&self, node: &str) -> Option<Refusal> {
        let named = || node.to_owned();
        if *node == self.facts.me().name {
            return Some(Refusal::ThisNode { node: named() });
        }
        let lease = self.facts.view().lease_of(node);
        if lease != 0 && !self.facts.observer().ripe(self.facts.now(), node, lease) {
            let ttl = self.facts.timing().ttl;
            return Some(Refusal::RemovedBeats { node: named(), ttl });
        }
        self.facts.view().groups.iter().find_map(|(name, keys)| {
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

    /// What it left behind goes, at an operator's word.
    pub(crate) fn removal(&self, reply: u64, node: &str, out: &mut Vec<Action>) -> Option<(Txn, Purpose)> {
        if let Some(why) = self.not_removable(node) {
            out.push(Action::Reply {
                reply,
                result: Err(why),
            });
            return None;
        }
        let (txn, left) = Txn::remove(self.facts.keys(), self.facts.view(), node);
        let done = text::orders::done::removed(node, left);
        Some((txn, Purpose::Request { reply, done }))
    }
}
