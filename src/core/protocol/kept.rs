//! What promises add to the keys in etcd: who may take a record after an ordinary promise, and which disk a vote belongs to.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::ReleaseCause;
use crate::protocol::records::{Past, Record, RecordState};
use crate::store::{Op, Txn};
use crate::text;

/// On one list. A cluster of more nodes has no promises.
pub const VOTERS_MAX: usize = 16;
/// What a holder may run on at least, and at most, in milliseconds: ten seconds and a day.
pub const BOUND_MIN_MS: u64 = 10_000;
pub const BOUND_MAX_MS: u64 = 86_400_000;
/// Letters of an address.
const ADDRESS_MAX: usize = 256;

/// A disk that has a vote: random, and never given twice. It belongs to no name and to no incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VoterId(pub u128);

impl fmt::Display for VoterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<VoterId> for String {
    fn from(id: VoterId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for VoterId {
    type Error = &'static str;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        let plain = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let parsed = u128::from_str_radix(&id, 16).ok().filter(|_| plain);
        parsed.map(Self).ok_or(text::promises::NO_VOTER_ID)
    }
}

/// Who has a vote on which node, and where it is asked. No rule reads it: it says whom a holder should list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoterKey {
    pub voter: VoterId,
    pub address: String,
    /// Under which it registered.
    pub generation: u64,
}

impl VoterKey {
    /// Whether its numbers and lengths are within what Leasehold writes.
    pub(crate) fn is_plain(&self) -> bool {
        self.address.len() <= ADDRESS_MAX && self.address.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

/// Who may take an active record once an ordinary promise is over. Everybody else waits for the bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub voters: BTreeSet<VoterId>,
    pub bound_ms: u64,
}

impl Kept {
    /// How long its holder may run on after its last landed beat, whatever it was promised.
    #[must_use]
    pub fn bound(&self) -> Duration {
        Duration::from_millis(self.bound_ms)
    }
}

impl Txn {
    /// The records that it leaves with this incarnation as their holder.
    pub(crate) fn active_records(&self, lease: i64) -> impl Iterator<Item = Record> {
        let records = self.then.iter().filter_map(|op| match op {
            Op::Put { key, value, .. } if key.ends_with("/record") => serde_json::from_str::<Record>(value).ok(),
            Op::Put { .. } | Op::Delete { .. } | Op::DeletePrefix { .. } => None,
        });
        records.filter(move |record| record.incarnation == lease && record.state == RecordState::Active)
    }
}

/// A record as it stands in etcd. `kept` is a word that a version without promises can't read: it takes nothing.
#[derive(Serialize, Deserialize)]
pub(super) struct RecordInEtcd {
    epoch: u64,
    node: String,
    incarnation: i64,
    state: StateInEtcd,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<ReleaseCause>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    successor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stuck: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    promise_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Past::is_empty")]
    past: Past,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    voters: BTreeSet<VoterId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bound_ms: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StateInEtcd {
    Active,
    Kept,
    Released,
}

impl From<Record> for RecordInEtcd {
    fn from(record: Record) -> Self {
        let kept = record.kept.filter(|_| record.state == RecordState::Active);
        Self {
            epoch: record.epoch,
            node: record.node,
            incarnation: record.incarnation,
            state: match (record.state, &kept) {
                (RecordState::Released, _) => StateInEtcd::Released,
                (RecordState::Active, None) => StateInEtcd::Active,
                (RecordState::Active, Some(_)) => StateInEtcd::Kept,
            },
            reason: record.reason,
            cause: record.cause,
            successor: record.successor,
            stuck: record.stuck,
            promise_ms: record.promise_ms,
            past: record.past,
            bound_ms: kept.as_ref().map(|kept| kept.bound_ms),
            voters: kept.map(|kept| kept.voters).unwrap_or_default(),
        }
    }
}

impl TryFrom<RecordInEtcd> for Record {
    type Error = &'static str;

    fn try_from(read: RecordInEtcd) -> Result<Self, Self::Error> {
        let listed = (1..=VOTERS_MAX).contains(&read.voters.len());
        let bounded = read
            .bound_ms
            .filter(|bound| listed && (BOUND_MIN_MS..=BOUND_MAX_MS).contains(bound));
        let (state, kept) = match (read.state, bounded) {
            (StateInEtcd::Kept, Some(bound_ms)) => {
                let voters = read.voters;
                (RecordState::Active, Some(Kept { voters, bound_ms }))
            }
            (StateInEtcd::Kept, None) => return Err(text::promises::NO_LIST),
            (StateInEtcd::Active, _) => (RecordState::Active, None),
            (StateInEtcd::Released, _) => (RecordState::Released, None),
        };
        Ok(Self {
            epoch: read.epoch,
            node: read.node,
            incarnation: read.incarnation,
            state,
            reason: read.reason,
            cause: read.cause,
            successor: read.successor,
            stuck: read.stuck,
            promise_ms: read.promise_ms,
            past: read.past,
            kept,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"{"epoch":3,"node":"b","incarnation":7,"state":"active","reason":""}"#;

    #[test]
    fn a_record_without_a_list_is_written_as_ever() {
        let record: Record = serde_json::from_str(PLAIN).unwrap();
        assert_eq!(record.kept, None);
        assert_eq!(serde_json::to_string(&record).unwrap(), PLAIN);
    }

    #[test]
    fn a_list_is_another_word_which_an_earlier_version_can_not_read() {
        let mut record: Record = serde_json::from_str(PLAIN).unwrap();
        let voters = [VoterId(1), VoterId(u128::MAX)].into();
        record.kept = Some(Kept {
            voters,
            bound_ms: 60_000,
        });
        let text = serde_json::to_string(&record).unwrap();
        assert!(text.contains(r#""state":"kept""#), "{text}");
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        let released = Record {
            state: RecordState::Released,
            ..record
        };
        let text = serde_json::to_string(&released).unwrap();
        assert!(!text.contains("voters") && !text.contains("bound_ms"), "{text}");
    }

    #[test]
    fn a_list_that_leasehold_never_wrote_is_unreadable() {
        let kept = PLAIN.replace("active", "kept");
        let with = |more: &str| kept.replace(r#""reason":"""#, &format!(r#""reason":"",{more}"#));
        let one = format!(r#""voters":["{:032x}"]"#, 5);
        for text in [
            kept.clone(),
            with(&one),
            with(r#""voters":[],"bound_ms":60000"#),
            with(r#""voters":["5"],"bound_ms":60000"#),
            with(&format!("{one},\"bound_ms\":9999")),
            with(&format!("{one},\"bound_ms\":86400001")),
        ] {
            assert!(serde_json::from_str::<Record>(&text).is_err(), "{text}");
        }
        assert!(serde_json::from_str::<Record>(&with(&format!("{one},\"bound_ms\":60000"))).is_ok());
    }
}
