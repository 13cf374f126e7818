//! Random schedules: faults for a while, then everything is healed and one holder per group must come up.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::events::Act;
use crate::host::{MS, S};
use crate::mutants::Mutant;
use crate::world::World;

/// How long faults rain, in true nanoseconds.
const STORM: u64 = 60 * S;
/// Everything healed: one holder after this, unless something slow was ordered.
const HEALED: u64 = 3 * 5 * S + 10 * S;

fn build(seed: u64, mutant: Mutant, logged: bool) -> World {
    let mut world = World::new(seed, 1, 1, mutant);
    let hosts = 2 + world.rng.pick(2);
    let groups = 1 + world.rng.pick(2);
    world = World::new(seed, hosts, groups, mutant);
    world.log = logged.then(Vec::new);
    for h in 0..hosts {
        let delay = world.rng.range(0, 3 * S);
        world.schedule(delay, Act::StartSidecar(h));
    }
    let level = world.rng.range(1, 4);
    let mut at = 4 * S;
    while at < STORM {
        at += world.rng.range(S / 2, 12 * S / level);
        plan(&mut world, at);
    }
    world
}

/// One fault with its repair, or an operator's command.
#[expect(clippy::too_many_lines, reason = "one match over every fault")]
fn plan(world: &mut World, at: u64) {
    let h = world.rng.pick(world.hosts.len());
    let g = world.rng.pick(world.groups.len());
    let group = world.groups[g].clone();
    let back = at + world.rng.range(S / 5, 10 * S);
    let short = at + world.rng.range(S / 5, 3 * S);
    match world.rng.range(0, 22) {
        0 => pair(world, at, Act::PowerOff(h), back, Act::PowerOn(h)),
        1 | 2 => pair(world, at, Act::KillSidecar(h), short, Act::StartSidecar(h)),
        3 => {
            let after = world.rng.pick(6);
            pair(world, at, Act::CrashAfter(h, after), back, Act::StartSidecar(h));
        }
        4 => pair(world, at, Act::StopSignal(h), back, Act::ContinueSignal(h)),
        5 => {
            let sleep = world.rng.chance(500);
            pair(world, at, Act::Freeze { host: h, sleep }, back, Act::Thaw(h));
        }
        6 | 7 => {
            let (to, from) = [(false, false), (true, false), (false, true)][world.rng.pick(3)];
            let heal = Act::Network {
                host: h,
                to: true,
                from: true,
            };
            pair(world, at, Act::Network { host: h, to, from }, back, heal);
        }
        8 => pair(world, at, Act::EtcdDown, short, Act::EtcdUp),
        9 => pair(world, at, Act::EtcdDown, back, Act::EtcdUp),
        10 => world.schedule(at, Act::DeleteNodeKey(h)),
        11 => world.schedule(at, Act::CrashApp(h, group)),
        12 => {
            let hangs = world.rng.chance(500);
            let heal = Act::Engine {
                host: h,
                hangs: false,
                refuses: false,
            };
            pair(
                world,
                at,
                Act::Engine {
                    host: h,
                    hangs,
                    refuses: !hangs,
                },
                back,
                heal,
            );
        }
        13..=15 => calls(world, at, back, h),
        16 => {
            let (tether, die) = (world.rng.range(50, 150) * MS, world.rng.range(30, 150) * MS);
            let ignores_term = world.rng.chance(500);
            world.schedule(
                at,
                Act::SlowTether {
                    host: h,
                    tether,
                    die,
                    ignores_term,
                },
            );
        }
        17 => pair(world, at, Act::Term(h), back, Act::StartSidecar(h)),
        18 | 19 => {
            let other = world.rng.pick(world.hosts.len());
            let to = world.rng.chance(700).then(|| world.hosts[other].name.clone());
            world.schedule(at, Act::Switchover(h, group, to));
        }
        20 => {
            let length = Duration::from_secs(world.rng.range(20, 26));
            world.schedule(at, Act::Hold(h, length));
            let term = at + world.rng.range(S / 5, 3 * S);
            let start = term + world.rng.range(S, 12 * S);
            pair(world, term, Act::Term(h), start, Act::StartSidecar(h));
        }
        _ => restore(world, at, h),
    }
}

fn pair(world: &mut World, at: u64, fault: Act, back: u64, repair: Act) {
    world.schedule(at, fault);
    world.schedule(back, repair);
}

fn calls(world: &mut World, at: u64, back: u64, host: usize) {
    let bad = |world: &mut World| {
        if world.rng.chance(500) {
            world.rng.range(0, 400)
        } else {
            0
        }
    };
    let (lose, lose_answer, late, duplicate) = (bad(world), bad(world), bad(world), bad(world));
    let latency = world.rng.range(5, 300) * MS;
    let fault = Act::Calls {
        host,
        lose,
        lose_answer,
        late,
        duplicate,
        latency,
    };
    let heal = Act::Calls {
        host,
        lose: 0,
        lose_answer: 0,
        late: 0,
        duplicate: 0,
        latency: 8 * MS,
    };
    pair(world, at, fault, back, heal);
}

/// An etcd restored from a snapshot, slower than the contact gap; then an operator accepts.
fn restore(world: &mut World, at: u64, h: usize) {
    let taken = at.saturating_sub(world.rng.range(0, 10 * S)).max(1);
    let new_id = world.rng.chance(500);
    world.schedule(taken, Act::Snapshot);
    world.schedule(at, Act::EtcdDown);
    world.schedule(at + 4 * S, Act::Restore { new_id });
    world.schedule(at + 4 * S, Act::EtcdUp);
    let accept = at + world.rng.range(5 * S, 15 * S);
    world.schedule(accept, Act::Accept(h));
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
    // Restarts in place back off, and a hung start is waited for.
    if world.counts.contains_key("engine hung") || world.counts.contains_key("engine refused") {
        bound += 35 * S;
    }
    let end = world.now + bound;
    let mut next = world.now;
    while world.failure.is_none() && world.now < end && !settled(world) {
        next += 200 * MS;
        world.run_until(next);
        // A service manager starts what ended; an operator accepts what is frozen.
        world.revive_quietly();
        let frozen = world.hosts.iter().position(|host| host.frozen_core);
        if let Some(h) = frozen.filter(|_| (next / (200 * MS)).is_multiple_of(15)) {
            world.accept_quietly(h);
        }
    }
    if world.failure.is_none() && !settled(world) {
        let who: Vec<_> = world
            .groups
            .iter()
            .map(|group| (group, world.active(group), world.record(group)))
            .collect();
        world.fail(format!("not healed after {} s: {who:?}", bound / S));
    }
    world.run_until(world.now + 5 * S);
    if world.failure.is_none() && !settled(world) && !world.restored {
        world.fail("healed, but not for long".to_owned());
    }
    world.failure.clone()
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
