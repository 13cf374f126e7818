//! What keeps a service from being started.

use std::fs;
use std::process::Command;
use std::time::Duration;

use leasehold::base::clock;
use leasehold::base::epoch::Run;
use leasehold::base::exit::Code;
use leasehold::base::page::{Order, Page, mark};
use leasehold::base::time::Time;
use leasehold::sidecar::adapters::tether::TetherEvent;

use crate::harness::{FORM, Host, Place, RUN, Setup, binary, page};

const SERVICE: &str = "echo > $OUT/up; exec sleep 1000";

/// The container must end with this code, and its service must not have been started.
fn refused(place: &Place, setup: &Setup<'_>, args: &[&str], code: Code) {
    let mut container = place.start(setup, args);
    let found = container.wait();
    let line = place.stderr();
    assert_eq!(found, i32::from(code.number()), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains(code.name()), "{line}");
    assert_eq!(place.out("up"), None);
}

fn service() -> Vec<&'static str> {
    [&FORM[..], &["sh", "-c", SERVICE]].concat()
}

fn refused_page(page: &Page, code: Code) {
    let place = Place::new();
    let host = Host::open(&place.home(), false);
    host.host.write_page(page).unwrap();
    refused(&place, &Setup::default(), &service(), code);
    assert!(place.stderr().contains("leader: n2; use `leasehold start mail`"));
}

#[test]
fn outside_its_own_namespace_it_leaves_and_kills_nothing() {
    let mut bystander = Command::new("sleep").arg("1000").spawn().unwrap();
    let output = Command::new(binary()).args(service()).output().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(Code::NotInit.number())));
    assert!(bystander.try_wait().unwrap().is_none());
    bystander.kill().unwrap();
    bystander.wait().unwrap();
}

#[test]
fn in_a_namespace_but_not_its_first_process_it_leaves_too() {
    let place = Place::new();
    let setup = Setup {
        init: Some("sh -c '\"$TETHER\" \"$@\"; code=$?; kill -0 $$ && exit $code' sh"),
        ..Setup::default()
    };
    refused(&place, &setup, &service(), Code::NotInit);
}

#[test]
fn the_call_that_kills_everything_stands_in_one_file() {
    let mut found = Vec::new();
    let mut directories = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if fs::read_to_string(&path).unwrap().contains("from_raw(-1)") {
                found.push(path);
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("tether/own_namespace.rs"));
}

#[test]
fn other_arguments_meet_the_gate() {
    let place = Place::new();
    let host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    for args in [&["sh", "-c", SERVICE][..], &[], &["--", "sh", "-c", SERVICE]] {
        refused(&place, &Setup::default(), args, Code::NotOurs);
    }
}

#[test]
fn no_page_no_start() {
    let place = Place::new();
    let setup = Setup {
        no_home: true,
        ..Setup::default()
    };
    refused(&place, &setup, &service(), Code::NoPage);
    refused(&place, &Setup::default(), &service(), Code::NoPage);
    fs::write(place.home().join("page"), [1; 128]).unwrap();
    refused(&place, &Setup::default(), &service(), Code::NoPage);
}

#[test]
fn a_page_of_another_boot_starts_nothing() {
    let page = Page {
        boot_id: [9; 16],
        ..page(Order::Open, 60_000, 60_000)
    };
    refused_page(&page, Code::OtherBoot);
}

#[test]
fn only_an_open_page_starts() {
    for order in [Order::Closed, Order::Stop, Order::Kill] {
        refused_page(&page(order, 60_000, 60_000), Code::Closed);
    }
}

#[test]
fn a_deadline_passed_on_either_clock_starts_nothing() {
    let open = page(Order::Open, 60_000, 60_000);
    let now = clock::now();
    for soft in [
        Time {
            boot: now.boot,
            ..open.soft
        },
        Time {
            raw: now.raw,
            ..open.soft
        },
    ] {
        refused_page(&Page { soft, ..open }, Code::TooLate);
    }
    refused_page(&Page { hard: now, ..open }, Code::TooLate);
}

#[test]
fn clocks_that_are_shifted_are_refused() {
    let place = Place::new();
    let host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    for unshare in [["--time", "--boottime", "100"], ["--time", "--monotonic", "1"]] {
        let setup = Setup {
            unshare: &unshare,
            ..Setup::default()
        };
        refused(&place, &setup, &service(), Code::Environment);
        assert!(place.stderr().contains("shifts the clocks"), "{}", place.stderr());
    }
}

/// Docker Engine gives every container a time namespace of its own, since 29.5; its clocks are the host's.
#[test]
fn a_time_namespace_without_offsets_is_as_good_as_the_hosts() {
    for unshare in [&["--time"][..], &["--time", "--boottime", "0", "--monotonic", "0"]] {
        let place = Place::new();
        let mut host = Host::open(&place.home(), false);
        host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
        let setup = Setup {
            unshare,
            ..Setup::default()
        };
        let script = "readlink /proc/self/ns/time > $OUT/up; exec sleep 1000";
        let mut container = place.start(&setup, &[&FORM[..], &["sh", "-c", script]].concat());
        host.admit();
        let own = fs::read_link("/proc/self/ns/time").unwrap();
        assert_ne!(
            place.await_out("up").trim(),
            own.to_string_lossy(),
            "a namespace of its own"
        );
        let hard = page(Order::Open, 50, 100);
        host.host.write_page(&hard).unwrap();
        host.await_gone();
        assert!(clock::now().reached(hard.soft), "the deadline is the host's");
        container.wait();
    }
}

#[test]
fn a_lock_that_is_held_starts_nothing() {
    let place = Place::new();
    let host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let lock = fs::File::open(place.home().join("lock")).unwrap();
    lock.lock().unwrap();
    refused(&place, &Setup::default(), &service(), Code::Locked);
}

#[test]
fn without_a_sidecar_nothing_starts() {
    let place = Place::new();
    let host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    drop(host);
    refused(&place, &Setup::default(), &service(), Code::NotAdmitted);
}

#[test]
fn a_frozen_sidecar_admits_nobody() {
    let place = Place::new();
    let host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let _thaw = host.freeze();
    let before = clock::now();
    refused(&place, &Setup::default(), &service(), Code::NotAdmitted);
    assert!(clock::now().since(before) >= Duration::from_secs(2));
}

#[test]
fn the_soft_deadline_ends_the_wait_at_the_gate() {
    let place = Place::new();
    let host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 500, 60_000)).unwrap();
    let _thaw = host.freeze();
    refused(&place, &Setup::default(), &service(), Code::TooLate);
}

/// Starts, waits for the hello, lets the test answer it, and expects the code.
fn refused_at_hello(code: Code, answer: impl FnOnce(&Host, u64)) {
    let place = Place::new();
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let mut container = place.service(SERVICE);
    match host.event() {
        TetherEvent::Hello {
            running: false,
            connection,
            run: RUN,
            ..
        } => answer(&host, connection),
        other => panic!("{other:?}"),
    }
    host.await_gone();
    assert_eq!(container.wait(), i32::from(code.number()), "{}", place.stderr());
    assert_eq!(place.out("up"), None);
}

#[test]
fn never_admitted_is_never_started() {
    refused_at_hello(Code::NotAdmitted, |host, connection| {
        host.host.refuse(connection).unwrap()
    });
    refused_at_hello(Code::NotAdmitted, |_, _| {});
}

#[test]
fn the_page_is_read_again_after_the_go() {
    let open = page(Order::Open, 60_000, 60_000);
    let other_run = Page {
        run: Run { n: RUN.n + 1, ..RUN },
        ..open
    };
    let closed = Page {
        order: Order::Closed,
        ..open
    };
    let late = Page {
        soft: clock::now(),
        ..open
    };
    for (page, code) in [(other_run, Code::Closed), (closed, Code::Closed), (late, Code::TooLate)] {
        refused_at_hello(code, |host, connection| {
            host.host.write_page(&page).unwrap();
            host.host.admit(connection).unwrap();
        });
    }
}

#[test]
fn storage_that_is_not_the_right_one_starts_nothing() {
    let place = Place::new();
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let args = [&["--store", "one=/run/a"], &service()[..]].concat();
    for made in [
        "true",
        "mkdir /run/a",
        "mkdir /run/a && echo two > /run/a/.leasehold-store",
    ] {
        let before = format!("{made} &&");
        refused(
            &place,
            &Setup {
                before: &before,
                ..Setup::default()
            },
            &args,
            Code::Environment,
        );
    }
    let before = "mkdir /run/a && echo one > /run/a/.leasehold-store &&";
    let args = [&["--store", "one=/run/a"], &FORM[..], &["true"]].concat();
    let mut container = place.start(
        &Setup {
            before,
            ..Setup::default()
        },
        &args,
    );
    host.admit();
    assert_eq!(container.wait(), 0, "{}", place.stderr());
}

/// What stands where a file should be is told; nothing waits for it, and nothing takes notice of being opened.
#[test]
fn what_is_no_file_is_refused_and_not_waited_for() {
    let refused = |before: &str, words: &[&str], code: Code| {
        let place = Place::new();
        let host = Host::open(&place.home(), false);
        host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
        let setup = Setup {
            before,
            ..Setup::default()
        };
        let args = [&["--store", "one=/run/a"], &service()[..]].concat();
        refused(&place, &setup, &args, code);
        let said = place.stderr();
        assert!(words.iter().all(|word| said.contains(word)), "{before}: {said}");
    };
    for (made, what) in [("mkfifo", "FIFO"), ("mkdir", "directory"), ("mknod -m 666 c", "device")] {
        let make = |path: &str| match made {
            "mknod -m 666 c" => format!("mknod -m 666 {path} c 1 5"),
            other => format!("{other} {path}"),
        };
        let id = make("/run/a/.leasehold-store");
        refused(
            &format!("mkdir /run/a && {id} &&"),
            &["/run/a", what],
            Code::Environment,
        );
        let claim = make("/run/a/.leasehold-claim");
        let before = format!("mkdir /run/a && echo one > /run/a/.leasehold-store && {claim} &&");
        refused(&before, &[".leasehold-claim", what], Code::Environment);
        let page = format!("umount /run/leasehold && {} &&", make("/run/leasehold/page"));
        refused(&page, &["no word from a sidecar", what], Code::NoPage);
    }
    let endless = "mkdir /run/a && truncate -s 1T /run/a/.leasehold-store &&";
    refused(endless, &["larger than"], Code::Environment);
}

#[test]
fn a_user_without_rights_passes_the_gate() {
    let place = Place::new();
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let setup = Setup {
        init: Some(
            "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all \"$TETHER\"",
        ),
        ..Setup::default()
    };
    let mut container = place.start(&setup, &[&FORM[..], &["sh", "-c", "id -u > $OUT/up; exit 5"]].concat());
    host.admit();
    assert_eq!(container.wait(), 5, "{}", place.stderr());
    assert_eq!(place.out("up").unwrap(), "65534\n");
}

/// The one that was prepared before `leasehold init` has nothing to look for, and would claim nothing. A page that does not say
/// what there is to find is of an earlier sidecar, and asks for nothing.
#[test]
fn a_container_made_for_another_storage_is_refused() {
    let open = page(Order::Open, 60_000, 60_000);
    let place = Place::new();
    let host = Host::open(&place.home(), false);
    host.host
        .write_page(&Page {
            store: mark("s1"),
            ..open
        })
        .unwrap();
    let other = [&FORM[..4], &["--store", "s2=/tmp"], &FORM[4..], &["sh", "-c", SERVICE]].concat();
    for args in [service(), other] {
        refused(&place, &Setup::default(), &args, Code::NotOurs);
        assert!(
            place.stderr().contains("made for another storage"),
            "{}",
            place.stderr()
        );
    }
}
