//! Directed schedules: operators' acts that meet something, and what must come up again by itself.

use std::time::Duration;

use crate::directed::{check, cluster, saw, settled, starts, until_active};
use crate::events::Act;
use crate::host::{Life, MS};
use crate::mutants::Mutant;
use crate::world::World;
use leasehold_core::event::OrderKind;
use leasehold_core::protocol::records::RecordState;

const TTL: Duration = Duration::from_secs(20);

fn cut(world: &mut World, host: usize) {
    world.act(Act::Network {
        host,
        to: false,
        from: false,
    });
}

fn calls(world: &mut World, host: usize, latency: u64) {
    world.act(Act::Calls {
        host,
        lose: 0,
        lose_answer: 0,
        late: 0,
        duplicate: 0,
        latency,
    });
}

fn mail() -> String {
    "mail".to_owned()
}

fn replied(world: &World, host: usize) -> Option<Result<String, String>> {
    let of_host = world.replies.iter().filter(|(h, _)| *h == host);
    of_host.map(|(_, reply)| reply.clone()).next_back()
}

/// How long until the record of the group names the node as its holder, in ms.
fn until_taken(world: &mut World, group: &str, node: &str, limit_ms: u64) -> u64 {
    let from = world.now;
    let taken = |world: &World| {
        let record = world.record(group);
        record.is_some_and(|record| record.state == RecordState::Active && record.node == node)
    };
    while !taken(world) && world.now < from + limit_ms * MS && world.failure.is_none() {
        world.run_for(50);
    }
    check(
        world,
        taken(world),
        &format!("{node} has not taken {group} within {limit_ms} ms"),
    );
    (world.now - from) / MS
}

fn runs(world: &World, host: usize) -> bool {
    world.hosts[host].containers.values().any(|c| c.life != Life::Stopped)
}

/// A cluster of three in which c was away while the ttl grew to 20 s.
fn grown_without_c() -> World {
    let mut world = settled(3, 1);
    world.act(Act::KillSidecar(2));
    world.act(Act::ChangeTtl(1, TTL));
    world.run_for(18_000);
    world
}

#[test]
fn an_accept_by_who_knows_only_the_shorter_ttl_waits_for_the_longer() {
    let mut world = grown_without_c();
    world.act(Act::Snapshot);
    world.run_for(500);
    cut(&mut world, 0);
    world.act(Act::KillSidecar(1));
    world.act(Act::Restore { new_id: true });
    world.act(Act::DeleteNodeKey(0));
    world.act(Act::StartSidecar(2));
    world.run_for(300);
    world.act(Act::Accept(2));
    let took = until_taken(&mut world, "mail", "c", 40_000);
    check(&world, saw(&world, "T11") && took > 19_000, &format!("took {took} ms"));
}

#[test]
fn an_accept_waits_for_a_ttl_that_was_longer_before_the_snapshot() {
    let mut world = grown_without_c();
    cut(&mut world, 0);
    world.act(Act::ChangeTtl(1, Duration::from_secs(5)));
    world.run_for(2000);
    // a has not confirmed it: the longer one stands beside.
    world.act(Act::Snapshot);
    world.act(Act::KillSidecar(1));
    world.act(Act::Restore { new_id: true });
    world.act(Act::DeleteNodeKey(0));
    world.act(Act::StartSidecar(2));
    world.run_for(300);
    world.act(Act::Accept(2));
    let took = until_taken(&mut world, "mail", "c", 40_000);
    check(&world, saw(&world, "T11") && took > 19_000, &format!("took {took} ms"));
}

#[test]
fn an_accept_tells_those_of_the_longer_ttl_who_know_only_the_shorter() {
    let mut world = settled(3, 1);
    world.act(Act::KillSidecar(2));
    world.act(Act::Snapshot);
    world.act(Act::ChangeTtl(1, TTL));
    world.run_for(2000);
    cut(&mut world, 0);
    world.act(Act::Restore { new_id: true });
    world.act(Act::DeleteNodeKey(0));
    world.run_for(1500);
    world.act(Act::Accept(1));
    world.run_for(500);
    world.act(Act::KillSidecar(1));
    world.act(Act::StartSidecar(2));
    let took = until_taken(&mut world, "mail", "c", 40_000);
    check(&world, saw(&world, "T11") && took > 17_000, &format!("took {took} ms"));
}

#[test]
fn a_restored_etcd_with_a_shorter_ttl_ends_what_was_promised_more() {
    let mut world = settled(3, 1);
    world.act(Act::KillSidecar(2));
    world.act(Act::Snapshot);
    world.act(Act::ChangeTtl(1, TTL));
    world.run_for(2000);
    check(&world, runs(&world, 0), "it runs under the longer one");
    world.act(Act::Restore { new_id: false });
    // c finds nothing strange: it never saw a later revision.
    world.act(Act::KillSidecar(1));
    world.act(Act::StartSidecar(2));
    until_taken(&mut world, "mail", "c", 12_000);
    check(&world, !runs(&world, 0), "the holder has come in");
}

#[test]
fn an_accept_that_meets_a_hold_on_its_way_frees_nothing() {
    let mut world = settled(2, 1);
    calls(&mut world, 1, 200 * MS);
    world.run_for(1000);
    world.act(Act::Accept(1));
    world.run_for(20);
    world.act(Act::Hold(0, Duration::from_secs(60)));
    world.run_for(100);
    check(&world, matches!(replied(&world, 0), Some(Ok(_))), "held");
    cut(&mut world, 0);
    calls(&mut world, 1, 8 * MS);
    world.run_for(20_000);
    check(&world, world.active("mail") == [0], "it goes on");
    let told = replied(&world, 1).and_then(Result::err);
    check(
        &world,
        told.as_ref().is_some_and(|why| why.contains("under a hold")),
        &format!("told {told:?}"),
    );
}

#[test]
fn a_group_is_not_deleted_while_its_old_holder_may_run() {
    let mut world = settled(2, 1);
    cut(&mut world, 0);
    world.act(Act::Accept(1));
    for _ in 0..200 {
        world.run_for(50);
        world.act(Act::Order(1, OrderKind::Delete { group: mail() }));
        world.run_for(50);
        let deleted = world.etcd.keys.contains_key(&world.keys.deleted("mail"));
        if deleted {
            break;
        }
    }
    let deleted = world.etcd.keys.contains_key(&world.keys.deleted("mail"));
    check(
        &world,
        deleted || world.record("mail").is_some_and(|record| record.node == "b"),
        "in the end",
    );
    check(&world, !runs(&world, 0), "nothing of it runs any more");
}

/// A release that etcd refuses costs the other groups nothing, and is made up for.
#[test]
fn what_etcd_refuses_starves_no_beat() {
    let mut world = settled(2, 2);
    let before = starts(&world);
    world.etcd.denied.push(world.keys.record("web"));
    world.act(Act::Order(
        0,
        OrderKind::Stop {
            group: "web".to_owned(),
        },
    ));
    world.run_for(60_000);
    check(
        &world,
        world.active("mail") == [0] && starts(&world) == before && !saw(&world, "T4"),
        "mail goes on",
    );
    check(
        &world,
        world
            .alarms
            .iter()
            .any(|text| text.contains("etcd refuses the release of web")),
        "it is told",
    );
    world.etcd.denied.clear();
    world.run_for(61_000);
    let free = world
        .record("web")
        .is_some_and(|record| record.state == RecordState::Released);
    check(&world, free && starts(&world) == before, "released in the end");
}

/// What grows with the groups fits into what etcd takes: T4, then T11, then T10.
#[test]
fn seventy_groups_fit_into_what_etcd_takes() {
    let mut world = World::new(7, 2, 70, Mutant::None);
    world.log = Some(Vec::new());
    world.act(Act::StartSidecar(0));
    let all = |world: &World, host: usize| world.groups.iter().all(|group| world.active(group) == [host]);
    let until_all = |world: &mut World, host: usize, limit_ms: u64| {
        let from = world.now;
        while !all(world, host) && world.now < from + limit_ms * MS && world.failure.is_none() {
            world.run_for(100);
        }
        check(world, all(world, host), &format!("all on {host} within {limit_ms} ms"));
    };
    until_all(&mut world, 0, 20_000);
    world.act(Act::StartSidecar(1));
    world.run_for(8000);
    world.act(Act::PowerOff(0));
    until_all(&mut world, 1, 12_000);
    check(&world, saw(&world, "T4 frees a second group"), "T4");
    let left = |world: &World, host: usize| {
        let told = replied(world, host);
        let text = told.as_ref().and_then(|told| told.as_ref().ok());
        let said = text.is_some_and(|text| text.contains("did not fit"));
        check(world, said, &format!("{told:?}"));
    };
    world.act(Act::Accept(1));
    world.run_for(1000);
    left(&world, 1);
    until_all(&mut world, 1, 25_000);
    world.act(Act::PowerOn(0));
    world.run_for(12_000);
    world.act(Act::PowerOff(1));
    world.run_for(3600);
    world.act(Act::Fenced { host: 0, node: 1 });
    world.run_for(200);
    left(&world, 0);
    world.act(Act::Fenced { host: 0, node: 1 });
    until_all(&mut world, 0, 3000);
}

fn drained(hosts: usize) -> World {
    let mut world = settled(hosts, 1);
    if hosts > 1 {
        world.act(Act::KillSidecar(1));
        world.run_for(7000);
    }
    world.act(Act::Order(0, OrderKind::Drain { node: "a".to_owned() }));
    world.run_for(2000);
    check(&world, world.active("mail") == [0], "no standby is ready: it stays");
    world
}

#[test]
fn a_drained_node_takes_up_after_an_outage_what_it_kept() {
    let mut world = drained(1);
    world.act(Act::EtcdDown);
    world.run_for(8000);
    check(&world, !runs(&world, 0), "stopped");
    world.act(Act::EtcdUp);
    until_active(&mut world, "mail", Some(0), 8000);
    // The same when its place in the cluster went with its lease.
    world.act(Act::DeleteNodeKey(0));
    world.run_for(1000);
    until_active(&mut world, "mail", Some(0), 9000);
    check(
        &world,
        saw(&world, "T6") && saw(&world, "T8"),
        "by T6, then by T8 and T3",
    );
}

#[test]
fn a_drained_node_leaves_to_a_standby_what_it_kept() {
    let mut world = drained(2);
    world.act(Act::EtcdDown);
    world.run_for(8000);
    world.act(Act::StartSidecar(1));
    world.act(Act::EtcdUp);
    until_active(&mut world, "mail", Some(1), 16_000);
    world.act(Act::Term(1));
    world.run_for(30_000);
    check(
        &world,
        !runs(&world, 0),
        "it was handed over in order: it takes nothing",
    );
}

#[test]
fn an_ordered_stop_is_released_though_its_sidecar_crashed_in_the_middle() {
    for delay in [0, 5, 20, 60, 200] {
        let mut world = cluster(1, 1);
        until_active(&mut world, "mail", Some(0), 8000);
        world.run_for(2000);
        world.hosts[0].manners.die = 100 * MS;
        world.act(Act::Order(0, OrderKind::Stop { group: mail() }));
        let latched = |world: &World| {
            let saved = world.hosts[0].saved.as_ref();
            saved.is_some_and(|saved| saved.groups.values().any(|run| run.latched))
        };
        while !latched(&world) && world.failure.is_none() {
            world.run_for(1);
        }
        world.run_for(delay);
        world.act(Act::KillSidecar(0));
        world.run_for(100);
        world.act(Act::StartSidecar(0));
        world.run_for(10_000);
        let free = world
            .record("mail")
            .is_some_and(|record| record.state == RecordState::Released);
        check(&world, free && !runs(&world, 0), &format!("released, after {delay} ms"));
    }
}
