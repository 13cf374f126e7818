//! Acts that take an admin: why they can't be done now, and what they do. The core decides; see [`super::offer`].

use std::time::Duration;

use crate::adapters::http::acts::Act;
use leasehold_core::protocol::sizing::{HOLD_MAX, HOLD_TTLS_MIN};
use leasehold_core::requests::refusal::Refusal;
use leasehold_core::snapshot::status::{GroupLine, NodeState, Status};

/// What a hold lasts where nobody says it, in seconds: a sidecar is replaced within it.
pub(super) const HOLD_S: u64 = 120;
/// The longest hold, in seconds.
pub(super) const HOLD_MAX_S: u64 = HOLD_MAX.as_secs();

/// The shortest hold of this cluster, in seconds.
pub(super) fn hold_least_s(status: &Status) -> u64 {
    status.ttl_ms.saturating_mul(HOLD_TTLS_MIN.into()).div_ceil(1000)
}

pub(super) fn why_not_create(group: &str, line: &GroupLine) -> Option<String> {
    if line.deleted.is_none() && (line.epoch > 0 || line.holder.is_some()) {
        return Some(format!("{group} is there: nobody deleted it"));
    }
    let (node, by) = line.used.first_key_value()?;
    let (group, node, by) = (group.to_owned(), node.clone(), by.clone());
    Some(Refusal::StorageInUse { group, node, by }.to_string())
}

pub(super) fn why_not_delete(group: &str, line: &GroupLine) -> Option<String> {
    if let Some(order) = &line.deleted {
        return Some(format!("{group} is deleted already, {order}"));
    }
    let named = || group.to_owned();
    if line.unreadable {
        let (group, whom) = (named(), "a holder".to_owned());
        return Some(Refusal::RecordUnreadable { group, whom }.to_string());
    }
    if let Some(stuck) = &line.stuck {
        return Some(format!("{group} is stuck: {stuck}"));
    }
    if let Some(request) = &line.intent_text {
        return Some(format!("something else is under way: {request}"));
    }
    if let Some(holder) = &line.holder {
        return Some(format!("{holder} holds {group}: stop it first"));
    }
    line.held
        .is_some()
        .then(|| Refusal::StillStopping { group: named() }.to_string())
}

/// Why a person's word about the storage of a group frees nothing.
pub(super) fn why_not_free(status: &Status, group: &str, line: &GroupLine) -> Option<String> {
    let named = || group.to_owned();
    let Some(holder) = &line.holder else {
        return Some(Refusal::HeldByNobody { group: named() }.to_string());
    };
    if line.held.is_some() {
        return Some(Refusal::HeldHere { group: named() }.to_string());
    }
    let (group, node) = (named(), holder.clone());
    (line.stuck.is_none() && is_alive(status, holder)).then(|| Refusal::NotStuckThere { group, node }.to_string())
}

fn is_alive(status: &Status, node: &str) -> bool {
    let line = status.nodes.get(node);
    line.is_some_and(|line| line.state == NodeState::Alive)
}

/// The groups that a node's name stands in as their holder.
fn held<'a>(status: &'a Status, node: &'a str) -> impl Iterator<Item = (&'a str, &'a GroupLine)> {
    let all = status.groups.iter().map(|(group, line)| (group.as_str(), line));
    all.filter(move |(_, line)| line.holder.as_deref() == Some(node))
}

/// Of a node that is known.
pub(super) fn why_not_node(status: &Status, act: &Act) -> Option<String> {
    match act {
        Act::Remove { node } => why_not_remove(status, node),
        Act::FencedNode { node } => why_not_free_node(status, node),
        Act::Hold { node, .. } => (*node != status.node).then(|| format!("open the console of {node} itself")),
        Act::Switchover { .. }
        | Act::Failback { .. }
        | Act::Drill { .. }
        | Act::Apply { .. }
        | Act::Stop { .. }
        | Act::Start { .. }
        | Act::Pause { .. }
        | Act::Resume { .. }
        | Act::Extend { .. }
        | Act::Unextend { .. }
        | Act::Set { .. }
        | Act::Create { .. }
        | Act::Delete { .. }
        | Act::FencedGroup { .. }
        | Act::Drain { .. }
        | Act::Undrain { .. } => None,
    }
}

fn why_not_remove(status: &Status, node: &str) -> Option<String> {
    let named = || node.to_owned();
    if *node == status.node {
        return Some(Refusal::ThisNode { node: named() }.to_string());
    }
    if is_alive(status, node) {
        let ttl = Duration::from_millis(status.ttl_ms);
        return Some(Refusal::RemovedBeats { node: named(), ttl }.to_string());
    }
    if let Some((group, _)) = held(status, node).next() {
        let (group, node) = (group.to_owned(), named());
        return Some(Refusal::NamedHolder { group, node }.to_string());
    }
    let (group, _) = status.groups.iter().find(|(_, line)| line.unreadable)?;
    let (group, whom) = (group.clone(), named());
    Some(Refusal::RecordUnreadable { group, whom }.to_string())
}

fn why_not_free_node(status: &Status, node: &str) -> Option<String> {
    let Some((group, line)) = held(status, node).next() else {
        return Some(Refusal::HoldsNothing { node: node.to_owned() }.to_string());
    };
    if line.held.is_some() {
        let group = group.to_owned();
        return Some(Refusal::HeldHere { group }.to_string());
    }
    is_alive(status, node).then(|| format!("{node} beats: power it off first"))
}

/// What such an act will do.
pub(super) fn effects(status: &Status, act: &Act) -> Vec<String> {
    match act {
        Act::Create { group } => of_create(status, group),
        Act::Delete { group } => vec![
            format!(
                "No node starts {group} any more, until somebody creates it again. It is stopped already: no outage."
            ),
            "Its volumes and everything on them stay as they are. So does its record with its epoch.".to_owned(),
            "Its services can be plain ones again: what the patch for that changes is shown afterwards.".to_owned(),
        ],
        Act::FencedGroup { group } => {
            let holder = status.groups.get(group).and_then(|line| line.holder.as_deref());
            of_word(&[group], holder.unwrap_or("its host"), "is cut from its storage")
        }
        Act::FencedNode { node } => {
            let groups: Vec<&str> = held(status, node).map(|(group, _)| group).collect();
            of_word(&groups, node, "is powered off, or cut from all storage")
        }
        Act::Remove { node } => vec![
            format!("What {node} left in etcd is deleted, and no node misses it any more. No outage."),
            format!("Should {node} start again, it is a new node. Orders about it are forgotten."),
        ],
        Act::Hold { node, .. } => vec![
            format!("{node} promises one long beat, so that its sidecar can be replaced without an outage."),
            "Replace it at once: until the new one has adopted the containers, nobody takes over if this host dies."
                .to_owned(),
            format!(
                "It lasts for {} to {HOLD_MAX_S} s, and ends by itself with the first beat of the new sidecar.",
                hold_least_s(status)
            ),
        ],
        Act::Switchover { .. }
        | Act::Failback { .. }
        | Act::Drill { .. }
        | Act::Apply { .. }
        | Act::Stop { .. }
        | Act::Start { .. }
        | Act::Pause { .. }
        | Act::Resume { .. }
        | Act::Extend { .. }
        | Act::Unextend { .. }
        | Act::Set { .. }
        | Act::Drain { .. }
        | Act::Undrain { .. } => Vec::new(),
    }
}

/// The checks first, then what will happen. A node says of a deleted group only that it is deleted: what it lacks shows later.
fn of_create(status: &Status, group: &str) -> Vec<String> {
    let Some(line) = status.groups.get(group) else {
        return Vec::new();
    };
    let nodes = status.nodes.iter().filter(|(_, node)| node.groups.contains_key(group));
    let nodes = nodes.map(
        |(name, node)| match (node.state, &node.drained, line.excluded.get(name)) {
            (NodeState::Silent | NodeState::Away, _, _) => {
                format!("{name} can't take it now: it is {}.", node.state.word())
            }
            (NodeState::Alive, Some(order), _) => format!("{name} can't take it now: it is drained {order}."),
            (NodeState::Alive, None, Some(order)) => {
                format!("{name} can't take it: {group} is not extended to it, {order}.")
            }
            (NodeState::Alive, None, None) => format!("{name} is alive and has {group} in its compose file."),
        },
    );
    let mut told: Vec<String> = nodes.collect();
    told.push("No container uses its storage without a lease, as far as these nodes see.".to_owned());
    told.push(
        "This node looks at everything once more. Then it prepares the storage, as `leasehold init` does: it shows each mount, \
         and writes a store id into each and into etcd."
            .to_owned(),
    );
    told.push(
        "Mounts that are not there, not writable or hold other data are refused. Then nothing is changed.".to_owned(),
    );
    if let Some(order) = line.stopped.as_ref().or(line.paused.as_ref()) {
        told.push(format!("Nobody starts {group} yet: it is stopped or on pause {order}."));
    } else {
        told.push(format!(
            "Each node looks at its engine, the image, the addresses and the storage. The first that \
             is ready starts {group}, in its next epoch."
        ));
    }
    told
}

/// A person's word that a host can't write any more.
fn of_word(groups: &[&str], holder: &str, done: &str) -> Vec<String> {
    vec![
        format!("You give your word that {holder} {done}."),
        format!("Then another node may start {} at once.", groups.join(", ")),
        format!(
            "If {holder} can still write there, two copies run, and the data is damaged. Nothing else can check it."
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::offer;
    use super::*;
    use leasehold_core::snapshot::status::{HeldLine, MemberState, NodeLine};

    /// `mail` on b, which is silent; seen from a, with c away.
    fn status() -> Status {
        let node = |state| NodeLine {
            state,
            groups: [("mail".to_owned(), String::new())].into(),
            ..NodeLine::default()
        };
        let line = GroupLine {
            holder: Some("b".to_owned()),
            ..GroupLine::default()
        };
        Status {
            node: "a".to_owned(),
            member: MemberState::Joined,
            ttl_ms: 8000,
            nodes: [
                ("a", NodeState::Alive),
                ("b", NodeState::Silent),
                ("c", NodeState::Away),
            ]
            .map(|(name, state)| (name.to_owned(), node(state)))
            .into(),
            groups: [("mail".to_owned(), line)].into(),
            ..Status::default()
        }
    }

    fn mail() -> String {
        "mail".to_owned()
    }

    fn of(node: &str) -> String {
        node.to_owned()
    }

    type Change = fn(&mut Status, &mut GroupLine);

    fn judged(change: Change, act: &Act) -> String {
        let mut status = status();
        let mut line = status.groups.remove("mail").unwrap();
        change(&mut status, &mut line);
        status.groups.insert("mail".to_owned(), line);
        offer::why_not(&status, act).unwrap_or_default()
    }

    #[test]
    fn what_an_admin_can_not_do_now_is_refused_with_its_reason() {
        let (create, delete) = (Act::Create { group: mail() }, Act::Delete { group: mail() });
        let free = Act::FencedGroup { group: mail() };
        let node = |name: &str| Act::FencedNode { node: of(name) };
        let remove = |name: &str| Act::Remove { node: of(name) };
        let hold = |name: &str| Act::Hold {
            node: of(name),
            length: Duration::ZERO,
        };
        let alive: Change = |status, _| status.nodes.get_mut("b").unwrap().state = NodeState::Alive;
        let released: Change = |_, line| line.holder = None;
        let deleted: Change = |_, line| (line.holder, line.deleted) = (None, Some("by ann".to_owned()));
        let used: Change = |_, line| {
            line.deleted = Some("by ann".to_owned());
            line.used = [("c".to_owned(), "plain-mail".to_owned())].into();
        };
        let here: Change = |_, line| (line.holder, line.held) = (Some("a".to_owned()), Some(HeldLine::default()));
        let stopping: Change = |_, line| (line.holder, line.held) = (None, Some(HeldLine::default()));
        let stuck: Change = |status, line| {
            status.nodes.get_mut("b").unwrap().state = NodeState::Alive;
            line.stuck = Some("kill it".to_owned());
        };
        let rows: [(Change, Act, &str); 22] = [
            (|_, _| {}, create.clone(), "nobody deleted it"),
            (released, create.clone(), ""),
            (deleted, create.clone(), ""),
            (used, create, "container plain-mail on c uses the storage"),
            (|_, _| {}, delete.clone(), "b holds mail: stop it first"),
            (released, delete.clone(), ""),
            (stopping, delete.clone(), "still being stopped here"),
            (deleted, delete.clone(), "deleted already, by ann"),
            (stuck, delete.clone(), "stuck: kill it"),
            (|_, line| line.unreadable = true, delete, "can't be read"),
            (|_, _| {}, free.clone(), ""),
            (released, free.clone(), "held by nobody"),
            (alive, free.clone(), "is alive and mail is not stuck there"),
            (stuck, free.clone(), ""),
            (here, free, "held by this node itself"),
            (|_, _| {}, node("b"), ""),
            (alive, node("b"), "b beats: power it off first"),
            (|_, _| {}, node("c"), "c holds no group"),
            (|_, _| {}, remove("b"), "names b as its holder"),
            (|_, _| {}, remove("c"), ""),
            (alive, remove("a"), "a is this node"),
            (|_, _| {}, hold("b"), "console of b"),
        ];
        for (number, (change, act, words)) in rows.into_iter().enumerate() {
            let why = judged(change, &act);
            assert!(
                why.contains(words) && why.is_empty() == words.is_empty(),
                "row {number}: {act:?}: {why:?}, not {words:?}"
            );
        }
        assert_eq!(judged(|_, _| {}, &hold("a")), "");
        assert_eq!(hold_least_s(&status()), 32, "as the core has it");
    }

    #[test]
    fn before_a_group_is_created_again_its_checks_are_shown() {
        let mut status = status();
        let line = status.groups.get_mut("mail").unwrap();
        (line.holder, line.deleted) = (None, Some("by ann".to_owned()));
        let told = effects(&status, &Act::Create { group: mail() }).join(" ");
        for words in [
            "a is alive and has mail",
            "b can't take it now: it is silent",
            "c can't take it now: it is away",
            "The first that is ready starts mail",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        status.groups.get_mut("mail").unwrap().paused = Some("by vic".to_owned());
        let told = effects(&status, &Act::Create { group: mail() }).join(" ");
        assert!(told.contains("stopped or on pause by vic"), "{told}");
    }

    #[test]
    fn a_word_names_what_is_at_stake() {
        let told = effects(&status(), &Act::FencedNode { node: of("b") }).join(" ");
        assert!(
            told.contains("b is powered off") && told.contains("start mail at once"),
            "{told}"
        );
    }
}
