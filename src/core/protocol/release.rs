//! T7, T8 and T10: what was held is free. And the mark on what can't be freed.

use super::{AsRead, ReleaseCause, TxnKind, put};
use crate::protocol::keys::Keys;
use crate::protocol::records::{Past, Record, json};
use crate::protocol::released::{lost, released};
use crate::store::{Compare, Op, Txn};

/// Why a holder gives a group up, and to whom.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub cause: ReleaseCause,
    pub reason: String,
    pub successor: Option<String>,
    pub past: Past,
}

/// The node that can't write any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FencedNode<'a> {
    pub node: &'a str,
    /// On its key as it was read; 0: there is none.
    pub lease: i64,
    /// This very node says it of itself: OWN compares its key.
    pub itself: bool,
    /// Its key goes, too.
    pub whole: bool,
}

impl Txn {
    /// T7: the holder has stopped, and gives the group up. `held`: the record as read, of this incarnation and of the run's
    /// epoch. Sent with OWN.
    pub(crate) fn release(keys: &Keys, of: AsRead<'_>, held: &Record, release: Release) -> Self {
        let Release {
            cause,
            reason,
            successor,
            past,
        } = release;
        let record = Record {
            past,
            ..released(held, cause, reason, successor)
        };
        Self {
            kind: TxnKind::Release,
            compare: vec![of.same_record(keys)],
            then: of.change(keys, &record),
        }
    }

    /// T8: the same once the holder has lost its place. Sent without OWN: there is no key of it any more.
    pub(crate) fn release_lost(keys: &Keys, of: AsRead<'_>, held: &Record) -> Self {
        Self {
            kind: TxnKind::ReleaseLost,
            compare: vec![of.same_record(keys)],
            then: of.change(keys, &lost(held, ReleaseCause::PlaceLost)),
        }
    }

    /// T10: what the node held is free. With it, how many records did not fit in; those that nothing else frees come first. Sent
    /// with OWN.
    pub(crate) fn free_fenced(
        keys: &Keys,
        fenced: FencedNode<'_>,
        freed: &[(AsRead<'_>, &Record)],
        reason: &str,
    ) -> (Self, usize) {
        let (mut txn, mut left) = (Self::new(TxnKind::FreeFenced), 0);
        let mut freed = freed.to_vec();
        freed.sort_by_key(|(_, record)| record.stuck.is_none());
        for (of, record) in freed {
            if !txn.has_room(1, 2) {
                left += 1;
                continue;
            }
            txn.compare.push(of.same_record(keys));
            let record = released(record, ReleaseCause::Fenced, reason.to_owned(), None);
            txn.then.push(put(keys.record(of.group), json(&record)));
            let key = keys.leader(of.group);
            txn.then.push(Op::Delete { key });
        }
        let FencedNode {
            node,
            lease,
            itself,
            whole,
        } = fenced;
        let key = keys.node(node);
        if !itself {
            txn.compare.push(Compare::Lease {
                key: key.clone(),
                lease,
            });
        }
        if whole && lease != 0 {
            txn.then.push(Op::Delete { key });
        }
        (txn, left)
    }

    /// The mark that a run can't be stopped. Sent with OWN, or without where the node has lost its place.
    pub(crate) fn mark_stuck(keys: &Keys, of: AsRead<'_>, held: &Record, why: String) -> Self {
        let marked = Record {
            stuck: Some(why),
            ..held.clone()
        };
        Self {
            kind: TxnKind::MarkStuck,
            compare: vec![of.same_record(keys)],
            then: vec![put(keys.record(of.group), json(&marked))],
        }
    }
}
