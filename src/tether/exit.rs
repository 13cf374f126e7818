//! Why a tether did not start the service, or killed it: an exit code and one line.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use crate::core::epoch::Run;

/// Exit codes of a tether that are not the service's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Not PID 1 of a PID namespace of its own (`pid: host`, `init: true`, started by hand).
    NotInit = 200,
    /// Not the arguments that the sidecar gives: created by `docker compose run` or by hand, or made for another storage than
    /// the group has now.
    NotOurs = 201,
    /// No page, or none that can be read: no sidecar on this host, or the mount is missing.
    NoPage = 202,
    /// The page was written before the last boot of the host.
    OtherBoot = 203,
    /// The page lets nothing run here, or another run than the one that was asked for.
    Closed = 204,
    /// The lease is about to run out, or has.
    TooLate = 205,
    /// Another container of this service still runs.
    Locked = 206,
    /// The sidecar did not answer in time, or said no.
    NotAdmitted = 207,
    /// A protected mount without its store id, clocks that a time namespace shifts, or the kernel refused something that the
    /// tether can't do without. After a service that ran: its data could not be synced.
    Environment = 208,
    /// The service ran and was killed: hard deadline, order of the sidecar, or the page is gone.
    Killed = 209,
    /// The service ran and was killed, because PID 1 was lowered before the scheduler, or the keeper of a claim silenced.
    Tampered = 210,
}

impl Code {
    /// One word for logs and for the documentation.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotInit => "not-init",
            Self::NotOurs => "not-ours",
            Self::NoPage => "no-page",
            Self::OtherBoot => "other-boot",
            Self::Closed => "closed",
            Self::TooLate => "too-late",
            Self::Locked => "locked",
            Self::NotAdmitted => "not-admitted",
            Self::Environment => "environment",
            Self::Killed => "killed",
            Self::Tampered => "tampered",
        }
    }

    /// The number that `docker inspect` shows.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The code of an exit status, if it is one of the tether's.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|code| i64::from(code.number()) == number)
    }

    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::NotInit,
        Self::NotOurs,
        Self::NoPage,
        Self::OtherBoot,
        Self::Closed,
        Self::TooLate,
        Self::Locked,
        Self::NotAdmitted,
        Self::Environment,
        Self::Killed,
        Self::Tampered,
    ];
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_200_to_210() {
        for (offset, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(code.number()), 200 + offset);
            assert_eq!(Code::from_number(i64::from(code.number())), Some(code));
        }
        assert_eq!(Code::from_number(0), None);
    }
}
