//! One group on this node: the runs of its containers, from the gate to the proof of stop.
//!
//! Everything here happens under a held epoch. Who may hold it is decided in `election`; whether the lease still lives,
//! in `member`; here only the order: containers, probes, addresses on the way up; containers, addresses on the way
//! down, addresses first when the lease is running out.

use std::time::Duration;

use super::epoch::Run;
use super::event::{Action, Decision, Level, Order, PageOrder, ServiceKey};
use super::records::SavedRun;
use super::sizing::{Deadlines, KILL_BUDGET};
use super::time::Time;

/// How long a started container may take to reach its gate.
const GATE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a service may take until its probes pass.
const PROBE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a restarted sidecar waits for the tethers to report.
const ADOPT_TIMEOUT: Duration = Duration::from_millis(1500);
/// Between two second ways of ending a container that does not end.
const STOP_RETRY: Duration = Duration::from_secs(2);
/// Restarts in place within [`RESTART_WINDOW`] before the group moves on.
pub(super) const RESTARTS_MAX: usize = 3;
/// The window of the restart budget.
pub(super) const RESTART_WINDOW: Duration = Duration::from_secs(600);
/// Between two tries once the budget is spent and no standby is ready.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// How long a node that ran out of its lease lets others go first.
const COOL_DOWN: Duration = Duration::from_secs(30);
const VIP_RETRY: Duration = Duration::from_secs(1);
const CONFLICT_RETRY: Duration = Duration::from_secs(5);
const PROBE_RETRY: Duration = Duration::from_millis(50);
const WATCH_PROBE: Duration = Duration::from_secs(5);

/// What the core must know of a group's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupSettings {
    pub name: String,
    /// In start order.
    pub services: Vec<ServiceSettings>,
    pub vips: usize,
    pub vip_first: bool,
    pub probes: usize,
    pub grace: Duration,
}

/// What the core must know of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSettings {
    pub name: String,
    pub stop_grace: Duration,
    /// Services, by place, that must be healthy first; those before it must be up in any case.
    pub after_healthy: Vec<usize>,
}

/// Where a holding stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Waiting for the tethers of a run that an earlier sidecar started.
    Adopting,
    Starting,
    /// All containers run; probes or addresses are still awaited.
    Checking,
    Active,
    Stopping,
    /// All containers are proved stopped; the addresses go.
    Withdrawing,
    Stopped,
}

/// What follows a stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// A new run of the same epoch.
    Restart,
    /// Give the group up, to `successor` if it is named.
    Release { reason: String, successor: Option<String> },
    /// The lease ran out: start again (T6) or release (T7), whichever fits.
    RanOut,
    /// The incarnation is lost: release with T8.
    Lost,
    /// The record is no longer ours: nothing to write.
    Forget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// In reverse order, each with its own grace.
    Drain,
    /// All at once, addresses first.
    Fence,
}

/// Where the container of one service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServiceState {
    Idle,
    /// Started, not yet at its gate: nothing of the application runs.
    Starting,
    /// Admitted through its gate, or reported running.
    Up,
    /// It may run: an earlier sidecar started it and its tether has not reported.
    Unknown,
    /// Proved not to run.
    Gone,
}

#[derive(Clone, Debug)]
pub(super) struct ServiceRun {
    pub state: ServiceState,
    since: Time,
    /// Set once its stop was ordered: the kill at the latest.
    stop_by: Option<Time>,
    retry_at: Option<Time>,
    /// The engine's health check, once it said anything of this run.
    pub healthy: Option<bool>,
    page: Option<PageOrder>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum VipStage {
    /// No addresses, or none asked for yet.
    Off,
    Probing,
    Conflict {
        retry_at: Time,
    },
    Free,
    Adding {
        retry_at: Time,
    },
    Held,
    Dropping {
        retry_at: Time,
    },
}

/// A held epoch.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub run: Run,
    pub lease: i64,
    pub deadlines: Deadlines,
    pub stage: Stage,
    pub latched: bool,
    /// The validity of this epoch ran out once: it needs contact to start again.
    pub soft_passed: bool,
    pub after: After,
    way: Way,
    pub services: Vec<ServiceRun>,
    pub vip: VipStage,
    pub since: Time,
    probed: bool,
    probe_at: Option<Time>,
    pub probe_failure: Option<String>,
    not_before: Option<Time>,
}

/// One group of this node.
#[derive(Clone, Debug)]
pub struct Group {
    pub(super) settings: GroupSettings,
    pub(super) held: Option<Held>,
    /// Image digests of the prepared containers, or why one is not.
    pub(super) prepared: Vec<Option<Result<String, String>>>,
    /// The run that a tether reported as running, whether or not it is ours.
    reported: Vec<Option<Run>>,
    restarts: Vec<Time>,
    /// The service failed here: no campaign before this.
    pub(super) failing_until: Option<Time>,
    pub(super) cool_until: Option<Time>,
    pub(super) last: Option<Decision>,
}

/// What a group's step needs to know of the node.
#[derive(Clone, Copy)]
pub(super) struct Context {
    pub now: Time,
    /// A standby that is ready and alive.
    pub other_ready: bool,
}

impl Group {
    pub(super) fn new(settings: GroupSettings) -> Self {
        let count = settings.services.len();
        Self {
            settings,
            held: None,
            prepared: vec![None; count],
            reported: vec![None; count],
            restarts: Vec::new(),
            failing_until: None,
            cool_until: None,
            last: None,
        }
    }

    fn key(&self, service: usize) -> ServiceKey {
        ServiceKey {
            group: self.settings.name.clone(),
            service,
        }
    }

    /// Says a sentence once; a repetition is no news.
    pub(super) fn say(&mut self, level: Level, text: String, out: &mut Vec<Action>) {
        let decision = Decision {
            level,
            group: Some(self.settings.name.clone()),
            text,
        };
        if self.last.as_ref() != Some(&decision) {
            self.last = Some(decision.clone());
            out.push(Action::Say(decision));
        }
    }

    /// Why no container of this group could start here.
    pub(super) fn unprepared(&self) -> Option<String> {
        self.settings
            .services
            .iter()
            .zip(&self.prepared)
            .find_map(|(service, prepared)| match prepared {
                Some(Ok(_)) => None,
                Some(Err(why)) => Some(format!("service {}: {why}", service.name)),
                None => Some(format!("service {}: its container is not prepared yet", service.name)),
            })
    }

    /// What the boot-scoped file must remember of this group.
    pub(super) fn saved(&self) -> Option<SavedRun> {
        self.held.as_ref().map(|held| SavedRun {
            epoch: held.run.epoch,
            n: held.run.n,
            latched: held.latched,
        })
    }

    /// Takes up an epoch just won and starts its first run.
    pub(super) fn begin(&mut self, now: Time, epoch: u64, lease: i64, deadlines: Deadlines, out: &mut Vec<Action>) {
        self.held = Some(Held::new(
            Run { epoch, n: 1 },
            lease,
            deadlines,
            now,
            self.settings.services.len(),
        ));
        self.say(Level::Info, format!("won epoch {epoch}: starting here"), out);
        if self.settings.vips > 0 {
            self.set_vip(VipStage::Probing);
            out.push(Action::VipProbe {
                group: self.settings.name.clone(),
            });
        }
    }

    /// Takes up a run that an earlier sidecar of this boot started; its tethers are still to report.
    pub(super) fn adopt(&mut self, now: Time, run: Run, lease: i64, deadlines: Deadlines, out: &mut Vec<Action>) {
        let mut held = Held::new(run, lease, deadlines, now, self.settings.services.len());
        held.stage = Stage::Adopting;
        held.vip = VipStage::Free;
        for (service, reported) in held.services.iter_mut().zip(&self.reported) {
            service.state = if *reported == Some(run) {
                ServiceState::Up
            } else {
                ServiceState::Unknown
            };
        }
        self.held = Some(held);
        self.say(
            Level::Info,
            format!("restarted: adopting run {run}, which goes on untouched"),
            out,
        );
    }

    /// Stops a run that an earlier sidecar started and that may not be adopted.
    pub(super) fn disown(&mut self, now: Time, run: Run, lease: i64, why: &str, out: &mut Vec<Action>) {
        let over = Deadlines {
            soft: now,
            hard: now,
            end: now,
        };
        let mut held = Held::new(run, lease, over, now, self.settings.services.len());
        // Its addresses may be here too, and after a hold the kernel would keep them for long.
        if self.settings.vips > 0 {
            held.vip = VipStage::Free;
        }
        for service in &mut held.services {
            service.state = ServiceState::Unknown;
        }
        self.held = Some(held);
        self.stop(
            now,
            Way::Fence,
            After::Lost,
            format!("stopping run {run}: {why}"),
            Level::Alarm,
            out,
        );
    }

    /// Latches the run and stops it. A stop under way only gets faster or another sequel; it never ends.
    pub(super) fn stop(&mut self, now: Time, way: Way, after: After, why: String, level: Level, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        let fresh = !held.latched;
        held.latched = true;
        held.after = after;
        if way == Way::Fence {
            held.way = way;
        } else if fresh {
            held.way = Way::Drain;
        }
        match held.stage {
            Stage::Stopping | Stage::Withdrawing => {}
            Stage::Stopped if held.after == After::Restart => {}
            Stage::Stopped => held.enter(Stage::Withdrawing, now),
            Stage::Adopting | Stage::Starting | Stage::Checking | Stage::Active => held.enter(Stage::Stopping, now),
        }
        for service in &mut held.services {
            if matches!(service.state, ServiceState::Idle | ServiceState::Starting) {
                service.state = ServiceState::Gone;
            }
        }
        let drop_first = held.way == Way::Fence && !matches!(held.vip, VipStage::Off | VipStage::Dropping { .. });
        if drop_first {
            held.vip = VipStage::Dropping {
                retry_at: now.plus(VIP_RETRY),
            };
            out.push(Action::VipDrop {
                group: self.settings.name.clone(),
            });
        }
        self.say(level, why, out);
    }

    /// New deadlines from an answered beat of the holding's own incarnation.
    pub(super) fn renew(&mut self, now: Time, deadlines: Deadlines, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        held.deadlines = deadlines;
        if matches!(held.vip, VipStage::Held | VipStage::Adding { .. }) {
            out.push(Action::VipHold {
                group: self.settings.name.clone(),
                valid: now.until(deadlines.end),
                announce: false,
            });
        }
    }

    /// First after every wake-up: what the time alone demands.
    pub(super) fn check_time(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        if !now.reached(held.deadlines.soft) || held.soft_passed {
            return;
        }
        held.soft_passed = true;
        self.cool_until = Some(now.plus(COOL_DOWN));
        let after = if held.after == After::Restart {
            After::RanOut
        } else {
            held.after.clone()
        };
        let why = format!("the lease of epoch {} runs out: stopping", held.run.epoch);
        self.stop(now, Way::Fence, after, why, Level::Alarm, out);
    }

    /// A tether stands at its gate or reports again.
    pub(super) fn hello(
        &mut self,
        now: Time,
        service: usize,
        run: Run,
        running: bool,
        connection: u64,
        out: &mut Vec<Action>,
    ) {
        let of = self.key(service);
        if running && let Some(reported) = self.reported.get_mut(service) {
            *reported = Some(run);
        }
        let ours = self.held.as_mut().filter(|held| held.run == run);
        let Some(held) = ours else {
            // One that runs obeys its page, which is closed unless the run is still to be adopted.
            if !running {
                out.push(Action::Refuse { of, connection });
            }
            return;
        };
        let stage = held.stage;
        let before_soft = !now.reached(held.deadlines.soft) && !held.latched;
        let Some(at) = held.services.get_mut(service) else {
            return;
        };
        match at.state {
            ServiceState::Starting if !running && before_soft && stage == Stage::Starting => {
                at.enter(ServiceState::Up, now);
                out.push(Action::Admit { of, connection });
            }
            ServiceState::Unknown | ServiceState::Up if running => at.enter(ServiceState::Up, now),
            ServiceState::Unknown if !running => {
                // It stood at its gate when the earlier sidecar ended: the application never ran.
                at.enter(ServiceState::Gone, now);
                out.push(Action::Refuse { of, connection });
            }
            ServiceState::Idle
            | ServiceState::Starting
            | ServiceState::Up
            | ServiceState::Unknown
            | ServiceState::Gone => {
                out.push(Action::Refuse { of, connection });
            }
        }
    }

    /// The proof of stop by pidfd.
    pub(super) fn gone(&mut self, now: Time, service: usize, run: Run) {
        if let Some(reported) = self.reported.get_mut(service)
            && *reported == Some(run)
        {
            *reported = None;
        }
        if let Some(held) = self.held.as_mut().filter(|held| held.run == run)
            && let Some(at) = held.services.get_mut(service)
            && matches!(
                at.state,
                ServiceState::Starting | ServiceState::Up | ServiceState::Unknown
            )
        {
            at.enter(ServiceState::Gone, now);
        }
    }

    /// The engine's word: counts only for a container whose tether never reported to this sidecar.
    pub(super) fn inspected(&mut self, now: Time, service: usize, running: Option<bool>) {
        if let Some(held) = &mut self.held
            && let Some(at) = held.services.get_mut(service)
            && at.state == ServiceState::Unknown
            && running == Some(false)
        {
            at.enter(ServiceState::Gone, now);
        }
    }

    /// The engine refused to start it.
    pub(super) fn start_failed(&mut self, now: Time, service: usize, run: Run, why: &str, out: &mut Vec<Action>) {
        let starting = self.held.as_ref().is_some_and(|held| {
            held.run == run
                && held
                    .services
                    .get(service)
                    .is_some_and(|at| at.state == ServiceState::Starting)
        });
        if starting {
            let name = self.settings.services[service].name.clone();
            self.failed(now, format!("service {name} did not start: {why}"), out);
        }
    }

    /// The run failed by itself: stop what is left of it and try again in place.
    fn failed(&mut self, now: Time, why: String, out: &mut Vec<Action>) {
        self.stop(now, Way::Drain, After::Restart, why, Level::Alarm, out);
    }

    fn set_vip(&mut self, stage: VipStage) {
        if let Some(held) = &mut self.held {
            held.vip = stage;
        }
    }

    /// News of the addresses.
    pub(super) fn vip_free(&mut self) {
        if let Some(held) = &mut self.held
            && held.vip == VipStage::Probing
        {
            held.vip = VipStage::Free;
        }
    }

    pub(super) fn vip_conflict(&mut self, now: Time, vip: &str, mac: &str, out: &mut Vec<Action>) {
        if self.held.as_ref().is_some_and(|held| held.vip == VipStage::Probing) {
            self.set_vip(VipStage::Conflict {
                retry_at: now.plus(CONFLICT_RETRY),
            });
            let text = format!(
                "{vip} is answered by {mac}: its holder is not fenced; the address is not taken while it answers"
            );
            self.say(Level::Alarm, text, out);
        }
    }

    pub(super) fn vip_held(&mut self) {
        if let Some(held) = &mut self.held
            && matches!(held.vip, VipStage::Adding { .. })
        {
            held.vip = VipStage::Held;
        }
    }

    pub(super) fn vip_dropped(&mut self) {
        if let Some(held) = &mut self.held
            && matches!(held.vip, VipStage::Dropping { .. })
        {
            held.vip = VipStage::Off;
        }
    }

    pub(super) fn probed(&mut self, now: Time, run: Run, result: Result<(), String>) {
        if let Some(held) = self.held.as_mut().filter(|held| held.run == run) {
            held.probed |= result.is_ok();
            held.probe_failure = result.err();
            let pause = if held.probed { WATCH_PROBE } else { PROBE_RETRY };
            held.probe_at = Some(now.plus(pause));
        }
    }

    pub(super) fn health(&mut self, service: usize, healthy: bool) {
        if let Some(held) = &mut self.held
            && let Some(at) = held.services.get_mut(service)
        {
            at.healthy = Some(healthy);
        }
    }

    /// Moves the run on as far as it goes now, then writes what changed to the pages.
    pub(super) fn step(&mut self, context: Context, out: &mut Vec<Action>) {
        if let Some(stage) = self.held.as_ref().map(|held| held.stage) {
            match stage {
                Stage::Adopting => self.step_adopting(context.now, out),
                Stage::Starting => self.step_starting(context.now, out),
                Stage::Checking | Stage::Active => self.step_running(context.now, out),
                Stage::Stopping => self.step_stopping(context.now, out),
                Stage::Withdrawing => self.step_withdrawing(context.now, out),
                Stage::Stopped => self.step_stopped(context, out),
            }
        }
        self.write_pages(context.now, out);
    }

    fn step_adopting(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        if held.services.iter().all(|service| service.state == ServiceState::Up) {
            held.probed = true;
            held.probe_at = Some(now);
            held.enter(Stage::Checking, now);
            return self.step_running(now, out);
        }
        if held.services.iter().any(|service| service.state == ServiceState::Gone) {
            return self.failed(now, "a container of the adopted run had ended".to_owned(), out);
        }
        if now.since(held.since) >= ADOPT_TIMEOUT {
            self.failed(now, "a tether of the adopted run does not report".to_owned(), out);
        }
    }

    fn step_starting(&mut self, now: Time, out: &mut Vec<Action>) {
        if let Some(why) = self.run_broke(now) {
            return self.failed(now, why, out);
        }
        self.step_vip(now, out);
        let Some(held) = &mut self.held else { return };
        let addressed = !self.settings.vip_first || self.settings.vips == 0 || held.vip == VipStage::Held;
        if !addressed || now.reached(held.deadlines.soft) {
            return;
        }
        for (place, settings) in self.settings.services.iter().enumerate() {
            match held.services[place].state {
                ServiceState::Up => {}
                ServiceState::Idle => {
                    let healthy = settings
                        .after_healthy
                        .iter()
                        .all(|before| held.services[*before].healthy == Some(true));
                    if healthy {
                        held.services[place].enter(ServiceState::Starting, now);
                        let of = ServiceKey {
                            group: self.settings.name.clone(),
                            service: place,
                        };
                        // The page opens before the container starts: its tether reads it first thing.
                        let page = held.page(place, now);
                        held.services[place].page = Some(page);
                        out.push(Action::Page { of: of.clone(), page });
                        out.push(Action::Start { of, run: held.run });
                    }
                    return;
                }
                ServiceState::Starting | ServiceState::Unknown | ServiceState::Gone => return,
            }
        }
        held.probe_at = Some(now);
        held.probed = self.settings.probes == 0;
        held.enter(Stage::Checking, now);
        self.step_running(now, out);
    }

    fn step_running(&mut self, now: Time, out: &mut Vec<Action>) {
        if let Some(why) = self.run_broke(now) {
            return self.failed(now, why, out);
        }
        let Some(held) = &mut self.held else { return };
        if self.settings.probes > 0 && held.probe_at.is_some_and(|at| now.reached(at)) {
            held.probe_at = None;
            out.push(Action::Probe {
                group: self.settings.name.clone(),
                run: held.run,
            });
        }
        self.step_vip(now, out);
        let Some(held) = &mut self.held else { return };
        let addressed = self.settings.vips == 0 || held.vip == VipStage::Held;
        if held.stage == Stage::Checking && held.probed && addressed {
            held.enter(Stage::Active, now);
            let text = format!("run {} is up: serving", held.run);
            self.say(Level::Info, text, out);
        }
    }

    /// Why the run under way cannot go on.
    fn run_broke(&self, now: Time) -> Option<String> {
        let held = self.held.as_ref()?;
        for (service, settings) in held.services.iter().zip(&self.settings.services) {
            if service.state == ServiceState::Gone {
                return Some(format!("service {} ended by itself", settings.name));
            }
            if service.state == ServiceState::Starting && now.since(service.since) >= GATE_TIMEOUT {
                return Some(format!(
                    "service {} did not reach its gate within {GATE_TIMEOUT:?}",
                    settings.name
                ));
            }
        }
        let probing = held.stage == Stage::Checking && !held.probed && now.since(held.since) >= PROBE_TIMEOUT;
        probing.then(|| {
            let last = held.probe_failure.as_deref().unwrap_or("no answer");
            format!("the probes did not pass within {PROBE_TIMEOUT:?}: {last}")
        })
    }

    fn step_vip(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        let group = self.settings.name.clone();
        let wanted =
            (self.settings.vip_first || held.probed) && self.settings.vips > 0 && !now.reached(held.deadlines.soft);
        match held.vip {
            VipStage::Free | VipStage::Adding { .. } if wanted && held.vip.due(now) => {
                held.vip = VipStage::Adding {
                    retry_at: now.plus(VIP_RETRY),
                };
                let valid = now.until(held.deadlines.end);
                out.push(Action::VipHold {
                    group,
                    valid,
                    announce: true,
                });
            }
            VipStage::Conflict { retry_at } if now.reached(retry_at) => {
                held.vip = VipStage::Probing;
                out.push(Action::VipProbe { group });
            }
            VipStage::Off
            | VipStage::Probing
            | VipStage::Conflict { .. }
            | VipStage::Free
            | VipStage::Adding { .. }
            | VipStage::Held
            | VipStage::Dropping { .. } => {}
        }
    }

    fn step_stopping(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        for place in (0..held.services.len()).rev() {
            let of = ServiceKey {
                group: self.settings.name.clone(),
                service: place,
            };
            let service = &mut held.services[place];
            match service.state {
                ServiceState::Gone | ServiceState::Idle | ServiceState::Starting => continue,
                ServiceState::Up | ServiceState::Unknown => {}
            }
            if service.stop_by.is_none() {
                service.stop_by = Some(now.plus(self.settings.services[place].stop_grace));
                service.retry_at = Some(now);
            }
            if service.retry_at.is_some_and(|at| now.reached(at)) {
                service.retry_at = Some(now.plus(STOP_RETRY));
                if service.stop_by.is_some_and(|by| now.reached(by)) || now.reached(held.deadlines.hard) {
                    out.push(Action::Kill { of: of.clone() });
                }
                out.push(Action::Inspect { of });
            }
            if held.way == Way::Drain {
                break;
            }
        }
        if !held.services.iter().all(|service| service.state == ServiceState::Gone) {
            // Beats go on meanwhile and move the end of the lease: what counts is when the kill was due.
            let overdue = held.services.iter().any(|service| {
                let due = service
                    .stop_by
                    .map(|by| by.earlier(held.deadlines.hard).plus(KILL_BUDGET));
                service.state != ServiceState::Gone && due.is_some_and(|due| now.reached(due))
            });
            if overdue {
                let text = format!(
                    "run {} is not proved stopped: it is not handed over until it is",
                    held.run
                );
                self.say(Level::Alarm, text, out);
            }
            return;
        }
        // A restart keeps the addresses: clients meet a closed port, which answers, rather than silence.
        if held.after == After::Restart {
            held.enter(Stage::Stopped, now);
            return;
        }
        held.enter(Stage::Withdrawing, now);
        if self.settings.vips == 0 {
            held.vip = VipStage::Off;
        } else if held.vip != VipStage::Off && !matches!(held.vip, VipStage::Dropping { .. }) {
            held.vip = VipStage::Dropping { retry_at: now };
        }
        self.step_withdrawing(now, out);
    }

    fn step_withdrawing(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        match held.vip {
            VipStage::Off => held.enter(Stage::Stopped, now),
            VipStage::Dropping { retry_at } => {
                if now.reached(retry_at) {
                    held.vip = VipStage::Dropping {
                        retry_at: now.plus(VIP_RETRY),
                    };
                    out.push(Action::VipDrop {
                        group: self.settings.name.clone(),
                    });
                }
            }
            VipStage::Probing
            | VipStage::Conflict { .. }
            | VipStage::Free
            | VipStage::Adding { .. }
            | VipStage::Held => {
                held.vip = VipStage::Dropping {
                    retry_at: now.plus(VIP_RETRY),
                };
                out.push(Action::VipDrop {
                    group: self.settings.name.clone(),
                });
            }
        }
    }

    /// A restart in place, within its budget; every other sequel is a transaction and belongs to the election.
    fn step_stopped(&mut self, context: Context, out: &mut Vec<Action>) {
        let now = context.now;
        let Some(held) = &mut self.held else { return };
        if held.after != After::Restart || now.reached(held.deadlines.soft) {
            return;
        }
        if let Some(at) = held.not_before {
            if now.reached(at) {
                let run = Run {
                    epoch: held.run.epoch,
                    n: held.run.n + 1,
                };
                self.again(now, run, out);
            }
            return;
        }
        self.restarts.retain(|at| now.since(*at) < RESTART_WINDOW);
        let spent = self.restarts.len() >= RESTARTS_MAX;
        if spent && context.other_ready {
            self.failing_until = Some(now.plus(RESTART_WINDOW));
            held.after = After::Release {
                reason: format!("failed {} times here", self.restarts.len() + 1),
                successor: None,
            };
            held.enter(Stage::Withdrawing, now);
            self.say(
                Level::Alarm,
                format!(
                    "failed {} times within {RESTART_WINDOW:?}: handing over",
                    RESTARTS_MAX + 1
                ),
                out,
            );
            return;
        }
        let pause = match self.restarts.len() {
            0 => Duration::ZERO,
            count => Duration::from_secs(1 << count.min(5)).min(BACK_OFF_MAX),
        };
        held.not_before = Some(now.plus(pause));
        self.restarts.push(now);
        if spent {
            self.say(
                Level::Alarm,
                format!("keeps failing and no standby is ready: trying again in {pause:?}"),
                out,
            );
        }
        if pause.is_zero() {
            self.step_stopped(context, out);
            self.step_starting(now, out);
        }
    }

    /// Starts a new run: the latch belonged to the old one. Addresses that are held stay.
    pub(super) fn again(&mut self, now: Time, run: Run, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        let mut fresh = Held::new(run, held.lease, held.deadlines, now, held.services.len());
        fresh.vip = held.vip.clone();
        *held = fresh;
        if self.settings.vips > 0 && held.vip == VipStage::Off {
            held.vip = VipStage::Probing;
            out.push(Action::VipProbe {
                group: self.settings.name.clone(),
            });
        }
        self.say(Level::Info, format!("starting again here: run {run}"), out);
    }

    fn write_pages(&mut self, now: Time, out: &mut Vec<Action>) {
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
    pub(super) fn wake(&self) -> Vec<Time> {
        let Some(held) = &self.held else { return Vec::new() };
        let mut wake: Vec<Time> = held
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
            .flatten()
            .collect();
        wake.extend([held.deadlines.soft, held.deadlines.hard, held.deadlines.end]);
        wake.extend(held.probe_at);
        wake.extend(held.not_before.filter(|_| held.stage == Stage::Stopped));
        wake.extend(held.vip.retry_at());
        match held.stage {
            Stage::Adopting => wake.push(held.since.plus(ADOPT_TIMEOUT)),
            Stage::Checking => wake.push(held.since.plus(PROBE_TIMEOUT)),
            Stage::Starting | Stage::Active | Stage::Stopping | Stage::Withdrawing | Stage::Stopped => {}
        }
        wake
    }
}

impl VipStage {
    fn due(&self, now: Time) -> bool {
        self.retry_at().is_none_or(|at| now.reached(at))
    }

    fn retry_at(&self) -> Option<Time> {
        match self {
            Self::Conflict { retry_at } | Self::Adding { retry_at } | Self::Dropping { retry_at } => Some(*retry_at),
            Self::Off | Self::Probing | Self::Free | Self::Held => None,
        }
    }
}

impl ServiceRun {
    fn new(now: Time) -> Self {
        Self {
            state: ServiceState::Idle,
            since: now,
            stop_by: None,
            retry_at: None,
            healthy: None,
            page: None,
        }
    }

    fn enter(&mut self, state: ServiceState, now: Time) {
        self.state = state;
        self.since = now;
    }
}

impl Held {
    fn new(run: Run, lease: i64, deadlines: Deadlines, now: Time, services: usize) -> Self {
        Self {
            run,
            lease,
            deadlines,
            stage: Stage::Starting,
            latched: false,
            soft_passed: false,
            after: After::Restart,
            way: Way::Drain,
            services: vec![ServiceRun::new(now); services],
            vip: VipStage::Off,
            since: now,
            probed: false,
            probe_at: None,
            probe_failure: None,
            not_before: None,
        }
    }

    fn enter(&mut self, stage: Stage, now: Time) {
        self.stage = stage;
        self.since = now;
    }

    /// Whether every container is proved not to run.
    pub(super) fn proved_stopped(&self) -> bool {
        self.services.iter().all(|service| service.state == ServiceState::Gone)
    }

    fn page(&self, place: usize, now: Time) -> PageOrder {
        let service = &self.services[place];
        let Deadlines { soft, hard, .. } = self.deadlines;
        let (order, soft, hard) = match service.state {
            ServiceState::Idle | ServiceState::Gone => (Order::Closed, Time::default(), Time::default()),
            ServiceState::Starting | ServiceState::Up | ServiceState::Unknown => match service.stop_by {
                None => (Order::Open, soft, hard),
                Some(by) if now.reached(by.earlier(hard)) => (Order::Kill, soft, by.earlier(hard)),
                Some(by) => (Order::Stop, soft, by.earlier(hard)),
            },
        };
        PageOrder {
            run: self.run,
            order,
            soft,
            hard,
        }
    }
}
