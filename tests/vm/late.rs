//! Within the machine: what a service that was killed at its deadline still writes, after another host has taken over.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use leasehold::base::clock;
use leasehold::base::page::Order;

use super::harness::{Container, await_that, page};
use super::nfs::{KILLED, POLITE};
use super::node::{Node, pair};
use super::server::{Export, sh};

/// As the server has it.
const MAIL: &str = "/export/plain/mail";

/// The kernel looks that often for what is that old, and writes it back: every 5 s for what is older than 30 s where nobody says so.
const INTERVAL: Duration = Duration::from_secs(10);

/// Not guaranteed: what a killed service had written to a server out of reach is still in its kernel's memory, and comes back with
/// the cable.
pub(crate) fn of_a_host_cut_off() {
    let (hosts, [mut first, mut second]) = pair(9, Export::Plain, "vers=4.2");
    first.init();
    let script = "exec 3> /run/a/mail; echo of the first >&3; sync; echo up > $OUT/up; \
        until [ -e $OUT/go ]; do sleep 0.1; done; echo LATE >&3; exec sleep 1000";
    let mut container = first.up(script);
    hosts[0].cable("down");
    fs::write(first.place.path("out/go"), "").unwrap();
    sleep(Duration::from_secs(2));
    first.host.host.write_page(&page(Order::Open, 100, 200)).unwrap();
    let mut next = second.up(POLITE);
    fs::write(second.at.join("mail"), "of the second, and longer\n").unwrap();
    hosts[0].cable("up");
    await_that("what was in memory", || {
        fs::read_to_string("/export/plain/mail").unwrap().contains("LATE")
    });
    first.host.await_gone();
    assert_eq!(container.wait(), KILLED);
    assert_eq!(second.stop(&mut next), 7);
    sh("rm /export/plain/mail");
}

/// The server answers all the time. What was written is there before the end is proved: the kernel writes what went through an
/// open file while it is closed, and the tether asks for what went through a mapping whose file was closed before.
pub(crate) fn of_a_killed_service() {
    let old = |old: u128, every: u128| {
        sh(&format!(
            "cd /proc/sys/vm && echo {old} > dirty_expire_centisecs && echo {every} > dirty_writeback_centisecs"
        ));
    };
    old(INTERVAL.as_millis() / 10, INTERVAL.as_millis() / 10);
    let (_hosts, [mut first, _]) = pair(15, Export::Plain, "vers=4.2");
    first.init();
    through_a_file(&mut first);
    mapped_and_ordered(&mut first);
    mapped_and_killed(&mut first);
    old(3000, 500);
    sh(&format!("rm {MAIL}"));
}

fn through_a_file(node: &mut Node) {
    let mut container = service(node, "", "pwrite -q -S 0x4c 0 64k");
    kill(node, &mut container);
    let there = fs::metadata(MAIL).unwrap().len();
    assert!(is_there() && there == 64 << 10, "{there}");
}

fn kill(node: &mut Node, container: &mut Container) {
    let ordered = page(Order::Open, 200, 200);
    node.host.host.write_page(&ordered).unwrap();
    node.host.await_gone();
    let late = clock::now().since(ordered.hard);
    assert!(late < Duration::from_secs(2), "{late:?}");
    assert_eq!(container.wait(), KILLED);
    node.host.open_again();
}

const MAPPED: &str = "echo 'mmap -w 0 4096'; echo close;";
const WRITE: &str = "mwrite -S 0x4c 0 4";

/// A service that does this with its file, and has written to it without a sync.
fn service(node: &mut Node, before: &str, write: &str) -> Container {
    fs::write(MAIL, "o".repeat(4096)).unwrap();
    let _ = fs::remove_file(node.place.path("out/go"));
    let container = node.up(&format!(
        "trap 'exit 7' TERM; {{ {before} echo up > $OUT/up; until [ -e $OUT/go ]; do sleep 0.1; done; \
         echo '{write}'; sleep 1000; }} | xfs_io /run/a/mail & wait"
    ));
    sleep(Duration::from_secs(1));
    fs::write(node.place.path("out/go"), "").unwrap();
    sleep(Duration::from_secs(1));
    assert!(!is_there(), "nothing was left to write");
    container
}

fn is_there() -> bool {
    fs::read_to_string(MAIL).unwrap().starts_with("LLLL")
}

/// While the lease lives the tether syncs, before its end.
fn mapped_and_ordered(node: &mut Node) {
    let mut container = service(node, MAPPED, WRITE);
    assert_eq!(node.stop(&mut container), 7);
    assert!(is_there());
    node.host.open_again();
}

/// Without the tether's sync it came up to twice [`INTERVAL`] later, over what the next holder had written.
fn mapped_and_killed(node: &mut Node) {
    let mut container = service(node, MAPPED, WRITE);
    kill(node, &mut container);
    assert!(is_there());
}
