//! What becomes of an act that somebody asked for here, until it is done or failed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use axum::extract::{Extension, Path as Name, State};
use axum::response::{IntoResponse, Response};
use maud::html;

use super::job::Job;
use super::look::{Tone, said, span, time, way_back, word};
use super::offer;
use super::past::Told;
use super::verb::Verb;
use super::{Page, Visitor, refusal, settings};
use crate::adapters::http::Shared;
use crate::adapters::http::acts::Act;
use crate::adapters::http::problem::{Cause, Problem};
use leasehold_base::clock;
use leasehold_base::time::Time;
use leasehold_core::event::Done;
use leasehold_core::group::Stage;
use leasehold_core::protocol::records::Intent;
use leasehold_core::snapshot::status::{GroupLine, Status};

/// Acts that are remembered.
const KEPT_MAX: usize = 64;
/// An act shows in the status within this: a turn of the loop here, a beat of another node.
const SETTLED: Duration = Duration::from_secs(5);
/// After so long nobody waits any more.
const PATIENCE: Duration = Duration::from_secs(300);

/// An act that was asked for.
#[derive(Debug)]
pub(super) struct Deed {
    verb: Verb,
    act: Act,
    by: String,
    at: String,
    since: Time,
    /// What was answered.
    answer: String,
    intent: Option<i64>,
    /// Of the group, as it was before.
    epoch: u64,
    holder: Option<String>,
    run: Option<String>,
    /// The command line does it.
    job: Option<Arc<Job>>,
    end: OnceLock<Stand>,
}

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    Going(String),
    Done(String),
    Failed(String),
}

impl Deed {
    /// What was so before it.
    pub(super) fn before(status: &Status, verb: Verb, act: Act, by: &str) -> Self {
        let line = act.group().and_then(|group| status.groups.get(group));
        Self {
            verb,
            by: by.to_owned(),
            at: clock::wall(),
            since: clock::now(),
            answer: String::new(),
            intent: None,
            epoch: line.map_or(0, |line| line.epoch),
            holder: line.and_then(|line| line.holder.clone()),
            run: line.and_then(run_of),
            job: None,
            end: OnceLock::new(),
            act,
        }
    }

    pub(super) fn answered(self, done: Done) -> Self {
        let Done { text, intent } = done;
        Self {
            answer: text,
            intent: intent.map(|intent| intent.id),
            ..self
        }
    }

    /// The same of what the command line does.
    pub(super) fn by_job(self, job: Arc<Job>) -> Self {
        let answer = "the command line does it, on this node".to_owned();
        let job = Some(job);
        Self { answer, job, ..self }
    }

    /// Where it stands; an end stays.
    fn stand(&self, status: &Status, told: &Told, now: Time) -> Stand {
        if let Some(end) = self.end.get() {
            return end.clone();
        }
        let waited = now.since(self.since);
        let stand = match self.judge(status, told, waited) {
            Stand::Going(what) if waited >= PATIENCE && self.job.as_ref().is_none_or(|job| job.end().is_some()) => {
                Stand::Failed(format!("Not done within {} min: {what}", PATIENCE.as_secs() / 60))
            }
            stand @ (Stand::Going(_) | Stand::Done(_) | Stand::Failed(_)) => stand,
        };
        if !matches!(stand, Stand::Going(_)) {
            let _ = self.end.set(stand.clone());
        }
        stand
    }

    fn judge(&self, status: &Status, told: &Told, waited: Duration) -> Stand {
        match (self.job.as_ref().map(|job| (job, job.end())), &self.act) {
            (Some((job, None)), _) => return Stand::Going(job.last()),
            (Some((_, Some(Err(why)))), _) => return Stand::Failed(why.to_owned()),
            (Some((_, Some(Ok(done)))), Act::Drill { .. }) => return Stand::Done(done.to_owned()),
            (Some((_, Some(Ok(_)))), _) | (None, _) => {}
        }
        let Some(group) = self.act.group() else {
            return self.judge_node(status);
        };
        let Some(line) = status.groups.get(group) else {
            return Stand::Failed(format!("{group} is not in this node's compose file any more."));
        };
        let is_freed = line.holder.is_none() || line.epoch > self.epoch;
        match (&self.act, &line.stuck) {
            (Act::FencedGroup { .. }, _) if !is_freed => {
                return Stand::Going("The record is on its way.".to_owned());
            }
            (_, Some(stuck)) => return Stand::Failed(format!("{group} is stuck: {stuck}")),
            (_, None) => {}
        }
        let seen = |is_done: bool, done: String| match is_done {
            true => Stand::Done(done),
            false => Stand::Going("The order is on its way.".to_owned()),
        };
        match &self.act {
            Act::Switchover { .. } | Act::Failback { .. } => self.judge_move(group, line, told, waited),
            Act::Apply { .. } => self.judge_apply(group, line, told, waited),
            Act::Stop { .. } => judge_stop(group, line),
            Act::Drill { .. } => Stand::Going("It goes on.".to_owned()),
            Act::Start { .. } | Act::FencedGroup { .. } => judge_start(group, line, told),
            Act::Create { .. } if line.deleted.is_some() => Stand::Going("The order is on its way.".to_owned()),
            Act::Create { .. } => judge_start(group, line, told),
            Act::Delete { .. } => seen(
                line.deleted.is_some(),
                format!(
                    "{group} is deleted. No node starts it. `leasehold group delete {group}` on a host prints the way back to plain services."
                ),
            ),
            Act::Pause { .. } => seen(line.paused.is_some(), format!("{group} is on pause.")),
            Act::Resume { .. } => seen(line.paused.is_none(), format!("{group} is looked after again.")),
            Act::Extend { node, .. } => seen(
                !line.excluded.contains_key(node),
                format!("{node} may take {group} again."),
            ),
            Act::Unextend { node, .. } => {
                seen(line.excluded.contains_key(node), format!("{node} never takes {group}."))
            }
            Act::Set { changes, .. } => seen(settings::landed(line, changes), self.answer.clone()),
            Act::Drain { .. }
            | Act::Undrain { .. }
            | Act::FencedNode { .. }
            | Act::Remove { .. }
            | Act::Hold { .. } => self.judge_node(status),
        }
    }

    fn judge_node(&self, status: &Status) -> Stand {
        let name = self.act.node().unwrap_or_default();
        let is_drained = status.nodes.get(name).is_some_and(|node| node.drained.is_some());
        let held = status
            .groups
            .iter()
            .filter(|(_, line)| line.holder.as_deref() == Some(name));
        let held: Vec<&str> = held.map(|(group, _)| group.as_str()).collect();
        match self.verb {
            // It landed, or was refused: that is the answer.
            Verb::Hold => return Stand::Done(self.answer.clone()),
            Verb::Remove if status.nodes.contains_key(name) => {
                return Stand::Going("The order is on its way.".to_owned());
            }
            Verb::Remove => return Stand::Done(format!("{name} is removed: nobody waits for it.")),
            Verb::Fenced if held.is_empty() => {
                return Stand::Done(format!("What {name} held is free. Who is ready takes it over."));
            }
            Verb::Fenced => return Stand::Going(format!("The records still name {name}, of {}.", held.join(", "))),
            Verb::Switchover
            | Verb::Failback
            | Verb::Drill
            | Verb::Apply
            | Verb::Stop
            | Verb::Start
            | Verb::Pause
            | Verb::Resume
            | Verb::Extend
            | Verb::Unextend
            | Verb::Set
            | Verb::Create
            | Verb::Delete
            | Verb::Drain
            | Verb::Undrain => {}
        }
        match (self.verb == Verb::Drain, is_drained, held.is_empty()) {
            (true, true, true) => Stand::Done(format!("{name} is drained and holds nothing.")),
            (true, true, false) => Stand::Going(format!("{name} still holds {}.", held.join(", "))),
            (false, false, _) => Stand::Done(format!("{name} may take groups again.")),
            (true, false, _) | (false, true, _) => Stand::Going("The order is on its way.".to_owned()),
        }
    }

    fn judge_move(&self, group: &str, line: &GroupLine, told: &Told, waited: Duration) -> Stand {
        let Some(intent) = self.intent else {
            return Stand::Done(self.answer.clone());
        };
        let holder = line.holder.as_deref().unwrap_or("its holder");
        match &line.intent {
            Some((Intent::Refused { of, .. }, _)) if *of == intent => {
                let why = line.refused.clone().unwrap_or_else(|| format!("{holder} refused it."));
                return Stand::Failed(why);
            }
            Some((Intent::Switchover { begun: Some(of), .. }, _)) if *of == intent => {
                return Stand::Going(format!("{holder} stops {group}."));
            }
            Some((Intent::Switchover { begun: None, .. }, revision)) if *revision == intent => {
                return Stand::Going(format!("{holder} is asked to hand {group} over."));
            }
            Some((Intent::Switchover { .. } | Intent::Refused { .. } | Intent::Apply { .. }, _)) | None => {}
        }
        match &line.holder {
            None => match line.deleted.as_ref().or(line.stopped.as_ref()) {
                Some(order) => Stand::Failed(format!(
                    "Somebody ordered something else meanwhile: {group} is stopped or deleted {order}."
                )),
                None => Stand::Going(format!("{group} is free: the next node takes it. {}", line.reason)),
            },
            Some(holder) if line.epoch > self.epoch && self.holder.as_ref() == Some(holder) => {
                Stand::Failed(format!("{group} is on {holder} again: {}", line.record))
            }
            Some(holder) if line.epoch > self.epoch => serving(group, holder, line, told),
            Some(_) if waited < SETTLED => Stand::Going("The order is on its way.".to_owned()),
            Some(holder) => Stand::Failed(format!(
                "{holder} keeps {group}: the request was refused or withdrawn. {}",
                line.reason
            )),
        }
    }

    fn judge_apply(&self, group: &str, line: &GroupLine, told: &Told, waited: Duration) -> Stand {
        if matches!(line.intent, Some((Intent::Apply { .. }, _))) {
            return Stand::Going("Its holder looks at the file and the image.".to_owned());
        }
        let Some(holder) = &line.holder else {
            return Stand::Going(format!("{group} is free: {}", line.reason));
        };
        let is_anew = run_of(line) != self.run || line.epoch > self.epoch;
        match (&line.drift, is_anew) {
            (None, true) => serving(group, holder, line, told),
            (_, false) if waited < SETTLED => Stand::Going("The order is on its way.".to_owned()),
            // Of another node's run it may be known only that nothing differs any more.
            (None, false) if line.trouble.is_some() => Stand::Going(format!("{holder} starts {group} again.")),
            (None, false) => Stand::Done(format!("{group} runs as the file and the image say.")),
            (Some(drift), _) if waited >= SETTLED => Stand::Failed(drift.clone()),
            (Some(_), _) => Stand::Going(format!("{holder} starts {group} again.")),
        }
    }
}

/// The run that is known: this node's own, or the one that its holder lets others ask.
fn run_of(line: &GroupLine) -> Option<String> {
    let own = line.held.as_ref().map(|held| held.run.to_string());
    own.or_else(|| line.serving.map(|run| run.to_string()))
}

fn judge_stop(group: &str, line: &GroupLine) -> Stand {
    match &line.holder {
        None if line.stopped.is_some() => Stand::Done(format!("{group} is stopped. Nobody runs it.")),
        None => Stand::Going("The order is on its way.".to_owned()),
        Some(holder) => Stand::Going(format!("{holder} stops {group}.")),
    }
}

fn judge_start(group: &str, line: &GroupLine, told: &Told) -> Stand {
    match (&line.holder, &line.paused) {
        (Some(holder), _) => serving(group, holder, line, told),
        (None, Some(order)) if line.stopped.is_none() => {
            Stand::Failed(format!("Nobody starts {group}: it is on pause {order}. End the pause."))
        }
        (None, _) => Stand::Going(format!("{group} is free: {}", line.reason)),
    }
}

/// Who has it starts it; done once it serves.
fn serving(group: &str, holder: &str, line: &GroupLine, told: &Told) -> Stand {
    let last = told.last().filter(|last| last.epoch == line.epoch);
    let is_told = last
        .and_then(|last| last.begun.as_ref())
        .is_some_and(|begun| begun.served);
    let is_up = offer::serves(line) || (line.held.is_none() && line.trouble.is_none() && is_told);
    if is_up {
        let outage = last.and_then(|last| last.total_ms);
        let outage = outage.map_or_else(String::new, |ms| format!(" It was without service for {}.", span(ms)));
        return Stand::Done(format!("{holder} serves {group}.{outage}"));
    }
    match (&line.trouble, line.held.as_ref().map(|held| held.stage)) {
        (Some(trouble), _) => Stand::Going(format!(
            "{holder} has {group}, which is {}: {}",
            trouble.state, trouble.why
        )),
        (None, Some(stage @ (Stage::Checking | Stage::Starting | Stage::Adopting))) => {
            Stand::Going(format!("{holder} starts {group}: {}.", stage.word()))
        }
        (None, Some(Stage::Active | Stage::Stopping | Stage::Withdrawing | Stage::Stopped) | None) => {
            Stand::Going(format!("{holder} has {group}, and has not said yet that it serves."))
        }
    }
}

/// The last acts that were asked for here.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    count: AtomicU64,
    kept: Mutex<VecDeque<(u64, Arc<Deed>)>>,
}

impl Deeds {
    /// Keeps one more, drops the oldest beyond the bound, and gives its number.
    pub(super) fn keep(&self, deed: Deed) -> u64 {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((number, Arc::new(deed)));
        number
    }

    fn find(&self, number: u64) -> Option<Arc<Deed>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(of, _)| *of == number);
        found.map(|(_, deed)| Arc::clone(deed))
    }
}

pub(super) async fn show(
    State(shared): State<Shared>,
    Extension(visitor): Extension<Visitor>,
    Name(number): Name<String>,
) -> Response {
    let deed = number.parse().ok().and_then(|number| shared.console.deeds.find(number));
    let Some(deed) = deed else {
        let message = "this sidecar remembers no such act: the page of the group has what operators asked";
        return refusal(Problem::new(Cause::NoEndpoint, message));
    };
    let (status, recent) = {
        let turn = shared.turn.borrow();
        (turn.status.clone(), turn.recent.clone())
    };
    let told = match deed.act.group() {
        Some(group) => shared.console.past.of_one(&shared, &status, group).await,
        None => Told::default(),
    };
    let stand = deed.stand(&status, &told, clock::now());
    let (tone, state, sentence) = match &stand {
        Stand::Going(what) => (Tone::Calm, "In progress", what),
        Stand::Done(what) => (Tone::Good, "Done", what),
        Stand::Failed(why) => (Tone::Bad, "Failed", why),
    };
    let about = deed.act.group().or(deed.act.node()).unwrap_or_default();
    // Of the same clock, in the same format.
    let since = recent.about(deed.act.group().unwrap_or_default());
    let since = since.iter().filter(|told| told.at >= deed.at);
    let body = html! {
        (way_back(&status, deed.act.group()))
        h1 { (offer::label(&deed.act)) ": " (about) }
        section.card aria-labelledby="state" {
            h2 #state { (word(tone, state)) }
            p.say role="status" { (said(sentence)) }
            p.quiet { "Asked by " (deed.by) ", " (time(&deed.at)) ": " (deed.answer) }
        }
        @if let Some(job) = &deed.job { (job.page()) }
        h2 { "Since then, on this node" }
        ol.steps { @for told in since { li class=(told.level.word()) { (time(&told.at)) " " (said(&told.text)) } } }
        @if !matches!(stand, Stand::Going(_)) { p { a.button href="/" { "To the cluster" } } }
    };
    Page {
        title: format!("{state}: {about}"),
        status: &status,
        visitor: &visitor,
        is_live: matches!(stand, Stand::Going(_)),
        body,
    }
    .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::event::IntentRef;
    use leasehold_core::history::{Before, Begun, Epoch, History};

    fn line(holder: Option<&str>, epoch: u64) -> GroupLine {
        GroupLine {
            holder: holder.map(str::to_owned),
            epoch,
            reason: "why".to_owned(),
            ..GroupLine::default()
        }
    }

    fn status(line: GroupLine) -> Status {
        Status {
            groups: [("mail".to_owned(), line)].into(),
            ..Status::default()
        }
    }

    fn moved() -> Deed {
        let act = Act::Switchover {
            group: "mail".to_owned(),
            to: Some("b".to_owned()),
        };
        let deed = Deed::before(&status(line(Some("a"), 4)), Verb::Switchover, act, "ann");
        deed.answered(Done {
            text: "asked".to_owned(),
            intent: Some(IntentRef { id: 7, to: None }),
        })
    }

    fn intent(begun: Option<i64>) -> Option<(Intent, i64)> {
        let (to, by, why) = (None, String::new(), String::new());
        Some((Intent::Switchover { to, by, why, begun }, 7))
    }

    fn told(epoch: u64, served: bool) -> Told {
        let begun = Begun {
            epoch,
            from: Some("a".to_owned()),
            to: "b".to_owned(),
            cause: String::new(),
            at: String::new(),
            before: Before::Release,
            phases: Vec::new(),
            served,
        };
        let epoch = Epoch {
            epoch,
            begun: Some(begun),
            total_ms: Some(1200),
            ..Epoch::default()
        };
        Told::of(History {
            epochs: vec![epoch],
            ..History::default()
        })
    }

    /// What a look says, after so many seconds.
    fn look(deed: &Deed, line: GroupLine, told: &Told, seconds: u64) -> Stand {
        deed.stand(&status(line), told, deed.since.plus(Duration::from_secs(seconds)))
    }

    #[test]
    fn a_move_is_followed_until_it_serves_and_stays_done() {
        let (deed, none) = (moved(), Told::default());
        let going = |line, told: &Told, words: &str| {
            let stand = look(&deed, line, told, 1);
            assert!(
                matches!(&stand, Stand::Going(text) if text.contains(words)),
                "{words}: {stand:?}"
            );
        };
        going(line(Some("a"), 4), &none, "on its way");
        going(
            GroupLine {
                intent: intent(None),
                ..line(Some("a"), 4)
            },
            &none,
            "a is asked",
        );
        going(
            GroupLine {
                intent: intent(Some(7)),
                ..line(Some("a"), 4)
            },
            &none,
            "a stops mail",
        );
        going(line(None, 4), &none, "free");
        going(line(Some("b"), 5), &told(5, false), "has not said yet");
        let done = Stand::Done("b serves mail. It was without service for 1.2 s.".to_owned());
        assert_eq!(look(&deed, line(Some("b"), 5), &told(5, true), 1), done);
        assert_eq!(
            look(&deed, line(None, 5), &none, 1),
            done,
            "what comes later is another matter"
        );
    }

    #[test]
    fn what_went_wrong_with_a_move_is_told() {
        let why = String::new();
        let refused = Intent::Refused { of: 7, why };
        let refused = GroupLine {
            intent: Some((refused, 9)),
            refused: Some("b is not ready".to_owned()),
            ..line(Some("a"), 4)
        };
        let stopped = GroupLine {
            stopped: Some("by vic".to_owned()),
            ..line(None, 4)
        };
        let stuck = GroupLine {
            stuck: Some("kill it".to_owned()),
            ..line(Some("a"), 4)
        };
        for (line, seconds, words) in [
            (refused, 1, "b is not ready"),
            (line(Some("a"), 4), 6, "keeps mail"),
            (line(Some("a"), 6), 1, "on a again"),
            (stopped, 1, "by vic"),
            (stuck, 1, "kill it"),
            (line(None, 4), 400, "Not done within 5 min"),
        ] {
            let stand = look(&moved(), line, &Told::default(), seconds);
            assert!(
                matches!(&stand, Stand::Failed(why) if why.contains(words)),
                "{words}: {stand:?}"
            );
        }
    }

    #[test]
    fn the_oldest_act_is_forgotten_beyond_the_bound() {
        let deeds = Deeds::default();
        let numbers: Vec<u64> = (0..=KEPT_MAX).map(|_| deeds.keep(moved())).collect();
        assert!(deeds.find(numbers[0]).is_none() && deeds.find(numbers[1]).is_some());
    }
}
