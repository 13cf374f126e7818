//! A certificate that has run out. Where each host has one of its own, another host's may be good: what a trial start saw there
//! is published, and the service moves to it. Else it is the same everywhere, and a move would help nobody.

use super::{Group, OnFailure};
use crate::event::{Action, Blame, FailureKind, ProbeFailure};
use crate::text;
use crate::time::Time;

impl Group {
    /// The probes that found one out of date, for as often as they may fail. Until a run serves they have no verdict yet, and there
    /// is nothing to wait for.
    fn out_of_date(&self) -> Option<&ProbeFailure> {
        self.deciding()
            .filter(|(settings, probe)| probe.is_spent(settings))
            .filter_map(|(_, probe)| probe.failure.as_ref())
            .find(|failure| failure.kind == FailureKind::Certificate)
    }

    /// Moves it to the host whose own certificate is good. That costs one move for each such fault, and no restart in place: here
    /// the next run would show the same. True if the run is stopped.
    pub(super) fn heed_certificate(&mut self, now: Time, out: &mut Vec<Action>) -> bool {
        let acts = self.settings.on_failure == OnFailure::Recover && !self.paused;
        let (Some(node), Some(failure)) = (self.cure(), self.out_of_date()) else {
            return false;
        };
        if !acts {
            return false;
        }
        let text = text::probes::certificate_moves(&failure.text, node);
        self.trial.doubt();
        self.failed_by(now, text, Blame::Certificate, out);
        true
    }

    /// The host whose own certificate is good, unless the group came here for the same fault.
    fn cure(&self) -> Option<&str> {
        let certified = self.certified.as_deref()?;
        (!self.known_faults.contains(&self.fault())).then_some(certified)
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
