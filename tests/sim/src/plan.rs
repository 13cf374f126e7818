//! The faults that rain on a random schedule, each with its repair, and what operators do meanwhile.

use std::time::Duration;

use leasehold_core::event::OrderKind;

use crate::events::Act;
use crate::host::{MS, S};
use crate::members::{MEMBERS, State};
use crate::rng::Rng;
use crate::storage::Fault;
use crate::world::World;

/// Who is hit, and when it is repaired.
struct Blow {
    at: u64,
    host: usize,
    back: u64,
    short: u64,
}

/// One fault with its repair, or an operator's command.
pub(crate) fn plan(world: &mut World, at: u64) {
    let blow = Blow {
        at,
        host: world.rng.pick(world.hosts.len()),
        back: at + world.rng.range(S / 5, 10 * S),
        short: at + world.rng.range(S / 5, 3 * S),
    };
    match world.rng.range(0, 40) {
        0..=9 => of_the_host(world, &blow),
        10..=17 => of_the_network(world, &blow),
        18..=23 => of_etcd(world, &blow),
        24..=30 => of_the_container(world, &blow),
        _ => by_an_operator(world, &blow),
    }
}

fn pair(world: &mut World, at: u64, fault: Act, back: u64, repair: Act) {
    world.schedule(at, fault);
    world.schedule(back, repair);
}

fn of_the_host(world: &mut World, blow: &Blow) {
    let Blow { at, host, back, short } = *blow;
    match world.rng.range(0, 10) {
        0 | 1 => {
            if world.rng.chance(300) {
                let other = world.rng.pick(world.hosts.len());
                world.schedule(
                    short,
                    Act::Fenced {
                        host: other,
                        node: host,
                    },
                );
            }
            pair(world, at, Act::PowerOff(host), back, Act::PowerOn(host));
        }
        2 | 3 => pair(world, at, Act::KillSidecar(host), short, Act::StartSidecar(host)),
        4 | 5 => {
            let after = world.rng.pick(6);
            pair(world, at, Act::CrashAfter(host, after), back, Act::StartSidecar(host));
        }
        6 | 7 => pair(world, at, Act::StopSignal(host), back, Act::ContinueSignal(host)),
        _ => {
            let sleep = world.rng.chance(500);
            pair(world, at, Act::Freeze { host, sleep }, back, Act::Thaw(host));
        }
    }
}

fn of_the_network(world: &mut World, blow: &Blow) {
    let Blow { at, host, back, .. } = *blow;
    match world.rng.range(0, 8) {
        0..=2 => {
            let (to, from) = way(world);
            let heal = Act::Network {
                host,
                to: true,
                from: true,
            };
            pair(world, at, Act::Network { host, to, from }, back, heal);
        }
        3 | 4 => {
            let (to, from) = way(world);
            let member = world.rng.pick(MEMBERS);
            let cut = Act::Endpoint { host, member, to, from };
            let heal = Act::Endpoint {
                host,
                member,
                to: true,
                from: true,
            };
            pair(world, at, cut, back, heal);
        }
        _ => calls(world, at, back, host),
    }
}

fn way(world: &mut World) -> (bool, bool) {
    [(false, false), (true, false), (false, true)][world.rng.pick(3)]
}

fn calls(world: &mut World, at: u64, back: u64, host: usize) {
    let mut bad = || {
        let hit = world.rng.chance(500);
        if hit { world.rng.range(0, 400) } else { 0 }
    };
    let (lose, lose_answer, late, duplicate) = (bad(), bad(), bad(), bad());
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

fn of_etcd(world: &mut World, blow: &Blow) {
    let Blow {
        at, host, back, short, ..
    } = *blow;
    let member = world.rng.pick(MEMBERS);
    let end = if world.rng.chance(500) { short } else { back };
    match world.rng.range(0, 12) {
        0 | 1 => pair(world, at, Act::EtcdDown, end, Act::EtcdUp),
        2 => pair(world, at, Act::Leader(State::Down), end, Act::Members),
        3 | 4 => pair(world, at, Act::Leader(State::Paused), end, Act::Members),
        5 | 6 => pair(world, at, Act::Leader(State::CutOff), end, Act::Members),
        7 => {
            let states = [State::Down, State::Paused, State::CutOff];
            let state = states[world.rng.pick(3)];
            pair(
                world,
                at,
                Act::Member(member, state),
                end,
                Act::Member(member, State::Up),
            );
        }
        8 => {
            // The majority is gone.
            world.schedule(at, Act::Member((member + 1) % MEMBERS, State::Down));
            pair(world, at, Act::Member(member, State::Down), end, Act::Members);
        }
        9 => pair(world, at, Act::Swap, back, Act::SwapBack),
        _ => restore(world, at, host),
    }
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

fn of_the_container(world: &mut World, blow: &Blow) {
    let Blow { at, host, back, .. } = *blow;
    let group = any_group(world);
    match world.rng.range(0, 8) {
        0 | 1 => world.schedule(at, Act::CrashApp(host, group)),
        2 | 3 => {
            let kind = world.rng.pick(3);
            let fault = Act::Engine {
                host,
                hangs: kind == 0,
                refuses: kind == 1,
                lies: kind == 2,
            };
            let heal = Act::Engine {
                host,
                hangs: false,
                refuses: false,
                lies: false,
            };
            pair(world, at, fault, back, heal);
        }
        4 | 5 => {
            let fault = if world.rng.chance(500) {
                Fault::Hangs
            } else {
                Fault::Refuses
            };
            let heal = Act::Storage {
                host,
                fault: Fault::Fine,
            };
            pair(world, at, Act::Storage { host, fault }, back, heal);
        }
        _ => {
            let (tether, die) = (world.rng.range(50, 150) * MS, world.rng.range(30, 150) * MS);
            let ignores_term = world.rng.chance(500);
            world.schedule(
                at,
                Act::SlowTether {
                    host,
                    tether,
                    die,
                    ignores_term,
                },
            );
        }
    }
}

fn any_group(world: &mut World) -> String {
    let g = world.rng.pick(world.groups.len());
    world.groups[g].clone()
}

/// The ttl changes, up or down, to what the sizing takes and to less; from a source of its own, so that the schedules
/// without it stay what they were.
pub(crate) fn change_ttl(world: &mut World, seed: u64, until: u64) {
    let mut rng = Rng(seed ^ 0x7474_6c00);
    if !rng.chance(350) {
        return;
    }
    let mut at = rng.range(6 * S, 25 * S);
    while at < until {
        let halves = if world.tight { rng.range(2, 9) } else { rng.range(8, 33) };
        let ttl = Duration::from_millis(500 * halves);
        world.schedule(at, Act::ChangeTtl(rng.pick(world.hosts.len()), ttl));
        at += rng.range(S / 10, 25 * S);
    }
}

/// Groups are stopped, deleted, taken from nodes, and given back; from a source of its own, too.
pub(crate) fn give_orders(world: &mut World, seed: u64, until: u64) {
    let mut rng = Rng(seed ^ 0x6f72_6465);
    if !rng.chance(250) {
        return;
    }
    let mut at = rng.range(6 * S, 20 * S);
    while at < until {
        let group = world.groups[rng.pick(world.groups.len())].clone();
        let node = world.hosts[rng.pick(world.hosts.len())].name.clone();
        let kind = match rng.range(0, 8) {
            0 | 1 => OrderKind::Stop { group },
            2 => OrderKind::Start { group },
            3 | 4 => OrderKind::Delete { group },
            5 => OrderKind::Create { group },
            6 => OrderKind::Unextend { group, node },
            _ => OrderKind::Extend { group, node },
        };
        world.schedule(at, Act::Order(rng.pick(world.hosts.len()), kind));
        at += rng.range(S / 10, 6 * S);
    }
}

fn by_an_operator(world: &mut World, blow: &Blow) {
    let Blow { at, host, back, short } = *blow;
    let group = any_group(world);
    match world.rng.range(0, 10) {
        0 => world.schedule(at, Act::DeleteNodeKey(host)),
        1 => world.schedule(at, Act::RevokeLease(host)),
        2 => {
            let spoil = |garbage| Act::EditRecord {
                group: group.clone(),
                garbage,
            };
            let garbage = world.rng.chance(500);
            pair(world, at, spoil(garbage), short, Act::RepairRecord(group.clone()));
        }
        3 => pair(world, at, Act::Term(host), back, Act::StartSidecar(host)),
        4..=6 => {
            let other = world.rng.pick(world.hosts.len());
            let to = world.rng.chance(700).then(|| world.hosts[other].name.clone());
            world.schedule(at, Act::Switchover(host, group, to));
        }
        7 => world.schedule(at, Act::Accept(host)),
        _ => {
            let length = Duration::from_secs(world.rng.range(20, 26));
            world.schedule(at, Act::Hold(host, length));
            let term = at + world.rng.range(S / 5, 3 * S);
            let start = term + world.rng.range(S, 12 * S);
            pair(world, term, Act::Term(host), start, Act::StartSidecar(host));
        }
    }
}
