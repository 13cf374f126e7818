//! Somebody who does not know of Leasehold and types what is typed at any other compose project. It may interrupt the
//! service where it runs; there must never be a second writer, and the service must come back by itself.

use std::time::Duration;

use leasehold::base::clock;

use crate::cluster::Cluster;
use crate::host::{Host, SIDECAR};
use crate::row::Figure;
use crate::scenarios::{TTL, figure, no_outage};
use crate::shell::{now, say, until, words};

/// What is typed, each after `docker`; OWN is the container that the host's sidecar made.
const COMMANDS: [&[&str]; 8] = [
    &["start", OWN],
    &["restart", OWN],
    &["compose", "restart", "sams"],
    &["compose", "run", "--rm", "-T", "sams"],
    &["compose", "up", "-d", "--scale", "sams=1", "sams"],
    &["compose", "up", "sams"],
    &["compose", "rm", "-sf", "sams"],
    // The last, because it starts a dead sidecar again.
    &["compose", "--profile", "leasehold", "up", "-d"],
];
const OWN: &str = "OWN";
/// Then the colleague presses Control-C.
const PATIENCE_S: &str = "8";
/// All commands in a row on the leader, each of which may cost a stop and a start.
const LONGEST_S: u64 = 15;

pub(crate) fn on_a_standby(cluster: &mut Cluster) -> Figure {
    let place = cluster.standby();
    let leader = cluster.await_leader();
    let seen = cluster.under_mail(|cluster| {
        for command in COMMANDS {
            type_command(&cluster.hosts[place], command);
            meets_the_gate(&cluster.hosts[place]);
            // The sidecar makes its container again where the command removed it.
            cluster.settle();
        }
    });
    assert_eq!(cluster.leader(), Some(leader), "the service moved");
    no_outage(
        &seen,
        &format!("{} commands on {}", COMMANDS.len(), cluster.hosts[place].name),
    )
}

pub(crate) fn on_a_standby_without_sidecar(cluster: &mut Cluster) -> Figure {
    let place = cluster.standby();
    let leader = cluster.await_leader();
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[place];
        end_sidecar(host);
        for command in COMMANDS {
            type_command(host, command);
            meets_the_gate(host);
        }
        host.start_sidecar();
        cluster.settle();
    });
    assert_eq!(cluster.leader(), Some(leader), "the service moved");
    no_outage(
        &seen,
        &format!("{} commands on {}", COMMANDS.len(), cluster.hosts[place].name),
    )
}

pub(crate) fn on_the_leader(cluster: &mut Cluster) -> Figure {
    let seen = cluster.under_mail(|cluster| {
        for command in COMMANDS {
            let place = cluster.await_leader();
            type_command(&cluster.hosts[place], command);
            cluster.await_greeting();
            cluster.settle();
        }
    });
    let limit = Duration::from_secs(LONGEST_S);
    figure(
        &seen,
        limit,
        &format!("{} commands, the longest outage", COMMANDS.len()),
    )
}

/// Each command twice: while the service still runs without its sidecar, and after another host has taken over.
pub(crate) fn on_the_leader_without_sidecar(cluster: &mut Cluster) -> Figure {
    let seen = cluster.under_mail(|cluster| {
        for command in COMMANDS {
            let old = cluster.await_leader();
            let host = &cluster.hosts[old];
            end_sidecar(host);
            type_command(host, command);
            // The last command brings the sidecar back, which may adopt what still runs.
            until("somebody to serve", TTL * 4, || cluster.leader());
            cluster.await_greeting();
            if cluster.leader() != Some(old) {
                type_command(host, command);
                meets_the_gate(host);
            }
            host.start_sidecar();
            cluster.settle();
        }
    });
    let limit = Duration::from_secs(LONGEST_S);
    figure(
        &seen,
        limit,
        &format!("{} commands, the longest outage", COMMANDS.len()),
    )
}

/// SIGKILL by somebody's hand, after which the engine does not restart it.
fn end_sidecar(host: &Host) {
    let output = host.docker(&["kill", SIDECAR]);
    assert!(output.status.success(), "{}: {}", host.name, words(&output));
}

/// Whatever it says, and whether it succeeds or not.
fn type_command(host: &Host, arguments: &[&str]) {
    let own = format!("mail-sams-{}", host.name);
    let typed: Vec<&str> = arguments
        .iter()
        .map(|word| if *word == OWN { &own } else { *word })
        .collect();
    let at = clock::wall();
    let output = host.patiently(PATIENCE_S, &typed);
    let said = words(&output);
    let last = said.lines().last().unwrap_or_default();
    say(&format!(
        "    {at} {}: docker {}: {}: {last}",
        host.name,
        typed.join(" "),
        output.status
    ));
}

/// Nothing of the service stays alive on this host.
fn meets_the_gate(host: &Host) {
    let began = now();
    until(&format!("the gate to close on {}", host.name), TTL, || {
        host.serving().is_empty().then_some(())
    });
    let took = now() - began;
    assert!(took < TTL, "a container lived for {took:?}");
}
