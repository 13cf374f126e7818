//! The way down: a run is latched, its containers stop, its addresses go, and what follows from it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::address::VIP_RETRY;
use super::left::Sequel;
use super::{
    AfterStop, Context, Departure, Group, Holding, OnFailure, ServiceRun, ServiceState, Stage, StartCause, StayReason,
    StopMode, VipStage,
};
use crate::epoch::Run;
use crate::event::{Action, Blame, Order, PageOrder, ServiceKey};
use crate::protocol::records::SavedRun;
use crate::protocol::sizing::Deadlines;
use crate::protocol::{FaultId, ReleaseCause};
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// Between two second ways of ending a container that does not end.
const STOP_RETRY: Duration = Duration::from_secs(2);
/// Between two tries once the budget is spent and no standby is ready.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// Between two tries of what fails in the same way until somebody mends it.
const LASTING_PAUSE: Duration = Duration::from_secs(10);
/// How long a node that ran out of its lease lets others go first.
const COOL_DOWN: Duration = Duration::from_secs(30);

impl Group {
    /// Stops a run that an earlier sidecar started and that may not be adopted.
    pub(crate) fn disown(
        &mut self,
        now: Time,
        run: Run,
        lease: i64,
        why: &str,
        after: AfterStop,
        out: &mut Vec<Action>,
    ) {
        let over = Deadlines {
            soft: now,
            hard: now,
            end: now,
            coarse: false,
        };
        let mut held = Holding::new(run, lease, over, now, &self.settings);
        held.inherited = true;
        // Its addresses may be here too, and after a hold the kernel would keep them for long.
        if self.settings.vips > 0 {
            held.vip = VipStage::Free;
        }
        for (place, service) in held.services.iter_mut().enumerate() {
            service.state = ServiceState::Unknown;
            service.tether = self.reporter(place, run);
        }
        self.held = Some(held);
        self.stop(
            now,
            StopMode::Fence,
            after,
            text::stop::disowned(run, why),
            Code::RunDisowned,
            out,
        );
    }

    /// The same for a run whose lease is no longer this node's.
    pub(crate) fn disown_lost(&mut self, now: Time, saved: &SavedRun, lease: i64, why: &str, out: &mut Vec<Action>) {
        self.lost = (!saved.latched).then_some(saved.epoch);
        let run = Run {
            epoch: saved.epoch,
            n: saved.n,
        };
        self.disown(now, run, lease, why, AfterStop::Lost, out);
    }

    /// The node has lost its place in the cluster: what it holds stops, and is released without a beat.
    pub(crate) fn lose_place(&mut self, now: Time, why: &str, out: &mut Vec<Action>) {
        let unasked = |held: &&Holding| {
            matches!(
                held.after,
                AfterStop::Restart | AfterStop::RanOut | AfterStop::Interrupted
            )
        };
        if let Some(held) = self.held.as_ref().filter(unasked) {
            self.lost = Some(held.run.epoch);
        }
        let text = text::stop::place_lost(why);
        self.stop(now, StopMode::Fence, AfterStop::Lost, text, Code::PlaceLost, out);
    }

    /// It goes back to a node that is preferred and has been ready for so long.
    pub(crate) fn go_back(&mut self, now: Time, node: String, quiet: Duration, out: &mut Vec<Action>) {
        let reason = text::switchover::failback::reason(&node, quiet);
        let after = AfterStop::Release {
            cause: ReleaseCause::Failback,
            reason: reason.clone(),
            successor: Some(node),
        };
        if let Some(held) = &mut self.held {
            held.departure = Departure::Failback(quiet);
        }
        let text = text::stop::here_first(&reason);
        self.stop(now, StopMode::Drain, after, text, Code::SwitchoverStarted, out);
    }

    /// Its record is released, or is no longer this node's: nothing is held any more.
    pub(crate) fn lay_down(&mut self) {
        self.held = None;
    }

    /// Stops a run of an earlier sidecar, or goes on with a stop that it had begun: each container keeps the time that its
    /// page gives it.
    #[expect(
        clippy::too_many_arguments,
        reason = "all that is known of the run, and what follows its stop"
    )]
    pub(crate) fn resume(
        &mut self,
        now: Time,
        run: Run,
        lease: i64,
        deadlines: Deadlines,
        pages: &BTreeMap<ServiceKey, PageOrder>,
        sequel: Sequel,
        out: &mut Vec<Action>,
    ) {
        let mut held = Holding::new(run, lease, deadlines, now, &self.settings);
        // Holding until the containers are gone; what the kernel was given for it lasts.
        if self.settings.vips > 0 {
            held.vip = VipStage::Free;
        }
        for (place, service) in held.services.iter_mut().enumerate() {
            service.state = ServiceState::Unknown;
            service.tether = self.reporter(place, run);
            let page = pages.get(&self.key(place)).filter(|page| page.run == run);
            service.stop_by = match page.map(|page| (page.order, page)) {
                // Its turn to stop has not come yet, unless its tether has met the deadline by itself.
                Some((Order::Open, page)) => now.reached(page.soft).then_some(page.hard),
                Some((Order::Stop, page)) => Some(page.hard),
                Some((Order::Kill | Order::Closed, _)) | None => Some(now),
            };
            service.retry_at = service.stop_by.map(|_| now);
        }
        held.anew = sequel.anew;
        self.held = Some(held);
        if sequel.anew {
            self.failure.clone_from(&sequel.text);
        }
        self.stop(now, StopMode::Drain, sequel.after, sequel.text, sequel.code, out);
    }

    /// Latches the run and stops it. A stop under way only gets faster or another sequel; it never ends.
    pub(crate) fn stop(
        &mut self,
        now: Time,
        way: StopMode,
        after: AfterStop,
        why: String,
        code: Code,
        out: &mut Vec<Action>,
    ) {
        let Some(held) = &mut self.held else { return };
        let fresh = !held.latched;
        held.latched = true;
        held.after = after;
        if way == StopMode::Fence {
            held.way = way;
        } else if fresh {
            held.way = StopMode::Drain;
        }
        match held.stage {
            Stage::Stopping | Stage::Withdrawing => {}
            Stage::Stopped if held.after == AfterStop::Restart => {}
            Stage::Stopped => held.enter(Stage::Withdrawing, now),
            Stage::Adopting | Stage::Starting | Stage::Checking | Stage::Active => held.enter(Stage::Stopping, now),
        }
        for service in &mut held.services {
            if matches!(service.state, ServiceState::Idle | ServiceState::Starting) {
                service.state = ServiceState::Gone;
            }
        }
        let drop_first = held.way == StopMode::Fence && !matches!(held.vip, VipStage::Off | VipStage::Dropping { .. });
        if drop_first {
            held.vip = VipStage::Dropping {
                retry_at: now.plus(VIP_RETRY),
            };
            out.push(Action::VipDrop {
                group: self.settings.name.clone(),
            });
        }
        self.say(code, why, out);
    }

    /// Stops the run, to start the next one with what the file and the image say now.
    pub(crate) fn start_anew(&mut self, now: Time, text: String, out: &mut Vec<Action>) {
        if let Some(held) = &mut self.held {
            held.anew = true;
        }
        self.drift = None;
        self.stop(now, StopMode::Drain, AfterStop::Restart, text, Code::ApplyStarted, out);
    }

    /// The run failed by itself: stop what is left of it and try again in place.
    pub(super) fn failed(&mut self, now: Time, why: String, out: &mut Vec<Action>) {
        self.failed_by(now, why, Blame::Unknown, out);
    }

    pub(super) fn failed_by(&mut self, now: Time, why: String, blame: Blame, out: &mut Vec<Action>) {
        self.trouble = Some(self.fault());
        self.failure.clone_from(&why);
        self.starts.blame(blame);
        let never_up = |held: &&Holding| matches!(held.stage, Stage::Adopting | Stage::Starting | Stage::Checking);
        let start_cause = self.held.as_ref().filter(never_up).map(|held| held.start_cause);
        if let Some(held) = &self.held {
            self.output.failed(held.run);
        }
        let code = start_cause.map_or(Code::ServiceFailed, StartCause::failed);
        self.stop(now, StopMode::Drain, AfterStop::Restart, why, code, out);
    }

    /// First after every wake-up: what the time alone demands.
    pub(crate) fn check_time(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        if !now.reached(held.deadlines.soft) || held.soft_passed {
            return;
        }
        held.soft_passed = true;
        // Nothing runs, and the operator must go on reading why.
        if held.after == AfterStop::Claimed && held.stage == Stage::Stopped {
            return;
        }
        self.cool_until = Some(now.plus(COOL_DOWN));
        // What is stuck is latched and told already.
        if held.stuck.is_some() {
            return;
        }
        let after = if held.after == AfterStop::Restart {
            AfterStop::RanOut
        } else {
            held.after.clone()
        };
        let why = text::stop::lease_runs_out(held.run.epoch);
        self.stop(now, StopMode::Fence, after, why, Code::LeaseRanOut, out);
    }

    pub(super) fn step_stopping(&mut self, now: Time, out: &mut Vec<Action>) {
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
                // A tether that is frozen kills nothing: then this is the only kill before the end of the lease.
                let hard = Some(held.deadlines.hard).filter(|hard| !now.reached(*hard));
                let retry = now.plus(STOP_RETRY);
                service.retry_at = Some(hard.map_or(retry, |hard| retry.earlier(hard)));
                if service.stop_by.is_some_and(|by| now.reached(by)) || now.reached(held.deadlines.hard) {
                    out.push(Action::Kill { of: of.clone() });
                }
                out.push(Action::Inspect { of, run: held.run });
            }
            if held.way == StopMode::Drain {
                break;
            }
        }
        if !held.proved_ended() {
            if let Some(text) = self.overdue(now) {
                self.say(Code::StopUnproved, text, out);
            }
            return;
        }
        // A restart keeps the addresses: clients meet a closed port, which answers, rather than silence.
        if held.after == AfterStop::Restart {
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

    /// The last moment at which a watchdog that then `strikes` may be fed: it must do so before the lease ends, or once a
    /// stop is not proved when it should be. None while nothing can run.
    pub(crate) fn feed_deadline(&self, strikes: Duration) -> Option<Time> {
        let held = self.held.as_ref()?;
        let may_run = |service: &&ServiceRun| matches!(service.state, ServiceState::Up | ServiceState::Unknown);
        let of_services = held.services.iter().filter(may_run).map(|service| {
            let end = held.deadlines.end.minus(strikes);
            service.due(held.deadlines.hard).map_or(end, |due| end.earlier(due))
        });
        // What is still mounted is written by the kernel without any process.
        let of_mounts = held
            .unmount_due()
            .map(|due| due.earlier(held.deadlines.end.minus(strikes)));
        of_services.chain(of_mounts).reduce(Time::earlier)
    }

    /// What keeps the stop from being proved, once it should have been. Beats go on meanwhile and move the end of the
    /// lease: what counts is when the kill was due.
    fn overdue(&self, now: Time) -> Option<String> {
        let held = self.held.as_ref().filter(|held| held.stuck.is_none())?;
        let mut of_run = held.services.iter().zip(&self.settings.services);
        let (service, settings) = of_run.find(|(service, _)| {
            let due = service.due(held.deadlines.hard);
            service.state != ServiceState::Gone && due.is_some_and(|due| now.reached(due))
        })?;
        let why = match &service.doubt {
            Some(doubt) => text::stop::doubt(&settings.name, doubt),
            None => String::new(),
        };
        Some(text::stop::not_proved(held.run, &why))
    }

    pub(super) fn step_withdrawing(&mut self, now: Time, out: &mut Vec<Action>) {
        self.step_unmount(now, out);
        let Some(held) = &mut self.held else { return };
        match held.vip {
            VipStage::Off if held.proved_stopped() => held.enter(Stage::Stopped, now),
            VipStage::Off => {}
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
    pub(super) fn step_stopped(&mut self, context: Context, out: &mut Vec<Action>) {
        let now = context.now;
        let Some(held) = &mut self.held else { return };
        if held.after != AfterStop::Restart || context.frozen || now.reached(held.deadlines.soft) {
            return;
        }
        // What was stopped only to be started anew is: on pause nothing may stay down for it.
        if context.paused && !held.anew {
            self.say(Code::RecoveryPaused, text::start::STAYS_DOWN_ON_PAUSE.to_owned(), out);
            return;
        }
        // What an operator wants is no failure: it neither waits nor counts.
        if let Some(at) = held.not_before.or(held.anew.then_some(now)) {
            if now.reached(at) {
                let run = Run {
                    epoch: held.run.epoch,
                    n: held.run.n + 1,
                };
                self.again(now, run, out);
            }
            return;
        }
        let window = self.settings.restart_window;
        self.restarts.retain(|at| now.since(*at) < window);
        let lasting = match self.starts.blamed() {
            Blame::Engine => return self.step_blamed_on_engine(context, out),
            Blame::Lasting => true,
            Blame::Unknown | Blame::Certificate => false,
        };
        let at_once = lasting || self.starts.blamed() == Blame::Certificate;
        let most = usize::try_from(self.settings.restarts).unwrap_or(usize::MAX);
        // What failed here before the hand-over says nothing of the run that was handed over.
        let over = self.restarts.len() >= most && (most == 0 || !self.starts.is_first_retry());
        let spent = at_once || over || self.starts.is_given_back();
        let stays = self.why_it_stays(context);
        if spent && stays.is_none() {
            return self.move_on(now, out);
        }
        let pause = match self.restarts.len() {
            _ if lasting => LASTING_PAUSE,
            _ if self.starts.is_first_retry() => Duration::ZERO,
            0 => Duration::ZERO,
            count => Duration::from_secs(1 << count.min(5)).min(BACK_OFF_MAX),
        };
        if let Some(held) = &mut self.held {
            held.not_before = Some(now.plus(pause));
        }
        self.restarts.push(now);
        self.starts.charged();
        if let Some(why) = stays.filter(|_| spent) {
            let text = match lasting {
                true => text::start::same_again(&self.failure, why, pause),
                false => text::start::keeps_failing(why, pause),
            };
            let text = text::start::with_output(&text, self.output.text());
            self.say(Code::RecoveryDelayed, text, out);
        }
        if pause.is_zero() {
            self.step_stopped(context, out);
            self.step_starting(context, out);
        }
    }

    /// Why the group is not handed over although its restarts are spent.
    pub(super) fn why_it_stays(&self, context: Context) -> Option<StayReason> {
        if self.trouble_is_shared() || self.output.is_shared() {
            Some(StayReason::SharedFault)
        } else if self.settings.on_failure == OnFailure::Notify {
            Some(StayReason::Notify)
        } else if !context.other_ready {
            Some(StayReason::NoStandby)
        } else if self.moved_for_this() {
            Some(StayReason::CameForThis)
        } else {
            None
        }
    }

    /// A fault that moves along is no reason to move again.
    fn moved_for_this(&self) -> bool {
        let known = |trouble: &FaultId| self.known_faults.contains(trouble);
        self.trouble.as_ref().is_some_and(known)
    }

    /// What is wrong with the run under way, without what differs from node to node.
    pub(super) fn fault(&self) -> FaultId {
        let of_run = self.held.iter().flat_map(|held| &held.services);
        let mut services = of_run.zip(&self.settings.services);
        let gone = services.find(|(service, _)| service.state == ServiceState::Gone);
        // One with a verdict rather than one that is only awaited.
        let bad = self
            .deciding()
            .filter(|(_, probe)| probe.failure.is_some())
            .min_by_key(|(_, probe)| probe.passes != Some(false));
        match (gone, bad) {
            (Some((_, service)), _) => FaultId::ServiceEnded(service.name.clone()),
            (None, Some((probe, _))) => FaultId::Probe(probe.name.clone()),
            (None, None) => FaultId::NotStarted,
        }
    }

    /// The restarts are spent: another host tries, and nobody gives it back to this one for a while.
    pub(super) fn move_on(&mut self, now: Time, out: &mut Vec<Action>) {
        let given_up = self.given_up();
        self.failing_until = Some(now.plus(given_up.shun));
        if let Some(held) = &mut self.held {
            held.after = AfterStop::Release {
                cause: ReleaseCause::Failed,
                reason: given_up.reason,
                successor: given_up.successor,
            };
            held.departure = given_up.departure;
            held.enter(Stage::Withdrawing, now);
        }
        let text = text::start::with_output(&given_up.text, self.output.text());
        self.say(Code::RecoveryGivenUp, text, out);
    }

    /// Starts a new run: the latch belonged to the old one. Addresses that are held stay.
    pub(super) fn again(&mut self, now: Time, run: Run, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        let mut fresh = Holding::new(run, held.lease, held.deadlines, now, &self.settings);
        fresh.vip = held.vip.clone();
        fresh.answered_since = held.answered_since;
        fresh.start_cause = if held.anew {
            StartCause::Apply
        } else {
            StartCause::Recovery
        };
        let code = fresh.start_cause.started();
        self.containers.wait_anew();
        self.drift = None;
        *held = fresh;
        if self.settings.vips > 0 && held.vip == VipStage::Off {
            held.vip = VipStage::Probing;
            out.push(Action::VipProbe {
                group: self.settings.name.clone(),
            });
        }
        self.say(code, text::start::again(run), out);
    }
}
