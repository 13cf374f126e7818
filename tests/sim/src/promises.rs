//! What hosts say to each other directly, with faults of its own: lost, late, one way, cut. Only a share of the worlds has
//! promises. All of it is drawn from sources of their own, so that the worlds without them stay what they were.

use std::collections::BTreeSet;
use std::time::Duration;

use leasehold_core::event::Event;
use leasehold_core::promises::{Message, Vote};
use leasehold_core::protocol::kept::VoterId;
use leasehold_core::protocol::records::ClusterConfig;

use crate::events::{Act, Ev};
use crate::host::{MS, S};
use crate::policy::plain;
use crate::rng::Rng;
use crate::world::World;

/// The ways between the hosts, and whose vote is whose.
#[derive(Clone, Debug)]
pub(crate) struct Direct {
    /// None: there are no promises.
    bound: Option<u64>,
    cut: BTreeSet<(usize, usize)>,
    lose: u64,
    late: u64,
    /// How often each host has lost its disk.
    disks: [u64; 4],
    rng: Rng,
}

impl Default for Direct {
    fn default() -> Self {
        Self {
            bound: None,
            cut: BTreeSet::new(),
            lose: 0,
            late: 0,
            disks: [0; 4],
            rng: Rng(0x6469_7265),
        }
    }
}

impl Direct {
    /// How long a holder may run on after its last landed beat, in nanoseconds.
    pub(crate) fn bound(&self) -> Option<u64> {
        self.bound
    }

    pub(crate) fn vote(&self, h: usize) -> Option<Vote> {
        self.bound.map(|_| Vote {
            id: VoterId(u128::from(self.disks[h] * 10) + h as u128 + 1),
            address: format!("host{h}"),
        })
    }

    pub(crate) fn open(&mut self, from: usize, to: usize, open: bool) {
        match open {
            true => self.cut.remove(&(from, to)),
            false => self.cut.insert((from, to)),
        };
    }

    pub(crate) fn chatter(&mut self, lose: u64, late: u64) {
        (self.lose, self.late) = (lose, late);
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.chatter(0, 0);
    }
}

impl World {
    /// Before the first sidecar starts: the cluster's configuration has promises, and every node a vote.
    pub(crate) fn with_promises(&mut self, bound: Duration) {
        self.direct.bound = u64::try_from(bound.as_nanos()).ok();
        let config = ClusterConfig {
            promises_ms: u64::try_from(bound.as_millis()).ok(),
            ..ClusterConfig::new(1, self.timing.ttl, self.timing.ttl)
        };
        let value = serde_json::to_string(&config).unwrap_or_default();
        let key = self.keys.config();
        self.etcd.put(&key, &value, 0, 1);
    }

    pub(crate) fn say_directly(&mut self, from: usize, to: &str, message: Message) {
        let place = to.strip_prefix("host").and_then(|place| place.parse::<usize>().ok());
        let Some(to) = place.filter(|to| *to < self.hosts.len()) else {
            return;
        };
        let rng = &mut self.direct.rng;
        let lost = rng.chance(self.direct.lose);
        let late = rng.chance(self.direct.late);
        let delay = if late {
            rng.range(MS, 9 * S)
        } else {
            rng.range(MS / 5, 4 * MS)
        };
        if lost || self.direct.cut.contains(&(from, to)) {
            return self.count("message lost");
        }
        if late {
            self.count("message late");
        }
        self.push(delay, Ev::Direct { from, to, message });
    }

    pub(crate) fn hear_directly(&mut self, from: usize, to: usize, message: Message) {
        if !self.hosts[to].powered {
            return;
        }
        match &message {
            Message::Yes { .. } => self.count("promised"),
            Message::No { .. } => self.count("not promised"),
            Message::Running { .. } => self.count("told that it runs"),
            Message::Ask(_) | Message::Again { .. } | Message::Runs { .. } => {}
        }
        let from = format!("host{from}");
        self.deliver(to, Event::Heard { from, message });
    }

    /// The state directory is made anew: another vote, and nothing is pinned.
    pub(crate) fn lose_disk(&mut self, h: usize) {
        self.end_sidecar(h);
        self.direct.disks[h] += 1;
        self.hosts[h].pin = None;
        self.start_sidecar(h);
    }
}

/// A share of the worlds has promises, with faults of what is said directly, and long cuts.
pub(crate) fn promise(world: &mut World, seed: u64, until: u64) {
    let mut rng = Rng(seed ^ 0x7072_6f6d);
    if plain(seed) || !rng.chance(250) {
        return;
    }
    world.count("promises");
    world.direct.rng = Rng(rng.next());
    world.with_promises(Duration::from_secs(rng.range(12, 40)));
    let count = world.hosts.len();
    let mut at = rng.range(6 * S, 20 * S);
    while at < until {
        let (from, to) = (rng.pick(count), rng.pick(count));
        let back = at + rng.range(S / 5, 12 * S);
        match rng.range(0, 10) {
            0..=2 => {
                world.schedule(at, Act::Direct { from, to, open: false });
                world.schedule(back, Act::Direct { from, to, open: true });
            }
            3 | 4 => {
                let (lose, late) = (rng.range(0, 400), rng.range(0, 400));
                world.schedule(at, Act::Chatter { lose, late });
                world.schedule(back, Act::Chatter { lose: 0, late: 0 });
            }
            5 => world.schedule(at, Act::LoseDisk(from)),
            _ => cut_long(world, &mut rng, at, from),
        }
        at += rng.range(S, 12 * S);
    }
}

/// All but one, one alone, or all: from etcd, and sometimes from each other.
fn cut_long(world: &mut World, rng: &mut Rng, at: u64, one: usize) {
    let back = at + rng.range(6 * S, 40 * S);
    let kind = rng.pick(3);
    let apart = rng.chance(300);
    for host in 0..world.hosts.len() {
        let hit = [host != one, host == one, true][kind];
        if !hit {
            continue;
        }
        for (when, way) in [(at, false), (back, true)] {
            let (to, from) = (way, way);
            world.schedule(when, Act::Network { host, to, from });
            if apart && host != one {
                world.schedule(
                    when,
                    Act::Direct {
                        from: host,
                        to: one,
                        open: way,
                    },
                );
                world.schedule(
                    when,
                    Act::Direct {
                        from: one,
                        to: host,
                        open: way,
                    },
                );
            }
        }
    }
}
