//! Within the machine: a server that does not answer, for a while or for good.

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use leasehold::base::clock;
use leasehold::base::page::{Order, Page};
use leasehold::base::storage_probe::Verdict;

use super::harness::{await_that, hanging, members, namespace, page};
use super::nfs::{KILLED, POLITE, took};
use super::node::{Node, pair};
use super::server::{self, Client, Export, sh};

const AWAY: Duration = Duration::from_secs(30);

/// Longer than a sidecar waits for a proof before it says `stuck`.
const UNPROVED: Duration = Duration::from_secs(7);

/// Takes TERM for no reason to end.
const STUBBORN: &str = "trap '' TERM; echo up > $OUT/up; sleep 1000 & wait";

/// Hard mounts wait for it; what has a deadline does not.
pub(crate) fn for_a_while() {
    let (hosts, [mut first, mut second]) = pair(11, Export::Plain, "vers=4.2");
    let third = Client::new(40, Export::Plain);
    let mut third = Node::new("n3", &third.mount("vers=4.2"));
    for (node, sub) in [(&mut first, "a"), (&mut second, "b"), (&mut third, "c")] {
        sh(&format!(
            "mkdir -p /export/plain/{sub}; echo s > /export/plain/{sub}/.leasehold-store"
        ));
        node.at = node.at.join(sub);
    }
    let mut waits = first.up(POLITE);
    let mut ends = second.up(STUBBORN);
    let mut stops = third.up(POLITE);
    let before = first.beat();
    server::stop();
    let since = clock::now();
    sleep(Duration::from_secs(1));
    let (code, said) = first.tether(&["store", "look", "--id", "s"]);
    assert!(code == 1 && said.contains("no answer within 5s"), "{code}: {said}");
    let mut probe = first.probe(&waits);
    sleep(Duration::from_secs(1));
    let (code, said) = first.exec(&waits, &["probe-storage", "0", "/run/a"]);
    assert_eq!(code, Verdict::Unended as i32, "{said}");

    let space = namespace(ends.pid());
    let ordered = page(Order::Open, 500, 1000);
    second.host.host.write_page(&ordered).unwrap();
    dead(space, &ordered);

    let asked = clock::now();
    assert_eq!(third.stop(&mut stops), 7);
    let span = clock::now().since(asked);
    println!("order to the proof of a stop, the server away: {span:?}");
    assert!(span < Duration::from_secs(5), "{span:?}");

    while clock::now().since(since) < AWAY {
        sleep(Duration::from_millis(100));
    }
    assert!(waits.running(), "{}", first.place.stderr());
    server::start_again();
    await_that("the end of the probe", || probe.try_wait().unwrap().is_some());
    await_that("beats", || first.beat() > before + 1);
    assert_eq!(first.stop(&mut waits), 7);
    second.host.await_gone();
    assert_eq!(ends.wait(), KILLED);
    drop(hosts);
}

/// All but PID 1 is dead soon after its deadline. That one may wait for what its kernel has not written, a beat of the claim at
/// least.
fn dead(space: u64, ordered: &Page) {
    await_that("the end of the service", || {
        clock::now().reached(ordered.hard) && members(space).len() <= 1
    });
    let late = clock::now().since(ordered.hard);
    took(&format!(
        "deadline to the end of the service, the server away: {late:?}"
    ));
    assert!(late < Duration::from_secs(2), "{late:?}");
}

/// It never comes back. A service that had nothing to write is dead at once, and proved so once nobody waits for the server any
/// more; one that had hangs for as long as its host runs.
pub(crate) fn for_good() {
    let (hosts, [mut first, mut second]) = pair(16, Export::Plain, "vers=4.2");
    first.init();
    second.at = second.at.join("b");
    sh("mkdir -p /export/plain/b; echo s > /export/plain/b/.leasehold-store");
    let script = "exec 3> /run/a/mail; echo up > $OUT/up; until [ -e $OUT/go ]; do sleep 0.1; done; \
        echo unwritten >&3; exec sleep 1000";
    let mut writes = first.up(script);
    let mut ends = second.up(STUBBORN);
    let (space, other) = (namespace(writes.pid()), namespace(ends.pid()));
    server::stop();
    std::fs::write(first.place.path("out/go"), "").unwrap();
    sleep(Duration::from_secs(2));
    let ordered = page(Order::Open, 500, 1000);
    for node in [&mut first, &mut second] {
        node.host.host.write_page(&ordered).unwrap();
    }
    dead(other, &ordered);

    first.host.silent(UNPROVED);
    let left = members(space);
    assert!(hanging(&left) > 0, "{left:?}");
    let asked = clock::now();
    let (code, said) = second.tether(&["store", "look", "--id", "s"]);
    assert!(code == 1 && said.contains("no answer within 5s"), "{code}: {said}");
    assert!(clock::now().since(asked) < Duration::from_secs(8));

    // It takes the write away, and then the end hangs in giving the file back.
    for process in left.into_iter().chain(members(other)) {
        let inside = format!("nsenter --target {process} --mount umount -f /run/a");
        let _ = Command::new("sh").args(["-c", &inside]).output();
    }
    second.host.await_gone();
    assert_eq!(ends.wait(), KILLED);
    first.host.silent(Duration::from_secs(2));
    assert!(
        writes.running() && hanging(&members(space)) > 0,
        "umount -f helps: tell people"
    );
    // Nobody unmounts from a server that is gone.
    std::mem::forget(hosts);
}
