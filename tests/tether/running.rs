//! The end of a service: deadlines, orders, and the sidecar gone.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

use leasehold::base::clock;
use leasehold::base::epoch::Run;
use leasehold::base::exit::Code;
use leasehold::base::page::{Order, Page};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::harness::{Host, Place, await_that, members, namespace, page, up};

const KILLED: i32 = Code::Killed.number() as i32;

/// Ignores the stop signal and leaves descendants in sessions of their own that ignore it as well.
const STUBBORN: &str = "trap '' TERM INT HUP; \
    for i in 1 2 3 4 5; do (setsid sh -c 'trap \"\" TERM; while :; do sleep 0.2; done' &) & done; wait; \
    echo up > $OUT/up; while :; do sleep 0.2; done";

const POLITE: &str = "trap 'echo TERM > $OUT/signal; exit 7' TERM; echo up > $OUT/up; while :; do sleep 0.01; done";

#[test]
fn at_the_soft_deadline_comes_the_stop_signal() {
    let place = Place::new();
    let soft = clock::now().plus(Duration::from_millis(700));
    let (mut host, mut container, _) = up(&place, 700, 60_000, POLITE);
    host.await_gone();
    assert!(clock::now().reached(soft));
    assert_eq!(container.wait(), 7);
    assert_eq!(place.out("signal").unwrap(), "TERM\n");
}

#[test]
fn the_stop_signal_is_the_one_that_was_asked_for_and_reaches_a_stopped_service() {
    let place = Place::new();
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 800, 60_000)).unwrap();
    let script = "trap 'exit 9' QUIT; echo > $OUT/up; kill -STOP $$; while :; do sleep 0.01; done";
    let form = "--service s --group g --node n --stop-signal SIGQUIT -- sh -c".split(' ');
    let mut container = place.tether(&form.chain([script]).collect::<Vec<_>>());
    host.admit();
    assert_eq!(container.wait(), 9);
}

#[test]
fn it_tells_how_late_it_woke_up_at_the_worst() {
    let place = Place::new();
    let (mut host, _container, pid) = up(&place, 60_000, 60_000, POLITE);
    println!("woke up {:?} late", host.woke());
    let tether = Pid::from_raw(pid.cast_signed()).unwrap();
    kill_process(tether, Signal::STOP).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    kill_process(tether, Signal::CONT).unwrap();
    let late = host.woke();
    assert!(late > Duration::from_millis(300), "{late:?}");
}

#[test]
fn at_the_hard_deadline_everything_is_killed() {
    let place = Place::new();
    let hard = clock::now().plus(Duration::from_millis(1200));
    let (mut host, mut container, pid) = up(&place, 900, 1200, STUBBORN);
    let namespace = namespace(pid);
    await_that("the daemons are up", || members(namespace).len() >= 7);
    host.await_gone();
    assert_eq!(members(namespace), Vec::<u32>::new());
    assert!(clock::now().reached(hard));
    assert_eq!(container.wait(), KILLED);
}

/// With claims to listen to or without: nothing that it waits for is there all the time.
#[test]
fn a_tether_that_waits_leaves_the_processor_to_others() {
    let script = "echo up > $OUT/up; exec sleep 1000";
    let place = Place::new();
    let (_host, _container, bare) = up(&place, 60_000, 60_000, script);
    let mut scene = crate::claim::Scene::new(60_000, 60_000);
    let (_claimed, claimed) = scene.up(script);
    for pid in [bare, claimed] {
        let used = || {
            let stat = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
            Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
        };
        let before = used();
        std::thread::sleep(Duration::from_secs(1));
        let used = used() - before;
        assert!(used < Duration::from_millis(100), "{used:?} of a second");
    }
}

/// Gone is reported when nothing is left, not when PID 1 starts to end.
#[test]
fn gone_comes_after_the_last_process() {
    let script = "for i in $(seq 60); do (setsid sh -c 'trap \"\" TERM; while :; do sleep 0.3; done' &) & done; wait; \
        echo up > $OUT/up; while :; do sleep 1; done";
    for _ in 0..3 {
        let place = Place::new();
        let (mut host, _container, pid) = up(&place, 60_000, 60_000, script);
        let namespace = namespace(pid);
        host.host.write_page(&page(Order::Kill, 60_000, 60_000)).unwrap();
        host.await_gone();
        assert_eq!(members(namespace), Vec::<u32>::new());
    }
}

fn ended_by(order: impl FnOnce(&Place, &Host)) {
    let place = Place::new();
    let (mut host, mut container, pid) = up(&place, 60_000, 60_000, STUBBORN);
    let namespace = namespace(pid);
    order(&place, &host);
    host.await_gone();
    assert_eq!(members(namespace), Vec::<u32>::new());
    assert_eq!(container.wait(), KILLED);
}

#[test]
fn orders_that_kill() {
    let open = page(Order::Open, 60_000, 60_000);
    for page in [
        Page {
            order: Order::Kill,
            ..open
        },
        Page {
            order: Order::Closed,
            ..open
        },
        Page {
            run: Run { epoch: 8, n: 1 },
            ..open
        },
        Page {
            boot_id: [1; 16],
            ..open
        },
        Page {
            hard: clock::now(),
            ..open
        },
    ] {
        ended_by(|_, host| host.host.write_page(&page).unwrap());
    }
    ended_by(|place, _| fs::remove_file(place.home().join("page")).unwrap());
}

#[test]
fn the_order_to_stop_is_the_stop_signal() {
    let place = Place::new();
    let (mut host, mut container, _) = up(&place, 60_000, 60_000, POLITE);
    host.host.write_page(&page(Order::Stop, 60_000, 60_000)).unwrap();
    host.await_gone();
    assert_eq!(container.wait(), 7);
}

#[test]
fn deadlines_hold_without_a_sidecar() {
    let place = Place::new();
    let (host, mut container, pid) = up(&place, 800, 1000, STUBBORN);
    let namespace = namespace(pid);
    drop(host);
    assert_eq!(container.wait(), KILLED);
    assert_eq!(members(namespace), Vec::<u32>::new());
}

#[test]
fn deadlines_hold_with_a_frozen_sidecar() {
    let place = Place::new();
    let (host, mut container, pid) = up(&place, 800, 1000, STUBBORN);
    let namespace = namespace(pid);
    let thaw = host.freeze();
    assert_eq!(container.wait(), KILLED);
    assert_eq!(members(namespace), Vec::<u32>::new());
    drop(thaw);
}

/// A frozen container, or a host that wakes from suspend: past the deadline it does not go on.
#[test]
fn a_thaw_past_the_deadline_is_the_end() {
    let place = Place::new();
    let script = "echo up > $OUT/up; while :; do echo >> $OUT/beat; sleep 0.01; done";
    let (mut host, mut container, pid) = up(&place, 600, 800, script);
    let hard = clock::now().plus(Duration::from_millis(900));
    let all = members(namespace(pid));
    let to_all = |signal| {
        for pid in all.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).unwrap())) {
            let _ = kill_process(pid, signal);
        }
    };
    to_all(Signal::STOP);
    await_that("the deadline", || clock::now().reached(hard));
    let thaw = clock::now();
    to_all(Signal::CONT);
    host.await_gone();
    println!("thaw to last process dead: {:?}", clock::now().since(thaw));
    assert_eq!(container.wait(), KILLED);
}

/// A frozen engine does not empty the pipes of the container; here nobody ever reads them.
#[test]
fn a_full_pipe_does_not_hold_up_the_kill() {
    let place = Place::new();
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 800, 1000)).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let setup = crate::harness::Setup {
        stdin: Some(writer.into()),
        before: "exec >&0 2>&0 &&",
        ..Default::default()
    };
    let script = "echo up > $OUT/up; trap '' TERM; while :; do echo 0123456789012345678901234567890; done";
    let args = [&crate::harness::FORM[..], &["sh", "-c", script]].concat();
    let mut container = place.start(&setup, &args);
    host.admit();
    assert_eq!(container.wait(), KILLED);
    drop(reader);
}

#[test]
fn a_later_deadline_counts_and_an_earlier_one_too() {
    let place = Place::new();
    let (mut host, mut container, _) = up(&place, 1000, 1200, "echo up > $OUT/up; exec sleep 1000");
    let first = clock::now().plus(Duration::from_millis(1200));
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    await_that("the first deadline", || clock::now().reached(first));
    host.silent(Duration::from_millis(200));
    assert!(container.running());
    host.host.write_page(&page(Order::Open, 0, 60_000)).unwrap();
    host.await_gone();
    assert_eq!(container.wait(), 128 + 15);
}

#[test]
fn a_torn_page_keeps_the_known_deadline() {
    let place = Place::new();
    let (mut host, mut container, _) = up(&place, 1200, 1400, STUBBORN);
    let soft = clock::now().plus(Duration::from_millis(900));
    fs::write(place.home().join("page"), b"torn").unwrap();
    host.silent(Duration::from_millis(300));
    assert!(container.running());
    host.await_gone();
    assert!(clock::now().reached(soft));
    assert_eq!(container.wait(), KILLED);
}

/// Prints how long it takes from the deadline to the death of the last process, and to the proof of it.
#[test]
fn how_long_the_kill_takes() {
    let (mut dead, mut proved) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let place = Place::new();
        let (mut host, _container, pid) = up(&place, 60_000, 60_000, STUBBORN);
        let others = members(namespace(pid)).into_iter().filter(|other| *other != pid);
        let others: Vec<OwnedFd> = others.filter_map(pidfd).collect();
        let ordered = page(Order::Open, 150, 150);
        host.host.write_page(&ordered).unwrap();
        for other in &others {
            poll(&mut [PollFd::new(other, PollFlags::IN)], None).unwrap();
        }
        dead.push(clock::now().boot.saturating_sub(ordered.hard.boot));
        host.await_gone();
        proved.push(clock::now().boot.saturating_sub(ordered.hard.boot));
    }
    for (what, times) in [("last process dead", &mut dead), ("proved to the sidecar", &mut proved)] {
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!("deadline to {what}, 20 runs: median {median:?}, worst {worst:?}");
        assert!(median < Duration::from_millis(100), "{times:?}");
    }
}

fn pidfd(pid: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(i32::try_from(pid).unwrap())?, PidfdFlags::empty()).ok()
}
