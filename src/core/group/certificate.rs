//! A certificate that has run out. Where each host has one of its own, another host's may be good: what a trial start saw there
//! is published, and the service moves to it. Else it is the same everywhere, and a move would help nobody.

use super::health::ProbeRun;
use super::{Group, OnFailure, ProbeSettings};
use crate::event::{Action, Blame, FailureKind, ProbeFailure};
use crate::protocol::FaultId;
use crate::text;
use crate::time::Time;

impl Group {
    /// The probe that found one out of date, for as often as it may fail. Until a run serves it has no verdict yet, and there is
    /// nothing to wait for.
    fn out_of_date(&self) -> Option<(&ProbeSettings, &ProbeFailure)> {
        self.certificate_probes()
            .find(|(settings, probe, _)| probe.is_spent(settings))
            .map(|(settings, _, failure)| (settings, failure))
    }

    /// Those whose last failure is a certificate, whatever has become of the containers since.
    fn certificate_probes(&self) -> impl Iterator<Item = (&ProbeSettings, &ProbeRun, &ProbeFailure)> {
        self.deciding().filter_map(|(settings, probe)| {
            let failure = probe.failure.as_ref()?;
            (failure.kind == FailureKind::Certificate).then_some((settings, probe, failure))
        })
    }

    /// Moves it to the host whose own certificate is good. That costs one move for each such fault, and no restart in place: here
    /// the next run would show the same. True if the run is stopped.
    pub(super) fn heed_certificate(&mut self, now: Time, out: &mut Vec<Action>) -> bool {
        let acts = self.settings.on_failure == OnFailure::Recover && !self.paused;
        let (Some(node), Some((probe, failure))) = (self.cure(), self.out_of_date()) else {
            return false;
        };
        if !acts {
            return false;
        }
        let text = text::probes::certificate_moves(&failure.text, node);
        let fault = FaultId::Probe(probe.name.clone());
        self.trial.doubt();
        self.failed_by(now, text, Blame::Certificate, out);
        self.trouble = Some(fault);
        true
    }

    /// The host whose own certificate is good, unless the group came here for the same fault.
    fn cure(&self) -> Option<&str> {
        let certified = self.certified.as_deref()?;
        let mut faults = self
            .certificate_probes()
            .map(|(probe, _, _)| FaultId::Probe(probe.name.clone()));
        (!faults.any(|fault| self.known_faults.contains(&fault))).then_some(certified)
    }

    /// Whether a fault of this kind would be as wrong on every other host, as far as it is known.
    pub(super) fn is_everywhere(&self, kind: FailureKind) -> bool {
        match kind {
            FailureKind::Shared => true,
            FailureKind::Certificate => self.cure().is_none(),
            FailureKind::Wrong | FailureKind::Silent | FailureKind::Unasked | FailureKind::Warning => false,
        }
    }

    /// Whether the certificates of this host are known to be good.
    pub(crate) fn has_good_certificates(&self, now: Time) -> bool {
        self.trial.good_until().is_some_and(|until| !now.reached(until))
    }
}
