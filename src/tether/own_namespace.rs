//! The proof that this process is PID 1 of a PID namespace of its own, and the one call that needs it.
//!
//! `kill(-1)` in the host's PID namespace ends every process of the machine. So the call stands in this file alone, and
//! takes a token that only the check below can make.

use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, getppid};
use rustix::process::{WaitOptions, wait};
use rustix::thread::nanosleep;
use rustix::time::Timespec;

use leasehold_base::clock;
use leasehold_base::time::Time;

/// Proof that `kill(-1)` reaches this container and nothing else.
#[derive(Debug)]
pub(super) struct OwnNamespace(());

/// Inode of the first PID namespace of every Linux kernel (`PROC_PID_INIT_INO`).
const HOST_PID_NAMESPACE: u64 = 4_026_531_836;

/// Kills are repeated this often before the exit of PID 1 leaves the rest to the kernel.
const KILL_ROUNDS: u32 = 500;

/// Pause between two kills: processes need some of the processor to die.
const KILL_PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 200_000,
};

/// The same once they have had [`KILL_ROUNDS`].
const PATIENT_PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

impl OwnNamespace {
    /// Makes the token, or says why this process must not have it.
    ///
    /// Both halves are needed: a PID of 1 alone is also the host's own init; a strange namespace alone is also any
    /// process of a container that shares its namespace with others.
    pub(super) fn prove() -> Result<Self, &'static str> {
        if getpid().as_raw() != 1 {
            return Err("not PID 1 of a PID namespace of its own");
        }
        let Ok(namespace) = std::fs::metadata("/proc/self/ns/pid") else {
            return Err("/proc/self/ns/pid can't be read");
        };
        if namespace.ino() == HOST_PID_NAMESPACE {
            return Err("in the PID namespace of the host");
        }
        Ok(Self(()))
    }

    /// Kills every other process of the namespace, and again until none is left or this one must leave the rest to the
    /// exit of PID 1, which no permission stops: true if none is left. No allocation, no output.
    pub(super) fn kill_now(&self) -> bool {
        for _ in 0..KILL_ROUNDS {
            match self.round() {
                Round::Some => {}
                Round::None => return true,
                Round::Forbidden | Round::Lost => return false,
            }
            let _ = nanosleep(&KILL_PAUSE);
        }
        false
    }

    /// The same with time: true once none is left at all, false if some are at `until`. No allocation, no output.
    ///
    /// What may not be signalled now may be in a moment: a security module keeps its profile from a process that is
    /// still on its way into the container.
    pub(super) fn kill_until(&self, until: Time) -> bool {
        for number in 0_u32.. {
            match self.round() {
                Round::None => return true,
                Round::Lost => return false,
                Round::Some | Round::Forbidden if clock::now().reached(until) => return false,
                Round::Some | Round::Forbidden => {}
            }
            let pause = if number < KILL_ROUNDS {
                &KILL_PAUSE
            } else {
                &PATIENT_PAUSE
            };
            let _ = nanosleep(pause);
        }
        false
    }

    fn round(&self) -> Round {
        // Checked again, at the price of a system call: the token must not outlive a fork.
        if getpid().as_raw() != 1 {
            return Round::Lost;
        }
        let killed = kill(everybody(), Signal::SIGKILL);
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        match killed {
            Err(Errno::ESRCH) => Round::None,
            // The user's rights, and those of a security module.
            Err(Errno::EPERM | Errno::EACCES) => Round::Forbidden,
            Ok(()) | Err(_) => Round::Some,
        }
    }
}

/// What one kill of all has found.
enum Round {
    None,
    Some,
    /// Some that may not be signalled; the others were.
    Forbidden,
    /// This process has no right to it.
    Lost,
}

/// Proof that this process is one of a tether's own, beside it in its namespace: from here, too, `kill(-1)` reaches the
/// container and nothing else, and never PID 1.
#[derive(Debug)]
pub(super) struct Beside(());

impl Beside {
    /// Makes the token, or says why this process must not have it.
    pub(super) fn prove() -> Result<Self, &'static str> {
        if getpid().as_raw() == 1 || getppid().as_raw() != 1 {
            return Err("not started by PID 1");
        }
        let Ok(namespace) = std::fs::metadata("/proc/self/ns/pid") else {
            return Err("/proc/self/ns/pid can't be read");
        };
        if namespace.ino() == HOST_PID_NAMESPACE {
            return Err("in the PID namespace of the host");
        }
        let words = std::fs::read("/proc/1/cmdline").unwrap_or_default();
        let mut words = words.split(|byte| *byte == 0);
        // A namespace may have any program as its PID 1, such as the init of a machine in a container.
        match words.next() {
            Some(first) if first == b"tether" || first.ends_with(b"/tether") => Ok(Self(())),
            Some(_) | None => Err("PID 1 is no tether"),
        }
    }

    /// Kills every process of the namespace but PID 1 and this one, and again until none is left.
    pub(super) fn kill_others(&self) {
        for _ in 0..KILL_ROUNDS {
            if getppid().as_raw() != 1 || kill(everybody(), Signal::SIGKILL).is_err() {
                return;
            }
            let _ = nanosleep(&KILL_PAUSE);
        }
    }
}

/// Whom a kill reaches without a name: only for the holder of a token.
fn everybody() -> Pid {
    Pid::from_raw(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_not_pid_1() {
        assert!(OwnNamespace::prove().is_err());
        assert!(Beside::prove().is_err());
    }
}
