//! The inputs that set the world up, let time pass, or show what the node tells of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use leasehold::base::epoch::Run;
use leasehold::core::event::Event;
use leasehold::core::group::{OnConflict, OnFailure, SecondOpinion};
use leasehold::core::history::{Entry, Phase};
use leasehold::core::host::stuck::OnStopFailure;
use leasehold::core::promises::Vote;
use leasehold::core::protocol::kept::VoterId;
use leasehold::core::protocol::records::{Saved, SavedRun};
use leasehold::core::protocol::sizing::Timing;
use leasehold::core::snapshot::status::{MemberState, Status};
use leasehold::core::takeover::confirm::Failover;
use leasehold::core::takeover::fencing::FenceSettings;

use super::driver::{Mode, World};
use super::groups::parts;
use super::parse::{priority, probe_outcome, run, service, time};

impl World {
    pub(super) fn control(&mut self, words: &[&str]) -> bool {
        match words {
            ["node", name, rest @ ..] => {
                self.me.name = (*name).to_owned();
                self.me.boot = format!("{name}1");
                self.me.priority = priority(name);
                self.groups = rest.iter().map(|group| (*group).to_owned()).collect();
            }
            ["vote"] => {
                let (id, address) = (VoterId(1), "192.0.2.1:8009".to_owned());
                self.vote = Some(Vote { id, address });
            }
            ["notify"] => self.on_failure = OnFailure::Notify,
            ["watchdog", timeout] => self.timing = self.timing.with_watchdog(time(timeout)),
            ["start"] => self.start(),
            ["restart", "rebooted"] => {
                self.me.boot = format!("{}2", self.me.name);
                self.start();
            }
            ["kill"] => (self.node, self.call) = (None, None),
            ["saved", group, at, rest @ ..] => self.save(group, run(at), rest.contains(&"latched")),
            ["policy", policy @ ..] => self.policy(policy),
            ["afar", result @ ..] => self.afar = probe_outcome(result),
            ["without", service] => {
                self.without.insert((*service).to_owned());
            }
            ["hangs", of] => {
                self.hung.insert(service(of));
            }
            ["sleep", by] => {
                let by = time(by).unwrap();
                self.pass(by);
                self.now.slept += by;
            }
            ["run", "to", to] => {
                self.mode = Mode::Run;
                self.run(Self::at(time(to).unwrap()), |_| false);
            }
            ["quick", "join"] => self.quick(|world| {
                world
                    .status()
                    .is_some_and(|status| status.member == MemberState::Joined)
            }),
            ["quick", "to", to] => {
                self.quick_start();
                self.run(Self::at(time(to).unwrap()), |_| false);
            }
            ["quick", "lead", group] => self.quick(|world| {
                let status = world.status();
                status.is_some_and(|status| status.leads(Some(group)))
            }),
            ["status"] => self.tell_status(),
            ["health"] => self.tell_health(),
            ["history"] => {
                for entry in std::mem::take(&mut self.entries) {
                    self.tell(entry_line(&entry));
                }
            }
            _ => return false,
        }
        true
    }

    pub(super) fn policy(&mut self, words: &[&str]) {
        match words {
            ["fence"] => {
                self.fence = Some(FenceSettings {
                    agent: "fence_test".to_owned(),
                    timeout: Duration::from_secs(20),
                    tries: 3,
                });
            }
            ["take"] => self.on_conflict = OnConflict::Take,
            ["confirm"] => self.failover = Failover::Confirm,
            ["look", every] => self.storage_look = time(every),
            ["trial", every] => self.start_trial = time(every),
            ["mounts"] => self.exclusive_mounts = true,
            ["opinion", word] => {
                self.second_opinion = match *word {
                    "tell" => SecondOpinion::Tell,
                    "act" => SecondOpinion::Act,
                    _ => SecondOpinion::Off,
                }
            }
            ["failback", quiet] => self.failback = time(quiet),
            ["election", timeout] => {
                let timeout = time(timeout).unwrap_or_default();
                self.timing = Timing::new(self.timing.ttl, self.timing.clock_margin, None, timeout);
            }
            [word] => {
                self.on_stop_failure = match *word {
                    "reboot" => OnStopFailure::Reboot,
                    _ => OnStopFailure::Hold,
                }
            }
            _ => panic!("no such policy: {words:?}"),
        }
    }

    /// Starts if need be and runs with everything answered, until it is so and no request is in flight.
    pub(super) fn quick(&mut self, done: impl Fn(&Self) -> bool) {
        self.quick_start();
        let limit = self.now.boot + Duration::from_secs(20);
        self.run(limit, |world| world.call.is_none() && done(world));
        if !done(self) {
            self.misled("not reached within 20 s");
        }
    }

    pub(super) fn quick_start(&mut self) {
        self.mode = Mode::Quick;
        if self.node.is_none() {
            self.start();
            self.deliver(Event::Engine { result: Ok(()) });
        }
    }

    pub(crate) fn status(&self) -> Option<Status> {
        self.node.as_ref().map(|node| node.status(self.now))
    }

    pub(super) fn tell_status(&mut self) {
        let Some(status) = self.status() else {
            return self.tell("no sidecar runs".to_owned());
        };
        self.tell(format!("{}: {}", status.node, status.member.word()));
        for (name, line) in status.groups {
            let unready = match line.unready.as_str() {
                "" => String::new(),
                why => format!(", not ready: {why}"),
            };
            let drift = line.drift.map_or_else(String::new, |text| format!(", but {text}"));
            let (state, epoch, reason) = (line.state.word(), line.epoch, line.reason);
            self.tell(format!("{name}: {state}, epoch {epoch}, \"{reason}\"{unready}{drift}"));
        }
    }

    pub(super) fn tell_health(&mut self) {
        let Some(status) = self.status() else {
            return self.misled("no sidecar runs");
        };
        self.tell(status.overall.health.word().to_owned());
        for sentence in status.overall.sentences {
            self.tell(format!("! {sentence}"));
        }
    }

    pub(super) fn save(&mut self, group: &str, run: Run, latched: bool) {
        let lease = self.names.named(&format!("L{}", self.me.name));
        let mut saved = self.saved.take().unwrap_or(Saved {
            boot: self.me.boot.clone(),
            lease,
            groups: BTreeMap::new(),
        });
        let (epoch, n) = (run.epoch, run.n);
        let parts = parts(group);
        saved.groups.insert(
            group.to_owned(),
            SavedRun {
                epoch,
                n,
                latched,
                parts,
            },
        );
        self.saved = Some(saved);
    }
}

pub(super) fn entry_line(entry: &Entry) -> String {
    let phases = |phases: &[Phase]| {
        let told = phases.iter().map(|phase| format!(", {} {} ms", phase.what, phase.ms));
        told.collect::<String>()
    };
    match entry {
        Entry::Begun { group, begun } => {
            let from = begun.from.as_deref().unwrap_or("-");
            let served = if begun.served { ", served" } else { "" };
            let (epoch, to, at, cause) = (begun.epoch, &begun.to, &begun.at, &begun.cause);
            let phases = phases(&begun.phases);
            format!("{group}: epoch {epoch} begun at {at}: {from} -> {to}, \"{cause}\"{phases}{served}")
        }
        Entry::Left { group, left } => {
            let (epoch, at, cause, runs) = (left.epoch, &left.at, &left.cause, left.runs);
            let phases = phases(&left.phases);
            format!("{group}: epoch {epoch} left at {at} after {runs} runs, \"{cause}\"{phases}")
        }
    }
}
