//! The sidecar of a host: the shipped core, its wake-ups, its crashes in the middle of anything.

use leasehold_core::event::{Action, Event, ServiceKey, VipNews};
use leasehold_core::node::{Identity, Node, Setup};
use leasehold_core::protocol::records::ClusterConfig;

use crate::events::Ev;
use crate::host::{Container, Life, MS};
use crate::told::Told;
use crate::world::World;

/// What the time is for people: nothing but the words of a status follow from it.
const WALL: i64 = 1_700_000_000;

impl World {
    /// The groups that its compose file has.
    fn in_file(&self, h: usize) -> impl Iterator<Item = &String> {
        self.groups
            .iter()
            .filter(move |name| !self.hosts[h].dropped.contains(*name))
    }

    pub(crate) fn start_sidecar(&mut self, h: usize) {
        if !self.hosts[h].awake() || self.hosts[h].node.is_some() {
            return;
        }
        let seed = self.rng.next();
        let host = &mut self.hosts[h];
        host.life += 1;
        host.inbox.clear();
        host.stopped = false;
        host.detached = false;
        host.crash_after = None;
        host.trust = host.pin.map(|pin| (pin.cluster_id, pin.generation, pin.revision));
        host.strange = false;
        host.told = Told::default();
        host.looking.clear();
        host.trying.clear();
        let host = &self.hosts[h];
        let setup = Setup {
            fence: self.fence_settings(),
            me: Identity {
                name: host.name.clone(),
                machine: "m".to_owned(),
                boot: host.boot_id(),
                version: "1".to_owned(),
                address: String::new(),
                priority: 100 + h as u32,
            },
            cluster: "sim".to_owned(),
            timing: self.timing,
            groups: self.in_file(h).map(|name| self.settings(name)).collect(),
            pinned: host.pin,
            saved: host.saved.clone(),
            pages: host.pages.clone(),
            vote: self.direct.vote(h),
            promises: self.direct.bound().map(std::time::Duration::from_nanos),
            seed,
        };
        let host = &mut self.hosts[h];
        let mut node = Node::new(setup);
        let mut out = Vec::new();
        node.start(host.clock.read(self.now), &mut out);
        host.node = Some(node);
        let life = host.life;
        note!(self, "{} sidecar starts", self.hosts[h].name);
        self.dispatch(h, out);
        self.rearm(h);
        self.hosts[h].vip_excused = false;
        // What the adapters say first.
        let (doubt, wall) = (None, Some(WALL));
        let link = Event::Vip(VipNews::Link {
            up: true,
            mac: self.hosts[h].name.clone(),
        });
        for event in [Event::Engine { result: Ok(()) }, Event::Clock { doubt, wall }, link] {
            self.push(3 * MS, Ev::Inbox { host: h, life, event });
        }
        self.tethers_report(h, life);
    }

    /// The tethers of what runs find the new sidecar.
    fn tethers_report(&mut self, h: usize, life: u64) {
        let hellos: Vec<(ServiceKey, Container)> = self.hosts[h]
            .containers
            .iter()
            .map(|(key, c)| (key.clone(), c.clone()))
            .collect();
        for (of, c) in hellos {
            if c.life != Life::Stopped && !c.dying {
                let delay = self.rng.range(1, 60) * MS;
                let event = Event::TetherHello {
                    of,
                    run: c.run,
                    running: c.life == Life::Up,
                    connection: c.instance,
                };
                self.push(delay, Ev::Inbox { host: h, life, event });
            }
        }
    }

    pub(crate) fn end_sidecar(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        host.node = None;
        host.frozen_core = false;
        host.life += 1;
        host.inbox.clear();
        host.crash_after = None;
    }

    pub(crate) fn deliver(&mut self, h: usize, event: Event) {
        let host = &mut self.hosts[h];
        if host.node.is_none() {
            return;
        }
        if host.stopped || !host.awake() {
            host.inbox.push_back(event);
            return;
        }
        self.trusted(h, &event);
        self.ends_after_its_hello(h, &event);
        if let Event::StorageSeen { group, result, .. } = &event {
            self.looked(h, group, result);
        }
        if let Event::StartTried { group, .. } = &event {
            self.hosts[h].trying.remove(group);
        }
        let host = &mut self.hosts[h];
        if self.now - host.handled_since > 100 * MS {
            (host.handled, host.handled_since) = (0, self.now);
        }
        host.handled += 1;
        let spins = host.handled > 1500;
        let now = host.clock.read(self.now);
        let mut out = Vec::new();
        if let Some(node) = &mut host.node {
            node.handle(now, event, &mut out);
        }
        self.heeds_rightly(h);
        self.dispatch(h, out);
        self.rearm(h);
        if spins {
            self.fail(format!("the core of {} spins", self.hosts[h].name));
        }
    }

    pub(crate) fn rearm(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        let Some(node) = &host.node else { return };
        if node.is_finished() {
            self.end_sidecar(h);
            return;
        }
        host.wake += 1;
        let (token, life) = (host.wake, host.life);
        let delay = node.deadline().map(|at| host.clock.delay(self.now, at));
        if let Some(delay) = delay {
            let late = self.rng.range(0, 2 * MS);
            self.push(delay + late, Ev::Wake { host: h, life, token });
        }
    }

    pub(crate) fn wake(&mut self, h: usize, life: u64, token: u64) {
        let host = &self.hosts[h];
        if host.life == life && host.wake == token {
            if host.stopped || !host.awake() {
                return; // It is woken when it thaws.
            }
            self.deliver(h, Event::Tick);
        }
    }

    pub(crate) fn dispatch(&mut self, h: usize, out: Vec<Action>) {
        let limit = self.hosts[h].crash_after.take();
        for (at, action) in out.into_iter().enumerate() {
            if limit == Some(at) {
                note!(
                    self,
                    "{} sidecar crashes in the middle of its actions",
                    self.hosts[h].name
                );
                self.count("crash within an event");
                self.end_sidecar(h);
                return;
            }
            self.carry_out(h, action);
            if !self.hosts[h].powered {
                return;
            }
        }
    }

    /// The sidecar goes on: the time first, then what has come in meanwhile.
    pub(crate) fn resume(&mut self, h: usize) {
        if self.hosts[h].node.is_none() || !self.hosts[h].awake() || self.hosts[h].stopped {
            return;
        }
        let waiting = std::mem::take(&mut self.hosts[h].inbox);
        self.deliver(h, Event::Tick);
        if self.hosts[h].node.is_some() {
            self.hosts[h].vip_excused = false;
        }
        for event in waiting {
            self.deliver(h, event);
        }
    }

    /// A tether that ended while its hello was under way: the end of its connection follows, as the pidfd tells it.
    fn ends_after_its_hello(&mut self, h: usize, event: &Event) {
        let Event::TetherHello {
            of,
            run,
            running: true,
            connection,
        } = event
        else {
            return;
        };
        let (host, connection) = (&self.hosts[h], *connection);
        let life = host.life;
        let alive = |c: &Container| c.instance == connection && c.life != Life::Stopped;
        if !host.containers.get(of).is_some_and(alive) {
            let (of, run) = (of.clone(), *run);
            let event = Event::TetherGone { of, run, connection };
            self.push(MS, Ev::Inbox { host: h, life, event });
        }
    }

    /// S10: whether the answer is of the etcd that this sidecar trusts, judged by what it has been told itself.
    fn trusted(&mut self, h: usize, event: &Event) {
        let Event::Answer { id, result: Ok(answer) } = event else {
            return;
        };
        let host = &mut self.hosts[h];
        if host.asked != Some(*id) {
            return; // Too late: nobody waits for it.
        }
        host.asked = None;
        self.tell(h, answer);
        let host = &mut self.hosts[h];
        let key = self.keys.config();
        let config = answer.keys.iter().find(|kv| kv.key == key);
        let config = config.and_then(|kv| serde_json::from_str::<ClusterConfig>(&kv.value).ok());
        let generation = config.map_or(0, |config| config.generation);
        let strange = host.trust.is_some_and(|(cluster, pinned, revision)| {
            let older = generation < pinned || answer.revision < revision;
            generation <= pinned && (answer.cluster_id != cluster || older)
        });
        host.strange = strange;
        if !strange && config.is_some() {
            host.trust = Some((answer.cluster_id, generation, answer.revision));
        }
    }
}
