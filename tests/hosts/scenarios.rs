//! The faults, one after the other on one cluster; each leaves it whole.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::shell::now;

/// Of the compose file.
pub(crate) const TTL: Duration = Duration::from_secs(5);
/// The target is ttl + 1 s; a machine that runs three hosts at once gets some more.
const FAILOVER_LIMIT: Duration = Duration::from_secs(8);

/// What a scenario showed.
pub(crate) struct Figure {
    pub(crate) outage: Duration,
    pub(crate) note: String,
}

type Body = fn(&mut Cluster) -> Figure;

pub(crate) const SCENARIOS: [(&str, Body); 2] = [("first start", first_start), ("host killed", host_killed)];

fn figure(outage: Duration, limit: Duration, note: String) -> Figure {
    assert!(
        outage <= limit,
        "the outage was {outage:?}, the limit is {limit:?} ({note})"
    );
    Figure { outage, note }
}

fn first_start(cluster: &mut Cluster) -> Figure {
    let began = now();
    for host in &cluster.hosts {
        host.start_sidecar();
    }
    let started = now() - began;
    cluster.init();
    let prepared = now();
    let outage = cluster.await_greeting() - prepared;
    cluster.under_mail(|_| ());
    let note = format!(
        "three sidecars up in {:.1} s, then init to first 220",
        started.as_secs_f64()
    );
    figure(outage, Duration::from_secs(30), note)
}

/// Everything on the active host ends at once while mail is being sent.
fn host_killed(cluster: &mut Cluster) -> Figure {
    let old = cluster.await_leader();
    let seen = cluster.under_mail(|cluster| cluster.hosts[old].power_off());
    let new = cluster.await_leader();
    assert_ne!(old, new);
    let note = format!("{} to {}", cluster.hosts[old].name, cluster.hosts[new].name);
    let figure = figure(
        seen.outage,
        FAILOVER_LIMIT,
        format!("{note}, {} accepted", seen.accepted.len()),
    );
    cluster.heal();
    figure
}
