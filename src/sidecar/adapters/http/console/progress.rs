//! What becomes of an act that somebody asked for here, until it is done or failed.

use std::collections::{BTreeMap, VecDeque};
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
use leasehold_api::follow::{End, Follower, Goal, Look, is_known, told_of_all};
use leasehold_api::history::Epoch;
use leasehold_api::status as seen;
use leasehold_base::clock;
use leasehold_base::time::Time;
use leasehold_core::event::{Done, IntentRef};
use leasehold_core::snapshot::status::{MemberState, Status};

/// Acts that are remembered.
const KEPT_MAX: usize = 64;
/// After so long nobody waits any more.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is known of the groups' history.
type Past = BTreeMap<String, Told>;

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
    /// The command line does it.
    job: Option<Arc<Job>>,
    /// Of an act that the command line does: once that has ended.
    followed: Mutex<Option<Followed>>,
    end: OnceLock<Stand>,
}

/// The groups that the act is about, each with what became of it.
#[derive(Debug)]
struct Followed {
    since: Time,
    all: Vec<(Follower, Option<End>)>,
}

/// Where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    Going(String),
    Done(String),
    Failed(String),
}

impl Followed {
    /// `status`: before the act. Empty where there is nothing to wait for.
    fn new(act: &Act, status: &Status, now: Time) -> Self {
        let is_of_act = |name: &str, line: &seen::GroupLine| match act.group() {
            Some(group) => group == name,
            // Those that a drain takes away; no other act of a node has a goal.
            None => line.holder.as_deref() == act.node(),
        };
        let groups = seen::Status::from(status.clone()).groups;
        let groups = groups.into_iter().filter(|(name, line)| is_of_act(name, line));
        let all = groups.filter_map(|(name, line)| {
            let goal = goal(act, &line)?;
            Some((Follower::new(&name, goal, &line), None))
        });
        let all = all.collect();
        Self { since: now, all }
    }

    /// Takes a look at each that has not ended; None where nothing is followed.
    fn stand(&mut self, status: &Status, told: &Past, now: Time) -> Option<Stand> {
        if self.all.is_empty() {
            return None;
        }
        if !matches!(status.member, MemberState::Joined | MemberState::Waiting) {
            return Some(Stand::Going(format!(
                "{} is no member now, and sees nothing.",
                status.node
            )));
        }
        let seen = seen::Status::from(status.clone());
        for (of, end) in self.all.iter_mut().filter(|(_, end)| end.is_none()) {
            let group = of.group().to_owned();
            let Some(line) = seen.groups.get(&group) else {
                let why = format!("{group} is not in this node's compose file any more.");
                return Some(Stand::Failed(why));
            };
            let epochs = told.get(&group).map(Told::epochs).unwrap_or_default();
            let epochs: Vec<Epoch> = epochs.iter().cloned().map(Epoch::from).collect();
            if is_known(line) {
                *end = of.see(&Look {
                    at: now.since(self.since),
                    line,
                    nodes: &seen.nodes,
                    epochs: &epochs,
                });
            }
        }
        Some(match told_of_all(&self.all) {
            Some(all) if all.is_good => Stand::Done(format!("{}.{}", all.text, self.outages(&seen, told))),
            Some(all) => Stand::Failed(format!("{}.", all.text)),
            None => Stand::Going(self.goes_on()),
        })
    }

    fn goes_on(&self) -> String {
        let open = self.all.iter().filter(|(_, end)| end.is_none());
        let doing: Vec<String> = open.filter_map(|(of, _)| Some(format!("{}.", of.doing()?))).collect();
        match doing.is_empty() {
            true => "The order is on its way.".to_owned(),
            false => doing.join(" "),
        }
    }

    /// What it cost, as far as that is written.
    fn outages(&self, seen: &seen::Status, told: &Past) -> String {
        let served = self.all.iter().filter(|(_, end)| matches!(end, Some(End::Serves(_))));
        let outage = |of: &Follower| {
            let last = told.get(of.group())?.last()?;
            let is_of_now = seen.groups.get(of.group())?.epoch == last.epoch;
            let outage = last.total_ms.filter(|_| is_of_now)?;
            Some(format!(" It was without service for {}.", span(outage)))
        };
        served.filter_map(|(of, _)| outage(of)).collect()
    }
}

/// What is waited for, of an act that needs no request of its own; None: what is seen at once, or is none of a group.
fn goal(act: &Act, line: &seen::GroupLine) -> Option<Goal> {
    match act {
        Act::Apply { .. } => {
            let own = line.held.as_ref().map(|held| held.run.clone());
            let run = own.or_else(|| line.serving.clone());
            let node = line.holder.clone().unwrap_or_default();
            Some(Goal::Anew { node, run })
        }
        Act::Stop { .. } => Some(Goal::Stops),
        Act::Start { .. } | Act::Create { .. } | Act::FencedGroup { .. } => {
            Some(Goal::Serves { unless_stopped: false })
        }
        Act::Resume { .. } => Some(Goal::Serves { unless_stopped: true }),
        Act::Drain { node } => Some(Goal::Leaves { node: node.clone() }),
        Act::Switchover { .. }
        | Act::Failback { .. }
        | Act::Drill { .. }
        | Act::Delete { .. }
        | Act::Pause { .. }
        | Act::Extend { .. }
        | Act::Unextend { .. }
        | Act::Set { .. }
        | Act::Undrain { .. }
        | Act::FencedNode { .. }
        | Act::Remove { .. }
        | Act::Hold { .. } => None,
    }
}

impl Deed {
    /// What was so before it.
    pub(super) fn before(status: &Status, verb: Verb, act: Act, by: &str) -> Self {
        let since = clock::now();
        Self {
            verb,
            by: by.to_owned(),
            at: clock::wall(),
            since,
            answer: String::new(),
            job: None,
            followed: Mutex::new(Some(Followed::new(&act, status, since))),
            end: OnceLock::new(),
            act,
        }
    }

    /// With a request that stands in etcd it is that which is followed.
    pub(super) fn answered(self, status: &Status, done: Done) -> Self {
        let Done { text, intent } = done;
        let line = self.act.group().and_then(|group| status.groups.get(group));
        let followed = match (intent, self.act.group(), line) {
            (Some(IntentRef { id, to }), Some(group), Some(line)) => {
                let goal = Goal::Moves { wish: id, to };
                let of = Follower::new(group, goal, &line.clone().into());
                let all = vec![(of, None)];
                Mutex::new(Some(Followed { since: self.since, all }))
            }
            (None, _, _) | (_, None, _) | (_, _, None) => self.followed,
        };
        Self {
            answer: text,
            followed,
            ..self
        }
    }

    /// The same of what the command line does.
    pub(super) fn by_job(self, job: Arc<Job>) -> Self {
        Self {
            answer: "the command line does it, on this node".to_owned(),
            job: Some(job),
            followed: Mutex::default(),
            ..self
        }
    }

    /// The groups whose history tells what became of it.
    fn groups(&self) -> Vec<String> {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let all = followed.iter().flat_map(|followed| &followed.all);
        let names = all.map(|(of, _)| of.group());
        names.chain(self.act.group()).map(str::to_owned).collect()
    }

    /// Where it stands; an end stays.
    fn stand(&self, status: &Status, told: &Past, now: Time) -> Stand {
        if let Some(end) = self.end.get() {
            return end.clone();
        }
        let stand = match self.judge(status, told, now) {
            Stand::Going(what)
                if now.since(self.since) >= PATIENCE && self.job.as_ref().is_none_or(|job| job.end().is_some()) =>
            {
                Stand::Failed(format!("Not done within {} min: {what}", PATIENCE.as_secs() / 60))
            }
            stand @ (Stand::Going(_) | Stand::Done(_) | Stand::Failed(_)) => stand,
        };
        if !matches!(stand, Stand::Going(_)) {
            let _ = self.end.set(stand.clone());
        }
        stand
    }

    fn judge(&self, status: &Status, told: &Past, now: Time) -> Stand {
        match (self.job.as_ref().map(|job| (job, job.end())), &self.act) {
            (Some((job, None)), _) => return Stand::Going(job.last()),
            (Some((_, Some(Err(why)))), _) => return Stand::Failed(why.to_owned()),
            (Some((_, Some(Ok(done)))), Act::Drill { .. }) => return Stand::Done(done.to_owned()),
            (Some((_, Some(Ok(_)))), _) | (None, _) => {}
        }
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let followed = followed.get_or_insert_with(|| Followed::new(&self.act, status, now));
        if let Some(stand) = followed.stand(status, told, now) {
            return stand;
        }
        match self.act.group() {
            Some(group) => self.judge_group(status, group),
            None => self.judge_node(status),
        }
    }

    /// What shows in the status as soon as it landed.
    fn judge_group(&self, status: &Status, group: &str) -> Stand {
        let Some(line) = status.groups.get(group) else {
            return Stand::Failed(format!("{group} is not in this node's compose file any more."));
        };
        let (is_done, done) = match &self.act {
            Act::Delete { .. } => {
                let way_back =
                    format!("`leasehold group delete {group}` on a host prints the way back to plain services.");
                (
                    line.deleted.is_some(),
                    format!("{group} is deleted. No node starts it. {way_back}"),
                )
            }
            Act::Pause { .. } => (line.paused.is_some(), format!("{group} is on pause.")),
            Act::Extend { node, .. } => (
                !line.excluded.contains_key(node),
                format!("{node} may take {group} again."),
            ),
            Act::Unextend { node, .. } => (line.excluded.contains_key(node), format!("{node} never takes {group}.")),
            Act::Set { changes, .. } => (settings::landed(line, changes), self.answer.clone()),
            // Without a request it is where it shall be.
            Act::Switchover { .. }
            | Act::Failback { .. }
            | Act::Drill { .. }
            | Act::Apply { .. }
            | Act::Stop { .. }
            | Act::Start { .. }
            | Act::Resume { .. }
            | Act::Create { .. }
            | Act::FencedGroup { .. }
            | Act::Drain { .. }
            | Act::Undrain { .. }
            | Act::FencedNode { .. }
            | Act::Remove { .. }
            | Act::Hold { .. } => (true, self.answer.clone()),
        };
        match is_done {
            true => Stand::Done(done),
            false => Stand::Going("The order is on its way.".to_owned()),
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
    let groups = deed.groups();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let told = shared.console.past.of(&shared, &status, &groups).await;
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
    use leasehold_core::history::{Before, Begun, Epoch, History};
    use leasehold_core::protocol::records::Intent;
    use leasehold_core::snapshot::status::{GroupLine, GroupState, NodeLine, NodeState};

    fn line(holder: Option<&str>, epoch: u64) -> GroupLine {
        GroupLine {
            state: if holder.is_some() {
                GroupState::Standby
            } else {
                GroupState::Free
            },
            holder: holder.map(str::to_owned),
            epoch,
            reason: "why".to_owned(),
            ..GroupLine::default()
        }
    }

    fn status(line: GroupLine) -> Status {
        let node = |name: &str| {
            let state = NodeState::Alive;
            let groups = [("mail".to_owned(), String::new())].into();
            let line = NodeLine {
                state,
                groups,
                ..NodeLine::default()
            };
            (name.to_owned(), line)
        };
        Status {
            member: MemberState::Joined,
            groups: [("mail".to_owned(), line)].into(),
            nodes: ["a", "b", "c"].map(node).into(),
            ..Status::default()
        }
    }

    fn moved() -> Deed {
        let act = Act::Switchover {
            group: "mail".to_owned(),
            to: Some("b".to_owned()),
        };
        let before = status(line(Some("a"), 4));
        let deed = Deed::before(&before, Verb::Switchover, act, "ann");
        let (text, intent) = ("asked".to_owned(), Some(IntentRef { id: 7, to: None }));
        deed.answered(&before, Done { text, intent })
    }

    fn intent(begun: Option<i64>) -> Option<(Intent, i64)> {
        let (to, by, why) = (None, String::new(), String::new());
        Some((Intent::Switchover { to, by, why, begun }, 7))
    }

    fn told(epoch: u64, served: bool) -> Past {
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
        let told = Told::of(History {
            epochs: vec![epoch],
            ..History::default()
        });
        [("mail".to_owned(), told)].into()
    }

    /// What a look says, after so many seconds.
    fn look(deed: &Deed, line: GroupLine, told: &Past, seconds: u64) -> Stand {
        deed.stand(&status(line), told, deed.since.plus(Duration::from_secs(seconds)))
    }

    fn asked(begun: Option<i64>) -> GroupLine {
        GroupLine {
            intent: intent(begun),
            ..line(Some("a"), 4)
        }
    }

    #[test]
    fn a_move_is_followed_until_it_serves_and_stays_done() {
        let (deed, none) = (moved(), Past::new());
        for (line, told, words) in [
            (asked(None), &none, "a is asked"),
            (asked(Some(7)), &none, "a stops mail"),
            (line(Some("b"), 5), &told(5, false), "b starts mail"),
        ] {
            let stand = look(&deed, line, told, 1);
            assert!(
                matches!(&stand, Stand::Going(text) if text.contains(words)),
                "{words}: {stand:?}"
            );
        }
        let done = Stand::Done("mail moved to b. It was without service for 1.2 s.".to_owned());
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
            (line(Some("a"), 4), 6, "the request was withdrawn"),
            (stopped, 1, "by vic"),
            (stuck, 1, "kill it"),
            (line(None, 4), 400, "Not done within 5 min"),
        ] {
            let stand = look(&moved(), line, &Past::new(), seconds);
            assert!(
                matches!(&stand, Stand::Failed(why) if why.contains(words)),
                "{words}: {stand:?}"
            );
        }
    }

    #[test]
    fn an_act_without_a_request_is_followed_by_what_it_is_for() {
        let deed = |verb, act| {
            let before = status(line(Some("a"), 4));
            let done = Done {
                text: "ordered".to_owned(),
                intent: None,
            };
            Deed::before(&before, verb, act, "ann").answered(&before, done)
        };
        let group = || "mail".to_owned();
        let stop = deed(Verb::Stop, Act::Stop { group: group() });
        let ordered = |holder| GroupLine {
            stopped: Some("by ann".to_owned()),
            ..line(holder, 4)
        };
        let going = Stand::Going("a stops mail.".to_owned());
        assert_eq!(look(&stop, ordered(Some("a")), &Past::new(), 1), going);
        let stand = look(&stop, ordered(None), &Past::new(), 2);
        assert!(
            matches!(&stand, Stand::Done(text) if text.starts_with("mail is stopped")),
            "{stand:?}"
        );

        // There is no better node than the one that has it.
        let back = deed(Verb::Failback, Act::Failback { group: group() });
        let done = Stand::Done("ordered".to_owned());
        assert_eq!(look(&back, line(Some("a"), 4), &Past::new(), 1), done);

        let drain = deed(Verb::Drain, Act::Drain { node: "a".to_owned() });
        let stand = look(&drain, line(Some("b"), 5), &told(5, true), 2);
        assert_eq!(
            stand,
            Stand::Done("mail moved to b. It was without service for 1.2 s.".to_owned())
        );
    }

    #[test]
    fn the_oldest_act_is_forgotten_beyond_the_bound() {
        let deeds = Deeds::default();
        let numbers: Vec<u64> = (0..=KEPT_MAX).map(|_| deeds.keep(moved())).collect();
        assert!(deeds.find(numbers[0]).is_none() && deeds.find(numbers[1]).is_some());
    }
}
