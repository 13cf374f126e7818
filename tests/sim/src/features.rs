//! What the policies of a world are tried with: operators' orders of nodes and groups, hosts that clients do not reach, an
//! etcd that is lost for good. As the policies, from a source of its own.

use std::time::Duration;

use leasehold_core::event::OrderKind;
use leasehold_core::protocol::policy::{Change, Wanted};

use crate::events::Act;
use crate::host::{MS, S};
use crate::policy::{Policies, plain};
use crate::rng::Rng;
use crate::world::World;

pub(crate) fn try_out(world: &mut World, seed: u64, until: u64) {
    world.policies = Policies::draw(&world.groups, seed);
    if plain(seed) {
        return;
    }
    let mut rng = Rng(seed ^ 0x6665_6174);
    if rng.chance(350) {
        order_about(world, &mut rng, until);
    }
    if world.policies.groups.values().any(|policy| policy.act) {
        cut_off_clients(world, &mut rng, until);
    }
    if world.policies.groups.values().any(|policy| policy.confirm) {
        give_words(world, &mut rng, until);
    }
    set_values(world, &mut Rng(seed ^ 0x7365_7473), until);
    expire(world, &mut Rng(seed ^ 0x6578_7069), until);
    answer_for(world, &mut Rng(seed ^ 0x7072_6f78), until);
    if rng.chance(120) {
        lose_etcd(world, &mut rng);
    }
    if rng.chance(300) {
        change_files(world, &mut rng, until);
    }
}

/// Groups are put on pause and nodes are drained, and so on; each may come at any moment.
fn order_about(world: &mut World, rng: &mut Rng, until: u64) {
    world.policies.watched = true;
    let mut at = rng.range(5 * S, 15 * S);
    while at < until {
        let group = world.groups[rng.pick(world.groups.len())].clone();
        let node = world.hosts[rng.pick(world.hosts.len())].name.clone();
        let host = rng.pick(world.hosts.len());
        let length = Duration::from_secs(rng.range(10, 30));
        let act = match rng.range(0, 12) {
            0..=2 => Act::Order(host, OrderKind::Pause { group, length }),
            3 => Act::Order(host, OrderKind::Resume { group }),
            4..=6 => Act::Order(host, OrderKind::Drain { node }),
            7 => Act::Order(host, OrderKind::Undrain { node }),
            8 => Act::Order(host, OrderKind::Withdraw { group, id: None }),
            9 => Act::Order(host, OrderKind::Remove { node }),
            _ => Act::Apply(host, group),
        };
        world.schedule(at, act);
        at += rng.range(S / 5, 9 * S);
    }
}

/// Values are set at run time and taken back, often by two operators in the same moment: one value an order.
fn set_values(world: &mut World, rng: &mut Rng, until: u64) {
    if !rng.chance(300) {
        return;
    }
    world.policies.watched = true;
    world.policies.sets = true;
    let mut at = rng.range(5 * S, 15 * S);
    while at < until {
        for _ in 0..rng.range(1, 3) {
            let group = world.groups[rng.pick(world.groups.len())].clone();
            let node = world.hosts[rng.pick(world.hosts.len())].name.clone();
            let length = Duration::from_secs(rng.range(30, 60));
            let wanted = match rng.range(0, 8) {
                0 => Wanted::Failback(None),
                1 | 2 => Wanted::Failback(Some(length)),
                3 => Wanted::RestartBudget(rng.range(0, 4) as u32),
                4 => Wanted::ProbeFall(rng.range(1, 5) as u32),
                _ => Wanted::Priority {
                    node,
                    value: rng.range(1, 6) as u32,
                },
            };
            let change = match rng.range(0, 6) {
                0 => Change::UnsetAll,
                1 => Change::Unset(wanted.setting()),
                _ => Change::Set(wanted),
            };
            let changes = vec![change];
            let host = rng.pick(world.hosts.len());
            world.schedule(at, Act::Order(host, OrderKind::Set { group, changes }));
        }
        at += rng.range(S / 5, 9 * S);
    }
}

/// A switch port or a packet filter, long enough for a second opinion; and standbys that see nothing themselves.
fn cut_off_clients(world: &mut World, rng: &mut Rng, until: u64) {
    let mut at = rng.range(6 * S, 15 * S);
    while at < until {
        let host = rng.pick(world.hosts.len());
        let back = at + rng.range(5 * S, 45 * S);
        let act = |on| match rng.0 & 1 {
            0 => Act::Veil(host, on),
            _ => Act::Blind(host, on),
        };
        let (cut, heal) = (act(true), act(false));
        world.schedule(at, cut);
        world.schedule(back, heal);
        at += rng.range(2 * S, 30 * S);
    }
}

/// Certificates run out, on one host or on several, and are renewed.
fn expire(world: &mut World, rng: &mut Rng, until: u64) {
    if !rng.chance(250) {
        return;
    }
    let mut at = rng.range(6 * S, 20 * S);
    while at < until {
        let host = rng.pick(world.hosts.len());
        world.schedule(at, Act::Expire(host, true));
        world.schedule(at + rng.range(5 * S, 60 * S), Act::Expire(host, false));
        at += rng.range(5 * S, 40 * S);
    }
}

/// A switch answers for a host's addresses when nobody has them, or a stranger does; mostly once that host is off.
fn answer_for(world: &mut World, rng: &mut Rng, until: u64) {
    if !rng.chance(200) {
        return;
    }
    let mut at = rng.range(6 * S, 20 * S);
    while at < until {
        let host = rng.pick(world.hosts.len());
        let mac = match rng.chance(300) {
            true => "stranger".to_owned(),
            false => world.hosts[host].name.clone(),
        };
        world.schedule(at, Act::Proxy(Some(mac)));
        if rng.chance(700) {
            world.schedule(at + rng.range(MS, S), Act::PowerOff(host));
            world.schedule(at + rng.range(20 * S, 40 * S), Act::PowerOn(host));
        }
        world.schedule(at + rng.range(10 * S, 40 * S), Act::Proxy(None));
        at += rng.range(20 * S, 50 * S);
    }
}

/// A host loses its power, and a person says so; or says so of a host that is on, which is not believed here.
fn give_words(world: &mut World, rng: &mut Rng, until: u64) {
    let mut at = rng.range(8 * S, 30 * S);
    while at < until {
        let node = rng.pick(world.hosts.len());
        let host = rng.pick(world.hosts.len());
        world.schedule(at, Act::PowerOff(node));
        world.schedule(at + rng.range(4 * S, 12 * S), Act::Fenced { host, node });
        world.schedule(at + rng.range(13 * S, 25 * S), Act::PowerOn(node));
        at += rng.range(15 * S, 40 * S);
    }
}

/// Exported, lost, and put back by whoever is asked first.
fn lose_etcd(world: &mut World, rng: &mut Rng) {
    world.policies.watched = true;
    let at = rng.range(12 * S, 50 * S);
    world.schedule(at, Act::Export);
    let lost = at + rng.range(MS, 10 * S);
    world.schedule(lost, Act::LoseEtcd);
    for _ in 0..3 {
        let host = rng.pick(world.hosts.len());
        world.schedule(lost + rng.range(S, 20 * S), Act::Import(host));
    }
}

/// A group leaves the file of a host and comes back with a later version of it.
fn change_files(world: &mut World, rng: &mut Rng, until: u64) {
    let mut at = rng.range(6 * S, 30 * S);
    while at < until {
        let host = rng.pick(world.hosts.len());
        let group = world.groups[rng.pick(world.groups.len())].clone();
        let change = |dropped| Act::ChangeFile {
            host,
            group: group.clone(),
            dropped,
        };
        world.schedule(at, change(true));
        world.schedule(at + rng.range(S, 30 * S), change(false));
        at += rng.range(5 * S, 30 * S);
    }
}
