//! T3 to T6: a node takes a group. Each is sent with OWN.

use super::{AsRead, TxnKind, put};
use crate::protocol::ReleaseCause;
use crate::protocol::kept::Kept;
use crate::protocol::keys::Keys;
use crate::protocol::records::{Past, Record, RecordState, json};
use crate::protocol::released::lost;
use crate::store::{Compare, Op, Txn};

/// Who takes the group, and what its record tells of that.
#[derive(Clone, Debug)]
pub(crate) struct Winner<'a> {
    pub node: &'a str,
    pub lease: i64,
    pub reason: &'a str,
    pub past: Past,
    /// With promises: who may take it from this node after an ordinary promise.
    pub kept: Option<Kept>,
}

/// Another group of the incarnation that a T4 ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside<'a> {
    pub of: AsRead<'a>,
    /// As it was read: active, and of that incarnation.
    pub record: &'a Record,
    /// Whether silence frees it. Else it is only compared: nobody may have marked it meanwhile.
    pub freed: bool,
}

impl Winner<'_> {
    /// The record of the next epoch.
    fn record(self, of: AsRead<'_>) -> Record {
        Record {
            epoch: of.keys.record.as_ref().map_or(1, |record| record.epoch + 1),
            node: self.node.to_owned(),
            incarnation: self.lease,
            state: RecordState::Active,
            reason: self.reason.to_owned(),
            cause: None,
            successor: None,
            stuck: None,
            promise_ms: None,
            kept: self.kept,
            past: self.past,
        }
    }
}

impl Txn {
    fn take(kind: TxnKind, keys: &Keys, of: AsRead<'_>, winner: Winner<'_>) -> Self {
        Self {
            kind,
            compare: vec![of.same_record(keys)],
            then: of.change(keys, &winner.record(of)),
        }
    }

    /// T3: nobody holds the group.
    pub(crate) fn take_free(keys: &Keys, of: AsRead<'_>, winner: Winner<'_>) -> Self {
        Self::take(TxnKind::TakeFree, keys, of, winner)
    }

    /// T4: its holder's key is there, and silent since the beat that was `observed`. It ends that incarnation as a whole: its other
    /// groups are free at once, as far as they fit in. One that is left out is taken by T5, because its holder beats no more.
    pub(crate) fn take_silent<'a>(
        keys: &Keys,
        of: AsRead<'_>,
        winner: Winner<'_>,
        (holder, observed): (&str, i64),
        others: impl IntoIterator<Item = Beside<'a>>,
    ) -> Self {
        let mut txn = Self::take(TxnKind::TakeSilent, keys, of, winner);
        let key = keys.node(holder);
        txn.compare.push(Compare::Mod {
            key: key.clone(),
            revision: observed,
        });
        txn.then.push(Op::Delete { key });
        for other in others {
            if !txn.has_room(1, 2) {
                continue;
            }
            txn.compare.push(other.of.same_record(keys));
            if other.freed {
                let (key, value) = (keys.record(other.of.group), lost(other.record, ReleaseCause::Silent));
                txn.then.push(Op::Delete {
                    key: keys.leader(other.of.group),
                });
                txn.then.push(put(key, json(&value)));
            }
        }
        txn
    }

    /// T5: its holder's key is gone, or belongs to another incarnation.
    pub(crate) fn take_gone(
        keys: &Keys,
        of: AsRead<'_>,
        winner: Winner<'_>,
        (holder, incarnation): (&str, i64),
    ) -> Self {
        let mut txn = Self::take(TxnKind::TakeGone, keys, of, winner);
        txn.compare.push(Compare::LeaseNot {
            key: keys.node(holder),
            lease: incarnation,
        });
        txn
    }

    /// T6: its holder starts it again, in a new epoch.
    pub(crate) fn start_again(keys: &Keys, of: AsRead<'_>, winner: Winner<'_>) -> Self {
        Self::take(TxnKind::StartAgain, keys, of, winner)
    }
}
