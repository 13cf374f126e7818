//! The service: the one child that counts, and the orphans that only PID 1 can reap.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};

use super::args::Args;
use super::own_init;
use leasehold_base::epoch::Run;

/// Zombies reaped before the time is looked at again.
const REAP_MAX: u32 = 64;

/// The running service.
#[derive(Debug)]
pub(super) struct Service {
    pid: Pid,
    stop_signal: Signal,
    stopping: bool,
}

impl Service {
    /// Starts it as docker-init would: in a process group of its own, in the foreground if there is a terminal.
    pub(super) fn start(args: &Args, run: Run) -> io::Result<Self> {
        let mut command = match args.own_init {
            None => Command::new(&args.command),
            Some(loan) => own_init::command(loan, &args.command),
        };
        command
            .args(&args.arguments)
            .env("LEASEHOLD_GROUP", &args.group)
            .env("LEASEHOLD_NODE", &args.node)
            .env("LEASEHOLD_EPOCH", run.epoch.to_string())
            .env("LEASEHOLD_RUN", run.to_string())
            .process_group(0);
        let child = match args.own_init {
            None => command.spawn()?,
            Some(loan) => own_init::start(loan, &mut command)?,
        };
        let pid = i32::try_from(child.id())
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the child has no PID"))?;
        let group = nix::unistd::Pid::from_raw(pid.as_raw_pid());
        if nix::unistd::tcsetpgrp(io::stdin(), group).is_ok() {
            // A child that read from the terminal before it had it was stopped for that.
            let _ = kill_process(pid, Signal::CONT);
        }
        Ok(Self {
            pid,
            stop_signal: args.stop_signal,
            stopping: false,
        })
    }

    /// Passes a signal on. A service of another user can't be signalled: its end is then the exit of PID 1.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid, signal);
    }

    /// Sends the stop signal, the first time.
    pub(super) fn stop_once(&mut self) {
        if !self.stopping {
            self.stopping = true;
            self.signal(self.stop_signal);
            // A service that was stopped (SIGSTOP, SIGTSTP) could not act on it.
            self.signal(Signal::CONT);
        }
    }

    /// Whether the stop signal was sent.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Reaps what ended: the exit code of the service when it is among them, and whether more may be waiting.
    pub(super) fn reap(&self, mut other: impl FnMut(Pid)) -> Reaped {
        for _ in 0..REAP_MAX {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.pid => return Reaped::Service(exit_code(status)),
                Ok(Some((pid, _))) => other(pid),
                Ok(None) | Err(_) => return Reaped::Others,
            }
        }
        Reaped::More
    }
}

/// What a call of [`Service::reap`] found.
#[derive(Debug)]
pub(super) enum Reaped {
    /// The service ended, with this.
    Service(ExitCode),
    /// Orphans or nobody; none is left.
    Others,
    /// Orphans, and there may be more.
    More,
}

/// The exit code of PID 1 when the service could not be executed: what Docker gives for it.
pub(super) fn exec_failure(error: &io::Error) -> ExitCode {
    ExitCode::from(if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    })
}

/// The same of a command that was waited for.
pub(super) fn exit_code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255))
}

fn exit_code(status: WaitStatus) -> ExitCode {
    let code = status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255))
}
