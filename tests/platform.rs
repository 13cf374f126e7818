//! Three hosts as people install them today: Debian with systemd, cgroups of version 2 and its own engine, `compose/node` set
//! up as its comments say, with the sidecar as a unit on two and in a container on the third. The second unit is that of the
//! Debian package. Real mail is sent and read back while the hosts fail.
//!
//! Each host is a Debian tree whose own systemd is PID 1 in namespaces of its own, on the machine's kernel. Needs root, an
//! engine with the images of `docker/build`, the program in `LEASEHOLD_BINARY`, and the tree of
//! `docker/requirements platform DIR` in `LEASEHOLD_PLATFORM_DIR`, and the package of `docker/build release DIR` in
//! `LEASEHOLD_PACKAGES`.
//!
//! Prints a table of outages and two-writer times, and leaves it as `platform.md` and `platform.json` beside the build.
//! `LEASEHOLD_PLATFORM=reboot,power` runs only the rows whose names contain one of these words, and the first start.

#![allow(dead_code, reason = "what is shared with the host tests is used there as a whole")]

#[path = "hosts/cluster.rs"]
mod cluster;
#[path = "platform/comments.rs"]
mod comments;
#[path = "platform/etcd.rs"]
mod etcd;
#[path = "hosts/freezer.rs"]
mod freezer;
#[path = "platform/host.rs"]
mod host;
#[path = "hosts/lab.rs"]
mod lab;
#[path = "hosts/ledger.rs"]
mod ledger;
#[path = "hosts/mail.rs"]
mod mail;
#[path = "hosts/observer.rs"]
mod observer;
#[path = "platform/pace.rs"]
mod pace;
#[path = "platform/repairs.rs"]
mod repairs;
#[path = "hosts/row.rs"]
mod row;
#[path = "platform/rows.rs"]
mod rows;
#[path = "platform/scenarios.rs"]
mod scenarios;
#[path = "hosts/shell.rs"]
mod shell;
#[path = "hosts/socket.rs"]
mod socket;
#[path = "hosts/storage.rs"]
mod storage;
#[path = "hosts/table.rs"]
mod table;
#[path = "hosts/traffic.rs"]
mod traffic;
#[path = "platform/uninstall.rs"]
mod uninstall;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cluster::Cluster;
use rows::{Body, ROWS};
use shell::{now, say};
use table::Line;

/// The files of the table, beside the build.
const TABLE: &str = "platform";

#[test]
fn the_service_survives_what_happens_to_hosts_of_systemd() {
    let began = now();
    let mut cluster = Cluster::new();
    say(&format!(
        "three hosts are up after {:.1} s",
        (now() - began).as_secs_f64()
    ));
    let mut lines = Vec::new();
    for (name, body) in ROWS.into_iter().filter(|(name, _)| is_wanted(name)) {
        let whole = run(name, body, &mut cluster, &mut lines);
        table::write(TABLE, &lines, &[]);
        if !whole {
            say("the cluster can't be mended: the rest is left out");
            break;
        }
    }
    drop(cluster);
    let took = (now() - began).as_secs();
    say(&format!(
        "\n{:<50} {:>14} {:<24} {:>11}  {took} s in all",
        "what happens", "outage", "bound, seconds", "two writers"
    ));
    lines.iter().for_each(|line| say(&line.text()));
    table::closing(&[]).iter().for_each(|line| say(line));
    say(&format!(
        "The table is in {}",
        table::place(&format!("{TABLE}.md")).display()
    ));
    assert!(lines.iter().all(|line| line.figure.is_some()), "see above");
}

/// Whether the cluster is whole afterwards.
fn run(name: &'static str, body: Body, cluster: &mut Cluster, lines: &mut Vec<Line>) -> bool {
    let began = now();
    let figure = catch_unwind(AssertUnwindSafe(|| body(cluster))).ok();
    let failed = figure.is_none();
    let line = Line {
        name,
        figure,
        took: now() - began,
    };
    say(&line.text());
    let first = lines.is_empty();
    lines.push(line);
    if failed {
        say(&cluster.describe());
        repairs::wait_if_asked();
    }
    !failed || (!first && catch_unwind(AssertUnwindSafe(|| cluster.heal())).is_ok())
}

/// The first row starts the service for all others, and is no matter of choice.
fn is_wanted(name: &str) -> bool {
    let Ok(words) = std::env::var("LEASEHOLD_PLATFORM") else {
        return true;
    };
    name == ROWS[0].0 || words.split(',').any(|word| name.contains(word))
}

#[test]
#[ignore = "removes what killed runs left behind, as the next run would: cargo test --test platform -- --ignored cleanup"]
fn cleanup() {
    lab::sweep();
}
