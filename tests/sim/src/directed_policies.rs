//! Directed schedules: what the compose file and operators' orders say of failover, pause, drain and the like.

use std::time::Duration;

use leasehold_core::event::OrderKind;

use crate::directed::{check, saw, starts, until_active};
use crate::events::Act;
use crate::host::MS;
use crate::mutants::Mutant;
use crate::policy::{Policies, Policy};
use crate::storage::Fault;
use crate::world::World;

/// A running cluster on host 0, under policies; `of_group` is that of every group.
fn settled(hosts: usize, groups: usize, of_group: &Policy, fence: bool) -> World {
    let mut world = World::new(7, hosts, groups, Mutant::None);
    world.log = Some(Vec::new());
    let groups = world.groups.iter().map(|name| (name.clone(), of_group.clone()));
    world.policies = Policies {
        watched: true,
        groups: groups.collect(),
        sets: true,
        fence,
        agent_refuses: false,
    };
    for h in 0..hosts {
        world.act(Act::StartSidecar(h));
    }
    for group in world.groups.clone() {
        until_active(&mut world, &group, Some(0), 8000);
    }
    world.run_for(6000);
    check(&world, true, "");
    world
}

fn mail() -> String {
    "mail".to_owned()
}

fn order(world: &mut World, host: usize, kind: OrderKind) {
    world.act(Act::Order(host, kind));
    world.run_for(1200);
    let refused = world.replies.last().and_then(|(_, reply)| reply.clone().err());
    check(world, refused.is_none(), &format!("refused: {refused:?}"));
}

/// Two epochs more. Whoever is asked for itself takes it for an apply here.
fn to_and_fro(world: &mut World) {
    for (asked, to) in [(0, "b"), (1, "a")] {
        world.run_for(6000);
        world.act(Act::Switchover(asked, mail(), Some(to.to_owned())));
        world.run_for(5000);
    }
}

fn epoch(world: &World) -> u64 {
    world.record("mail").map_or(0, |record| record.epoch)
}

#[test]
fn silence_frees_nothing_where_a_person_decides() {
    let confirm = Policy {
        confirm: true,
        ..Policy::default()
    };
    let mut world = settled(2, 1, &confirm, false);
    world.act(Act::PowerOff(0));
    world.run_for(40_000);
    check(&world, world.active("mail").is_empty(), "nobody takes it");
    check(&world, saw(&world, "said failover_waits"), "it says what it waits for");
    world.act(Act::Fenced { host: 1, node: 0 });
    until_active(&mut world, "mail", Some(1), 3000);
}

#[test]
fn a_group_that_needs_no_word_frees_none_that_does() {
    let mut world = settled(2, 2, &Policy::default(), false);
    world.act(Act::PowerOff(1));
    let confirm = Policy {
        confirm: true,
        ..Policy::default()
    };
    world.policies.groups.insert("web".to_owned(), confirm);
    world.act(Act::PowerOn(1));
    world.run_for(8000);
    world.act(Act::PowerOff(0));
    until_active(&mut world, "mail", Some(1), 9000);
    world.run_for(20_000);
    check(&world, world.active("web").is_empty(), "web waits for a word");
    // Its own node needs none.
    world.act(Act::PowerOn(0));
    until_active(&mut world, "web", Some(0), 20_000);
}

#[test]
fn nothing_is_taken_from_a_silent_host_before_its_fence() {
    let mut world = settled(2, 1, &Policy::default(), true);
    world.policies.agent_refuses = true;
    world.act(Act::PowerOff(0));
    world.run_for(40_000);
    check(&world, world.active("mail").is_empty(), "nobody takes it");
    check(&world, saw(&world, "said fence_given_up"), "it says so");
    world.policies.agent_refuses = false;
    until_active(&mut world, "mail", Some(1), 180_000);
    check(&world, saw(&world, "taken after a fence"), "after a fence");
}

#[test]
fn a_drained_node_takes_nothing_while_another_is_ready() {
    let mut world = settled(3, 1, &Policy::default(), false);
    order(&mut world, 1, OrderKind::Drain { node: "a".to_owned() });
    until_active(&mut world, "mail", Some(1), 3000);
    world.run_for(6000);
    world.act(Act::PowerOff(1));
    until_active(&mut world, "mail", Some(2), 9000);
    order(&mut world, 2, OrderKind::Undrain { node: "a".to_owned() });
    world.run_for(6000);
    world.act(Act::PowerOff(2));
    until_active(&mut world, "mail", Some(0), 9000);
}

#[test]
fn nothing_is_started_again_on_pause() {
    let mut world = settled(2, 1, &Policy::default(), false);
    let length = Duration::from_secs(30);
    order(&mut world, 1, OrderKind::Pause { group: mail(), length });
    world.act(Act::CrashApp(0, mail()));
    world.run_for(15_000);
    check(
        &world,
        world.active("mail").is_empty() && starts(&world) == 1,
        "it stays down",
    );
    order(&mut world, 1, OrderKind::Resume { group: mail() });
    until_active(&mut world, "mail", Some(0), 3000);
}

#[test]
fn nothing_is_won_on_pause_which_ends_by_itself() {
    let mut world = settled(2, 1, &Policy::default(), false);
    let length = Duration::from_secs(20);
    order(&mut world, 1, OrderKind::Pause { group: mail(), length });
    world.act(Act::PowerOff(0));
    world.run_for(15_000);
    check(&world, world.active("mail").is_empty(), "nobody takes it");
    until_active(&mut world, "mail", Some(1), 10_000);
}

pub(crate) fn goes_back(seconds: u64) -> Policy {
    Policy {
        failback: Some(Duration::from_secs(seconds)),
        ..Policy::default()
    }
}

#[test]
fn a_group_goes_back_once_the_preferred_node_has_been_ready_for_long() {
    let mut world = settled(2, 1, &goes_back(12), false);
    world.act(Act::PowerOff(0));
    until_active(&mut world, "mail", Some(1), 9000);
    world.run_for(20_000);
    world.act(Act::PowerOn(0));
    let took = until_active(&mut world, "mail", Some(0), 30_000);
    check(&world, took > 12_000 + 5000, &format!("took {took} ms"));
    check(&world, saw(&world, "went back by itself"), "by itself");
}

#[test]
fn a_group_goes_back_only_where_it_has_served_well_for_as_long() {
    let mut world = settled(2, 1, &goes_back(12), false);
    world.act(Act::Switchover(0, mail(), Some("b".to_owned())));
    let took = until_active(&mut world, "mail", Some(1), 3000);
    // The node that is preferred has been ready all the time; the service here has not been well.
    world.run_for(8000);
    world.act(Act::CrashApp(1, mail()));
    let back = until_active(&mut world, "mail", Some(0), 30_000);
    check(&world, back > 11_500, &format!("took {took} ms, back after {back} ms"));
}

/// The successor is chosen before the stop. Its release waits for etcd, and much may be otherwise by then.
#[test]
fn whoever_is_not_ready_any_more_is_not_named_after_a_cut() {
    let mut world = settled(3, 1, &Policy::default(), false);
    let cut = |world: &mut World, host: usize, open: bool| {
        let (to, from) = (open, open);
        world.act(Act::Network { host, to, from });
    };
    world.act(Act::Switchover(0, mail(), Some("c".to_owned())));
    let begun = |world: &World| {
        let intent = world.etcd.keys.get(&world.keys.intent("mail"));
        intent.is_some_and(|kv| kv.value.contains("begun"))
    };
    for _ in 0..200 {
        if !begun(&world) {
            world.run_for(10);
        }
    }
    check(&world, begun(&world), "the move begins");
    world.run_for(20);
    (0..3).for_each(|host| cut(&mut world, host, false));
    world.run_for(16_000);
    cut(&mut world, 2, true);
    world.run_for(1500);
    let (group, node) = (mail(), "c".to_owned());
    order(&mut world, 2, OrderKind::Unextend { group, node });
    (0..2).for_each(|host| cut(&mut world, host, true));
    let took = until_active(&mut world, "mail", None, 9000);
    check(&world, world.active("mail") != [2], &format!("took {took} ms"));
}

#[test]
fn nothing_goes_back_to_a_node_that_is_not_preferred() {
    let mut world = settled(3, 1, &goes_back(4), false);
    world.run_for(30_000);
    check(&world, world.active("mail") == [0] && starts(&world) == 1, "it stays");
}

#[test]
fn an_apply_starts_the_group_again_in_its_epoch() {
    let mut world = settled(2, 1, &Policy::default(), false);
    let before = epoch(&world);
    world.act(Act::Apply(1, mail()));
    world.run_for(600);
    until_active(&mut world, "mail", Some(0), 4000);
    check(&world, epoch(&world) == before && starts(&world) == 2, "in place");
    check(&world, saw(&world, "applied in place"), "seen");
}

#[test]
fn an_import_goes_above_what_was_exported() {
    let mut world = settled(2, 1, &Policy::default(), false);
    to_and_fro(&mut world);
    let before = epoch(&world);
    world.act(Act::Export);
    world.act(Act::LoseEtcd);
    world.run_for(12_000);
    check(
        &world,
        world.active("mail").is_empty(),
        "nothing runs under an empty etcd",
    );
    world.act(Act::Import(1));
    until_active(&mut world, "mail", None, 12_000);
    check(
        &world,
        epoch(&world) > before && before == 3,
        &format!("epoch {before}"),
    );
}

#[test]
fn an_accept_goes_above_the_claims_that_were_met() {
    let mut world = settled(2, 1, &Policy::default(), false);
    world.act(Act::Snapshot);
    to_and_fro(&mut world);
    for h in 0..2 {
        world.act(Act::KillSidecar(h));
    }
    world.run_for(7000);
    world.act(Act::Restore { new_id: false });
    for h in 0..2 {
        world.act(Act::StartSidecar(h));
    }
    world.run_for(3000);
    world.act(Act::Accept(1));
    world.run_for(12_000);
    check(&world, saw(&world, "said claim_above"), "the claim of epoch 3 is met");
    world.act(Act::Accept(1));
    until_active(&mut world, "mail", None, 12_000);
    check(&world, epoch(&world) > 3, "above it");
}

fn looks(seconds: u64) -> Policy {
    Policy {
        look: Some(Duration::from_secs(seconds)),
        ..Policy::default()
    }
}

#[test]
fn nobody_hands_over_to_a_node_whose_storage_is_wrong() {
    let mut world = settled(3, 1, &looks(3), false);
    world.act(Act::Storage {
        host: 1,
        fault: Fault::Refuses,
    });
    world.run_for(20_000);
    world.act(Act::Term(0));
    until_active(&mut world, "mail", Some(2), 4000);
    world.act(Act::Storage {
        host: 1,
        fault: Fault::Fine,
    });
    world.run_for(10_000);
    world.act(Act::Term(2));
    until_active(&mut world, "mail", Some(1), 4000);
}

#[test]
fn no_second_look_goes_beside_one_that_hangs() {
    let mut world = settled(2, 1, &looks(3), false);
    world.act(Act::Storage {
        host: 1,
        fault: Fault::Hangs,
    });
    world.run_for(30_000);
    check(&world, saw(&world, "looked at the storage"), "it looks");
}

fn acts() -> Policy {
    Policy {
        act: true,
        ..Policy::default()
    }
}

#[test]
fn a_service_that_no_standby_reaches_is_handed_over() {
    let mut world = settled(3, 1, &acts(), false);
    world.act(Act::Veil(0, true));
    let took = until_active(&mut world, "mail", Some(1), 60_000);
    check(&world, took > 15_000, &format!("took {took} ms"));
}

/// Standbys try a start every 12 s, and see their certificates.
fn tries() -> Policy {
    Policy {
        look: Some(Duration::from_secs(3)),
        ..Policy::default()
    }
}

#[test]
fn a_certificate_that_ran_out_on_one_host_moves_the_group_at_once() {
    let mut world = settled(3, 1, &tries(), false);
    world.act(Act::Expire(0, true));
    let took = until_active(&mut world, "mail", Some(1), 30_000);
    check(
        &world,
        starts(&world) == 2,
        &format!("one move and no restart, {took} ms"),
    );
}

#[test]
fn a_certificate_that_ran_out_everywhere_moves_nothing() {
    let mut world = settled(3, 1, &tries(), false);
    world.act(Act::Expire(1, true));
    world.act(Act::Expire(2, true));
    world.run_for(25_000);
    world.act(Act::Expire(0, true));
    world.run_for(60_000);
    check(&world, saw(&world, "said probe_fault_shared"), "it is told");
    check(&world, world.active("mail") == [0] && starts(&world) == 1, "it stays");
}

#[test]
fn a_certificate_that_ran_out_moves_nothing_where_nobody_knows_of_a_good_one() {
    let mut world = settled(3, 1, &Policy::default(), false);
    world.act(Act::Expire(0, true));
    world.run_for(60_000);
    check(&world, world.active("mail") == [0] && starts(&world) == 1, "it stays");
}

fn takes() -> Policy {
    Policy {
        take: true,
        ..Policy::default()
    }
}

#[test]
fn an_address_that_a_switch_answers_for_a_dead_host_is_taken() {
    let mut world = settled(3, 1, &takes(), false);
    world.act(Act::Proxy(Some(world.hosts[0].name.clone())));
    world.act(Act::PowerOff(0));
    let took = until_active(&mut world, "mail", Some(1), 30_000);
    check(
        &world,
        saw(&world, "said address_taken"),
        &format!("taken after {took} ms"),
    );
}

#[test]
fn an_address_that_a_living_node_answers_for_is_not_taken() {
    let mut world = settled(3, 1, &takes(), false);
    world.act(Act::Proxy(Some(world.hosts[2].name.clone())));
    world.act(Act::PowerOff(0));
    world.run_for(60_000);
    check(&world, saw(&world, "said address_conflict"), "it is told");
    check(&world, world.active("mail").is_empty(), "it waits");
    world.act(Act::Proxy(None));
    until_active(&mut world, "mail", Some(1), 9000);
}

#[test]
fn a_sidecar_that_restarts_while_somebody_answers_for_the_address_asks_again() {
    let mut world = settled(2, 1, &Policy::default(), false);
    world.act(Act::Proxy(Some("a switch".to_owned())));
    world.act(Act::PowerOff(0));
    while world.hosts[1].answered.is_empty() && world.now < 40_000 * MS {
        world.run_for(10);
    }
    world.run_for(2000);
    check(&world, saw(&world, "said address_conflict"), "it is told");
    world.act(Act::KillSidecar(1));
    world.run_for(300);
    world.act(Act::StartSidecar(1));
    world.run_for(15_000);
    check(
        &world,
        saw(&world, "adopted") && !world.hosts[1].has_vip("mail", world.now),
        "it waits",
    );
    world.act(Act::Proxy(None));
    world.run_for(9000);
    check(&world, world.hosts[1].has_vip("mail", world.now), "it takes it");
}

#[test]
fn a_standby_that_is_cut_off_itself_moves_nothing() {
    let mut world = settled(3, 1, &acts(), false);
    world.act(Act::Blind(1, true));
    world.run_for(90_000);
    check(&world, saw(&world, "said unreached"), "it is told");
    check(&world, world.active("mail") == [0] && starts(&world) == 1, "it stays");
}

#[test]
fn a_group_that_is_in_no_file_of_a_standby_is_none_of_its_affair() {
    let mut world = settled(3, 1, &Policy::default(), false);
    world.act(Act::ChangeFile {
        host: 1,
        group: mail(),
        dropped: true,
    });
    world.run_for(8000);
    world.act(Act::PowerOff(0));
    until_active(&mut world, "mail", Some(2), 9000);
    world.act(Act::ChangeFile {
        host: 1,
        group: mail(),
        dropped: false,
    });
    world.run_for(8000);
    world.act(Act::PowerOff(2));
    let took = until_active(&mut world, "mail", Some(1), 9000);
    check(&world, world.now / MS > took, "taken again");
}
