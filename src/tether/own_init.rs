//! An init of the image's own, which refuses to be anything but PID 1: it becomes that of a PID namespace within this one.
//!
//! The tether stays PID 1 of the container. Its end, and its kill, reach every namespace below; the other way round nothing
//! down there can so much as name it. To make a namespace takes `CAP_SYS_ADMIN`, which is given away before the init starts.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode};

use nix::sched::{CloneFlags, unshare};
use rustix::process::getpid;
use rustix::thread::{
    CapabilitySet, LinkNameSpaceType, capabilities, move_into_link_name_space, remove_capability_from_bounding_set,
    set_capabilities,
};

use super::exit::{Refusal, report_exec};
use super::inner_proc;
use super::service::exec_failure;
use leasehold_base::own_init::{self, Lent};
use leasehold_base::small_file;

/// The tether's first word where it is the first process of the inner namespace: `tether init LENT -- command...`.
pub(super) const FORM: &str = "init";

/// The text of a process has some sixty lines.
pub(super) const STATUS_MAX: u64 = 16 * 1024;

/// What the container got for its tether alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loan(CapabilitySet);

impl Loan {
    pub(super) fn parse(word: &OsStr) -> Option<Self> {
        let all = own_init::read(word.to_str()?)?;
        Some(Self(all.into_iter().map(capability).collect()))
    }

    fn word(self) -> String {
        let is_in = |one: &Lent| self.0.contains(capability(*one));
        own_init::word(&Lent::ALL.into_iter().filter(is_in).collect::<Vec<_>>())
    }

    /// Takes it from this process for good: no program that it starts, whoever owns it, gets it back.
    pub(super) fn give_back(self) -> io::Result<()> {
        for one in self.0.iter() {
            remove_capability_from_bounding_set(one)?;
        }
        let mut sets = capabilities(None)?;
        for set in [&mut sets.effective, &mut sets.permitted, &mut sets.inheritable] {
            set.remove(self.0);
        }
        // What is not permitted any more leaves the ambient set by itself.
        Ok(set_capabilities(None, sets)?)
    }
}

fn capability(one: Lent) -> CapabilitySet {
    match one {
        Lent::SysAdmin => CapabilitySet::SYS_ADMIN,
        Lent::Setpcap => CapabilitySet::SETPCAP,
        Lent::SysChroot => CapabilitySet::SYS_CHROOT,
    }
}

/// Whether a start could do all of it here; before the gate, and in a trial.
pub(super) fn check(loan: Loan) -> Result<(), Refusal> {
    let refused = |why: &str| {
        Refusal::Environment(format!(
            "own_init: this container can't give the image's init a PID namespace of its own: {why}"
        ))
    };
    let had = capabilities(None)
        .map_err(|error| refused(&error.to_string()))?
        .effective;
    if !had.contains(CapabilitySet::SYS_ADMIN) {
        return Err(refused("it has no CAP_SYS_ADMIN; is its user root?"));
    }
    if !loan.0.is_empty() && !had.contains(CapabilitySet::SETPCAP) {
        return Err(refused("it has no CAP_SETPCAP, to give CAP_SYS_ADMIN away"));
    }
    let tried = Apart::go().and_then(Apart::back);
    tried.map_err(|error| refused(&format!("the kernel or a security module refuses it ({error})")))
}

/// Children are of a new PID namespace meanwhile, the first of them as its PID 1. No thread can be started, so it must end.
struct Apart {
    own: File,
}

impl Apart {
    fn go() -> io::Result<Self> {
        let own = File::open("/proc/self/ns/pid")?;
        unshare(CloneFlags::CLONE_NEWPID)?;
        Ok(Self { own })
    }

    fn back(self) -> io::Result<()> {
        Ok(move_into_link_name_space(
            self.own.as_fd(),
            Some(LinkNameSpaceType::ProcessID),
        )?)
    }
}

/// What is started in place of the service's program, and becomes it.
pub(super) fn command(loan: Loan, program: &OsStr) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("tether").arg(FORM).arg(loan.word()).arg("--").arg(program);
    command
}

/// Starts it as PID 1 of a namespace of its own, and gives back what that took.
pub(super) fn start(loan: Loan, command: &mut Command) -> io::Result<Child> {
    let apart = Apart::go()?;
    let started = command.spawn();
    let back = apart.back().and_then(|()| loan.give_back());
    let mut child = started?;
    if let Err(error) = back {
        let _ = child.kill();
        return Err(error);
    }
    Ok(child)
}

/// The first process of the inner namespace, from the words behind [`FORM`].
pub(super) fn main(words: &[OsString]) -> ExitCode {
    let (loan, command) = match parse(words) {
        Ok(parsed) => parsed,
        Err(why) => return Refusal::NotOurs(why).report(),
    };
    match enter(loan, command) {
        Ok(code) => code,
        Err(error) => Refusal::Environment(format!("own_init: {error}")).report(),
    }
}

fn enter(loan: Loan, command: &[OsString]) -> io::Result<ExitCode> {
    let status = small_file::read_text(Path::new("/proc/self/status"), STATUS_MAX)?;
    if getpid().as_raw_pid() != 1 || !is_inner_init(&status) {
        return Ok(Refusal::NotOurs("an inner init that no tether started".to_owned()).report());
    }
    if !inner_proc::show()? {
        let _ = io::stderr().write_all(PROC_STAYS.as_bytes());
    }
    loan.give_back()?;
    let [program, arguments @ ..] = command else {
        return Ok(exec_failure(&io::ErrorKind::NotFound.into()));
    };
    let error = Command::new(program).args(arguments).exec();
    report_exec(program, &error);
    Ok(exec_failure(&error))
}

/// It may hang at a pipe that is full, which holds up the service and nothing else.
const PROC_STAYS: &str = "leasehold: this host lets the tether mount no /proc of the service's own (AppArmor, SELinux or a user \
    namespace): programs that look for others there, such as ps and pkill, find wrong numbers; the service runs all the same\n";

/// What was lent, and the command behind `--`.
pub(super) fn parse(words: &[OsString]) -> Result<(Loan, &[OsString]), String> {
    let [lent, dashes, command @ ..] = words else {
        return Err("not the words of an inner init".to_owned());
    };
    let loan = Loan::parse(lent).filter(|_| dashes == "--" && !command.is_empty());
    Ok((loan.ok_or("not the words of an inner init")?, command))
}

/// Whether the text is of PID 1 of a namespace just below, a child of PID 1 up here.
pub(super) fn is_inner_init(status: &str) -> bool {
    let value = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let own = value("NSpid:").unwrap_or_default();
    let own: Vec<&str> = own.split_whitespace().collect();
    value("PPid:").map(str::trim) == Some("1") && matches!(own.as_slice(), [outer, "1"] if *outer != "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn an_inner_init_is_a_child_of_pid_1_and_pid_1_itself() {
        let status =
            |parent: &str, own: &str| format!("Name:\ts6\nPid:\t12\nPPid:\t{parent}\nNSpid:\t{own}\nNSsid:\t1\n");
        for (parent, own, is_it) in [
            ("1", "12\t1", true),
            ("7", "12\t1", false),
            ("1", "12\t4", false),
            ("1", "12", false),
            ("0", "1", false),
            ("1", "12\t1\t1", false),
        ] {
            assert_eq!(is_inner_init(&status(parent, own)), is_it, "{parent}: {own}");
        }
        assert!(!is_inner_init(""));
    }

    #[test]
    fn its_words_are_what_was_lent_and_a_command() {
        let all = words("SYS_ADMIN,SETPCAP -- /init -x");
        let (loan, command) = parse(&all).unwrap();
        assert_eq!(loan.0, CapabilitySet::SYS_ADMIN | CapabilitySet::SETPCAP);
        assert_eq!(loan.word(), "SYS_ADMIN,SETPCAP");
        assert_eq!(command, words("/init -x"));
        assert_eq!(Loan::parse(OsStr::new("none")).unwrap().word(), "none");
        for wrong in ["", "none", "none --", "none /init", "ALL -- /init"] {
            assert!(parse(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
