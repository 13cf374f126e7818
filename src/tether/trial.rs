//! A trial start, on a host where the service does not run: all of the gate that needs no lease, and whether the program can be
//! found. It never starts the service, takes no lock and says no hello.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::args::Args;
use super::exit::{self, Refusal};
use super::home::PageFile;
use super::own_namespace::OwnNamespace;
use super::service;
use super::signals::Signals;
use super::standing::Standing;
use super::{gate, watch};
use leasehold_base::clock;
use leasehold_base::trial::ABSENT;

/// Where the C library looks for programs that name no directory, if the environment does not say.
const PATH_DEFAULT: &str = "/bin:/usr/bin";

/// `tether try [--absent PATH]... --service S ... -- command...`
pub(super) fn main(args: &[OsString]) -> ExitCode {
    if let Err(why) = OwnNamespace::prove() {
        return Refusal::NotInit(why).report();
    }
    match attempt(args) {
        Ok(code) => code,
        Err(refusal) => refusal.report(),
    }
}

fn attempt(args: &[OsString]) -> Result<ExitCode, Refusal> {
    let (absent, rest) = split(args).map_err(Refusal::NotOurs)?;
    let args = Args::parse(rest).map_err(Refusal::NotOurs)?;
    let environment = |what: &str, error: io::Error| Refusal::Environment(format!("{what}: {error}"));
    Signals::install().map_err(|error| environment("signals", error))?;
    watch::timer().map_err(|error| environment("timer", error.into()))?;
    Standing::of_init().map_err(|error| environment("/proc/1/stat", error))?;
    pidfd_open(getpid(), PidfdFlags::empty()).map_err(|error| environment("pidfd", error.into()))?;
    clock::unshifted().map_err(Refusal::Environment)?;
    let boot_id = clock::boot_id().map_err(|error| environment("boot id", error))?;
    let file = PageFile::open().map_err(|error| Refusal::NoPage(error.to_string()))?;
    if gate::read(&file)?.boot_id != boot_id {
        return Err(Refusal::OtherBoot);
    }
    Ok(match find(&args.command, &absent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            exit::report_exec(&args.command, &error);
            service::exec_failure(&error)
        }
    })
}

/// The mounts that are absent, and the usual arguments.
fn split(args: &[OsString]) -> Result<(Vec<PathBuf>, &[OsString]), String> {
    let (mut absent, mut rest) = (Vec::new(), args);
    while let Some((first, after)) = rest.split_first().filter(|(first, _)| *first == ABSENT) {
        let (path, after) = after
            .split_first()
            .ok_or_else(|| format!("{} without a path", first.display()))?;
        absent.push(PathBuf::from(path));
        rest = after;
    }
    Ok((absent, rest))
}

/// Whether the program is there and may be executed. What may lie on a mount that is absent counts as found.
fn find(command: &OsStr, absent: &[PathBuf]) -> io::Result<()> {
    let directory = env::current_dir()?;
    let is_absent = |path: &Path| absent.iter().any(|mount| path.starts_with(mount));
    let at = |path: &Path| {
        let path = directory.join(path);
        if is_absent(&path) { Ok(()) } else { may_execute(&path) }
    };
    if command.as_bytes().contains(&b'/') {
        return at(Path::new(command));
    }
    let path = env::var_os("PATH").unwrap_or_else(|| PATH_DEFAULT.into());
    let mut best = io::ErrorKind::NotFound.into();
    for entry in env::split_paths(&path) {
        match at(&entry.join(command)) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => best = error,
            Err(_) => {}
        }
    }
    Err(best)
}

fn may_execute(path: &Path) -> io::Result<()> {
    if path.metadata()?.is_dir() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(all: &[&str]) -> Vec<OsString> {
        all.iter().map(OsString::from).collect()
    }

    #[test]
    fn what_is_absent_stands_before_the_usual_arguments() {
        let args = words(&["--absent", "/a", "--absent", "/b", "--service", "--absent"]);
        let (absent, rest) = split(&args).unwrap();
        assert_eq!(absent, [Path::new("/a"), Path::new("/b")]);
        assert_eq!(rest, &args[4..]);
        assert!(split(&words(&["--absent"])).is_err());
    }

    #[test]
    fn a_program_is_looked_for_as_the_start_would() {
        let kind = |command: &str, absent: &[&str]| {
            let absent: Vec<PathBuf> = absent.iter().map(PathBuf::from).collect();
            find(OsStr::new(command), &absent).map_err(|error| error.kind())
        };
        assert_eq!(kind("/bin/sh", &[]), Ok(()));
        assert_eq!(kind("sh", &[]), Ok(()));
        assert_eq!(kind("no-such-program", &[]), Err(io::ErrorKind::NotFound));
        assert_eq!(kind("/no/such/program", &[]), Err(io::ErrorKind::NotFound));
        assert_eq!(kind("/etc/passwd", &[]), Err(io::ErrorKind::PermissionDenied));
        assert_eq!(kind("/etc", &[]), Err(io::ErrorKind::PermissionDenied));
        assert_eq!(kind("/data/bin/start", &["/data"]), Ok(()), "it may lie on the storage");
        assert_eq!(kind("/database/start", &["/data"]), Err(io::ErrorKind::NotFound));
    }
}
