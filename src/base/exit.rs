//! How a tether ends that did not start the service, or killed it.

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

    /// Whether the next start meets the same, until somebody mends it.
    #[must_use]
    pub const fn is_lasting(self) -> bool {
        match self {
            Self::NotInit | Self::NotOurs | Self::NoPage | Self::OtherBoot | Self::Environment => true,
            Self::Closed | Self::TooLate | Self::Locked | Self::NotAdmitted | Self::Killed | Self::Tampered => false,
        }
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
