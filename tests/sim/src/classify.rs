//! Which transaction of the protocol was carried out: told from what it compared and changed.

use leasehold_core::records::{Record, RecordState};
use leasehold_core::store::{Compare, KeyValue, Op, Txn};

use crate::etcd::Change;
use crate::world::World;

impl World {
    pub(crate) fn classify(&mut self, txn: &Txn, changes: &[Change]) {
        let nodes = self.keys.nodes();
        let record = changes.iter().find_map(|(key, before, after)| {
            let record = self.keys.parts(key).is_some_and(|p| p.len() == 3 && p[2] == "record");
            let read = |kv: &Option<KeyValue>| {
                kv.as_ref()
                    .and_then(|kv| serde_json::from_str::<Record>(&kv.value).ok())
            };
            record.then(|| (read(before), read(after)))
        });
        let own = txn
            .compare
            .iter()
            .any(|c| matches!(c, Compare::Lease { key, .. } if key.starts_with(&nodes)));
        let deletes = txn
            .then
            .iter()
            .any(|op| matches!(op, Op::Delete { key } if key.starts_with(&nodes)));
        let not = txn.compare.iter().any(|c| matches!(c, Compare::LeaseNot { .. }));
        let creates = txn
            .compare
            .iter()
            .any(|c| matches!(c, Compare::Create { key, .. } if key.starts_with(&nodes)));
        let accept = txn.then.iter().any(|op| matches!(op, Op::DeletePrefix { .. }));
        let records = changes.iter().filter(|(key, ..)| key.ends_with("/record")).count();
        let kind = match record {
            _ if accept => "T11",
            Some((before, Some(after))) if after.state == RecordState::Active => match before {
                _ if not => "T5",
                Some(before) if before.state == RecordState::Active && before.epoch == after.epoch => "T2",
                Some(before) if before.state == RecordState::Active && before.incarnation == after.incarnation => "T6",
                _ if deletes => {
                    if records > 1 {
                        self.count("T4 frees a second group");
                    }
                    "T4"
                }
                Some(_) | None => "T3",
            },
            Some(_) if own => "T7",
            Some(_) => "T8",
            None if creates => "T1",
            None if deletes => "T9",
            None if own && changes.iter().any(|(key, ..)| *key == self.keys.config()) => "T12",
            None if own => "T2",
            None => "configure",
        };
        self.count(kind);
    }
}
