//! Transactions about a node's own key: OWN, and T1, T2, T9; and the first configuration, which a node without a key writes.

use super::{AsRead, TxnKind, put};
use crate::protocol::kept::VoterKey;
use crate::protocol::keys::Keys;
use crate::protocol::records::{Beat, ClusterConfig, KnownNode, Record, json};
use crate::store::{Compare, Op, Txn};

/// A node's own key, as its incarnation wrote it last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own<'a> {
    pub node: &'a str,
    pub lease: i64,
    pub mod_revision: i64,
}

impl Txn {
    /// T1: a node that has no key writes its first beat, which [`Txn::with_beat`] adds. Sent without OWN: there is nothing to
    /// compare.
    pub(crate) fn register(keys: &Keys, me: &str) -> Self {
        let absent = Compare::Create {
            key: keys.node(me),
            revision: 0,
        };
        Self {
            kind: TxnKind::Register,
            compare: vec![absent],
            then: Vec::new(),
        }
    }

    /// T2 with nothing but the beat. Sent with OWN.
    pub(crate) fn beat() -> Self {
        Self::new(TxnKind::Beat)
    }

    /// T2 that writes own records anew with another promise, or without what is settled. With it, how many did not fit in.
    pub(crate) fn beat_with_records<'a>(
        keys: &Keys,
        changed: impl IntoIterator<Item = (AsRead<'a>, Record)>,
    ) -> (Self, usize) {
        let (mut txn, mut left) = (Self::beat(), 0);
        for (of, record) in changed {
            if !txn.has_room(1, 1) {
                left += 1;
                continue;
            }
            txn.compare.push(of.same_record(keys));
            txn.then.push(put(keys.record(of.group), json(&record)));
        }
        (txn, left)
    }

    /// The part of T2 that says what this node is ready for; it ends with the node's lease.
    pub(crate) fn and_status(&mut self, keys: &Keys, me: &str, lease: i64, value: String) {
        let key = keys.status(me);
        self.then.push(Op::Put { key, value, lease });
    }

    /// The part of T2 that says who this node is, and that it was here; it stays when the lease ends.
    pub(crate) fn and_known(&mut self, keys: &Keys, me: &str, known: &KnownNode) {
        self.then.push(put(keys.known(me), json(known)));
    }

    /// The part of T2 that says where this node's vote is asked; it stays when the lease ends.
    pub(crate) fn and_voter(&mut self, keys: &Keys, me: &str, voter: &VoterKey) {
        self.then.push(put(keys.voter(me), json(voter)));
    }

    /// The part of T2 that confirms a shorter ttl: the configuration without the longer one.
    pub(crate) fn and_config(&mut self, keys: &Keys, read_at: i64, settled: ClusterConfig) {
        let key = keys.config();
        self.compare.push(Compare::Mod {
            key: key.clone(),
            revision: read_at,
        });
        self.then.push(put(key, json(&settled)));
    }

    /// T9: the key of a namesake goes, if it is still the beat that was observed. Sent without OWN: the key is another
    /// incarnation's.
    pub(crate) fn evict(keys: &Keys, me: &str, observed: i64) -> Self {
        let key = keys.node(me);
        Self {
            kind: TxnKind::Evict,
            compare: vec![Compare::Mod {
                key: key.clone(),
                revision: observed,
            }],
            then: vec![Op::Delete { key }],
        }
    }

    /// The first configuration of a cluster. Sent without OWN: nobody is a member before it is there.
    pub(crate) fn configure(keys: &Keys, first: ClusterConfig) -> Self {
        let key = keys.config();
        Self {
            kind: TxnKind::Configure,
            compare: vec![Compare::Create {
                key: key.clone(),
                revision: 0,
            }],
            then: vec![put(key, json(&first))],
        }
    }

    /// OWN: it lands only while the node's key is this incarnation's last beat.
    pub(crate) fn with_own(mut self, keys: &Keys, own: Own<'_>) -> Self {
        let key = keys.node(own.node);
        let lease = Compare::Lease {
            key: key.clone(),
            lease: own.lease,
        };
        let beat = Compare::Mod {
            key,
            revision: own.mod_revision,
        };
        self.compare.splice(0..0, [lease, beat]);
        self
    }

    /// The beat that goes with every transaction of a member, and with T1. It comes first.
    pub(crate) fn with_beat(mut self, keys: &Keys, me: &str, lease: i64, beat: &Beat) -> Self {
        let key = keys.node(me);
        let value = json(beat);
        self.then.insert(0, Op::Put { key, value, lease });
        self
    }
}
