//! Directed schedules of the promises (docs/promises.md): what is kept, what ends in time, and for each rule the schedule that
//! breaks without it.

use std::cmp::Reverse;
use std::time::Duration;

use leasehold_core::protocol::records::{Record, RecordState};
use leasehold_core::store::{Op, Txn};

use crate::directed::{check, starts, until_active};
use crate::directed_compares::until_sent;
use crate::directed_policies::goes_back;
use crate::events::{Act, Call, Ev};
use crate::host::{MS, S};
use crate::mutants::Mutant;
use crate::policy::Policies;
use crate::world::World;

/// How long a holder may run on in these.
const BOUND: u64 = 40;

fn listed(value: &str) -> usize {
    let record = serde_json::from_str::<Record>(value).ok();
    record
        .and_then(|record| record.kept)
        .map_or(0, |kept| kept.voters.len())
}

fn on_the_list(world: &World) -> usize {
    let kv = world.etcd.keys.get(&world.keys.record("mail"));
    kv.map_or(0, |kv| listed(&kv.value))
}

/// A running cluster of `started` of the hosts, with promises; a holds the group, and its list has all of them.
fn kept(hosts: usize, started: usize) -> World {
    kept_under(hosts, started, Policies::default())
}

fn kept_under(hosts: usize, started: usize, policies: Policies) -> World {
    let mut world = World::new(7, hosts, 1, Mutant::None);
    world.log = Some(Vec::new());
    world.policies = policies;
    world.with_promises(Duration::from_secs(BOUND));
    for h in 0..started {
        world.act(Act::StartSidecar(h));
    }
    until_active(&mut world, "mail", Some(0), 8000);
    world.run_for(8000);
    check(&world, on_the_list(&world) == started, "all are on the list");
    world
}

fn cut(world: &mut World, hosts: &[usize], open: bool) {
    for host in hosts {
        let (to, from) = (open, open);
        world.act(Act::Network { host: *host, to, from });
    }
}

/// What two hosts say to each other directly is lost, both ways.
fn part(world: &mut World, one: usize, two: usize) {
    for (from, to) in [(one, two), (two, one)] {
        world.act(Act::Direct { from, to, open: false });
    }
}

/// A transaction that writes the group's record with so many on its list.
fn lists(many: usize) -> impl Fn(&World, &Txn) -> bool {
    move |world, txn| {
        let record = world.keys.record("mail");
        txn.then
            .iter()
            .any(|op| matches!(op, Op::Put { key, value, .. } if *key == record && listed(value) == many))
    }
}

/// What is on its way from the host to etcd never arrives.
fn lose_requests(world: &mut World, by: usize) {
    world.queue.retain(|Reverse(entry)| {
        let of_host =
            |ev: &Ev| matches!(ev, Ev::ToEtcd { host, call: Call::Txn(..) | Call::Read(_), .. } if *host == by);
        !of_host(&entry.ev)
    });
}

/// For how long the first host goes on, in ms.
fn serves_for(world: &mut World, limit_ms: u64) -> u64 {
    let from = world.now;
    while world.active("mail") == [0] && world.now < from + limit_ms * MS && world.failure.is_none() {
        world.run_for(10);
    }
    check(world, true, "");
    (world.now - from) / MS
}

/// By hand: the vote of a host is deleted, and the holder drops it from its list.
fn unlist(world: &mut World, host: usize) {
    let key = world.keys.voter(&world.hosts[host].name);
    let changes = world.etcd.remove(|kv| kv.key == key);
    world.changed(None, &changes);
}

#[test]
fn an_outage_of_etcd_costs_nothing_while_all_promise() {
    for seconds in [3, 10, 35] {
        let mut world = kept(3, 3);
        world.act(Act::EtcdDown);
        let served = serves_for(&mut world, seconds * 1000);
        check(&world, served >= seconds * 1000, &format!("{served} ms of {seconds} s"));
        world.act(Act::EtcdUp);
        world.run_for(20_000);
        check(
            &world,
            starts(&world) == 1 && world.active("mail") == [0],
            "it never stopped",
        );
    }
}

#[test]
fn without_promises_an_outage_of_etcd_ends_the_service_as_ever() {
    let mut world = crate::directed::settled(3, 1);
    world.act(Act::EtcdDown);
    let served = serves_for(&mut world, 10_000);
    check(&world, served < 5000, &format!("{served} ms"));
    let value = world
        .etcd
        .keys
        .get(&world.keys.record("mail"))
        .map(|kv| kv.value.clone());
    check(
        &world,
        value.is_some_and(|value| !value.contains("kept")),
        "nothing is written of it",
    );
}

#[test]
fn a_crash_of_the_holder_costs_no_more_with_promises() {
    let mut world = kept(3, 3);
    world.act(Act::PowerOff(0));
    let took = until_active(&mut world, "mail", Some(1), 9000);
    check(&world, took < 6600, &format!("took {took} ms"));
}

#[test]
fn a_restart_of_a_standbys_sidecar_in_an_outage_costs_nothing() {
    let mut world = kept(3, 3);
    world.act(Act::EtcdDown);
    world.run_for(6000);
    world.act(Act::KillSidecar(1));
    world.run_for(500);
    world.act(Act::StartSidecar(1));
    world.run_for(20_000);
    world.act(Act::EtcdUp);
    world.run_for(10_000);
    check(
        &world,
        starts(&world) == 1 && world.active("mail") == [0],
        "it never stopped",
    );
}

#[test]
fn a_holder_that_is_cut_off_alone_serves_on() {
    let mut world = kept(3, 3);
    cut(&mut world, &[0], false);
    world.run_for(30_000);
    cut(&mut world, &[0], true);
    world.run_for(15_000);
    check(
        &world,
        starts(&world) == 1 && world.active("mail") == [0],
        "it never stopped",
    );
}

#[test]
fn a_service_that_fails_in_an_outage_is_started_again_where_it_is() {
    let mut world = kept(3, 3);
    world.act(Act::EtcdDown);
    world.run_for(6000);
    for _ in 0..2 {
        world.act(Act::CrashApp(0, "mail".to_owned()));
        world.run_for(3000);
    }
    world.run_for(6000);
    check(&world, world.active("mail") == [0], "nobody else could start it");
}

#[test]
fn nothing_goes_back_in_an_outage() {
    let mut policies = Policies::default();
    policies.groups.insert("mail".to_owned(), goes_back(12));
    let mut world = kept_under(2, 2, policies);
    world.act(Act::PowerOff(0));
    until_active(&mut world, "mail", Some(1), 9000);
    world.run_for(15_000);
    world.act(Act::PowerOn(0));
    // What was waited for is over when etcd has been away for longer than a gap, and the other node is not silent yet.
    world.run_for(13_400);
    world.act(Act::EtcdDown);
    world.run_for(25_000);
    check(
        &world,
        world.active("mail") == [1],
        "it stopped for a node that could not start it",
    );
    world.act(Act::EtcdUp);
    until_active(&mut world, "mail", Some(0), 20_000);
}

#[test]
fn a_holder_whose_voter_is_down_stops_in_time() {
    let mut world = kept(3, 3);
    world.act(Act::PowerOff(2));
    world.run_for(3000);
    world.act(Act::EtcdDown);
    let served = serves_for(&mut world, 10_000);
    check(&world, served < 5000, &format!("{served} ms"));
}

/// P1: not on the list, and nobody answers it.
#[test]
fn a_node_that_is_on_no_list_waits_for_the_bound() {
    let mut world = kept(3, 2);
    cut(&mut world, &[0, 1], false);
    part(&mut world, 2, 0);
    part(&mut world, 2, 1);
    world.act(Act::StartSidecar(2));
    world.run_for(30_000);
    check(&world, world.active("mail") == [0], "the other one promises");
    // P8: it ends before those do that wait for the bound.
    let took = until_active(&mut world, "mail", Some(2), 30_000);
    check(&world, took > 5000, &format!("took {took} ms"));
}

/// P2: the list grows in a transaction whose outcome is not heard.
#[test]
fn a_list_that_grows_counts_when_it_is_sent() {
    let mut world = kept(3, 2);
    part(&mut world, 2, 0);
    part(&mut world, 2, 1);
    world.act(Act::StartSidecar(2));
    until_sent(&mut world, 0, 9000, lists(3));
    world.act(Act::Network {
        host: 0,
        to: true,
        from: false,
    });
    world.run_for(30);
    cut(&mut world, &[0, 1], false);
    check(&world, on_the_list(&world) == 3, "it has landed");
    let served = serves_for(&mut world, 12_000);
    check(&world, served < 5500, &format!("{served} ms without the third"));
    until_active(&mut world, "mail", Some(2), 12_000);
}

/// P3: the list shrinks in a transaction that never lands.
#[test]
fn a_list_that_shrinks_counts_when_it_has_landed() {
    let mut world = kept(3, 3);
    part(&mut world, 2, 0);
    part(&mut world, 2, 1);
    unlist(&mut world, 2);
    until_sent(&mut world, 0, 4000, lists(2));
    lose_requests(&mut world, 0);
    cut(&mut world, &[0, 1], false);
    let served = serves_for(&mut world, 12_000);
    check(&world, served < 5500, &format!("{served} ms without the third"));
    until_active(&mut world, "mail", Some(2), 12_000);
}

/// P4: all, not any.
#[test]
fn one_that_does_not_answer_is_one_that_may_take_it() {
    let mut world = kept(3, 3);
    part(&mut world, 2, 0);
    part(&mut world, 2, 1);
    cut(&mut world, &[0, 1], false);
    until_active(&mut world, "mail", Some(2), 12_000);
    check(&world, starts(&world) == 2, "");
}

/// P5: the beat is ripe for long, and only the own word is in the way; then nobody is there any more to be asked.
fn bound_by_its_word(key_gone: bool) {
    let mut world = kept(2, 2);
    cut(&mut world, &[0], false);
    world.run_for(9000);
    if key_gone {
        world.act(Act::DeleteNodeKey(0));
        world.run_for(9000);
    }
    part(&mut world, 0, 1);
    let took = until_active(&mut world, "mail", Some(1), 12_000);
    check(&world, took > 3500, &format!("took {took} ms"));
}

#[test]
fn a_promise_binds_whoever_gave_it() {
    bound_by_its_word(false);
    bound_by_its_word(true);
}

/// P6: the yes of an earlier round arrives in a later one, while no request arrives any more.
#[test]
fn an_answer_counts_for_its_own_round() {
    let mut world = kept(2, 2);
    cut(&mut world, &[0], false);
    // The first round's request arrives; its answer is under way for long.
    let mut yes = None;
    for _ in 0..3000 {
        world.run_for(1);
        let answers = |entry: &Reverse<crate::events::Entry>| {
            matches!(
                &*entry.0.ev,
                Ev::Direct {
                    from: 1,
                    to: 0,
                    message: leasehold_core::promises::Message::Yes { .. }
                }
            )
        };
        if world.queue.iter().any(answers) {
            let queue = std::mem::take(&mut world.queue);
            let (found, rest): (Vec<_>, Vec<_>) = queue.into_iter().partition(|entry| answers(entry));
            world.queue = rest.into_iter().collect();
            yes = found.into_iter().next();
            break;
        }
    }
    part(&mut world, 0, 1);
    let Some(Reverse(late)) = yes else {
        return check(&world, false, "nothing was promised");
    };
    let given = world.now;
    world.run_for(2200);
    world.order += 1;
    let at = world.now + MS;
    let order = world.order;
    world.queue.push(Reverse(crate::events::Entry { at, order, ..late }));
    let took = until_active(&mut world, "mail", Some(1), 15_000) * MS;
    check(&world, world.now - given > 4 * S, &format!("took {took} ns"));
}

/// P7: whoever has restarted knows nothing of its word, and waits what the beat promised.
#[test]
fn no_more_is_asked_for_than_the_beat_promised() {
    let mut world = kept(2, 2);
    cut(&mut world, &[0], false);
    world.run_for(6000);
    part(&mut world, 0, 1);
    world.act(Act::KillSidecar(1));
    world.act(Act::StartSidecar(1));
    until_active(&mut world, "mail", Some(1), 15_000);
}

/// P8 alone: nobody else is there, and it ends before the bound does.
#[test]
fn a_holder_ends_within_the_bound_whatever_was_promised() {
    let mut world = kept(2, 2);
    world.act(Act::EtcdDown);
    let served = serves_for(&mut world, 60_000);
    let expected = (BOUND - 3) * 1000..BOUND * 1000;
    check(&world, expected.contains(&served), &format!("{served} ms"));
}

/// P10: etcd is restored to a longer list and accepted, while holder and voter are cut off.
#[test]
fn what_an_accept_released_waits_for_every_vote_or_for_the_bound() {
    let mut world = kept(3, 3);
    world.act(Act::Snapshot);
    unlist(&mut world, 2);
    world.act(Act::StopSignal(2));
    world.run_for(1500);
    check(&world, on_the_list(&world) == 2, "the third is dropped");
    cut(&mut world, &[0, 1], false);
    part(&mut world, 2, 0);
    part(&mut world, 2, 1);
    world.act(Act::KillSidecar(2));
    world.act(Act::Restore { new_id: true });
    world.act(Act::StartSidecar(2));
    world.run_for(500);
    world.act(Act::Accept(2));
    world.run_for(20_000);
    check(
        &world,
        world.active("mail") == [0],
        "the second promises, and knows of nothing",
    );
    // Not even its record is taken before, although the claim on the storage would hold the service back.
    let free = world
        .record("mail")
        .is_some_and(|record| record.state == RecordState::Released);
    check(&world, free, "nobody takes its record");
    until_active(&mut world, "mail", Some(2), 60_000);
}

/// P10: etcd is restored to a time before there were promises; who accepts knows of them.
#[test]
fn an_accept_knows_of_promises_that_etcd_has_forgotten() {
    let mut world = kept(3, 3);
    cut(&mut world, &[0, 1], false);
    part(&mut world, 2, 0);
    part(&mut world, 2, 1);
    unlist(&mut world, 0);
    unlist(&mut world, 1);
    unlist(&mut world, 2);
    let plain = r#"{"generation":1,"ttl_ms":5000}"#;
    let key = world.keys.config();
    let revision = world.etcd.revision;
    world.etcd.put(&key, plain, 0, revision);
    world.act(Act::KillSidecar(2));
    world.act(Act::Snapshot);
    world.act(Act::Restore { new_id: true });
    world.act(Act::StartSidecar(2));
    world.run_for(500);
    world.act(Act::Accept(2));
    world.run_for(2000);
    let config = world.etcd.keys.get(&key).map(|kv| kv.value.clone()).unwrap_or_default();
    check(&world, config.contains("promises_ms"), &config);
    // The third was asked, too: nobody runs on without its word.
    until_active(&mut world, "mail", Some(2), 80_000);
}

/// P11: who sees a strange etcd promises nothing.
#[test]
fn whoever_stands_still_promises_nothing() {
    let mut world = kept(2, 2);
    world.act(Act::Snapshot);
    world.run_for(2000);
    cut(&mut world, &[0], false);
    world.act(Act::Restore { new_id: true });
    world.run_for(500);
    let served = serves_for(&mut world, 12_000);
    check(&world, served < 6500, &format!("{served} ms"));
}

/// P13: whoever knows of an accept promises nothing to those who do not.
#[test]
fn whoever_knows_a_later_generation_promises_nothing() {
    let mut world = kept(2, 2);
    cut(&mut world, &[0], false);
    world.run_for(6000);
    world.act(Act::Swap);
    world.act(Act::SwapBack);
    world.act(Act::Restore { new_id: true });
    world.run_for(100);
    world.act(Act::Accept(1));
    world.run_for(1500);
    let served = serves_for(&mut world, 12_000);
    check(&world, served < 5500, &format!("{served} ms"));
}

/// P14: etcd is restored to a list that has the taker, which does not find it strange.
#[test]
fn whoever_takes_asks_first() {
    let mut world = kept(3, 3);
    world.act(Act::Snapshot);
    unlist(&mut world, 2);
    world.act(Act::StopSignal(2));
    world.run_for(1500);
    check(&world, on_the_list(&world) == 2, "the third is dropped");
    cut(&mut world, &[0, 1], false);
    world.act(Act::KillSidecar(2));
    world.hosts[2].pin = None;
    world.act(Act::Restore { new_id: false });
    world.act(Act::StartSidecar(2));
    world.run_for(20_000);
    check(
        &world,
        world.active("mail") == [0] && crate::directed::saw(&world, "told that it runs"),
        "it is told that a runs",
    );
}
