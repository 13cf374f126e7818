//! The container engine: slow, hung, refusing, late.

use std::time::Duration;

use leasehold_core::epoch::Run;
use leasehold_core::event::{Blame, Event, NotStarted, ServiceKey, Trace};
use leasehold_core::group::{GroupSettings, OnConflict, OnFailure, ProbeSettings, SecondOpinion, ServiceSettings};
use leasehold_core::host::stuck::OnStopFailure;
use leasehold_core::protocol::records::Drift;
use leasehold_core::takeover::confirm::Failover;

use crate::events::Ev;
use crate::host::{Life, MS};
use crate::mounts::is_exclusive;
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
        if !self.hosts[h].manners.engine_lies {
            let event = Event::StartAnswered {
                of: key.clone(),
                run,
                result: Ok(()),
            };
            self.push(MS, Ev::Inbox { host: h, life, event });
        }
        let old = self.hosts[h].containers.get(&key);
        if old.is_some_and(|c| c.life != Life::Stopped) {
            return; // The engine: it runs already.
        }
        self.at_gate(h, key);
    }

    /// The core orders a start.
    pub(crate) fn start(&mut self, h: usize, of: ServiceKey, run: Run, soon: u64) {
        let (life, boot) = (self.hosts[h].life, self.hosts[h].boot);
        note!(
            self,
            "{} starts {}/{} run {run}",
            self.hosts[h].name,
            of.group,
            of.service
        );
        let manners = &self.hosts[h].manners;
        let (refuses, hangs, lies) = (manners.engine_refuses, manners.engine_hangs, manners.engine_lies);
        if refuses || lies {
            self.count(if lies { "engine lied" } else { "engine refused" });
            let event = Event::StartAnswered {
                of: of.clone(),
                run,
                result: Err(NotStarted {
                    why: "refused".to_owned(),
                    // Each in turn, without a draw: the seeds stay what they are.
                    blame: match run.n % 3 {
                        0 => Blame::Engine,
                        1 => Blame::Unknown,
                        _ => Blame::Lasting,
                    },
                }),
            };
            self.push(soon, Ev::Inbox { host: h, life, event });
        }
        if hangs {
            self.count("engine hung");
            self.hosts[h].hung.push((of, run));
        } else if !refuses {
            // A start that was answered with an error may still be under way.
            let delay = if lies { self.rng.range(MS, 3000 * MS) } else { soon * 5 };
            let started = Ev::Started {
                host: h,
                boot,
                life,
                key: of,
                run,
            };
            self.push(delay, started);
        }
    }

    /// The file has always changed: what an operator wants applied is started again.
    pub(crate) fn compare(&mut self, h: usize, group: String, intent: i64, soon: u64) {
        let life = self.hosts[h].life;
        self.count("started again as the file says");
        let drift = Some(Drift {
            what: "the file has changed".to_owned(),
            obstacle: None,
        });
        let event = Event::Compared {
            group,
            drift,
            intent: Some(intent),
        };
        self.push(soon, Ev::Inbox { host: h, life, event });
    }

    /// What the engine says of a container: as it was when it looked, which may be a while ago.
    pub(crate) fn inspect(&mut self, h: usize, of: ServiceKey, run: Run, soon: u64) {
        let host = &self.hosts[h];
        let life = host.life;
        let runs = host.containers.get(&of).is_some_and(|c| c.life != Life::Stopped);
        // A host without the kernel's witness: when the engine hangs nobody can tell.
        let trace = match runs {
            _ if host.manners.engine_hangs => Trace::Hidden { why: String::new() },
            true => Trace::Left { what: String::new() },
            false => Trace::Nothing,
        };
        let delay = if host.manners.engine_lies {
            self.rng.range(MS, 2000 * MS)
        } else {
            soon
        };
        let event = Event::Inspected { of, run, trace };
        self.push(delay, Ev::Inbox { host: h, life, event });
    }

    pub(crate) fn engine(&mut self, h: usize, hangs: bool, refuses: bool, lies: bool) {
        self.hosts[h].manners.engine_hangs = hangs;
        self.hosts[h].manners.engine_refuses = refuses;
        self.hosts[h].manners.engine_lies = lies;
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

pub(crate) fn settings(group: &str) -> GroupSettings {
    let service = |name: &str| ServiceSettings {
        name: name.to_owned(),
        stop_grace: Duration::from_secs(1),
        after_healthy: Vec::new(),
        left: false,
    };
    GroupSettings {
        name: group.to_owned(),
        gone: false,
        services: if group == "web" {
            vec![service("db"), service("http")]
        } else {
            vec![service("mail")]
        },
        vips: 1,
        vip_first: false,
        probes: vec![ProbeSettings::named("smtp 25")],
        start_timeout: Duration::from_secs(60),
        on_failure: OnFailure::Recover,
        restarts: 3,
        restart_window: Duration::from_secs(600),
        grace: None,
        on_stop_failure: OnStopFailure::Hold,
        failover: Failover::Auto,
        on_conflict: OnConflict::Wait,
        failback: None,
        second_opinion: SecondOpinion::Off,
        address: String::new(),
        addresses: vec!["192.0.2.10/24".to_owned()],
        storage_look: None,
        start_trial: None,
        exclusive_mounts: is_exclusive(group),
    }
}
