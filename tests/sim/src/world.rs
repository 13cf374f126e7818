//! The simulated world: machines, network and etcd under one virtual time, driving the shipped core.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use leasehold_core::protocol::keys::Keys;
use leasehold_core::protocol::records::Record;
use leasehold_core::protocol::sizing::{KILL_BUDGET, KILL_BUDGET_LEAST, Timing};
use leasehold_core::requests::exported::Exported;

use crate::checks::Cover;
use crate::etcd::Etcd;
use crate::events::{Act, Entry, Ev};
use crate::host::{Clock, Host, MS, S};
use crate::members::Members;
use crate::mutants::Mutant;
use crate::policy::Policies;
use crate::promises::Direct;
use crate::rng::Rng;
use crate::storage::Storage;

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) timing: Timing,
    /// The ttl is below three seconds, or may come to be.
    pub(crate) tight: bool,
    pub(crate) groups: Vec<String>,
    pub(crate) keys: Keys,
    pub(crate) etcd: Etcd,
    pub(crate) etcd_up: bool,
    pub(crate) snapshot: Option<Etcd>,
    pub(crate) restored: bool,
    pub(crate) hosts: Vec<Host>,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) failure: Option<String>,
    pub(crate) log: Option<Vec<String>>,
    pub(crate) mutant: Mutant,
    /// Node -> lease -> what its landed beats allow.
    pub(crate) cover: BTreeMap<String, BTreeMap<i64, Cover>>,
    /// (group, epoch, node) -> the incarnation that a record named as its holder.
    pub(crate) granted: BTreeMap<(String, u64, String), i64>,
    pub(crate) members: Members,
    /// The etcd that the endpoints lead to no more, and the other one while they do.
    pub(crate) swapped: Option<Etcd>,
    /// Records as they were before somebody spoiled them.
    pub(crate) spoiled: BTreeMap<String, String>,
    pub(crate) stores: BTreeMap<String, Storage>,
    /// Members of etcd live on the first three hosts and fall with them.
    pub(crate) colocated: bool,
    /// A start was refused because of a higher epoch in the claim: an operator accepts again.
    pub(crate) claim_refused: bool,
    pub(crate) queue: BinaryHeap<Reverse<Entry>>,
    pub(crate) order: u64,
    pub(crate) policies: Policies,
    pub(crate) direct: Direct,
    /// When the fence agent hit a node, and when a person said last that it is off.
    pub(crate) fenced_at: BTreeMap<String, u64>,
    pub(crate) words_at: BTreeMap<String, u64>,
    /// The hardware address by which a switch answers for every address that nobody has: a host's name, or a stranger's.
    pub(crate) proxy: Option<String>,
    /// What an operator exported; and whether etcd was lost after that, and is still empty.
    pub(crate) exported: Option<Exported>,
    pub(crate) lost: bool,
    pub(crate) replies: Vec<(usize, Result<String, String>)>,
    pub(crate) alarms: Vec<String>,
}

/// How late a tether wakes up at most where little time is kept for a kill.
const TIGHT_TICK: u64 = 20 * MS;

/// What `leasehold init` wrote.
pub(crate) const STORE: &str = r#"{"id":"s","mounts":[]}"#;

impl World {
    pub(crate) fn new(seed: u64, hosts: usize, groups: usize, mutant: Mutant) -> Self {
        let mut rng = Rng(seed);
        let keys = Keys::new("sim");
        let groups: Vec<String> = ["mail", "web", "files", "lists", "news"]
            .iter()
            .map(|g| (*g).to_owned())
            .chain((6..).map(|n| format!("g{n}")))
            .take(groups)
            .collect();
        let mut etcd = Etcd::new();
        for group in &groups {
            etcd.put(&keys.store(group), STORE, 0, 1);
        }
        let hosts = (0..hosts)
            .map(|at| {
                let uptime = rng.range(10, 5000) * S;
                // BOOTTIME may be slewed by 8 %; those machines never sleep, for then nothing true is left.
                let slewed = rng.chance(500);
                let boot_rate = if slewed {
                    0.92 + rng.range(0, 1600) as f64 / 10_000.0
                } else {
                    1.0
                };
                let raw_rate = 0.996 + rng.range(0, 80) as f64 / 10_000.0;
                Host::new(at, ["a", "b", "c", "d"][at], Clock::new(0, uptime, boot_rate, raw_rate))
            })
            .collect();
        let ttl = Duration::from_secs(5);
        Self {
            now: 0,
            rng,
            timing: Timing::new(ttl, 0.01, None, Duration::from_secs(1)),
            tight: false,
            groups,
            keys,
            etcd,
            etcd_up: true,
            snapshot: None,
            restored: false,
            hosts,
            counts: BTreeMap::new(),
            failure: None,
            log: None,
            mutant,
            cover: BTreeMap::new(),
            granted: BTreeMap::new(),
            members: Members::new(),
            swapped: None,
            spoiled: BTreeMap::new(),
            stores: BTreeMap::new(),
            colocated: false,
            claim_refused: false,
            queue: BinaryHeap::new(),
            order: 0,
            policies: Policies::default(),
            direct: Direct::default(),
            fenced_at: BTreeMap::new(),
            words_at: BTreeMap::new(),
            proxy: None,
            exported: None,
            lost: false,
            replies: Vec::new(),
            alarms: Vec::new(),
        }
    }

    pub(crate) fn count(&mut self, what: &str) {
        match self.counts.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.counts.insert(what.to_owned(), 1)),
        }
    }

    pub(crate) fn fail(&mut self, why: String) {
        note!(self, "FAILED: {why}");
        if self.failure.is_none() {
            self.failure = Some(format!("at {:.4} s: {why}", self.now as f64 / S as f64));
        }
    }

    pub(crate) fn push(&mut self, delay: u64, ev: Ev) {
        self.order += 1;
        self.queue.push(Reverse(Entry {
            at: self.now + delay,
            order: self.order,
            ev: Box::new(ev),
        }));
    }

    pub(crate) fn schedule(&mut self, delay: u64, act: Act) {
        self.push(delay, Ev::Act(act));
    }

    /// Runs until `end` (true nanoseconds) or the first failure.
    pub(crate) fn run_until(&mut self, end: u64) {
        while self.failure.is_none() {
            let due = self.queue.peek().is_some_and(|Reverse(entry)| entry.at <= end);
            if !due {
                break;
            }
            let Some(Reverse(entry)) = self.queue.pop() else { break };
            self.now = entry.at;
            self.happen(*entry.ev);
            self.check();
        }
        self.now = self.now.max(end);
    }

    #[cfg(test)]
    pub(crate) fn run_for(&mut self, ms: u64) {
        self.run_until(self.now + ms * MS);
    }

    pub(crate) fn happen(&mut self, ev: Ev) {
        match ev {
            Ev::ToEtcd {
                host,
                life,
                member,
                call,
                back,
                sent,
            } => self.arrive(host, life, member, call, back, sent),
            Ev::Inbox { host, life, event } => {
                if self.hosts[host].life == life {
                    self.deliver(host, event);
                }
            }
            Ev::Timeout {
                host,
                life,
                member,
                call,
            } => self.timed_out(host, life, member, &call),
            Ev::Wake { host, life, token } => self.wake(host, life, token),
            Ev::Tether { host, key, instance } => self.tether(host, &key, instance),
            Ev::Started {
                host,
                boot,
                life,
                key,
                run,
            } => {
                if self.hosts[host].boot == boot && self.hosts[host].powered {
                    self.started(host, life, key, run);
                }
            }
            Ev::Admit {
                host,
                key,
                instance,
                refuse,
            } => self.admit(host, &key, instance, refuse),
            Ev::Exit {
                host,
                key,
                instance,
                end,
            } => self.die(host, &key, instance, end),
            Ev::Gone { host, key, instance } => self.gone(host, &key, instance),
            Ev::Gate {
                host,
                key,
                instance,
                gate,
            } => self.gate(host, key, instance, gate),
            Ev::Watched(look) => self.claim_watched(look),
            Ev::Beat { host, key, instance } => self.beat(host, &key, instance),
            Ev::Flush {
                host,
                boot,
                group,
                epoch,
                known_open,
            } => self.flush(host, boot, group, epoch, known_open),
            Ev::Unmount { host, boot, group } => self.unmount(host, boot, &group),
            Ev::Election { term } => self.elect(term),
            Ev::LeaseEnd { lease } => self.lease_end(lease),
            Ev::Direct { from, to, message } => self.hear_directly(from, to, message),
            Ev::Act(act) => self.act(act),
        }
    }

    /// A ttl below three seconds, and an etcd that elects its leader fast enough for it.
    pub(crate) fn tighten(&mut self, ttl_ms: u64) {
        let (ttl, election) = (Duration::from_millis(ttl_ms), Duration::from_millis(200));
        self.timing = Timing::new(ttl, 0.01, None, election);
        self.tight = true;
        for host in &mut self.hosts {
            host.manners.tether = TIGHT_TICK;
        }
    }

    /// The least that a kill comes before the end of a lease.
    pub(crate) fn kill_budget(&self) -> Duration {
        if self.tight { KILL_BUDGET_LEAST } else { KILL_BUDGET }
    }

    /// Who serves the group, with container and address.
    pub(crate) fn active(&self, group: &str) -> Vec<usize> {
        (0..self.hosts.len())
            .filter(|h| self.hosts[*h].serves(group) && self.hosts[*h].has_vip(group, self.now))
            .collect()
    }

    pub(crate) fn record(&self, group: &str) -> Option<Record> {
        let kv = self.etcd.keys.get(&self.keys.record(group))?;
        serde_json::from_str(&kv.value).ok()
    }
}
