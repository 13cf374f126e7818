//! A model of one machine: its clocks, disk, containers with their tethers, and addresses.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use leasehold_core::epoch::Run;
use leasehold_core::event::{Event, Order, PageOrder, ServiceKey};
use leasehold_core::node::Node;
use leasehold_core::protocol::records::{Pin, Saved};
use leasehold_core::store::RequestId;
use leasehold_core::time::Time;

use crate::members::MEMBERS;
use crate::mounts::Mounted;
use crate::storage::{Fault, Standing};
use crate::tether::End;
use crate::told::Told;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const S: u64 = 1000 * MS;

/// Two clocks that run at their own rates while awake; suspend is counted as it is.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    base: u64,
    boot: u64,
    raw: u64,
    slept: u64,
    pub(crate) boot_rate: f64,
    pub(crate) raw_rate: f64,
}

impl Clock {
    pub(crate) fn new(now: u64, uptime: u64, boot_rate: f64, raw_rate: f64) -> Self {
        Self {
            base: now,
            boot: uptime,
            raw: uptime,
            slept: 0,
            boot_rate,
            raw_rate,
        }
    }

    pub(crate) fn read(&self, now: u64) -> Time {
        let passed = (now - self.base) as f64;
        Time {
            boot: Duration::from_nanos(self.boot + (passed * self.boot_rate) as u64),
            raw: Duration::from_nanos(self.raw + (passed * self.raw_rate) as u64),
            slept: Duration::from_nanos(self.slept),
        }
    }

    /// The machine slept since `from`: no rate is slewed in suspend.
    pub(crate) fn slept(&mut self, from: u64, now: u64) {
        let before = self.read(from);
        let asleep = now - from;
        self.base = now;
        self.boot = before.boot.as_nanos() as u64 + asleep;
        self.raw = before.raw.as_nanos() as u64 + asleep;
        self.slept += asleep;
    }

    /// True nanoseconds until the deadline.
    pub(crate) fn delay(&self, now: u64, deadline: Time) -> u64 {
        let read = self.read(now);
        if read.reached(deadline) {
            return 0;
        }
        let boot = (deadline.boot - read.boot).as_nanos() as f64 / self.boot_rate;
        let raw = (deadline.raw - read.raw).as_nanos() as f64 / self.raw_rate;
        boot.min(raw) as u64 + 1000
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Stopped,
    /// The tether stands at its gate.
    Gate,
    /// The application may write.
    Up,
}

#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) life: Life,
    /// +1 per start: events of an older one are void.
    pub(crate) instance: u64,
    pub(crate) run: Run,
    /// The incarnation under which it was admitted.
    pub(crate) lease: i64,
    pub(crate) signalled: bool,
    pub(crate) dying: bool,
    /// It woke past its deadline in a frozen machine: counted apart.
    pub(crate) excused: bool,
    /// How it ends, once it is dying.
    pub(crate) end: End,
    /// Since when it writes.
    pub(crate) up_since: u64,
    /// It has said hello and waits at its gate until then.
    pub(crate) gate_until: Option<u64>,
    /// When its tether wakes up next, where it oversleeps.
    pub(crate) sleeps_until: u64,
}

impl Container {
    /// At its gate.
    pub(crate) fn new(instance: u64, run: Run) -> Self {
        Self {
            life: Life::Gate,
            instance,
            run,
            lease: 0,
            signalled: false,
            dying: false,
            excused: false,
            end: End::Orderly,
            up_since: 0,
            gate_until: None,
            sleeps_until: 0,
        }
    }
}

/// How the machine behaves.
#[derive(Clone, Debug)]
pub(crate) struct Manners {
    /// Tick of the tether and time to die, in ns, at most.
    pub(crate) tether: u64,
    /// The tether sleeps for so long whatever happens, in ns: it is that late at the worst.
    pub(crate) oversleeps: u64,
    pub(crate) die: u64,
    pub(crate) exit: u64,
    /// Time to sync the storage after an orderly end, in ns, at most.
    pub(crate) sync: u64,
    pub(crate) storage: Fault,
    pub(crate) ignores_term: bool,
    pub(crate) engine_hangs: bool,
    pub(crate) engine_refuses: bool,
    /// It answers a start with an error and starts all the same; its other answers come late.
    pub(crate) engine_lies: bool,
    /// Chance in 1000.
    pub(crate) lose: u64,
    pub(crate) lose_answer: u64,
    pub(crate) late: u64,
    pub(crate) duplicate: u64,
    pub(crate) latency: u64,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            tether: 50 * MS,
            oversleeps: 0,
            die: 30 * MS,
            exit: 200 * MS,
            sync: 20 * MS,
            storage: Fault::Fine,
            ignores_term: false,
            engine_hangs: false,
            engine_refuses: false,
            engine_lies: false,
            lose: 0,
            lose_answer: 0,
            late: 0,
            duplicate: 0,
            latency: 8 * MS,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Host {
    /// Its place among the hosts; two may bear one name.
    at: usize,
    pub(crate) name: String,
    pub(crate) clock: Clock,
    pub(crate) powered: bool,
    pub(crate) boot: u64,
    /// Since when, and whether it sleeps (suspend) or is paused.
    pub(crate) frozen: Option<(u64, bool)>,
    pub(crate) stopped: bool,
    pub(crate) node: Option<Node>,
    pub(crate) life: u64,
    pub(crate) inbox: VecDeque<Event>,
    pub(crate) wake: u64,
    pub(crate) crash_after: Option<usize>,
    pub(crate) manners: Manners,
    /// To and from each member of etcd.
    pub(crate) links: [(bool, bool); MEMBERS],
    /// The member that takes the next call, and until when each that failed is left alone.
    pub(crate) endpoint: usize,
    pub(crate) quarantine: [u64; MEMBERS],
    /// The request in flight.
    pub(crate) asked: Option<RequestId>,
    /// What the last good answer said: cluster id, generation, revision.
    pub(crate) trust: Option<(u64, u64, i64)>,
    /// The last answer was of an etcd that is not the trusted one.
    pub(crate) strange: bool,
    /// Runs whose stop was ordered in this boot.
    pub(crate) latched: BTreeSet<(ServiceKey, Run)>,
    pub(crate) pin: Option<Pin>,
    pub(crate) saved: Option<Saved>,
    pub(crate) pages: BTreeMap<ServiceKey, PageOrder>,
    pub(crate) containers: BTreeMap<ServiceKey, Container>,
    /// Group -> end by the raw clock without suspend, as the kernel counts.
    pub(crate) vips: BTreeMap<String, Duration>,
    /// Group -> what only one host may have mounted, and is here.
    pub(crate) mounts: BTreeMap<String, Mounted>,
    /// Addresses are counted apart until then: it slept, and the kernel did not count.
    pub(crate) vip_excused: bool,
    pub(crate) hung: Vec<(ServiceKey, Run)>,
    pub(crate) detached: bool,
    /// Its core said that it waits for `accept`.
    pub(crate) frozen_core: bool,
    /// What its sidecar was told.
    pub(crate) told: Told,
    /// Groups whose storage is being looked at.
    pub(crate) looking: BTreeSet<String>,
    /// Groups of which a trial start is under way.
    pub(crate) trying: BTreeSet<String>,
    /// The claims that its helpers saw stand still, until a reboot.
    pub(crate) watched: BTreeMap<String, Standing>,
    /// Nobody reaches its addresses; it reaches nobody's.
    pub(crate) veiled: bool,
    pub(crate) blind: bool,
    /// By whom an address of the group was answered when it asked last.
    pub(crate) answered: BTreeMap<String, String>,
    /// Its own certificate has run out, and its service shows that.
    pub(crate) expired: bool,
    /// Its compose file has these groups no more, from the next start of its sidecar on.
    pub(crate) dropped: BTreeSet<String>,
    pub(crate) handled: u64,
    pub(crate) handled_since: u64,
}

impl Host {
    pub(crate) fn new(at: usize, name: &str, clock: Clock) -> Self {
        Self {
            at,
            name: name.to_owned(),
            clock,
            powered: true,
            boot: 1,
            frozen: None,
            stopped: false,
            node: None,
            life: 0,
            inbox: VecDeque::new(),
            wake: 0,
            crash_after: None,
            manners: Manners::default(),
            links: [(true, true); MEMBERS],
            endpoint: 0,
            quarantine: [0; MEMBERS],
            asked: None,
            trust: None,
            strange: false,
            latched: BTreeSet::new(),
            pin: None,
            saved: None,
            pages: BTreeMap::new(),
            containers: BTreeMap::new(),
            vips: BTreeMap::new(),
            mounts: BTreeMap::new(),
            vip_excused: false,
            hung: Vec::new(),
            detached: false,
            frozen_core: false,
            told: Told::default(),
            looking: BTreeSet::new(),
            trying: BTreeSet::new(),
            watched: BTreeMap::new(),
            veiled: false,
            answered: BTreeMap::new(),
            expired: false,
            blind: false,
            dropped: BTreeSet::new(),
            handled: 0,
            handled_since: 0,
        }
    }

    /// Whether its processes run at all.
    pub(crate) fn awake(&self) -> bool {
        self.powered && self.frozen.is_none()
    }

    pub(crate) fn boot_id(&self) -> String {
        format!("{}-{}-{}", self.name, self.at, self.boot)
    }

    /// Its storage hangs, and with it whoever writes there.
    pub(crate) fn stuck(&self) -> bool {
        self.manners.storage == Fault::Hangs
    }

    pub(crate) fn writes(&self, group: &str) -> bool {
        self.awake()
            && !self.stuck()
            && self
                .containers
                .iter()
                .any(|(key, c)| key.group == group && c.life == Life::Up && !c.excused)
    }

    pub(crate) fn serves(&self, group: &str) -> bool {
        let mut all = self.containers.iter().filter(|(key, _)| key.group == group).peekable();
        all.peek().is_some() && all.all(|(_, c)| c.life == Life::Up && !c.signalled && !c.dying)
    }

    /// Whether the page lets this run be.
    pub(crate) fn page_allows(&self, key: &ServiceKey, run: Run, now: u64) -> bool {
        let time = self.clock.read(now);
        self.pages
            .get(key)
            .is_some_and(|page| page.run == run && page.order == Order::Open && !time.reached(page.soft))
    }

    pub(crate) fn has_vip(&self, group: &str, now: u64) -> bool {
        self.awake()
            && self
                .vips
                .get(group)
                .is_some_and(|end| self.clock.read(now).awake() < *end)
    }
}
