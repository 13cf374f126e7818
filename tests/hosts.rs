//! Three real hosts: a network namespace, an engine, an etcd member and the sidecar's container each, with real mail
//! sent and read back while they fail. Needs root, an engine with the images of `docker/build`, and etcd.
//!
//! Prints a table of the outages. `LEASEHOLD_TEST_TAG=TAG` takes images of another tag than `dev`.
//! `LEASEHOLD_HOSTS=killed,colleague` runs only the scenarios whose names contain one of these words;
//! `LEASEHOLD_HOSTS_TTL=3s` takes another ttl, for the bench; the scenarios' bounds are those of 5 s.
//! `LEASEHOLD_HOSTS_LOGS=1` shows after each what the hosts say, as a failure does.

#[path = "hosts/bench.rs"]
mod bench;
#[path = "hosts/cluster.rs"]
mod cluster;
#[path = "hosts/colleague.rs"]
mod colleague;
#[path = "hosts/host.rs"]
mod host;
#[path = "hosts/lab.rs"]
mod lab;
#[path = "hosts/ledger.rs"]
mod ledger;
#[path = "hosts/mail.rs"]
mod mail;
#[path = "hosts/scenarios.rs"]
mod scenarios;
#[path = "hosts/shell.rs"]
mod shell;
#[path = "hosts/traffic.rs"]
mod traffic;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use cluster::Cluster;
use scenarios::{Figure, SCENARIOS};
use shell::{now, say};

/// A line of the closing table.
struct Line {
    name: &'static str,
    figure: Option<Figure>,
    took: Duration,
}

#[test]
fn the_service_survives_what_happens_to_hosts() {
    let began = now();
    let mut cluster = Cluster::new();
    say(&format!(
        "three hosts are up after {:.1} s",
        (now() - began).as_secs_f64()
    ));
    let mut lines = Vec::new();
    for (place, (name, body)) in SCENARIOS.into_iter().enumerate() {
        // The first one starts the service for all others.
        if place > 0 && !is_wanted(name) {
            continue;
        }
        let began = now();
        let figure = catch_unwind(AssertUnwindSafe(|| body(&mut cluster))).ok();
        let failed = figure.is_none();
        let line = Line {
            name,
            figure,
            took: now() - began,
        };
        say(&line.text());
        lines.push(line);
        if failed || wants_logs() {
            say(&cluster.describe());
        }
        let mut mended = || catch_unwind(AssertUnwindSafe(|| cluster.heal())).is_ok();
        if failed && (place == 0 || !mended()) {
            say("the cluster can't be mended: the rest is left out");
            break;
        }
    }
    drop(cluster);
    let took = (now() - began).as_secs();
    say(&format!(
        "
Outages as a client of port 25 saw them; {took} s in all"
    ));
    lines.iter().for_each(|line| say(&line.text()));
    assert!(lines.iter().all(|line| line.figure.is_some()), "see above");
}

#[test]
#[ignore = "removes what killed runs left behind, as the next run would: cargo test --test hosts -- --ignored cleanup"]
fn cleanup() {
    lab::sweep();
}

#[test]
#[ignore = "measures for some minutes: cargo test --test hosts -- --ignored bench"]
fn bench() {
    let mut cluster = Cluster::new();
    bench::run(&mut cluster);
}

fn wants_logs() -> bool {
    std::env::var_os("LEASEHOLD_HOSTS_LOGS").is_some()
}

fn is_wanted(name: &str) -> bool {
    let Ok(words) = std::env::var("LEASEHOLD_HOSTS") else {
        return true;
    };
    words.split(',').any(|word| name.contains(word))
}

impl Line {
    fn text(&self) -> String {
        let took = self.took.as_secs();
        match &self.figure {
            Some(figure) => {
                let outage = figure.outage.as_secs_f64();
                format!(
                    "{:<28} passed {outage:>7.2} s  {} (took {took} s)",
                    self.name, figure.note
                )
            }
            None => format!("{:<28} FAILED     - s  see above (took {took} s)", self.name),
        }
    }
}
