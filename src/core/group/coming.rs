//! How a run comes about, and the codes of what is said of it.

use crate::code::Code;
use crate::records::{Record, RecordState};

/// Why a group is released that nobody hands over: of a holder that fell silent together with its other groups,
pub(crate) const SILENT: &str = "silent";
/// that could not renew its lease,
pub(crate) const RAN_OUT: &str = "its lease ran out";
/// whose sidecar ended in the middle of a stop,
pub(crate) const INTERRUPTED: &str = "its stop was under way when its sidecar ended";
/// or whose key was taken away.
pub(crate) const LOST_PLACE: &str = "its node lost its place in the cluster";
/// The first word where its holder was fenced,
pub(crate) const FENCED: &str = "fenced";
/// and where the service failed on it too often.
pub(crate) const FAILED: &str = "failed";

/// How a run comes about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Coming {
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

impl Coming {
    /// How the next epoch comes about. A record says in words why it was released, so nothing but words may hang on this.
    pub(crate) fn after(record: Option<&Record>) -> Self {
        let Some(record) = record else { return Self::Start };
        let reason = &record.reason;
        let alone = [SILENT, RAN_OUT, INTERRUPTED, LOST_PLACE].contains(&reason.as_str());
        match record.state {
            RecordState::Active => Self::Failover,
            RecordState::Released if alone || reason.starts_with(FENCED) || reason.starts_with(FAILED) => {
                Self::Failover
            }
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
