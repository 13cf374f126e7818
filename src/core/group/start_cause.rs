//! How a run comes about, and the codes of what is said of it.

use crate::protocol::records::{Record, RecordState};
use crate::snapshot::code::Code;

/// How a run comes about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum StartCause {
    /// Nobody held the group.
    #[default]
    Start,
    /// Its holder did not hand it over.
    Failover,
    /// Its holder did.
    Switchover,
    /// It failed here before.
    Recovery,
    /// An operator wants it as the file says now.
    Apply,
    /// A sidecar before this one started it.
    Adoption,
}

impl StartCause {
    /// How the next epoch comes about.
    pub(crate) fn after(record: Option<&Record>) -> Self {
        let Some(record) = record else { return Self::Start };
        match record.state {
            RecordState::Active => Self::Failover,
            RecordState::Released if record.release_cause().is_loss() => Self::Failover,
            RecordState::Released if record.successor.is_some() => Self::Switchover,
            RecordState::Released => Self::Start,
        }
    }

    /// Its code when it begins.
    pub(super) fn started(self) -> Code {
        match self {
            Self::Start => Code::StartStarted,
            Self::Failover => Code::FailoverStarted,
            Self::Switchover => Code::SwitchoverTaken,
            Self::Recovery => Code::RecoveryStarted,
            Self::Apply => Code::ApplyStarted,
            Self::Adoption => Code::AdoptionStarted,
        }
    }

    /// Its code once it serves.
    pub(super) fn done(self) -> Code {
        match self {
            Self::Start => Code::StartDone,
            Self::Failover => Code::FailoverDone,
            Self::Switchover => Code::SwitchoverDone,
            Self::Recovery => Code::RecoveryDone,
            Self::Apply => Code::ApplyDone,
            Self::Adoption => Code::AdoptionDone,
        }
    }

    /// Its code if it ends before it served.
    pub(super) fn failed(self) -> Code {
        match self {
            Self::Start => Code::StartFailed,
            Self::Failover => Code::FailoverFailed,
            Self::Switchover => Code::SwitchoverFailed,
            Self::Recovery => Code::RecoveryFailed,
            Self::Apply => Code::ApplyFailed,
            Self::Adoption => Code::AdoptionFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(json: &str) -> Record {
        let head = r#"{"epoch":3,"node":"a","incarnation":7,"state":"released""#;
        serde_json::from_str(&format!("{head},{json}}}")).unwrap()
    }

    #[test]
    fn a_reworded_sentence_changes_nothing() {
        for cause in [
            "silent",
            "ran_out",
            "interrupted",
            "place_lost",
            "fenced",
            "failed",
            "unreached",
        ] {
            let record = record(&format!(
                r#""reason":"in other words","cause":"{cause}","successor":"b""#
            ));
            assert_eq!(StartCause::after(Some(&record)), StartCause::Failover, "{cause}");
        }
        for cause in [
            "asked",
            "failback",
            "node_ending",
            "drained",
            "not_extended",
            "neighbour_stuck",
            "stuck_ended",
        ] {
            // A group may be called so: its name comes first in the sentence.
            let json = format!(r#""reason":"failed-mail could not be stopped on a","cause":"{cause}""#);
            assert_eq!(StartCause::after(Some(&record(&json))), StartCause::Start, "{cause}");
            let named = record(&format!(r#"{json},"successor":"b""#));
            assert_eq!(StartCause::after(Some(&named)), StartCause::Switchover, "{cause}");
        }
    }

    /// As 84eb5cc wrote them.
    #[test]
    fn a_record_without_a_cause_is_read_as_before() {
        for (json, start_cause) in [
            (r#""reason":"silent""#, StartCause::Failover),
            (r#""reason":"its lease ran out","successor":"b""#, StartCause::Failover),
            (
                r#""reason":"failed 4 times here","successor":"b""#,
                StartCause::Failover,
            ),
            (
                r#""reason":"fenced: fence_ipmilan on b succeeded""#,
                StartCause::Failover,
            ),
            (
                r#""reason":"switchover to b, asked by ann on a","successor":"b""#,
                StartCause::Switchover,
            ),
            (r#""reason":"stopped by ann at 12:00""#, StartCause::Start),
        ] {
            assert_eq!(StartCause::after(Some(&record(json))), start_cause, "{json}");
        }
    }
}
