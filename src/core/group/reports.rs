//! What tethers and engine tell of the containers, and what of it counts.

use super::{AfterStop, Group, ServiceState, Stage, StartCause, StopMode};
use crate::epoch::Run;
use crate::event::{Action, Outside, Trace};
use crate::protocol::FaultId;
use crate::protocol::bounds::is_damage;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

impl Group {
    /// A tether stands at its gate or reports again.
    pub(crate) fn hello(
        &mut self,
        now: Time,
        service: usize,
        run: Run,
        running: bool,
        connection: u64,
        out: &mut Vec<Action>,
    ) {
        let of = self.key(service);
        if running
            && let Some(reported) = self.reported.get_mut(service)
            && reported.is_none_or(|(known, _)| known != run)
        {
            *reported = Some((run, connection));
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
                at.tether = Some(connection);
                self.starts.did();
                out.push(Action::Admit { of, connection });
            }
            ServiceState::Unknown | ServiceState::Up if running => {
                at.enter(ServiceState::Up, now);
                at.tether.get_or_insert(connection);
            }
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

    /// A tether met a claim of a later epoch. No other node would fare better, and none may lift the record by itself.
    pub(crate) fn claim_above(
        &mut self,
        now: Time,
        service: usize,
        run: Run,
        epoch: u64,
        connection: u64,
        out: &mut Vec<Action>,
    ) {
        let of = self.key(service);
        out.push(Action::Refuse { of, connection });
        if is_damage(epoch) {
            let ours = self.held.as_ref().is_some_and(|held| held.run == run);
            if ours {
                self.failed(now, text::stuck::claim_damaged(epoch), out);
            }
            return;
        }
        self.claim = self.claim.max(Some(epoch));
        let goes_on = |after: &AfterStop| matches!(after, AfterStop::Restart | AfterStop::RanOut);
        let ours = self
            .held
            .as_ref()
            .is_some_and(|held| held.run == run && goes_on(&held.after));
        if ours && epoch > run.epoch {
            let text = text::stuck::claimed(&self.settings.name, epoch, run.epoch);
            self.stop(now, StopMode::Drain, AfterStop::Claimed, text, Code::ClaimAbove, out);
        }
    }

    /// The proof of stop by pidfd: of the process that was let in, and of no other that says it is of this run.
    pub(crate) fn gone(&mut self, now: Time, service: usize, run: Run, connection: u64) {
        if let Some(reported) = self.reported.get_mut(service)
            && *reported == Some((run, connection))
        {
            *reported = None;
        }
        let Some(held) = self.held.as_mut().filter(|held| held.run == run) else {
            return;
        };
        let Some(at) = held.services.get_mut(service) else {
            return;
        };
        let is_proof = match at.state {
            // Nobody was let in: whoever it was, the application never ran.
            ServiceState::Starting => true,
            ServiceState::Up | ServiceState::Unknown => at.tether == Some(connection),
            ServiceState::Idle | ServiceState::Gone => false,
        };
        if is_proof {
            at.enter(ServiceState::Gone, now);
        }
    }

    /// The engine ends or freezes the container, on whose order it does not say. Ours come within a stop; the news may come after
    /// the end.
    pub(crate) fn signalled(
        &mut self,
        now: Time,
        service: usize,
        run: Option<Run>,
        what: Outside,
        out: &mut Vec<Action>,
    ) {
        let Some(settings) = self.settings.services.get(service) else {
            return;
        };
        let Some(held) = &self.held else { return };
        if what == Outside::Pauses {
            if !held.latched && held.is_of(run) {
                let text = text::start::paused_from_outside(&settings.name);
                self.mention(now, Code::PausedFromOutside, text, out);
            }
            return;
        }
        let ended = self.trouble == Some(FaultId::ServiceEnded(settings.name.clone()));
        let goes_on = !held.latched || (ended && held.after == AfterStop::Restart && !held.anew);
        // The next run may have begun by then.
        let is_before = |run: Run| run.epoch == held.run.epoch && run.n + 1 == held.run.n;
        let of_before = ended && held.start_cause == StartCause::Recovery && run.is_none_or(is_before);
        if goes_on && (held.is_of(run) || of_before) {
            let text = text::start::told_to_end(&settings.name, &self.settings.name);
            self.mention(now, Code::EndedFromOutside, text, out);
        }
    }

    /// The connection that reported this run of a service, before anything was decided about it.
    pub(super) fn reporter(&self, service: usize, run: Run) -> Option<u64> {
        let (reported, connection) = (*self.reported.get(service)?)?;
        (reported == run).then_some(connection)
    }

    /// The second witness: counts only for a container whose tether never reported to this sidecar. Where it did, the
    /// pidfd alone is the proof.
    pub(crate) fn inspected(&mut self, now: Time, service: usize, run: Run, trace: Trace) {
        let held = self.held.as_mut().filter(|held| held.run == run);
        let Some(at) = held.and_then(|held| held.services.get_mut(service)) else {
            return;
        };
        if at.state != ServiceState::Unknown {
            return;
        }
        match trace {
            Trace::Nothing | Trace::NeverStarted => at.enter(ServiceState::Gone, now),
            Trace::Left { what: doubt } | Trace::Hidden { why: doubt } => at.doubt = Some(doubt),
        }
    }
}
