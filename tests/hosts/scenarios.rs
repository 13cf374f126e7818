//! The stories: what happens to hosts in their ordinary life, each told in its own way; each leaves the cluster whole.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Seen};
use crate::colleague;
use crate::host::{Host, SIDECAR};
use crate::row::Figure;
use crate::shell::{now, until, words};

/// Of the compose file.
pub(crate) const TTL: Duration = Duration::from_secs(5);
/// The target is ttl + 1 s; a machine that runs three hosts at once gets some more.
pub(crate) const FAILOVER_LIMIT: Duration = Duration::from_secs(8);
/// Stop and start of the mail server, and the way through etcd.
pub(crate) const HAND_OVER_LIMIT: Duration = Duration::from_secs(4);
/// How far an engine on a busy machine lags behind the kernel; whether anything was written is the ledger's to say.
const ENGINE_VIEW: Duration = Duration::from_secs(1);
/// What a busy machine may make of "no outage": a greeting that came late.
pub(crate) const NO_OUTAGE: Duration = Duration::from_secs(1);
pub(crate) const RETURN_LIMIT: Duration = Duration::from_secs(60);

pub(crate) type Body = fn(&mut Cluster) -> Figure;

pub(crate) const SCENARIOS: [(&str, Body); 20] = [
    ("first start", first_start),
    ("host killed", host_killed),
    ("dead host comes back", host_returns),
    ("sidecar told to end", sidecar_ends),
    ("host shut down in order", host_shut_down),
    ("sidecar killed", sidecar_killed),
    ("sidecar upgraded under hold", sidecar_upgraded),
    ("sidecar frozen", sidecar_frozen),
    ("mail container killed", container_killed),
    ("engine killed", engine_killed),
    ("cut off, carrier stays", cut_off),
    ("cable pulled", cable_pulled),
    ("host and etcd leader killed", etcd_leader_killed),
    ("switchover", switchover),
    ("drill", drill),
    ("colleague on a standby", colleague::on_a_standby),
    ("same, sidecar dead", colleague::on_a_standby_without_sidecar),
    ("colleague on the leader", colleague::on_the_leader),
    ("same, sidecar dead (leader)", colleague::on_the_leader_without_sidecar),
    ("all hosts lose power", all_killed),
];

/// Compares an outage with its limit.
pub(crate) fn figure(seen: &Seen, limit: Duration, note: &str) -> Figure {
    Figure::new(seen, None, limit, note)
}

/// The same for what must not be felt at all.
pub(crate) fn no_outage(seen: &Seen, note: &str) -> Figure {
    figure(seen, NO_OUTAGE, note)
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
    let seen = cluster.under_mail(|_| ());
    let note = format!(
        "three sidecars up in {:.1} s, then init to first 220",
        started.as_secs_f64()
    );
    figure(&Seen { outage, ..seen }, Duration::from_secs(30), &note)
}

/// Everything on the active host ends at once while mail is being sent.
pub(crate) fn host_killed(cluster: &mut Cluster) -> Figure {
    let old = cluster.await_leader();
    let seen = cluster.under_mail(|cluster| cluster.hosts[old].power_off());
    let figure = figure(&seen, FAILOVER_LIMIT, &moved(cluster, old));
    cluster.heal();
    figure
}

/// The engine starts the sidecar at boot, and nothing else; the service stays where it is.
fn host_returns(cluster: &mut Cluster) -> Figure {
    let old = cluster.await_leader();
    cluster.hosts[old].power_off();
    cluster.await_greeting();
    let new = cluster.await_leader();
    let seen = cluster.under_mail(|cluster| {
        let host = &mut cluster.hosts[old];
        host.boot();
        host.await_engine();
        until("the sidecar of the returned host", RETURN_LIMIT, || {
            host.is_ready().then_some(())
        });
    });
    assert_eq!(cluster.leader(), Some(new), "the service moved without need");
    no_outage(&seen, &format!("{} is a standby again", cluster.hosts[old].name))
}

fn sidecar_ends(cluster: &mut Cluster) -> Figure {
    let old = cluster.await_leader();
    let seen = cluster.under_mail(|cluster| {
        succeed(&cluster.hosts[old], &["stop", SIDECAR]);
        assert_eq!(cluster.hosts[old].inspect(SIDECAR, "{{.State.ExitCode}}"), "0");
        // The kernel's proof came first, the engine's own view may follow.
        until("the service to be gone in the engine's view", ENGINE_VIEW, || {
            cluster.hosts[old].serving().is_empty().then_some(())
        });
    });
    let figure = figure(&seen, HAND_OVER_LIMIT, &moved(cluster, old));
    cluster.heal();
    figure
}

/// As `systemctl poweroff` does it: engine and etcd are told to end at once, the engine ends all containers beside one
/// another, and then the power goes. Nobody drained the host before.
fn host_shut_down(cluster: &mut Cluster) -> Figure {
    cluster.settle();
    let old = cluster.await_leader();
    let seen = cluster.under_mail(|cluster| {
        let host = &mut cluster.hosts[old];
        host.end_in_order();
        host.power_off();
    });
    let figure = figure(&seen, HAND_OVER_LIMIT, &moved(cluster, old));
    cluster.heal();
    figure
}

fn sidecar_killed(cluster: &mut Cluster) -> Figure {
    unfelt(cluster, |host| {
        let before = host.sidecar_pid();
        host.kill_sidecar();
        until("the engine to restart the sidecar", RETURN_LIMIT, || {
            (host.sidecar_pid().is_some() && host.sidecar_pid() != before).then_some(())
        });
    })
}

fn sidecar_upgraded(cluster: &mut Cluster) -> Figure {
    unfelt(cluster, |host| {
        let output = host.leasehold(&["hold", "60s"]);
        assert!(output.status.success(), "{}", words(&output));
        let before = host.inspect(SIDECAR, "{{.Id}}");
        succeed(host, &["compose", "up", "-d", "--force-recreate", "leasehold"]);
        assert_ne!(host.inspect(SIDECAR, "{{.Id}}"), before, "the sidecar was not replaced");
    })
}

/// Something that must leave container and run alone, also after the last promise of the old sidecar has run out.
fn unfelt(cluster: &mut Cluster, act: impl FnOnce(&Host)) -> Figure {
    cluster.settle();
    let leader = cluster.await_leader();
    let before = (cluster.hosts[leader].serving(), cluster.last_run());
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[leader];
        act(host);
        until("the new sidecar to lead", RETURN_LIMIT, || host.leads().then_some(()));
        let adopted = now();
        until("the old promise to run out", TTL * 3, || {
            (now() - adopted > TTL).then_some(())
        });
    });
    let after = (cluster.hosts[leader].serving(), cluster.last_run());
    assert_eq!(before.0, after.0, "another container");
    assert!(before.1.is(&after.1), "another run: {:?}, then {:?}", before.1, after.1);
    no_outage(
        &seen,
        &format!("{}: same container, run {}", cluster.hosts[leader].name, after.1.run),
    )
}

/// Nobody renews the lease: the tether must have stopped the service before another host starts it.
pub(crate) fn sidecar_frozen(cluster: &mut Cluster) -> Figure {
    let old = cluster.await_leader();
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[old];
        host.signal_sidecar(Signal::SIGSTOP);
        let others = || cluster.hosts.iter().filter(|other| other.name != host.name);
        until("another host to serve", RETURN_LIMIT, || {
            others().any(Host::leads).then_some(())
        });
        assert!(host.serving().is_empty(), "the service outlives its lease");
        host.signal_sidecar(Signal::SIGCONT);
        until("the thawed sidecar to be a standby", RETURN_LIMIT, || {
            host.is_ready().then_some(())
        });
    });
    figure(&seen, FAILOVER_LIMIT, &moved(cluster, old))
}

/// The engine dies alone and comes back, which ends its containers: the service may restart there or move.
fn engine_killed(cluster: &mut Cluster) -> Figure {
    let old = cluster.await_leader();
    let before = cluster.last_run();
    let seen = cluster.under_mail(|cluster| {
        let host = &mut cluster.hosts[old];
        host.restart_engine();
        host.await_engine();
        until("the service to settle", RETURN_LIMIT, || cluster.leader());
        cluster.heal();
    });
    figure(
        &seen,
        RETURN_LIMIT,
        &format!("run {} to {}", before.run, cluster.last_run().run),
    )
}

/// Restarted in place: a new run of the same epoch.
fn container_killed(cluster: &mut Cluster) -> Figure {
    let leader = cluster.await_leader();
    let before = cluster.last_run();
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[leader];
        let serving = host.serving();
        succeed(host, &["kill", &serving[0]]);
        until("another run", RETURN_LIMIT, || {
            (!cluster.last_run().is(&before)).then_some(())
        });
    });
    let after = cluster.last_run();
    assert_eq!(
        (before.epoch, &before.node),
        (after.epoch, &after.node),
        "not restarted in place"
    );
    figure(&seen, HAND_OVER_LIMIT, &format!("run {} to {}", before.run, after.run))
}

/// Nobody hears the active host any more, which it can't see on its interface.
fn cut_off(cluster: &mut Cluster) -> Figure {
    isolated(cluster, |cluster, host, connected| {
        cluster.lab.port(cluster.hosts[host].name, connected)
    })
}

fn cable_pulled(cluster: &mut Cluster) -> Figure {
    isolated(cluster, |cluster, host, connected| {
        cluster.lab.cable(cluster.hosts[host].name, connected)
    })
}

/// The active host lives on alone: it must have stopped by itself before another one starts.
fn isolated(cluster: &mut Cluster, connect: fn(&Cluster, usize, bool)) -> Figure {
    let old = cluster.await_leader();
    let seen = cluster.under_mail(|cluster| {
        connect(cluster, old, false);
        let name = cluster.hosts[old].name;
        let others = || cluster.hosts.iter().filter(|other| other.name != name);
        until("another host to serve", RETURN_LIMIT, || {
            others().any(Host::leads).then_some(())
        });
        assert!(
            cluster.hosts[old].serving().is_empty(),
            "the lonely host still runs the service"
        );
        connect(cluster, old, true);
        let host = &cluster.hosts[old];
        until("the lonely host to be a standby", RETURN_LIMIT, || {
            host.is_ready().then_some(())
        });
    });
    figure(&seen, FAILOVER_LIMIT, &moved(cluster, old))
}

fn etcd_leader_killed(cluster: &mut Cluster) -> Figure {
    let old = cluster.await_leader();
    cluster.lead_etcd(old);
    let seen = cluster.under_mail(|cluster| {
        assert_eq!(cluster.etcd_leader(), Some(old));
        cluster.hosts[old].power_off();
    });
    let figure = figure(&seen, FAILOVER_LIMIT, &moved(cluster, old));
    cluster.heal();
    figure
}

fn switchover(cluster: &mut Cluster) -> Figure {
    let (old, new) = (cluster.await_leader(), cluster.standby());
    let wanted = cluster.hosts[new].name;
    let seen = cluster.under_mail(|cluster| {
        // Who was away is refused at once, until it has been back for a ttl.
        let output = until("a switchover that is not refused", RETURN_LIMIT, || {
            let output = cluster.hosts[old].leasehold(&["switchover", "mail", "--to", wanted]);
            let early = !output.status.success() && words(&output).contains("in contact with etcd for less than a ttl");
            (!early).then_some(output)
        });
        assert!(output.status.success(), "{}", words(&output));
    });
    assert_eq!(cluster.leader(), Some(new), "not moved to {wanted}");
    figure(&seen, HAND_OVER_LIMIT, &moved(cluster, old))
}

/// There and back, measured on a host that has no part in it; refused while the group is on pause.
fn drill(cluster: &mut Cluster) -> Figure {
    cluster.settle();
    let (old, new) = (cluster.await_leader(), cluster.standby());
    let third = (0..cluster.hosts.len()).find(|host| ![old, new].contains(host));
    let third = third.expect("a third host");
    let (from, to) = (cluster.hosts[old].name, cluster.hosts[new].name);
    let before = cluster.last_run();
    let mut told = serde_json::Value::Null;
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[third];
        let output = host.leasehold(&["drill", "mail", "--to", to, "--yes", "--json"]);
        assert!(output.status.success(), "{}", words(&output));
        told = serde_json::from_slice(&output.stdout).expect("the figures");
    });
    assert_eq!(cluster.leader(), Some(old), "not moved back: {told}");
    assert_eq!(cluster.last_run().epoch, before.epoch + 2, "{told}");
    assert_eq!(
        (&told["there"]["to"], &told["back"]["to"]),
        (&to.into(), &from.into()),
        "{told}"
    );
    let ports = told["ports"].as_array().expect("the ports");
    assert_eq!(ports.len(), 3, "{told}");
    for ms in ports.iter().flat_map(|port| [&port["there_ms"], &port["back_ms"]]) {
        let ms = ms.as_u64().expect("an outage that ended");
        assert!(ms > 0 && u128::from(ms) < HAND_OVER_LIMIT.as_millis(), "{told}");
    }
    succeed_in(&cluster.hosts[third], &["pause", "mail", "--for", "1m"]);
    let output = cluster.hosts[third].leasehold(&["drill", "mail", "--yes"]);
    assert!(
        !output.status.success() && words(&output).contains("leasehold resume mail"),
        "{}",
        words(&output)
    );
    succeed_in(&cluster.hosts[third], &["resume", "mail"]);
    assert_eq!(
        cluster.last_run().epoch,
        before.epoch + 2,
        "moved although it was refused"
    );
    let shown = |way: &str| format!("{} ms", told["ports"][0][way]);
    let note = format!(
        "{from} to {to} and back: smtp {}, {}",
        shown("there_ms"),
        shown("back_ms")
    );
    figure(&seen, HAND_OVER_LIMIT, &note)
}

fn succeed_in(host: &Host, arguments: &[&str]) {
    let output = host.leasehold(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", words(&output));
}

/// After a power cut of everything the service comes back without anybody's help.
fn all_killed(cluster: &mut Cluster) -> Figure {
    let mut back = Duration::ZERO;
    let seen = cluster.under_mail(|cluster| {
        cluster.hosts.iter_mut().for_each(Host::power_off);
        let began = now();
        cluster.hosts.iter_mut().for_each(Host::boot);
        back = cluster.await_greeting() - began;
        cluster.hosts.iter().for_each(Host::await_engine);
        cluster.settle();
    });
    figure(
        &seen,
        RETURN_LIMIT,
        &format!("{:.1} s after power is back", back.as_secs_f64()),
    )
}

/// Who served before and who does now.
fn moved(cluster: &Cluster, old: usize) -> String {
    let new = cluster.await_leader();
    assert_ne!(old, new, "the service did not move");
    format!("{} to {}", cluster.hosts[old].name, cluster.hosts[new].name)
}

pub(crate) fn succeed(host: &Host, arguments: &[&str]) {
    let output = host.docker(arguments);
    assert!(
        output.status.success(),
        "{}: docker {arguments:?}: {}",
        host.name,
        words(&output)
    );
}
