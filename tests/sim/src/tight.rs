//! Directed schedules: a ttl of one second, where little time is left between the kill and the end of the lease.

use crate::directed::{check, starts, until_active};
use crate::events::Act;
use crate::host::MS;
use crate::mutants::Mutant;
use crate::world::World;

/// Longer than the short time that is kept for a kill.
const LATE: u64 = 300 * MS;

/// A running cluster whose holder is the first host, and whose tethers are known to wake up in time.
fn tight(seed: u64) -> World {
    let mut world = World::new(seed, 3, 1, Mutant::None);
    world.log = Some(Vec::new());
    world.tighten(1000);
    for host in 0..3 {
        world.act(Act::StartSidecar(host));
    }
    until_active(&mut world, "mail", Some(0), 8000);
    world.run_for(5000);
    check(&world, starts(&world) == 1, "one start");
    world
}

/// The sidecar of the holder hangs: nobody but the tether ends the service.
fn hang(world: &mut World) {
    world.act(Act::StopSignal(0));
}

/// The tethers of the holder's host begin to wake up late, and nothing but their kill ends the service.
fn slow(world: &mut World) {
    let manners = &mut world.hosts[0].manners;
    (manners.oversleeps, manners.ignores_term) = (LATE, true);
}

#[test]
fn a_dead_holder_is_followed_within_two_seconds() {
    let mut world = tight(7);
    world.act(Act::PowerOff(0));
    let took = until_active(&mut world, "mail", Some(1), 4000);
    check(&world, took < 2000, &format!("took {took} ms"));
}

#[test]
fn an_ordinary_election_of_etcd_stops_nothing() {
    let mut world = tight(7);
    for member in 0..3 {
        world.act(Act::Member(member, crate::members::State::Down));
        world.run_for(450);
        world.act(Act::Members);
        world.run_for(1500);
    }
    check(&world, starts(&world) == 1, "it was stopped");
}

#[test]
fn a_tether_that_is_late_has_more_time_for_the_kill() {
    for seed in 1..=12 {
        let mut world = tight(seed);
        slow(&mut world);
        // Its next word of how late it is, and the beats after it; the end of the lease at any time of its sleep.
        world.run_for(3000 + seed * 25);
        hang(&mut world);
        until_active(&mut world, "mail", Some(1), 6000);
        check(&world, starts(&world) == 2, "another host has taken it");
    }
}

#[test]
fn a_tether_that_is_found_late_has_more_time_on_the_lease_that_runs() {
    // Whenever it tells that: before the last beat, or after it.
    for seed in 1..=24 {
        let mut world = tight(seed);
        world.run_for(seed * 10);
        world.act(Act::Network {
            host: 0,
            to: false,
            from: false,
        });
        world.run_for(100);
        world.tell_of_wakeups(0, LATE);
        world.run_for(5);
        slow(&mut world);
        hang(&mut world);
        until_active(&mut world, "mail", Some(1), 6000);
        check(&world, starts(&world) == 2, "another host has taken it");
    }
}
