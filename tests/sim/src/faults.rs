//! Faults, repairs and operators.

use leasehold_core::event::{Event, OrderKind, Origin, Request};
use leasehold_core::requests::fenced::Fenced;

use crate::events::{Act, Ev};
use crate::host::{Clock, Life, MS, Manners, S};
use crate::members::{MEMBERS, State};
use crate::storage::Fault;
use crate::tether::End;
use crate::world::World;

/// Also where nothing is strange: the worst that an operator can do.
const ACCEPT: Request = Request::Accept {
    force: true,
    epoch: None,
};

impl World {
    #[expect(clippy::too_many_lines, reason = "one match over every fault")]
    pub(crate) fn act(&mut self, act: Act) {
        note!(self, "--- {act:?}");
        let kind = format!("{act:?}");
        let kind = kind.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
        self.count(&format!("act {kind}"));
        match act {
            Act::PowerOff(h) => self.power_off(h),
            Act::PowerOn(h) => {
                if !self.hosts[h].powered {
                    self.hosts[h].powered = true;
                    if self.colocated && h < MEMBERS {
                        self.member(h, State::Up);
                    }
                    self.start_sidecar(h);
                }
            }
            Act::KillSidecar(h) => self.end_sidecar(h),
            Act::CrashAfter(h, count) => self.hosts[h].crash_after = Some(count),
            Act::StartSidecar(h) => self.start_sidecar(h),
            Act::StopSignal(h) => self.hosts[h].stopped = true,
            Act::ContinueSignal(h) => {
                if std::mem::take(&mut self.hosts[h].stopped) {
                    self.resume(h);
                }
            }
            Act::Freeze { host, sleep } => {
                if self.hosts[host].frozen.is_none() {
                    self.hosts[host].frozen = Some((self.now, sleep));
                }
            }
            Act::Thaw(h) => self.thaw(h),
            Act::Network { host, to, from } => {
                self.hosts[host].links = [(to, from); MEMBERS];
            }
            Act::Endpoint { host, member, to, from } => self.hosts[host].links[member] = (to, from),
            Act::Member(member, state) => self.member(member, state),
            Act::Leader(state) => {
                if let Some(leader) = self.members.leader {
                    self.member(leader, state);
                }
            }
            Act::Members => (0..MEMBERS).for_each(|member| self.member(member, State::Up)),
            Act::Storage { host, fault } => self.storage(host, fault),
            Act::RevokeLease(h) => self.revoke_by_hand(h),
            Act::EditRecord { group, garbage } => self.edit_record(&group, garbage),
            Act::RepairRecord(group) => self.repair_record(&group),
            Act::Swap => self.swap(),
            Act::SwapBack => self.swap_back(),
            Act::EtcdDown => self.etcd_up = false,
            Act::EtcdUp => self.etcd_up = true,
            Act::DeleteNodeKey(h) => {
                let key = self.keys.node(&self.hosts[h].name);
                let changes = self.etcd.remove(|kv| kv.key == key);
                self.changed(None, &changes);
            }
            Act::CrashApp(h, group) => {
                let keys: Vec<_> = self.hosts[h]
                    .containers
                    .iter()
                    .map(|(k, c)| (k.clone(), c.instance))
                    .collect();
                for (key, instance) in keys.into_iter().filter(|(key, _)| key.group == group).take(1) {
                    self.die(h, &key, instance, End::Orderly);
                }
            }
            Act::Engine {
                host,
                hangs,
                refuses,
                lies,
            } => self.engine(host, hangs, refuses, lies),
            Act::Calls {
                host,
                lose,
                lose_answer,
                late,
                duplicate,
                latency,
            } => {
                let manners = &mut self.hosts[host].manners;
                (manners.lose, manners.lose_answer) = (lose, lose_answer);
                (manners.late, manners.duplicate, manners.latency) = (late, duplicate, latency);
            }
            Act::SlowTether {
                host,
                tether,
                die,
                ignores_term,
            } => {
                // As late as nothing has told of yet, it must still fit into the time that is kept.
                let (tether, die) = if self.tight {
                    (tether.min(90 * MS), die.min(50 * MS))
                } else {
                    (tether, die)
                };
                let manners = &mut self.hosts[host].manners;
                (manners.tether, manners.die, manners.ignores_term) = (tether, die, ignores_term);
            }
            Act::Term(h) => {
                self.told_to_end(h);
                self.deliver(h, Event::Terminate);
            }
            Act::Switchover(h, group, to) => {
                let origin = Origin::default();
                // Whoever is asked for itself is rather asked to start the group again where it runs.
                let here = to.as_ref() == Some(&self.hosts[h].name);
                let command = match here {
                    true => Request::Apply { group, origin },
                    false => Request::Switchover { group, to, origin },
                };
                self.request(h, command);
            }
            Act::Apply(h, group) => {
                let origin = Origin::default();
                self.request(h, Request::Apply { group, origin });
            }
            Act::Hold(h, length) => self.request(h, Request::Hold { length }),
            Act::ChangeTtl(h, ttl) => {
                let (order, origin) = (OrderKind::Configure { ttl, promises: None }, Origin::default());
                self.request(h, Request::Order { order, origin });
            }
            Act::Order(h, order) => self.order(h, order),
            Act::Accept(h) => self.request(h, ACCEPT),
            Act::Fenced { host, node } if self.is_off(node) => {
                let name = self.hosts[node].name.clone();
                self.words_at.insert(name.clone(), self.now);
                let what = Fenced::Node(name);
                let by = "an operator".to_owned();
                self.request(host, Request::Fenced { what, by });
            }
            Act::Fenced { .. } => {}
            Act::FenceHits(node) => self.fence_hits(&node),
            Act::Veil(h, on) => self.hosts[h].veiled = on,
            Act::Blind(h, on) => self.hosts[h].blind = on,
            Act::Expire(h, on) => self.hosts[h].expired = on,
            Act::Proxy(mac) => self.proxy = mac,
            Act::Export => self.export(),
            Act::LoseEtcd => self.lose_etcd(),
            Act::Import(h) => self.import(h),
            Act::ChangeFile { host, group, dropped } => self.change_file(host, group, dropped),
            Act::Snapshot if self.swapped.is_none() => self.snapshot = Some(self.etcd.clone()),
            Act::Snapshot => {}
            Act::Restore { new_id } => self.restore(new_id),
            Act::Direct { from, to, open } => self.direct.open(from, to, open),
            Act::Chatter { lose, late } => self.direct.chatter(lose, late),
            Act::LoseDisk(h) => self.lose_disk(h),
            Act::Heal => self.heal(),
        }
    }

    pub(crate) fn request(&mut self, h: usize, request: Request) {
        let reply = self.rng.next();
        self.deliver(h, Event::Request { reply, request });
    }

    /// What an operator says of a host that is on would be untrue, and two machines may bear one name.
    fn is_off(&self, node: usize) -> bool {
        let name = &self.hosts[node].name;
        self.hosts.iter().all(|host| host.name != *name || !host.powered)
    }

    pub(crate) fn power_off(&mut self, h: usize) {
        if !self.hosts[h].powered {
            return;
        }
        self.end_sidecar(h);
        let now = self.now;
        let uptime = self.rng.range(1, 20) * S;
        let host = &mut self.hosts[h];
        host.powered = false;
        host.watched.clear();
        host.latched.clear();
        host.boot += 1;
        host.frozen = None;
        host.stopped = false;
        host.saved = None;
        host.pages.clear();
        host.vips.clear();
        host.mounts.clear();
        host.hung.clear();
        for c in host.containers.values_mut() {
            c.life = Life::Stopped;
            c.instance += 1;
            (c.dying, c.excused) = (false, false);
        }
        host.clock = Clock::new(now, uptime, host.clock.boot_rate, host.clock.raw_rate);
        if self.colocated && h < MEMBERS {
            self.member(h, State::Down);
        }
    }

    /// The machine goes on: its tethers look at their deadlines before anything else.
    pub(crate) fn thaw(&mut self, h: usize) {
        let Some((since, sleep)) = self.hosts[h].frozen.take() else {
            return;
        };
        if sleep {
            self.hosts[h].clock.slept(since, self.now);
            self.hosts[h].vip_excused = true;
        }
        let now = self.hosts[h].clock.read(self.now);
        let keys: Vec<_> = self.hosts[h]
            .containers
            .iter()
            .map(|(k, c)| (k.clone(), c.instance))
            .collect();
        for (key, instance) in keys {
            let hard = self.hosts[h].pages.get(&key).map(|page| page.hard);
            if hard.is_some_and(|hard| now.reached(hard)) {
                self.count("woke past its deadline");
                if let Some(c) = self.hosts[h].containers.get_mut(&key) {
                    c.excused = true;
                }
            }
            self.woke_to_another(h, &key);
            self.tether(h, &key, instance);
            if let Some(c) = self.hosts[h].containers.get(&key).filter(|c| c.dying) {
                let instance = c.instance;
                self.push(
                    MS,
                    Ev::Gone {
                        host: h,
                        key: key.clone(),
                        instance,
                    },
                );
            }
        }
        if !self.hosts[h].stopped {
            self.resume(h);
        }
    }

    pub(crate) fn restore(&mut self, new_id: bool) {
        let Some(mut old) = self.snapshot.take().filter(|_| self.swapped.is_none()) else {
            return;
        };
        old.cluster_id = self.etcd.cluster_id + u64::from(new_id);
        self.etcd = old;
        self.restored = true;
        // Epochs that the restore has forgotten are given once more, with their runs (known open): the claim refuses them.
        for host in &mut self.hosts {
            host.latched.clear();
        }
        let ends: Vec<i64> = self.etcd.leases.keys().copied().collect();
        for lease in ends {
            self.push(310 * S, Ev::LeaseEnd { lease });
        }
    }

    pub(crate) fn heal(&mut self) {
        self.etcd_up = true;
        self.direct.heal();
        self.swap_back();
        self.act(Act::Members);
        self.proxy = None;
        if !self.lost {
            self.end_all_orders();
        }
        for h in 0..self.hosts.len() {
            let host = &mut self.hosts[h];
            host.manners = Manners::default();
            host.links = [(true, true); MEMBERS];
            host.crash_after = None;
            (host.veiled, host.blind, host.expired) = (false, false, false);
            let other_file = !host.dropped.is_empty();
            host.dropped.clear();
            self.engine(h, false, false, false);
            self.storage(h, Fault::Fine);
            self.thaw(h);
            self.act(Act::ContinueSignal(h));
            self.act(Act::PowerOn(h));
            if other_file {
                self.end_sidecar(h);
            }
            let ending = self.hosts[h].node.is_none();
            if ending {
                self.start_sidecar(h);
            }
        }
    }

    /// For a driver that asks again and again: neither logged nor counted, and refused where there is no need for it.
    pub(crate) fn accept_quietly(&mut self, h: usize) {
        self.request(
            h,
            Request::Accept {
                force: false,
                epoch: None,
            },
        );
    }

    pub(crate) fn revive_quietly(&mut self) {
        (0..self.hosts.len()).for_each(|h| self.start_sidecar(h));
    }
}
