//! A tiny etcd: a map with revisions. Who writes what and when is told by the story.

use std::collections::BTreeMap;

use leasehold::core::protocol::keys::Keys;
use leasehold::core::store::{Answer, Compare, KeyValue, Op, Txn};

#[derive(Debug)]
pub(crate) struct Etcd {
    pub(crate) cluster_id: u64,
    pub(crate) revision: i64,
    pub(crate) keys: BTreeMap<String, KeyValue>,
    /// Which key got which revision, since somebody last asked.
    pub(crate) writes: Vec<(String, i64)>,
}

impl Etcd {
    pub(crate) fn new() -> Self {
        Self {
            cluster_id: 0xc1,
            revision: 1,
            keys: BTreeMap::new(),
            writes: Vec::new(),
        }
    }

    pub(crate) fn holds(&self, compare: &Compare) -> bool {
        let of = |key: &str| self.keys.get(key);
        match compare {
            Compare::Create { key, revision } => of(key).map_or(0, |kv| kv.create_revision) == *revision,
            Compare::Mod { key, revision } => of(key).map_or(0, |kv| kv.mod_revision) == *revision,
            Compare::Lease { key, lease } => of(key).map_or(0, |kv| kv.lease) == *lease,
            Compare::LeaseNot { key, lease } => of(key).map_or(0, |kv| kv.lease) != *lease,
        }
    }

    /// All or nothing, as one revision.
    pub(crate) fn txn(&mut self, txn: &Txn) -> bool {
        if !txn.compare.iter().all(|compare| self.holds(compare)) {
            return false;
        }
        let before = self.revision;
        for op in &txn.then {
            match op {
                Op::Put { key, value, lease } => self.write(key, value, *lease, before + 1),
                Op::Delete { key } => self.delete(|kv| kv.key == *key, before + 1),
                Op::DeletePrefix { prefix } => self.delete(|kv| kv.key.starts_with(prefix), before + 1),
            }
        }
        true
    }

    fn write(&mut self, key: &str, value: &str, lease: i64, revision: i64) {
        self.revision = revision;
        let create_revision = self.keys.get(key).map_or(revision, |kv| kv.create_revision);
        let after = KeyValue {
            key: key.to_owned(),
            value: value.to_owned(),
            create_revision,
            mod_revision: revision,
            lease,
        };
        self.keys.insert(key.to_owned(), after);
        self.writes.push((key.to_owned(), revision));
    }

    fn delete(&mut self, which: impl Fn(&KeyValue) -> bool, revision: i64) {
        let before = self.keys.len();
        self.keys.retain(|_, kv| !which(kv));
        if self.keys.len() < before {
            self.revision = revision;
            self.writes.push((String::new(), revision));
        }
    }

    pub(crate) fn put(&mut self, key: &str, value: &str, lease: i64) {
        self.write(key, value, lease, self.revision + 1);
    }

    pub(crate) fn remove(&mut self, which: impl Fn(&KeyValue) -> bool) {
        self.delete(which, self.revision + 1);
    }

    pub(crate) fn answer(&self, keys: &Keys, succeeded: bool) -> Answer {
        let ranges = keys.ranges();
        let inside = |key: &str| {
            let mut within = ranges.iter();
            within.any(|(from, to)| key >= from.as_str() && key < to.as_str())
        };
        Answer {
            succeeded,
            cluster_id: self.cluster_id,
            revision: self.revision,
            keys: self.keys.values().filter(|kv| inside(&kv.key)).cloned().collect(),
        }
    }
}
