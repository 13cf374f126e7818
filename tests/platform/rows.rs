//! The rows: what happens to hosts that are run by systemd, each told in its own way; each leaves the cluster whole.

use std::time::Duration;

use crate::cluster::{Cluster, Seen};
use crate::host::{Form, Host};
use crate::row::Figure;
use crate::scenarios::{FAILOVER_LIMIT, HAND_OVER_LIMIT, NO_OUTAGE, RETURN_LIMIT, TTL};
use crate::shell::{now, until};
use crate::uninstall::uninstall;

pub(crate) type Body = fn(&mut Cluster) -> Figure;

pub(crate) const ROWS: [(&str, Body); 16] = [
    ("first start, by the comments of compose/node", first_start),
    ("systemctl reboot of the holder, a unit", reboot_unit),
    ("same, its sidecar in a container", reboot_container),
    ("the holder loses power", power_loss),
    ("all hosts lose power", power_loss_of_all),
    ("kill -9 of the sidecar, a unit", kill_unit),
    ("same, in a container", kill_container),
    ("kill -9 of the tether", kill_tether),
    ("systemctl stop leasehold", stop_unit),
    ("systemctl restart docker", restart_engine),
    (
        "same with its socket, live-restore, in a container",
        restart_engine_live,
    ),
    ("engine and containerd away for 7 s, as in an upgrade", upgrade_engine),
    ("same, with live-restore", upgrade_engine_live),
    ("engine dead, sidecar and tether killed", engine_dead),
    ("journald and systemctl status tell it", told),
    ("uninstall", uninstall),
];
/// An upgrade of the engine's packages, as long as it takes on a slow disk.
const UPGRADE: Duration = Duration::from_secs(7);

/// The sidecars as the comments start them, then the storage is prepared once.
fn first_start(cluster: &mut Cluster) -> Figure {
    let began = now();
    let typed: Vec<Vec<String>> = cluster.hosts.iter().map(Host::rest_of_comments).collect();
    for round in 0..typed[0].len() {
        // By three people at the same time: each check waits for a name server that is not there.
        let beside = cluster.hosts.iter().zip(&typed);
        let beside: Vec<_> = beside.map(|(host, lines)| (host, host.begin(&lines[round]))).collect();
        beside.into_iter().for_each(|(host, begun)| host.finish(begun));
    }
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
    cluster.hosts.iter().for_each(Host::verify_platform);
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

fn reboot_container(cluster: &mut Cluster) -> Figure {
    reboot(cluster, Form::Container)
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

/// What must leave container and run alone, also after the last promise from before has run out.
fn unfelt(cluster: &mut Cluster, form: Form, act: impl FnOnce(&Host)) -> Figure {
    let leader = lead_with(cluster, form);
    let before = (cluster.hosts[leader].serving(), cluster.last_run());
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[leader];
        act(host);
        until("the sidecar to lead", RETURN_LIMIT, || host.leads().then_some(()));
        let adopted = now();
        until("the old promise to run out", TTL * 3, || {
            (now() - adopted > TTL).then_some(())
        });
    });
    let after = (cluster.hosts[leader].serving(), cluster.last_run());
    assert_eq!(before.0, after.0, "another container");
    assert!(before.1.is(&after.1), "another run: {:?}, then {:?}", before.1, after.1);
    let note = format!("{}: same container, run {}", cluster.hosts[leader].name, after.1.run);
    figure(&seen, NO_OUTAGE, &note)
}

fn kill_unit(cluster: &mut Cluster) -> Figure {
    unfelt(cluster, Form::Unit, kill_sidecar)
}

fn kill_container(cluster: &mut Cluster) -> Figure {
    unfelt(cluster, Form::Container, kill_sidecar)
}

/// SIGKILL, and whoever keeps it has started it anew.
fn kill_sidecar(host: &Host) {
    let before = host.sidecar_pid();
    host.inside(&format!("kill -9 {before}"));
    until("a new sidecar", RETURN_LIMIT, || {
        let pid = host.sidecar_pid();
        (pid != before && pid != "0").then_some(())
    });
}

/// Restarted in place: a new run of the same epoch.
fn kill_tether(cluster: &mut Cluster) -> Figure {
    cluster.settle();
    let leader = cluster.await_leader();
    let before = cluster.last_run();
    let seen = cluster.under_mail(|cluster| {
        cluster.hosts[leader].kill_tether();
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
    figure(&seen, HAND_OVER_LIMIT, &runs(&before.run, &after.run))
}

fn stop_unit(cluster: &mut Cluster) -> Figure {
    let old = lead_with(cluster, Form::Unit);
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[old];
        let tether = host.tether_pid();
        // In one line: the engine takes its time to learn of an end, and a zombie runs nothing any more.
        host.inside(&format!(
            "systemctl stop leasehold; ! grep -qs '^State:[[:space:]]*[^ZX]' /proc/{tether}/status"
        ));
        assert_eq!(host.inside("systemctl show -P Result leasehold"), "success");
        until("the engine to see its end", RETURN_LIMIT, || {
            host.serving().is_empty().then_some(())
        });
    });
    let note = moved(cluster, old);
    cluster.heal();
    figure(&seen, HAND_OVER_LIMIT, &note)
}

fn restart_engine(cluster: &mut Cluster) -> Figure {
    engine_away(cluster, "systemctl restart docker")
}

/// The packages' scripts end both services and start them again.
fn upgrade_engine(cluster: &mut Cluster) -> Figure {
    engine_away(cluster, &upgrade())
}

fn upgrade() -> String {
    format!(
        "systemctl stop docker.socket docker containerd; sleep {}; systemctl start containerd docker.socket docker",
        UPGRADE.as_secs()
    )
}

/// The engine ends its containers, so the service starts again, there or elsewhere; nobody helps.
fn engine_away(cluster: &mut Cluster, line: &str) -> Figure {
    let old = lead_with(cluster, Form::Unit);
    let before = cluster.last_run();
    let sidecar = cluster.hosts[old].sidecar_pid();
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[old];
        host.inside(line);
        cluster.await_greeting();
        cluster.settle();
        assert_eq!(host.sidecar_pid(), sidecar, "the engine took the sidecar along");
    });
    let after = cluster.last_run();
    let note = format!("{} on {} to {} on {}", before.run, before.node, after.run, after.node);
    figure(&seen, RETURN_LIMIT, &note)
}

/// The socket is another one afterwards, and a sidecar that lives on in its container finds it.
fn restart_engine_live(cluster: &mut Cluster) -> Figure {
    let figure = with_live_restore(cluster, Form::Container, "systemctl restart docker.socket docker");
    let leader = &cluster.hosts[cluster.await_leader()];
    let status = leader.status().expect("a sidecar that answers");
    assert_eq!(status.engine_failure, None, "{}", leader.name);
    figure
}

fn upgrade_engine_live(cluster: &mut Cluster) -> Figure {
    with_live_restore(cluster, Form::Unit, &upgrade())
}

/// The containers live on without their engine.
fn with_live_restore(cluster: &mut Cluster, form: Form, line: &str) -> Figure {
    cluster.hosts.iter().for_each(|host| host.set_live_restore(true));
    let figure = unfelt(cluster, form, |host| {
        host.inside(line);
    });
    cluster.hosts.iter().for_each(|host| host.set_live_restore(false));
    figure
}

/// Nobody who saw the service is left on the holder, and no engine that could be asked. A new sidecar learns from the
/// cgroups that it has ended, and lets another host have it.
fn engine_dead(cluster: &mut Cluster) -> Figure {
    let old = lead_with(cluster, Form::Unit);
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[old];
        let (sidecar, tether) = (host.sidecar_pid(), host.tether_pid());
        host.inside(&format!(
            "systemctl mask --runtime docker.socket docker containerd; \
             kill -9 {sidecar} $(pidof dockerd) $(pidof containerd) {tether}"
        ));
        until("another host to serve", RETURN_LIMIT, || {
            cluster.leader().filter(|leader| *leader != old)
        });
        host.inside("! docker version");
    });
    let note = moved(cluster, old);
    cluster.heal();
    figure(&seen, RETURN_LIMIT, &note)
}

/// What the sidecar says stands in the journal under its unit, and how it stands in the state of the unit.
fn told(cluster: &mut Cluster) -> Figure {
    let old = lead_with(cluster, Form::Unit);
    let seen = cluster.under_mail(|cluster| {
        let host = &cluster.hosts[old];
        let run = cluster.last_run().run;
        let journal = host.inside("journalctl -b -u leasehold -o cat --no-pager");
        assert!(journal.contains(&format!("run {run} is up: serving")), "{journal}");
        let status = host.inside("systemctl show -P StatusText leasehold");
        assert_eq!(status, format!("joined; mail: active on {}", host.name));
    });
    figure(
        &seen,
        NO_OUTAGE,
        "the run in the journal, the holder in the unit's state",
    )
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

fn runs(before: &str, after: &str) -> String {
    format!("run {before} to {after}")
}
