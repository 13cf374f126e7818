//! The second opinion on one group. Its holder probes it on its own host, where nothing of the network can be in the way;
//! a standby asks at the first virtual address, as a client would, and what the standbys find is weighed by the holder.

use std::collections::BTreeSet;
use std::time::Duration;

use super::health::{ProbeRun, ProbeSettings};
use super::{AfterStop, Context, Departure, Group, StayReason, StopMode};
use crate::epoch::Run;
use crate::event::{Action, Blame, ProbeFailure, ProbeKey, Vantage};
use crate::protocol::records::Opinion;
use crate::protocol::{FaultId, ReleaseCause};
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// A standby asks no probe more often than this.
const CALM: Duration = Duration::from_secs(5);
/// How long a client that was let in says that clients are.
const SERVED_LASTS: Duration = Duration::from_secs(60);
/// Every node reads it with every beat, so of a long sentence only the beginning is published.
const FAULT_MAX: usize = 120;

/// What the standbys' opinions are for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecondOpinion {
    /// Nobody asks.
    Off,
    /// Everybody is told.
    #[default]
    Tell,
    /// Where all of them fail for long, the group is handed over besides.
    Act,
}

/// What a standby makes of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStandby {
    /// It asks the service at the address of the clients.
    Asks,
    /// The probe tells whether this host's own way to the clients is there.
    ChecksWay,
    /// It means nothing there.
    Skips,
}

/// A standby's look at one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Asking {
    /// None: there is nobody to ask.
    of: Option<Run>,
    probes: Vec<AskedProbe>,
}

impl Asking {
    pub(super) fn runs(&mut self) -> impl Iterator<Item = &mut ProbeRun> {
        self.probes.iter_mut().map(|asked| &mut asked.run)
    }
}

#[derive(Clone, Debug, Default)]
struct AskedProbe {
    run: ProbeRun,
    passed_at: Option<Time>,
    vantage: Option<Vantage>,
    /// Since when it is taken to fail, and what it said then: a text that changes with each try would be news each time.
    fails: Option<(Time, String)>,
}

/// What all standbys say, as the holder weighs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// In a sentence.
    pub text: String,
    /// Not one of them reaches it.
    pub all: bool,
    /// Yet somebody answers for its address before each of them.
    pub answered: bool,
    /// The addresses from which they ask.
    pub from: BTreeSet<String>,
}

/// What the holder has made of it so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Weighed {
    told: Option<String>,
    /// Since when nobody reaches it.
    since: Option<Time>,
    /// Why it was not handed over, as told.
    stays: Option<StayReason>,
    /// Whom the service lets in meanwhile.
    clients: Clients,
}

/// The clients of a service that no standby reaches.
#[derive(Clone, Debug, Default)]
struct Clients {
    /// When to look again.
    look_at: Option<Time>,
    /// Those of the last look.
    known: Option<BTreeSet<(String, u16)>>,
    /// The addresses of nodes.
    nodes: BTreeSet<String>,
    /// When one was there that is no node and was not there before.
    served_at: Option<Time>,
}

impl ProbeSettings {
    fn calm(&self) -> Duration {
        self.interval.max(CALM)
    }
}

impl Group {
    /// Whether standbys ask at all: there must be an address, and something to ask there.
    pub(crate) fn is_asked(&self) -> bool {
        let settings = &self.settings;
        let asks = |probe: &ProbeSettings| probe.on_standby == OnStandby::Asks;
        settings.second_opinion != SecondOpinion::Off && settings.vips > 0 && settings.probes.iter().any(asks)
    }

    /// The run that others may ask, as it is published: it serves, and its own probes find nothing.
    pub(crate) fn serves(&self) -> Option<Run> {
        let held = self.held.as_ref().filter(|_| self.is_asked())?;
        (self.active() && !self.is_sick()).then_some(held.run)
    }

    /// On a standby: asks what is due of that run. None: there is nobody to ask.
    pub(crate) fn step_asking(&mut self, now: Time, of: Option<Run>, out: &mut Vec<Action>) {
        if self.asking.of != of {
            let mut asked = AskedProbe::default();
            asked.run.at = Some(now);
            self.asking = Asking {
                of,
                probes: vec![asked; self.settings.probes.len()],
            };
        }
        let Some(run) = of else { return };
        for (place, (asked, settings)) in self.asking.probes.iter_mut().zip(&self.settings.probes).enumerate() {
            let due = asked.run.at.is_some_and(|at| now.reached(at));
            if due && settings.on_standby != OnStandby::Skips {
                asked.run.at = None;
                let of = ProbeKey {
                    group: self.settings.name.clone(),
                    probe: place,
                };
                out.push(Action::AskHolder { of, run });
            }
        }
    }

    /// What came of one question. An answer that would be as wrong on every host is one: the service was reached, and its
    /// holder finds the same.
    pub(crate) fn holder_asked(
        &mut self,
        now: Time,
        run: Run,
        probe: usize,
        result: Result<(), ProbeFailure>,
        vantage: Option<Vantage>,
    ) {
        let pace = self.pace();
        let (Some(settings), Some(asked)) = (self.settings.probes.get(probe), self.asking.probes.get_mut(probe)) else {
            return;
        };
        if self.asking.of != Some(run) {
            return;
        }
        let result = result.or_else(|failure| {
            if failure.is_of_the_service() {
                Ok(())
            } else {
                Err(failure)
            }
        });
        if result.is_ok() {
            asked.passed_at = Some(now);
        }
        asked.vantage = vantage;
        asked.run.take(now, settings, result, false);
        // The way is looked at as often as anything is asked over it.
        let pause = match settings.on_standby {
            OnStandby::ChecksWay => settings.calm().min(pace),
            OnStandby::Asks | OnStandby::Skips => settings.calm(),
        };
        asked.run.at = Some(now.plus(pause));
        asked.fails = match (asked.run.passes, asked.fails.take()) {
            (Some(false), None) => asked.run.failure.as_ref().map(|failure| (now, brief(&failure.text))),
            (Some(false), known) => known,
            (Some(true) | None, _) => None,
        };
    }

    /// What this standby publishes. None while it does not know yet, or while its own way out is in doubt.
    pub(crate) fn opinion(&self) -> Option<Opinion> {
        let of = self.asking.of?;
        let probes = || self.settings.probes.iter().zip(&self.asking.probes);
        let on = |kind| probes().filter(move |(settings, _)| settings.on_standby == kind);
        let asked = || on(OnStandby::Asks).map(|(_, asked)| asked);
        let fails = asked().find_map(|asked| asked.fails.as_ref());
        // It must have passed after the fault was found: until then both may have the same cause.
        let clear = |way: &AskedProbe| {
            let after = fails.is_none_or(|(since, _)| way.passed_at.is_some_and(|at| at.awake() > since.awake()));
            way.run.passes == Some(true) && way.run.failure.is_none() && after
        };
        if !on(OnStandby::ChecksWay).all(|(_, way)| clear(way)) {
            return None;
        }
        let fault = match fails {
            Some((_, fault)) => fault.clone(),
            None if asked().all(|asked| asked.run.passes == Some(true)) => String::new(),
            None => return None,
        };
        let failing = asked().find(|asked| asked.fails.is_some());
        let vantage = failing.and_then(|asked| asked.vantage.clone()).unwrap_or_default();
        Some(Opinion {
            of,
            fault,
            answers: vantage.answers,
            from: vantage.from,
        })
    }

    /// The shortest time between two questions.
    fn pace(&self) -> Duration {
        let asks = self.settings.probes.iter();
        let asks = asks.filter(|probe| probe.on_standby == OnStandby::Asks);
        asks.map(ProbeSettings::calm).min().unwrap_or(CALM)
    }

    /// How long nobody must reach it before it is handed over: as many rounds again as the standbys took to be sure.
    fn patience(&self) -> Duration {
        let asks = self.settings.probes.iter();
        let asks = asks.filter(|probe| probe.on_standby == OnStandby::Asks);
        asks.map(|probe| probe.calm() * probe.fall).max().unwrap_or(CALM)
    }

    /// On the holder: tells what the standbys find, and acts upon it where the file says so.
    pub(crate) fn weigh(&mut self, context: Context, doubt: Option<Doubt>, out: &mut Vec<Action>) {
        let now = context.now;
        let Some(doubt) = doubt.filter(|_| self.serves().is_some()) else {
            let over = self.weighed.told.is_some() && self.serves().is_some();
            self.weighed = Weighed::default();
            if over {
                self.mention(now, Code::UnreachedOver, text::probes::REACHED_AGAIN.to_owned(), out);
            }
            return;
        };
        if self.weighed.told.as_ref() != Some(&doubt.text) {
            self.weighed.told = Some(doubt.text.clone());
            self.mention(now, Code::Unreached, doubt.text.clone(), out);
        }
        self.weighed.since = match doubt.all {
            true => self.weighed.since.or(Some(now)),
            false => None,
        };
        self.look_for_clients(now, &doubt, out);
        if self.hands_over_at().is_some_and(|at| now.reached(at)) {
            self.heed_doubt(context, &doubt, out);
        }
    }

    /// Without a word of etcd nobody knows what the standbys find now: nothing is told, and nothing follows from what they found.
    pub(crate) fn hears_nobody(&mut self) {
        self.weighed.since = None;
    }

    /// When it is handed over, if nobody reaches it until then.
    pub(crate) fn hands_over_at(&self) -> Option<Time> {
        let acts = self.settings.second_opinion == SecondOpinion::Act;
        let since = self.weighed.since.filter(|_| acts)?;
        Some(since.plus(self.patience()))
    }

    /// While no standby reaches it, and only where something would follow.
    fn look_for_clients(&mut self, now: Time, doubt: &Doubt, out: &mut Vec<Action>) {
        let clients = &mut self.weighed.clients;
        clients.nodes.clone_from(&doubt.from);
        let is_due = clients.look_at.is_none_or(|at| now.reached(at));
        if doubt.all && is_due && self.settings.second_opinion == SecondOpinion::Act {
            clients.look_at = Some(now.plus(CALM));
            out.push(Action::LookForClients {
                group: self.settings.name.clone(),
            });
        }
    }

    /// One that was not there at the last look has been let in since.
    pub(crate) fn clients_seen(&mut self, now: Time, seen: BTreeSet<(String, u16)>) {
        let clients = &mut self.weighed.clients;
        let is_new = |known: &BTreeSet<(String, u16)>, client: &(String, u16)| {
            !known.contains(client) && !clients.nodes.contains(&client.0)
        };
        let known = clients.known.as_ref();
        if known.is_some_and(|known| seen.iter().any(|client| is_new(known, client))) {
            clients.served_at = Some(now);
        }
        clients.known = Some(seen);
    }

    /// A restart in place heals no network. By the same rules as any other fault it moves once, and not for ever.
    fn heed_doubt(&mut self, context: Context, doubt: &Doubt, out: &mut Vec<Action>) {
        let text = doubt.text.as_str();
        let well = |probe: &ProbeRun| probe.passes == Some(true) && probe.failure.is_none();
        if context.frozen || !self.deciding().all(|(_, probe)| well(probe)) {
            return;
        }
        self.trouble = Some(FaultId::Unreached);
        let paused = context.paused.then_some(StayReason::OnPause);
        // A filter of the service has shut the nodes out, and nobody else.
        let served = self.weighed.clients.served_at.filter(|_| doubt.answered);
        let served = served.filter(|at| context.now.since(*at) < SERVED_LASTS);
        let paused = paused.or(served.map(|_| StayReason::ServesOthers));
        if let Some(why) = paused.or_else(|| self.why_it_stays(context)) {
            if self.weighed.stays != Some(why) {
                self.weighed.stays = Some(why);
                let text = text::probes::unreached_stays(text, why);
                self.mention(context.now, Code::UnreachedStays, text, out);
            }
            return;
        }
        self.failing_until = Some(context.now.plus(self.settings.restart_window));
        if let Some(held) = &mut self.held {
            held.departure = Departure::Fault(self.trouble.clone());
        }
        let after = AfterStop::Release {
            cause: ReleaseCause::Unreached,
            reason: text::probes::UNREACHED.to_owned(),
            successor: None,
        };
        let text = text::probes::unreached_moves(text);
        self.stop(context.now, StopMode::Drain, after, text, Code::UnreachedMoved, out);
    }

    /// Why nobody should hand over to this node, once the group was handed over by it.
    pub(crate) fn failed_here(&self) -> &'static str {
        match (&self.trouble, self.starts.blamed()) {
            (Some(FaultId::LinkLost), _) => text::address::LINK_WAS_LOST,
            (Some(FaultId::Unreached), _) => text::probes::WAS_UNREACHED,
            (_, Blame::Engine) => text::probes::ENGINE_DID_NOT_START,
            (_, Blame::Lasting) => text::probes::MUST_BE_MENDED,
            (_, Blame::Certificate) => text::probes::RENEW_HERE,
            (_, Blame::Unknown) => text::probes::FAILED_HERE,
        }
    }

    /// When time alone will change something here.
    pub(super) fn opinion_wakes(&self) -> impl Iterator<Item = Time> {
        let asked = self.asking.probes.iter().zip(&self.settings.probes);
        let asked = asked.filter(|(_, settings)| settings.on_standby != OnStandby::Skips);
        let due = asked.filter_map(|(asked, _)| asked.run.at);
        due.filter(|_| self.asking.of.is_some()).chain(self.hands_over_at())
    }
}

fn brief(text: &str) -> String {
    match text.char_indices().nth(FAULT_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{FAULT_MAX, brief};

    #[test]
    fn a_long_sentence_is_published_by_its_beginning() {
        assert_eq!(brief("smtp 25: no answer"), "smtp 25: no answer");
        assert_eq!(brief(&"\u{e9}".repeat(500)), "\u{e9}".repeat(FAULT_MAX) + "...");
    }
}
