//! An act before it is done: what it will do, what it may cost, and one question. Then it goes the way of `/v1`.

use std::sync::Arc;
use std::time::Duration;

use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Extension, Path as Name, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::entry::see_other;
use super::job::{self, Job};
use super::look::{said, way_back};
use super::past::Told;
use super::progress::Deed;
use super::verb::Verb;
use super::{Page, Visitor, not_sealed, refusal};
use super::{admin, offer, settings};
use crate::adapters::http::Shared;
use crate::adapters::http::acting::{known_group, known_node, may, one_line};
use crate::adapters::http::acts::{Act, carry_out};
use crate::adapters::http::problem::{Cause, Problem};
use leasehold_core::snapshot::status::Status;

/// What a pause lasts where nobody says it.
const PAUSE_MIN: u64 = 60;
/// A reason is a sentence (the same as of `/v1`).
const WHY_MAX: usize = 200;

/// Which node is meant.
#[derive(Debug, Deserialize)]
pub(super) struct Whom {
    #[serde(default)]
    to: Option<String>,
}

/// What the form says.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    seal: String,
    #[serde(default)]
    to: Option<String>,
    #[serde(default)]
    why: String,
    #[serde(default)]
    minutes: Option<u64>,
    #[serde(default)]
    seconds: Option<u64>,
    /// The box that says that data which lies there already is this service's.
    #[serde(default)]
    adopt: Option<String>,
    /// What a value shall be.
    #[serde(default)]
    value: String,
    /// The box that takes a value back.
    #[serde(default)]
    back: Option<String>,
    /// The name, where it is to be typed.
    #[serde(default)]
    typed: String,
}

fn unknown_act() -> Problem {
    Problem::new(Cause::NoEndpoint, "there is no such act")
}

fn group_act(verb: &str, group: &str, to: Option<&str>, length: Duration) -> Result<(Verb, Act), Problem> {
    let verb = Verb::read(verb).ok_or_else(unknown_act)?;
    let act = verb.on_group(group, to, length).ok_or_else(unknown_act)?;
    Ok((verb, act))
}

fn node_act(verb: &str, node: &str, length: Duration) -> Result<(Verb, Act), Problem> {
    let verb = Verb::read(verb).ok_or_else(unknown_act)?;
    let act = verb.on_node(node, length).ok_or_else(unknown_act)?;
    Ok((verb, act))
}

pub(super) async fn ask_group(
    State(shared): State<Shared>,
    Extension(visitor): Extension<Visitor>,
    Name((group, verb)): Name<(String, String)>,
    whom: Result<Query<Whom>, QueryRejection>,
) -> Response {
    // A query that does not fit names no node.
    let to = whom.ok().and_then(|Query(Whom { to })| to);
    match group_act(&verb, &group, to.as_deref(), Duration::ZERO) {
        Ok((_, act)) => question(&shared, &visitor, &act, StatusCode::OK, "").await,
        Err(problem) => refusal(problem),
    }
}

pub(super) async fn ask_node(
    State(shared): State<Shared>,
    Extension(visitor): Extension<Visitor>,
    Name((node, verb)): Name<(String, String)>,
) -> Response {
    match node_act(&verb, &node, Duration::ZERO) {
        Ok((_, act)) => question(&shared, &visitor, &act, StatusCode::OK, "").await,
        Err(problem) => refusal(problem),
    }
}

pub(super) async fn do_group(
    State(shared): State<Shared>,
    Extension(visitor): Extension<Visitor>,
    Name((group, verb)): Name<(String, String)>,
    asked: Result<Form<Asked>, FormRejection>,
) -> Response {
    let Ok(Form(asked)) = asked else {
        return refusal(Problem::malformed(
            "the form does not fit: a pause takes its length in whole minutes",
        ));
    };
    let minutes = asked.minutes.unwrap_or(PAUSE_MIN);
    let length = Duration::from_secs(minutes.saturating_mul(60));
    match group_act(&verb, &group, asked.to.as_deref(), length) {
        Ok((Verb::Set, act)) => set_now(&shared, &visitor, &group, act, asked).await,
        Ok((verb, act)) => act_now(&shared, &visitor, verb, act, asked).await,
        Err(problem) => refusal(problem),
    }
}

/// A value that does not fit is asked for again.
async fn set_now(shared: &Shared, visitor: &Visitor, group: &str, act: Act, asked: Asked) -> Response {
    let name = asked.to.as_deref().unwrap_or_default();
    match settings::asked(group, name, &asked.value, asked.back.is_some()) {
        Ok(act) => act_now(shared, visitor, Verb::Set, act, asked).await,
        Err(problem) => {
            let fault = format!("Nothing was done: {}.", problem.message());
            question(shared, visitor, &act, StatusCode::UNPROCESSABLE_ENTITY, &fault).await
        }
    }
}

pub(super) async fn do_node(
    State(shared): State<Shared>,
    Extension(visitor): Extension<Visitor>,
    Name((node, verb)): Name<(String, String)>,
    asked: Result<Form<Asked>, FormRejection>,
) -> Response {
    let Ok(Form(asked)) = asked else {
        return refusal(Problem::malformed(
            "the form does not fit: a hold takes its length in whole seconds",
        ));
    };
    let length = Duration::from_secs(asked.seconds.unwrap_or(admin::HOLD_S));
    match node_act(&verb, &node, length) {
        Ok((verb, act)) => act_now(&shared, &visitor, verb, act, asked).await,
        Err(problem) => refusal(problem),
    }
}

/// The name that is typed before something dangerous.
fn named(act: &Act) -> &str {
    act.group().or(act.node()).unwrap_or_default()
}

async fn act_now(shared: &Shared, visitor: &Visitor, verb: Verb, act: Act, asked: Asked) -> Response {
    if !visitor.is_sealed(&asked.seal) {
        return refusal(not_sealed());
    }
    if let Err(problem) = may(&visitor.caller, act.role()) {
        return refusal(problem);
    }
    let status = shared.turn.borrow().status.clone();
    if offer::is_dangerous(&status, &act) && asked.typed.trim() != named(&act) {
        let fault = format!("Nothing was done: type {} to say that you mean it.", named(&act));
        return question(shared, visitor, &act, StatusCode::UNPROCESSABLE_ENTITY, &fault).await;
    }
    let deed = Deed::before(&status, verb, act.clone(), &visitor.caller.name);
    let why = asked.why.trim();
    if let Some(words) = job::words(&act, why, asked.adopt.is_some()) {
        let begun = begin(shared, visitor, &act, why, &words);
        return match begun {
            Ok(job) => see_other(&format!("/act/{}", shared.console.deeds.keep(deed.by_job(job)))),
            Err(problem) => refusal(problem),
        };
    }
    match carry_out(shared, &visitor.caller, act, asked.why.trim().to_owned()).await {
        Ok(done) => see_other(&format!(
            "/act/{}",
            shared.console.deeds.keep(deed.answered(&status, done))
        )),
        Err(problem) => refusal(problem),
    }
}

/// What the command line does itself: its own calls of `/v1` are written down there.
fn begin(shared: &Shared, visitor: &Visitor, act: &Act, why: &str, words: &[String]) -> Result<Arc<Job>, Problem> {
    one_line("why", why)?;
    if let Some(group) = act.group() {
        known_group(shared, group)?;
    }
    if let Act::Drill { to: Some(node), .. } = act {
        known_node(shared, node)?;
    }
    let parts = &shared.console;
    let begun = parts.jobs.begin(&parts.program, &visitor.caller.name, words);
    begun.map_err(|why| Problem::new(Cause::Busy, why))
}

/// What is dangerous about it.
fn danger(act: &Act) -> &'static str {
    match act {
        Act::FencedGroup { .. } | Act::FencedNode { .. } => "If it is not true, the data is damaged.",
        Act::Delete { .. } => "Nobody starts it any more.",
        Act::Remove { .. } => "Nobody waits for it any more.",
        Act::Drill { .. } => "Every connection ends, twice.",
        Act::Switchover { .. }
        | Act::Failback { .. }
        | Act::Apply { .. }
        | Act::Stop { .. }
        | Act::Start { .. }
        | Act::Pause { .. }
        | Act::Resume { .. }
        | Act::Extend { .. }
        | Act::Unextend { .. }
        | Act::Set { .. }
        | Act::Create { .. }
        | Act::Drain { .. }
        | Act::Undrain { .. }
        | Act::Hold { .. } => "This takes the service away.",
    }
}

/// What the act will do, and the question.
async fn question(shared: &Shared, visitor: &Visitor, act: &Act, code: StatusCode, fault: &str) -> Response {
    if let Err(problem) = may(&visitor.caller, act.role()) {
        return refusal(problem);
    }
    let Some(seal) = &visitor.seal else {
        let message = "this page acts for who is logged in over the network, or shows a client certificate";
        return refusal(Problem::new(Cause::Forbidden, message));
    };
    let status = shared.turn.borrow().status.clone();
    let told = match act.group() {
        Some(group) => shared.console.past.of_one(shared, &status, group).await,
        None => Told::default(),
    };
    let (label, back) = (
        offer::label(act),
        act.group()
            .map_or_else(|| "/".to_owned(), |group| format!("/group/{group}")),
    );
    // The checks come first.
    let is_created = matches!(act, Act::Create { .. }) && offer::why_not(&status, act).is_none();
    let checked = if is_created {
        Some(checks(shared, visitor).await)
    } else {
        None
    };
    let body = html! {
        (way_back(&status, act.group()))
        h1 { (label) ": " (named(act)) }
        @match offer::why_not(&status, act) {
            Some(why) => {
                p.fault role="alert" { "Not now: " (said(&why)) "." }
                p { a.button.plain href=(back) { "Back" } }
            }
            None => {
                section.card aria-labelledby="what" {
                    h2 #what { "What it will do" }
                    ul { @for sentence in effects(&status, &told, act) { li { (said(&sentence)) } } }
                }
                @if let Some(checked) = &checked { section.card aria-labelledby="checks" { h2 #checks { "Checks" } (checked) } }
                (form(&status, act, seal, &back, fault, checked.is_some()))
            }
        }
    };
    let page = Page {
        title: format!("{label}: {}", named(act)),
        status: &status,
        visitor,
        is_live: false,
        body,
    };
    (code, page).into_response()
}

/// What is to be filled in. `creates`: its mounts may hold data.
fn form(status: &Status, act: &Act, seal: &str, back: &str, fault: &str, creates: bool) -> Markup {
    let label = offer::label(act);
    let is_dangerous = offer::is_dangerous(status, act);
    let is_word = matches!(act, Act::FencedGroup { .. } | Act::FencedNode { .. });
    let least = admin::hold_least_s(status);
    html! {
        form method="post" {
            @if !fault.is_empty() { p.fault role="alert" { (fault) } }
            input type="hidden" name="seal" value=(seal);
            @if let Some(node) = act.node().filter(|_| act.group().is_some()) { input type="hidden" name="to" value=(node); }
            (settings::inputs(status, act))
            @if matches!(act, Act::Hold { .. }) {
                label for="seconds" { "It lasts for (seconds)" }
                input #seconds name="seconds" type="number" min=(least) max=(admin::HOLD_MAX_S) value=(admin::HOLD_S.max(least)) required;
            }
            @if matches!(act, Act::Pause { .. }) {
                label for="minutes" { "It ends by itself after (minutes)" }
                input #minutes name="minutes" type="number" min="1" max="10080" value=(PAUSE_MIN) required;
            }
            // Neither has a place for a reason.
            @if !matches!(act, Act::Hold { .. } | Act::Drill { .. }) {
                label for="why" { @if is_word { "How you made sure (for the log and the record)" } @else { "Why (for the log and the history)" } }
                input #why name="why" maxlength=(WHY_MAX) autocomplete="off" required[is_word];
            }
            @if creates {
                label for="adopt" { input #adopt name="adopt" type="checkbox" value="yes"; " Data that lies in its mounts already is this service's own" }
            }
            @if is_dangerous {
                label for="typed" { (danger(act)) " Type " code { (named(act)) } " to say that you mean it" }
                input #typed name="typed" autocomplete="off" required;
            }
            p {
                button #do type="submit" class=[is_dangerous.then_some("danger")] { (label) }
                " " a.button.plain href=(back) { "Cancel" }
            }
        }
    }
}

async fn checks(shared: &Shared, visitor: &Visitor) -> Markup {
    let parts = &shared.console;
    match parts.jobs.check(&parts.program, &visitor.caller.name).await {
        Ok(found) => found,
        Err(why) => html! { p.fault { "They could not be made: " (why) } },
    }
}

/// What will happen, and the outage to expect.
fn effects(status: &Status, told: &Told, act: &Act) -> Vec<String> {
    let line = act.group().and_then(|group| status.groups.get(group));
    let holder = line.and_then(|line| line.holder.as_deref()).unwrap_or("its holder");
    let mut said = match act {
        Act::Switchover { .. } | Act::Failback { .. } | Act::Apply { .. } | Act::Stop { .. } | Act::Start { .. } => {
            of_runs(status, told, act, holder)
        }
        Act::Pause { group, .. } => vec![
            format!("{group} goes on as it is, without an outage."),
            "Nothing is done to it by itself: it is not restarted, not moved, and nobody takes over if its host dies."
                .to_owned(),
            "The pause ends by itself after the time that you give.".to_owned(),
        ],
        Act::Drill { group, to } => of_drill(status, told, group, to.as_deref(), holder),
        Act::Resume { group } => vec![format!(
            "{group} is looked after again: restarts, moves and take-overs. No outage by itself."
        )],
        Act::Extend { group, node } => vec![format!("{node} may take {group} again, once it is ready. No outage.")],
        Act::Unextend { group, node } => vec![
            format!("{node} never takes {group}, until it is extended to it again. No outage."),
            format!("If {holder} fails, fewer nodes can take over."),
        ],
        Act::Drain { node } => of_drain(status, node),
        Act::Undrain { node } => vec![format!(
            "{node} may take groups again. Nothing moves there by itself, unless a group's failback says so."
        )],
        Act::Set { .. } => settings::effects(status, act),
        Act::Create { .. }
        | Act::Delete { .. }
        | Act::FencedGroup { .. }
        | Act::FencedNode { .. }
        | Act::Remove { .. }
        | Act::Hold { .. } => admin::effects(status, act),
    };
    said.retain(|sentence| !sentence.is_empty());
    said
}

/// Of what stops or starts a group.
fn of_runs(status: &Status, told: &Told, act: &Act, holder: &str) -> Vec<String> {
    let Some(group) = act.group() else {
        return Vec::new();
    };
    let line = status.groups.get(group);
    let to = act
        .node()
        .or_else(|| offer::best_standby(status, group))
        .unwrap_or("the best ready node");
    let warnings = line.map_or(&[][..], |line| line.warnings.as_slice());
    let warnings = warnings.iter().map(|warning| format!("Mind: {warning}."));
    match act {
        Act::Apply { .. } => vec![
            format!("{holder} stops {group} and starts it again in place, with what the file and the image say now."),
            line.and_then(|line| line.drift.clone()).unwrap_or_default(),
            told.start_takes(),
        ],
        Act::Stop { .. } => vec![
            format!(
                "{holder} stops {group}. Nobody starts it until somebody says so: it is without service until then."
            ),
            "Its data and its records stay.".to_owned(),
        ],
        Act::Start { .. } => {
            let mut said = vec![
                format!("The order to stop is taken back. Then {to} starts {group}."),
                told.start_takes(),
            ];
            if line.is_some_and(|line| line.paused.is_some()) {
                said.push(format!("{group} is on pause: end that, too, before anybody starts it."));
            }
            said
        }
        Act::Failback { .. } => {
            let first =
                format!("{holder} stops {group}. Then {to} starts it, which is preferred of those that are ready.");
            [first, told.move_takes()].into_iter().chain(warnings).collect()
        }
        Act::Switchover { .. }
        | Act::Drill { .. }
        | Act::Pause { .. }
        | Act::Resume { .. }
        | Act::Extend { .. }
        | Act::Unextend { .. }
        | Act::Set { .. }
        | Act::Create { .. }
        | Act::Delete { .. }
        | Act::FencedGroup { .. }
        | Act::FencedNode { .. }
        | Act::Remove { .. }
        | Act::Hold { .. }
        | Act::Drain { .. }
        | Act::Undrain { .. } => {
            let first = format!("{holder} stops {group}. Then {to} starts it, and its addresses go along.");
            [first, told.move_takes()].into_iter().chain(warnings).collect()
        }
    }
}

fn of_drill(status: &Status, told: &Told, group: &str, to: Option<&str>, holder: &str) -> Vec<String> {
    let to = to
        .or_else(|| offer::best_standby(status, group))
        .unwrap_or("the best ready node");
    vec![
        format!("{group} moves from {holder} to {to}, and back again after some seconds: two outages."),
        "Meanwhile this node asks every port twenty times a second, as a client. At the end a table says how long each was without \
         an answer."
            .to_owned(),
        format!("If the service fails on {to}, it may be down for longer."),
        told.move_takes(),
    ]
}

fn of_drain(status: &Status, node: &str) -> Vec<String> {
    let held = status
        .groups
        .iter()
        .filter(|(_, line)| line.holder.as_deref() == Some(node));
    let mut said: Vec<String> = held
        .map(|(group, _)| match offer::best_standby(status, group) {
            Some(best) => format!("{group} moves to {best}: an outage as of any move."),
            None => format!("{group} stays on {node}: no other node is ready for it."),
        })
        .collect();
    if said.is_empty() {
        said.push(format!("{node} holds nothing: no outage."));
    }
    said.push(format!("{node} takes nothing more until it is undrained."));
    said
}
