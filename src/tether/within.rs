//! A command in the namespace of the image's own init, as a health check is started: what the engine starts in the container is
//! beside the tether, sees other process numbers than the service, and still has what was lent to the tether.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use rustix::process::{Signal, getpid, set_parent_process_death_signal};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::exit::{Refusal, report_exec};
use super::own_init::{STATUS_MAX, is_inner_init, parse};
use super::service::{exec_failure, exit_code_of};
use leasehold_base::small_file;

/// The tether's first word in the process that becomes the command: `tether led command...`.
pub(super) const LED: &str = "led";

/// From the words behind `within`. Its exit code is the command's.
pub(super) fn main(words: &[OsString]) -> ExitCode {
    let (loan, command) = match parse(words) {
        Ok(parsed) => parsed,
        Err(why) => return Refusal::NotOurs(why).report(),
    };
    let led = enter().and_then(|()| loan.give_back());
    if let Err(error) = led {
        let why = format!("own_init: the namespace of the service can't be entered: {error}");
        return Refusal::Environment(why).report();
    }
    let [program, arguments @ ..] = command else {
        return exec_failure(&io::ErrorKind::NotFound.into());
    };
    let mut led = Command::new("/proc/self/exe");
    led.arg0("tether").arg(LED).arg(program).args(arguments);
    match led.status() {
        Ok(status) => exit_code_of(status),
        Err(error) => {
            report_exec(program, &error);
            exec_failure(&error)
        }
    }
}

/// The command's process, from the words behind [`LED`]: an engine that gives a check up kills the one that it started. This one
/// must not be left behind, check after check.
pub(super) fn led(words: &[OsString]) -> ExitCode {
    let [program, arguments @ ..] = words else {
        return Refusal::NotOurs("not the words of a check".to_owned()).report();
    };
    // As PID 1 it would be a service past the gate.
    if getpid().as_raw_pid() == 1 {
        return Refusal::NotOurs("a check that no tether led here".to_owned()).report();
    }
    let error = match set_parent_process_death_signal(Some(Signal::KILL)) {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error.into(),
    };
    report_exec(program, &error);
    exec_failure(&error)
}

/// Children are in it from now on. The mounts are the init's as well, and the directory stays the same by its name.
fn enter() -> io::Result<()> {
    let directory = env::current_dir()?;
    let init = find()?.ok_or_else(|| io::Error::other("the service does not run"))?;
    let processes = File::open(init.join("ns/pid"))?;
    let mounts = File::open(init.join("ns/mnt"))?;
    move_into_link_name_space(processes.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
    move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
    env::set_current_dir(directory)
}

/// The directory of the init in `/proc`.
fn find() -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let is_process = path
            .file_name()
            .and_then(|name| name.to_str()?.parse::<u32>().ok())
            .is_some();
        // One that has ended meanwhile is not it.
        if is_process && status(&path).is_ok_and(|status| is_inner_init(&status)) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

fn status(process: &Path) -> io::Result<String> {
    small_file::read_text(&process.join("status"), STATUS_MAX)
}
