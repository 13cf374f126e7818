//! A record as its release writes it.

use crate::protocol::ReleaseCause;
use crate::protocol::records::{Record, RecordState};

/// A cause whose sentence needs no names, with its successor.
pub(crate) fn plain(cause: ReleaseCause, successor: Option<String>) -> (ReleaseCause, String, Option<String>) {
    (cause, cause.sentence().unwrap_or_default().to_owned(), successor)
}

/// A record that its holder lost.
pub(crate) fn lost(record: &Record, cause: ReleaseCause) -> Record {
    let (cause, reason, successor) = plain(cause, None);
    released(record, cause, reason, successor)
}

/// A record that is released, as far as the transaction alone says it.
pub(crate) fn released(record: &Record, cause: ReleaseCause, reason: String, successor: Option<String>) -> Record {
    Record {
        state: RecordState::Released,
        reason,
        cause: Some(cause),
        successor,
        stuck: None,
        promise_ms: None,
        kept: None,
        past: record.past.clone().after_loss(),
        ..record.clone()
    }
}
