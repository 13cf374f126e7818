//! The container engine: slow, hung, refusing, late.

use std::time::Duration;

use shipped::core::epoch::Run;
use shipped::core::event::{Event, Order, ServiceKey};
use shipped::core::group::{GroupSettings, ServiceSettings};
use shipped::core::sizing::Timing;

use crate::events::Ev;
use crate::host::{Container, Life, MS};
use crate::world::World;

impl World {
    pub(crate) fn started(&mut self, h: usize, life: u64, key: ServiceKey, run: Run) {
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

    pub(crate) fn engine(&mut self, h: usize, hangs: bool, refuses: bool) {
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
        probes: 1,
        grace: timing.grace,
    }
}
