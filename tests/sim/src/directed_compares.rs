//! Directed schedules for what a transaction compares and a node waits for, where something else hides its lack in the
//! random ones: each does by hand, in the one moment that counts, what a restored copy or a tool would do.

use std::cmp::Reverse;
use std::time::Duration;

use leasehold_core::event::OrderKind;
use leasehold_core::protocol::policy::{Change, Setting, Wanted};
use leasehold_core::protocol::records::{Record, RecordState};
use leasehold_core::store::{Op, Txn};

use crate::directed::{check, cluster, saw, settled, until_active};
use crate::events::{Act, Call, Ev};
use crate::world::World;

/// Runs until such a transaction of the host is on its way.
pub(crate) fn until_sent(world: &mut World, by: usize, limit_ms: u64, which: impl Fn(&World, &Txn) -> bool) {
    for _ in 0..limit_ms {
        let on_its_way = world.queue.iter().any(|Reverse(entry)| {
            let Ev::ToEtcd {
                host,
                call: Call::Txn(_, txn),
                ..
            } = &*entry.ev
            else {
                return false;
            };
            *host == by && which(world, txn)
        });
        if on_its_way {
            return;
        }
        world.run_for(1);
    }
    check(world, false, "no such transaction was sent");
}

fn wins(world: &World, txn: &Txn) -> bool {
    let record = world.keys.record("mail");
    txn.then.iter().any(|op| match op {
        Op::Put { key, value, .. } => {
            let parsed = serde_json::from_str::<Record>(value);
            *key == record && parsed.is_ok_and(|record| record.state == RecordState::Active)
        }
        Op::Delete { .. } | Op::DeletePrefix { .. } => false,
    })
}

/// A key that was deleted by hand comes back, by the same hand, while its taker's transaction is on its way.
#[test]
fn a_key_that_is_back_keeps_its_record() {
    let mut world = settled(2, 1);
    world.act(Act::Network {
        host: 0,
        to: false,
        from: false,
    });
    let key = world.keys.node("a");
    let kept = world.etcd.keys.get(&key).cloned();
    world.act(Act::DeleteNodeKey(0));
    until_sent(&mut world, 1, 9000, wins);
    if let Some(kv) = kept {
        let revision = world.etcd.revision + 1;
        let change = world.etcd.put(&key, &kv.value, kv.lease, revision);
        world.etcd.revision = revision;
        world.changed(None, &[change]);
    }
    world.run_for(100);
    let holder = world.record("mail").map(|record| record.node);
    check(
        &world,
        holder.as_deref() == Some("a"),
        "the record is still the old holder's",
    );
    // Silent once more for as long as that beat promises.
    let took = until_active(&mut world, "mail", Some(1), 9000);
    check(&world, took > 4000, &format!("took {took} ms"));
}

/// Two machines of one name arrive in the same moment: the key is one's, and stays it.
#[test]
fn of_two_machines_of_one_name_one_registers() {
    let mut world = World::new(7, 2, 1, crate::mutants::Mutant::None);
    world.log = Some(Vec::new());
    world.hosts[1].name = world.hosts[0].name.clone();
    for h in 0..2 {
        world.act(Act::StartSidecar(h));
    }
    until_active(&mut world, "mail", None, 9000);
    world.run_for(20_000);
    check(&world, world.counts["T1"] == 1, "one registration");
}

/// etcd was restored to a moment in which nobody held the group, its holder never hears of it, and a new node that has
/// pinned nothing yet believes what it reads: the full ttl of contact is all that the holder's deadline needs.
#[test]
fn a_node_without_contact_takes_nothing_not_even_what_is_free() {
    let mut world = settled(2, 1);
    world.act(Act::Switchover(0, "mail".to_owned(), Some("b".to_owned())));
    let released = |world: &World| {
        world
            .record("mail")
            .is_some_and(|record| record.state == RecordState::Released)
    };
    for _ in 0..3000 {
        if released(&world) {
            break;
        }
        world.run_for(1);
    }
    check(&world, released(&world), "free for a moment");
    world.act(Act::Snapshot);
    until_active(&mut world, "mail", Some(1), 3000);
    world.act(Act::KillSidecar(0));
    world.run_for(3000);
    world.act(Act::Network {
        host: 1,
        to: false,
        from: false,
    });
    world.act(Act::Restore { new_id: false });
    world.hosts[0].pin = None;
    world.act(Act::StartSidecar(0));
    let mut took = 0;
    while released(&world) && took < 12_000 {
        world.run_for(10);
        took += 10;
    }
    check(&world, took > 4900, &format!("taken after {took} ms"));
}

/// The stop of the later service has begun and is over, that of the earlier one has not: only the file tells a new sidecar.
#[test]
fn a_stop_that_had_begun_is_known_from_the_file_alone() {
    let mut world = settled(2, 2);
    world.act(Act::Switchover(0, "web".to_owned(), Some("b".to_owned())));
    let later = |world: &World| {
        let found = world.hosts[0]
            .containers
            .iter()
            .find(|(key, _)| key.group == "web" && key.service == 1);
        found.is_some_and(|(_, c)| c.life == crate::host::Life::Stopped)
    };
    for _ in 0..5000 {
        if later(&world) {
            break;
        }
        world.run_for(1);
    }
    check(&world, later(&world), "the later service has ended");
    world.act(Act::KillSidecar(0));
    let started = crate::directed::starts(&world);
    world.act(Act::StartSidecar(0));
    until_active(&mut world, "web", Some(1), 9000);
    check(
        &world,
        crate::directed::starts(&world) == started + 2,
        "it was not started again here first",
    );
}

/// The ttl shrinks while the holder is cut off and its key was deleted: whoever never saw its last beat must still find
/// the longer one.
#[test]
fn a_ttl_does_not_settle_before_a_holder_without_a_key_has_been_silent() {
    let mut world = cluster(3, 1);
    world.act(Act::KillSidecar(2));
    until_active(&mut world, "mail", Some(0), 8000);
    world.act(Act::ChangeTtl(1, Duration::from_secs(20)));
    world.run_for(26_000);
    world.act(Act::Network {
        host: 0,
        to: false,
        from: false,
    });
    world.act(Act::DeleteNodeKey(0));
    world.act(Act::ChangeTtl(1, Duration::from_secs(5)));
    world.run_for(2500);
    let config = world.etcd.keys.get(&world.keys.config()).map(|kv| kv.value.clone());
    let longer = config.is_some_and(|config| config.contains("\"longest_ms\":20000"));
    world.act(Act::StartSidecar(2));
    let mut took = 0;
    let taken = |world: &World| world.record("mail").is_some_and(|record| record.node != "a");
    while !taken(&world) && took < 30_000 && world.failure.is_none() {
        world.run_for(100);
        took += 100;
    }
    check(
        &world,
        longer && took > 15_000,
        &format!("taken after {took} ms, longer {longer}"),
    );
}

/// Everybody stands still while the configuration is gone, and takes nothing before a full ttl of contact once it is back.
#[test]
fn a_deleted_configuration_that_is_back_costs_no_more_than_an_outage() {
    for (gone, dead) in [(2000, false), (20_000, false), (2000, true), (20_000, true)] {
        let mut world = settled(3, 1);
        let key = world.keys.config();
        let kept = world.etcd.keys[&key].value.clone();
        world.etcd.remove(|kv| kv.key == key);
        world.run_for(1000);
        if dead {
            world.act(Act::PowerOff(0));
        }
        world.run_for(gone);
        let (served, wins) = (world.active("mail"), world.counts.get("T3").copied());
        let goes_on = gone < 4000 && !dead;
        check(
            &world,
            served.is_empty() != goes_on,
            "held to its deadline, and no longer",
        );
        world.etcd.revision += 1;
        let revision = world.etcd.revision;
        world.etcd.put(&key, &kept, 0, revision);
        world.run_for(4000);
        if !goes_on {
            check(
                &world,
                world.counts.get("T3").copied() == wins,
                "nothing is won without contact",
            );
            check(
                &world,
                !saw(&world, "T4") && !saw(&world, "T5"),
                "nothing is taken without contact",
            );
        }
        until_active(&mut world, "mail", None, 12_000);
        world.run_for(20_000);
        check(&world, world.active("mail").len() == 1, "one serves");
        check(&world, !saw(&world, "T11"), "without an operator");
    }
}

fn set(world: &mut World, host: usize, change: Change) {
    let group = "mail".to_owned();
    let changes = vec![change];
    world.act(Act::Order(host, OrderKind::Set { group, changes }));
}

fn followed() -> World {
    let mut world = settled(2, 1);
    (world.policies.watched, world.policies.sets) = (true, true);
    world.run_for(2000);
    world
}

/// Two operators set something in the same moment: the second one is told, and what the first one set stays.
#[test]
fn of_two_who_set_at_once_one_is_told() {
    let mut world = followed();
    set(&mut world, 0, Change::Set(Wanted::RestartBudget(1)));
    let node = "a".to_owned();
    set(&mut world, 1, Change::Set(Wanted::Priority { node, value: 5 }));
    world.run_for(3000);
    let refused = world.replies.iter().filter(|(_, reply)| reply.is_err()).count();
    check(
        &world,
        refused == 1 && world.replies.len() >= 2,
        "one of the two is told",
    );
    check(&world, world.counts["a value set"] == 1, "one lands");
}

/// What is set counts on every node with its next answer, and what is taken back as well.
#[test]
fn what_is_set_counts_at_once_on_every_node() {
    let mut world = followed();
    for change in [
        Change::Set(Wanted::RestartBudget(1)),
        Change::Unset(Setting::RestartBudget),
    ] {
        set(&mut world, 1, change);
        world.run_for(3000);
    }
    check(&world, world.counts["a value set"] == 2, "both land");
}
