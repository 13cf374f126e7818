//! What sidecars ask of the world around them: a fence agent, a standby's look at the storage, a standby's question to the
//! holder's address; and an etcd that is lost for good, with what was exported before.

use std::collections::BTreeSet;
use std::time::Duration;

use leasehold_core::epoch::Run;
use leasehold_core::event::{Event, FailureKind, ProbeFailure, ProbeKey, Request};
use leasehold_core::group::made::Made;
use leasehold_core::protocol::records::View;
use leasehold_core::requests::exported::Exported;

use crate::etcd::Etcd;
use crate::events::{Act, Ev};
use crate::host::{MS, S};
use crate::members::State;
use crate::storage::Fault;
use crate::world::World;

/// The program that looks at the storage gives up by itself.
const LOOK: u64 = 5 * S;

/// What one try of the agent comes to.
#[derive(Clone, Copy, Debug)]
struct Hit {
    /// The node is off.
    off: bool,
    /// What the agent says of it; it may be mistaken to the safe side.
    says: Option<bool>,
}

impl World {
    /// The agent starts. It is a process of the host that asked, but what it has sent goes its way without it.
    pub(crate) fn fence(&mut self, h: usize, node: String, incarnation: i64) {
        let says = |off, says| Hit { off, says };
        let hit = match self.rng.range(0, 20) {
            _ if self.policies.agent_refuses => says(false, Some(false)),
            0..=13 => says(true, Some(true)),
            14..=16 => says(false, Some(false)),
            17 | 18 => says(true, Some(false)),
            _ => says(false, None),
        };
        note!(self, "{} fences {node}: {hit:?}", self.hosts[h].name);
        self.count("fence");
        let delay = self.rng.range(200 * MS, 3 * S);
        if hit.off {
            self.push(delay, Ev::Act(Act::FenceHits(node.clone())));
        }
        if let Some(good) = hit.says {
            let result = if good {
                Ok(String::new())
            } else {
                Err("it refused".to_owned())
            };
            let life = self.hosts[h].life;
            let event = Event::FenceEnded {
                node,
                incarnation,
                result,
            };
            self.push(delay + MS, Ev::Inbox { host: h, life, event });
        }
    }

    /// Whoever bears the name is off, and comes back: the agent's action is a reboot.
    pub(crate) fn fence_hits(&mut self, node: &str) {
        self.fenced_at.insert(node.to_owned(), self.now);
        let named = (0..self.hosts.len()).filter(|h| self.hosts[*h].name == node);
        for h in named.collect::<Vec<_>>() {
            let on = self.hosts[h].powered;
            self.power_off(h);
            if on {
                let back = self.rng.range(3 * S, 12 * S);
                self.push(back, Ev::Act(Act::PowerOn(h)));
            }
        }
    }

    /// S23: one look at a time.
    pub(crate) fn look(&mut self, h: usize, group: String, store: String, soon: u64) {
        if !self.hosts[h].looking.insert(group.clone()) {
            let name = &self.hosts[h].name;
            return self.fail(format!(
                "S23: {name} looks at the storage of {group} although a look is under way"
            ));
        }
        self.count("looked at the storage");
        let manners = &self.hosts[h].manners;
        let (result, delay) = match manners.storage {
            _ if manners.engine_hangs || manners.engine_refuses => {
                (Err(ProbeFailure::unasked("the engine does not answer")), soon * 10)
            }
            Fault::Fine => (Ok(()), soon * 5),
            Fault::Refuses => (Err(ProbeFailure::wrong("storage: stale")), soon * 5),
            Fault::Hangs => (Err(ProbeFailure::silent("storage: no answer within 5s")), LOOK),
        };
        let life = self.hosts[h].life;
        let event = Event::StorageSeen { group, store, result };
        self.push(delay, Ev::Inbox { host: h, life, event });
    }

    /// S23 for trial starts: one at a time, and never where the group is held.
    pub(crate) fn try_start(&mut self, h: usize, group: String, made: Vec<Made>, soon: u64) {
        if !self.hosts[h].trying.insert(group.clone()) {
            let name = &self.hosts[h].name;
            return self.fail(format!(
                "S23: {name} tries a start of {group} although a trial is under way"
            ));
        }
        self.count("tried a start");
        let manners = &self.hosts[h].manners;
        let result = match (manners.engine_hangs, manners.engine_refuses) {
            (true, _) => Err(ProbeFailure::unasked("the engine does not answer")),
            (false, true) => Err(ProbeFailure::wrong("a trial start failed: no such device")),
            (false, false) => Ok(()),
        };
        let life = self.hosts[h].life;
        // As a host's own certificates.
        let result = match self.hosts[h].expired {
            true => result.and(Err(ProbeFailure::wrong("its certificate has run out"))),
            false => result,
        };
        let result = result.map(|()| Some(Duration::from_secs(20)));
        let event = Event::StartTried { group, made, result };
        self.push(soon * 5, Ev::Inbox { host: h, life, event });
    }

    /// What the core knows of it from here on.
    pub(crate) fn looked(&mut self, h: usize, group: &str, result: &Result<(), ProbeFailure>) {
        let host = &mut self.hosts[h];
        host.looking.remove(group);
        match result {
            Ok(()) => {
                host.told.faults.remove(group);
            }
            Err(failure) if failure.kind == FailureKind::Unasked => {}
            // A group that was deleted meanwhile: the look says nothing of it any more.
            Err(_) if host.told.view.groups.get(group).is_none_or(|keys| keys.store.is_none()) => {}
            Err(_) => {
                host.told.faults.entry(group.to_owned()).or_insert(self.now);
            }
        }
    }

    /// A question at the group's address, as a client's.
    pub(crate) fn ask_holder(&mut self, h: usize, of: ProbeKey, run: Run, soon: u64) {
        let there = |host: &crate::host::Host| host.serves(&of.group) && host.has_vip(&of.group, self.now);
        let reached = self.hosts.iter().any(|host| there(host) && !host.veiled) && !self.hosts[h].blind;
        let result = match reached {
            true => Ok(()),
            false => Err(ProbeFailure::wrong("smtp 25: no route to host")),
        };
        self.count(if reached {
            "a standby reached the service"
        } else {
            "a standby did not reach the service"
        });
        let life = self.hosts[h].life;
        self.push(
            soon * 5,
            Ev::Inbox {
                host: h,
                life,
                event: Event::HolderAsked {
                    of,
                    run,
                    result,
                    vantage: None,
                },
            },
        );
    }

    /// An operator keeps what the cluster has in etcd.
    pub(crate) fn export(&mut self) {
        let answer = self.etcd.answer(&self.keys, true);
        // Nobody keeps what an empty etcd has to say.
        if let Ok(exported) = Exported::of("sim", &View::read(&self.keys, &answer))
            && !exported.groups.is_empty()
        {
            self.exported = Some(exported);
        }
    }

    /// etcd is lost for good: an empty one takes its place.
    pub(crate) fn lose_etcd(&mut self) {
        if self.swapped.is_some() || self.exported.is_none() {
            return;
        }
        let mut empty = Etcd::new();
        empty.cluster_id = self.etcd.cluster_id + 0x1_0000;
        self.etcd = empty;
        (self.restored, self.lost, self.snapshot) = (true, true, None);
        self.spoiled.clear();
        for host in &mut self.hosts {
            host.latched.clear();
        }
        (0..crate::members::MEMBERS).for_each(|member| self.member(member, State::Up));
    }

    pub(crate) fn import(&mut self, h: usize) {
        if let Some(exported) = self.exported.clone() {
            let exported = Box::new(exported);
            self.request(h, Request::Import { exported });
        }
    }

    /// Where somebody has given an order of a group meanwhile, nothing can be put back: it is initialised as a new one, and
    /// the claims on the storages say which epochs there were.
    pub(crate) fn import_or_begin_anew(&mut self, h: usize) {
        let groups = self.keys.groups();
        match self.etcd.keys.keys().any(|key| key.starts_with(&groups)) {
            true => self.lost = false,
            false => self.import(h),
        }
    }

    /// The etcd that was lost knows its groups again.
    pub(crate) fn imported(&mut self) {
        if std::mem::take(&mut self.lost) {
            self.count("imported");
        }
    }

    /// S20: above what was exported.
    pub(crate) fn imported_rightly(&mut self, group: &str, epoch: u64) {
        let before = self.exported.as_ref().and_then(|exported| exported.groups.get(group));
        let before = before.map_or(0, |group| group.epoch);
        if epoch <= before {
            self.fail(format!(
                "S20: {group} is imported with epoch {epoch}, it was {before} when it was exported"
            ));
        }
        self.imported();
    }

    /// Everything that operators ordered of nodes is taken back.
    pub(crate) fn end_node_orders(&mut self) {
        let names: BTreeSet<String> = self.hosts.iter().map(|host| host.name.clone()).collect();
        let keys: Vec<String> = names.iter().map(|name| self.keys.drained(name)).collect();
        let changes = self.etcd.remove(|kv| keys.contains(&kv.key));
        self.changed(None, &changes);
    }
}
