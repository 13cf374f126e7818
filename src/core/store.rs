//! What the core asks of etcd and what comes back, in its own small words: transactions are written here as data, so
//! that every compare of the protocol stands in the core, and the adapter only carries them.

use std::time::Duration;

use crate::protocol::TxnKind;

/// Numbers the requests of one process, so that an answer is matched to its question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// One condition of a transaction; all must hold for its operations to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key's create revision; 0 means that the key is absent.
    Create { key: String, revision: i64 },
    /// The key's mod revision; 0 means that the key is absent.
    Mod { key: String, revision: i64 },
    /// The lease that the key hangs on; 0 means none, or that the key is absent.
    Lease { key: String, lease: i64 },
    /// The opposite: the key hangs on another lease, on none, or is absent.
    LeaseNot { key: String, lease: i64 },
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes the value; `lease` 0 puts the key on no lease.
    Put { key: String, value: String, lease: i64 },
    /// Deletes the key; it may be absent.
    Delete { key: String },
    /// Deletes every key that starts with the prefix.
    DeletePrefix { prefix: String },
}

/// A transaction. Both branches end with linearizable range reads of [`Keys::ranges`](crate::protocol::keys::Keys::ranges).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Txn {
    /// What it is for. etcd is not told: it carries out what the rest says.
    pub kind: TxnKind,
    /// All must hold.
    pub compare: Vec<Compare>,
    /// Carried out, all or none, when they hold.
    pub then: Vec<Op>,
}

/// etcd's `max-txn-ops` as it ships: it refuses a transaction with more compares, or more operations in one branch.
pub const TXN_MAX: usize = 128;
/// What is kept of it for what every request adds: the node's own beat, what that compares, and the reads.
const TXN_KEPT: usize = 16;

impl Txn {
    /// One that compares and writes nothing yet.
    #[must_use]
    pub fn new(kind: TxnKind) -> Self {
        Self {
            kind,
            compare: Vec::new(),
            then: Vec::new(),
        }
    }

    /// One that only reads.
    #[must_use]
    pub fn read() -> Self {
        Self::new(TxnKind::Read)
    }

    /// Whether so much more fits in. What grows with the groups or the nodes of a cluster asks before it grows.
    #[must_use]
    pub fn has_room(&self, compares: usize, ops: usize) -> bool {
        let fits = |there: usize, more: usize| there + more + TXN_KEPT <= TXN_MAX;
        fits(self.compare.len(), compares) && fits(self.then.len(), ops)
    }
}

/// One key as etcd returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    pub key: String,
    pub value: String,
    pub create_revision: i64,
    pub mod_revision: i64,
    pub lease: i64,
}

/// The answer to a transaction, or to a plain read (then `succeeded` is true).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the compares held.
    pub succeeded: bool,
    /// etcd's cluster id; changes with most restores.
    pub cluster_id: u64,
    /// The store's revision when it answered.
    pub revision: i64,
    /// Every key of the cluster's ranges, read in the same transaction.
    pub keys: Vec<KeyValue>,
}

/// Why there is no answer, by what the core does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// It may have been carried out or may yet be: read back before anything else.
    Unknown(String),
    /// It was not carried out and never will be: wrong credentials, malformed, refused.
    Refused(String),
}

/// A watch's news. Never a basis for a decision, except that [`Hint::NodeGone`] may save a second wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Something under the groups changed: read soon.
    Changed,
    /// A node's key was deleted; `last_mod_revision` is that of the version before the delete.
    NodeGone {
        node: String,
        lease: i64,
        last_mod_revision: i64,
    },
}

/// The lease a node asks for: its id is chosen by the client and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub lease: i64,
    pub ttl: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::keys::Keys;

    #[test]
    fn what_every_request_adds_is_kept_free() {
        let (beat, own) = (1, 2);
        let reads = Keys::new("mail").ranges().len();
        assert!(beat + reads <= TXN_KEPT && own <= TXN_KEPT);
        let key = |n: usize| format!("k{n}");
        let txn = Txn {
            kind: TxnKind::Beat,
            compare: Vec::new(),
            then: (0..TXN_MAX - TXN_KEPT - 2)
                .map(|n| Op::Delete { key: key(n) })
                .collect(),
        };
        assert!(txn.has_room(TXN_MAX - TXN_KEPT, 2));
        assert!(!txn.has_room(0, 3));
        assert!(!txn.has_room(TXN_MAX - TXN_KEPT + 1, 0));
    }
}
