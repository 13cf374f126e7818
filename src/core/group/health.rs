//! The health of a run: what its probes say, and what follows when they stay bad.

use std::time::Duration;

use super::{Group, OnFailure, OnStandby, Stage, VipStage};
use crate::epoch::Run;
use crate::event::{Action, FailureKind, ProbeFailure, ProbeKey};
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// Between two checks until the first that passes,
const UNTIL_FIRST: Duration = Duration::from_millis(50);
/// and in the first moments, when most services come up: clients wait for it.
const AT_FIRST: Duration = Duration::from_millis(10);
const FIRST_MOMENTS: Duration = Duration::from_secs(1);
/// The first canary after a start is not sent sooner.
const FIRST_CANARY: Duration = Duration::from_secs(30);
/// A warning that came and went within this is still the same one: a disk breathes.
const WARNING_LASTS: Duration = Duration::from_secs(300);

/// What the core must know of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSettings {
    /// Such as `smtp 25`.
    pub name: String,
    pub interval: Duration,
    /// Good answers in a row that make it pass.
    pub rise: u32,
    /// Refusals and wrong answers, without a good one between them, that make it fail.
    pub fall: u32,
    /// The same where answers that did not come count too.
    pub fall_timeout: u32,
    /// What it finds is told and nothing more: no start waits for it, nothing is restarted or moved because of it.
    pub alarms_only: bool,
    pub on_standby: OnStandby,
}

impl ProbeSettings {
    /// A probe with the usual cadence.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            interval: Duration::from_secs(5),
            rise: 1,
            fall: 3,
            fall_timeout: 6,
            alarms_only: false,
            on_standby: OnStandby::Skips,
        }
    }

    /// A canary at this interval.
    #[must_use]
    pub fn canary(name: &str, interval: Duration) -> Self {
        Self {
            interval,
            fall: 2,
            fall_timeout: 2,
            alarms_only: true,
            ..Self::named(name)
        }
    }
}

/// Where one probe of a run stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProbeRun {
    /// When the next check is due; none while one is under way.
    pub(super) at: Option<Time>,
    /// Good answers in a row.
    good: u32,
    /// Since the last good answer.
    wrong: u32,
    silent: u32,
    /// What it makes of the service; none until it passes for the first time.
    pub(crate) passes: Option<bool>,
    /// The last failure since the last good answer.
    pub(crate) failure: Option<ProbeFailure>,
    /// What it said while it passed, and when it said so last.
    warning: Option<(Time, String)>,
}

impl ProbeRun {
    /// Takes one result up. A single good answer ends a row of bad ones; a verdict needs its count. `awaited`: until it
    /// passes for the first time there is none, and it is asked again at once.
    pub(super) fn take(
        &mut self,
        now: Time,
        settings: &ProbeSettings,
        result: Result<(), ProbeFailure>,
        awaited: bool,
    ) {
        if self
            .warning
            .as_ref()
            .is_some_and(|(said, _)| now.reached(said.plus(WARNING_LASTS)))
        {
            self.warning = None;
        }
        match result {
            Ok(()) => self.take_good(settings),
            Err(failure) if failure.kind == FailureKind::Warning => {
                self.take_good(settings);
                self.warning = Some((now, failure.text));
            }
            // What was found out before still holds.
            Err(failure) if failure.kind == FailureKind::Unasked => {
                self.failure.get_or_insert(failure);
            }
            Err(failure) => {
                self.good = 0;
                match failure.kind {
                    FailureKind::Wrong | FailureKind::Shared | FailureKind::Certificate => {
                        self.wrong = self.wrong.saturating_add(1);
                    }
                    FailureKind::Silent => self.silent = self.silent.saturating_add(1),
                    FailureKind::Unasked | FailureKind::Warning => {}
                }
                self.failure = Some(failure);
                if self.is_spent(settings) && (self.passes.is_some() || !awaited) {
                    self.passes = Some(false);
                }
            }
        }
    }

    /// Whether it failed as often as it may.
    pub(super) fn is_spent(&self, settings: &ProbeSettings) -> bool {
        self.wrong >= settings.fall || self.wrong.saturating_add(self.silent) >= settings.fall_timeout
    }

    fn take_good(&mut self, settings: &ProbeSettings) {
        self.good = self.good.saturating_add(1);
        (self.wrong, self.silent) = (0, 0);
        self.failure = None;
        if self.good >= settings.rise {
            self.passes = Some(true);
        }
    }
}

impl Group {
    /// The result of one check.
    pub(crate) fn probed(
        &mut self,
        now: Time,
        run: Run,
        probe: usize,
        result: Result<(), ProbeFailure>,
        out: &mut Vec<Action>,
    ) {
        let Some(settings) = self.settings.probes.get(probe) else {
            return;
        };
        let Some(held) = self.held.as_mut().filter(|held| held.run == run) else {
            return;
        };
        let Some(at) = held.probes.get_mut(probe) else { return };
        let (before, warned) = (at.passes, at.warning.is_some());
        at.take(now, settings, result, !settings.alarms_only);
        let settled = at.passes.is_some() || settings.alarms_only;
        at.at = Some(now.plus(match settled {
            true => settings.interval,
            false if now.since(held.since) < FIRST_MOMENTS => AT_FIRST,
            false => UNTIL_FIRST,
        }));
        let after = at.passes;
        let failure = at.failure.as_ref().map(|failure| failure.text.clone());
        let warning = at.warning.as_ref().map(|(_, text)| text.clone());
        let passes = self.deciding().all(|(_, probe)| probe.passes == Some(true));
        let (name, alarms_only) = (settings.name.clone(), settings.alarms_only);
        if let Some(held) = &mut self.held {
            held.probed |= passes;
        }
        if before == Some(false) && after == Some(true) {
            self.say(Code::ProbePasses, text::probes::passes_again(&name), out);
        } else if alarms_only && before != Some(false) && after == Some(false) {
            let text = text::probes::canary_failed(failure.as_deref().unwrap_or(&name));
            self.say(Code::CanaryFailed, text, out);
        }
        match warning {
            Some(text) if !warned => self.say(Code::ProbeWarns, text::probes::warns(&text), out),
            None if warned => self.say(Code::ProbePasses, text::probes::warning_over(&name), out),
            Some(_) | None => {}
        }
    }

    /// The probes that decide on the run under way.
    pub(super) fn deciding(&self) -> impl Iterator<Item = (&ProbeSettings, &ProbeRun)> {
        self.probes().filter(|(settings, _)| !settings.alarms_only)
    }

    fn probes(&self) -> impl Iterator<Item = (&ProbeSettings, &ProbeRun)> {
        let runs = self.held.iter().flat_map(|held| &held.probes);
        self.settings.probes.iter().zip(runs)
    }

    /// What a canary found that is not told by anything else.
    pub(super) fn canary_failure(&self) -> Option<&ProbeFailure> {
        let canaries = self.probes().filter(|(settings, _)| settings.alarms_only);
        let mut failed = canaries.filter(|(_, probe)| probe.passes == Some(false));
        failed.find_map(|(_, probe)| probe.failure.as_ref())
    }

    /// What a probe that passes has to say.
    pub(super) fn probe_warning(&self) -> Option<&str> {
        let mut warnings = self.probes().filter_map(|(_, probe)| probe.warning.as_ref());
        warnings.next().map(|(_, text)| text.as_str())
    }

    /// Makes the checks that are due. The address of the clients is used once it is up.
    pub(super) fn step_probes(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        let at_vip = held.vip == VipStage::Held;
        let active = held.stage == Stage::Active;
        for (place, (probe, settings)) in held.probes.iter_mut().zip(&self.settings.probes).enumerate() {
            let wanted = active || !settings.alarms_only;
            if wanted && probe.at.is_some_and(|at| now.reached(at)) {
                probe.at = None;
                let of = ProbeKey {
                    group: self.settings.name.clone(),
                    probe: place,
                };
                let run = held.run;
                out.push(Action::Probe { of, run, at_vip });
            }
        }
    }

    /// Lets all probes begin; `trusted`: an adopted run served until a moment ago.
    pub(super) fn begin_probes(&mut self, now: Time, trusted: bool) {
        let Some(held) = &mut self.held else { return };
        for (probe, settings) in held.probes.iter_mut().zip(&self.settings.probes) {
            let pause = settings.alarms_only.then(|| settings.interval.min(FIRST_CANARY));
            probe.at = Some(now.plus(pause.unwrap_or_default()));
            probe.passes = (trusted && !settings.alarms_only).then_some(true);
        }
        held.probed = trusted || self.settings.probes.iter().all(|probe| probe.alarms_only);
    }

    /// What follows from probes that stay bad: a restart, or only an alarm. True if the run is stopped.
    pub(super) fn heed_probes(&mut self, now: Time, out: &mut Vec<Action>) -> bool {
        if self.heed_certificate(now, out) {
            return true;
        }
        let failed = self.deciding().filter(|(_, probe)| probe.passes == Some(false));
        let sick: Vec<&ProbeFailure> = failed.filter_map(|(_, probe)| probe.failure.as_ref()).collect();
        let Some(first) = sick.first() else { return false };
        if let Some(cause) = sick.iter().find(|failure| self.is_everywhere(failure.kind)) {
            let text = text::probes::fault_everywhere(&cause.text);
            self.say(Code::ProbeFaultShared, text, out);
            return false;
        }
        let text = text::probes::restarts_here(&first.text);
        match self.settings.on_failure {
            OnFailure::Notify | OnFailure::Recover if self.paused => {
                let text = text::probes::fault_on_pause(&first.text);
                self.say(Code::ProbeFaultOnPause, text, out);
                false
            }
            OnFailure::Notify => {
                let text = text::probes::fault_told_only(&first.text);
                self.say(Code::ProbeFaultNotify, text, out);
                false
            }
            OnFailure::Recover => {
                self.failed(now, text, out);
                true
            }
        }
    }

    /// The sentence of the last failure of a probe, failing ones first.
    pub(crate) fn probe_failure(&self) -> Option<&ProbeFailure> {
        let of = |verdict: bool| {
            self.deciding()
                .filter(move |(_, probe)| (probe.passes == Some(false)) == verdict)
                .find_map(|(_, probe)| probe.failure.as_ref())
        };
        of(true).or_else(|| of(false))
    }

    /// Whether the run's last trouble is one that every other host would have too.
    pub(super) fn trouble_is_shared(&self) -> bool {
        self.probe_failure()
            .is_some_and(|failure| self.is_everywhere(failure.kind))
    }

    /// Whether any probe has failed for good, while the run goes on.
    pub(crate) fn is_sick(&self) -> bool {
        let mut held = self.held.iter();
        held.any(|held| matches!(held.stage, Stage::Checking | Stage::Active))
            && self.deciding().any(|(_, probe)| probe.passes == Some(false))
    }
}
