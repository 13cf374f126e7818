//! Directed schedules: one story each.

use std::time::Duration;

use crate::events::Act;
use crate::host::{Life, MS};
use crate::mutants::Mutant;
use crate::storage::Fault;
use crate::world::World;
use leasehold_core::protocol::records::RecordState;

/// A running cluster; on panic its log is shown.
pub(crate) fn cluster(hosts: usize, groups: usize) -> World {
    let mut world = World::new(7, hosts, groups, Mutant::None);
    world.log = Some(Vec::new());
    for h in 0..hosts {
        world.act(Act::StartSidecar(h));
    }
    world
}

pub(crate) fn check(world: &World, holds: bool, what: &str) {
    let log = world.log.as_ref().map(|log| log.join("\n")).unwrap_or_default();
    assert!(world.failure.is_none(), "{log}\n{:?}", world.failure);
    assert!(holds, "{log}\n{what}");
}

/// Runs until the group is served by `by` (any, if `None`), and tells how long that took in ms.
pub(crate) fn until_active(world: &mut World, group: &str, by: Option<usize>, limit_ms: u64) -> u64 {
    let from = world.now;
    while world.now < from + limit_ms * MS && world.failure.is_none() {
        world.run_for(10);
        let active = world.active(group);
        if active.len() == 1 && by.is_none_or(|by| active[0] == by) {
            return (world.now - from) / MS;
        }
    }
    check(
        world,
        false,
        &format!("{group} is not active on {by:?} within {limit_ms} ms"),
    );
    0
}

pub(crate) fn settled(hosts: usize, groups: usize) -> World {
    let mut world = cluster(hosts, groups);
    for group in world.groups.clone() {
        until_active(&mut world, &group, Some(0), 8000);
    }
    world.run_for(5000);
    check(&world, true, "");
    world
}

pub(crate) fn starts(world: &World) -> u64 {
    world.counts.get("started").copied().unwrap_or(0)
}

pub(crate) fn saw(world: &World, kind: &str) -> bool {
    world.counts.contains_key(kind)
}

#[test]
fn first_start_takes_a_ttl_and_the_first_in_priority_wins() {
    let mut world = cluster(3, 1);
    let took = until_active(&mut world, "mail", Some(0), 8000);
    check(&world, (5000..6500).contains(&took), &format!("took {took} ms"));
    world.run_for(60_000);
    check(
        &world,
        starts(&world) == 1 && world.active("mail") == [0],
        "it stays there",
    );
}

#[test]
fn a_dead_holder_is_replaced_after_its_ttl_and_returns_as_standby() {
    let mut world = settled(3, 1);
    world.act(Act::PowerOff(0));
    let took = until_active(&mut world, "mail", Some(1), 9000);
    check(&world, took < 6600 && saw(&world, "T4"), &format!("took {took} ms"));
    world.act(Act::PowerOn(0));
    world.run_for(20_000);
    check(
        &world,
        world.active("mail") == [1] && starts(&world) == 2,
        "the old holder is a standby",
    );
}

#[test]
fn a_host_that_returns_before_anyone_took_its_key_evicts_its_old_self() {
    let mut world = settled(1, 1);
    world.act(Act::PowerOff(0));
    world.run_for(1000);
    world.act(Act::PowerOn(0));
    // One ttl and the start, not two.
    let took = until_active(&mut world, "mail", Some(0), 16_000);
    check(&world, took < 6000, &format!("took {took} ms"));
    check(&world, saw(&world, "T9") && saw(&world, "T5"), "T9, then T5");
}

#[test]
fn sigterm_hands_over_without_waiting_for_the_ttl() {
    let mut world = settled(3, 1);
    world.act(Act::Term(0));
    let took = until_active(&mut world, "mail", Some(1), 4000);
    check(&world, took < 1500 && saw(&world, "T7"), &format!("took {took} ms"));
    world.run_for(1000);
    check(&world, world.hosts[0].node.is_none(), "the process ended");
    let gone = !world.etcd.keys.contains_key(&world.keys.node("a"));
    check(&world, gone, "its key is gone with its lease");
}

#[test]
fn switchover_goes_to_the_one_named() {
    let mut world = settled(3, 1);
    world.act(Act::Switchover(1, "mail".to_owned(), Some("c".to_owned())));
    let took = until_active(&mut world, "mail", Some(2), 4000);
    check(&world, took < 1500, &format!("took {took} ms"));
    world.run_for(10_000);
    check(&world, starts(&world) == 2, "one move");
    let intent = world.etcd.keys.contains_key(&world.keys.intent("mail"));
    check(&world, !intent, "the request is fulfilled and gone");
}

#[test]
fn a_successor_that_dies_does_not_block_the_group() {
    let mut world = settled(3, 1);
    world.act(Act::Switchover(1, "mail".to_owned(), Some("c".to_owned())));
    while world
        .record("mail")
        .is_some_and(|record| record.state == RecordState::Active)
        && world.failure.is_none()
    {
        world.run_for(1);
    }
    world.act(Act::PowerOff(2));
    let took = until_active(&mut world, "mail", None, 6000);
    check(&world, took > 2500, &format!("took {took} ms"));
}

#[test]
fn a_crashed_container_starts_again_in_place() {
    let mut world = settled(3, 1);
    world.act(Act::CrashApp(0, "mail".to_owned()));
    world.run_for(50);
    let took = until_active(&mut world, "mail", Some(0), 3000);
    let record = world.record("mail").map(|record| record.epoch);
    check(
        &world,
        took < 1000 && record == Some(1),
        &format!("took {took} ms, epoch {record:?}"),
    );
    let run = world.hosts[0].containers.values().next().map(|c| c.run.n);
    check(&world, run == Some(2), "run 2");
}

#[test]
fn a_service_that_keeps_failing_moves_on() {
    let mut world = settled(2, 1);
    for _ in 0..4 {
        world.act(Act::CrashApp(0, "mail".to_owned()));
        world.run_for(4500);
    }
    until_active(&mut world, "mail", Some(1), 3000);
}

#[test]
fn a_group_that_failed_here_is_taken_again_when_nobody_else_is_left() {
    let mut world = settled(2, 1);
    for _ in 0..4 {
        world.act(Act::CrashApp(0, "mail".to_owned()));
        world.run_for(4500);
    }
    until_active(&mut world, "mail", Some(1), 3000);
    world.act(Act::PowerOff(1));
    until_active(&mut world, "mail", Some(0), 10_000);
}

#[test]
fn a_crash_of_the_sidecar_is_free() {
    for delay in [10, 300, 1500] {
        let mut world = settled(3, 2);
        let before = starts(&world);
        world.act(Act::KillSidecar(0));
        world.run_for(delay);
        world.act(Act::StartSidecar(0));
        world.run_for(20_000);
        let same = starts(&world) == before && world.active("mail") == [0] && world.active("web") == [0];
        check(&world, same, &format!("adopted, untouched, after {delay} ms"));
    }
}

#[test]
fn a_sidecar_that_stays_dead_loses_the_group_and_nothing_runs_twice() {
    let mut world = settled(2, 2);
    world.act(Act::KillSidecar(0));
    let took = until_active(&mut world, "mail", Some(1), 9000);
    let web = until_active(&mut world, "web", Some(1), 1500);
    check(&world, saw(&world, "T4 frees a second group"), &format!("{took} {web}"));
    world.act(Act::StartSidecar(0));
    world.run_for(15_000);
    check(&world, world.active("mail") == [1], "");
}

#[test]
fn hold_term_and_a_new_sidecar_leave_the_container_alone() {
    let mut world = settled(3, 1);
    world.act(Act::Hold(0, Duration::from_secs(60)));
    world.run_for(500);
    check(&world, world.replies.iter().any(|(_, reply)| reply.is_ok()), "held");
    world.act(Act::Term(0));
    world.run_for(30_000);
    check(
        &world,
        world.hosts[0].detached && world.active("mail") == [0],
        "it goes on without a sidecar",
    );
    world.act(Act::StartSidecar(0));
    world.run_for(10_000);
    check(&world, world.active("mail") == [0] && starts(&world) == 1, "adopted");
    // The hold has ended with the first beat: a crash now is noticed after one ttl.
    world.act(Act::PowerOff(0));
    until_active(&mut world, "mail", Some(1), 7000);
}

#[test]
fn a_new_sidecar_cut_off_right_after_its_first_beat_does_not_outlive_it() {
    for cut in 0..60 {
        let mut world = settled(2, 1);
        world.act(Act::Hold(0, Duration::from_secs(60)));
        world.run_for(500);
        world.act(Act::Term(0));
        world.run_for(3000);
        world.act(Act::StartSidecar(0));
        world.run_for(cut);
        world.act(Act::KillSidecar(0));
        world.run_for(70_000);
        check(&world, true, "");
    }
}

#[test]
fn a_hold_covers_a_dead_sidecar_and_ends_by_itself() {
    let mut world = settled(2, 1);
    world.act(Act::Hold(0, Duration::from_secs(30)));
    world.run_for(500);
    world.act(Act::Term(0));
    world.run_for(26_000);
    check(&world, world.active("mail") == [0], "the hold lasts");
    let took = until_active(&mut world, "mail", Some(1), 9000);
    check(&world, took < 8000, &format!("took {took}"));
}

#[test]
fn a_hold_without_a_replacement_ends_in_beats() {
    let mut world = settled(2, 1);
    world.act(Act::Hold(0, Duration::from_secs(30)));
    world.run_for(60_000);
    check(&world, world.active("mail") == [0] && starts(&world) == 1, "");
}

#[test]
fn a_switchover_during_a_hold_does_not_wait_for_its_end_with_the_service_down() {
    let mut world = settled(2, 1);
    world.act(Act::Hold(0, Duration::from_secs(100)));
    world.run_for(500);
    world.act(Act::Switchover(1, "mail".to_owned(), None));
    let mut down = 0;
    for _ in 0..400 {
        world.run_for(50);
        down = if world.active("mail").is_empty() { down + 50 } else { 0 };
        check(&world, down < 3000, "down for 3 s");
    }
}

#[test]
fn a_node_key_deleted_by_hand_costs_one_restart_of_the_membership() {
    let mut world = settled(1, 1);
    world.act(Act::DeleteNodeKey(0));
    until_active(&mut world, "mail", Some(0), 1);
    world.run_for(1500);
    check(&world, saw(&world, "T8"), "released by T8");
    until_active(&mut world, "mail", Some(0), 8000);
    check(&world, world.counts["T1"] == 2, "registered again");
}

/// With its lease and a beat that it never sent: whoever wrote that, its own next beat does not land.
#[test]
fn a_node_key_written_by_hand_costs_one_restart_of_the_membership() {
    let mut world = settled(1, 1);
    let key = world.keys.node("a");
    let (lease, revision) = (world.etcd.keys[&key].lease, world.etcd.revision + 1);
    world.etcd.revision = revision;
    world.etcd.put(&key, "by hand", lease, revision);
    world.run_for(1500);
    check(&world, saw(&world, "T8"), "released by T8");
    until_active(&mut world, "mail", Some(0), 16_000);
    check(&world, world.counts["T1"] == 2, "registered again");
}

#[test]
fn a_short_outage_of_etcd_stops_nothing() {
    for outage in [500, 1000, 1500, 2500] {
        let mut world = settled(3, 2);
        let before = starts(&world);
        world.act(Act::EtcdDown);
        world.run_for(outage);
        world.act(Act::EtcdUp);
        world.run_for(15_000);
        check(
            &world,
            starts(&world) == before && world.active("mail") == [0],
            "zero stops",
        );
    }
}

#[test]
fn a_long_outage_of_etcd_stops_everything_once() {
    let mut world = settled(3, 1);
    world.act(Act::EtcdDown);
    world.run_for(8000);
    let idle = world
        .hosts
        .iter()
        .all(|h| h.containers.values().all(|c| c.life == Life::Stopped));
    check(&world, idle, "stopped");
    world.act(Act::EtcdUp);
    let took = until_active(&mut world, "mail", None, 12_000);
    check(&world, took < 9000, &format!("took {took}"));
    world.run_for(10_000);
    check(&world, starts(&world) == 2, "one start");
}

#[test]
fn a_lone_node_starts_again_after_a_long_outage() {
    let mut world = settled(1, 1);
    world.act(Act::EtcdDown);
    world.run_for(8000);
    world.act(Act::EtcdUp);
    until_active(&mut world, "mail", Some(0), 8000);
    check(&world, saw(&world, "T6"), "by T6");
}

#[test]
fn unknown_outcomes_are_read_back() {
    // Every answer of a while is lost, or every request late: whatever landed, landed once.
    for (lose, lose_answer, late, duplicate) in [(300, 0, 0, 0), (0, 300, 0, 0), (0, 0, 500, 0), (100, 100, 200, 300)] {
        for seed in 0..4 {
            let mut world = World::new(seed, 2, 1, Mutant::None);
            world.log = Some(Vec::new());
            for host in 0..2 {
                world.act(Act::StartSidecar(host));
                world.act(Act::Calls {
                    host,
                    lose,
                    lose_answer,
                    late,
                    duplicate,
                    latency: 30 * MS,
                });
            }
            world.run_for(40_000);
            check(&world, true, "");
            world.act(Act::Heal);
            until_active(&mut world, "mail", None, 25_000);
        }
    }
}

#[test]
fn sigterm_ends_the_process_at_any_moment_of_a_campaign() {
    for delay in 0..60 {
        let mut world = cluster(1, 1);
        world.run_for(5000 + delay * 10);
        world.act(Act::Term(0));
        world.run_for(5000);
        check(&world, world.hosts[0].node.is_none(), &format!("ended, {delay}"));
        let free = world
            .record("mail")
            .is_none_or(|record| record.state == RecordState::Released);
        check(&world, free, &format!("nothing is left held, {delay}"));
    }
}

#[test]
fn sigterm_while_etcd_is_away_ends_the_process_after_the_stop() {
    let mut world = settled(2, 1);
    world.act(Act::EtcdDown);
    world.run_for(500);
    world.act(Act::Term(0));
    world.run_for(7000);
    check(&world, world.hosts[0].node.is_none(), "ended");
    check(
        &world,
        world.hosts[0].containers.values().all(|c| c.life == Life::Stopped),
        "stopped",
    );
    world.act(Act::EtcdUp);
    until_active(&mut world, "mail", Some(1), 12_000);
}

#[test]
fn sigterm_right_after_a_restart_of_the_sidecar_still_hands_over() {
    for delay in [0, 2, 5, 10, 20, 40, 80, 500, 1600] {
        let mut world = settled(2, 1);
        world.act(Act::KillSidecar(0));
        world.run_for(100);
        world.act(Act::StartSidecar(0));
        world.run_for(delay);
        world.act(Act::Term(0));
        let took = until_active(&mut world, "mail", Some(1), 9000);
        check(&world, took < 4000, &format!("took {took} ms after {delay} ms"));
    }
}

#[test]
fn a_restored_etcd_freezes_everyone_until_an_operator_accepts() {
    for new_id in [false, true] {
        let mut world = settled(3, 1);
        world.act(Act::Snapshot);
        world.run_for(8000);
        world.act(Act::EtcdDown);
        world.run_for(4500);
        world.act(Act::Restore { new_id });
        world.act(Act::EtcdUp);
        world.run_for(20_000);
        check(&world, world.active("mail").is_empty(), "nothing runs");
        check(
            &world,
            world.alarms.iter().any(|text| text.contains("accept")),
            "it says why",
        );
        world.act(Act::Accept(1));
        let took = until_active(&mut world, "mail", None, 12_000);
        check(&world, saw(&world, "T11"), &format!("took {took}"));
        world.run_for(20_000);
        check(&world, world.active("mail").len() == 1, "");
    }
}

#[test]
fn a_lease_that_etcd_forgot_is_asked_for_anew() {
    let mut world = cluster(1, 1);
    for _ in 0..200 {
        world.run_for(1);
        let leases: Vec<i64> = world.etcd.leases.keys().copied().collect();
        if leases.len() == 1 && !world.etcd.keys.contains_key(&world.keys.node("a")) {
            world.etcd.leases.clear();
            break;
        }
    }
    until_active(&mut world, "mail", Some(0), 12_000);
}

#[test]
fn an_engine_that_hangs_or_refuses_does_not_hold_the_group_for_ever() {
    let mut world = cluster(2, 1);
    world.act(Act::Engine {
        host: 0,
        hangs: false,
        refuses: true,
        lies: false,
    });
    until_active(&mut world, "mail", Some(1), 40_000);
}

#[test]
fn a_start_that_completes_late_starts_nothing() {
    let mut world = settled(2, 1);
    world.act(Act::Engine {
        host: 1,
        hangs: true,
        refuses: false,
        lies: false,
    });
    world.act(Act::PowerOff(0));
    world.run_for(8000);
    world.act(Act::PowerOn(0));
    world.act(Act::KillSidecar(1));
    until_active(&mut world, "mail", Some(0), 20_000);
    world.act(Act::Engine {
        host: 1,
        hangs: false,
        refuses: false,
        lies: false,
    });
    world.run_for(3000);
    check(&world, world.active("mail") == [0], "");
}

#[test]
fn what_cannot_be_killed_is_never_handed_over() {
    let mut world = settled(2, 1);
    world.act(Act::Storage {
        host: 0,
        fault: Fault::Hangs,
    });
    world.act(Act::Term(0));
    world.run_for(60_000);
    check(&world, world.active("mail").is_empty(), "nobody else starts");
    let held = world
        .record("mail")
        .is_some_and(|record| record.state == RecordState::Active);
    check(&world, held && !saw(&world, "T4"), "the record is held by beats");
    check(
        &world,
        world.alarms.iter().any(|text| text.contains("not proved stopped")),
        "it alarms",
    );
    // Marked, so that not even the silence of a host that is gone frees it.
    world.act(Act::PowerOff(0));
    world.run_for(60_000);
    let stuck = world.record("mail").is_some_and(|record| record.stuck.is_some());
    check(&world, stuck && world.active("mail").is_empty(), "the mark stays");
    world.act(Act::Fenced { host: 1, node: 0 });
    until_active(&mut world, "mail", Some(1), 2000);
}

#[test]
fn suspend_and_pause_end_a_run_before_another_starts() {
    for sleep in [false, true] {
        let mut world = settled(2, 1);
        world.act(Act::Freeze { host: 0, sleep });
        world.run_for(9000);
        check(&world, world.active("mail") == [1], "taken over");
        world.act(Act::Thaw(0));
        world.run_for(20_000);
        check(&world, world.active("mail") == [1], "");
    }
}

#[test]
fn a_stopped_sidecar_that_goes_on_starts_nothing_stale() {
    for pause in [1000, 3900, 4600, 9000] {
        let mut world = settled(2, 1);
        world.act(Act::StopSignal(0));
        world.run_for(pause);
        world.act(Act::ContinueSignal(0));
        world.run_for(20_000);
        check(&world, world.active("mail").len() == 1, &format!("{pause}"));
    }
}

#[test]
fn a_disowned_run_gives_its_address_up() {
    let mut world = settled(2, 1);
    world.act(Act::Hold(0, Duration::from_secs(60)));
    world.run_for(500);
    world.act(Act::Term(0));
    world.run_for(1000);
    // Its key is somebody else's now.
    let key = world.keys.node("a");
    let lease = world.etcd.keys.get(&key).map_or(0, |kv| kv.lease);
    world.etcd.revoke(lease);
    world.act(Act::StartSidecar(0));
    world.run_for(300);
    check(&world, world.hosts[0].vips.is_empty(), "no address is left");
    world.run_for(30_000);
    check(&world, world.active("mail").len() == 1, "one holder");
}

#[test]
fn accept_is_refused_while_somebody_may_run_on_under_a_hold() {
    let mut world = settled(2, 1);
    world.act(Act::Hold(0, Duration::from_secs(60)));
    world.run_for(500);
    world.act(Act::Term(0));
    world.run_for(1000);
    world.act(Act::Accept(1));
    world.run_for(20_000);
    check(&world, world.active("mail") == [0], "it goes on");
    check(
        &world,
        world.replies.iter().any(|(h, reply)| *h == 1 && reply.is_err()),
        "refused",
    );
}

#[test]
fn a_key_deleted_by_hand_under_a_hold_makes_no_second_writer() {
    // Observers that saw the long beat, and one that starts only when the key is gone.
    for late in [false, true] {
        let mut world = settled(2, 2);
        if late {
            world.act(Act::KillSidecar(1));
        }
        world.act(Act::Hold(0, Duration::from_secs(30)));
        world.run_for(500);
        world.act(Act::Term(0));
        world.run_for(1000);
        world.act(Act::DeleteNodeKey(0));
        world.act(Act::StartSidecar(1));
        world.run_for(20_000);
        check(&world, world.active("mail") == [0], "it goes on to the end of its hold");
        until_active(&mut world, "mail", Some(1), 25_000);
        until_active(&mut world, "web", Some(1), 2000);
    }
}

#[test]
fn a_hold_that_has_ended_is_no_longer_in_the_record() {
    let mut world = settled(2, 1);
    world.act(Act::Hold(0, Duration::from_secs(60)));
    world.run_for(500);
    let promise = |world: &World| world.record("mail").and_then(|record| record.promise_ms);
    check(&world, promise(&world) == Some(60_000), "written with the long beat");
    world.act(Act::Term(0));
    world.run_for(1000);
    world.act(Act::StartSidecar(0));
    world.run_for(2000);
    check(
        &world,
        promise(&world).is_none(),
        "gone soon after the first short beat",
    );
    world.act(Act::KillSidecar(0));
    world.act(Act::DeleteNodeKey(0));
    until_active(&mut world, "mail", Some(1), 7000);
}

#[test]
fn a_suspended_host_with_a_slow_boot_clock_does_not_outlive_its_hold() {
    let mut world = cluster(2, 1);
    for (host, rate) in [(0, 0.92), (1, 1.0)] {
        let clock = &mut world.hosts[host].clock;
        (clock.boot_rate, clock.raw_rate) = (rate, 1.0);
    }
    until_active(&mut world, "mail", Some(0), 8000);
    world.run_for(5000);
    world.act(Act::Hold(0, Duration::from_secs(100)));
    world.run_for(500);
    world.act(Act::Term(0));
    world.run_for(20_000);
    world.act(Act::Freeze { host: 0, sleep: true });
    world.run_for(40_000);
    world.act(Act::Thaw(0));
    // The address outlives it by what the kernel did not count in suspend; nobody else adds it until then.
    until_active(&mut world, "mail", Some(1), 90_000);
    check(&world, !saw(&world, "woke past its deadline"), "it woke in time");
}

#[test]
fn validity_counts_from_the_stamp() {
    // S6 compares every page with the beat that allows it; an answer that takes long must not prolong anything.
    let mut world = settled(2, 1);
    world.act(Act::Calls {
        host: 0,
        lose: 0,
        lose_answer: 0,
        late: 0,
        duplicate: 0,
        latency: 240 * MS,
    });
    world.run_for(15_000);
    check(&world, starts(&world) == 1, "it goes on");
}

#[test]
fn a_stop_that_had_begun_goes_on_after_a_crash_of_the_sidecar() {
    let mut world = settled(2, 1);
    world.hosts[0].manners.ignores_term = true;
    world.act(Act::Switchover(0, "mail".to_owned(), None));
    for _ in 0..1000 {
        world.run_for(1);
        if world.hosts[0]
            .saved
            .as_ref()
            .is_some_and(|saved| saved.groups.values().any(|run| run.latched))
        {
            break;
        }
        if world.hosts[0].containers.values().any(|c| c.signalled) {
            break;
        }
    }
    world.act(Act::KillSidecar(0));
    world.run_for(100);
    world.act(Act::StartSidecar(0));
    world.run_for(10_000);
    check(&world, true, "S8 holds");
    world.run_for(10_000);
    check(&world, world.active("mail").len() == 1, "one holder");
}

#[test]
fn a_lost_answer_costs_nothing() {
    let mut world = settled(2, 1);
    for _ in 0..10 {
        world.hosts[0].manners.lose_answer = 1000;
        world.run_for(450);
        world.hosts[0].manners.lose_answer = 0;
        world.run_for(3000);
    }
    check(&world, starts(&world) == 1 && world.active("mail") == [0], "untouched");
}

/// `hold`, then `docker compose up -d` with a file that has the group no more: its page would outlive the first plain beat.
#[test]
fn a_group_that_left_the_file_under_a_hold_is_stopped_and_let_go() {
    let mut world = settled(2, 2);
    world.act(Act::Hold(0, Duration::from_secs(60)));
    world.run_for(500);
    world.act(Act::Term(0));
    world.run_for(500);
    let gone = world.groups[0].clone();
    world.hosts[0].dropped.insert(gone.clone());
    world.act(Act::StartSidecar(0));
    world.run_for(3000);
    check(&world, true, "");
    world.act(Act::KillSidecar(0));
    world.run_for(20_000);
    check(&world, world.active(&gone) == [1], "the standby serves it");
}

/// The same without a hold: the sidecar is removed by force and made anew. Its beats go on, and nobody else could take it.
#[test]
fn a_group_that_left_the_file_after_a_crash_comes_up_elsewhere() {
    let mut world = settled(2, 2);
    world.act(Act::KillSidecar(0));
    world.run_for(500);
    let gone = world.groups[0].clone();
    world.hosts[0].dropped.insert(gone.clone());
    world.act(Act::StartSidecar(0));
    world.run_for(120_000);
    check(&world, world.active(&gone) == [1], "the standby serves it");
}

/// The sidecar ended before it heard that it had won. Nothing was started under that record, and nobody else could take it,
/// because the beats of its incarnation go on.
#[test]
fn a_campaign_that_landed_unheard_is_released_when_its_group_left_the_file() {
    let mut world = settled(2, 1);
    world.act(Act::KillSidecar(0));
    let won = world.etcd.keys[&world.keys.record("mail")].value.clone();
    world.etcd.revision += 1;
    let revision = world.etcd.revision;
    world.etcd.put(&world.keys.record("gone"), &won, 0, revision);
    world.act(Act::StartSidecar(0));
    world.run_for(3000);
    let released = world
        .record("gone")
        .is_some_and(|record| record.state == RecordState::Released);
    check(
        &world,
        released && world.active("mail") == [0],
        "released, and mail goes on",
    );
}
