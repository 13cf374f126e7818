//! One group on this node: the runs of its containers, from the gate to the proof of stop.
//!
//! Everything here happens under a held epoch. Who may hold it is decided in `election`; whether the lease still lives,
//! in `member`; here only the order: containers, probes, addresses on the way up; containers, addresses on the way
//! down, addresses first when the lease is running out.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::adoption::left::{Part, Parts};
use crate::epoch::Run;
use crate::event::{Action, Decision, ServiceKey};
use crate::host::stuck::OnStopFailure;
use crate::protocol::FaultId;
use crate::protocol::image::ImageId;
use crate::protocol::policy::Policy;
use crate::protocol::records::{Drift, SavedRun};
use crate::protocol::sizing::Deadlines;
use crate::snapshot::code::Code;
use crate::snapshot::said::Said;
use crate::takeover::confirm::Failover;
use crate::time::Time;
use up::{ADOPT_TIMEOUT, GATE_TIMEOUT};

mod address;
mod blame;
mod certificate;
mod containers;
mod down;
pub mod drift;
mod health;
mod known;
mod left;
mod link;
pub mod made;
mod opinion;
mod output;
mod policy;
mod record;
mod reports;
mod start_cause;
mod state;
pub(crate) mod storage_check;
mod stuck;
mod trial;
mod trouble;
mod unmount;
mod up;

pub(crate) use address::Answerer;
pub use address::OnConflict;
use blame::Starts;
use containers::Containers;
pub use health::ProbeSettings;
pub(crate) use opinion::Doubt;
use opinion::{Asking, Weighed};
pub use opinion::{OnStandby, SecondOpinion};
use output::Output;
use policy::InFile;
pub(crate) use record::Meeting;
pub(crate) use start_cause::StartCause;
pub(crate) use state::{AfterStop, Departure, Holding, ServiceRun, StayReason, StopMode, VipStage};
pub use state::{ServiceState, Stage};
use storage_check::Look;
use trial::Trial;
use unmount::UNMOUNT_PATIENCE;

/// Stages that one step may pass: a run that fails, stops and starts again at once.
const STAGES_MAX: usize = 8;

/// What the core must know of a group's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSettings {
    pub name: String,
    /// The compose file has it no more: it is there to be stopped and released.
    pub gone: bool,
    /// In start order; behind them those that left the file.
    pub services: Vec<ServiceSettings>,
    pub vips: usize,
    pub vip_first: bool,
    pub on_conflict: OnConflict,
    pub probes: Vec<ProbeSettings>,
    /// How long a run may take until all its probes have passed once.
    pub start_timeout: Duration,
    pub on_failure: OnFailure,
    /// Restarts in place within `restart_window` before the group moves on.
    pub restarts: u32,
    pub restart_window: Duration,
    /// From the stop signal to the kill when the lease runs out, where the file states it.
    pub grace: Option<Duration>,
    pub on_stop_failure: OnStopFailure,
    pub failover: Failover,
    /// It goes back to a preferred node by itself, once that one has been ready for so long without a break.
    pub failback: Option<Duration>,
    /// What the standbys find at the first virtual address, and what follows from it.
    pub second_opinion: SecondOpinion,
    /// That address, for people; empty without one.
    pub address: String,
    /// All of them, each with its prefix length, for a sidecar to come.
    pub addresses: Vec<String>,
    /// Between two looks of a standby at the storage; none where it may not look.
    pub storage_look: Option<Duration>,
    /// Between two trial starts of a standby whose containers stay as they are; none where it shall make none.
    pub start_trial: Option<Duration>,
    /// It has a volume that one host alone may have mounted, or may have one: its mount outlives the processes.
    pub exclusive_mounts: bool,
}

/// What follows when a service fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Restart in place, then hand over, then keep trying.
    Recover,
    /// Alarms only.
    Notify,
}

/// What the core must know of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSettings {
    pub name: String,
    pub stop_grace: Duration,
    /// Services, by place, that must be healthy first; those before it must be up in any case.
    pub after_healthy: Vec<usize>,
    /// The compose file has it no more: it may still run, and never starts again.
    pub left: bool,
}

/// One group of this node. What it holds is changed here and in the files beside this one, and nowhere else: everybody else
/// reads it by [`Group::held`], and says what has happened or shall happen.
#[derive(Clone, Debug)]
pub struct Group {
    /// The file's, with what is set at run time in its place.
    settings: GroupSettings,
    in_file: InFile,
    /// Of what can be set, all that counts.
    in_force: InFile,
    /// What is set, as of the last view.
    policy: Option<Policy>,
    held: Option<Holding>,
    containers: Containers,
    /// The run that a tether reported as running, whether or not it is ours, and by which connection.
    reported: Vec<Option<(Run, u64)>>,
    restarts: Vec<Time>,
    /// The service failed here: no campaign before this.
    failing_until: Option<Time>,
    cool_until: Option<Time>,
    /// The last epoch that was held here and lost by nobody's order, with the node's place in the cluster.
    lost: Option<u64>,
    watched: bool,
    /// The highest epoch that a tether found claimed on the storage, above its own.
    claim: Option<u64>,
    said: Said,
    /// How the epoch comes about that was campaigned for last.
    taking: StartCause,
    /// Why the host itself could not run it, as of the last look while it is not held here.
    unfit: Option<String>,
    /// Fingerprints of what must be the same on every host, as this node's file has it.
    file: BTreeMap<String, String>,
    /// The host itself has one of its addresses: in which words.
    occupied: Option<String>,
    /// In what the run differs from what would be started now, as of the last look.
    drift: Option<Drift>,
    /// It is deleted, and the adapters know.
    unmanaged: bool,
    /// While it is let go: the container that uses its storage, as of the last look.
    used: Option<String>,
    /// The last fault of a run, by a name that is the same on every node.
    trouble: Option<FaultId>,
    /// The same in the sentence that was said of it.
    failure: String,
    starts: Starts,
    output: Output,
    /// What made it leave its holders before this one.
    known_faults: Vec<FaultId>,
    /// Of a standby.
    look: Look,
    /// Of a standby.
    trial: Trial,
    /// Of a standby.
    asking: Asking,
    /// Of the holder.
    weighed: Weighed,
    /// The image that served last, here or on the node that had it before, as far as it is known.
    served: Option<ImageId>,
    /// The standby that would take it, and whose own certificates are known to be good.
    certified: Option<String>,
    /// Why it was not handed over although the interface has no link, as told.
    link_stays: Option<StayReason>,
    /// As of the last step.
    paused: bool,
}

/// What a group's step needs to know of the node.
#[derive(Clone, Copy)]
pub(crate) struct Context {
    pub now: Time,
    /// A standby that is ready and alive.
    pub other_ready: bool,
    /// The engine does not answer: it starts nothing.
    pub engine_away: bool,
    /// An operator wants nothing to be done automatically.
    pub paused: bool,
    /// etcd is not the trusted one: what runs goes on to its deadline, nothing starts.
    pub frozen: bool,
    /// Nothing may start while the hardware watchdog, if there is one, does not watch.
    pub watched: bool,
}

impl Group {
    pub(crate) fn named(settings: GroupSettings) -> (String, Self) {
        (settings.name.clone(), Self::new(settings))
    }

    pub(crate) fn new(settings: GroupSettings) -> Self {
        let count = settings.services.len();
        Self {
            in_file: InFile::of(&settings),
            in_force: InFile::of(&settings),
            policy: None,
            settings,
            held: None,
            containers: Containers::new(count),
            reported: vec![None; count],
            restarts: Vec::new(),
            failing_until: None,
            cool_until: None,
            lost: None,
            watched: false,
            claim: None,
            said: Said::default(),
            taking: StartCause::Start,
            unfit: None,
            file: BTreeMap::new(),
            occupied: None,
            drift: None,
            unmanaged: false,
            used: None,
            trouble: None,
            failure: String::new(),
            starts: Starts::default(),
            output: Output::default(),
            known_faults: Vec::new(),
            look: Look::default(),
            trial: Trial::default(),
            asking: Asking::default(),
            weighed: Weighed::default(),
            served: None,
            certified: None,
            link_stays: None,
            paused: false,
        }
    }

    pub(super) fn key(&self, service: usize) -> ServiceKey {
        ServiceKey {
            group: self.settings.name.clone(),
            service,
        }
    }

    fn decision(&self, code: Code, text: String) -> Decision {
        Decision {
            code,
            group: Some(self.settings.name.clone()),
            epoch: self.held.as_ref().map(|held| held.run.epoch),
            text,
        }
    }

    /// Says a sentence once; a repetition is no news.
    pub(crate) fn say(&mut self, code: Code, text: String, out: &mut Vec<Action>) {
        let decision = self.decision(code, text);
        if self.said.say(&decision) {
            out.push(Action::Say(decision));
        }
    }

    /// Says what happened and is over: see [`Node::mention`](crate::node::Node).
    pub(crate) fn mention(&mut self, now: Time, code: Code, text: String, out: &mut Vec<Action>) {
        let decision = self.decision(code, text);
        if self.said.mention(now, &decision) {
            out.push(Action::Say(decision));
        }
    }

    /// It is deleted: nothing of it is made or watched any more.
    pub(crate) fn unmanage(&mut self, out: &mut Vec<Action>) {
        if std::mem::replace(&mut self.unmanaged, true) {
            return;
        }
        self.containers.forget();
        self.occupied = None;
        out.push(Action::Unmanage {
            group: self.settings.name.clone(),
        });
    }

    /// It is there again: its addresses belong to nobody until a run takes them.
    pub(crate) fn manage(&mut self, out: &mut Vec<Action>) {
        self.used = None;
        if std::mem::take(&mut self.unmanaged) && self.settings.vips > 0 {
            out.push(Action::VipDrop {
                group: self.settings.name.clone(),
            });
        }
    }

    /// What the boot-scoped file must remember of this group.
    pub(crate) fn saved(&self) -> Option<SavedRun> {
        let grace_ms = |grace: Duration| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let services = self.settings.services.iter().map(|service| Part {
            name: service.name.clone(),
            grace_ms: grace_ms(service.stop_grace),
        });
        self.held.as_ref().map(|held| SavedRun {
            epoch: held.run.epoch,
            n: held.run.n,
            latched: held.latched,
            parts: Parts {
                services: services.collect(),
                vips: self.settings.addresses.clone(),
                exclusive_mounts: self.settings.exclusive_mounts,
            },
        })
    }

    /// New deadlines from an answered beat of the holding's own incarnation.
    pub(crate) fn renew(&mut self, deadlines: Deadlines, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        held.deadlines = deadlines;
        if matches!(held.vip, VipStage::Held | VipStage::Adding { .. }) {
            out.push(Action::VipHold {
                group: self.settings.name.clone(),
                until: deadlines.end,
                coarse: deadlines.coarse,
                announce: false,
            });
        }
        // One is asked about, or somebody else has it. The others of an adopted run are in use.
        let asks = matches!(held.vip, VipStage::Probing | VipStage::Conflict { .. });
        if asks && held.start_cause == StartCause::Adoption {
            out.push(Action::VipKeep {
                group: self.settings.name.clone(),
                until: deadlines.end,
                coarse: deadlines.coarse,
            });
        }
    }

    /// Moves the run on as far as it goes now, then writes what changed to the pages.
    /// `known_faults`: what made it leave its holders before this one. `certified`: the standby whose certificates are good.
    pub(crate) fn step(
        &mut self,
        context: Context,
        known_faults: Vec<FaultId>,
        certified: Option<String>,
        out: &mut Vec<Action>,
    ) {
        self.known_faults = known_faults;
        self.certified = certified;
        self.paused = context.paused;
        self.watched = context.watched;
        for _ in 0..STAGES_MAX {
            let Some((run, stage)) = self.held.as_ref().map(|held| (held.run, held.stage)) else {
                break;
            };
            match stage {
                Stage::Adopting => self.step_adopting(context.now, out),
                Stage::Starting => self.step_starting(context, out),
                Stage::Checking | Stage::Active => self.step_running(context.now, out),
                Stage::Stopping => self.step_stopping(context.now, out),
                Stage::Withdrawing => self.step_withdrawing(context.now, out),
                Stage::Stopped => {
                    self.forget_left();
                    self.step_stopped(context, out);
                }
            }
            if self
                .held
                .as_ref()
                .is_none_or(|held| (held.run, held.stage) == (run, stage))
            {
                break;
            }
        }
        self.write_pages(context.now, out);
    }

    pub(super) fn write_pages(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        for place in 0..held.services.len() {
            // Until an adopted run is confirmed its page keeps the deadlines that its own sidecar proved.
            let page = held.page(place, now);
            let service = &mut held.services[place];
            if service.page != Some(page) {
                service.page = Some(page);
                let of = ServiceKey {
                    group: self.settings.name.clone(),
                    service: place,
                };
                out.push(Action::Page { of, page });
            }
        }
    }

    /// When time alone will change something here.
    pub(crate) fn wake(&self) -> Vec<Time> {
        let mut wake: Vec<Time> = self
            .opinion_wakes()
            .chain(self.look.wakes())
            .chain(self.trial.wakes())
            .collect();
        let Some(held) = &self.held else { return wake };
        let of_services = held
            .services
            .iter()
            .flat_map(|service| {
                let gate = (service.state == ServiceState::Starting).then(|| service.since.plus(GATE_TIMEOUT));
                [
                    gate,
                    service.retry_at.filter(|_| held.stage == Stage::Stopping),
                    service.stop_by,
                ]
            })
            .flatten();
        wake.extend(of_services);
        wake.extend([held.deadlines.soft, held.deadlines.hard, held.deadlines.end]);
        wake.extend(self.stop_fails_at());
        wake.extend(self.containers.wake().filter(|_| held.stage == Stage::Starting));
        wake.extend(self.starts.wake().filter(|_| held.stage == Stage::Starting));
        wake.extend(held.probes.iter().filter_map(|probe| probe.at));
        wake.extend(held.not_before.filter(|_| held.stage == Stage::Stopped));
        wake.extend(held.vip.retry_at());
        wake.extend(held.look_at_mounts());
        match held.stage {
            Stage::Adopting => wake.push(held.since.plus(ADOPT_TIMEOUT)),
            Stage::Checking => wake.push(held.since.plus(held.start_limit)),
            Stage::Starting | Stage::Active | Stage::Stopping | Stage::Withdrawing | Stage::Stopped => {}
        }
        wake
    }
}
