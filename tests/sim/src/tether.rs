//! The tethers: page, deadlines, signals, the end of a container.

use std::time::Duration;

use leasehold_core::event::{Event, Order, PageOrder, ServiceKey};

use crate::events::Ev;
use crate::host::{Container, Life, MS};
use crate::mutants::Mutant;
use crate::storage::{BEAT, Fault};
use crate::world::World;

/// How a container ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The service ended: all dead, all synced, the claim released.
    Orderly,
    /// Killed: nothing is synced and the claim stays.
    Forced,
}

impl World {
    pub(crate) fn write_page(&mut self, h: usize, of: ServiceKey, page: PageOrder) {
        let before = self.hosts[h].pages.get(&of).copied();
        let page = self.mutant.page(before, page);
        if self.mutant == Mutant::EarlyProof && page.order == Order::Stop {
            let life = self.hosts[h].life;
            let instance = self.hosts[h].containers.get(&of).map(|c| c.instance);
            let event = Event::TetherGone {
                of: of.clone(),
                run: page.run,
                connection: instance.unwrap_or_default(),
            };
            self.push(MS, Ev::Inbox { host: h, life, event });
        }
        self.page_rightly(h, &of, &page);
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

    /// The tether looks at its page and at the time.
    pub(crate) fn tether(&mut self, h: usize, key: &ServiceKey, instance: u64) {
        if self.hosts[h].awake() && self.oversleeps(h, key, instance) {
            return;
        }
        let host = &self.hosts[h];
        let Some(c) = host.containers.get(key).filter(|c| c.instance == instance && !c.dying) else {
            return;
        };
        if !host.awake() {
            return; // It looks again first thing when the machine wakes.
        }
        let now = self.mutant.tether_time(host.clock.read(self.now));
        let page = host.pages.get(key).copied();
        let valid = page.filter(|page| page.run == c.run);
        let kill = valid.is_none_or(|page| matches!(page.order, Order::Closed | Order::Kill) || now.reached(page.hard));
        let soft = valid.is_some_and(|page| page.order == Order::Stop || now.reached(page.soft));
        match c.life {
            Life::Stopped => {}
            Life::Gate => {
                let waited = c.gate_until.is_some_and(|until| self.now >= until);
                if kill || soft || waited {
                    self.leave_gate(h, key, instance, "tether left at its gate");
                } else {
                    self.look_again(h, key, instance);
                }
            }
            Life::Up => {
                if kill {
                    // While the lease lives there is time to sync.
                    let lives = valid
                        .is_some_and(|page| matches!(page.order, Order::Stop | Order::Kill) && !now.reached(page.soft));
                    let end = if lives { End::Orderly } else { End::Forced };
                    self.die(h, key, instance, end);
                    return;
                }
                if soft && !c.signalled {
                    self.signal(h, key, instance);
                }
                self.look_again(h, key, instance);
            }
        }
    }

    /// Whether it sleeps on; then it wakes up once, at the end of that.
    fn oversleeps(&mut self, host: usize, key: &ServiceKey, instance: u64) -> bool {
        let sleeps = self.hosts[host].manners.oversleeps;
        let its = |c: &&mut Container| sleeps > 0 && c.instance == instance;
        let Some(c) = self.hosts[host].containers.get_mut(key).filter(its) else {
            return false;
        };
        let on = self.now < c.sleeps_until;
        if !on {
            c.sleeps_until = self.now + sleeps;
            let key = key.clone();
            self.push(sleeps, Ev::Tether { host, key, instance });
        }
        on
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
                    end: End::Orderly,
                },
            );
        }
    }

    pub(crate) fn look_again(&mut self, h: usize, key: &ServiceKey, instance: u64) {
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

    pub(crate) fn die(&mut self, h: usize, key: &ServiceKey, instance: u64, end: End) {
        let manners = &self.hosts[h].manners;
        let (awake, sync) = (self.hosts[h].awake(), manners.sync);
        let die = manners.die;
        let Some(c) = self.hosts[h].containers.get_mut(key).filter(|c| c.instance == instance) else {
            return;
        };
        if c.life == Life::Stopped || c.dying || !awake {
            return;
        }
        (c.dying, c.end) = (true, end);
        let mut delay = self.rng.range(MS, die);
        if end == End::Orderly {
            delay += self.rng.range(0, sync);
        }
        self.push(
            delay,
            Ev::Gone {
                host: h,
                key: key.clone(),
                instance,
            },
        );
    }

    /// The kernel has ended the whole namespace, or has not yet.
    pub(crate) fn gone(&mut self, h: usize, key: &ServiceKey, instance: u64) {
        let host = &self.hosts[h];
        let hangs = host.stuck() && host.containers.get(key).is_some_and(|c| c.life == Life::Up);
        if !host.awake() || hangs {
            let retry = Ev::Gone {
                host: h,
                key: key.clone(),
                instance,
            };
            if host.powered {
                self.push(20 * MS, retry);
            }
            if hangs {
                self.count("kill without effect: hangs in the kernel");
            }
            return;
        }
        let Some(c) = self.hosts[h].containers.get_mut(key).filter(|c| c.instance == instance) else {
            return;
        };
        let (run, was, end, excused) = (c.run, c.life, c.end, c.excused);
        c.life = Life::Stopped;
        c.dying = false;
        note!(
            self,
            "{} {}/{} run {run} gone (was {was:?}, {end:?})",
            self.hosts[h].name,
            key.group,
            key.service
        );
        self.unmount_later(h, &key.group, None);
        if was == Life::Up {
            self.last_writes(h, key, run, end, excused);
        }
        let (life, delay) = (self.hosts[h].life, self.rng.range(MS / 10, 5 * MS));
        self.push(
            delay,
            Ev::Inbox {
                host: h,
                life,
                event: Event::TetherGone {
                    of: key.clone(),
                    run,
                    connection: instance,
                },
            },
        );
    }

    fn last_writes(&mut self, h: usize, key: &ServiceKey, run: leasehold_core::epoch::Run, end: End, excused: bool) {
        let known_open = excused.then_some("late write after a pause (known open)");
        if end == End::Orderly && self.mutant == Mutant::NoSync {
            let owner = self.owner(h, run);
            self.stores.entry(key.group.clone()).or_default().release_claim(&owner);
            return self.flush_later(h, &key.group, run.epoch, known_open);
        }
        if end == End::Forced {
            let owner = self.owner(h, run);
            self.stores.entry(key.group.clone()).or_default().note_killed(owner);
            // The services of a run share its claim: one that ends orderly marks it released while another still runs.
            let claim = self.stores.get(&key.group).and_then(|store| store.claim.as_ref());
            let early = end == End::Forced && claim.is_some_and(|claim| claim.owner.host == h && claim.released);
            let known_open =
                known_open.or(early.then_some("late write under a claim that a neighbour released (known open)"));
            return self.flush_later(h, &key.group, run.epoch, known_open);
        }
        if self.hosts[h].manners.storage == Fault::Fine {
            self.reached(&key.group, run.epoch, h, known_open);
            let owner = self.owner(h, run);
            self.stores.entry(key.group.clone()).or_default().release_claim(&owner);
        }
    }

    /// A tether tells how late it wakes up at the worst.
    pub(crate) fn tell_of_wakeups(&mut self, host: usize, late: u64) {
        let late = Duration::from_nanos(late);
        let life = self.hosts[host].life;
        let event = Event::TetherWoke { late };
        self.push(MS, Ev::Inbox { host, life, event });
    }

    /// Every 200 ms: the claim is read, then written; meanwhile the application writes.
    pub(crate) fn beat(&mut self, h: usize, key: &ServiceKey, instance: u64) {
        let host = &self.hosts[h];
        let Some(c) = host.containers.get(key).filter(|c| c.instance == instance && !c.dying) else {
            return;
        };
        if c.life == Life::Stopped || !host.powered {
            return;
        }
        let (run, up, excused) = (c.run, c.life == Life::Up, c.excused);
        if host.awake() && host.manners.storage == Fault::Fine {
            let owner = self.owner(h, run);
            let store = self.stores.entry(key.group.clone()).or_default();
            let foreign = store.claim.as_ref().is_some_and(|claim| claim.owner != owner);
            if foreign && self.mutant != Mutant::ClaimNotReadAgain {
                self.count("claim lost: killed");
                return match up {
                    true => self.die(h, key, instance, End::Forced),
                    false => self.leave_gate(h, key, instance, "claim lost at the gate"),
                };
            }
            store.write_claim(owner);
            let beat = store.claim.as_ref().map_or(0, |claim| claim.beat);
            if up && self.tight && beat.is_multiple_of(10) {
                let manners = &self.hosts[h].manners;
                self.tell_of_wakeups(h, manners.tether.max(manners.oversleeps));
            }
            if up {
                self.reached(
                    &key.group,
                    run.epoch,
                    h,
                    excused.then_some("late write after a pause (known open)"),
                );
            }
        }
        self.push(
            BEAT,
            Ev::Beat {
                host: h,
                key: key.clone(),
                instance,
            },
        );
    }
}
