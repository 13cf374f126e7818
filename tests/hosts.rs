//! Three real hosts: a network namespace, an engine, an etcd member and the sidecar's container each, with real mail
//! sent and read back while they fail. Needs root, an engine with the images of `docker/build`, and etcd.
//!
//! Prints a table of outages and two-writer times, and leaves it as `faults.md` and `faults.json` beside the build.
//! `LEASEHOLD_FAULTS=all` (`./test faults`) runs the long rows too; `LEASEHOLD_FAULTS_MINUTES=N` then adds a random
//! mixture, drawn with `LEASEHOLD_FAULTS_SEED=S`. `LEASEHOLD_TEST_TAG=TAG` takes images of another tag than `dev`.
//! `LEASEHOLD_HOSTS=killed,colleague` runs only the rows whose names contain one of these words, long ones too;
//! `LEASEHOLD_HOSTS_TTL=3s` takes another ttl, for the bench; the scenarios' bounds are those of 5 s. With it
//! `LEASEHOLD_HOSTS_ELECTION_MS=200` takes another election timeout of etcd, and a tenth of it for its heartbeats.
//! `LEASEHOLD_HOSTS_LOGS=1` shows after each what the hosts say, as a failure does.

#[path = "hosts/bench.rs"]
mod bench;
#[path = "hosts/by_hand.rs"]
mod by_hand;
#[path = "hosts/cluster.rs"]
mod cluster;
#[path = "hosts/colleague.rs"]
mod colleague;
#[path = "hosts/edited.rs"]
mod edited;
#[path = "hosts/etcd.rs"]
mod etcd;
#[path = "hosts/faults.rs"]
mod faults;
#[path = "hosts/freezer.rs"]
mod freezer;
#[path = "hosts/host.rs"]
mod host;
#[path = "hosts/imap_load.rs"]
mod imap_load;
#[path = "hosts/lab.rs"]
mod lab;
#[path = "hosts/ledger.rs"]
mod ledger;
#[path = "hosts/machine.rs"]
mod machine;
#[path = "hosts/mail.rs"]
mod mail;
#[path = "hosts/mixture.rs"]
mod mixture;
#[path = "hosts/observer.rs"]
mod observer;
#[path = "hosts/operators.rs"]
mod operators;
#[path = "hosts/opinions.rs"]
mod opinions;
#[path = "hosts/pace.rs"]
mod pace;
#[path = "hosts/parts.rs"]
mod parts;
#[path = "hosts/promises.rs"]
mod promises;
#[path = "hosts/record.rs"]
mod record;
#[path = "hosts/repairs.rs"]
mod repairs;
#[path = "hosts/row.rs"]
mod row;
#[path = "hosts/runbooks.rs"]
mod runbooks;
#[path = "hosts/said.rs"]
mod said;
#[path = "hosts/scenarios.rs"]
mod scenarios;
#[path = "hosts/shell.rs"]
mod shell;
#[path = "hosts/sickness.rs"]
mod sickness;
#[path = "hosts/socket.rs"]
mod socket;
#[path = "hosts/storage.rs"]
mod storage;
#[path = "hosts/table.rs"]
mod table;
#[path = "hosts/traffic.rs"]
mod traffic;
#[path = "hosts/upgrade.rs"]
mod upgrade;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cluster::Cluster;
use edited::{EDITED, LONG_EDITED};
use faults::{LONG_FAULTS, SHORT_FAULTS};
use operators::OPERATORS;
use opinions::OPINIONS;
use pace::Pace;
use promises::{LONG_PROMISES, PROMISES};
use row::{Fault, Figure};
use runbooks::RUNBOOKS;
use scenarios::{Body, SCENARIOS};
use shell::{now, say};
use sickness::{LONG_SICKNESSES, SICKNESSES};
use table::Line;
use upgrade::{LONG_UPGRADES, UPGRADES};

/// A row of the table.
struct Row {
    name: &'static str,
    what: What,
    /// Only `./test faults` runs it.
    long: bool,
}

enum What {
    Story(Body),
    /// A story of a sick service, with probes that judge soon.
    Sickness(Body),
    Fault(&'static Fault),
}

impl Row {
    fn run(&self, cluster: &mut Cluster) -> Figure {
        match self.what {
            What::Story(body) => {
                cluster.set_pace(Pace::Usual);
                body(cluster)
            }
            What::Sickness(body) => {
                cluster.set_pace(Pace::Quick);
                body(cluster)
            }
            What::Fault(fault) => {
                cluster.set_pace(Pace::Usual);
                fault.run(cluster)
            }
        }
    }

    /// The first row starts the service for all others, and is no matter of choice.
    fn is_wanted(&self) -> bool {
        if self.name == SCENARIOS[0].0 {
            return true;
        }
        match std::env::var("LEASEHOLD_HOSTS") {
            Ok(_) => is_wanted(self.name),
            Err(_) => !self.long || wants_all(),
        }
    }
}

fn rows() -> Vec<Row> {
    let story = |(name, body): (&'static str, Body), long| Row {
        name,
        what: What::Story(body),
        long,
    };
    let sickness = |(name, body): (&'static str, Body), long| Row {
        name,
        what: What::Sickness(body),
        long,
    };
    let fault = |fault: &'static Fault, long| Row {
        name: fault.name,
        what: What::Fault(fault),
        long,
    };
    let mut rows: Vec<Row> = SCENARIOS.into_iter().map(|it| story(it, false)).collect();
    rows.extend(SHORT_FAULTS.iter().map(|it| fault(it, false)));
    rows.extend(OPERATORS.into_iter().map(|it| story(it, false)));
    rows.extend(EDITED.into_iter().map(|it| story(it, false)));
    rows.extend(RUNBOOKS.into_iter().map(|it| story(it, false)));
    rows.extend(PROMISES.into_iter().map(|it| story(it, false)));
    rows.extend(UPGRADES.into_iter().map(|it| story(it, false)));
    rows.extend(SICKNESSES.into_iter().map(|it| sickness(it, false)));
    rows.extend(OPINIONS.into_iter().map(|it| sickness(it, true)));
    rows.extend(LONG_SICKNESSES.into_iter().map(|it| sickness(it, true)));
    rows.extend(LONG_UPGRADES.into_iter().map(|it| story(it, true)));
    rows.extend(LONG_EDITED.into_iter().map(|it| story(it, true)));
    rows.extend(LONG_PROMISES.into_iter().map(|it| story(it, true)));
    rows.extend(LONG_FAULTS.iter().map(|it| fault(it, true)));
    rows.push(story(("30 switchovers in a row", mixture::many_switchovers), true));
    rows.push(story(
        (
            "ten minutes of IMAP clients, a failover each minute",
            imap_load::ten_minutes,
        ),
        true,
    ));
    rows.push(story(("host frozen and thawed, 10 times", mixture::many_thaws), true));
    if std::env::var_os("LEASEHOLD_FAULTS_MINUTES").is_some() {
        rows.push(story(("random mixture", mixture::mixture), true));
    }
    rows
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
    for row in rows().into_iter().filter(Row::is_wanted) {
        let whole = run(&row, &mut cluster, &mut lines);
        table::write("faults", &lines, &cluster.broken.thaws);
        if !whole {
            say("the cluster can't be mended: the rest is left out");
            break;
        }
    }
    let thaws = cluster.broken.thaws.clone();
    drop(cluster);
    let took = (now() - began).as_secs();
    say(&format!(
        "\n{:<50} {:>14} {:<24} {:>11}  {took} s in all",
        "what happens", "outage", "bound, seconds", "two writers"
    ));
    lines.iter().for_each(|line| say(&line.text()));
    table::closing(&thaws).iter().for_each(|line| say(line));
    say(&format!("The table is in {}", table::place("faults.md").display()));
    assert!(lines.iter().all(|line| line.figure.is_some()), "see above");
}

/// Whether the cluster is whole afterwards.
fn run(row: &Row, cluster: &mut Cluster, lines: &mut Vec<Line>) -> bool {
    let began = now();
    let figure = catch_unwind(AssertUnwindSafe(|| row.run(cluster))).ok();
    let failed = figure.is_none();
    let line = Line {
        name: row.name,
        figure,
        took: now() - began,
    };
    say(&line.text());
    let first = lines.is_empty();
    lines.push(line);
    if failed || wants_logs() {
        say(&cluster.describe());
    }
    !failed || (!first && catch_unwind(AssertUnwindSafe(|| cluster.heal())).is_ok())
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

#[test]
#[ignore = "writes down what an earlier version writes, once: LEASEHOLD_RECORD=DIR cargo test --test hosts -- --ignored record"]
fn record() {
    let into = std::env::var_os("LEASEHOLD_RECORD").expect("LEASEHOLD_RECORD names a directory");
    let mut cluster = Cluster::new();
    record::run(&mut cluster, into.as_ref());
}

fn wants_logs() -> bool {
    std::env::var_os("LEASEHOLD_HOSTS_LOGS").is_some()
}

fn wants_all() -> bool {
    std::env::var("LEASEHOLD_FAULTS").is_ok_and(|word| word == "all")
}

fn is_wanted(name: &str) -> bool {
    let Ok(words) = std::env::var("LEASEHOLD_HOSTS") else {
        return true;
    };
    words.split(',').any(|word| name.contains(word))
}
