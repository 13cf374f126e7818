//! The tethers: gate, page, deadlines, signals, the end of a container.

use shipped::core::event::{Event, Order, PageOrder, ServiceKey};

use crate::events::Ev;
use crate::host::{Life, MS};
use crate::mutants::Mutant;
use crate::world::World;

impl World {
    pub(crate) fn write_page(&mut self, h: usize, of: ServiceKey, page: PageOrder) {
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

    pub(crate) fn tether(&mut self, h: usize, key: &ServiceKey, instance: u64) {
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

    pub(crate) fn signal(&mut self, h: usize, key: &ServiceKey, instance: u64) {
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

    pub(crate) fn die(&mut self, h: usize, key: &ServiceKey, instance: u64) {
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

    pub(crate) fn gone(&mut self, h: usize, key: &ServiceKey, instance: u64) {
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

    pub(crate) fn admit(&mut self, h: usize, key: &ServiceKey, instance: u64, refuse: bool) {
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
}
