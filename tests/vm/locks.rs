//! Within the machine: locks of a host that lost its power, and how long the next one waits for them.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use leasehold::base::clock;

use super::nfs::{LEASE, took};
use super::node::{Node, pair};
use super::rpc::restarted;
use super::server::{Client, Export, NFSD, sh};

/// More than version 4 needs.
const FOR_EVER: Duration = LEASE.saturating_mul(2);

/// The longest pause of a client of version 4 that waits.
const PAUSE: Duration = Duration::from_secs(30);

/// With version 4 they are free once the lease of the server ran out, and not before. With version 3 they stay until somebody
/// lets go of them, unless each host keeps its own.
pub(crate) fn of_a_dead_host() {
    let (hosts, [next, dead]) = pair(6, Export::Plain, "vers=4.2");
    let (hosts_3, [next_3, dead_3]) = pair(13, Export::Plain, "vers=3,lock");
    let mut holders = [hold(&dead, "asked"), hold(&dead, "waited"), hold(&dead_3, "third")];
    hosts[1].cable("down");
    hosts_3[1].cable("down");
    let since = clock::now();
    thread::scope(|scope| {
        let waits = scope.spawn(|| within(PAUSE + LEASE * 2, &next, "waited").then(|| clock::now().since(since)));
        let stays = scope.spawn(|| within(FOR_EVER, &next_3, "third"));
        sh(&format!(
            "until flock -n {}/asked true; do sleep 0.5; done",
            next.at.display()
        ));
        let span = clock::now().since(since);
        took(&format!(
            "a lock of a dead host, v4.2 with a lease of {LEASE:?}, asked for again and again: {span:?}"
        ));
        assert!(span > LEASE / 2 && span < LEASE * 3, "{span:?}");
        let span = waits.join().unwrap().expect("a lock in time");
        took(&format!("the same, waited for: {span:?}"));
        assert!(span > LEASE / 2, "{span:?}");
        assert!(!stays.join().unwrap(), "version 3 lets go by itself");
    });
    of_version_3(&hosts_3, &next_3);
    hosts[1].cable("up");
    hosts_3[1].cable("up");
    for holder in &mut holders {
        end(holder);
    }
}

/// What lets go of them: the word that their host has restarted, or a person.
fn of_version_3(hosts: &[Client; 2], next: &Node) {
    let own = Client::new(28, Export::Plain);
    let own = Node::new("n3", &own.mount("vers=3"));
    assert!(
        within(Duration::ZERO, &own, "third"),
        "each host has its own with nolock"
    );
    restarted(&hosts[1].address());
    assert!(
        within(Duration::from_secs(3), next, "third"),
        "after the restart of its host"
    );

    let mut holder = hold(next, "third");
    hosts[0].cable("down");
    let last = Client::new(29, Export::Plain);
    let last = Node::new("n4", &last.mount("vers=3,lock"));
    assert!(!within(Duration::from_secs(3), &last, "third"));
    sh(&format!("echo {} > {NFSD}/unlock_filesystem", Export::Plain.path()));
    assert!(within(Duration::from_secs(3), &last, "third"), "after a person's word");
    hosts[0].cable("up");
    end(&mut holder);
}

/// A process that holds a lock of that name.
fn hold(node: &Node, name: &str) -> Child {
    let lock = path(node, name);
    let mut holder = Command::new("flock")
        .args(["-F", "-x", &lock, "sh", "-c", "echo held; exec sleep 1000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 5];
    holder.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    holder
}

/// Only where the server answers: whoever ends with a lock gives it back first.
fn end(holder: &mut Child) {
    holder.kill().unwrap();
    holder.wait().unwrap();
}

/// Whether it is had in that time.
fn within(span: Duration, node: &Node, name: &str) -> bool {
    let lock = path(node, name);
    let mut flock = Command::new("flock");
    match span.as_secs() {
        0 => flock.arg("-n"),
        seconds => flock.args(["-w", &seconds.to_string()]),
    };
    flock.args(["-x", &lock, "true"]).status().unwrap().success()
}

fn path(node: &Node, name: &str) -> String {
    let path: &Path = &node.at;
    path.join(name).display().to_string()
}
