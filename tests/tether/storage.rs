//! Storage that hangs, is full, or is shared; keepers that end.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use leasehold::base::clock;
use leasehold::base::exit::Code;
use leasehold::base::page::{Order, Page};
use rustix::process::{Pid, Signal, kill_process};

use crate::claim::{Line, Scene};
use crate::harness::{FORM, Host, Place, Setup, await_that, hanging, keepers, members, namespace, page};

const KILLED: i32 = Code::Killed.number() as i32;
const REFUSED: i32 = Code::Environment.number() as i32;

const POLITE: &str = "trap 'exit 7' TERM; echo up > $OUT/up; while :; do sleep 0.01; done";

/// Without rights, as a user that no other test runs as.
const USER: &str = "setpriv --reuid 61234 --regid 61234 --clear-groups --inh-caps=-all --bounding-set=-all";

fn sh(script: &str) {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    assert!(
        output.status.success(),
        "{script}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).unwrap()).unwrap()
}

/// A file system of its own that can be frozen: whoever then writes to it hangs in the kernel, deaf to every signal.
struct Disk(PathBuf);

impl Disk {
    fn new(place: &Place) -> Self {
        let (image, at) = (place.path("disk.img"), place.path("disk"));
        let (image, path) = (image.display(), at.display());
        sh(&format!(
            "truncate -s 16M {image} && mkfs.ext4 -q {image} && mkdir {path} && mount -o loop {image} {path} && \
             chmod 777 {path} && echo s > {path}/.leasehold-store"
        ));
        Self(at)
    }

    fn freeze(&self) {
        sh(&format!("fsfreeze --freeze {}", self.0.display()));
    }

    fn thaw(&self) {
        sh(&format!("fsfreeze --unfreeze {}", self.0.display()));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let path = self.0.display();
        let script = format!("fsfreeze --unfreeze {path}; umount --lazy {path}");
        let _ = Command::new("sh").args(["-c", &script]).output();
    }
}

/// The tether may not signal a process of another user; only its own end does. Nothing that hangs in the kernel may keep
/// that from happening.
#[test]
fn a_beat_that_hangs_in_the_kernel_shields_nobody() {
    let place = Place::new();
    let disk = Disk::new(&place);
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let setup = Setup {
        before: &format!(
            "mkdir /run/a && mount --bind {} /run/a && {{ setsid sh -c 'while :; do sleep 0.05; done' & true; }} &&",
            disk.0.display()
        ),
        init: Some(&format!("{USER} \"$TETHER\"")),
        ..Setup::default()
    };
    let args = [
        &["--store", "s=/run/a"],
        &FORM[..],
        &["sh", "-c", "trap '' TERM; echo > $OUT/up; while :; do sleep 0.1; done"],
    ]
    .concat();
    let mut container = place.start(&setup, &args);
    let tether = host.admit();
    place.await_out("up");
    let namespace = namespace(tether);
    disk.freeze();
    await_that("a beat that hangs", || hanging(&members(namespace)) > 0);

    let ordered = page(Order::Open, 150, 200);
    host.host.write_page(&ordered).unwrap();
    await_that("the deadline", || clock::now().reached(ordered.hard));
    let writers = || {
        let all = members(namespace);
        let keepers = keepers(&all);
        all.into_iter()
            .filter(|one| *one != tether && !keepers.contains(one))
            .count()
    };
    await_that("the end of all that can end", || writers() == 0);
    let late = clock::now().boot.saturating_sub(ordered.hard.boot);
    println!("deadline to the end of all that can end, a beat hung in the kernel: {late:?}");
    assert!(late < Duration::from_millis(1000), "{late:?}");
    // Something that may still write is left: no proof.
    host.silent(Duration::from_millis(300));
    assert!(container.running());
    disk.thaw();
    host.await_gone();
    assert_eq!(container.wait(), KILLED);
}

/// The service itself hangs: neither a proof nor a release, until it does not.
#[test]
fn a_service_that_hangs_in_the_kernel_is_not_proved_dead() {
    let place = Place::new();
    let disk = Disk::new(&place);
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let setup = Setup {
        before: &format!("mkdir /run/a && mount --bind {} /run/a &&", disk.0.display()),
        ..Setup::default()
    };
    let script = "sh -c 'echo up > $OUT/up; while ! [ -e $OUT/go ]; do sleep 0.01; done; echo > /run/a/mail' & \
        while ! [ -e $OUT/end ]; do sleep 0.01; done; exit 3";
    let args = [&["--store", "s=/run/a"], &FORM[..], &["sh", "-c", script]].concat();
    let mut container = place.start(&setup, &args);
    let namespace = namespace(host.admit());
    place.await_out("up");
    disk.freeze();
    fs::write(place.path("out/go"), "").unwrap();
    await_that("writer and beat hang", || hanging(&members(namespace)) >= 2);
    fs::write(place.path("out/end"), "").unwrap();
    host.silent(Duration::from_millis(700));
    let line = Line::parse(&fs::read_to_string(disk.0.join(".leasehold-claim")).unwrap()).unwrap();
    assert_eq!(line.state, "held:mail");
    assert!(container.running());
    disk.thaw();
    host.await_gone();
    assert_eq!(container.wait(), 3);
}

#[test]
fn storage_that_hangs_before_the_start_starts_nothing() {
    let place = Place::new();
    let disk = Disk::new(&place);
    let host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 1500, 60_000)).unwrap();
    let soft = clock::now().plus(Duration::from_millis(1500));
    let setup = Setup {
        before: &format!("mkdir /run/a && mount --bind {} /run/a &&", disk.0.display()),
        ..Setup::default()
    };
    disk.freeze();
    let args = [&["--store", "s=/run/a"], &FORM[..], &["sh", "-c", POLITE]].concat();
    let mut container = place.start(&setup, &args);
    await_that("the soft deadline", || clock::now().reached(soft));
    await_that("the keeper hangs", || {
        hanging(&members(namespace(container.pid()))) == 1
    });
    disk.thaw();
    assert_eq!(container.wait(), i32::from(Code::TooLate.number()));
    assert_eq!(place.out("up"), None);
}

#[test]
fn a_full_store_is_refused_unless_the_claim_has_its_place() {
    let mut scene = Scene::new(60_000, 60_000);
    let full = "umount /run/a; mount -t tmpfs -o size=32k none /run/a && echo s > /run/a/.leasehold-store && ";
    let fill = "{ cat /dev/zero > /run/a/full 2>&- || true; } && ";
    let said = scene.refused(&format!("{full} {fill}"), None);
    assert!(
        said.contains("No space left on device") && said.contains("free some space"),
        "{said}"
    );
    let made = format!("{full} \"$TETHER\" store init --id s /run/a && {fill}");
    let mut container = scene.start(&["a"], &made, None, "sleep 0.6; exit 3");
    scene.host.admit();
    assert_eq!(container.wait(), 3, "{}", scene.place.stderr());
}

/// A claim that was taken before another was refused is free for the next.
#[test]
fn claims_already_taken_are_released_when_another_is_refused() {
    let mut scene = Scene::new(60_000, 60_000);
    let damaged = "{ echo something else > /run/c/.leasehold-claim; } && ";
    let mut container = scene.start(&["a", "c"], damaged, None, POLITE);
    assert_eq!(container.wait(), REFUSED, "{}", scene.place.stderr());
    assert!(scene.place.stderr().contains("/run/c/.leasehold-claim"));
    assert_eq!(scene.read().unwrap().state, "released");
    scene.host.silent(Duration::from_millis(20));
}

#[test]
fn claims_already_taken_are_released_when_a_keeper_does_not_start() {
    let scene = Scene::new(60_000, 60_000);
    sh(&format!("chmod 777 {}", scene.place.path("out/a").display()));
    let few = format!("{USER} prlimit --nproc=2 \"$TETHER\"");
    let mut container = scene.start(&["a", "c"], "chmod 777 /run/c && ", Some(&few), POLITE);
    assert_eq!(container.wait(), REFUSED, "{}", scene.place.stderr());
    assert!(scene.place.stderr().contains("keeper"), "{}", scene.place.stderr());
    // Whether it came to be taken at all is a race, and no matter.
    assert!(
        scene.read().is_none_or(|line| line.state == "released"),
        "{:?}",
        scene.read()
    );
}

/// The services of a group stop one after the other.
#[test]
fn a_claim_of_two_services_is_released_by_the_last() {
    let mut mail = Scene::new(60_000, 60_000);
    let (mut first, _) = mail.up(POLITE);
    let imap = Place::new();
    let mut host = Host::open(&imap.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let setup = Setup {
        before: &format!(
            "mkdir /run/x && mount --bind {} /run/x &&",
            mail.place.path("out/a").display()
        ),
        ..Setup::default()
    };
    let form = [
        "--service",
        "imap",
        "--group",
        "g",
        "--node",
        "n1",
        "--cluster",
        "c",
        "--store",
        "s=/run/x",
        "--",
    ];
    let mut second = imap.start(&setup, &[&form[..], &["sh", "-c", POLITE]].concat());
    host.admit();
    imap.await_out("up");
    await_that("both hold it", || {
        mail.read()
            .is_some_and(|line| line.state.split([':', ',']).count() == 3)
    });

    mail.host.host.write_page(&page(Order::Stop, 60_000, 60_000)).unwrap();
    mail.host.await_gone();
    assert_eq!(first.wait(), 7);
    let left = mail.read().unwrap();
    assert_eq!(left.state, "held:imap", "released under the other");
    await_that("it still beats", || {
        mail.read().is_some_and(|line| line.beat > left.beat + 1)
    });
    assert_eq!(mail.read().unwrap().state, "held:imap");

    host.host.write_page(&page(Order::Stop, 60_000, 60_000)).unwrap();
    host.await_gone();
    assert_eq!(second.wait(), 7);
    assert_eq!(mail.read().unwrap().state, "released");
}

/// From before the mounts were changed.
#[test]
fn a_claim_in_another_mount_of_the_file_system_counts() {
    let mut scene = Scene::new(60_000, 60_000);
    let mut container = scene.start(&["a", "b"], "", None, "exit 3");
    scene.host.admit();
    scene.host.await_gone();
    assert_eq!(container.wait(), 3);
    let names = ["a", "b"].map(|name| scene.place.path("out").join(name).join(".leasehold-claim"));
    let empty = names
        .iter()
        .find(|name| !name.exists())
        .expect("one of them is without");
    let later = Line {
        epoch: 8,
        ..Line::foreign()
    };
    fs::write(empty, later.text()).unwrap();
    let mut container = scene.start(&["a", "b"], "", None, POLITE);
    assert_eq!(container.wait(), REFUSED, "{}", scene.place.stderr());
    assert!(scene.place.stderr().contains("epoch 8 on node n2"));

    fs::write(empty, Line::foreign().text()).unwrap();
    scene.host.open_again();
    let mut container = scene.start(&["a", "b"], "", None, "exit 3");
    scene.host.admit();
    assert_eq!(container.wait(), 3, "{}", scene.place.stderr());
    let after = Line::parse(&fs::read_to_string(empty).unwrap()).unwrap();
    assert_eq!((after.node.as_str(), after.state.as_str()), ("n1", "released"));
}

#[test]
fn a_keeper_that_is_killed_takes_the_service_along() {
    let mut scene = Scene::new(60_000, 60_000);
    let (mut container, tether) = scene.up("trap '' TERM; echo up > $OUT/up; while :; do sleep 0.1; done");
    let found = keepers(&members(namespace(tether)));
    assert_eq!(found.len(), 1);
    // Deaf to what a service sends to everybody when it ends.
    for signal in [Signal::TERM, Signal::HUP, Signal::INT, Signal::USR1] {
        kill_process(pid(found[0]), signal).unwrap();
    }
    scene.host.silent(Duration::from_millis(300));
    assert!(container.running());
    kill_process(pid(found[0]), Signal::KILL).unwrap();
    scene.host.await_gone();
    assert_eq!(container.wait(), KILLED);
}

/// Some entrypoints signal, then kill every process when they end.
#[test]
fn a_service_may_kill_everything_when_it_was_told_to_stop() {
    let mut scene = Scene::new(60_000, 60_000);
    let script =
        "trap 'kill -TERM -1; kill -KILL -1; sleep 0.3; exit 7' TERM; echo up > $OUT/up; while :; do sleep 0.01; done";
    let (mut container, _) = scene.up(script);
    scene.host.host.write_page(&page(Order::Stop, 60_000, 60_000)).unwrap();
    scene.host.await_gone();
    assert_eq!(container.wait(), 7);
    assert_eq!(scene.read().unwrap().state, "released");
}

/// Adopting storage must not take it from a host that lives.
#[test]
fn adopting_clears_a_dead_claim_and_never_a_live_one() {
    let scene = Scene::new(60_000, 60_000);
    let init = |words: &str| {
        let setup = Setup {
            no_home: true,
            before: "mkdir /run/a && mount --bind $OUT/a /run/a &&",
            init: Some("sh -c '\"$TETHER\" store init --id s \"$@\"' sh"),
            ..Setup::default()
        };
        let words: Vec<&str> = words.split_whitespace().collect();
        scene.place.start(&setup, &words)
    };
    let mut line = Line::foreign();
    scene.write(&line);
    assert_eq!(init("/run/a").wait(), 0, "{}", scene.place.stderr());
    assert_eq!(scene.read(), Some(line.clone()), "without --adopt it stays");

    let mut container = init("--adopt /run/a");
    while container.running() {
        line.beat += 1;
        scene.write(&line);
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(container.wait(), 1);
    let said = scene.place.stderr();
    assert!(said.contains("writes to it now") && said.contains("node n2"), "{said}");
    assert_eq!(scene.read(), Some(line));

    assert_eq!(init("--adopt /run/a").wait(), 0, "{}", scene.place.stderr());
    assert_eq!(fs::read(scene.file()).unwrap(), [0; 512]);
}

#[test]
fn a_running_service_outlives_the_adoption_of_its_storage_by_others() {
    let mut scene = Scene::new(60_000, 60_000);
    let (mut container, _) = scene.up(POLITE);
    fs::write(scene.file(), [0; 512]).unwrap();
    await_that("its claim is back", || {
        scene.read().is_some_and(|line| line.state == "held:mail")
    });
    let other_run = Page {
        order: Order::Stop,
        ..page(Order::Open, 60_000, 60_000)
    };
    scene.host.host.write_page(&other_run).unwrap();
    scene.host.await_gone();
    assert_eq!(container.wait(), 7);
}

#[test]
fn a_keeper_is_for_a_tether_alone() {
    let words = ["claim", "c", "g", "n", "s", "00", "/tmp"];
    let output = Command::new(crate::harness::binary()).args(words).output().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(Code::NotOurs.number())));
    assert!(!Path::new("/tmp/.leasehold-claim").exists());
}
