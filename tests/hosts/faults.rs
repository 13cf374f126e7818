//! The table of faults. Each is inflicted alone on a healthy cluster under mail, then healed; what must be true
//! afterwards is the same for all and stands in [`crate::row`] and [`Cluster::observe`].

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::by_hand;
use crate::cluster::Cluster;
use crate::freezer;
use crate::host::{Host, SIDECAR};
use crate::machine;
use crate::parts::{Part, signal};
use crate::row::{Fault, Place, Then, nothing};
use crate::scenarios::{FAILOVER_LIMIT, HAND_OVER_LIMIT, RETURN_LIMIT, TTL, succeed};
use crate::shell::until;

/// No fault of a part that is not in the way of the service is felt, however long it lasts: longer than a promise.
const LONG: Duration = Duration::from_secs(12);
const SHORT: Duration = Duration::from_secs(6);
/// After a fault of everybody has ended: contact for a ttl, and the start.
const RECOVERY: Duration = Duration::from_secs(20);
/// The grace of the compose file, the kill, the start.
const STUBBORN: Duration = Duration::from_secs(16);
/// Where hosts were restarted to heal it.
const RESTART: Duration = Duration::from_secs(45);
/// The grace for a link that flaps, the stop and the start.
const LINK_LIMIT: Duration = Duration::from_secs(9);
const NOT_AT_ALL: Duration = Duration::ZERO;

const PLAIN: Fault = Fault {
    name: "",
    place: Place::Leader,
    inflict: nothing,
    heal: nothing,
    lasts: SHORT,
    then: Then::Unfelt,
    thaw: false,
    two_owners: NOT_AT_ALL,
    mixes: true,
};

/// Those that `./test` runs too.
pub(crate) const SHORT_FAULTS: &[Fault] = &[
    Fault {
        name: "tether killed",
        inflict: |cluster, host| cluster.hosts[host].kill_part(Part::Tether),
        lasts: Duration::from_secs(3),
        then: Then::Returns(HAND_OVER_LIMIT),
        ..PLAIN
    },
    Fault {
        name: "container and sidecar frozen, thawed late",
        inflict: |cluster, host| {
            stop(cluster, host, Part::Sidecar);
            cluster.broken.frozen_tether = Some(cluster.hosts[host].pid(Part::Tether));
            freeze_container(cluster, host);
        },
        lasts: NOT_AT_ALL,
        then: Then::Moves(FAILOVER_LIMIT),
        thaw: true,
        ..PLAIN
    },
    Fault {
        name: "host frozen, thawed after take-over",
        inflict: freeze_host,
        lasts: NOT_AT_ALL,
        then: Then::Moves(FAILOVER_LIMIT),
        thaw: true,
        ..PLAIN
    },
    Fault {
        name: "engine and containerd frozen",
        inflict: |cluster, host| {
            stop(cluster, host, Part::Containerd);
            stop(cluster, host, Part::Engine);
        },
        ..PLAIN
    },
    Fault {
        name: "link cut one way: host is deaf",
        inflict: |cluster, host| cluster.lab.deafen(cluster.hosts[host].name),
        lasts: NOT_AT_ALL,
        then: Then::Moves(FAILOVER_LIMIT),
        ..PLAIN
    },
    Fault {
        name: "cable of the clients pulled",
        inflict: |cluster, host| {
            cluster.lab.lay_second_network(&numbered(cluster));
            until("the hosts to have met there", TTL * 2, || cluster.leader());
            cluster.lab.cable(cluster.hosts[host].name, false);
        },
        heal: |cluster, _| cluster.lab.remove_second_network(&numbered(cluster)),
        lasts: NOT_AT_ALL,
        then: Then::Moves(LINK_LIMIT),
        mixes: false,
        ..PLAIN
    },
    Fault {
        name: "link cut one way: host is mute",
        inflict: |cluster, host| cluster.lab.mute(cluster.hosts[host].name),
        lasts: NOT_AT_ALL,
        then: Then::Moves(FAILOVER_LIMIT),
        ..PLAIN
    },
    Fault {
        name: "etcd leader frozen 3 s",
        place: Place::LeaderOfBoth,
        inflict: |cluster, host| stop(cluster, host, Part::Etcd),
        lasts: Duration::from_secs(3),
        ..PLAIN
    },
    Fault {
        name: "etcd quorum lost for 12 s",
        inflict: lose_quorum,
        lasts: LONG,
        then: Then::Waits(RECOVERY),
        ..PLAIN
    },
    Fault {
        name: "etcd restored, accepted by hand",
        inflict: restore_etcd,
        heal: by_hand::accept,
        lasts: LONG,
        then: Then::Waits(RECOVERY),
        mixes: false,
        ..PLAIN
    },
    Fault {
        name: "leader key deleted by hand",
        inflict: |cluster, _| by_hand::delete(cluster, "groups/mail/leader"),
        ..PLAIN
    },
    Fault {
        name: "keys in etcd written over with nonsense",
        inflict: by_hand::spoil_keys,
        mixes: false,
        ..PLAIN
    },
    Fault {
        name: "VIP removed by hand",
        inflict: by_hand::remove_vip,
        lasts: Duration::from_secs(3),
        then: Then::Returns(HAND_OVER_LIMIT),
        ..PLAIN
    },
    Fault {
        name: "storage of the leader hangs (FUSE)",
        inflict: hang_view,
        lasts: Duration::from_secs(20),
        then: Then::Waits(RECOVERY),
        mixes: false,
        ..PLAIN
    },
];

/// Those that only `./test faults` runs.
pub(crate) const LONG_FAULTS: &[Fault] = &[
    Fault {
        name: "tether frozen",
        inflict: |cluster, host| stop(cluster, host, Part::Tether),
        lasts: LONG,
        mixes: false,
        ..PLAIN
    },
    Fault {
        name: "tether frozen, then host cut off",
        inflict: |cluster, host| {
            stop(cluster, host, Part::Tether);
            cluster.lab.port(cluster.hosts[host].name, false);
        },
        lasts: NOT_AT_ALL,
        then: Then::Moves(FAILOVER_LIMIT),
        ..PLAIN
    },
    Fault {
        name: "container frozen, thawed after 20 s",
        inflict: freeze_container,
        lasts: Duration::from_secs(20),
        then: Then::Waits(RECOVERY),
        ..PLAIN
    },
    Fault {
        name: "engine killed, back after 12 s",
        inflict: |cluster, host| cluster.hosts[host].kill_engine(),
        lasts: LONG,
        then: Then::Waits(RECOVERY),
        ..PLAIN
    },
    Fault {
        name: "engine frozen 12 s",
        inflict: |cluster, host| stop(cluster, host, Part::Engine),
        lasts: LONG,
        ..PLAIN
    },
    Fault {
        name: "containerd killed",
        inflict: |cluster, host| cluster.hosts[host].kill_part(Part::Containerd),
        lasts: LONG,
        then: Then::Returns(RECOVERY),
        ..PLAIN
    },
    Fault {
        name: "containerd frozen 12 s",
        inflict: |cluster, host| stop(cluster, host, Part::Containerd),
        lasts: LONG,
        ..PLAIN
    },
    Fault {
        name: "engine restarted orderly",
        inflict: |cluster, host| cluster.hosts[host].restart_engine_orderly(),
        lasts: SHORT,
        then: Then::Returns(RECOVERY),
        ..PLAIN
    },
    Fault {
        name: "engine restarted, live-restore",
        inflict: |cluster, host| live_restore(cluster, host, Host::restart_engine_orderly),
        heal: |cluster, host| cluster.hosts[host].set_live_restore(false),
        lasts: SHORT,
        mixes: false,
        ..PLAIN
    },
    Fault {
        name: "engine of a standby killed, live-restore",
        place: Place::Standby,
        inflict: |cluster, host| {
            let before = cluster.hosts[host].sidecar_pid();
            live_restore(cluster, host, Host::restart_engine);
            // Its socket is another file now, and nobody touches the sidecar's container.
            let host = &cluster.hosts[host];
            until("the sidecar to be there anew, and ready", RETURN_LIMIT, || {
                (host.sidecar_pid().is_some_and(|pid| Some(pid) != before) && host.is_ready()).then_some(())
            });
        },
        heal: |cluster, host| cluster.hosts[host].set_live_restore(false),
        lasts: NOT_AT_ALL,
        mixes: false,
        ..PLAIN
    },
    Fault {
        name: "engine killed, live-restore",
        inflict: |cluster, host| live_restore(cluster, host, Host::restart_engine),
        heal: |cluster, host| cluster.hosts[host].set_live_restore(false),
        lasts: SHORT,
        mixes: false,
        ..PLAIN
    },
    Fault {
        name: "host killed beside a frozen one",
        inflict: |cluster, host| {
            let frozen = cluster
                .hosts
                .iter()
                .position(|other| other.name != cluster.hosts[host].name);
            let frozen = frozen.expect("another host");
            freeze_host(cluster, frozen);
            cluster.broken.frozen_tether = None;
            cluster.hosts[host].power_off();
        },
        lasts: LONG,
        then: Then::Waits(RECOVERY),
        mixes: false,
        ..PLAIN
    },
    Fault {
        name: "etcd leader killed",
        place: Place::EtcdLeader,
        inflict: |cluster, host| cluster.hosts[host].kill_etcd(),
        lasts: SHORT,
        ..PLAIN
    },
    Fault {
        name: "etcd leader killed on the leader",
        place: Place::LeaderOfBoth,
        inflict: |cluster, host| cluster.hosts[host].kill_etcd(),
        lasts: SHORT,
        ..PLAIN
    },
    Fault {
        name: "etcd leader frozen 1 s",
        place: Place::LeaderOfBoth,
        inflict: |cluster, host| stop(cluster, host, Part::Etcd),
        lasts: Duration::from_secs(1),
        ..PLAIN
    },
    Fault {
        name: "etcd leader frozen 8 s",
        place: Place::EtcdLeader,
        inflict: |cluster, host| stop(cluster, host, Part::Etcd),
        lasts: Duration::from_secs(8),
        ..PLAIN
    },
    Fault {
        name: "etcd leader frozen 20 s",
        place: Place::LeaderOfBoth,
        inflict: |cluster, host| stop(cluster, host, Part::Etcd),
        lasts: Duration::from_secs(20),
        ..PLAIN
    },
    Fault {
        name: "all etcd members frozen 1 s",
        inflict: |cluster, _| (0..3).for_each(|host| stop(cluster, host, Part::Etcd)),
        lasts: Duration::from_secs(1),
        ..PLAIN
    },
    Fault {
        name: "all etcd members frozen 20 s",
        inflict: |cluster, _| (0..3).for_each(|host| stop(cluster, host, Part::Etcd)),
        lasts: Duration::from_secs(20),
        then: Then::Waits(RECOVERY),
        ..PLAIN
    },
    Fault {
        name: "all etcd members killed and restarted",
        inflict: |cluster, _| {
            cluster.hosts.iter_mut().for_each(Host::kill_etcd);
            cluster.hosts.iter_mut().for_each(Host::start_etcd);
        },
        lasts: SHORT,
        then: Then::Returns(RECOVERY),
        ..PLAIN
    },
    Fault {
        name: "etcd member restored with old data",
        place: Place::Standby,
        inflict: age_member,
        lasts: LONG,
        mixes: false,
        ..PLAIN
    },
    Fault {
        name: "container ignores SIGTERM, switchover",
        inflict: |cluster, host| {
            let service = cluster.hosts[host].service_pid();
            signal(service, Signal::SIGSTOP);
            by_hand::switch_over(cluster, host);
        },
        lasts: NOT_AT_ALL,
        then: Then::Moves(STUBBORN),
        ..PLAIN
    },
    Fault {
        name: "restart policy changed, leader's container killed",
        inflict: |cluster, host| {
            let serving = by_hand::change_restart_policy(cluster, host);
            succeed(&cluster.hosts[host], &["kill", &serving]);
        },
        heal: by_hand::restore_restart_policy,
        lasts: SHORT,
        then: Then::Returns(RECOVERY),
        ..PLAIN
    },
    Fault {
        name: "restart policy changed, standby's engine restarted",
        place: Place::Standby,
        inflict: |cluster, host| {
            by_hand::change_restart_policy(cluster, host);
            let host = &mut cluster.hosts[host];
            host.restart_engine();
            host.await_engine();
            until("the gate to close", TTL, || host.serving().is_empty().then_some(()));
        },
        heal: by_hand::restore_restart_policy,
        mixes: false,
        ..PLAIN
    },
    Fault {
        name: "node key of the leader deleted by hand",
        inflict: |cluster, host| {
            let key = format!("nodes/{}", cluster.hosts[host].name);
            by_hand::delete(cluster, &key);
        },
        lasts: SHORT,
        then: Then::Returns(Duration::from_secs(12)),
        ..PLAIN
    },
    Fault {
        name: "node key of a standby deleted by hand",
        place: Place::Standby,
        inflict: |cluster, host| {
            let key = format!("nodes/{}", cluster.hosts[host].name);
            by_hand::delete(cluster, &key);
        },
        ..PLAIN
    },
    Fault {
        name: "VIP added to a standby by hand",
        place: Place::Standby,
        inflict: by_hand::add_vip,
        then: Then::Returns(HAND_OVER_LIMIT),
        // Until somebody has read what the sidecar said and acted.
        two_owners: Duration::from_secs(5),
        mixes: false,
        ..PLAIN
    },
    Fault {
        name: "storage of everybody hangs",
        inflict: |cluster, _| cluster.lab.storage.hang(),
        lasts: Duration::from_secs(20),
        then: Then::Waits(RECOVERY),
        ..PLAIN
    },
    Fault {
        name: "storage full",
        inflict: |cluster, _| cluster.lab.storage.fill(),
        lasts: Duration::from_secs(20),
        then: Then::Waits(RECOVERY),
        ..PLAIN
    },
    Fault {
        name: "storage read-only",
        inflict: |cluster, _| cluster.lab.storage.fail(),
        lasts: Duration::from_secs(20),
        then: Then::Waits(RESTART),
        mixes: false,
        ..PLAIN
    },
    Fault {
        name: "processor starved 20 s",
        inflict: machine::starve,
        lasts: Duration::from_secs(20),
        then: Then::Returns(RECOVERY),
        mixes: false,
        ..PLAIN
    },
    Fault {
        name: "wall clock an hour ahead for 3 s",
        inflict: |_, _| machine::step_clock(3600),
        lasts: SHORT,
        mixes: false,
        ..PLAIN
    },
    Fault {
        name: "wall clock an hour back for 3 s",
        inflict: |_, _| machine::step_clock(-3600),
        lasts: SHORT,
        mixes: false,
        ..PLAIN
    },
    // Faults that the mixture draws as well; the stories of the first scenarios tell more of them.
    Fault {
        name: "sidecar killed by a person",
        inflict: |cluster, host| succeed(&cluster.hosts[host], &["kill", SIDECAR]),
        lasts: NOT_AT_ALL,
        then: Then::Moves(FAILOVER_LIMIT),
        ..PLAIN
    },
    Fault {
        name: "host killed and back",
        inflict: |cluster, host| cluster.hosts[host].power_off(),
        lasts: NOT_AT_ALL,
        then: Then::Moves(FAILOVER_LIMIT),
        ..PLAIN
    },
];

fn numbered(cluster: &Cluster) -> Vec<(&'static str, u8)> {
    cluster.hosts.iter().map(|host| (host.name, host.number)).collect()
}

/// Frozen in the sense of SIGSTOP.
fn stop(cluster: &mut Cluster, host: usize, part: Part) {
    let pid = cluster.hosts[host].pid(part);
    signal(pid, Signal::SIGSTOP);
    cluster.broken.stopped.push(pid);
    cluster.hosts[host].frozen |= matches!(part, Part::Sidecar);
}

fn freeze_container(cluster: &mut Cluster, host: usize) {
    let group = cluster.hosts[host].container_group();
    freezer::freeze(&group);
}

/// Sidecar, tether and service, engine, containerd and etcd: between two instructions, all at once.
pub(crate) fn freeze_host(cluster: &mut Cluster, host: usize) {
    let it = &mut cluster.hosts[host];
    cluster.broken.frozen_tether = (!it.serving().is_empty()).then(|| it.pid(Part::Tether));
    it.frozen = true;
    freezer::freeze(&it.whole_group());
}

/// Of the two hosts that don't serve.
fn lose_quorum(cluster: &mut Cluster, leader: usize) {
    for (place, host) in cluster.hosts.iter_mut().enumerate() {
        if place != leader {
            host.kill_etcd();
        }
    }
}

/// Back to what etcd held before the service moved.
fn restore_etcd(cluster: &mut Cluster, leader: usize) {
    let saved = cluster.save_etcd();
    by_hand::switch_over(cluster, leader);
    crate::row::await_another(cluster, &cluster.hosts[leader]);
    cluster.restore_all_etcd(&saved);
}

/// One member gets the data that it had some seconds before.
fn age_member(cluster: &mut Cluster, place: usize) {
    let data = cluster.hosts[place].etcd_data();
    let old = data.with_extension("old");
    let (data, old) = (data.display(), old.display());
    cluster.hosts[place].kill_etcd();
    crate::shell::sh(&format!("rm -rf {old}; cp -a {data} {old}"));
    cluster.hosts[place].start_etcd();
    let began = crate::shell::now();
    until("some history", TTL * 3, || {
        (crate::shell::now() - began > TTL).then_some(())
    });
    cluster.hosts[place].kill_etcd();
    crate::shell::sh(&format!("rm -rf {data}; mv {old} {data}"));
    cluster.hosts[place].start_etcd();
}

/// The service comes to a host that sees the storage through a process of its own; then that process stops.
fn hang_view(cluster: &mut Cluster, leader: usize) {
    let place = cluster.standby();
    let host = &mut cluster.hosts[place];
    let bindfs = host.command(std::path::Path::new("bindfs"));
    host.fuse = Some(host.lab.storage.show_through(host.name, bindfs));
    let wanted = host.name;
    by_hand::switch_over_to(cluster, leader, wanted);
    until("the service on the view", TTL * 2, || {
        (cluster.leader() == Some(place)).then_some(())
    });
    cluster.await_greeting();
    let tether = cluster.hosts[place].pid(Part::Tether);
    let mounts = std::fs::read_to_string(format!("/proc/{tether}/mounts")).expect("the container's mounts");
    assert!(mounts.contains("fuse"), "the container does not see the view: {mounts}");
    cluster.hosts[place]
        .fuse
        .iter()
        .for_each(|fuse| crate::storage::signal(fuse, Signal::SIGSTOP));
}

/// Restarts the engine so that its containers live on, and waits until it has them again.
fn live_restore(cluster: &mut Cluster, host: usize, restart: fn(&mut Host)) {
    let host = &mut cluster.hosts[host];
    host.set_live_restore(true);
    restart(host);
    host.await_engine();
}
