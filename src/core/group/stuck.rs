//! When a stop counts as failed, and what becomes of the run then (rule 13 of docs/protocol.md).

use std::time::Duration;

use super::{AfterStop, Departure, Group, Holding, ServiceState, Stage, StopMode, UNMOUNT_PATIENCE};
use crate::event::Action;
use crate::host::stuck::OnStopFailure;
use crate::protocol::ReleaseCause;
use crate::protocol::sizing::{Deadlines, KILL_BUDGET};
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// How long after its kill a process may take to be gone while the lease lives: nobody else can take the group
/// meanwhile, and a host is not reset for an exit that takes a second. A reset at the end of the lease has no such time.
const PATIENCE: Duration = Duration::from_secs(5);

impl Group {
    /// When the stop under way counts as failed, unless it is proved before.
    pub(crate) fn stop_fails_at(&self) -> Option<Time> {
        self.kill_fails_at().or_else(|| self.unmount_fails_at())
    }

    /// The processes have ended, but what they had mounted is still there.
    fn unmount_fails_at(&self) -> Option<Time> {
        let held = self.held.as_ref().filter(|held| held.stuck.is_none())?;
        let since = held.unmounting_since()?;
        let patient = since.plus(UNMOUNT_PATIENCE);
        let Deadlines { hard, end, .. } = held.deadlines;
        Some(match self.settings.on_stop_failure {
            OnStopFailure::Reboot if held.inherited => patient,
            OnStopFailure::Reboot => patient.earlier(end),
            // As with a process: the mark must be there before the others may take the group.
            OnStopFailure::Hold if held.after == AfterStop::Lost => {
                let last = if since.reached(hard) { since } else { hard };
                patient.earlier(last.plus(held.deadlines.budget() / 2))
            }
            OnStopFailure::Hold => patient,
        })
    }

    fn kill_fails_at(&self) -> Option<Time> {
        let unproved = |held: &&Holding| held.stage == Stage::Stopping && held.stuck.is_none();
        let held = self.held.as_ref().filter(unproved)?;
        let left = held
            .services
            .iter()
            .filter(|service| service.state != ServiceState::Gone);
        let killed = left
            .filter_map(|service| service.stop_by)
            .map(|by| by.earlier(held.deadlines.hard))
            .reduce(Time::earlier)?;
        // A sidecar that goes on with the stop of an earlier one has asked nobody yet.
        let killed = if held.since.reached(killed) { held.since } else { killed };
        let patient = killed.plus(KILL_BUDGET + PATIENCE);
        Some(match self.settings.on_stop_failure {
            // Of a run that an earlier sidecar left, the end of the lease is not known here: only the kill is.
            OnStopFailure::Reboot if held.inherited => patient,
            OnStopFailure::Reboot => patient.earlier(held.deadlines.end),
            // No beat keeps the others waiting any more: the mark must be there before they may take the group.
            OnStopFailure::Hold if held.after == AfterStop::Lost => killed.plus(held.deadlines.budget() / 2),
            OnStopFailure::Hold => patient,
        })
    }

    /// From here the group is released once its stop is proved after all: it neither starts again nor moves. Whatever is
    /// left of it stops at once, and its addresses go, so that nobody meets them beside the next holder.
    pub(crate) fn stick(&mut self, now: Time, why: &str, me: &str, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        held.stuck = Some(why.to_owned());
        let after = match held.after.clone() {
            AfterStop::Restart | AfterStop::RanOut | AfterStop::Interrupted | AfterStop::Claimed => {
                AfterStop::Release {
                    cause: ReleaseCause::StuckEnded,
                    reason: text::stuck::proved_later(why),
                    successor: None,
                }
            }
            named @ (AfterStop::Release { .. } | AfterStop::Lost | AfterStop::Forget) => named,
        };
        let text = text::stuck::held_and_down(why, me);
        self.stop(now, StopMode::Fence, after, text, Code::Stuck, out);
    }

    /// Another group can't be stopped on this node: this one goes where somebody is ready for it.
    pub(crate) fn give_away(&mut self, now: Time, stuck: &str, me: &str, next: String, out: &mut Vec<Action>) {
        let text = text::stuck::handing_over(stuck, &next);
        let after = AfterStop::Release {
            cause: ReleaseCause::NeighbourStuck,
            reason: text::stuck::could_not_be_stopped_on(stuck, me),
            successor: Some(next),
        };
        if let Some(held) = &mut self.held {
            held.departure = Departure::Fault(None);
        }
        self.stop(now, StopMode::Drain, after, text, Code::GivenAway, out);
    }
}
