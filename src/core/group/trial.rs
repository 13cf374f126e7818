//! A trial start on a standby: what would keep a start from its gate here is found out before anybody hands over to this
//! node. It starts no service, and mounts no protected storage.

use std::time::Duration;

use super::Group;
use crate::event::{Action, FailureKind, ProbeFailure};
use crate::group::made::Made;
use crate::time::Time;

/// After one that found a fault, or that could not be made.
const AGAIN: Duration = Duration::from_secs(60);
/// What a trial saw is believed for so long at most; the next is due before, in any file.
const GOOD_MAX: Duration = Duration::from_secs(14 * 86_400);

/// Where it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Trial {
    /// When the next is due; none before the first.
    at: Option<Time>,
    /// What the last one was for; none where the engine has come back since.
    last: Option<Vec<Made>>,
    /// What the one under way is for.
    under_way: Option<Vec<Made>>,
    /// What the last one found.
    fault: Option<String>,
    /// Until when the certificates are good that the last one has seen.
    good_until: Option<Time>,
    /// The run that is over showed a fault which a trial would find: it is tried as soon as that may be.
    doubted: bool,
    /// The vacancy, by the record's mod revision, for which it was repeated at once.
    repeated: Option<i64>,
}

impl Trial {
    pub(super) fn wakes(&self) -> Option<Time> {
        self.at
    }

    pub(super) fn doubt(&mut self) {
        self.doubted = true;
    }

    pub(super) fn good_until(&self) -> Option<Time> {
        self.good_until
    }

    /// Why a run could not start here.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.clone()
    }
}

impl Group {
    /// Tries it when it is due: for containers that were not tried yet, after the engine was away, and now and then. `could`:
    /// whether anything is known already that keeps it from starting. `vacant`: the record that anybody may take over now;
    /// then what failed is tried once more at once.
    pub(crate) fn step_trial(&mut self, now: Time, could: bool, vacant: Option<i64>, out: &mut Vec<Action>) {
        let Some(every) = self.settings.start_trial else {
            return;
        };
        let made = self.containers.all_made();
        if self.held.is_some() {
            // Its run shows it.
            let at = Some(now.plus(every));
            let under_way = self.trial.under_way.take();
            let doubted = self.trial.doubted;
            self.trial = Trial {
                at,
                last: made.filter(|_| !doubted),
                under_way,
                doubted,
                ..Trial::default()
            };
            return;
        }
        let Some(made) = made.filter(|_| could && self.trial.under_way.is_none()) else {
            return;
        };
        // Who may have to start it for good does that at once.
        let is_new = vacant.is_none() && self.trial.last.as_ref() != Some(&made);
        let again = self.trial.fault.is_some() && vacant.is_some() && vacant != self.trial.repeated;
        self.trial.repeated = vacant.filter(|_| again || self.trial.repeated == vacant);
        if is_new || again || self.trial.at.is_some_and(|at| now.reached(at)) {
            self.trial.at = Some(now.plus(every));
            self.trial.last = Some(made.clone());
            self.trial.under_way = Some(made.clone());
            self.trial.doubted = false;
            let group = self.settings.name.clone();
            out.push(Action::TryStart { group, made });
        }
    }

    /// What a trial found. One that could not be made says nothing, and neither does one of containers that were made anew since.
    /// Once the certificates that it showed are good no more it is tried again.
    pub(crate) fn start_tried(&mut self, now: Time, made: &[Made], result: Result<Option<Duration>, ProbeFailure>) {
        if self.trial.under_way.as_deref() == Some(made) {
            self.trial.under_way = None;
        }
        if self.held.is_some() || self.containers.all_made().as_deref() != Some(made) {
            return;
        }
        match result {
            Ok(certificates) => {
                self.trial.fault = None;
                self.trial.good_until = certificates.map(|good| now.plus(good.min(GOOD_MAX)));
                let until = self.trial.good_until;
                self.trial.at = [self.trial.at, until].into_iter().flatten().reduce(Time::earlier);
            }
            Err(failure) => {
                self.trial.at = Some(now.plus(AGAIN));
                self.trial.good_until = self.trial.good_until.filter(|_| failure.kind == FailureKind::Unasked);
                if failure.kind != FailureKind::Unasked {
                    self.trial.fault = Some(failure.text);
                }
            }
        }
    }

    /// The engine is back, maybe another one.
    pub(crate) fn engine_is_back(&mut self) {
        self.trial.last = None;
    }
}
