//! `/group/NAME`: why it is where it is, what it went through, and what would come next.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Extension, Path as Name, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::look::{Tone, is_address, said, span, time, way_back, word};
use super::overview::{menu, orders};
use super::past::Told;
use super::{Page, Visitor, cell, offer, refusal, settings, timeline};
use crate::adapters::http::Shared;
use crate::adapters::http::access::Role;
use crate::adapters::http::reading::unknown_group;
use crate::timings::ProbeSeen;
use leasehold_api::LoggedDecision;
use leasehold_base::clock;
use leasehold_core::snapshot::status::{GroupLine, HeldLine, NodeState, Status};

/// Decisions and acts shown.
const SHOWN_MAX: usize = 20;

pub(super) async fn show(
    State(shared): State<Shared>,
    Extension(visitor): Extension<Visitor>,
    Name(name): Name<String>,
) -> Response {
    let (status, recent) = {
        let turn = shared.turn.borrow();
        (turn.status.clone(), turn.recent.clone())
    };
    let Some(line) = status.groups.get(&name) else {
        return refusal(unknown_group(&name));
    };
    let told = shared.console.past.of_one(&shared, &status, &name).await;
    let offers = if visitor.acts() {
        offer::of_group(&status, &name, visitor.caller.role)
    } else {
        Vec::new()
    };
    let body = html! {
        (way_back(&status, None))
        h1 { "Group " (name) }
        (why(&status, &name, line))
        @if !offers.is_empty() { (menu(&format!("acts-{name}"), &offers)) }
        (on_nodes(&status, &name, line))
        (what_if(&status, &name, line, &told))
        (timeline::show(&told))
        (service(&status, line, &recent.counters.timings.probes_seen(&name)))
        (settings::table(&name, line, visitor.acts() && visitor.caller.role >= Role::Admin))
        (differences(line))
        (decisions(&recent.about(&name)))
        (acts(&told))
    };
    Page {
        title: format!("{name} in {}", status.cluster),
        status: &status,
        visitor: &visitor,
        is_live: true,
        body,
    }
    .into_response()
}

fn why(status: &Status, name: &str, line: &GroupLine) -> Markup {
    let holder = line
        .holder
        .as_ref()
        .and_then(|holder| Some((holder, status.nodes.get(holder)?)));
    let seen = holder.and_then(|(holder, node)| Some((holder, cell::of(name, line, holder, node)?)));
    let is_meant = line.stopped.is_some() || line.deleted.is_some();
    let down = if is_meant { Tone::Calm } else { Tone::Bad };
    html! {
        section.card aria-labelledby="why" {
            h2 #why { "Why it is where it is" }
            @match &seen {
                Some((holder, cell)) => p {
                    (word(cell.tone, cell.word)) " on " strong { (holder) }
                    @if !cell.detail.is_empty() { ": " (said(&cell.detail)) }
                }
                None => p {
                    (word(down, line.state.word())) " Nobody holds it"
                    @if let Some(last) = &line.last_holder { "; the last holder was " (last) } "."
                }
            }
            p { (said(&line.reason)) }
            @if !line.record.is_empty() && line.record != line.reason {
                p.quiet { "Its record in etcd, epoch " (line.epoch) ": " (line.record) }
            }
            (orders(line))
            @if !line.vips.is_empty() { p { "Addresses: " (line.vips.join(", ")) } }
        }
    }
}

fn on_nodes(status: &Status, name: &str, line: &GroupLine) -> Markup {
    html! {
        h2 #nodes { "On each node" }
        div.scroll role="region" aria-labelledby="nodes" tabindex="0" {
            table {
                caption { "Before a node says that it is ready, it has looked at its engine, image, ports, addresses and at the storage" }
                thead { tr { th scope="col" { "Node" } th scope="col" { "State" } th scope="col" { "What it lacks or sees" } } }
                tbody {
                    @for (node_name, node) in &status.nodes {
                        @let seen = cell::of(name, line, node_name, node);
                        tr {
                            th scope="row" { (node_name) }
                            td {
                                @match &seen {
                                    Some(cell) if !cell.word.is_empty() => (word(cell.tone, cell.word)),
                                    Some(_) | None => span.quiet { "not there" },
                                }
                            }
                            td {
                                @if let Some(cell) = &seen { (said(&cell.detail)) }
                                @if let Some(opinion) = line.opinions.get(node_name) {
                                    p { @if opinion.is_empty() { "It reaches the service." } @else { (opinion) } }
                                }
                                @if let Some(user) = line.used.get(node_name) {
                                    p { "The container " (user) " uses its storage without a lease." }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What would happen if its host died now, in words.
fn what_if(status: &Status, name: &str, line: &GroupLine, told: &Told) -> Markup {
    html! {
        h2 { "If its host died now" }
        @for sentence in sentences(status, name, line) { p { (said(&sentence)) } }
        @if line.holder.is_some() { p.quiet { (told.failover_takes().unwrap_or_else(|| told.start_takes())) } }
        @for warning in &line.warnings { p { (warning) "." } }
    }
}

fn sentences(status: &Status, name: &str, line: &GroupLine) -> Vec<String> {
    let Some(holder) = &line.holder else {
        return vec![format!("No host runs {name}: nothing would change.")];
    };
    let wait = span(status.longest_ms.unwrap_or(status.ttl_ms));
    let mut told = vec![format!("{holder} would be missed for {wait} after its last beat.")];
    if let Some(order) = &line.paused {
        told.push(format!("Then nobody would take over: {name} is on pause {order}."));
        return told;
    }
    match offer::best_standby(status, name) {
        Some(best) => {
            told.push(format!("Then {best} would take over and start {name}."));
            let others = status.nodes.iter().filter(|(other, node)| {
                let is_ready =
                    node.groups.get(name).is_some_and(String::is_empty) && !line.excluded.contains_key(*other);
                *other != holder
                    && other.as_str() != best
                    && node.state == NodeState::Alive
                    && node.drained.is_none()
                    && is_ready
            });
            let others: Vec<&str> = others.map(|(other, _)| other.as_str()).collect();
            told.push(match others.is_empty() {
                true => "After that no other node would be ready.".to_owned(),
                false => format!("If that one could not, {} would.", others.join(" or ")),
            });
        }
        None => told.push(format!("Then {name} would stay down: no other node is ready for it.")),
    }
    told
}

fn service(status: &Status, line: &GroupLine, probes: &BTreeMap<String, ProbeSeen>) -> Markup {
    html! {
        h2 #service { "Service and probes" }
        @match (&line.held, &line.holder) {
            (Some(held), _) => (held_here(line, held, probes)),
            (None, Some(holder)) => {
                p { "It runs on " (holder) ", whose own console shows its containers and probes." }
                @if let Some(address) = status.nodes.get(holder).map(|node| &node.address).filter(|at| is_address(at)) {
                    p { a data-console=(address) href={ "//" (address) "/" } { "Console of " (holder) } }
                }
            }
            (None, None) => p.quiet { "Nothing runs." },
        }
    }
}

/// What the last check said, and when.
fn last_answer(seen: Option<&ProbeSeen>) -> Markup {
    let millis = |length: Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    html! {
        @if let Some(seen) = seen {
            " " span.quiet {
                "last "
                @if let Some(fault) = &seen.fault { "failed: " (fault) } @else { "answered within " (span(millis(seen.took))) }
                ", " (span(millis(clock::now().since(seen.at)))) " ago"
            }
        }
    }
}

fn held_here(line: &GroupLine, held: &HeldLine, probes: &BTreeMap<String, ProbeSeen>) -> Markup {
    html! {
        dl {
            dt { "Run" } dd { (held.run.to_string()) ", " (held.stage.word()) }
            dt { "Addresses" } dd { @if line.vips.is_empty() { "none" } @else if held.address_held { "held" } @else { "not held here" } }
            dt { "Without a further beat" } dd { "it is stopped in " (span(held.valid_ms)) }
            @for (name, service) in &held.services { dt { "Container " (name) } dd { (service) } }
            @for (name, passes) in &held.probes {
                dt { "Probe " (name) }
                dd { @if *passes { (word(Tone::Good, "passes")) } @else { (word(Tone::Bad, "fails")) } (last_answer(probes.get(name))) }
            }
            @for (name, seen) in probes.iter().filter(|(name, _)| !held.probes.contains_key(*name)) {
                dt { "Probe " (name) }
                dd { (word(Tone::Warn, "has not passed yet")) (last_answer(Some(seen))) }
            }
            @if held.probes.is_empty() && probes.is_empty() { dt { "Probes" } dd { "none has passed yet, or there is none" } }
            @if let Some(failure) = &held.probe_failure { dt { "Last failure" } dd { (failure) } }
        }
    }
}

fn differences(line: &GroupLine) -> Markup {
    html! {
        h2 { "Differences" }
        @match &line.drift {
            Some(drift) => p { (drift) },
            None => p { "It runs as the file and the image say." },
        }
        @if line.warnings.is_empty() { p { "It would be the same on every node, as far as they tell." } }
        @else { ul { @for warning in &line.warnings { li { (warning) } } } }
    }
}

fn decisions(told: &[LoggedDecision]) -> Markup {
    html! {
        h2 { "Last decisions of this node" }
        @if told.is_empty() { p.quiet { "None since its sidecar started." } }
        ol reversed {
            @for told in told.iter().rev().take(SHOWN_MAX) {
                li class=(told.level.word()) { (time(&told.at)) " " (said(&told.text)) " " code { (told.code) } }
            }
        }
    }
}

fn acts(told: &Told) -> Markup {
    let acts = told.history.as_ref().map_or(&[][..], |history| history.acts.as_slice());
    html! {
        h2 { "What operators asked" }
        @if acts.is_empty() { p.quiet { "Nothing that is kept." } }
        ol reversed {
            @for act in acts.iter().rev().take(SHOWN_MAX) {
                li {
                    (time(&act.at)) " " strong { (act.verb) @if let Some(node) = &act.node { " " (node) } } " by " (act.by)
                    @if !act.why.is_empty() { " (" (act.why) ")" }
                    ": " @if !act.accepted { "refused: " } (act.answer)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::snapshot::status::NodeLine;

    #[test]
    fn what_would_happen_is_said_in_words() {
        let node = |priority, why: &str| NodeLine {
            state: NodeState::Alive,
            priority,
            groups: [("mail".to_owned(), why.to_owned())].into(),
            ..NodeLine::default()
        };
        let status = |c: &str| Status {
            ttl_ms: 8000,
            nodes: [("a", node(10, "")), ("b", node(20, "no disk")), ("c", node(30, c))]
                .map(|(name, node)| (name.to_owned(), node))
                .into(),
            groups: [(
                "mail".to_owned(),
                GroupLine {
                    holder: Some("a".to_owned()),
                    ..GroupLine::default()
                },
            )]
            .into(),
            ..Status::default()
        };
        let say = |status: &Status, line: &GroupLine| sentences(status, "mail", line).join(" ");
        let (good, bad) = (status(""), status("no image"));
        let line = &good.groups["mail"];
        let text = say(&good, line);
        assert!(
            text.contains("missed for 8.0 s")
                && text.contains("Then c would take over")
                && text.contains("no other node"),
            "{text}"
        );
        assert!(say(&bad, line).contains("would stay down"));
        let paused = GroupLine {
            paused: Some("by ann".to_owned()),
            ..line.clone()
        };
        assert!(say(&good, &paused).contains("nobody would take over: mail is on pause by ann"));
        assert!(say(&good, &GroupLine::default()).contains("nothing would change"));
    }
}
