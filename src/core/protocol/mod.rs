//! The protocol's own words: what a transaction is for, and the words in etcd that other nodes decide by. And each transaction
//! itself: one constructor with all that it compares and writes, which sets its kind. Callers bring what they have read and
//! decided. `docs/protocol.md` has the reason of each compare, and the schedule that breaks without it.

mod accept;
mod beat;
pub mod bounds;
mod cause;
pub mod damage;
mod fault;
pub mod image;
pub mod kept;
pub mod keys;
mod kind;
mod order;
mod pin;
pub mod policy;
pub mod records;
mod release;
pub(crate) mod released;
pub mod secret;
pub mod sizing;
mod take;
#[cfg(test)]
mod tests;
mod trouble;

pub(crate) use beat::Own;
pub use cause::ReleaseCause;
pub use fault::FaultId;
pub use kind::TxnKind;
pub(crate) use release::{FencedNode, Release};
pub(crate) use take::{Beside, Winner};
pub use trouble::TroubleState;

use crate::protocol::keys::Keys;
use crate::protocol::records::{GroupKeys, Record, RecordState, json};
use crate::store::{Compare, Op};

/// A group's keys as they were read: what a transaction about it counts on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsRead<'a> {
    pub group: &'a str,
    pub keys: &'a GroupKeys,
}

impl AsRead<'_> {
    /// That the record is still the one that was read.
    fn same_record(self, keys: &Keys) -> Compare {
        Compare::Mod {
            key: keys.record(self.group),
            revision: self.keys.record_mod,
        }
    }

    /// Writes the record, and who leads. A move that is fulfilled leaves nothing behind.
    fn change(self, keys: &Keys, record: &Record) -> Vec<Op> {
        let leader = keys.leader(self.group);
        let mut then = vec![
            put(keys.record(self.group), json(record)),
            match record.state {
                RecordState::Active => Op::Put {
                    key: leader,
                    value: record.node.clone(),
                    lease: record.incarnation,
                },
                RecordState::Released => Op::Delete { key: leader },
            },
        ];
        // One that can't be read is over with the next change, too.
        if self.keys.intent_mod != 0 {
            let key = keys.intent(self.group);
            then.push(Op::Delete { key });
        }
        then
    }
}

/// On no lease.
fn put(key: String, value: String) -> Op {
    Op::Put { key, value, lease: 0 }
}
