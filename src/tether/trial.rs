//! A trial start, on a host where the service does not run: all of the gate that needs no lease, and whether the program can be
//! found. It never starts the service, takes no lock and says no hello. It shows the certificates that it is asked for.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
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
use super::{gate, own_init, watch};
use leasehold_base::trial::{self, ABSENT, CERTIFICATE, Shown};
use leasehold_base::{clock, small_file};

/// Where the C library looks for programs that name no directory, if the environment does not say.
const PATH_DEFAULT: &str = "/bin:/usr/bin";
/// Of a file with certificates; a chain with its key has some ten thousand bytes.
const CERTIFICATE_MAX: u64 = 64 * 1024;

/// What stands before the usual arguments.
#[derive(Debug, Default)]
struct Asked {
    /// Mounts that the trial goes without.
    absent: Vec<PathBuf>,
    /// Files to show.
    certificates: Vec<PathBuf>,
}

/// `tether try [--absent PATH | --certificate PATH]... --service S ... -- command...`
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
    let (asked, rest) = split(args).map_err(Refusal::NotOurs)?;
    let args = Args::parse(rest).map_err(Refusal::NotOurs)?;
    let environment = |what: &str, error: io::Error| Refusal::Environment(format!("{what}: {error}"));
    Signals::install().map_err(|error| environment("signals", error))?;
    watch::timer().map_err(|error| environment("timer", error.into()))?;
    Standing::of_init().map_err(|error| environment("/proc/1/stat", error))?;
    pidfd_open(getpid(), PidfdFlags::empty()).map_err(|error| environment("pidfd", error.into()))?;
    clock::unshifted().map_err(Refusal::Environment)?;
    if let Some(loan) = args.own_init {
        own_init::check(loan)?;
    }
    let boot_id = clock::boot_id().map_err(|error| environment("boot id", error))?;
    let file = PageFile::open().map_err(|error| Refusal::NoPage(error.to_string()))?;
    if gate::read(&file)?.boot_id != boot_id {
        return Err(Refusal::OtherBoot);
    }
    show(&asked).map_err(|error| environment("standard output", error))?;
    Ok(match find(&args.command, &asked.absent) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            exit::report_exec(&args.command, &error);
            service::exec_failure(&error)
        }
    })
}

/// What is asked for, and the usual arguments.
fn split(args: &[OsString]) -> Result<(Asked, &[OsString]), String> {
    let (mut asked, mut rest) = (Asked::default(), args);
    while let Some((first, after)) = rest.split_first() {
        let paths = if first == ABSENT {
            &mut asked.absent
        } else if first == CERTIFICATE {
            &mut asked.certificates
        } else {
            break;
        };
        let (path, after) = after
            .split_first()
            .ok_or_else(|| format!("{} without a path", first.display()))?;
        paths.push(PathBuf::from(path));
        rest = after;
    }
    Ok((asked, rest))
}

/// Of each file its first certificate, which is no secret; never anything else of it.
fn show(asked: &Asked) -> io::Result<()> {
    let mut output = io::stdout().lock();
    for (number, path) in asked.certificates.iter().enumerate() {
        output.write_all(trial::show(number, &certificate(path)).as_bytes())?;
    }
    output.flush()
}

fn certificate(path: &Path) -> Shown {
    let bytes = small_file::read(path, CERTIFICATE_MAX).map_err(|error| error.to_string())?;
    let found = trial::first_certificate(&String::from_utf8_lossy(&bytes));
    found.ok_or_else(|| "no certificate in PEM is in it".to_owned())
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
        let args = words(&[
            "--absent",
            "/a",
            "--certificate",
            "/c",
            "--absent",
            "/b",
            "--service",
            "--absent",
        ]);
        let (asked, rest) = split(&args).unwrap();
        assert_eq!(asked.absent, [Path::new("/a"), Path::new("/b")]);
        assert_eq!(asked.certificates, [Path::new("/c")]);
        assert_eq!(rest, &args[6..]);
        assert!(split(&words(&["--absent"])).is_err());
        assert!(split(&words(&["--certificate"])).is_err());
    }

    #[test]
    fn a_file_shows_its_certificate_or_why_not() {
        let missing = certificate(Path::new("/no/such/file")).unwrap_err();
        assert!(missing.contains("No such file"), "{missing}");
        assert!(
            certificate(Path::new("/dev/zero"))
                .unwrap_err()
                .contains("not a regular file")
        );
        let other = certificate(Path::new("/etc/passwd")).unwrap_err();
        assert_eq!(other, "no certificate in PEM is in it");
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
