//! What must hold after every event. The numbers are those of the invariants:
//!
//! | id | what | where |
//! | --- | --- | --- |
//! | S1 | at most one host can write | `check` |
//! | S2 | the storage never sees an older epoch after a younger one | `storage.rs: reached` |
//! | S3 | nothing outlives what observers wait for | `check` |
//! | S4 | no start without a beat that is younger than the soft deadline | `started_rightly` |
//! | S5 | an address is on one host at most | `check` |
//! | S6 | no deadline later than a landed beat allows, counted from its sending | `page_rightly` |
//! | S7 | a record is given up only when nothing of its epoch writes | `recorded` |
//! | S8 | a run that began to stop never becomes active again | `page_rightly` |
//! | S9 | an unknown outcome is not taken for a success | `page_rightly`; for a failure: V1 |
//! | S10 | a strange etcd starts nothing | `sidecar.rs: trusted`, `trusts` |
//! | S11 | epochs grow, across restores, too | `storage.rs: reached`, `recorded` |
//! | S12 | the tether alone keeps S3, the sidecar killed after any action | S3 under `KillSidecar` and `CrashAfter` |
//! | S13 | nobody wins a group that is deleted | `recorded` |
//! | S14 | under `failover: confirm` silence frees nothing without a person's word | `taken.rs: taken_rightly` |
//! | S15 | with a fence agent nothing is taken before it has hit | `taken.rs: taken_rightly` |
//! | S16 | a drained node takes nothing for which another is ready | `told.rs: writes_rightly` |
//! | S17 | on pause nothing is won, started again or moved by itself | `told.rs` |
//! | S18 | a group goes back after the quiet window, to a preferred node that is ready | `told.rs: goes_back_rightly` |
//! | S19 | an apply starts the group again in its epoch | `told.rs: starts_rightly`, `released_rightly` |
//! | S20 | accept and import go above every epoch that is known | `told.rs: accepts_rightly`, `surroundings.rs` |
//! | S21 | nobody hands over to a node that is not ready, as one whose storage is wrong | `told.rs` |
//! | S22 | nothing is moved for what standbys say while one of them reaches it | `told.rs: moves_rightly` |
//! | S23 | one look at a storage at a time | `surroundings.rs: look` |
//! | S24 | nothing is taken from an incarnation whose key stands | `taken.rs: taken_rightly` |
//! | S25 | a node's key is never written over by another incarnation | `taken.rs: key_rightly` |
//! | S26 | what one host alone may mount is unmounted before the group is given up | `mounts.rs` |
//! | S27 | for its certificate a group moves only to a host that says that its own is good | `told.rs: moves_to_certified` |
//! | S28 | no address is taken for which a node answers whose lease lives | `told.rs: takes_rightly` |
//! | S29 | an order changes what it names and nothing else; no two nodes have one priority; a node goes by what etcd told it last | `set.rs` |
//! | V1 | faults healed: one holder a group, in time | `swarm.rs: run` |
//! | V2 | a disturbance that the sizing covers stops nothing | `calm.rs` |
//! | V3 | a clean switchover never waits for a ttl | `calm.rs` |

use leasehold_core::event::{Order, PageOrder, ServiceKey};
use leasehold_core::protocol::records::{Beat, Record, RecordState};

use crate::host::{Life, MS};
use crate::world::World;

/// What the landed beats of an incarnation allow, in true time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cover {
    /// Observers wait until then at least, after the last one that landed.
    pub(crate) until: u64,
    /// The same for those who are on no list: nothing runs longer, whatever was promised.
    run_until: u64,
    /// The latest hard deadline that any of them allows.
    hard: u64,
    /// The same after the last one: when it was sent, and what it promised.
    sent: u64,
    promise: u64,
    /// The first one.
    pub(crate) since: u64,
}

/// A clock of the simulated machines runs slower than true time by this at most.
const SLOWEST: f64 = 0.9955;

impl World {
    pub(crate) fn cover_of(&self, node: &str, lease: i64) -> Option<&Cover> {
        self.cover.get(node)?.get(&lease)
    }

    /// A beat landed.
    pub(crate) fn covered(&mut self, node: &str, lease: i64, value: &str, sent: u64) {
        let Ok(beat) = serde_json::from_str::<Beat>(value) else {
            return;
        };
        let promise = beat.ttl_ms * MS;
        // An observer's raw clock may run 0.4 % fast.
        let wait = promise as f64 / 1.004;
        let budget = self.kill_budget().as_nanos() as f64;
        let trusted = promise as f64 * (1.0 - self.timing.clock_margin) - budget;
        let cover = self.cover.entry(node.to_owned()).or_default().entry(lease).or_default();
        // With promises a run may go on for the bound: whether it was promised so much, S1 and S7 tell.
        let bound = self.direct.bound().unwrap_or(0).max(promise);
        cover.until = self.now + wait as u64;
        cover.run_until = self.now + (bound as f64 / 1.004) as u64;
        let longest = bound as f64 * (1.0 - self.timing.clock_margin) - budget;
        cover.hard = cover.hard.max(sent + (trusted.max(longest) / SLOWEST) as u64 + 2 * MS);
        (cover.sent, cover.promise) = (sent, promise);
        if cover.since == 0 {
            cover.since = self.now;
        }
    }

    /// S7, S11: what a record may become, and when.
    pub(crate) fn recorded(
        &mut self,
        by: Option<usize>,
        group: &str,
        before: Option<&str>,
        after: &str,
        accepted: bool,
    ) {
        let Ok(after) = serde_json::from_str::<Record>(after) else {
            return;
        };
        note!(
            self,
            "record {group}: epoch {} {:?} {} ({})",
            after.epoch,
            after.state,
            after.node,
            after.reason
        );
        if after.state == RecordState::Active {
            let key = (group.to_owned(), after.epoch, after.node.clone());
            self.granted.insert(key, after.incarnation);
        }
        let before = before.and_then(|text| serde_json::from_str::<Record>(text).ok());
        if before.is_none() && after.reason == "imported" {
            self.imported_rightly(group, after.epoch);
        }
        let known = before.as_ref().is_some_and(|before| before.epoch >= after.epoch);
        let deleted = self.etcd.keys.contains_key(&self.keys.deleted(group));
        if deleted && by.is_some() && after.state == RecordState::Active && !known {
            self.fail(format!("S13: {group} was won by {by:?} after it was deleted"));
        }
        if self.restored && after.state == RecordState::Active && !known {
            // The epoch of a record that a restore has forgotten is given once more (known open, as in `reached`).
            for host in self.hosts.iter_mut().filter(|host| host.name == after.node) {
                host.latched
                    .retain(|(of, run)| of.group != group || run.epoch != after.epoch);
            }
        }
        let Some(before) = before else { return };
        if after.epoch < before.epoch {
            let why = format!(
                "S11: the record of {group} went back from {} to {}",
                before.epoch, after.epoch
            );
            self.fail(why);
        }
        let same = after.state == RecordState::Active && after.epoch == before.epoch && after.node == before.node;
        if before.state != RecordState::Active || accepted || same {
            return;
        }
        if let Some(by) = by {
            self.taken_rightly(by, group, &before);
        }
        // Released or taken: nothing of the old epoch may still write. One that hangs in the kernel when its lease has
        // run out is passed over: only a fence helps. Its own node must not give it up.
        let writer = self.hosts.iter().enumerate().position(|(h, host)| {
            let mine = |c: &crate::host::Container| {
                c.lease == before.incarnation && c.life == Life::Up && !c.excused && c.run.epoch <= before.epoch
            };
            let stuck = host.stuck() && by != Some(h);
            host.awake() && !stuck && host.containers.iter().any(|(key, c)| key.group == *group && mine(c))
        });
        if let Some(writer) = writer {
            let why = format!(
                "S7: epoch {} of {group} was given up by {by:?} while its application runs on {}",
                before.epoch, self.hosts[writer].name
            );
            self.fail(why);
        }
        let own = by.filter(|h| self.hosts[*h].name == before.node && after.state == RecordState::Released);
        if let Some(h) = own {
            self.given_up_rightly(h, group, before.epoch);
        }
    }

    /// S6, S8, S9: what a page may say.
    pub(crate) fn page_rightly(&mut self, h: usize, of: &ServiceKey, page: &PageOrder) {
        let host = &mut self.hosts[h];
        if page.order != Order::Open {
            if matches!(page.order, Order::Stop | Order::Kill) {
                host.latched.insert((of.clone(), page.run));
            }
            return;
        }
        let now = host.clock.read(self.now);
        let over = now.reached(page.soft);
        let signalled = host
            .containers
            .get(of)
            .is_some_and(|c| c.run == page.run && c.life == Life::Up && c.signalled && !c.dying);
        let unlatched = host.latched.contains(&(of.clone(), page.run)) || (signalled && !over);
        let hard = self.now + host.clock.delay(self.now, page.hard);
        let name = host.name.clone();
        if unlatched {
            let why = format!(
                "S8: run {} of {} began to stop on {name} and is open again",
                page.run, of.group
            );
            return self.fail(why);
        }
        let Some(lease) = self.granted.get(&(of.group.clone(), page.run.epoch, name.clone())) else {
            let why = format!(
                "S9: {name} opens run {} of {}, which nobody gave it",
                page.run, of.group
            );
            return self.fail(why);
        };
        let allowed = self.cover_of(&name, *lease).map_or(0, |cover| cover.hard);
        if !over && hard > allowed {
            let late = (hard - allowed) / MS;
            let why = format!(
                "S6: run {} of {} may live {late} ms too long on {name}",
                page.run, of.group
            );
            self.fail(why);
        }
    }

    /// S10: the sidecar lets something start now. What it let in a moment before it knew better, comes up all the same.
    pub(crate) fn trusts(&mut self, h: usize, group: &str) {
        if self.hosts[h].strange {
            let name = &self.hosts[h].name;
            let why = format!("S10: {name} starts {group} though its etcd is strange");
            self.fail(why);
        }
    }

    /// S4: an application starts to write now.
    pub(crate) fn started_rightly(&mut self, h: usize, group: &str, epoch: u64) {
        self.count("started");
        let name = self.hosts[h].name.clone();
        let lease = self
            .granted
            .get(&(group.to_owned(), epoch, name.clone()))
            .copied()
            .unwrap_or(0);
        let cover = self.cover_of(&name, lease).copied().unwrap_or_default();
        let promised = cover.promise.max(self.direct.bound().unwrap_or(0));
        let trusted = promised as f64 * (1.0 - self.timing.clock_margin);
        let budget = (self.kill_budget() + self.timing.grace).as_nanos() as f64;
        let soft = cover.sent + ((trusted - budget).max(0.0) / SLOWEST) as u64 + 2 * MS;
        if self.now > soft {
            let late = (self.now - soft) / MS;
            self.fail(format!("S4: {name} starts {group} {late} ms after its soft deadline"));
        }
    }

    pub(crate) fn check(&mut self) {
        self.mounted_once();
        for at in 0..self.groups.len() {
            let group = &self.groups[at];
            // S1. One that was killed in time and hangs in the kernel is counted apart, as in S7.
            let mut writers = self.hosts.iter().filter(|host| host.writes(group));
            if let (Some(one), Some(two)) = (writers.next(), writers.next()) {
                let why = format!("S1: {group} runs on {} and {}", one.name, two.name);
                return self.fail(why);
            }
            let mut held = self
                .hosts
                .iter()
                .filter(|host| host.has_vip(group, self.now) && !host.vip_excused);
            if let (Some(one), Some(two)) = (held.next(), held.next()) {
                let why = format!("S5: the address of {group} is on {} and {}", one.name, two.name);
                return self.fail(why);
            }
        }
        // S3.
        for host in &self.hosts {
            if !host.awake() || host.stuck() {
                continue;
            }
            for (key, c) in &host.containers {
                if c.life != Life::Up || c.excused {
                    continue;
                }
                let cover = self.cover_of(&host.name, c.lease).map_or(0, |cover| cover.run_until);
                if self.now > cover {
                    let why = format!("S3: {}/{} outlives its lease on {}", key.group, key.service, host.name);
                    return self.fail(why);
                }
            }
        }
    }
}
