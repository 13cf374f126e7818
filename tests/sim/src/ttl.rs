//! Directed schedules: the cluster's ttl changes while everything runs.

use std::time::Duration;

use crate::directed::{check, cluster, settled, starts, until_active};
use crate::events::Act;
use crate::world::World;
use leasehold_core::protocol::records::RecordState;

fn ttl(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A running cluster whose ttl was made longer.
fn grown(hosts: usize) -> World {
    let mut world = settled(hosts, 1);
    world.act(Act::ChangeTtl(1, ttl(20)));
    // The longest ttl is one that nobody may have beaten with unseen: until contact has lasted for so long.
    world.run_for(18_000);
    check(&world, starts(&world) == 1, "nothing stopped for it");
    world
}

fn config(world: &World) -> String {
    let kv = world.etcd.keys.get(&world.keys.config());
    kv.map(|kv| kv.value.clone()).unwrap_or_default()
}

#[test]
fn a_ttl_that_grows_counts_for_the_beats_that_promise_it() {
    let mut world = grown(3);
    world.act(Act::PowerOff(0));
    // Each standby saw the last beat when it next read, up to a second later.
    let took = until_active(&mut world, "mail", None, 23_000);
    check(&world, took > 18_500, &format!("took {took} ms"));
}

#[test]
fn a_ttl_that_shrinks_makes_a_failover_quicker_once_the_holder_has_confirmed_it() {
    let mut world = grown(3);
    world.act(Act::ChangeTtl(2, ttl(5)));
    world.run_for(3000);
    check(
        &world,
        !config(&world).contains("longest"),
        "every node has confirmed it",
    );
    world.act(Act::PowerOff(0));
    let took = until_active(&mut world, "mail", Some(1), 9000);
    check(&world, took < 6600, &format!("took {took} ms"));
}

#[test]
fn a_holder_that_can_not_hear_of_a_shorter_ttl_is_waited_for_as_long_as_it_promised() {
    let mut world = grown(3);
    world.act(Act::Network {
        host: 0,
        to: false,
        from: false,
    });
    world.act(Act::ChangeTtl(1, ttl(5)));
    world.run_for(2000);
    check(
        &world,
        config(&world).contains("\"longest_ms\":20000"),
        "not confirmed by all",
    );
    // Its container ends a little before that, by its own tether.
    let mut served = 0;
    while world.active("mail") == [0] && world.failure.is_none() {
        world.run_for(10);
        served += 10;
    }
    let took = served + until_active(&mut world, "mail", None, 5000);
    check(
        &world,
        served > 14_000 && took > 16_500,
        &format!("served {served} ms, took {took} ms"),
    );
    world.run_for(2000);
    check(
        &world,
        !config(&world).contains("longest"),
        "its key went with its group",
    );
}

#[test]
fn an_observer_that_saw_neither_the_holder_nor_the_longer_ttl_waits_for_it() {
    let mut world = cluster(2, 1);
    world.act(Act::KillSidecar(1));
    world.hosts[1].pin = None;
    until_active(&mut world, "mail", Some(0), 8000);
    world.act(Act::ChangeTtl(0, ttl(20)));
    world.run_for(2000);
    // The holder asks for the shorter one, and dies before it beats with it; then a hand deletes its key.
    world.act(Act::ChangeTtl(0, ttl(5)));
    for _ in 0..1000 {
        if config(&world).contains("longest") {
            break;
        }
        world.run_for(1);
    }
    world.act(Act::KillSidecar(0));
    world.act(Act::DeleteNodeKey(0));
    world.act(Act::StartSidecar(1));
    let took = until_active(&mut world, "mail", Some(1), 30_000);
    check(&world, took > 19_000, &format!("took {took} ms"));
}

#[test]
fn an_observer_that_saw_the_holder_beat_with_the_shorter_ttl_alone_waits_for_the_longer() {
    let mut world = settled(2, 1);
    world.act(Act::StopSignal(1));
    world.act(Act::ChangeTtl(0, ttl(20)));
    world.run_for(1200);
    world.act(Act::KillSidecar(0));
    world.act(Act::DeleteNodeKey(0));
    world.act(Act::ContinueSignal(1));
    let took = until_active(&mut world, "mail", Some(1), 30_000);
    check(&world, took > 18_500, &format!("took {took} ms"));
}

#[test]
fn a_restored_etcd_that_knows_only_the_shorter_ttl_is_accepted_with_the_longer_wait() {
    let mut world = settled(2, 1);
    world.act(Act::Snapshot);
    world.act(Act::ChangeTtl(1, ttl(20)));
    world.run_for(2000);
    world.act(Act::Network {
        host: 0,
        to: false,
        from: false,
    });
    world.act(Act::KillSidecar(1));
    world.act(Act::Restore { new_id: false });
    world.act(Act::StartSidecar(1));
    world.run_for(300);
    world.act(Act::Accept(1));
    // Not even its record is taken before, although the claim on the storage would hold the service back.
    let taken = |world: &World| {
        world
            .record("mail")
            .is_some_and(|record| record.state == RecordState::Active && record.node == "b")
    };
    let mut took = 0;
    while !taken(&world) && took < 40_000 {
        world.run_for(100);
        took += 100;
    }
    check(&world, taken(&world) && took > 19_000, &format!("took {took} ms"));
    until_active(&mut world, "mail", Some(1), 5000);
}

#[test]
fn of_two_operators_one_wins_and_a_ttl_that_does_not_fit_is_refused() {
    let mut world = settled(2, 1);
    world.act(Act::ChangeTtl(0, ttl(8)));
    world.act(Act::ChangeTtl(1, ttl(9)));
    world.run_for(1000);
    let good = world.replies.iter().filter(|(_, reply)| reply.is_ok()).count();
    check(&world, good == 1, "one winner");
    world.act(Act::ChangeTtl(1, ttl(3)));
    world.run_for(1000);
    let last = world.replies.last().and_then(|(_, reply)| reply.clone().err());
    let told = last.is_some_and(|why| why.contains("5000 ms"));
    check(
        &world,
        told && starts(&world) == 1,
        "the remedy is told, and nothing changed",
    );
}
