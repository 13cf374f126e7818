//! What can be asked of a group or a node now, and why not what can't. The core decides; this is what a page says beforehand,
//! from the same status, in the core's own sentences where it has one.

use std::time::Duration;

use super::verb::Verb;
use super::{admin, settings};
use crate::adapters::http::access::Role;
use crate::adapters::http::acts::Act;
use leasehold_core::requests::refusal::Refusal;
use leasehold_core::snapshot::status::{GroupLine, MemberState, NodeState, Status};

/// An act that a page offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) label: String,
    pub(super) path: String,
    /// Why it can't be done now.
    pub(super) refusal: Option<String>,
}

/// How an act is called on a button.
pub(super) fn label(act: &Act) -> String {
    match act {
        Act::Switchover { to: Some(to), .. } => format!("Move to {to}"),
        Act::Switchover { to: None, .. } => "Move to the best standby".to_owned(),
        Act::Failback { .. } => "Move back to the preferred node".to_owned(),
        Act::Drill { to: Some(to), .. } => format!("Drill: to {to} and back"),
        Act::Drill { to: None, .. } => "Drill: to the best standby and back".to_owned(),
        Act::Apply { .. } => "Start again with the changed file".to_owned(),
        Act::Stop { .. } => "Stop".to_owned(),
        Act::Start { .. } => "Start".to_owned(),
        Act::Pause { .. } => "Pause".to_owned(),
        Act::Resume { .. } => "End the pause".to_owned(),
        Act::Extend { node, .. } => format!("Extend to {node}"),
        Act::Unextend { node, .. } => format!("Unextend from {node}"),
        Act::Set { .. } => {
            let setting = settings::of(act).map(|setting| setting.name());
            format!("Set {}", setting.unwrap_or_default())
        }
        Act::Drain { node } => format!("Drain {node}"),
        Act::Undrain { node } => format!("Undrain {node}"),
        Act::Create { .. } => "Create".to_owned(),
        Act::Delete { .. } => "Delete".to_owned(),
        Act::FencedGroup { .. } => "Its storage is cut from its host".to_owned(),
        Act::FencedNode { node } => format!("{node} is powered off"),
        Act::Remove { node } => format!("Remove {node}"),
        Act::Hold { node, .. } => format!("Hold {node}"),
    }
}

fn offer(status: &Status, verb: Verb, act: &Act) -> Offer {
    let path = match (act.group(), act.node()) {
        (Some(group), Some(node)) => format!("/group/{group}/{}?to={node}", verb.word()),
        (Some(group), None) => format!("/group/{group}/{}", verb.word()),
        (None, node) => format!("/node/{}/{}", node.unwrap_or_default(), verb.word()),
    };
    Offer {
        label: label(act),
        path,
        refusal: why_not(status, act),
    }
}

/// What somebody of this role may want of a group as it is now: of two opposites the one that makes sense.
pub(super) fn of_group(status: &Status, group: &str, role: Role) -> Vec<Offer> {
    let Some(line) = status.groups.get(group) else {
        return Vec::new();
    };
    let on = |verb: Verb, node: Option<&str>| {
        let act = verb.on_group(group, node, Duration::ZERO)?;
        Some(offer(status, verb, &act))
    };
    let others = status.nodes.keys().filter(|node| line.holder.as_ref() != Some(node));
    let moves = others.map(|node| on(Verb::Switchover, Some(node)));
    let standing = [
        on(Verb::Failback, None),
        on(Verb::Drill, None),
        on(Verb::Apply, None),
        on(
            if line.paused.is_some() {
                Verb::Resume
            } else {
                Verb::Pause
            },
            None,
        ),
        on(
            if line.stopped.is_some() {
                Verb::Start
            } else {
                Verb::Stop
            },
            None,
        ),
    ];
    let extents = status
        .nodes
        .iter()
        .filter(|(name, node)| node.groups.contains_key(group) || line.excluded.contains_key(*name));
    let extents = extents.map(|(node, _)| {
        let verb = if line.excluded.contains_key(node) {
            Verb::Extend
        } else {
            Verb::Unextend
        };
        on(verb, Some(node))
    });
    let there = if line.deleted.is_some() {
        Verb::Create
    } else {
        Verb::Delete
    };
    let grave = [there, Verb::Fenced].map(|verb| on(verb, None).filter(|_| role >= Role::Admin));
    moves.chain(standing).chain(extents).chain(grave).flatten().collect()
}

/// The same of a node.
pub(super) fn of_node(status: &Status, node: &str, role: Role) -> Vec<Offer> {
    let Some(line) = status.nodes.get(node) else {
        return Vec::new();
    };
    let first = if line.drained.is_some() {
        Verb::Undrain
    } else {
        Verb::Drain
    };
    let grave = if *node == status.node {
        [Verb::Hold, Verb::Fenced]
    } else {
        [Verb::Remove, Verb::Fenced]
    };
    let verbs = [first].into_iter().chain(grave);
    let acts = verbs.filter_map(|verb| Some((verb, verb.on_node(node, Duration::ZERO)?)));
    let acts = acts.filter(|(_, act)| role >= act.role());
    acts.map(|(verb, act)| offer(status, verb, &act)).collect()
}

/// The best ready standby of a group, as the core would choose it.
pub(super) fn best_standby<'a>(status: &'a Status, group: &str) -> Option<&'a str> {
    let line = status.groups.get(group)?;
    let ready = status.nodes.iter().filter(|(name, node)| {
        line.holder.as_ref() != Some(name)
            && not_ready(status, group, line, name).is_none()
            && node.state == NodeState::Alive
    });
    let best = ready.min_by_key(|(name, node)| (line.priority(name, node.priority), (*name).clone()));
    best.map(|(name, _)| name.as_str())
}

/// Why a node could not take the group.
fn not_ready(status: &Status, group: &str, line: &GroupLine, name: &str) -> Option<String> {
    let Some(node) = status.nodes.get(name) else {
        return Some(Refusal::NoNode { node: name.to_owned() }.to_string());
    };
    let why = match (
        node.state,
        &node.drained,
        line.excluded.get(name),
        node.groups.get(group),
    ) {
        (NodeState::Silent | NodeState::Away, _, _, _) => format!("it is {}", node.state.word()),
        (NodeState::Alive, Some(order), _, _) => format!("it is drained {order}"),
        (NodeState::Alive, None, Some(order), _) => format!("{group} is not extended to it, {order}"),
        (NodeState::Alive, None, None, None) => format!("its compose file has no {group}"),
        (NodeState::Alive, None, None, Some(why)) if why.is_empty() => return None,
        (NodeState::Alive, None, None, Some(why)) => why.clone(),
    };
    let (group, node) = (group.to_owned(), name.to_owned());
    Some(Refusal::NotReady { group, node, why }.to_string())
}

/// An order that stands, or a move, or that it runs nowhere.
pub(super) fn not_movable(group: &str, line: &GroupLine, to_apply: bool) -> Option<String> {
    let named = || group.to_owned();
    if let Some(why) = not_there(group, line) {
        return Some(why);
    }
    if let Some(order) = &line.stopped {
        return Some(format!("{group} is stopped {order}: start it first"));
    }
    if line.holder.is_none() {
        let nothing = if to_apply {
            Refusal::NothingToApply { group: named() }
        } else {
            Refusal::NothingToMove { group: named() }
        };
        return Some(nothing.to_string());
    }
    if let Some(stuck) = &line.stuck {
        return Some(format!("{group} is stuck: {stuck}"));
    }
    if let Some(order) = &line.paused {
        return Some(format!("{group} is on pause {order}: end the pause first"));
    }
    line.intent_text
        .as_ref()
        .map(|request| format!("something else is under way: {request}"))
}

fn not_there(group: &str, line: &GroupLine) -> Option<String> {
    let order = line.deleted.as_ref()?;
    Some(format!(
        "{group} is deleted {order}: `leasehold group create {group}` takes that back"
    ))
}

/// Why an act can't be done now, as far as this node knows.
pub(super) fn why_not(status: &Status, act: &Act) -> Option<String> {
    if status.member != MemberState::Joined {
        return Some(Refusal::NotMember.to_string());
    }
    let Some(group) = act.group() else {
        return why_not_node(status, act).or_else(|| admin::why_not_node(status, act));
    };
    let Some(line) = status.groups.get(group) else {
        let known: Vec<&str> = status.groups.keys().map(String::as_str).collect();
        let (group, known) = (group.to_owned(), known.join(", "));
        return Some(Refusal::NoGroup { group, known }.to_string());
    };
    match act {
        Act::Switchover { to, .. } => {
            not_movable(group, line, false).or_else(|| why_no_move(status, group, line, to.as_deref()))
        }
        Act::Failback { .. } => not_movable(group, line, false).or_else(|| why_no_failback(status, group, line)),
        Act::Drill { to, .. } => not_movable(group, line, false)
            .or_else(|| why_no_drill(status, group, line))
            .or_else(|| why_no_move(status, group, line, to.as_deref())),
        Act::Apply { .. } => not_movable(group, line, true).or_else(|| {
            let none = line.drift.is_none();
            none.then(|| format!("{group} runs as the file and the image say"))
        }),
        Act::Stop { .. } => not_there(group, line).or_else(|| {
            line.stopped
                .as_ref()
                .map(|order| format!("{group} is stopped already, {order}"))
        }),
        Act::Start { .. } => not_there(group, line).or_else(|| {
            line.stopped
                .is_none()
                .then(|| format!("{group} is not stopped by anybody"))
        }),
        Act::Pause { .. } => not_there(group, line),
        Act::Resume { .. } => {
            not_there(group, line).or_else(|| line.paused.is_none().then(|| format!("{group} is not on pause")))
        }
        Act::Extend { node, .. } => not_there(group, line).or_else(|| why_no_extension(status, line, node)),
        Act::Unextend { node, .. } => not_there(group, line).or_else(|| why_no_unextension(status, group, line, node)),
        Act::Set { .. } => not_there(group, line),
        Act::Create { .. } => admin::why_not_create(group, line),
        Act::Delete { .. } => admin::why_not_delete(group, line),
        Act::FencedGroup { .. } => admin::why_not_free(status, group, line),
        Act::Drain { .. } | Act::Undrain { .. } | Act::FencedNode { .. } | Act::Remove { .. } | Act::Hold { .. } => {
            None
        }
    }
}

fn why_not_node(status: &Status, act: &Act) -> Option<String> {
    let name = act.node()?;
    let Some(node) = status.nodes.get(name) else {
        return Some(Refusal::NoNode { node: name.to_owned() }.to_string());
    };
    match (act, &node.drained) {
        (Act::Drain { .. }, Some(order)) => Some(format!("{name} is drained already, {order}")),
        (Act::Undrain { .. }, None) => Some(format!("{name} is not drained")),
        (_, Some(_) | None) => None,
    }
}

fn why_no_move(status: &Status, group: &str, line: &GroupLine, to: Option<&str>) -> Option<String> {
    match to {
        Some(to) if line.holder.as_deref() == Some(to) => {
            let (group, node) = (group.to_owned(), to.to_owned());
            Some(Refusal::HoldsAlready { group, node }.to_string())
        }
        Some(to) => not_ready(status, group, line, to),
        None if best_standby(status, group).is_none() => {
            let group = group.to_owned();
            Some(Refusal::NoStandby { group }.to_string())
        }
        None => None,
    }
}

fn why_no_failback(status: &Status, group: &str, line: &GroupLine) -> Option<String> {
    let priority = |name: &str| {
        let own = status.nodes.get(name)?.priority;
        Some((line.priority(name, own), name.to_owned()))
    };
    let holder = line.holder.as_deref().and_then(priority);
    let best = best_standby(status, group).and_then(priority);
    match (holder, best) {
        (Some((_, holder)), None) => Some(format!("no node that is preferred to {holder} is ready")),
        (Some(holder), Some(best)) if holder <= best => Some(format!(
            "{group} is on {} already, which is preferred of those that are ready",
            holder.1
        )),
        (Some(_), Some(_)) | (None, _) => None,
    }
}

/// A drill asks as a client does, and comes back.
fn why_no_drill(status: &Status, group: &str, line: &GroupLine) -> Option<String> {
    if line.vips.is_empty() {
        return Some(format!(
            "{group} has no virtual IP, so no client can be moved with it: set `vips`"
        ));
    }
    let trouble = line.trouble.as_ref().map(|trouble| trouble.why.as_str());
    let failure = line.held.as_ref().and_then(|held| held.probe_failure.as_deref());
    let holder = line.holder.as_deref()?;
    if let Some(why) = trouble.or(failure) {
        return Some(format!("{group} is not well on {holder} ({why}): mend that first"));
    }
    not_ready(status, group, line, holder).map(|why| format!("{group} could not come back: {why}"))
}

fn why_no_extension(status: &Status, line: &GroupLine, node: &str) -> Option<String> {
    if !line.excluded.contains_key(node) {
        return Some(format!("it is extended to {node} already"));
    }
    let is_alive = status
        .nodes
        .get(node)
        .is_some_and(|node| node.state == NodeState::Alive);
    (!is_alive).then(|| Refusal::NodeSilent { node: node.to_owned() }.to_string())
}

fn why_no_unextension(status: &Status, group: &str, line: &GroupLine, node: &str) -> Option<String> {
    let (named, whom) = (group.to_owned(), node.to_owned());
    if line.holder.as_deref() == Some(node) {
        return Some(
            Refusal::HoldsMoveFirst {
                group: named,
                node: whom,
            }
            .to_string(),
        );
    }
    let others = status.nodes.iter().filter(|(name, other)| {
        *name != node && other.groups.contains_key(group) && !line.excluded.contains_key(*name)
    });
    (others.count() == 0).then(|| {
        Refusal::LastNode {
            group: named,
            node: whom,
        }
        .to_string()
    })
}

/// Whether it ends the service, takes the last node away that could go on, or rests on a person's word: then its name is to be
/// typed.
pub(super) fn is_dangerous(status: &Status, act: &Act) -> bool {
    match act {
        Act::Stop { .. }
        | Act::Drill { .. }
        | Act::Delete { .. }
        | Act::FencedGroup { .. }
        | Act::FencedNode { .. }
        | Act::Remove { .. } => true,
        Act::Unextend { group, node } => {
            let line = status.groups.get(group);
            let others = status.nodes.iter().filter(|(name, other)| {
                let holds = line.is_some_and(|line| line.holder.as_ref() == Some(name));
                *name != node
                    && !holds
                    && other.state == NodeState::Alive
                    && other.groups.get(group).is_some_and(String::is_empty)
            });
            others.count() == 0
        }
        Act::Drain { node } => status
            .groups
            .iter()
            .any(|(group, line)| line.holder.as_ref() == Some(node) && best_standby(status, group).is_none()),
        Act::Switchover { .. }
        | Act::Failback { .. }
        | Act::Apply { .. }
        | Act::Start { .. }
        | Act::Pause { .. }
        | Act::Resume { .. }
        | Act::Extend { .. }
        | Act::Create { .. }
        | Act::Set { .. }
        | Act::Hold { .. }
        | Act::Undrain { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::snapshot::status::NodeLine;

    fn status() -> Status {
        let node = |priority| NodeLine {
            state: NodeState::Alive,
            priority,
            groups: [("mail".to_owned(), String::new())].into(),
            ..NodeLine::default()
        };
        let line = GroupLine {
            holder: Some("a".to_owned()),
            ..GroupLine::default()
        };
        Status {
            node: "a".to_owned(),
            member: MemberState::Joined,
            nodes: [("a", 10), ("b", 20), ("c", 30)]
                .map(|(name, priority)| (name.to_owned(), node(priority)))
                .into(),
            groups: [("mail".to_owned(), line)].into(),
            ..Status::default()
        }
    }

    fn act(verb: Verb, node: Option<&str>) -> Act {
        verb.on_group("mail", node, Duration::from_secs(60))
            .or_else(|| verb.on_node(node?, Duration::from_secs(60)))
            .unwrap()
    }

    /// What is refused after a change, and words of the reason; empty: it is offered.
    type Row = (
        fn(&mut Status, &mut GroupLine),
        Verb,
        Option<&'static str>,
        &'static str,
    );

    const ROWS: [Row; 31] = [
        (
            |_, line| line.vips = vec!["192.0.2.10".to_owned()],
            Verb::Drill,
            None,
            "",
        ),
        (|_, _| {}, Verb::Drill, None, "no virtual IP"),
        (
            |status, line| {
                line.vips = vec!["192.0.2.10".to_owned()];
                status.nodes.get_mut("a").unwrap().drained = Some("by ann".to_owned());
            },
            Verb::Drill,
            None,
            "could not come back: a is not ready",
        ),
        (
            |status, line| {
                line.vips = vec!["192.0.2.10".to_owned()];
                status.nodes.retain(|name, _| name == "a");
            },
            Verb::Drill,
            None,
            "no standby",
        ),
        (|_, _| {}, Verb::Switchover, Some("b"), ""),
        (|_, _| {}, Verb::Switchover, None, ""),
        (|_, _| {}, Verb::Switchover, Some("a"), "a"),
        (|_, _| {}, Verb::Switchover, Some("z"), "no node z"),
        (
            |_, line| line.paused = Some("by ann".to_owned()),
            Verb::Switchover,
            Some("b"),
            "on pause by ann",
        ),
        (
            |_, line| line.stopped = Some("by ann".to_owned()),
            Verb::Switchover,
            Some("b"),
            "stopped by ann",
        ),
        (
            |_, line| line.holder = None,
            Verb::Switchover,
            Some("b"),
            "not active anywhere",
        ),
        (
            |_, line| line.stuck = Some("kill it".to_owned()),
            Verb::Switchover,
            Some("b"),
            "stuck: kill it",
        ),
        (
            |_, line| line.intent_text = Some("to c".to_owned()),
            Verb::Switchover,
            Some("b"),
            "under way: to c",
        ),
        (
            |status, _| status.nodes.get_mut("b").unwrap().state = NodeState::Silent,
            Verb::Switchover,
            Some("b"),
            "it is silent",
        ),
        (
            |status, _| status.nodes.get_mut("b").unwrap().drained = Some("by ann".to_owned()),
            Verb::Switchover,
            Some("b"),
            "drained by ann",
        ),
        (
            |status, _| {
                drop(
                    status
                        .nodes
                        .get_mut("b")
                        .unwrap()
                        .groups
                        .insert("mail".to_owned(), "no image".to_owned()),
                )
            },
            Verb::Switchover,
            Some("b"),
            "no image",
        ),
        (
            |status, _| status.member = MemberState::Frozen,
            Verb::Switchover,
            Some("b"),
            "not a member",
        ),
        (
            |status, _| status.nodes.retain(|name, _| name == "a"),
            Verb::Switchover,
            None,
            "no standby",
        ),
        (|_, _| {}, Verb::Failback, None, "preferred"),
        (|_, line| line.holder = Some("b".to_owned()), Verb::Failback, None, ""),
        (|_, _| {}, Verb::Apply, None, "as the file"),
        (
            |_, line| line.drift = Some("environment".to_owned()),
            Verb::Apply,
            None,
            "",
        ),
        (|_, _| {}, Verb::Start, None, "not stopped"),
        (
            |_, line| line.deleted = Some("by ann".to_owned()),
            Verb::Stop,
            None,
            "deleted by ann",
        ),
        (|_, _| {}, Verb::Resume, None, "not on pause"),
        (|_, _| {}, Verb::Pause, None, ""),
        (|_, _| {}, Verb::Extend, Some("b"), "already"),
        (
            |_, line| drop(line.excluded.insert("b".to_owned(), "by ann".to_owned())),
            Verb::Extend,
            Some("b"),
            "",
        ),
        (|_, _| {}, Verb::Unextend, Some("a"), "a"),
        (|_, _| {}, Verb::Drain, Some("b"), ""),
        (|_, _| {}, Verb::Undrain, Some("b"), "not drained"),
    ];

    #[test]
    fn what_cannot_be_done_is_refused_with_its_reason() {
        for (change, verb, node, words) in ROWS {
            let mut status = status();
            let mut line = status.groups.remove("mail").unwrap();
            change(&mut status, &mut line);
            status.groups.insert("mail".to_owned(), line);
            match (why_not(&status, &act(verb, node)), words) {
                (None, "") => {}
                (Some(why), words) if !words.is_empty() && why.contains(words) => {}
                (why, words) => panic!("{verb:?} {node:?}: {why:?}, not {words:?}"),
            }
        }
    }

    #[test]
    fn of_two_opposites_one_is_offered_and_each_leads_to_its_page() {
        let mut status = status();
        let paths = |status: &Status| -> Vec<String> {
            of_group(status, "mail", Role::Operator)
                .into_iter()
                .map(|offer| offer.path)
                .collect()
        };
        let before = paths(&status);
        for path in [
            "/group/mail/switchover?to=b",
            "/group/mail/stop",
            "/group/mail/pause",
            "/group/mail/unextend?to=c",
        ] {
            assert!(before.contains(&path.to_owned()), "{before:?}");
        }
        let line = status.groups.get_mut("mail").unwrap();
        (line.stopped, line.paused) = (Some(String::new()), Some(String::new()));
        let after = paths(&status);
        assert!(after.contains(&"/group/mail/start".to_owned()) && after.contains(&"/group/mail/resume".to_owned()));
        assert!(!after.contains(&"/group/mail/stop".to_owned()), "{after:?}");
        let of_node = |role| -> Vec<String> {
            of_node(&status, "b", role)
                .into_iter()
                .map(|offer| offer.path)
                .collect()
        };
        assert_eq!(of_node(Role::Operator), ["/node/b/drain"]);
        assert_eq!(
            of_node(Role::Admin),
            ["/node/b/drain", "/node/b/remove", "/node/b/fenced"]
        );
    }

    #[test]
    fn what_ends_the_service_is_dangerous() {
        let mut status = status();
        assert!(is_dangerous(&status, &act(Verb::Stop, None)));
        assert!(!is_dangerous(&status, &act(Verb::Switchover, Some("b"))));
        assert!(
            !is_dangerous(&status, &act(Verb::Unextend, Some("b")))
                && !is_dangerous(&status, &act(Verb::Drain, Some("a")))
        );
        status.nodes.remove("c");
        assert!(is_dangerous(&status, &act(Verb::Unextend, Some("b"))));
        status.nodes.remove("b");
        assert!(is_dangerous(&status, &act(Verb::Drain, Some("a"))));
        assert_eq!(best_standby(&status, "mail"), None);
    }
}
