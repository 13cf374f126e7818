//! The simulated world: machines, network and etcd under one virtual time, driving the shipped core.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use leasehold::core::epoch::Run;
use leasehold::core::event::{
    Action, Command, Event, Level, Order, PageOrder, ProbeFailure, ServiceKey, Trace, VipNews,
};
use leasehold::core::group::{GroupSettings, OnFailure, ProbeSettings, ServiceSettings};
use leasehold::core::keys::Keys;
use leasehold::core::node::{Identity, Node, Setup};
use leasehold::core::records::{Beat, Record, RecordState};
use leasehold::core::sizing::Timing;
use leasehold::core::store::{Compare, Grant, Hint, Op, RequestId, StoreError, Txn};
use leasehold::core::time::Time;

use super::etcd::{Change, Etcd};
use super::host::{Clock, Container, Host, Life, MS, S};
use super::mutants::Mutant;

/// Also where nothing is strange: the worst that an operator can do.
const ACCEPT: Command = Command::Accept {
    force: true,
    epoch: None,
};

/// What stands in the way of a call.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Txn(RequestId, Txn),
    Read(RequestId),
    Grant(Grant),
    KeepAlive(i64),
    Revoke(i64),
}

/// Faults, repairs and operators.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    PowerOff(usize),
    PowerOn(usize),
    KillSidecar(usize),
    /// Crash in the middle of the next event's actions, after so many of them.
    CrashAfter(usize, usize),
    StartSidecar(usize),
    StopSignal(usize),
    ContinueSignal(usize),
    Freeze {
        host: usize,
        sleep: bool,
    },
    Thaw(usize),
    Network {
        host: usize,
        to: bool,
        from: bool,
    },
    EtcdDown,
    EtcdUp,
    DeleteNodeKey(usize),
    CrashApp(usize, String),
    Engine {
        host: usize,
        hangs: bool,
        refuses: bool,
    },
    Calls {
        host: usize,
        lose: u64,
        lose_answer: u64,
        late: u64,
        duplicate: u64,
        latency: u64,
    },
    SlowTether {
        host: usize,
        tether: u64,
        die: u64,
        ignores_term: bool,
    },
    Term(usize),
    Switchover(usize, String, Option<String>),
    Hold(usize, Duration),
    Accept(usize),
    Snapshot,
    Restore {
        new_id: bool,
    },
    Heal,
}

#[derive(Clone, Debug)]
enum Ev {
    ToEtcd {
        host: usize,
        life: u64,
        call: Call,
        back: Option<u64>,
    },
    Inbox {
        host: usize,
        life: u64,
        event: Event,
    },
    Timeout {
        host: usize,
        life: u64,
        call: Call,
    },
    Wake {
        host: usize,
        life: u64,
        token: u64,
    },
    Tether {
        host: usize,
        key: ServiceKey,
        instance: u64,
    },
    Started {
        host: usize,
        boot: u64,
        life: u64,
        key: ServiceKey,
        run: Run,
    },
    Admit {
        host: usize,
        key: ServiceKey,
        instance: u64,
        refuse: bool,
    },
    Exit {
        host: usize,
        key: ServiceKey,
        instance: u64,
    },
    Gone {
        host: usize,
        key: ServiceKey,
        instance: u64,
    },
    LeaseEnd {
        lease: i64,
    },
    Act(Act),
}

struct Entry {
    at: u64,
    order: u64,
    ev: Ev,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Rng(pub u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `low` to below `high`.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low).max(1)
    }

    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.range(0, 1000) < per_mille
    }

    pub(crate) fn pick(&mut self, count: usize) -> usize {
        self.range(0, count as u64) as usize
    }
}

/// Formats a line of the log only when there is one.
macro_rules! note {
    ($world:expr, $($line:tt)*) => {
        if $world.log.is_some() {
            let line = format!($($line)*);
            let at = $world.now as f64 / S as f64;
            if let Some(log) = &mut $world.log {
                log.push(format!("{at:>9.4} {line}"));
            }
        }
    };
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) rng: Rng,
    pub(crate) timing: Timing,
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
    /// (node, lease) -> the true time until which observers must wait after its last landed beat.
    cover: BTreeMap<(String, i64), u64>,
    /// Group -> highest admitted epoch and its host.
    epochs: BTreeMap<String, (u64, usize)>,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    pub(crate) replies: Vec<(usize, Result<String, String>)>,
    pub(crate) alarms: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64, hosts: usize, groups: usize, mutant: Mutant) -> Self {
        let mut rng = Rng(seed);
        let keys = Keys::new("sim");
        let groups: Vec<String> = ["mail", "web"].iter().take(groups).map(|g| (*g).to_owned()).collect();
        let mut etcd = Etcd::new();
        for group in &groups {
            etcd.put(&keys.store(group), r#"{"id":"s","mounts":[]}"#, 0, 1);
        }
        let hosts = (0..hosts)
            .map(|at| {
                let uptime = rng.range(10, 5000) * S;
                // BOOTTIME may be slewed by 8 %.
                let slewed = rng.chance(500);
                let boot_rate = if slewed {
                    0.92 + rng.range(0, 1600) as f64 / 10_000.0
                } else {
                    1.0
                };
                let raw_rate = 0.996 + rng.range(0, 80) as f64 / 10_000.0;
                Host::new(["a", "b", "c"][at], Clock::new(0, uptime, boot_rate, raw_rate))
            })
            .collect();
        let ttl = Duration::from_secs(5);
        Self {
            now: 0,
            rng,
            timing: Timing::new(ttl, 0.99, None, Duration::from_secs(1)),
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
            epochs: BTreeMap::new(),
            queue: BinaryHeap::new(),
            order: 0,
            replies: Vec::new(),
            alarms: Vec::new(),
        }
    }

    pub(crate) fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    pub(crate) fn fail(&mut self, why: String) {
        note!(self, "FAILED: {why}");
        if self.failure.is_none() {
            self.failure = Some(format!("at {:.4} s: {why}", self.now as f64 / S as f64));
        }
    }

    fn push(&mut self, delay: u64, ev: Ev) {
        self.order += 1;
        self.queue.push(Reverse(Entry {
            at: self.now + delay,
            order: self.order,
            ev,
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
            self.happen(entry.ev);
            self.check();
        }
        self.now = self.now.max(end);
    }

    pub(crate) fn run_for(&mut self, ms: u64) {
        self.run_until(self.now + ms * MS);
    }

    fn happen(&mut self, ev: Ev) {
        match ev {
            Ev::ToEtcd { host, life, call, back } => self.arrive(host, life, call, back),
            Ev::Inbox { host, life, event } => {
                if self.hosts[host].life == life {
                    self.deliver(host, event);
                }
            }
            Ev::Timeout { host, life, call } => {
                if self.hosts[host].life == life {
                    let why = StoreError::Unknown("timed out".to_owned());
                    if let Some(event) = failed(&call, why) {
                        self.deliver(host, event);
                    }
                }
            }
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
            Ev::Exit { host, key, instance } => self.die(host, &key, instance),
            Ev::Gone { host, key, instance } => self.gone(host, &key, instance),
            Ev::LeaseEnd { lease } => {
                if self.etcd.leases.get(&lease).is_some_and(|end| *end <= self.now) {
                    let changes = self.etcd.revoke(lease);
                    self.changed(None, &changes);
                }
            }
            Ev::Act(act) => self.act(act),
        }
    }

    // --- the sidecar -------------------------------------------------------------------------------------------

    pub(crate) fn start_sidecar(&mut self, h: usize) {
        let host = &mut self.hosts[h];
        if !host.awake() || host.node.is_some() {
            return;
        }
        host.life += 1;
        host.inbox.clear();
        host.stopped = false;
        host.detached = false;
        host.crash_after = None;
        let setup = Setup {
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
            groups: self.groups.iter().map(|name| settings(name, &self.timing)).collect(),
            pinned: host.pin,
            saved: host.saved.clone(),
            pages: host.pages.clone(),
            seed: self.rng.next(),
        };
        let mut node = Node::new(setup);
        let mut out = Vec::new();
        node.start(host.clock.read(self.now), &mut out);
        host.node = Some(node);
        let life = host.life;
        note!(self, "{} sidecar starts", self.hosts[h].name);
        self.dispatch(h, out);
        self.rearm(h);
        self.hosts[h].vip_excused = false;
        self.push(
            3 * MS,
            Ev::Inbox {
                host: h,
                life,
                event: Event::Engine { result: Ok(()) },
            },
        );
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

    fn end_sidecar(&mut self, h: usize) {
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
        self.dispatch(h, out);
        self.rearm(h);
        if spins {
            self.fail(format!("the core of {} spins", self.hosts[h].name));
        }
    }

    fn rearm(&mut self, h: usize) {
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

    fn wake(&mut self, h: usize, life: u64, token: u64) {
        let host = &self.hosts[h];
        if host.life == life && host.wake == token {
            if host.stopped || !host.awake() {
                return; // It is woken when it thaws.
            }
            self.deliver(h, Event::Tick);
        }
    }

    fn dispatch(&mut self, h: usize, out: Vec<Action>) {
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
        }
    }

    #[expect(clippy::too_many_lines, reason = "one match over every action")]
    fn carry_out(&mut self, h: usize, action: Action) {
        let (life, boot) = (self.hosts[h].life, self.hosts[h].boot);
        let soon = self.rng.range(MS, 10 * MS);
        match action {
            Action::Txn { id, txn } => self.call(h, Call::Txn(id, txn)),
            Action::Read { id } => self.call(h, Call::Read(id)),
            Action::Grant(grant) => self.call(h, Call::Grant(grant)),
            Action::KeepAlive { lease } => self.call(h, Call::KeepAlive(lease)),
            Action::Revoke { lease } => self.call(h, Call::Revoke(lease)),
            Action::Page { of, page } => self.write_page(h, of, page),
            Action::Save(saved) => self.hosts[h].saved = Some(saved),
            Action::Pin(pin) => self.hosts[h].pin = Some(pin),
            Action::Prepare { group, .. } => {
                for service in 0..settings(&group, &self.timing).services.len() {
                    let of = ServiceKey {
                        group: group.clone(),
                        service,
                    };
                    let event = Event::Prepared {
                        of,
                        result: Ok("sha256:1".to_owned()),
                    };
                    self.push(soon * 3, Ev::Inbox { host: h, life, event });
                }
            }
            Action::Start { of, run } => {
                note!(
                    self,
                    "{} starts {}/{} run {run}",
                    self.hosts[h].name,
                    of.group,
                    of.service
                );
                if self.hosts[h].manners.engine_refuses {
                    self.count("engine refused");
                    let event = Event::StartAnswered {
                        of,
                        run,
                        result: Err("refused".to_owned()),
                    };
                    self.push(soon, Ev::Inbox { host: h, life, event });
                } else if self.hosts[h].manners.engine_hangs {
                    self.count("engine hung");
                    self.hosts[h].hung.push((of, run));
                } else {
                    self.push(
                        soon * 5,
                        Ev::Started {
                            host: h,
                            boot,
                            life,
                            key: of,
                            run,
                        },
                    );
                }
            }
            Action::Admit { of, connection } => {
                self.push(
                    soon / 4,
                    Ev::Admit {
                        host: h,
                        key: of,
                        instance: connection,
                        refuse: false,
                    },
                );
            }
            Action::Refuse { of, connection } => {
                self.push(
                    soon / 4,
                    Ev::Admit {
                        host: h,
                        key: of,
                        instance: connection,
                        refuse: true,
                    },
                );
            }
            Action::Kill { of } => {
                let instance = self.hosts[h].containers.get(&of).map(|c| c.instance);
                if let Some(instance) = instance.filter(|_| !self.hosts[h].manners.engine_hangs) {
                    self.push(
                        soon,
                        Ev::Exit {
                            host: h,
                            key: of,
                            instance,
                        },
                    );
                }
            }
            Action::Inspect { of } => {
                let container = self.hosts[h].containers.get(&of);
                let trace = match container.is_some_and(|c| c.life != Life::Stopped) {
                    // A host without the kernel's witness: there the engine's word is none.
                    _ if self.hosts[h].manners.engine_hangs => Trace::Hidden { why: String::new() },
                    true => Trace::Left { what: String::new() },
                    false => Trace::Nothing,
                };
                self.push(
                    soon,
                    Ev::Inbox {
                        host: h,
                        life,
                        event: Event::Inspected { of, trace },
                    },
                );
            }
            Action::Probe { group, run, probe, .. } => {
                let up = self.hosts[h].serves(&group);
                let result = if up {
                    Ok(())
                } else {
                    Err(ProbeFailure::wrong("refused"))
                };
                self.push(
                    soon,
                    Ev::Inbox {
                        host: h,
                        life,
                        event: Event::Probed {
                            group,
                            run,
                            probe,
                            result,
                        },
                    },
                );
            }
            Action::VipProbe { group } => {
                let other = (0..self.hosts.len()).find(|o| *o != h && self.hosts[*o].has_vip(&group, self.now));
                let news = match other {
                    Some(other) => VipNews::Conflict {
                        group,
                        vip: "v".to_owned(),
                        mac: self.hosts[other].name.clone(),
                    },
                    None => VipNews::Free { group },
                };
                self.push(
                    soon * 20,
                    Ev::Inbox {
                        host: h,
                        life,
                        event: Event::Vip(news),
                    },
                );
            }
            Action::VipHold { group, until, .. } => self.hold_vip(h, group, until, soon),
            Action::VipDrop { group } => {
                self.hosts[h].vips.remove(&group);
                self.push(
                    soon,
                    Ev::Inbox {
                        host: h,
                        life,
                        event: Event::Vip(VipNews::Dropped { group }),
                    },
                );
            }
            Action::Say(decision) => {
                let name = self.hosts[h].name.clone();
                if decision.text.contains("adopting run") {
                    self.count("adopted");
                }
                if decision.text.contains("nothing starts until") {
                    self.hosts[h].frozen_core = true;
                } else if decision.text.contains("accepted a restored") {
                    self.hosts[h].frozen_core = false;
                }
                if decision.level == Level::Alarm {
                    self.alarms.push(format!("{name}: {}", decision.text));
                }
                note!(
                    self,
                    "{name} [{}] {}",
                    decision.group.unwrap_or_default(),
                    decision.text
                );
            }
            Action::Reply { result, .. } => {
                note!(self, "{} replies {result:?}", self.hosts[h].name);
                self.replies.push((h, result));
            }
            Action::Exit { detached } => {
                note!(self, "{} exits, detached {detached}", self.hosts[h].name);
                self.hosts[h].detached = detached;
            }
            Action::KillForeign { .. } | Action::Feed { .. } | Action::Disarm => {}
        }
    }

    fn hold_vip(&mut self, h: usize, group: String, until: Time, soon: u64) {
        let life = self.hosts[h].life;
        let now = self.hosts[h].clock.read(self.now);
        let raw = now.awake();
        let whole = now.until(until).saturating_sub(Duration::from_millis(300)).as_secs();
        if whole == 0 {
            return;
        }
        let late = Duration::from_nanos(self.rng.range(0, 300 * MS));
        self.hosts[h]
            .vips
            .insert(group.clone(), raw + Duration::from_secs(whole) + late);
        self.push(
            soon,
            Ev::Inbox {
                host: h,
                life,
                event: Event::Vip(VipNews::Held { group }),
            },
        );
    }

    // --- calls to etcd -----------------------------------------------------------------------------------------

    fn call(&mut self, h: usize, call: Call) {
        let mut call = call;
        if let Call::Txn(_, txn) = &mut call {
            self.mutant.txn(txn, &self.keys, &self.hosts[h].name);
        }
        let life = self.hosts[h].life;
        let manners = self.hosts[h].manners.clone();
        let out = self.rng.range(MS / 2, manners.latency);
        let back = self.rng.range(MS / 2, manners.latency);
        let attempt = self.timing.attempt.as_nanos() as u64;
        self.push(
            attempt,
            Ev::Timeout {
                host: h,
                life,
                call: call.clone(),
            },
        );
        if !self.hosts[h].to_etcd || self.rng.chance(manners.lose) {
            self.count("request lost");
            return;
        }
        let late = self.rng.chance(manners.late);
        let out = if late { self.rng.range(out, 3 * S) } else { out };
        if late {
            self.count("request late");
        }
        let lost = self.rng.chance(manners.lose_answer);
        if lost {
            self.count("answer lost");
        }
        let back = (!lost).then(|| {
            if self.rng.chance(manners.late) {
                self.rng.range(back, attempt)
            } else {
                back
            }
        });
        if self.rng.chance(manners.duplicate) {
            self.count("request duplicated");
            let again = self.rng.range(out, out + S);
            self.push(
                again,
                Ev::ToEtcd {
                    host: h,
                    life,
                    call: call.clone(),
                    back,
                },
            );
        }
        self.push(
            out,
            Ev::ToEtcd {
                host: h,
                life,
                call,
                back,
            },
        );
    }

    fn arrive(&mut self, h: usize, life: u64, call: Call, back: Option<u64>) {
        if !self.etcd_up {
            return;
        }
        let event = match call {
            Call::Txn(id, txn) => {
                let before = self.etcd.revision;
                match self.etcd.txn(&txn) {
                    Ok((succeeded, changes)) => {
                        if succeeded {
                            self.classify(&txn, &changes);
                        } else {
                            self.count("compare failed");
                        }
                        self.changed(Some(h), &changes);
                        debug_assert!(self.etcd.revision >= before);
                        let mut answer = self.etcd.answer(&self.keys, succeeded);
                        self.mutant.answer(&mut answer, &self.keys, &self.hosts[h].name);
                        Event::Answer { id, result: Ok(answer) }
                    }
                    Err(why) => Event::Answer {
                        id,
                        result: Err(StoreError::Refused(why)),
                    },
                }
            }
            Call::Read(id) => {
                let mut answer = self.etcd.answer(&self.keys, true);
                self.mutant.answer(&mut answer, &self.keys, &self.hosts[h].name);
                Event::Answer { id, result: Ok(answer) }
            }
            Call::Grant(grant) => {
                let end = self.now + grant.ttl.as_nanos() as u64;
                self.etcd.leases.insert(grant.lease, end);
                self.push(end - self.now, Ev::LeaseEnd { lease: grant.lease });
                Event::Granted {
                    lease: grant.lease,
                    result: Ok(()),
                }
            }
            Call::KeepAlive(lease) => {
                let end = self.now + self.timing.lease_ttl().as_nanos() as u64;
                if let Some(at) = self.etcd.leases.get_mut(&lease) {
                    *at = end;
                    self.push(end - self.now, Ev::LeaseEnd { lease });
                }
                return;
            }
            Call::Revoke(lease) => {
                let changes = self.etcd.revoke(lease);
                self.changed(Some(h), &changes);
                return;
            }
        };
        if let Some(back) = back.filter(|_| self.hosts[h].from_etcd) {
            self.push(back, Ev::Inbox { host: h, life, event });
        }
    }

    /// What follows in the world from what was written: hints, and the checks that need the true state.
    fn changed(&mut self, by: Option<usize>, changes: &[Change]) {
        let accepted = changes.iter().any(|(key, ..)| *key == self.keys.config());
        let mut hints = Vec::new();
        for (key, before, after) in changes {
            let Some(parts) = self
                .keys
                .parts(key)
                .map(|p| p.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
            else {
                continue;
            };
            match (parts[0].as_str(), parts.len()) {
                ("nodes", 2) => match (before, after) {
                    (_, Some(after)) => self.covered(&parts[1], after.lease, &after.value),
                    (Some(before), None) => hints.push(Hint::NodeGone {
                        node: parts[1].clone(),
                        lease: before.lease,
                        last_mod_revision: before.mod_revision,
                    }),
                    (None, None) => {}
                },
                ("groups", 3) => {
                    hints.push(Hint::Changed);
                    if parts[2] == "record"
                        && let Some(after) = after
                    {
                        let before = before
                            .as_ref()
                            .and_then(|kv| serde_json::from_str::<Record>(&kv.value).ok());
                        self.recorded(by, &parts[1], before, &after.value, accepted);
                    }
                }
                _ => {}
            }
        }
        for h in 0..self.hosts.len() {
            for hint in &hints {
                if self.rng.chance(800) && self.hosts[h].from_etcd {
                    let (life, delay) = (self.hosts[h].life, self.rng.range(MS, 30 * MS));
                    self.push(
                        delay,
                        Ev::Inbox {
                            host: h,
                            life,
                            event: Event::Hint(hint.clone()),
                        },
                    );
                }
            }
        }
    }

    fn covered(&mut self, node: &str, lease: i64, value: &str) {
        if let Ok(beat) = serde_json::from_str::<Beat>(value) {
            // An observer's raw clock may run 0.4 % fast.
            let wait = (beat.ttl_ms * MS) as f64 / 1.004;
            self.cover.insert((node.to_owned(), lease), self.now + wait as u64);
        }
    }

    fn recorded(&mut self, by: Option<usize>, group: &str, before: Option<Record>, after: &str, accepted: bool) {
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
        let Some(before) = before else { return };
        if after.epoch < before.epoch {
            self.fail(format!(
                "the record of {group} went back from {} to {}",
                before.epoch, after.epoch
            ));
        }
        // A hold's promise goes into the record of the same epoch.
        let same = after.state == RecordState::Active && after.epoch == before.epoch && after.node == before.node;
        if before.state != RecordState::Active || accepted || same {
            return;
        }
        // Released or taken: nothing of the old epoch may still write.
        let writer = self.hosts.iter().position(|host| {
            host.name == before.node
                && host.awake()
                && host.containers.iter().any(|(key, c)| {
                    key.group == *group && c.life == Life::Up && !c.excused && c.run.epoch <= before.epoch
                })
        });
        if let Some(writer) = writer {
            self.fail(format!(
                "epoch {} of {group} was given up by {by:?} while its application runs on {}",
                before.epoch, self.hosts[writer].name
            ));
        }
    }

    fn classify(&mut self, txn: &Txn, changes: &[Change]) {
        let nodes = self.keys.nodes();
        let record = changes.iter().find_map(|(key, before, after)| {
            let record = self.keys.parts(key).is_some_and(|p| p.len() == 3 && p[2] == "record");
            let read = |kv: &Option<leasehold::core::store::KeyValue>| {
                kv.as_ref()
                    .and_then(|kv| serde_json::from_str::<Record>(&kv.value).ok())
            };
            record.then(|| (read(before), read(after)))
        });
        let own = txn
            .compare
            .iter()
            .any(|c| matches!(c, Compare::Lease { key, .. } if key.starts_with(&nodes)));
        let deletes = txn
            .then
            .iter()
            .any(|op| matches!(op, Op::Delete { key } if key.starts_with(&nodes)));
        let not = txn.compare.iter().any(|c| matches!(c, Compare::LeaseNot { .. }));
        let creates = txn
            .compare
            .iter()
            .any(|c| matches!(c, Compare::Create { key, .. } if key.starts_with(&nodes)));
        let accept = txn.then.iter().any(|op| matches!(op, Op::DeletePrefix { .. }));
        let records = changes.iter().filter(|(key, ..)| key.ends_with("/record")).count();
        let kind = match record {
            _ if accept => "T11",
            Some((before, Some(after))) if after.state == RecordState::Active => match before {
                _ if not => "T5",
                Some(before) if before.state == RecordState::Active && before.epoch == after.epoch => "T2",
                Some(before) if before.state == RecordState::Active && before.incarnation == after.incarnation => "T6",
                _ if deletes => {
                    if records > 1 {
                        self.count("T4 frees a second group");
                    }
                    "T4"
                }
                Some(_) | None => "T3",
            },
            Some(_) if own => "T7",
            Some(_) => "T8",
            None if creates => "T1",
            None if deletes => "T9",
            None if own => "T2",
            None => "configure",
        };
        self.count(kind);
    }

    // --- pages, tethers, engine --------------------------------------------------------------------------------

    fn write_page(&mut self, h: usize, of: ServiceKey, page: PageOrder) {
        let before = self.hosts[h].pages.get(&of).copied();
        let page = self.mutant.page(before, page);
        if self.mutant == Mutant::EarlyProof && page.order == Order::Stop {
            let life = self.hosts[h].life;
            let event = Event::TetherGone {
                of: of.clone(),
                run: page.run,
            };
            self.push(MS, Ev::Inbox { host: h, life, event });
        }
        self.hosts[h].pages.insert(of.clone(), page);
        if let Some(instance) = self.hosts[h].containers.get(&of).map(|c| c.instance) {
            let tick = self.rng.range(0, self.hosts[h].manners.tether);
            self.push(
                tick,
                Ev::Tether {
                    host: h,
                    key: of,
                    instance,
                },
            );
        }
    }

    fn tether(&mut self, h: usize, key: &ServiceKey, instance: u64) {
        let host = &self.hosts[h];
        let Some(c) = host.containers.get(key).filter(|c| c.instance == instance && !c.dying) else {
            return;
        };
        if !host.awake() {
            return; // It looks again first thing when the machine wakes.
        }
        let now = host.clock.read(self.now);
        let page = host.pages.get(key).copied();
        let valid = page.filter(|page| page.run == c.run);
        let kill = valid.is_none_or(|page| matches!(page.order, Order::Closed | Order::Kill) || now.reached(page.hard));
        let soft = valid.is_some_and(|page| page.order == Order::Stop || now.reached(page.soft));
        match c.life {
            Life::Stopped => {}
            Life::Gate => {
                if kill || soft {
                    self.die(h, key, instance);
                } else {
                    self.look_again(h, key, instance);
                }
            }
            Life::Up => {
                if kill {
                    self.die(h, key, instance);
                    return;
                }
                if soft && !c.signalled {
                    self.signal(h, key, instance);
                }
                self.look_again(h, key, instance);
            }
        }
    }

    fn signal(&mut self, h: usize, key: &ServiceKey, instance: u64) {
        note!(
            self,
            "{} tether signals {}/{}",
            self.hosts[h].name,
            key.group,
            key.service
        );
        if let Some(c) = self.hosts[h].containers.get_mut(key) {
            c.signalled = true;
        }
        if !self.hosts[h].manners.ignores_term {
            let exit = self.rng.range(5 * MS, self.hosts[h].manners.exit);
            self.push(
                exit,
                Ev::Exit {
                    host: h,
                    key: key.clone(),
                    instance,
                },
            );
        }
    }

    fn look_again(&mut self, h: usize, key: &ServiceKey, instance: u64) {
        let host = &self.hosts[h];
        let Some(page) = host.pages.get(key).copied() else {
            return;
        };
        let now = host.clock.read(self.now);
        let next = if now.reached(page.soft) { page.hard } else { page.soft };
        if !now.reached(next) {
            let delay = host.clock.delay(self.now, next);
            let tick = self.rng.range(0, self.hosts[h].manners.tether);
            self.push(
                delay + tick,
                Ev::Tether {
                    host: h,
                    key: key.clone(),
                    instance,
                },
            );
        }
    }

    fn die(&mut self, h: usize, key: &ServiceKey, instance: u64) {
        let (awake, unkillable) = (self.hosts[h].awake(), self.hosts[h].manners.unkillable);
        let Some(c) = self.hosts[h].containers.get_mut(key).filter(|c| c.instance == instance) else {
            return;
        };
        if c.life == Life::Stopped || c.dying || !awake || unkillable {
            return;
        }
        c.dying = true;
        let delay = self.rng.range(MS, self.hosts[h].manners.die);
        self.push(
            delay,
            Ev::Gone {
                host: h,
                key: key.clone(),
                instance,
            },
        );
    }

    fn gone(&mut self, h: usize, key: &ServiceKey, instance: u64) {
        if !self.hosts[h].awake() {
            let retry = Ev::Gone {
                host: h,
                key: key.clone(),
                instance,
            };
            if self.hosts[h].powered {
                self.push(20 * MS, retry);
            }
            return;
        }
        let Some(c) = self.hosts[h].containers.get_mut(key).filter(|c| c.instance == instance) else {
            return;
        };
        let (run, was) = (c.run, c.life);
        c.life = Life::Stopped;
        c.dying = false;
        note!(
            self,
            "{} {}/{} run {run} gone (was {was:?})",
            self.hosts[h].name,
            key.group,
            key.service
        );
        let (life, delay) = (self.hosts[h].life, self.rng.range(MS / 10, 5 * MS));
        self.push(
            delay,
            Ev::Inbox {
                host: h,
                life,
                event: Event::TetherGone { of: key.clone(), run },
            },
        );
    }

    fn started(&mut self, h: usize, life: u64, key: ServiceKey, run: Run) {
        if !self.hosts[h].awake() {
            let boot = self.hosts[h].boot;
            self.push(
                20 * MS,
                Ev::Started {
                    host: h,
                    boot,
                    life,
                    key,
                    run,
                },
            );
            return;
        }
        let event = Event::StartAnswered {
            of: key.clone(),
            run,
            result: Ok(()),
        };
        self.push(MS, Ev::Inbox { host: h, life, event });
        let old = self.hosts[h].containers.get(&key);
        if old.is_some_and(|c| c.life != Life::Stopped) {
            return; // The engine: it runs already.
        }
        let instance = old.map_or(1, |c| c.instance + 1);
        // The tether takes its run from the page.
        let now = self.hosts[h].clock.read(self.now);
        let page = self.hosts[h].pages.get(&key).copied();
        let open = page.filter(|page| page.order == Order::Open && !now.reached(page.soft));
        let Some(page) = open else {
            self.count("tether left at its gate");
            return;
        };
        let container = Container {
            life: Life::Gate,
            instance,
            run: page.run,
            lease: 0,
            signalled: false,
            dying: false,
            excused: false,
        };
        self.hosts[h].containers.insert(key.clone(), container);
        let (life, delay) = (self.hosts[h].life, self.rng.range(5 * MS, 60 * MS));
        let event = Event::TetherHello {
            of: key.clone(),
            run: page.run,
            running: false,
            connection: instance,
        };
        self.push(delay, Ev::Inbox { host: h, life, event });
        self.look_again(h, &key, instance);
    }

    fn admit(&mut self, h: usize, key: &ServiceKey, instance: u64, refuse: bool) {
        let now = self.now;
        let host = &mut self.hosts[h];
        if !host.powered {
            return;
        }
        if !host.awake() {
            self.push(
                20 * MS,
                Ev::Admit {
                    host: h,
                    key: key.clone(),
                    instance,
                    refuse,
                },
            );
            return;
        }
        let lease = host.saved.as_ref().map_or(0, |saved| saved.lease);
        let Some(run) = host
            .containers
            .get(key)
            .filter(|c| c.instance == instance)
            .map(|c| c.run)
        else {
            return;
        };
        let allowed = host.page_allows(key, run, now);
        let Some(c) = host.containers.get_mut(key).filter(|c| !c.dying) else {
            return;
        };
        match (refuse, c.life) {
            (true, Life::Up | Life::Gate) => self.die(h, key, instance),
            (false, Life::Gate) if allowed => {
                c.life = Life::Up;
                c.lease = lease;
                note!(
                    self,
                    "{} {}/{} run {run} UP",
                    self.hosts[h].name,
                    key.group,
                    key.service
                );
                self.admitted(h, &key.group, run.epoch);
            }
            (false, Life::Gate) => self.die(h, key, instance),
            (_, Life::Stopped) | (false, Life::Up) => {}
        }
    }

    fn admitted(&mut self, h: usize, group: &str, epoch: u64) {
        self.count("started");
        let last = self.epochs.insert(group.to_owned(), (epoch, h));
        if self.restored {
            return; // Without the claim on the storage a restore may repeat an epoch: counted apart.
        }
        if let Some((before, on)) = last
            && (epoch < before || (epoch == before && on != h))
        {
            self.fail(format!("epoch {epoch} of {group} starts after epoch {before}"));
        }
    }

    /// For a driver that asks again and again: neither logged nor counted.
    pub(crate) fn accept_quietly(&mut self, h: usize) {
        self.command(h, ACCEPT);
    }

    pub(crate) fn revive_quietly(&mut self) {
        (0..self.hosts.len()).for_each(|h| self.start_sidecar(h));
    }

    // --- faults ------------------------------------------------------------------------------------------------

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
                (self.hosts[host].to_etcd, self.hosts[host].from_etcd) = (to, from);
            }
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
                    self.die(h, &key, instance);
                }
            }
            Act::Engine { host, hangs, refuses } => self.engine(host, hangs, refuses),
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
                let manners = &mut self.hosts[host].manners;
                (manners.tether, manners.die, manners.ignores_term) = (tether, die, ignores_term);
            }
            Act::Term(h) => self.deliver(h, Event::Terminate),
            Act::Switchover(h, group, to) => self.command(h, Command::Switchover { group, to }),
            Act::Hold(h, length) => self.command(h, Command::Hold { length }),
            Act::Accept(h) => self.command(h, ACCEPT),
            Act::Snapshot => self.snapshot = Some(self.etcd.clone()),
            Act::Restore { new_id } => self.restore(new_id),
            Act::Heal => self.heal(),
        }
    }

    fn command(&mut self, h: usize, command: Command) {
        let reply = self.rng.next();
        self.deliver(h, Event::Command { reply, command });
    }

    fn power_off(&mut self, h: usize) {
        if !self.hosts[h].powered {
            return;
        }
        self.end_sidecar(h);
        let now = self.now;
        let uptime = self.rng.range(1, 20) * S;
        let host = &mut self.hosts[h];
        host.powered = false;
        host.boot += 1;
        host.frozen = None;
        host.stopped = false;
        host.saved = None;
        host.pages.clear();
        host.vips.clear();
        host.hung.clear();
        for c in host.containers.values_mut() {
            c.life = Life::Stopped;
            c.instance += 1;
            (c.dying, c.excused) = (false, false);
        }
        host.clock = Clock::new(now, uptime, host.clock.boot_rate, host.clock.raw_rate);
    }

    fn engine(&mut self, h: usize, hangs: bool, refuses: bool) {
        self.hosts[h].manners.engine_hangs = hangs;
        self.hosts[h].manners.engine_refuses = refuses;
        if !hangs {
            let (boot, life) = (self.hosts[h].boot, self.hosts[h].life);
            for (key, run) in std::mem::take(&mut self.hosts[h].hung) {
                self.count("start completed late");
                self.push(
                    5 * MS,
                    Ev::Started {
                        host: h,
                        boot,
                        life,
                        key,
                        run,
                    },
                );
            }
        }
    }

    /// The machine goes on: its tethers look at their deadlines before anything else.
    fn thaw(&mut self, h: usize) {
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

    /// The sidecar goes on: the time first, then what has come in meanwhile.
    fn resume(&mut self, h: usize) {
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

    fn restore(&mut self, new_id: bool) {
        let Some(mut old) = self.snapshot.take() else { return };
        old.cluster_id = self.etcd.cluster_id + u64::from(new_id);
        self.etcd = old;
        self.restored = true;
        let ends: Vec<i64> = self.etcd.leases.keys().copied().collect();
        for lease in ends {
            self.push(310 * S, Ev::LeaseEnd { lease });
        }
    }

    fn heal(&mut self) {
        self.etcd_up = true;
        for h in 0..self.hosts.len() {
            let host = &mut self.hosts[h];
            host.manners = super::host::Manners::default();
            (host.to_etcd, host.from_etcd) = (true, true);
            host.crash_after = None;
            self.engine(h, false, false);
            self.thaw(h);
            self.act(Act::ContinueSignal(h));
            self.act(Act::PowerOn(h));
            let ending = self.hosts[h].node.is_none();
            if ending {
                self.start_sidecar(h);
            }
        }
    }

    // --- checks ------------------------------------------------------------------------------------------------

    fn check(&mut self) {
        for at in 0..self.groups.len() {
            let group = &self.groups[at];
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
        for host in &self.hosts {
            if !host.awake() {
                continue;
            }
            for (key, c) in &host.containers {
                if c.life != Life::Up || c.excused {
                    continue;
                }
                let cover = self.cover.get(&(host.name.clone(), c.lease)).copied().unwrap_or(0);
                if self.now > cover && !host.manners.unkillable {
                    let why = format!("S3: {}/{} outlives its lease on {}", key.group, key.service, host.name);
                    return self.fail(why);
                }
            }
        }
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

fn failed(call: &Call, why: StoreError) -> Option<Event> {
    match call {
        Call::Txn(id, _) | Call::Read(id) => Some(Event::Answer {
            id: *id,
            result: Err(why),
        }),
        Call::Grant(grant) => Some(Event::Granted {
            lease: grant.lease,
            result: Err(why),
        }),
        Call::KeepAlive(_) | Call::Revoke(_) => None,
    }
}

pub(crate) fn settings(group: &str, timing: &Timing) -> GroupSettings {
    let service = |name: &str| ServiceSettings {
        name: name.to_owned(),
        stop_grace: Duration::from_secs(1),
        after_healthy: Vec::new(),
    };
    GroupSettings {
        name: group.to_owned(),
        services: if group == "web" {
            vec![service("db"), service("http")]
        } else {
            vec![service("mail")]
        },
        vips: 1,
        vip_first: false,
        probes: vec![ProbeSettings::named("smtp 25")],
        on_failure: OnFailure::Recover,
        restarts: 3,
        restart_window: Duration::from_secs(600),
        grace: timing.grace,
    }
}
