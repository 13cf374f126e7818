//! Storage on the kernel's own NFS server, with hosts that are clients of it: what the claim, the store id, the probe and the
//! end of a service do there.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::{self, sleep};
use std::time::Duration;

use leasehold::base::clock;
use leasehold::base::exit::Code;

use super::harness::{Container, await_that};
use super::machine::{Ended, ONLY, run_test};
use super::node::pair;
use super::server::{self, Export, sh};
use super::{apparmor, away, blocks, drbd, late, locks};

pub(crate) const REFUSED: i32 = Code::Environment.number() as i32;
pub(crate) const KILLED: i32 = Code::Killed.number() as i32;
/// Of the server, as short as it can be.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
pub(crate) const POLITE: &str = "trap 'exit 7' TERM; echo up > $OUT/up; sleep 1000 & wait";

type Scene = (&'static str, fn());

/// The scenes, in the order in which they are told. After the last there is no server.
const SCENES: [Scene; 10] = [
    ("a claim, v4.2", || claims(1, Export::Plain, "vers=4.2")),
    ("a claim, v3 from a server with coarse times", || {
        claims(3, Export::Coarse, "vers=3,actimeo=0");
    }),
    ("a claim, v3 without close-to-open", || {
        claims(4, Export::Coarse, "vers=3,nocto,actimeo=60");
    }),
    ("locks of a dead host", locks::of_a_dead_host),
    ("root is nobody", squashed),
    ("stale handles", stale),
    ("what a killed host still writes", late::of_a_host_cut_off),
    ("what a killed service still writes", late::of_a_killed_service),
    ("a server that is away", away::for_a_while),
    ("a server that is gone for good", away::for_good),
];

/// They need no server, and wait for most of their time.
const BESIDE: [Scene; 3] = [
    ("file systems of one host alone", blocks::one_host_alone),
    ("a disk that two hosts mirror", drbd::two_hosts),
    ("AppArmor with execs in flight", apparmor::execs_in_flight),
];

/// Begins a line that is not compared.
const TOOK: &str = "took ";

/// A figure, for whoever runs the test by hand.
pub(crate) fn took(what: &str) {
    println!("vm says {TOOK}{what}");
}

#[test]
fn storage_on_nfs() {
    let (said, ended) = run_test("nfs::scenes");
    let (took, said): (Vec<String>, Vec<String>) = said.into_iter().partition(|line| line.starts_with(TOOK));
    println!("{}", took.join("\n"));
    let names: Vec<String> = wanted(&SCENES)
        .chain(wanted(&BESIDE))
        .map(|scene| scene.0.to_owned())
        .collect();
    assert_eq!((said, ended), (names, Ended::PoweredOff));
}

/// As [`ONLY`] says.
fn wanted(scenes: &'static [Scene]) -> impl Iterator<Item = &'static Scene> {
    let only = std::env::var(ONLY).unwrap_or_default();
    scenes
        .iter()
        .filter(move |(name, _)| only.split(',').any(|word| name.contains(word)))
}

/// Within the machine.
#[test]
#[ignore = "runs within the virtual machine of the test above"]
fn scenes() {
    server::start();
    // One after the other: together they would take the only processor from the scenes.
    let beside = thread::spawn(|| wanted(&BESIDE).for_each(play));
    for scene in wanted(&SCENES) {
        play(scene);
        println!("vm says {}", scene.0);
    }
    beside.join().unwrap();
    for (name, _) in wanted(&BESIDE) {
        println!("vm says {name}");
    }
}

fn play((name, scene): &Scene) {
    let since = clock::now();
    scene();
    took(&format!("{:?}: {name}", clock::now().since(since)));
}

/// One that beats is not taken, whatever the client of the second host remembers; one that is overwritten ends its holder; one
/// that was released, and one whose holder is gone, are taken. None of the options is right for mail: it holds in spite of them.
fn claims(scene: u32, export: Export, options: &str) {
    let (hosts, [mut first, mut second]) = pair(scene, export, options);
    // The client of the second host remembers that there is no claim.
    let claim = second.at.join(".leasehold-claim");
    assert!(!claim.exists());
    first.init();
    sh(&format!("rm {}/.leasehold-claim", first.at.display()));
    let mut container = first.up(POLITE);
    // And then what stood in it.
    for _ in 0..2 {
        assert!(
            second.refused().contains("another host writes to it now"),
            "{}",
            second.place.stderr()
        );
    }
    assert!(container.running(), "{}", first.place.stderr());
    overwritten(export, &claim, &mut container);
    first.host.await_gone();
    // The claim is of nobody who beats by now.
    let container = second.up(POLITE);
    drop(container);
    first.host.open_again();
    let mut container = first.up(POLITE);
    assert_eq!(first.stop(&mut container), 7);
    let text = fs::read_to_string(Path::new(export.path()).join(".leasehold-claim"));
    assert!(text.unwrap().contains(" released "));
    drop(hosts);
}

/// As another tether does it, which beats.
fn overwritten(export: Export, claim: &Path, holder: &mut Container) {
    let text = fs::read_to_string(Path::new(export.path()).join(".leasehold-claim")).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    let file = fs::OpenOptions::new().write(true).open(claim).unwrap();
    for beat in 0..20 {
        let body = format!("{} n9 {} {beat} {}", words[..5].join(" "), words[6], words[8]);
        file.write_all_at(line_of(&body).as_bytes(), 0).unwrap();
        file.sync_data().unwrap();
        if !holder.running() {
            assert_eq!(holder.wait(), KILLED);
            return;
        }
        sleep(Duration::from_millis(200));
    }
    panic!("a holder beside a foreign claim");
}

/// What the server refuses to root is told as that.
fn squashed() {
    let (_hosts, [first, mut second]) = pair(7, Export::Squash, "vers=4.2");
    let (code, said) = first.tether(&["store", "init", "--id", "s"]);
    assert!(code == 1 && said.contains("root_squash"), "{code}: {said}");
    // The server's own root may.
    sh("echo s > /export/plain/.leasehold-store");
    let said = second.refused();
    assert!(said.contains("root_squash"), "{said}");
    sh("chmod 777 /export/plain");
    let mut container = second.up(POLITE);
    assert_eq!(second.stop(&mut container), 7);
    sh("chmod 755 /export/plain; rm -f /export/plain/.leasehold*");
}

/// The directory was made anew on the server.
fn stale() {
    let (_hosts, [mut first, mut second]) = pair(8, Export::Plain, "vers=4.2");
    sh("mkdir /export/plain/sub");
    for node in [&mut first, &mut second] {
        node.at = node.at.join("sub");
    }
    sh("echo s > /export/plain/sub/.leasehold-store");
    let mut container = first.up(POLITE);
    // A beat may put the claim back before its directory is gone.
    await_that("the end of the directory", || {
        sh("rm -rf /export/plain/sub 2> /dev/null || true");
        !Path::new("/export/plain/sub").exists()
    });
    let (code, said) = first.exec(&container, &["probe-storage", "0", "/run/a"]);
    assert!(code == 1 && said.contains("Stale file handle"), "{code}: {said}");
    // The lease counts, not the claim.
    first.host.silent(Duration::from_secs(1));
    assert_eq!(first.stop(&mut container), 7);
    sh("mkdir /export/plain/sub; echo s > /export/plain/sub/.leasehold-store");
    let mut container = second.up(POLITE);
    assert_eq!(second.stop(&mut container), 7);
    sh("rm -r /export/plain/sub");
}

fn line_of(body: &str) -> String {
    let sum = body.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{:511}\n", format!("{body} {sum:016x}"))
}
