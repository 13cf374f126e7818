//! Which transaction of the protocol was carried out, for the counts of a run.

use leasehold_core::protocol::TxnKind;
use leasehold_core::store::Txn;

use crate::etcd::Change;
use crate::world::World;

impl World {
    pub(crate) fn classify(&mut self, txn: &Txn, changes: &[Change]) {
        let records = changes.iter().filter(|(key, ..)| key.ends_with("/record")).count();
        if txn.kind == TxnKind::TakeSilent && records > 1 {
            self.count("T4 frees a second group");
        }
        self.count(txn.kind.word());
    }
}
