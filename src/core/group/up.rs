//! The way up: a run begins or is adopted, its containers start in order, its probes pass.

use std::time::Duration;

use super::blame::Starts;
use super::containers::Ready;
use super::output::Output;
use super::{Context, Group, Holding, ServiceState, Stage, StartCause, VipStage};
use crate::epoch::Run;
use crate::event::{Action, ServiceKey};
use crate::protocol::sizing::Deadlines;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// How long a started container may take to reach its gate.
pub(super) const GATE_TIMEOUT: Duration = Duration::from_secs(20);
/// So many times as long a start may take with another image than the one that served last,
const UPDATE_FACTOR: u32 = 10;
/// and at most so long.
const UPDATE_MAX: Duration = Duration::from_secs(3600);
/// How long a restarted sidecar waits for the tethers to report.
pub(super) const ADOPT_TIMEOUT: Duration = Duration::from_millis(1500);

impl Group {
    /// Takes up an epoch just won and starts its first run.
    pub(super) fn begin(&mut self, now: Time, epoch: u64, lease: i64, deadlines: Deadlines, out: &mut Vec<Action>) {
        let mut held = Holding::new(Run { epoch, n: 1 }, lease, deadlines, now, &self.settings);
        held.start_cause = self.taking;
        self.containers.wait_anew();
        self.starts = Starts::begin(self.taking);
        self.output = Output::default();
        self.drift = None;
        self.lost = None;
        self.held = Some(held);
        self.say(self.taking.started(), text::start::won(epoch), out);
        self.ask_for_addresses(out);
    }

    /// Those that this host has, of an earlier sidecar, are free. It may have ended while somebody answered for one.
    fn ask_for_addresses(&mut self, out: &mut Vec<Action>) {
        if self.settings.vips > 0 {
            self.set_vip(VipStage::Probing);
            out.push(Action::VipProbe {
                group: self.settings.name.clone(),
            });
        }
    }

    /// Takes up a run that an earlier sidecar of this boot started; its tethers are still to report.
    pub(crate) fn adopt(&mut self, now: Time, run: Run, lease: i64, deadlines: Deadlines, out: &mut Vec<Action>) {
        let mut held = Holding::new(run, lease, deadlines, now, &self.settings);
        held.stage = Stage::Adopting;
        held.start_cause = StartCause::Adoption;
        for (place, service) in held.services.iter_mut().enumerate() {
            service.tether = self.reporter(place, run);
            service.state = match service.tether {
                Some(_) => ServiceState::Up,
                None => ServiceState::Unknown,
            };
        }
        self.held = Some(held);
        self.say(Code::AdoptionStarted, text::start::adopting(run), out);
        self.ask_for_addresses(out);
    }

    pub(super) fn step_adopting(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        if held.services.iter().all(|service| service.state == ServiceState::Up) {
            held.enter(Stage::Checking, now);
            self.begin_probes(now, true);
            return self.step_running(now, out);
        }
        if held.services.iter().any(|service| service.state == ServiceState::Gone) {
            return self.failed(now, text::start::ADOPTED_CONTAINER_ENDED.to_owned(), out);
        }
        if now.since(held.since) >= ADOPT_TIMEOUT {
            self.failed(now, text::start::ADOPTED_TETHER_SILENT.to_owned(), out);
        }
    }

    pub(super) fn step_starting(&mut self, context: Context, out: &mut Vec<Action>) {
        let now = context.now;
        if let Some(why) = self.run_broke(now) {
            return self.failed(now, why, out);
        }
        self.step_vip(now, out);
        let Some(held) = &mut self.held else { return };
        let addressed = !self.settings.vip_first || self.settings.vips == 0 || held.vip == VipStage::Held;
        let waits = !addressed || context.frozen || !self.watched;
        if waits || now.reached(held.deadlines.soft) {
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
                        if context.engine_away {
                            return self.wait_for_engine(place, context, out);
                        }
                        let made = match self.containers.ready(place) {
                            Ready::Made(made) => made.clone(),
                            Ready::Not(why) => {
                                let text = text::start::did_not_start(&settings.name, why);
                                return self.failed(now, text, out);
                            }
                            Ready::Awaited => return self.wait_for_container(place, now, out),
                        };
                        held.services[place].enter(ServiceState::Starting, now);
                        let of = ServiceKey {
                            group: self.settings.name.clone(),
                            service: place,
                        };
                        // The page opens before the container starts: its tether reads it first thing.
                        let page = held.page(place, now);
                        held.services[place].page = Some(page);
                        out.push(Action::Page { of: of.clone(), page });
                        let run = held.run;
                        out.push(Action::Start { of, run, made });
                    }
                    return;
                }
                ServiceState::Starting | ServiceState::Unknown | ServiceState::Gone => return,
            }
        }
        held.enter(Stage::Checking, now);
        self.allow_for_update(out);
        self.begin_probes(now, false);
        self.step_running(now, out);
    }

    pub(super) fn step_running(&mut self, now: Time, out: &mut Vec<Action>) {
        if let Some(why) = self.run_broke(now) {
            return self.failed(now, why, out);
        }
        // A probe that has passed in this run is judged by its budget from then on, whether or not the others have.
        if self.heed_probes(now, out) {
            return;
        }
        self.step_probes(now, out);
        self.step_vip(now, out);
        let Some(held) = &mut self.held else { return };
        let addressed = self.settings.vips == 0 || held.vip == VipStage::Held;
        if held.stage == Stage::Checking && held.probed && addressed {
            held.enter(Stage::Active, now);
            self.starts.served();
            self.served = Some(self.containers.startable_image()).filter(|image| !image.digest.is_empty());
            let (text, code) = (text::start::serving(held.run), held.start_cause.done());
            self.say(code, text, out);
        }
    }

    /// An image that has not served yet may have its data to convert first: killed in the middle, it would begin anew each time.
    fn allow_for_update(&mut self, out: &mut Vec<Action>) {
        let image = self.containers.startable_image();
        let is_new = self.served.as_ref().is_some_and(|served| !served.is_same(&image));
        let Some(held) = self.held.as_mut().filter(|_| is_new) else {
            return;
        };
        let limit = self.settings.start_timeout.saturating_mul(UPDATE_FACTOR);
        held.start_limit = limit.min(UPDATE_MAX).max(self.settings.start_timeout);
        let text = text::start::another_image(held.run, held.start_limit);
        self.say(Code::UpdateStarted, text, out);
    }

    /// Why the run under way cannot go on.
    pub(super) fn run_broke(&self, now: Time) -> Option<String> {
        let held = self.held.as_ref()?;
        for (service, settings) in held.services.iter().zip(&self.settings.services) {
            if service.state == ServiceState::Gone {
                return Some(text::start::service_ended(&settings.name));
            }
            if service.state == ServiceState::Starting && now.since(service.since) >= GATE_TIMEOUT {
                return Some(text::start::gate_not_reached(&settings.name, GATE_TIMEOUT));
            }
        }
        let limit = held.start_limit;
        let probing = held.stage == Stage::Checking && !held.probed && now.since(held.since) >= limit;
        probing.then(|| {
            let last = self
                .probe_failure()
                .map_or(text::start::PROBE_SILENT, |failure| &failure.text);
            text::start::probes_did_not_pass(limit, last)
        })
    }

    /// Of another run it says nothing: who waits for a healthy service waits for this one.
    pub(crate) fn health(&mut self, service: usize, run: Option<Run>, healthy: bool) {
        if let Some(held) = self.held.as_mut().filter(|held| held.is_of(run))
            && let Some(at) = held.services.get_mut(service)
        {
            at.healthy = Some(healthy);
        }
    }
}
