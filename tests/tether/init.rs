//! What docker-init does, the tether does: the same scripts under both.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Container, FORM, Host, Place, Setup, await_that, members, namespace, page, up};
use leasehold::base::page::Order;

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Runs a script under the tether, admitted; what it left and its exit code.
fn under_tether(script: &str, also: impl Fn(&Place, &Container)) -> (Option<String>, i32) {
    let place = Place::new();
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let mut container = place.service(script);
    host.admit();
    also(&place, &container);
    let code = container.wait();
    (place.out("result"), code)
}

/// The same under docker-init.
fn under_tini(script: &str, also: impl Fn(&Place, &Container)) -> (Option<String>, i32) {
    let init = tini();
    let place = Place::new();
    let setup = Setup {
        no_home: true,
        init: Some(init),
        ..Setup::default()
    };
    let mut container = place.start(&setup, &["sh", "-c", script]);
    also(&place, &container);
    let code = container.wait();
    (place.out("result"), code)
}

/// Docker's own, which is tini under another name.
fn tini() -> &'static str {
    let inits = ["/usr/bin/docker-init --", "/usr/bin/tini --"];
    let there = inits
        .into_iter()
        .find(|words| Path::new(words.trim_end_matches(" --")).exists());
    there.expect("an init to compare with: apt-get install tini")
}

fn same(script: &str, expected: (Option<&str>, i32), also: impl Fn(&Place, &Container)) {
    let expected = (expected.0.map(str::to_owned), expected.1);
    assert_eq!(under_tether(script, &also), expected, "tether: {script}");
    assert_eq!(under_tini(script, &also), expected, "docker-init: {script}");
}

#[test]
fn the_exit_status_is_that_of_the_service() {
    for (script, code) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
    ] {
        same(script, (None, code), |_, _| {});
    }
}

#[test]
fn a_command_that_cannot_be_executed_gives_126_or_127() {
    for (command, code) in [
        ("/no/such/command", 127),
        ("no-such-command", 127),
        ("/etc/passwd", 126),
        ("/etc", 126),
    ] {
        let place = Place::new();
        let mut host = Host::open(&place.home(), false);
        host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
        let mut container = place.tether(&[&FORM[..], &[command]].concat());
        host.admit();
        assert_eq!(container.wait(), code, "{command}");
        assert!(place.stderr().contains(command));
    }
}

/// What both pass on. Not in the list, on purpose: what the tether does not (SIGPIPE, which its own sockets could raise, and
/// the real-time signals), and what docker-init does not (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS,
/// SIGTTIN, SIGTTOU).
const FORWARDED: [(&str, Signal); 16] = [
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("ALRM", Signal::ALARM),
    ("CONT", Signal::CONT),
    ("TSTP", Signal::TSTP),
    ("URG", Signal::URG),
    ("XCPU", Signal::XCPU),
    ("XFSZ", Signal::XFSZ),
    ("VTALRM", Signal::VTALARM),
    ("PROF", Signal::PROF),
    ("WINCH", Signal::WINCH),
    ("IO", Signal::IO),
    ("PWR", Signal::POWER),
];

#[test]
fn signals_are_forwarded_to_the_service() {
    let names: Vec<&str> = FORWARDED.iter().map(|(name, _)| *name).collect();
    let script = format!(
        "for s in {}; do trap \"echo $s >> \\$OUT/got; \" $s; done; \
        trap 'cp $OUT/got $OUT/result; exit 11' TERM; echo up > $OUT/up; while :; do sleep 0.01; done",
        names.join(" ")
    );
    let all: String = names.iter().map(|name| format!("{name}\n")).collect();
    same(&script, (Some(&all), 11), |place, container| {
        place.await_out("up");
        for (count, (name, one)) in FORWARDED.into_iter().enumerate() {
            signal(container.pid(), one);
            await_that(name, || {
                place.out("got").is_some_and(|got| got.lines().count() == count + 1)
            });
        }
        signal(container.pid(), Signal::TERM);
    });
}

/// A signal that the service neither handles nor ignores ends it as it would without an init.
#[test]
fn a_signal_that_is_not_handled_ends_the_service() {
    for (one, code) in [
        (Signal::TERM, 143),
        (Signal::INT, 130),
        (Signal::HUP, 129),
        (Signal::QUIT, 131),
        (Signal::USR1, 138),
        (Signal::USR2, 140),
        (Signal::ALARM, 142),
        (Signal::POWER, 158),
    ] {
        same(
            "echo up > $OUT/up; exec sleep 1000",
            (None, code),
            |place, container| {
                place.await_out("up");
                signal(container.pid(), one);
            },
        );
    }
}

/// What `docker kill` and the end of the engine's patience are: nobody is asked, nothing is left.
#[test]
fn a_kill_of_the_init_ends_everything() {
    let script = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; echo > $OUT/up; while :; do sleep 0.1; done' &); \
        while :; do sleep 0.1; done";
    let killed = |place: &Place, container: &Container| {
        await_that("up", || place.out("up").is_some());
        let namespace = namespace(container.pid());
        // A service that ignores the stop signal goes on.
        signal(container.pid(), Signal::TERM);
        assert!(members(namespace).len() > 2);
        signal(container.pid(), Signal::KILL);
        await_that("all dead", || members(namespace).is_empty());
    };
    // The code is that of `unshare`, whose child was killed.
    assert_eq!(under_tether(script, killed), under_tini(script, killed));
}

/// SIGTTIN and SIGTTOU at the init itself stop neither it nor the service.
#[test]
fn terminal_signals_at_the_init_are_not_passed_on() {
    let script = "for s in TTIN TTOU; do trap \"echo $s >> \\$OUT/got; \" $s; done; trap 'exit 5' TERM; echo up > $OUT/up; \
        while :; do sleep 0.01; done";
    same(script, (None, 5), |place, container| {
        place.await_out("up");
        for one in [Signal::TTIN, Signal::TTOU, Signal::TERM] {
            signal(container.pid(), one);
        }
    });
}

/// A stopped service is neither ended nor taken for ended, and goes on.
#[test]
fn a_service_may_be_stopped_and_continued() {
    let script = "trap 'exit 8' TERM; trap 'echo > $OUT/back' CONT; echo up > $OUT/up; kill -STOP $$; while :; do sleep 0.01; done";
    same(script, (None, 8), |place, container| {
        place.await_out("up");
        let init = container.pid();
        let stopped = || {
            members(namespace(init)).iter().any(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
            })
        };
        await_that("stopped", stopped);
        signal(init, Signal::CONT);
        await_that("continued", || place.out("back").is_some());
        signal(init, Signal::TERM);
    });
}

#[test]
fn orphans_are_reaped() {
    // A zombie still has its directory in /proc, so the count comes back to what it was only when all are reaped.
    let script = "count() { ls -d /proc/[0-9]* | wc -l; }; before=$(count); \
        for i in $(seq 100); do (sh -c 'exit 0' &) & done; wait; i=0; \
        while [ $(count) -gt $before ] && [ $i -lt 500 ]; do sleep 0.02; i=$((i+1)); done; \
        [ $i -lt 500 ] && echo reaped > $OUT/result";
    same(script, (Some("reaped\n"), 0), |_, _| {});
}

#[test]
fn the_end_of_the_service_ends_what_it_left_behind() {
    let script = "(setsid sh -c 'trap \"\" TERM; echo > $OUT/up; sleep 1; echo late > $OUT/result' &); \
        while ! [ -e $OUT/up ]; do sleep 0.01; done; exit 4";
    same(script, (None, 4), |_, _| {});
}

#[test]
fn the_service_has_a_process_group_of_its_own_and_ordinary_signals() {
    let script = "cut -d' ' -f1,5 /proc/$$/stat | awk '{print ($1==$2)}' > $OUT/r; \
        grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status >> $OUT/r; ls /proc/self/fd | tr '\\n' ' ' >> $OUT/r; mv $OUT/r $OUT/result";
    let (result, code) = under_tether(script, |_, _| {});
    assert_eq!((result.clone(), code), under_tini(script, |_, _| {}));
    assert!(result.unwrap().starts_with("1\n"));
}

#[test]
fn with_a_terminal_the_service_is_in_the_foreground() {
    let script =
        "read line; echo \"$line\" $(cut -d' ' -f5,8 /proc/$$/stat | awk '{print ($1==$2)}') > $OUT/result; exit 6";
    let run = |init: Option<&'static str>| {
        let place = Place::new();
        let mut host = Host::open(&place.home(), false);
        host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
        let pty = nix::pty::openpty(None, None).unwrap();
        let stdin: OwnedFd = pty.slave;
        let setup = Setup {
            init,
            stdin: Some(stdin),
            terminal: true,
            ..Setup::default()
        };
        let args = [&FORM[..], &["sh", "-c", script]].concat();
        let args = if init.is_some() { &args[FORM.len()..] } else { &args[..] };
        let mut container = place.start(&setup, args);
        if init.is_none() {
            host.admit();
        }
        rustix::io::write(&pty.master, b"typed\n").unwrap();
        let code = container.wait();
        (place.out("result"), code)
    };
    assert_eq!(run(None), (Some("typed 1\n".to_owned()), 6));
    assert_eq!(run(Some(tini())), (Some("typed 1\n".to_owned()), 6));
}

/// Job control: what is typed at the terminal goes to the service, and a job of it in the background that reads is stopped.
#[test]
fn keys_and_background_jobs_are_as_under_docker_init() {
    let script = "set -m; trap 'echo INT >> $OUT/r' INT; (read line) & echo up > $OUT/up; \
        until grep -q INT $OUT/r 2> /dev/null; do sleep 0.02; done; \
        jobs -l | grep -qi stopped && echo stopped >> $OUT/r; kill -9 %1; mv $OUT/r $OUT/result; exit 9";
    let run = |init: Option<&'static str>| {
        let place = Place::new();
        let mut host = Host::open(&place.home(), false);
        host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
        let pty = nix::pty::openpty(None, None).unwrap();
        let setup = Setup {
            init,
            stdin: Some(pty.slave),
            terminal: true,
            ..Setup::default()
        };
        let args = [&FORM[..], &["bash", "-c", script]].concat();
        let args = if init.is_some() { &args[FORM.len()..] } else { &args[..] };
        let mut container = place.start(&setup, args);
        if init.is_none() {
            host.admit();
        }
        place.await_out("up");
        let background = || {
            members(namespace(container.pid())).iter().any(|pid| {
                let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
            })
        };
        await_that("the job is stopped for reading", background);
        // Ctrl-C.
        rustix::io::write(&pty.master, &[3]).unwrap();
        let code = container.wait();
        (place.out("result"), code)
    };
    let expected = (Some("INT\nstopped\n".to_owned()), 9);
    assert_eq!(run(Some(tini())), expected, "docker-init");
    assert_eq!(run(None), expected, "tether");
}

#[test]
fn the_service_knows_its_run() {
    let place = Place::new();
    let script = "echo $LEASEHOLD_GROUP $LEASEHOLD_NODE $LEASEHOLD_EPOCH $LEASEHOLD_RUN > $OUT/up";
    let (mut host, mut container, _) = up(&place, 60_000, 60_000, script);
    host.await_gone();
    assert_eq!(container.wait(), 0);
    assert_eq!(place.out("up").unwrap(), "g n1 7 7.2\n");
    assert_eq!(fs::read_to_string(place.path("stderr")).unwrap(), "");
}
