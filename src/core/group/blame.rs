//! A container that did not start: whose fault that is, and whether it counts against the restarts.

use std::time::Duration;

use super::{Context, Departure, Group, ServiceState, StartCause};
use crate::epoch::Run;
use crate::event::{Action, Blame, NotStarted};
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// How long a group waits for its engine before another host takes it; an update of its package takes 7 s.
const ENGINE_PATIENCE: Duration = Duration::from_secs(15);
/// Between two tries on an engine that answers and runs nothing.
const ENGINE_PAUSE: Duration = Duration::from_secs(2);
/// How long nobody gives it back to a host whose engine started nothing.
const ENGINE_SHUN: Duration = Duration::from_secs(60);

/// The starts of the epoch that is held.
#[derive(Clone, Debug, Default)]
pub(super) struct Starts {
    /// For the failure of the run under way.
    blame: Blame,
    /// That run was begun at the price of a restart.
    is_charged: bool,
    /// Since when the engine keeps the group from starting.
    engine_since: Option<Time>,
    /// It was handed over by a node that could run it, and has not served here since.
    is_handed_over: bool,
    /// It was started in place since then.
    has_retried: bool,
}

/// How a holder gives a group up that it can't start.
pub(super) struct GivenUp {
    /// For the record. Versions without causes in it go by the first word.
    pub(super) reason: String,
    pub(super) text: String,
    pub(super) departure: Departure,
    /// How long nobody gives it back.
    pub(super) shun: Duration,
    /// Who shall take it, where not every standby would fare better.
    pub(super) successor: Option<String>,
}

impl Starts {
    /// The first start of an epoch.
    pub(super) fn begin(taking: StartCause) -> Self {
        Self {
            is_handed_over: taking == StartCause::Switchover,
            ..Self::default()
        }
    }

    pub(super) fn served(&mut self) {
        self.is_handed_over = false;
    }

    /// Whether it is handed on without a further try: who had it until a moment ago could run it.
    pub(super) fn is_given_back(&self) -> bool {
        self.is_handed_over && self.has_retried
    }

    /// Whether the one try in place is still to come, at once.
    pub(super) fn is_first_retry(&self) -> bool {
        self.is_handed_over && !self.has_retried
    }

    fn engine_patience(&self) -> Duration {
        match self.is_handed_over {
            true => ENGINE_PAUSE,
            false => ENGINE_PATIENCE,
        }
    }

    pub(super) fn blamed(&self) -> Blame {
        self.blame
    }

    pub(super) fn blame(&mut self, blame: Blame) {
        self.blame = blame;
        if blame != Blame::Engine {
            self.engine_since = None;
        }
    }

    pub(super) fn charged(&mut self) {
        (self.is_charged, self.has_retried) = (true, true);
    }

    /// The restart that led to this run has tried nothing: true if it is given back.
    fn uncharged(&mut self) -> bool {
        let was = std::mem::take(&mut self.is_charged);
        self.has_retried &= !was;
        was
    }

    /// A container stands at its gate: the engine does its work.
    pub(super) fn did(&mut self) {
        self.engine_since = None;
        self.is_charged = false;
    }

    pub(super) fn wake(&self) -> Option<Time> {
        self.engine_since.map(|since| since.plus(self.engine_patience()))
    }

    fn engine_is_over(&mut self, now: Time) -> bool {
        let since = *self.engine_since.get_or_insert(now);
        now.since(since) >= self.engine_patience()
    }
}

impl Group {
    /// It did not start, by the engine's word or its tether's.
    pub(crate) fn start_failed(
        &mut self,
        now: Time,
        service: usize,
        run: Run,
        failure: &NotStarted,
        out: &mut Vec<Action>,
    ) {
        let held = self.held.as_ref().filter(|held| held.run == run);
        let at = held.and_then(|held| held.services.get(service));
        if at.is_some_and(|at| at.state == ServiceState::Starting) {
            let text = text::start::did_not_start(&self.settings.services[service].name, &failure.why);
            self.blamed(now, text, failure.blame, out);
        }
    }

    fn blamed(&mut self, now: Time, text: String, blame: Blame, out: &mut Vec<Action>) {
        self.failed_by(now, text, blame, out);
        if blame == Blame::Engine && self.starts.uncharged() {
            self.restarts.pop();
        }
    }

    /// Its engine does not answer, which is no verdict on the service: it waits, and moves only if that lasts.
    pub(super) fn wait_for_engine(&mut self, place: usize, context: Context, out: &mut Vec<Action>) {
        let now = context.now;
        let name = &self.settings.services[place].name;
        if self.starts.engine_is_over(now) && self.why_it_stays(context).is_none() {
            let text = text::start::engine_silent(name);
            return self.blamed(now, text, Blame::Engine, out);
        }
        let text = text::start::engine_awaited(name);
        self.say(Code::RecoveryDelayed, text, out);
    }

    /// A run that the engine did not start is over: again soon, without counting, or on another host once that lasts.
    pub(super) fn step_blamed_on_engine(&mut self, context: Context, out: &mut Vec<Action>) {
        let is_over = self.starts.engine_is_over(context.now);
        if is_over && self.why_it_stays(context).is_none() {
            return self.move_on(context.now, out);
        }
        if let Some(held) = &mut self.held {
            held.not_before = Some(context.now.plus(ENGINE_PAUSE));
        }
    }

    pub(super) fn given_up(&self) -> GivenUp {
        let (window, tries) = (self.settings.restart_window, self.restarts.len() + 1);
        let of_service = |reason, text| GivenUp {
            reason,
            text,
            departure: Departure::Fault(self.trouble.clone()),
            shun: window,
            successor: None,
        };
        match self.starts.blame {
            Blame::Unknown => of_service(text::start::failed(tries), text::start::failed_within(tries, window)),
            Blame::Lasting => of_service(text::start::LASTING.to_owned(), text::start::LASTING_HERE.to_owned()),
            Blame::Engine => GivenUp {
                reason: text::start::ENGINE.to_owned(),
                text: text::start::engine_gave_up(self.starts.engine_patience()),
                // It follows the group nowhere.
                departure: Departure::Fault(None),
                shun: ENGINE_SHUN,
                successor: None,
            },
            Blame::Certificate => GivenUp {
                successor: self.certified.clone(),
                ..of_service(
                    text::probes::CERTIFICATE.to_owned(),
                    text::probes::CERTIFICATE_HERE.to_owned(),
                )
            },
        }
    }
}
