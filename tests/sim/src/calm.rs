//! Disturbances that the sizing covers, and planned moves: what is not allowed to cost anything.

use crate::events::Act;
use crate::host::{MS, S};
use crate::members::{MEMBERS, State};
use crate::mutants::Mutant;
use crate::world::World;

fn calm(seed: u64) -> World {
    let mut world = World::new(seed, 3, 2, Mutant::None);
    for host in 0..3 {
        world.act(Act::StartSidecar(host));
    }
    world.run_until(9 * S);
    world
}

fn report(seed: u64, world: &World, why: &str) -> String {
    format!("seed {seed}: {why}; {:?} {:?}", world.failure, world.alarms)
}

/// V2: an election, an endpoint that is cut off, an outage of two attempts: zero stops.
#[test]
fn a_disturbance_that_the_sizing_covers_stops_nothing() {
    for seed in 1..=300 {
        let mut world = calm(seed);
        let before = world.counts["started"];
        for _ in 0..8 {
            let member = world.rng.pick(MEMBERS);
            let length = world.rng.range(S / 5, 6 * S);
            let state = [State::Down, State::Paused, State::CutOff][world.rng.pick(3)];
            match world.rng.pick(3) {
                0 => world.act(Act::Member(member, state)),
                1 => world.act(Act::Endpoint {
                    host: 0,
                    member,
                    to: false,
                    from: false,
                }),
                _ => {
                    world.act(Act::EtcdDown);
                    world.run_for(1500);
                    world.act(Act::EtcdUp);
                }
            }
            world.run_until(world.now + length);
            world.act(Act::Heal);
            world.run_for(8000);
        }
        let same = world.counts["started"] == before && world.failure.is_none();
        assert!(same, "{}", report(seed, &world, "V2: something was stopped"));
    }
}

/// V3: a switchover takes the stop and the start, never the ttl, whatever the network loses meanwhile.
#[test]
fn a_clean_switchover_never_waits_for_a_ttl() {
    for seed in 1..=300 {
        let mut world = calm(seed);
        for _ in 0..4 {
            let from = world.active("mail")[0];
            world.act(Act::Switchover(from, "mail".to_owned(), None));
            let asked = world.now;
            while world.active("mail").is_empty() || world.active("mail") == [from] {
                world.run_for(20);
                let took = (world.now - asked) / MS;
                assert!(took < 2500, "{}", report(seed, &world, &format!("V3: {took} ms")));
            }
            world.run_for(12_000);
        }
        assert!(world.failure.is_none(), "{}", report(seed, &world, "broken"));
    }
}
