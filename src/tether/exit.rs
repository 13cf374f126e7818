//! Why a tether did not start the service, in one line, with its exit code.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use leasehold_base::epoch::Run;

pub(super) use leasehold_base::exit::Code;

/// Why the service was not started.
#[derive(Debug)]
pub(super) enum Refusal {
    NotInit(&'static str),
    NotOurs(String),
    /// The page says that there is a storage to find, and the arguments name none, or another.
    OtherStore,
    NoPage(String),
    OtherBoot,
    Closed,
    OtherRun {
        wanted: Run,
        page: Run,
    },
    TooLate,
    Locked,
    NotAdmitted(String),
    Storage(String),
    /// The storage carries a claim of this later epoch.
    LaterClaim {
        epoch: u64,
        why: String,
    },
    Environment(String),
}

impl Refusal {
    fn code(&self) -> Code {
        match self {
            Self::NotInit(_) => Code::NotInit,
            Self::NotOurs(_) | Self::OtherStore => Code::NotOurs,
            Self::NoPage(_) => Code::NoPage,
            Self::OtherBoot => Code::OtherBoot,
            Self::Closed | Self::OtherRun { .. } => Code::Closed,
            Self::TooLate => Code::TooLate,
            Self::Locked => Code::Locked,
            Self::NotAdmitted(_) => Code::NotAdmitted,
            Self::Storage(_) | Self::LaterClaim { .. } | Self::Environment(_) => Code::Environment,
        }
    }

    /// Writes the one line and gives the exit code.
    pub(super) fn report(&self) -> ExitCode {
        let code = self.code();
        let (number, name) = (code.number(), code.name());
        let hint = super::home::notice().unwrap_or_else(|| "see `leasehold status`".to_owned());
        let line = format!("leasehold: not started ({number} {name}): {self}; {hint}\n");
        // Nothing is left to tell a failed write to.
        let _ = std::io::stderr().write_all(line.as_bytes());
        ExitCode::from(number)
    }
}

/// Writes the one line for a command that could not be executed.
pub(super) fn report_exec(command: &std::ffi::OsStr, error: &std::io::Error) {
    let line = format!("leasehold: {}: {error}\n", command.display());
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Writes the one line for a limit on locked memory that is too small. Only before the gate: a pipe may be full.
pub(super) fn report_unlocked() {
    let line = "leasehold: the engine's limit on locked memory is too small for the tether: when the host runs short of memory, \
        a kill at the deadline may wait for a disk; to mend it set ulimits.memlock of the service to 67108864\n";
    let _ = std::io::stderr().write_all(line.as_bytes());
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInit(why) => write!(f, "this process is {why}"),
            Self::NotOurs(why) => write!(f, "this container was not created by the sidecar ({why})"),
            Self::OtherStore => write!(f, "this container was made for another storage than the group has now"),
            Self::NoPage(why) => write!(f, "no word from a sidecar on this host ({why})"),
            Self::OtherBoot => write!(f, "the sidecar has not started since the host booted"),
            Self::Closed => write!(f, "the service may not run on this host now"),
            Self::OtherRun { wanted, page } => write!(f, "run {wanted} was replaced by run {page}"),
            Self::TooLate => write!(f, "the lease of this host is running out"),
            Self::Locked => write!(f, "another container of this service is still there"),
            Self::NotAdmitted(why) => write!(f, "the sidecar did not admit this container ({why})"),
            Self::Storage(why) | Self::LaterClaim { why, .. } | Self::Environment(why) => write!(f, "{why}"),
        }
    }
}
