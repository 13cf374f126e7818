//! An init that must be PID 1, in a PID namespace within the tether's.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use leasehold::base::clock;
use leasehold::base::exit::Code;
use leasehold::base::page::Order;

use crate::harness::{Container, FORM, Host, PATIENCE, Place, Setup, await_that, members, namespace, page};

/// The bit of `CAP_SYS_ADMIN`.
const SYS_ADMIN: u64 = 1 << 21;

fn args<'a>(own: &'a str, script: &'a str) -> Vec<&'a str> {
    let (dashes, form) = FORM.split_last().unwrap();
    [form, &["--own-init", own, dashes, "sh", "-c", script]].concat()
}

/// An init that is up, with its namespace and the tether's.
struct Inner {
    place: Place,
    host: Host,
    container: Container,
    tether: u32,
    namespaces: [u64; 2],
}

fn up(own: &str, soft_ms: u64, hard_ms: u64, script: &str) -> Inner {
    let place = Place::new();
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, soft_ms, hard_ms)).unwrap();
    let container = place.tether(&args(own, script));
    let tether = host.admit();
    place.await_out("up");
    let namespaces = [namespace(tether), namespace(child(tether))];
    Inner {
        place,
        host,
        container,
        tether,
        namespaces,
    }
}

/// The only child of a process; PIDs of the host.
fn child(of: u32) -> u32 {
    let text = std::fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap();
    text.trim().parse().unwrap()
}

fn pid_of(process: u32) -> Pid {
    Pid::from_raw(i32::try_from(process).unwrap()).unwrap()
}

/// Every set of capabilities of a process, from its text.
fn capabilities(status: &str) -> Vec<u64> {
    let lines = status.lines().filter(|line| line.starts_with("Cap"));
    let sets = lines.map(|line| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap());
    sets.collect()
}

impl Inner {
    fn is_empty(&self) {
        for namespace in self.namespaces {
            assert_eq!(members(namespace), [0; 0]);
        }
    }

    /// As the engine starts a health check: in the container, beside the tether.
    fn exec_process(&self, words: &[&str]) -> Child {
        Command::new("nsenter")
            .args(["--target", &self.tether.to_string(), "--pid", "--mount", "--"])
            .arg(self.place.path("tether"))
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn exec(&self, words: &[&str]) -> (String, i32) {
        let process = self.exec_process(words);
        let output = process.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (String::from_utf8(said).unwrap(), output.status.code().unwrap())
    }
}

/// Its number, what `/proc` shows of it, and that it has not what was lent to the tether.
const LOOK: &str =
    "cat /proc/self/status > $OUT/status; tr '\\0' ' ' < /proc/1/cmdline > $OUT/first; echo $$ > $OUT/up; ";

#[test]
fn the_init_is_pid_1_and_the_loan_is_gone() {
    for (own, is_kept) in [("SYS_ADMIN", false), ("SYS_ADMIN,SETPCAP", false), ("none", true)] {
        let inner = up(own, 60_000, 60_000, &format!("{LOOK} sleep 1000 & wait"));
        assert_eq!(inner.place.out("up").unwrap(), "1\n");
        let first = inner.place.out("first").unwrap();
        assert!(first.starts_with("sh -c"), "its own /proc: {first}");
        let tether = std::fs::read_to_string(format!("/proc/{}/status", inner.tether)).unwrap();
        for status in [inner.place.out("status").unwrap(), tether] {
            let sets = capabilities(&status);
            assert_eq!(sets.len(), 5);
            let has = sets.iter().any(|set| set & SYS_ADMIN != 0);
            assert_eq!(has, is_kept, "{own}: {status}");
        }
        assert_ne!(inner.namespaces[0], inner.namespaces[1]);
        assert_eq!(members(inner.namespaces[0]).len(), 1, "the tether alone is above it");
        assert_eq!(inner.place.stderr(), "");
    }
}

#[test]
fn a_stop_is_handed_to_the_init_and_its_code_is_the_containers() {
    let script =
        "trap 'echo TERM > $OUT/got; exit 7' TERM; setsid sleep 1000 & echo up > $OUT/up; while :; do sleep 0.01; done";
    let mut inner = up("SYS_ADMIN", 60_000, 60_000, script);
    inner.host.host.write_page(&page(Order::Stop, 60_000, 60_000)).unwrap();
    inner.host.await_gone();
    inner.is_empty();
    assert_eq!(inner.container.wait(), 7);
    assert_eq!(inner.place.out("got").unwrap(), "TERM\n");
}

#[test]
fn an_init_that_ends_takes_all_along() {
    let mut inner = up(
        "SYS_ADMIN",
        60_000,
        60_000,
        "setsid sleep 1000 & echo up > $OUT/up; sleep 0.2; exit 5",
    );
    inner.host.await_gone();
    inner.is_empty();
    assert_eq!(inner.container.wait(), 5);
}

/// The kernel hands PID 1 nothing that it has no handler for, so this one hears of no stop; and what it starts ignores it.
#[test]
fn the_deadline_ends_both_namespaces_in_time() {
    let script = "trap '' TERM; for i in 1 2 3; do setsid sleep 1000 & done; unshare --pid --fork sleep 1000 & \
                  echo up > $OUT/up; while :; do sleep 1; done";
    let mut inner = up("none", 60_000, 60_000, script);
    await_that("all started", || members(inner.namespaces[1]).len() >= 6);
    let (said, code) = inner.exec(&[
        "within",
        "none",
        "--",
        "sh",
        "-c",
        "setsid sleep 1000 > /dev/null 2>&1 & echo $$",
    ]);
    assert_eq!(code, 0, "{said}");
    let hard = page(Order::Open, 100, 200);
    inner.host.host.write_page(&hard).unwrap();
    inner.host.await_gone();
    let late = clock::now().since(hard.hard);
    inner.is_empty();
    assert!(
        clock::now().reached(hard.hard) && late < Duration::from_millis(200),
        "{late:?}"
    );
    assert_eq!(inner.container.wait(), i32::from(Code::Killed.number()));
}

#[test]
fn whoever_kills_the_tether_ends_the_init() {
    let inner = up(
        "SYS_ADMIN",
        60_000,
        60_000,
        "trap '' TERM; echo up > $OUT/up; while :; do sleep 1; done",
    );
    let mut inner = inner;
    kill_process(pid_of(inner.tether), Signal::KILL).unwrap();
    inner.host.await_gone();
    inner.is_empty();
}

/// Down there nobody can name the tether, root included.
#[test]
fn the_service_can_neither_see_nor_signal_the_tether() {
    let script = "kill -KILL -1; kill -STOP 1; renice 19 -u root > /dev/null; ls /proc | grep -c '^[0-9]' > $OUT/seen; echo up > $OUT/up; \
                  sleep 1000";
    let mut inner = up("SYS_ADMIN", 60_000, 60_000, script);
    let seen: u32 = inner.place.out("seen").unwrap().trim().parse().unwrap();
    assert!(seen <= 4, "sh, ls and grep: {seen}");
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", inner.tether)).unwrap();
    let nice: i32 = stat
        .rsplit(") ")
        .next()
        .unwrap()
        .split(' ')
        .nth(16)
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(nice, -20);
    inner.host.silent(Duration::from_millis(300));
    assert!(inner.container.running());
}

#[test]
fn a_command_is_led_into_the_namespace() {
    let inner = up("SYS_ADMIN", 60_000, 60_000, "echo up > $OUT/up; cd /; sleep 1000");
    let script = "tr '\\0' ' ' < /proc/1/cmdline; echo; grep CapBnd /proc/self/status; exit 9";
    let (said, code) = inner.exec(&["within", "SYS_ADMIN", "--", "sh", "-c", script]);
    assert_eq!(code, 9, "{said}");
    assert!(said.starts_with("sh -c echo up"), "{said}");
    assert!(capabilities(&said).iter().all(|set| set & SYS_ADMIN == 0), "{said}");
    // A check that is given up leaves nothing behind.
    let hangs = format!("echo led > {}; exec sleep 1000", inner.place.path("out/led").display());
    let mut given_up = inner.exec_process(&["within", "SYS_ADMIN", "--", "sh", "-c", &hangs]);
    inner.place.await_out("led");
    assert_eq!(members(inner.namespaces[1]).len(), 3);
    let within = child(given_up.id());
    kill_process(pid_of(within), Signal::KILL).unwrap();
    given_up.wait().unwrap();
    await_that("it is gone", || members(inner.namespaces[1]).len() == 2);
    let (said, code) = inner.exec(&["within", "SYS_ADMIN", "--", "no-such-program"]);
    assert_eq!(code, 127, "{said}");
    // By hand nobody becomes an init past the gate.
    for words in [&["init", "none", "--", "true"][..], &["within", "ALL", "--", "true"]] {
        assert_eq!(inner.exec(words).1, i32::from(Code::NotOurs.number()), "{words:?}");
    }
}

/// Before the hello, so before anything waits for it; a trial says the same.
#[test]
fn without_the_capability_it_is_refused_at_once() {
    for (drop, own, words) in [
        ("-sys_admin", "SYS_ADMIN", "no CAP_SYS_ADMIN"),
        ("-setpcap", "SYS_ADMIN", "no CAP_SETPCAP"),
    ] {
        let place = Place::new();
        let mut host = Host::open(&place.home(), false);
        host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
        let init = format!("setpriv --bounding-set {drop} --inh-caps {drop} \"$TETHER\"");
        for first in [&[][..], &["try"]] {
            let setup = Setup {
                init: Some(&init),
                ..Setup::default()
            };
            let began = clock::now();
            let mut container = place.start(&setup, &[first, &args(own, "echo up > $OUT/up")].concat());
            assert_eq!(container.wait(), i32::from(Code::Environment.number()));
            assert!(clock::now().since(began) < PATIENCE / 4);
            let said = place.stderr();
            assert!(said.contains(words) && said.contains("own_init"), "{said}");
            assert_eq!(place.out("up"), None);
        }
        host.silent(Duration::from_millis(20));
    }
}

#[test]
fn a_trial_starts_nothing() {
    let place = Place::new();
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Closed, 60_000, 60_000)).unwrap();
    let mut container = place.tether(&[&["try"][..], &args("SYS_ADMIN", "echo up > $OUT/up")].concat());
    assert_eq!(container.wait(), 0, "{}", place.stderr());
    assert_eq!(place.out("up"), None);
    host.silent(Duration::from_millis(20));
}

#[test]
fn a_program_that_is_missing_ends_as_under_the_engine() {
    let place = Place::new();
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let words = args("SYS_ADMIN", "true");
    let at = words.len() - 3;
    let mut container = place.tether(&[&words[..at], &["/no/such/init"]].concat());
    host.admit();
    assert_eq!(container.wait(), 127);
    assert!(place.stderr().contains("/no/such/init"), "{}", place.stderr());
}
