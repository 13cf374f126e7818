//! A model of etcd: revisions, leases, linearizable transactions. Network trouble is the world's business.

use std::collections::BTreeMap;

use leasehold_core::protocol::keys::Keys;
use leasehold_core::store::{Answer, Compare, KeyValue, Op, TXN_MAX, Txn};

#[derive(Clone, Debug)]
pub(crate) struct Etcd {
    pub(crate) cluster_id: u64,
    pub(crate) revision: i64,
    pub(crate) keys: BTreeMap<String, KeyValue>,
    /// Lease id -> end and whole life, in true nanoseconds.
    pub(crate) leases: BTreeMap<i64, (u64, u64)>,
    /// Keys that nobody has the right to write.
    pub(crate) denied: Vec<String>,
}

/// What a transaction changed: the key, before and after.
pub(crate) type Change = (String, Option<KeyValue>, Option<KeyValue>);

impl Etcd {
    pub(crate) fn new() -> Self {
        Self {
            cluster_id: 0xc1,
            revision: 1,
            keys: BTreeMap::new(),
            leases: BTreeMap::new(),
            denied: Vec::new(),
        }
    }

    fn holds(&self, compare: &Compare) -> bool {
        let of = |key: &str| self.keys.get(key);
        match compare {
            Compare::Create { key, revision } => of(key).map_or(0, |kv| kv.create_revision) == *revision,
            Compare::Mod { key, revision } => of(key).map_or(0, |kv| kv.mod_revision) == *revision,
            Compare::Lease { key, lease } => of(key).map_or(0, |kv| kv.lease) == *lease,
            Compare::LeaseNot { key, lease } => of(key).map_or(0, |kv| kv.lease) != *lease,
        }
    }

    /// What etcd refuses before it looks at a compare; `reads` stand in each branch beside what is asked.
    pub(crate) fn refuses(&self, txn: &Txn, reads: usize) -> Option<&'static str> {
        let large = txn.compare.len() > TXN_MAX || txn.then.len() + reads > TXN_MAX;
        let writes = |op: &Op| match op {
            Op::Put { key, .. } | Op::Delete { key } => self.denied.contains(key),
            Op::DeletePrefix { .. } => false,
        };
        if large {
            return Some("etcdserver: too many operations in txn request");
        }
        txn.then.iter().any(writes).then_some("etcdserver: permission denied")
    }

    pub(crate) fn txn(&mut self, txn: &Txn) -> Result<(bool, Vec<Change>), String> {
        if !txn.compare.iter().all(|compare| self.holds(compare)) {
            return Ok((false, Vec::new()));
        }
        let orphan = txn
            .then
            .iter()
            .any(|op| matches!(op, Op::Put { lease, .. } if *lease != 0 && !self.leases.contains_key(lease)));
        if orphan {
            return Err("requested lease not found".to_owned());
        }
        let mut changes = Vec::new();
        let revision = self.revision + 1;
        for op in &txn.then {
            match op {
                Op::Put { key, value, lease } => changes.push(self.put(key, value, *lease, revision)),
                Op::Delete { key } => changes.extend(self.delete(key)),
                Op::DeletePrefix { prefix } => {
                    let keys: Vec<String> = self
                        .keys
                        .keys()
                        .filter(|key| key.starts_with(prefix))
                        .cloned()
                        .collect();
                    for key in keys {
                        changes.extend(self.delete(&key));
                    }
                }
            }
        }
        if !changes.is_empty() {
            self.revision = revision;
        }
        Ok((true, changes))
    }

    pub(crate) fn put(&mut self, key: &str, value: &str, lease: i64, revision: i64) -> Change {
        let before = self.keys.get(key).cloned();
        let after = KeyValue {
            key: key.to_owned(),
            value: value.to_owned(),
            create_revision: before.as_ref().map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            lease,
        };
        self.keys.insert(key.to_owned(), after.clone());
        (key.to_owned(), before, Some(after))
    }

    fn delete(&mut self, key: &str) -> Option<Change> {
        self.keys.remove(key).map(|before| (key.to_owned(), Some(before), None))
    }

    /// Deletes keys outside of any transaction of the nodes.
    pub(crate) fn remove(&mut self, mut which: impl FnMut(&KeyValue) -> bool) -> Vec<Change> {
        let keys: Vec<String> = self
            .keys
            .values()
            .filter(|kv| which(kv))
            .map(|kv| kv.key.clone())
            .collect();
        if !keys.is_empty() {
            self.revision += 1;
        }
        keys.iter().filter_map(|key| self.delete(key)).collect()
    }

    pub(crate) fn grant(&mut self, lease: i64, end: u64, ttl: u64) {
        self.leases.insert(lease, (end, ttl));
    }

    pub(crate) fn lease_end(&self, lease: i64) -> Option<u64> {
        self.leases.get(&lease).map(|(end, _)| *end)
    }

    /// The lease's life, if it has one.
    pub(crate) fn keep_alive(&mut self, lease: i64, now: u64) -> Option<u64> {
        let (end, ttl) = self.leases.get_mut(&lease)?;
        *end = now + *ttl;
        Some(*ttl)
    }

    /// Every lease starts over; their lives.
    pub(crate) fn restart_leases(&mut self, now: u64) -> Vec<(i64, u64)> {
        for (end, ttl) in self.leases.values_mut() {
            *end = now + *ttl;
        }
        self.leases.iter().map(|(lease, (_, ttl))| (*lease, *ttl)).collect()
    }

    pub(crate) fn revoke(&mut self, lease: i64) -> Vec<Change> {
        match self.leases.remove(&lease) {
            Some(_) => self.remove(|kv| kv.lease == lease),
            None => Vec::new(),
        }
    }

    pub(crate) fn answer(&self, keys: &Keys, succeeded: bool) -> Answer {
        let ranges = keys.ranges();
        let inside = |key: &str| {
            ranges
                .iter()
                .any(|(from, to)| key >= from.as_str() && key < to.as_str())
        };
        Answer {
            succeeded,
            cluster_id: self.cluster_id,
            revision: self.revision,
            keys: self.keys.values().filter(|kv| inside(&kv.key)).cloned().collect(),
        }
    }
}
