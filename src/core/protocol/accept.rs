//! T11: an etcd is taken as the true one, and every node starts over. Sent without OWN: it ends the incarnation of whoever
//! sends it, too.

use super::{AsRead, TxnKind, put};
use crate::protocol::keys::Keys;
use crate::protocol::policy::Policy;
use crate::protocol::records::{ClusterConfig, Record, StandingOrder, json};
use crate::requests::exported::ExportedGroup;
use crate::store::{Compare, Op, Txn};

impl Txn {
    /// T11, if the configuration is still the one that was read: the keys of all nodes go, so that each arrives anew and waits
    /// for the longest promise that `config` knows of.
    pub(crate) fn accept(keys: &Keys, read_at: i64, config: ClusterConfig) -> Self {
        let mut txn = Self::new(TxnKind::Accept);
        txn.and_config(keys, read_at, config);
        txn.then.push(Op::DeletePrefix { prefix: keys.nodes() });
        txn
    }

    /// The part of T11 about a group whose record was read: `lifted` takes its place. Without one it is only compared. One that
    /// changed since may belong to a holder that was promised more than anybody waits after this. False: there is no room.
    #[must_use]
    pub(crate) fn and_lifted(&mut self, keys: &Keys, of: AsRead<'_>, lifted: Option<&Record>) -> bool {
        if !self.has_room(1, 2) {
            return false;
        }
        self.compare.push(of.same_record(keys));
        if let Some(record) = lifted {
            let key = keys.leader(of.group);
            self.then.push(put(keys.record(of.group), json(record)));
            self.then.push(Op::Delete { key });
        }
        true
    }

    /// The part of T11 about a group that was exported, if there is none of that name: nothing that somebody counts on is
    /// overwritten.
    pub(crate) fn and_imported(&mut self, keys: &Keys, name: &str, record: &Record, group: &ExportedGroup) {
        let key = keys.record(name);
        self.compare.push(Compare::Create {
            key: key.clone(),
            revision: 0,
        });
        self.then.push(put(key, json(record)));
        let orders = [
            (keys.stopped(name), &group.stopped),
            (keys.deleted(name), &group.deleted),
        ];
        let store = group.store.iter().map(|store| put(keys.store(name), json(store)));
        let orders = orders
            .into_iter()
            .filter_map(|(key, order)| Some(put(key, json(order.as_ref()?))));
        let excluded = group.excluded.iter();
        let excluded = excluded.map(|(node, order)| put(keys.excluded(name, node), json(order)));
        let set = Policy::try_from(group.set.clone()).ok();
        let set = set.filter(|set| !set.is_empty());
        let set = set.map(|set| put(keys.policy(name), json(&set)));
        self.then.extend(store.chain(orders).chain(set).chain(excluded));
    }

    /// The part of T11 about a node that was drained when it was exported.
    pub(crate) fn and_drained(&mut self, keys: &Keys, node: &str, order: &StandingOrder) {
        self.then.push(put(keys.drained(node), json(order)));
    }
}
