//! The gate of a container: the page first, then the claim, then the sidecar's word.

use leasehold_core::epoch::Run;
use leasehold_core::event::{Event, Order, ServiceKey};

use crate::events::Ev;
use crate::host::{Container, Life, MS, S};
use crate::storage::{BEAT, CONFIRM, Claim, Fault, Owner, Step, WATCH};
use crate::tether::End;
use crate::world::World;

/// The sidecar has this long to say go.
const GO_TIMEOUT: u64 = 2 * S;

/// Where a tether stands at its gate.
#[derive(Clone, Debug)]
pub(crate) enum Gate {
    Look,
    /// What was found, two beats ago.
    Watched(Option<Claim>),
    Confirm,
    Hello,
}

impl World {
    pub(crate) fn owner(&self, h: usize, run: Run) -> Owner {
        Owner {
            host: h,
            boot: self.hosts[h].boot,
            run,
        }
    }

    /// The engine has started the container: its tether comes first.
    pub(crate) fn at_gate(&mut self, h: usize, key: ServiceKey) {
        let instance = self.hosts[h].containers.get(&key).map_or(1, |c| c.instance + 1);
        // The tether takes its run from the page.
        let now = self.hosts[h].clock.read(self.now);
        let page = self.hosts[h].pages.get(&key).copied();
        let open = page.filter(|page| page.order == Order::Open && !now.reached(page.soft));
        let ungated = self.mutant == crate::mutants::Mutant::Ungated;
        let Some(page) = open.or(page.filter(|_| ungated)) else {
            self.mount_late(h, &key.group);
            return self.count("tether left at its gate");
        };
        self.mount(h, &key.group, page.run);
        let mut container = Container::new(instance, page.run);
        if ungated {
            container.life = Life::Up;
        }
        self.hosts[h].containers.insert(key.clone(), container);
        let delay = self.rng.range(MS, 10 * MS);
        self.gate_after(delay, h, key.clone(), instance, Gate::Look);
        self.look_again(h, &key, instance);
    }

    fn gate_after(&mut self, delay: u64, host: usize, key: ServiceKey, instance: u64, gate: Gate) {
        self.push(
            delay,
            Ev::Gate {
                host,
                key,
                instance,
                gate,
            },
        );
    }

    pub(crate) fn gate(&mut self, h: usize, key: ServiceKey, instance: u64, gate: Gate) {
        let host = &self.hosts[h];
        let Some(c) = host
            .containers
            .get(&key)
            .filter(|c| c.instance == instance && c.life == Life::Gate)
        else {
            return;
        };
        if c.dying || !host.powered {
            return;
        }
        if !host.awake() {
            return self.gate_after(20 * MS, h, key, instance, gate);
        }
        let now = host.clock.read(self.now);
        let (run, fault) = (c.run, host.manners.storage);
        if host.pages.get(&key).is_none_or(|page| now.reached(page.soft)) {
            return self.leave_gate(h, &key, instance, "tether came too late at its gate");
        }
        match fault {
            Fault::Fine => {}
            // Its thread hangs; the tether itself looks at the time.
            Fault::Hangs => return self.gate_after(50 * MS, h, key, instance, gate),
            Fault::Refuses => return self.leave_gate(h, &key, instance, "storage refused at the gate"),
        }
        let owner = self.owner(h, run);
        let watched = self.is_watched(h, &key.group);
        let store = self.stores.entry(key.group.clone()).or_default();
        let step = store.judge(&owner, self.mutant);
        match gate {
            Gate::Look => match step {
                Step::Take => {
                    store.write_claim(owner);
                    self.claimed(h, key, instance);
                }
                Step::Watch if watched => {
                    store.write_claim(owner);
                    self.count("claim was watched during the wait");
                    self.gate_after(CONFIRM, h, key, instance, Gate::Confirm);
                }
                Step::Watch => {
                    let found = store.claim.clone();
                    self.count("claim watched");
                    self.gate_after(WATCH, h, key, instance, Gate::Watched(found));
                }
                Step::Refuse => {
                    let above = store.claim.as_ref().map_or(0, |claim| claim.owner.run.epoch);
                    self.meet_later_claim(h, &key, instance, (run, above));
                }
            },
            Gate::Watched(found) => {
                if store.claim != found && step != Step::Take {
                    return self.leave_gate(h, &key, instance, "claim moved: another host writes");
                }
                store.write_claim(owner);
                self.gate_after(CONFIRM, h, key, instance, Gate::Confirm);
            }
            Gate::Confirm => {
                if store.claim.as_ref().is_none_or(|claim| claim.owner != owner) {
                    return self.leave_gate(h, &key, instance, "claim taken by another in the same moment");
                }
                self.claimed(h, key, instance);
            }
            Gate::Hello => self.hello(h, key, instance, run),
        }
    }

    /// The tether tells of the later epoch, and leaves.
    fn meet_later_claim(&mut self, h: usize, key: &ServiceKey, instance: u64, (run, epoch): (Run, u64)) {
        self.claim_refused = true;
        let event = Event::ClaimAbove {
            of: key.clone(),
            run,
            epoch,
            connection: instance,
        };
        let life = self.hosts[h].life;
        self.push(2 * MS, Ev::Inbox { host: h, life, event });
        self.leave_gate(h, key, instance, "claim of a higher epoch refused the start");
    }

    /// The claim is taken: beats from here, and the hello.
    fn claimed(&mut self, h: usize, key: ServiceKey, instance: u64) {
        self.push(
            BEAT,
            Ev::Beat {
                host: h,
                key: key.clone(),
                instance,
            },
        );
        let delay = self.rng.range(5 * MS, 60 * MS);
        self.gate_after(delay, h, key, instance, Gate::Hello);
    }

    fn hello(&mut self, h: usize, of: ServiceKey, instance: u64, run: Run) {
        let until = self.now + GO_TIMEOUT;
        if let Some(c) = self.hosts[h].containers.get_mut(&of) {
            c.gate_until = Some(until);
        }
        let tether = Ev::Tether {
            host: h,
            key: of.clone(),
            instance,
        };
        self.push(GO_TIMEOUT, tether);
        let life = self.hosts[h].life;
        let event = Event::TetherHello {
            of,
            run,
            running: false,
            connection: instance,
        };
        self.push(MS, Ev::Inbox { host: h, life, event });
    }

    /// The tether ends before it has started anything. Before its hello the sidecar learns it from nobody.
    pub(crate) fn leave_gate(&mut self, h: usize, key: &ServiceKey, instance: u64, why: &str) {
        self.count(why);
        note!(self, "{} {}/{}: {why}", self.hosts[h].name, key.group, key.service);
        let Some(c) = self.hosts[h].containers.get_mut(key).filter(|c| c.instance == instance) else {
            return;
        };
        let (run, known) = (c.run, c.gate_until.is_some());
        c.life = Life::Stopped;
        self.unmount_later(h, &key.group, None);
        let owner = self.owner(h, run);
        self.stores.entry(key.group.clone()).or_default().release_claim(&owner);
        if known {
            let life = self.hosts[h].life;
            let event = Event::TetherGone {
                of: key.clone(),
                run,
                connection: instance,
            };
            self.push(MS, Ev::Inbox { host: h, life, event });
        }
    }

    /// The sidecar's word reaches the gate.
    pub(crate) fn admit(&mut self, h: usize, key: &ServiceKey, instance: u64, refuse: bool) {
        let now = self.now;
        let host = &self.hosts[h];
        if !host.powered {
            return;
        }
        if !host.awake() {
            let key = key.clone();
            let again = Ev::Admit {
                host: h,
                key,
                instance,
                refuse,
            };
            return self.push(20 * MS, again);
        }
        let Some(c) = host.containers.get(key).filter(|c| c.instance == instance && !c.dying) else {
            return;
        };
        let (life, run) = (c.life, c.run);
        let allowed = host.page_allows(key, run, now);
        let lease = self.granted.get(&(key.group.clone(), run.epoch, host.name.clone()));
        let lease = lease.copied().unwrap_or(0);
        match (refuse, life) {
            (true, Life::Up) => self.die(h, key, instance, End::Forced),
            (false, Life::Gate) if allowed => {
                if let Some(c) = self.hosts[h].containers.get_mut(key) {
                    (c.life, c.lease, c.up_since) = (Life::Up, lease, now);
                }
                let name = &self.hosts[h].name;
                note!(self, "{name} {}/{} run {run} UP", key.group, key.service);
                self.started_rightly(h, &key.group, run.epoch);
                self.reached(&key.group, run.epoch, h, None);
            }
            (_, Life::Gate) => self.leave_gate(h, key, instance, "refused at the gate"),
            (_, Life::Stopped) | (false, Life::Up) => {}
        }
    }
}
