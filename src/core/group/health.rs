//! The health of a run: what its probes say, and what follows when they stay bad.

use std::time::Duration;

use super::{Group, OnFailure, Stage, VipStage};
use crate::core::code::Code;
use crate::core::epoch::Run;
use crate::core::event::{Action, FailureKind, ProbeFailure, ProbeKey};
use crate::core::time::Time;

/// Between two checks until the first that passes.
const UNTIL_FIRST: Duration = Duration::from_millis(50);

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
        }
    }
}

/// Where one probe of a run stands.
#[derive(Clone, Debug, Default)]
pub(in crate::core) struct ProbeRun {
    /// When the next check is due; none while one is under way.
    pub(super) at: Option<Time>,
    /// Good answers in a row.
    good: u32,
    /// Since the last good answer.
    wrong: u32,
    silent: u32,
    /// What it makes of the service; none until it passes for the first time.
    pub(in crate::core) passes: Option<bool>,
    /// The last failure since the last good answer.
    pub(in crate::core) failure: Option<ProbeFailure>,
}

impl ProbeRun {
    /// Takes one result up. A single good answer ends a row of bad ones; a verdict needs its count.
    fn take(&mut self, settings: &ProbeSettings, result: Result<(), ProbeFailure>) {
        match result {
            Ok(()) => {
                self.good = self.good.saturating_add(1);
                (self.wrong, self.silent) = (0, 0);
                self.failure = None;
                if self.good >= settings.rise {
                    self.passes = Some(true);
                }
            }
            // What was found out before still holds.
            Err(failure) if failure.kind == FailureKind::Unasked => {
                self.failure.get_or_insert(failure);
            }
            Err(failure) => {
                self.good = 0;
                match failure.kind {
                    FailureKind::Wrong | FailureKind::Shared => self.wrong = self.wrong.saturating_add(1),
                    FailureKind::Silent => self.silent = self.silent.saturating_add(1),
                    FailureKind::Unasked => {}
                }
                self.failure = Some(failure);
                let spent =
                    self.wrong >= settings.fall || self.wrong.saturating_add(self.silent) >= settings.fall_timeout;
                // Until it passes for the first time it is only awaited, and asked again at once.
                if spent && self.passes.is_some() {
                    self.passes = Some(false);
                }
            }
        }
    }
}

impl Group {
    /// The result of one check.
    pub(in crate::core) fn probed(
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
        let before = at.passes;
        at.take(settings, result);
        let passed_once = at.passes.is_some();
        at.at = Some(now.plus(if passed_once { settings.interval } else { UNTIL_FIRST }));
        let after = at.passes;
        held.probed |= held.probes.iter().all(|probe| probe.passes == Some(true));
        if before == Some(false) && after == Some(true) {
            let text = format!("{} passes again", settings.name);
            self.say(Code::ProbePasses, text, out);
        }
    }

    /// Makes the checks that are due. The address of the clients is used once it is up.
    pub(super) fn step_probes(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        let at_vip = held.vip == VipStage::Held;
        for (place, probe) in held.probes.iter_mut().enumerate() {
            if probe.at.is_some_and(|at| now.reached(at)) {
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
        for probe in &mut held.probes {
            probe.at = Some(now);
            probe.passes = trusted.then_some(true);
        }
        held.probed = trusted || held.probes.is_empty();
    }

    /// What follows from probes that stay bad: a restart, or only an alarm. True if the run is stopped.
    pub(super) fn heed_probes(&mut self, now: Time, out: &mut Vec<Action>) -> bool {
        let Some(held) = &self.held else { return false };
        let sick: Vec<&ProbeFailure> = held
            .probes
            .iter()
            .filter(|probe| probe.passes == Some(false))
            .filter_map(|probe| probe.failure.as_ref())
            .collect();
        let Some(first) = sick.first() else { return false };
        let moves_along = sick.iter().any(|failure| failure.kind == FailureKind::Shared);
        if moves_along {
            let cause = sick
                .iter()
                .find(|failure| failure.kind == FailureKind::Shared)
                .unwrap_or(first);
            let text = format!(
                "{}: the same on every host, so nothing is restarted or moved until it is mended",
                cause.text
            );
            self.say(Code::ProbeFaultShared, text, out);
            return false;
        }
        let text = format!("{}: stopping, to start again here", first.text);
        match self.settings.on_failure {
            OnFailure::Notify | OnFailure::Recover if self.paused => {
                let text = format!("{}: on pause, so nothing is done", first.text);
                self.say(Code::ProbeFaultOnPause, text, out);
                false
            }
            OnFailure::Notify => {
                let text = format!("{}: on_failure is notify, so nothing is done", first.text);
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
    pub(in crate::core) fn probe_failure(&self) -> Option<&ProbeFailure> {
        let held = self.held.as_ref()?;
        let of = |verdict: bool| {
            held.probes
                .iter()
                .filter(move |probe| (probe.passes == Some(false)) == verdict)
                .find_map(|probe| probe.failure.as_ref())
        };
        of(true).or_else(|| of(false))
    }

    /// Whether the run's last trouble is one that every other host would have too.
    pub(super) fn trouble_is_shared(&self) -> bool {
        self.probe_failure()
            .is_some_and(|failure| failure.kind == FailureKind::Shared)
    }

    /// Whether any probe has failed for good, while the run goes on.
    pub(in crate::core) fn is_sick(&self) -> bool {
        let probes = self
            .held
            .as_ref()
            .filter(|held| matches!(held.stage, Stage::Checking | Stage::Active));
        probes.is_some_and(|held| held.probes.iter().any(|probe| probe.passes == Some(false)))
    }
}
