//! Random schedules: faults for a while, then everything is healed and one holder per group must come up.

use std::collections::BTreeMap;

use crate::events::Act;
use crate::features::try_out;
use crate::host::{MS, S};
use crate::mutants::Mutant;
use crate::plan::{change_ttl, give_orders, plan};
use crate::promises::promise;
use crate::rng::Rng;
use crate::world::World;

/// How long faults rain, in true nanoseconds.
const STORM: u64 = 60 * S;
/// Everything healed: one holder after this, unless something slow was ordered.
const HEALED: u64 = 3 * 5 * S + 10 * S;
/// A request that no node could carry out within ten seconds is given up.
const WISHES_KEPT: u64 = 11 * S;

fn build(seed: u64, mutant: Mutant, logged: bool) -> World {
    let mut world = World::new(seed, 1, 1, mutant);
    let hosts = 2 + world.rng.pick(3);
    let groups = [1, 1, 2, 2, 2, 3, 5][world.rng.pick(7)];
    // Two machines may bear one name: the second can only wait.
    let twin = world.rng.chance(120);
    world = World::new(seed, hosts, groups, mutant);
    world.log = logged.then(Vec::new);
    tighten(&mut world, seed);
    world.colocated = world.rng.chance(500);
    for h in 0..hosts {
        let delay = world.rng.range(0, 3 * S);
        world.schedule(delay, Act::StartSidecar(h));
    }
    if twin && hosts > 2 {
        world.hosts[hosts - 1].name = world.hosts[0].name.clone();
        world.count("two machines of one name");
    }
    let level = world.rng.range(1, 4);
    let mut at = 4 * S;
    while at < STORM {
        at += world.rng.range(S / 2, 12 * S / level);
        plan(&mut world, at);
    }
    change_ttl(&mut world, seed, STORM);
    give_orders(&mut world, seed, STORM);
    try_out(&mut world, seed, STORM);
    promise(&mut world, seed, STORM);
    world
}

/// One world in five has a ttl of one to three seconds; from a source of its own.
fn tighten(world: &mut World, seed: u64) {
    let mut rng = Rng(seed ^ 0x7469_6768);
    if rng.chance(200) {
        world.tighten([1000, 1500, 2000, 2500][rng.pick(4)]);
        world.count("a ttl below three seconds");
    }
}

/// Runs one seed; the failure, if there is one.
fn run(world: &mut World) -> Option<String> {
    world.run_until(STORM + 15 * S);
    world.act(Act::Heal);
    let mut bound = HEALED;
    if world.counts.contains_key("act Hold") {
        bound += 26 * S;
    }
    if world.restored {
        bound += 15 * S;
    }
    if world.counts.contains_key("act ChangeTtl") {
        bound += 45 * S;
    }
    // Restarts in place back off, and a start that never says hello is waited for.
    let slow = [
        "engine hung",
        "engine refused",
        "engine lied",
        "storage refused at the gate",
    ];
    if slow.iter().any(|what| world.counts.contains_key(*what)) {
        bound += 60 * S;
    }
    if world.counts.keys().any(|what| what.starts_with("claim")) {
        bound += 60 * S;
    }
    if stuck_on(world).is_some() {
        bound += 60 * S;
    }
    bound += patience(world);
    let end = world.now + bound;
    // What an operator asked for before, such as an `accept` of a node that was just starting, may be carried out until then.
    let last_wish = world.now + WISHES_KEPT;
    let mut next = world.now;
    while world.failure.is_none() && world.now < end && (world.now < last_wish || !settled(world)) {
        let was_lost = world.lost;
        next += 200 * MS;
        world.run_until(next);
        // A service manager starts what ended; an operator accepts what is frozen.
        world.revive_quietly();
        // A start that the claim refuses, because etcd was restored to an older epoch, is overcome by accepting again: on
        // one host after the other, since one that is no member can't do it.
        let look = next / (200 * MS);
        let frozen = world.hosts.iter().position(|host| host.frozen_core);
        let any = usize::try_from(look / 15).unwrap_or_default() % world.hosts.len();
        let wanted = frozen.or(world.claim_refused.then_some(any));
        if world.lost && look.is_multiple_of(15) {
            world.import_or_begin_anew(any);
        } else if let Some(h) = wanted.filter(|_| look.is_multiple_of(15)) {
            world.accept_quietly(h);
        }
        if was_lost && !world.lost {
            // The export has brought back what was ordered before it.
            world.end_all_orders();
        }
        if (next / (200 * MS)).is_multiple_of(50) {
            power_cycle_what_is_stuck(world);
            next = world.now;
        }
    }
    if world.failure.is_none() && !settled(world) {
        let of = |group: &String| (group.clone(), world.active(group), world.record(group));
        let who: Vec<_> = world.groups.iter().map(of).collect();
        world.fail(format!("not healed after {} s: {who:?}", bound / S));
    }
    world.run_until(world.now + 5 * S);
    let moved_by = world.now + 6 * S;
    while world.moves_by_itself() && world.failure.is_none() && !settled(world) && world.now < moved_by {
        world.run_until(world.now + 100 * MS);
    }
    if world.failure.is_none() && !settled(world) && !world.restored {
        world.fail("healed, but not for long".to_owned());
    }
    world.failure.clone()
}

/// What policies may take besides: a fence that refuses is tried again after a minute.
fn patience(world: &World) -> u64 {
    let fence = if world.counts.contains_key("fence") { 90 * S } else { 0 };
    let lost = if world.counts.contains_key("act LoseEtcd") {
        45 * S
    } else {
        0
    };
    let unwell = if world.policies.watched { 30 * S } else { 0 };
    // Who is on no list waits for the bound, and may do so once more after an accept.
    let unlisted = world.direct.bound().map_or(0, |bound| 2 * bound + 15 * S);
    fence + lost + unwell + unlisted
}

/// The host that a mark in etcd names.
fn stuck_on(world: &World) -> Option<usize> {
    let marked = |group: &String| world.record(group).filter(|record| record.stuck.is_some());
    let node = world.groups.iter().find_map(marked)?.node;
    world.hosts.iter().position(|host| host.name == node)
}

/// An operator does what the alarm says: power off, say so on another node once it is silent, power on. Of two machines that bear
/// the name he takes both: the mark does not say which.
fn power_cycle_what_is_stuck(world: &mut World) {
    let Some(node) = stuck_on(world) else { return };
    let of_name = |host: &usize| world.hosts[*host].name == world.hosts[node].name;
    let (named, others): (Vec<usize>, Vec<usize>) = (0..world.hosts.len()).partition(of_name);
    for host in &named {
        world.act(Act::PowerOff(*host));
    }
    // Silent for as long as its last beat promised, under whatever ttl.
    let silence = if world.counts.contains_key("act ChangeTtl") {
        20
    } else {
        10
    };
    world.run_until(world.now + silence * S);
    // One that is no member says: say it on another one.
    for host in others {
        world.act(Act::Fenced { host, node });
        world.run_until(world.now + S);
    }
    for host in named {
        world.act(Act::PowerOn(host));
    }
}

fn settled(world: &World) -> bool {
    world.groups.iter().all(|group| world.active(group).len() == 1)
}

/// Runs a seed; a core that panics is a failure like any other.
pub(crate) fn seed(seed: u64, mutant: Mutant, logged: bool) -> (Option<String>, BTreeMap<String, u64>, Vec<String>) {
    let mut world = build(seed, mutant, logged);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&mut world)));
    let failure = match outcome {
        Ok(failure) => failure,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("panic: {}", text.unwrap_or_default()))
        }
    };
    (failure, world.counts, world.log.unwrap_or_default())
}
