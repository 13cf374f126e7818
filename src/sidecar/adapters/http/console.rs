//! `/`: the page that an administrator leaves open. It shows what `leasehold status` and `why` say, in the same sentences,
//! and does nothing: no script, no form, so nothing on it can be made to act.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Shared;
use crate::decision_log::DecisionLog;
use leasehold_api::LoggedDecision;
use leasehold_core::group::Stage;
use leasehold_core::protocol::TroubleState;
use leasehold_core::snapshot::health::Health;
use leasehold_core::snapshot::status::{GroupLine, NodeLine, NodeState, Status};

/// Seconds until the browser asks again.
const AGAIN_S: u32 = 5;
/// Decisions shown of each group.
const SHOWN_MAX: usize = 12;
/// Nothing is loaded from anywhere, nothing runs, nobody may frame it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";
const STYLE: &str = "
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 70rem; padding: 0 1rem }
h1, h2 { font-size: 1.1rem; margin: 1.5rem 0 .4rem } h1 { margin-top: 0 }
table { border-collapse: collapse; width: 100% }
th, td { border: 1px solid #8886; padding: .3rem .6rem; text-align: left; vertical-align: top }
.word { border-radius: .2rem; color: #fff; font-weight: 600; padding: .05rem .45rem; white-space: nowrap }
.good { background: #1a7f37 } .calm { background: #57606a } .warn { background: #9a6700 } .bad { background: #b3261e }
.quiet { opacity: .75 } li.alarm { font-weight: 600 } ol, ul { margin: .3rem 0; padding-left: 1.4rem } time { opacity: .75 }
";

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/", get(console))
}

async fn console(State(shared): State<Shared>) -> Response {
    let (status, recent) = {
        let turn = shared.turn.borrow();
        (turn.status.clone(), turn.recent.clone())
    };
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(page(&status, &recent).into_string())).into_response()
}

/// How a word is coloured; the word alone says it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tone {
    Good,
    Calm,
    Warn,
    Bad,
}

impl Tone {
    fn class(self) -> &'static str {
        match self {
            Self::Good => "word good",
            Self::Calm => "word calm",
            Self::Warn => "word warn",
            Self::Bad => "word bad",
        }
    }

    fn of_trouble(state: &TroubleState) -> Self {
        match state {
            TroubleState::Restarting | TroubleState::Impaired | TroubleState::Endangered => Self::Warn,
            TroubleState::Sick | TroubleState::Down | TroubleState::Other(_) => Self::Bad,
        }
    }

    fn of_health(health: Health) -> Self {
        match health {
            Health::Normal => Self::Good,
            Health::Warning => Self::Warn,
            Health::Failed | Health::Unknown => Self::Bad,
        }
    }
}

/// What a group is on a node: one word, and the sentence to it where there is one. None: the node's file has no such group.
fn cell<'a>(group: &str, line: &'a GroupLine, name: &str, node: &'a NodeLine) -> Option<(Tone, &'a str, &'a str)> {
    if line.holder.as_deref() == Some(name) {
        // What runs on another node is known by what that one says of it; of a silent one nothing is known.
        let stage = line.held.as_ref().map_or(Stage::Active, |held| held.stage);
        return Some(match (&line.stuck, &line.trouble, node.state) {
            (Some(stuck), _, _) => (Tone::Bad, "stuck", stuck),
            (None, _, NodeState::Silent | NodeState::Away) => (Tone::Bad, node.state.word(), ""),
            (None, Some(trouble), NodeState::Alive) => {
                (Tone::of_trouble(&trouble.state), trouble.state.word(), &trouble.why)
            }
            (None, None, NodeState::Alive) if stage == Stage::Active => match &line.unreached {
                Some(unreached) => (Tone::Warn, stage.word(), unreached),
                None => (Tone::Good, stage.word(), ""),
            },
            (None, None, NodeState::Alive) => (Tone::Warn, stage.word(), ""),
        });
    }
    let unready = node.groups.get(group);
    match (node.state, &node.drained, unready) {
        (NodeState::Alive, Some(order), Some(_)) => Some((Tone::Warn, "drained", order)),
        (NodeState::Alive, None, Some(why)) if why.is_empty() => Some((Tone::Calm, "standby", "")),
        (NodeState::Alive, None, Some(why)) => Some((Tone::Warn, "not ready", why)),
        (NodeState::Alive, _, None) => None,
        (NodeState::Silent | NodeState::Away, _, _) => Some((Tone::Bad, node.state.word(), "")),
    }
}

fn word(tone: Tone, text: &str) -> Markup {
    html! { span class=(tone.class()) { (text) } }
}

fn page(status: &Status, recent: &DecisionLog) -> Markup {
    let health = status.overall.health;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="refresh" content=(AGAIN_S);
                title { (health.word()) ": " (status.cluster) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Cluster " (status.cluster) " " (word(Tone::of_health(health), health.word())) }
                p.quiet { (seen_from(status)) }
                @if !status.overall.sentences.is_empty() {
                    ul { @for sentence in &status.overall.sentences { li { (sentence) } } }
                }
                (matrix(status))
                (nodes(status))
                @for (name, line) in &status.groups { (group(name, line, &recent.about(name))) }
            }
        }
    }
}

fn seen_from(status: &Status) -> String {
    let etcd = match (status.etcd_age_ms, &status.etcd_failure) {
        (_, Some(failure)) => failure.clone(),
        (Some(age), None) => format!("read {age} ms ago"),
        (None, None) => "never read".to_owned(),
    };
    let Status { node, ttl_ms, .. } = status;
    let member = status.member.word();
    format!(
        "Seen from {node} ({member}), which runs {}; etcd: {etcd}; ttl {ttl_ms} ms.",
        status.version
    )
}

/// Groups down, nodes across.
fn matrix(status: &Status) -> Markup {
    html! {
        table {
            tr { th { "Group" } @for name in status.nodes.keys() { th { (name) } } th { "Addresses" } th { "Epoch" } }
            @for (group, line) in &status.groups {
                tr {
                    td { (group) }
                    @for (name, node) in &status.nodes {
                        td {
                            @if let Some((tone, text, why)) = cell(group, line, name, node) {
                                (word(tone, text)) @if !why.is_empty() { " " (why) }
                            }
                        }
                    }
                    td { (line.vips.join(" ")) }
                    td { (line.epoch) }
                }
            }
        }
    }
}

fn nodes(status: &Status) -> Markup {
    let tone = |node: &NodeLine| match node.state {
        NodeState::Alive => Tone::Good,
        NodeState::Silent | NodeState::Away => Tone::Bad,
    };
    html! {
        h2 { "Nodes" }
        table {
            tr { th { "Node" } th { "State" } th { "Priority" } th { "Version" } th { "Address" } th { "Last beat" } }
            @for (name, node) in &status.nodes {
                tr {
                    td { (name) }
                    td { (word(tone(node), node.state.word())) }
                    td { (node.priority) }
                    td { (node.version) }
                    td { (node.address) }
                    td { @if let Some(age) = node.beat_ms { (age) " ms ago" } @else { "none" } }
                }
            }
        }
    }
}

fn group(name: &str, line: &GroupLine, decisions: &[LoggedDecision]) -> Markup {
    let orders = [
        ("Deleted", &line.deleted),
        ("Stopped", &line.stopped),
        ("Paused", &line.paused),
    ];
    html! {
        h2 { "Why " (name) " is where it is" }
        p { (if line.reason.is_empty() { &line.record } else { &line.reason }) }
        @for (order, given) in orders {
            @if let Some(given) = given { p { (word(Tone::Warn, order)) " " (given) } }
        }
        @if !line.warnings.is_empty() {
            ul { @for warning in &line.warnings { li { (warning) } } }
        }
        ol reversed {
            @for told in decisions.iter().rev().take(SHOWN_MAX) {
                li class=(told.level.word()) { time { (told.at) } " " (told.text) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::event::Decision;
    use leasehold_core::protocol::records::Trouble;
    use leasehold_core::snapshot::code::Code;
    use leasehold_core::snapshot::status::{GroupState, HeldLine};

    fn node(state: NodeState, unready: Option<&str>) -> NodeLine {
        NodeLine {
            state,
            groups: unready
                .map(|why| ("mail".to_owned(), why.to_owned()))
                .into_iter()
                .collect(),
            ..NodeLine::default()
        }
    }

    #[test]
    fn each_cell_says_what_the_group_is_there() {
        use NodeState::{Alive, Silent};
        let active = GroupLine {
            // As the others see it: each names what it is itself.
            state: GroupState::Standby,
            holder: Some("a".to_owned()),
            ..GroupLine::default()
        };
        let stuck = GroupLine {
            stuck: Some("stuck on a".to_owned()),
            ..active.clone()
        };
        let sick = GroupLine {
            trouble: Some(Trouble {
                state: TroubleState::Sick,
                why: "smtp 25: refused".to_owned(),
            }),
            ..active.clone()
        };
        let stopping = GroupLine {
            held: Some(HeldLine {
                stage: Stage::Stopping,
                ..HeldLine::default()
            }),
            ..active.clone()
        };
        let drained = NodeLine {
            drained: Some("by ann".to_owned()),
            ..node(Alive, Some(""))
        };
        for (line, name, node, wanted) in [
            (&active, "a", node(Alive, Some("")), Some((Tone::Good, "active", ""))),
            (&active, "a", node(Silent, Some("")), Some((Tone::Bad, "silent", ""))),
            (
                &stopping,
                "a",
                node(Alive, Some("")),
                Some((Tone::Warn, "stopping", "")),
            ),
            (
                &sick,
                "a",
                node(Alive, Some("")),
                Some((Tone::Bad, "sick", "smtp 25: refused")),
            ),
            (
                &stuck,
                "a",
                node(Alive, Some("")),
                Some((Tone::Bad, "stuck", "stuck on a")),
            ),
            (&active, "b", node(Alive, Some("")), Some((Tone::Calm, "standby", ""))),
            (
                &active,
                "b",
                node(Alive, Some("no disk")),
                Some((Tone::Warn, "not ready", "no disk")),
            ),
            (&active, "b", drained, Some((Tone::Warn, "drained", "by ann"))),
            (&active, "b", node(Silent, Some("")), Some((Tone::Bad, "silent", ""))),
            (&active, "b", node(Alive, None), None),
        ] {
            assert_eq!(cell("mail", line, name, &node), wanted, "{line:?} on {name}");
        }
    }

    #[test]
    fn what_standbys_do_not_reach_stands_beside_its_holder() {
        let line = GroupLine {
            holder: Some("a".to_owned()),
            unreached: Some("b can't reach mail".to_owned()),
            ..GroupLine::default()
        };
        let alive = node(NodeState::Alive, Some(""));
        let shown = cell("mail", &line, "a", &alive);
        assert_eq!(shown, Some((Tone::Warn, "active", "b can't reach mail")));
    }

    #[test]
    fn a_trouble_is_coloured_as_health_judges_it() {
        assert_eq!(Tone::of_trouble(&TroubleState::Restarting), Tone::Warn);
        assert_eq!(Tone::of_trouble(&TroubleState::Endangered), Tone::Warn);
        assert_eq!(Tone::of_trouble(&TroubleState::Sick), Tone::Bad);
        assert_eq!(
            Tone::of_trouble(&TroubleState::Other("bewitched".to_owned())),
            Tone::Bad
        );
    }

    #[test]
    fn what_others_wrote_is_text_and_the_last_decision_comes_first() {
        let hostile = "<script>alert(1)</script>";
        let line = GroupLine {
            reason: hostile.to_owned(),
            paused: Some(format!("by {hostile}")),
            ..GroupLine::default()
        };
        let mut recent = DecisionLog::default();
        for text in ["first", "second"] {
            let decision = Decision {
                code: Code::Released,
                epoch: None,
                group: Some("mail".to_owned()),
                text: text.to_owned(),
            };
            recent.keep("now".to_owned(), &decision);
        }
        let status = Status {
            node: hostile.to_owned(),
            nodes: [(hostile.to_owned(), node(NodeState::Alive, Some(hostile)))].into(),
            groups: [("mail".to_owned(), line)].into(),
            ..Status::default()
        };
        let text = page(&status, &recent).into_string();
        assert!(!text.contains("<script") && text.contains("&lt;script&gt;"), "{text}");
        assert!(text.find("second") < text.find("first"), "{text}");
    }
}
