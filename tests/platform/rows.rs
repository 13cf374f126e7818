//! The rows: what happens to hosts that are run by systemd, each told in its own way; each leaves the cluster whole.

use std::time::Duration;

use crate::cluster::{Cluster, Seen};
use crate::host::{Form, Host};
use crate::row::Figure;
use crate::scenarios::{FAILOVER_LIMIT, HAND_OVER_LIMIT, RETURN_LIMIT};
use crate::shell::{now, until};

pub(crate) type Body = fn(&mut Cluster) -> Figure;

pub(crate) const ROWS: [(&str, Body); 4] = [
    ("first start, by the comments of compose/node", first_start),
    ("systemctl reboot of the holder, a unit", reboot_unit),
    ("the holder loses power", power_loss),
    ("all hosts lose power", power_loss_of_all),
];

/// The sidecars as the comments start them, then the storage is prepared once.
fn first_start(cluster: &mut Cluster) -> Figure {
    let began = now();
    cluster.hosts.iter().for_each(Host::start_by_comments);
    let started = now() - began;
    let host = &cluster.hosts[0];
    let init = host.init_command();
    until("leasehold init", RETURN_LIMIT, || {
        let said = host.try_inside(&init);
        said.status.success().then_some(())
    });
    let prepared = now();
    let outage = cluster.await_greeting() - prepared;
    let seen = cluster.under_mail(|_| ());
    let note = format!(
        "three sidecars up in {:.1} s, then init to first 220",
        started.as_secs_f64()
    );
    figure(&Seen { outage, ..seen }, Duration::from_secs(30), &note)
}

/// Whoever runs this form of the sidecar serves.
fn lead_with(cluster: &Cluster, form: Form) -> usize {
    cluster.settle();
    let leader = cluster.await_leader();
    if cluster.hosts[leader].form == form {
        return leader;
    }
    let wanted = cluster.hosts.iter().position(|host| host.form == form);
    let wanted = wanted.expect("a host of every form");
    until("the service to move", RETURN_LIMIT, || {
        cluster.hosts[leader].leasehold(&["switchover", "mail", "--to", cluster.hosts[wanted].name]);
        cluster.hosts[wanted].leads().then_some(())
    });
    cluster.settle();
    wanted
}

fn reboot_unit(cluster: &mut Cluster) -> Figure {
    reboot(cluster, Form::Unit)
}

/// Its systemd ends everything in its order: the sidecar before the engine, so the service is handed over. The host comes
/// back as a standby by itself.
fn reboot(cluster: &mut Cluster, form: Form) -> Figure {
    let old = lead_with(cluster, form);
    let mut down = Duration::ZERO;
    let seen = cluster.under_mail(|cluster| {
        let host = &mut cluster.hosts[old];
        let began = now();
        host.inside("systemctl reboot");
        host.await_off();
        down = now() - began;
        host.boot();
        until("the sidecar of the returned host", RETURN_LIMIT, || {
            host.is_ready().then_some(())
        });
    });
    let note = format!("{}, down after {:.1} s", moved(cluster, old), down.as_secs_f64());
    figure(&seen, HAND_OVER_LIMIT, &note)
}

fn power_loss(cluster: &mut Cluster) -> Figure {
    cluster.settle();
    let old = cluster.await_leader();
    let seen = cluster.under_mail(|cluster| cluster.hosts[old].power_off());
    let note = moved(cluster, old);
    cluster.heal();
    figure(&seen, FAILOVER_LIMIT, &note)
}

/// The service comes back without anybody's help.
fn power_loss_of_all(cluster: &mut Cluster) -> Figure {
    let mut back = Duration::ZERO;
    let seen = cluster.under_mail(|cluster| {
        cluster.hosts.iter_mut().for_each(Host::power_off);
        let began = now();
        cluster.hosts.iter_mut().for_each(Host::boot);
        back = cluster.await_greeting() - began;
        cluster.settle();
    });
    let note = format!("{:.1} s after power is back", back.as_secs_f64());
    figure(&seen, RETURN_LIMIT, &note)
}

fn figure(seen: &Seen, limit: Duration, note: &str) -> Figure {
    Figure::new(seen, None, limit, note)
}

/// Who served before and who does now.
fn moved(cluster: &Cluster, old: usize) -> String {
    let new = cluster.await_leader();
    assert_ne!(old, new, "the service did not move");
    format!("{} to {}", cluster.hosts[old].name, cluster.hosts[new].name)
}
