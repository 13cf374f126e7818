//! The first screen: the whole cluster, and what can be done about it.

use std::collections::BTreeMap;

use axum::extract::{Extension, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::look::{Tone, elsewhere, said, span, time, word};
use super::members::{self, Members};
use super::offer::{self, Offer};
use super::past::Told;
use super::{Page, Visitor, advice, cell, picture};
use crate::adapters::http::Shared;
use crate::adapters::http::access::Role;
use crate::timings::Timings;
use leasehold_base::clock;
use leasehold_core::snapshot::status::{GroupLine, MemberState, NodeLine, NodeState, Status};

pub(super) async fn show(State(shared): State<Shared>, Extension(visitor): Extension<Visitor>) -> Response {
    let (status, timings) = {
        let turn = shared.turn.borrow();
        (turn.status.clone(), turn.recent.counters.timings.clone())
    };
    let groups: Vec<&str> = status.groups.keys().map(String::as_str).collect();
    let past = shared.console.past.of(&shared, &status, &groups).await;
    let seen = Seen {
        status: &status,
        past: &past,
        members: Members {
            names: &shared.console.etcd,
            seen: timings.members_seen(),
            now: clock::now(),
        },
        timings: &timings,
        acts: visitor.acts(),
        role: visitor.caller.role,
    };
    Page {
        title: format!("{}: {}", status.overall.health.word(), status.cluster),
        status: &status,
        visitor: &visitor,
        is_live: true,
        body: seen.page(),
    }
    .into_response()
}

/// What the screen is made from.
struct Seen<'a> {
    status: &'a Status,
    past: &'a BTreeMap<String, Told>,
    members: Members<'a>,
    timings: &'a Timings,
    /// Whoever looks may act.
    acts: bool,
    role: Role,
}

impl Seen<'_> {
    fn page(&self) -> Markup {
        html! {
            (health(self.status, self.acts))
            (self.matrix())
            (self.nodes())
            (members::show(self.status, &self.members))
            (picture::show(&self.status.node, self.status.ttl_ms, self.timings, self.past))
        }
    }

    /// Groups down, nodes across.
    fn matrix(&self) -> Markup {
        let Status { nodes, groups, .. } = self.status;
        html! {
            h2 #services { "Services" }
            @if groups.is_empty() { p { "This node's compose file has no group." } }
            div.scroll role="region" aria-labelledby="services" tabindex="0" {
                table.cards role="table" {
                    caption { "What each group is on each node" }
                    thead role="rowgroup" {
                        tr role="row" {
                            th scope="col" role="columnheader" { "Group" }
                            @for (name, node) in nodes {
                                th scope="col" role="columnheader" { (name) small { (node.state.word()) } }
                            }
                            th scope="col" role="columnheader" { "Addresses" }
                            th scope="col" role="columnheader" { "Last move" }
                            @if self.acts { th scope="col" role="columnheader" { "Actions" } }
                        }
                    }
                    tbody role="rowgroup" {
                        @for (name, line) in groups { (self.row(name, line)) }
                    }
                }
            }
        }
    }

    fn row(&self, name: &str, line: &GroupLine) -> Markup {
        let offers = if self.acts {
            offer::of_group(self.status, name, self.role)
        } else {
            Vec::new()
        };
        let told = self.past.get(name).cloned().unwrap_or_default();
        html! {
            tr role="row" {
                th scope="row" role="rowheader" {
                    a #{ "group-" (name) } href={ "/group/" (name) } { (name) }
                    (orders(line))
                }
                @for (node_name, node) in &self.status.nodes {
                    td role="cell" data-of=(node_name) { (cell_of(name, line, node_name, node, &offers)) }
                }
                td role="cell" data-of="Addresses" {
                    @if line.vips.is_empty() { span.quiet { "none" } }
                    @for vip in &line.vips { div { (vip) } }
                }
                td role="cell" data-of="Last move" { (last_move(line, &told)) }
                @if self.acts { td role="cell" { (menu(&format!("acts-{name}"), &offers)) } }
            }
        }
    }

    fn nodes(&self) -> Markup {
        html! {
            h2 #nodes { "Nodes" }
            div.scroll role="region" aria-labelledby="nodes" tabindex="0" {
                table.cards role="table" {
                    caption { "Hosts that run a sidecar. Of those that are ready, the one with the lowest priority takes over." }
                    thead role="rowgroup" {
                        tr role="row" {
                            @for head in ["Node", "State", "Last beat", "Ready to take over", "Priority", "Version", "Endpoints"] {
                                th scope="col" role="columnheader" { (head) }
                            }
                            @if self.acts { th scope="col" role="columnheader" { "Actions" } }
                        }
                    }
                    tbody role="rowgroup" {
                        @for (name, node) in &self.status.nodes { (self.node(name, node)) }
                    }
                }
            }
        }
    }

    fn node(&self, name: &str, node: &NodeLine) -> Markup {
        let beat = match (node.beat_ms, node.away_s) {
            (Some(age), _) => format!("{} ago", span(age)),
            // It is remembered to a minute.
            (None, Some(0..120)) => "away for a minute".to_owned(),
            (None, Some(away)) => format!("away for {}", span(away.saturating_mul(1000))),
            (None, None) => "none".to_owned(),
        };
        html! {
            tr role="row" {
                th scope="row" role="rowheader" { (name) @if *name == self.status.node { small { "this one" } } }
                td role="cell" data-of="State" {
                    (node_word(node))
                    @if let Some(order) = &node.drained { p { "Drained " (said(order)) } }
                }
                td role="cell" data-of="Last beat" { (beat) }
                td role="cell" data-of="Ready to take over" { (self.readiness(name, node)) }
                td role="cell" data-of="Priority" { @if node.state != NodeState::Away { (node.priority) } }
                td role="cell" data-of="Version" { (node.version) }
                td role="cell" data-of="Endpoints" { (node.address) @if !node.endpoints.is_empty() { p { (node.endpoints) } } }
                @if self.acts { td role="cell" { (self.of_node(name)) } }
            }
        }
    }

    /// The first as a button; what takes an admin behind another one.
    fn of_node(&self, name: &str) -> Markup {
        let offers = offer::of_node(self.status, name, self.role);
        let (first, grave) = offers.split_at(offers.len().min(1));
        html! {
            (buttons(first))
            @if !grave.is_empty() { (menu(&format!("node-acts-{name}"), grave)) }
        }
    }

    /// Why a node could not take what it should, a line each.
    fn readiness(&self, name: &str, node: &NodeLine) -> Markup {
        let is_here = |group: &str| {
            self.status
                .groups
                .get(group)
                .is_some_and(|line| line.holder.as_deref() == Some(name))
        };
        let unready: Vec<(&String, &String)> = node
            .groups
            .iter()
            .filter(|(group, why)| !why.is_empty() && !is_here(group))
            .collect();
        html! {
            @if node.state != NodeState::Alive { "no: it is " (node.state.word()) }
            @else if node.drained.is_some() { "no: it is drained" }
            @else if unready.is_empty() { "yes" }
            @else { @for (group, why) in unready { p { (group) ": " (said(why)) } } }
            @if !node.clock.is_empty() { p { (node.clock) } }
        }
    }
}

/// One word for all of it, one sentence, and what to do next.
fn health(status: &Status, acts: bool) -> Markup {
    let health = status.overall.health;
    let tone = Tone::of_health(health);
    let advice = advice::of(status);
    html! {
        section.card.health.(advice::class(tone)) aria-labelledby="health" {
            (word(tone, health.word()))
            h1.say #health { (said(&advice.sentence)) }
            @if !advice.next.is_empty() {
                p { strong { "Next: " } (said(&advice.next)) @if let Some((label, path)) = advice.link.as_ref().filter(|_| acts) {
                    " " a.button.small #next href=(path) { (label) }
                } }
            }
            @if status.member != MemberState::Joined { (elsewhere(status)) }
            @if status.overall.sentences.len() > 1 {
                p { "Besides:" }
                ul { @for sentence in status.overall.sentences.iter().skip(1) { li { (said(sentence)) } } }
            }
        }
    }
}

pub(super) fn node_word(node: &NodeLine) -> Markup {
    match node.state {
        NodeState::Alive if node.clock.is_empty() => word(Tone::Good, node.state.word()),
        NodeState::Alive => word(Tone::Warn, node.state.word()),
        NodeState::Silent | NodeState::Away => word(Tone::Unknown, node.state.word()),
    }
}

/// Orders that stand, beside the name of their group.
pub(super) fn orders(line: &GroupLine) -> Markup {
    let standing = [
        ("Deleted", &line.deleted),
        ("Stopped", &line.stopped),
        ("Paused", &line.paused),
    ];
    html! {
        @for (name, order) in standing {
            @if let Some(order) = order { small { strong { (name) } " " (said(order)) } }
        }
        @if let Some(request) = &line.intent_text { small { (request) } }
        @if let Some(refused) = &line.refused { small { (refused) } }
    }
}

fn cell_of(group: &str, line: &GroupLine, name: &str, node: &NodeLine, offers: &[Offer]) -> Markup {
    let Some(cell) = cell::of(group, line, name, node) else {
        return html! {};
    };
    let path = format!("/group/{group}/switchover?to={name}");
    let legal = offers
        .iter()
        .find(|offer| offer.path == path && offer.refusal.is_none());
    html! {
        @if !cell.word.is_empty() { (word(cell.tone, cell.word)) }
        @if !cell.detail.is_empty() { small { (said(&cell.detail)) } }
        @if let Some(offer) = legal { div { a.button.plain.small #{ "move-" (group) "-" (name) } href=(offer.path) { "Move here" } } }
    }
}

fn last_move(line: &GroupLine, told: &Told) -> Markup {
    html! {
        @match told.last().and_then(|last| Some((last, last.begun.as_ref()?))) {
            Some((last, begun)) => {
                @match &begun.from {
                    Some(from) => { (from) " to " (begun.to) ", " }
                    None => { "started on " (begun.to) ", " }
                }
                (time(&begun.at))
                small {
                    @match (last.total_ms, &last.unknown) {
                        (Some(ms), _) => { (span(ms)) @if begun.from.is_some() { " without service" } @else { " until it served" } }
                        (None, Some(why)) => (why)
                        (None, None) => {}
                    }
                    @if line.holder.is_some() && last.epoch < line.epoch { " (a later one is not told yet)" }
                }
            }
            None => @match &told.fault {
                Some(fault) => span.quiet { (fault) }
                None => span.quiet { "none is known" }
            }
        }
    }
}

/// Acts behind one button: first those that can be done, then the others by what keeps them from it.
pub(super) fn menu(id: &str, offers: &[Offer]) -> Markup {
    let mut refused: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for offer in offers {
        if let Some(why) = &offer.refusal {
            refused.entry(why).or_default().push(&offer.label);
        }
    }
    let legal = offers.iter().filter(|offer| offer.refusal.is_none());
    html! {
        details.menu #(id) {
            summary #{ (id) "-open" } { "Actions" }
            ul {
                @for offer in legal { li { (button(&format!("{id}{}", offer.path.replace(['/', '?', '='], "-")), offer)) } }
                @for (why, labels) in refused {
                    li { span.off { @for label in labels { b { (label) } br; } small { (said(why)) } } }
                }
            }
        }
    }
}

fn buttons(offers: &[Offer]) -> Markup {
    html! { @for offer in offers { (button(&offer.path.replace('/', "-"), offer)) } }
}

fn button(id: &str, offer: &Offer) -> Markup {
    html! {
        @match &offer.refusal {
            None => a.button.plain.small #(id) href=(offer.path) { (offer.label) },
            Some(why) => span.off { b { (offer.label) } small { (said(why)) } }
        }
    }
}
