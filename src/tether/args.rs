//! The arguments that the sidecar gives to a tether.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::str::FromStr;

use nix::sys::signal;
use rustix::process::Signal;

use super::own_init::Loan;
use leasehold_base::own_init;

/// `--service S --group G --node N [--cluster C] [--stop-signal X] [--own-init LENT] [--store ID=PATH]... -- command...`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Args {
    pub(super) service: OsString,
    pub(super) group: OsString,
    pub(super) node: OsString,
    /// Whose claims on the stores count; always there beside a store.
    pub(super) cluster: Option<OsString>,
    pub(super) stop_signal: Signal,
    /// The command must be PID 1 itself; with what the container got for that.
    pub(super) own_init: Option<Loan>,
    /// The protected mounts, with the id that each must have.
    pub(super) stores: Vec<Store>,
    pub(super) command: OsString,
    pub(super) arguments: Vec<OsString>,
}

/// A protected mount.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Store {
    pub(super) id: String,
    pub(super) path: PathBuf,
}

impl Args {
    /// Parses them; anything else comes from somebody who is not the sidecar.
    pub(super) fn parse(args: &[OsString]) -> Result<Self, String> {
        let (mut service, mut group, mut node, mut cluster) = (None, None, None, None);
        let (mut stop_signal, mut lent) = (None, None);
        let mut stores = Vec::new();
        let mut rest = args.iter();
        loop {
            let name = rest.next().ok_or("no `--` before the command")?;
            if name == "--" {
                break;
            }
            if name == "--store" {
                stores.push(
                    rest.next()
                        .and_then(|text| parse_store(text))
                        .ok_or("--store without ID=PATH")?,
                );
                continue;
            }
            let known = match name.to_str() {
                Some("--service") => &mut service,
                Some("--group") => &mut group,
                Some("--node") => &mut node,
                Some("--cluster") => &mut cluster,
                Some("--stop-signal") => &mut stop_signal,
                Some(own_init::FLAG) => &mut lent,
                Some(_) | None => return Err(format!("unknown argument {name:?}")),
            };
            let value = rest.next().ok_or_else(|| format!("{name:?} without a value"))?;
            if known.replace(value.clone()).is_some() {
                return Err(format!("{name:?} given twice"));
            }
        }
        if cluster.is_none() && !stores.is_empty() {
            return Err("--store without --cluster".to_owned());
        }
        let stop_signal = match stop_signal {
            Some(name) => parse_signal(&name).ok_or_else(|| format!("unknown signal {name:?}"))?,
            None => Signal::TERM,
        };
        Ok(Self {
            service: service.ok_or("no --service")?,
            group: group.ok_or("no --group")?,
            node: node.ok_or("no --node")?,
            cluster,
            stop_signal,
            own_init: lent.map(|word| parse_loan(&word)).transpose()?,
            stores,
            command: rest.next().ok_or("no command after `--`")?.clone(),
            arguments: rest.cloned().collect(),
        })
    }
}

fn parse_loan(word: &OsStr) -> Result<Loan, String> {
    Loan::parse(word).ok_or_else(|| format!("unknown capabilities {word:?}"))
}

/// `ID=PATH`; an id has no equals sign, a path may.
fn parse_store(text: &OsStr) -> Option<Store> {
    let bytes = text.as_bytes();
    let (id, path) = bytes.split_at(bytes.iter().position(|byte| *byte == b'=')?);
    let path = PathBuf::from(OsStr::from_bytes(path.get(1..)?));
    let id = std::str::from_utf8(id).ok().filter(|id| !id.is_empty())?.to_owned();
    path.is_absolute().then_some(Store { id, path })
}

/// A signal as Docker writes it: `SIGTERM`, `TERM`, `term` or `15`. Real-time signals are not known here.
fn parse_signal(text: &OsStr) -> Option<Signal> {
    let text = text.to_str()?.to_ascii_uppercase();
    let number = match i32::from_str(&text) {
        Ok(number) => number,
        Err(_) => signal::Signal::from_str(&format!("SIG{}", text.trim_start_matches("SIG"))).ok()? as i32,
    };
    Signal::from_named_raw(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        let args: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Args::parse(&args)
    }

    #[test]
    fn the_form_of_the_sidecar_is_known() {
        let args = parse("--service s --group g --node n --stop-signal SIGQUIT -- sh -c --").unwrap();
        assert_eq!(args.stop_signal, Signal::QUIT);
        assert_eq!(
            (args.service.to_str(), args.group.to_str(), args.node.to_str()),
            (Some("s"), Some("g"), Some("n"))
        );
        assert_eq!(args.command, "sh");
        assert_eq!(args.arguments, ["-c", "--"]);
    }

    #[test]
    fn stores_are_ids_and_paths() {
        let args = parse("--service s --group g --node n --cluster c --store a=/x=y --store b=/z -- sh").unwrap();
        let stores: Vec<_> = args
            .stores
            .iter()
            .map(|store| (store.id.as_str(), store.path.to_str()))
            .collect();
        assert_eq!(stores, [("a", Some("/x=y")), ("b", Some("/z"))]);
        for store in ["a", "=/x", "a=x", "a="] {
            assert!(
                parse(&format!(
                    "--service s --group g --node n --cluster c --store {store} -- sh"
                ))
                .is_err()
            );
        }
    }

    #[test]
    fn an_own_init_comes_with_what_was_lent() {
        let loan = |line: &str| {
            parse(&format!("--service s --group g --node n {line} -- sh"))
                .unwrap()
                .own_init
        };
        assert_eq!(loan(""), None);
        for word in ["none", "SYS_ADMIN", "SYS_ADMIN,SETPCAP"] {
            let read = loan(&format!("--own-init {word}"));
            assert!(read.is_some() && read == Loan::parse(OsStr::new(word)), "{word}");
        }
    }

    #[test]
    fn any_other_form_is_refused() {
        for line in [
            "",
            "sh",
            "sh -c true",
            "--service s --group g --node n",
            "--service s --group g --node n --",
            "--service s --group g -- sh",
            "--service s --service s --group g --node n -- sh",
            "--service s --group g --node n --stop-signal SIGRTMIN+3 -- sh",
            "--service -- sh",
            "--service s --group g --node n --own-init -- sh",
            "--service s --group g --node n --own-init NET_ADMIN -- sh",
            "--service s --group g --node n --own-init none --own-init none -- sh",
            "--service s --group g --node n --store a=/x -- sh",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn signals_are_read_as_docker_writes_them() {
        for (text, signal) in [
            ("SIGTERM", Some(Signal::TERM)),
            ("int", Some(Signal::INT)),
            ("9", Some(Signal::KILL)),
            ("0", None),
            ("99", None),
            ("SIG", None),
            ("NOPE", None),
        ] {
            assert_eq!(parse_signal(OsStr::new(text)), signal, "{text}");
        }
    }
}
