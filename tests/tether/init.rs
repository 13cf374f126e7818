//! What docker-init does, the tether does: the same scripts under both.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Container, FORM, Host, Place, Setup, await_that, page, up};
use leasehold::tether::page::Order;

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

/// The same under tini, where there is one.
fn under_tini(script: &str, also: impl Fn(&Place, &Container)) -> Option<(Option<String>, i32)> {
    let init = tini()?;
    let place = Place::new();
    let setup = Setup {
        no_home: true,
        init: Some(init),
        ..Setup::default()
    };
    let mut container = place.start(&setup, &["sh", "-c", script]);
    also(&place, &container);
    let code = container.wait();
    Some((place.out("result"), code))
}

fn tini() -> Option<&'static str> {
    let there = ["/usr/bin/docker-init", "/usr/bin/tini"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    there.map(|path| {
        if path.ends_with("tini") {
            "/usr/bin/tini --"
        } else {
            "/usr/bin/docker-init --"
        }
    })
}

fn same(script: &str, expected: (Option<&str>, i32), also: impl Fn(&Place, &Container)) {
    let expected = (expected.0.map(str::to_owned), expected.1);
    assert_eq!(under_tether(script, &also), expected, "tether: {script}");
    if let Some(tini) = under_tini(script, &also) {
        assert_eq!(tini, expected, "docker-init: {script}");
    }
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

#[test]
fn signals_are_forwarded_to_the_service() {
    let script = "for s in HUP INT QUIT USR1 USR2 WINCH CONT ALRM; do trap \"echo $s >> \\$OUT/got; \" $s; done; \
        trap 'cp $OUT/got $OUT/result; exit 11' TERM; echo up > $OUT/up; while :; do sleep 0.01; done";
    let names = ["HUP", "INT", "QUIT", "USR1", "USR2", "WINCH", "CONT", "ALRM"];
    let signals = [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::USR1,
        Signal::USR2,
        Signal::WINCH,
        Signal::CONT,
        Signal::ALARM,
    ];
    let all: String = names.iter().map(|name| format!("{name}\n")).collect();
    same(script, (Some(&all), 11), |place, container| {
        place.await_out("up");
        for (count, one) in signals.into_iter().enumerate() {
            signal(container.pid(), one);
            await_that("the trap", || {
                place.out("got").is_some_and(|got| got.lines().count() == count + 1)
            });
        }
        signal(container.pid(), Signal::TERM);
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
    if let Some(tini) = under_tini(script, |_, _| {}) {
        assert_eq!((result.clone(), code), tini);
    }
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
    if let Some(init) = tini() {
        assert_eq!(run(Some(init)), (Some("typed 1\n".to_owned()), 6));
    }
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
