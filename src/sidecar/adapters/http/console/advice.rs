//! The cluster in one sentence, and what to do next: for somebody who is tired.

use super::look::Tone;
use super::offer;
use leasehold_core::protocol::TroubleState;
use leasehold_core::snapshot::health::Health;
use leasehold_core::snapshot::status::{GroupLine, MemberState, NodeState, Status};

/// What the first lines of the first screen say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Advice {
    pub(super) sentence: String,
    /// Empty where there is nothing to do.
    pub(super) next: String,
    /// A button's label and path.
    pub(super) link: Option<(String, String)>,
}

/// The class of a section of this tone.
pub(super) fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "is-good",
        Tone::Calm => "is-calm",
        Tone::Warn => "is-warn",
        Tone::Bad => "is-bad",
        Tone::Unknown => "is-unknown",
    }
}

type Next = (String, Option<(String, String)>);

pub(super) fn of(status: &Status) -> Advice {
    let sentence = match (status.overall.sentences.first(), status.overall.health) {
        (Some(sentence), _) => sentence.clone(),
        (None, Health::Normal) if status.groups.is_empty() => "There is no group.".to_owned(),
        (None, Health::Normal | Health::Warning | Health::Failed | Health::Unknown) => {
            "Every group serves, and every node could take what it should.".to_owned()
        }
    };
    let (next, link) = next(status).unwrap_or_default();
    Advice { sentence, next, link }
}

/// The first that applies, the worst first.
fn next(status: &Status) -> Option<Next> {
    if status.member != MemberState::Joined {
        let next = "ask another node; what this one shows is what it knew last.".to_owned();
        return Some((next, None));
    }
    let worst = status
        .groups
        .iter()
        .find_map(|(name, line)| of_down(status, name, line));
    let worst = worst.or_else(|| {
        status
            .groups
            .iter()
            .find_map(|(name, line)| of_running(status, name, line))
    });
    worst.or_else(|| of_nodes(status)).or_else(|| {
        let is_told = !status.etcd_troubles.is_empty() || status.etcd_failure.is_some();
        is_told.then(|| ("see to etcd: every beat needs it.".to_owned(), None))
    })
}

fn link(path: String, label: &str) -> Option<(String, String)> {
    Some((label.to_owned(), path))
}

/// A group that does not serve.
fn of_down(status: &Status, name: &str, line: &GroupLine) -> Option<Next> {
    if line.deleted.is_some() && line.holder.is_none() {
        return None;
    }
    if line.stuck.is_some() {
        let next = format!(
            "power the named host off or cut its storage, then say so on another host: `leasehold fenced {name}`."
        );
        return Some((next, link(format!("/group/{name}"), "Look at it")));
    }
    let look = || link(format!("/group/{name}"), "Look at it");
    match &line.holder {
        Some(holder) => {
            let is_silent = line.held.is_none()
                && status
                    .nodes
                    .get(holder)
                    .is_none_or(|node| node.state != NodeState::Alive);
            if is_silent {
                return Some((
                    format!(
                        "see to host {holder}: is it up, and does its sidecar run? The page of {name} says who takes over."
                    ),
                    look(),
                ));
            }
            let trouble = line.trouble.as_ref()?;
            match trouble.state {
                TroubleState::Sick | TroubleState::Down | TroubleState::Other(_) => Some((
                    format!("see why {name} fails on {holder}, in its own log and here."),
                    look(),
                )),
                TroubleState::Restarting | TroubleState::Impaired | TroubleState::Endangered => None,
            }
        }
        None if line.unreadable || line.stopped.is_some() => None,
        None => Some((format!("see why no node takes {name}."), look())),
    }
}

/// A group that serves, or is stopped on purpose.
fn of_running(status: &Status, name: &str, line: &GroupLine) -> Option<Next> {
    if line.deleted.is_some() && line.holder.is_none() {
        return None;
    }
    if line.stopped.is_some() {
        return Some((
            format!("start {name} when the work is done."),
            link(format!("/group/{name}/start"), "Start it"),
        ));
    }
    if line.paused.is_some() {
        return Some((
            format!("end the pause of {name} when the work is done: until then nobody takes over."),
            link(format!("/group/{name}/resume"), "End the pause"),
        ));
    }
    if line.trouble.is_some() || line.unreached.is_some() {
        return Some((
            format!("look at {name} before it gets worse."),
            link(format!("/group/{name}"), "Look at it"),
        ));
    }
    if line.drift.is_some() {
        return Some((
            format!("let {name} start again with the changed file, in a quiet hour."),
            link(format!("/group/{name}/apply"), "Start it again"),
        ));
    }
    let is_alone = line.holder.is_some() && offer::best_standby(status, name).is_none();
    is_alone.then(|| {
        (
            format!("get a second node ready for {name}: the table of nodes says what each lacks."),
            None,
        )
    })
}

fn of_nodes(status: &Status) -> Option<Next> {
    status
        .nodes
        .iter()
        .find_map(|(name, node)| match (node.state, &node.drained) {
            (NodeState::Away, _) => Some((
                format!("bring {name} back; if it will never come, `leasehold node remove {name}`."),
                None,
            )),
            (NodeState::Silent, _) => Some((format!("see to host {name}: is it up, and does its sidecar run?"), None)),
            (NodeState::Alive, Some(_)) => Some((
                format!("let {name} take groups again when the work is done."),
                link(format!("/node/{name}/undrain"), &format!("Undrain {name}")),
            )),
            (NodeState::Alive, None) => {
                let (group, why) = node.groups.iter().find(|(group, why)| {
                    let line = status.groups.get(*group);
                    !why.is_empty()
                        && line.is_some_and(|line| {
                            line.holder.as_deref() != Some(name) && !line.excluded.contains_key(name)
                        })
                })?;
                Some((format!("get {name} ready for {group}: {why}."), None))
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::snapshot::status::NodeLine;

    #[test]
    fn each_trouble_leads_to_what_helps() {
        type Change = fn(&mut Status, &mut GroupLine);
        let cases: [(Change, &str, &str); 9] = [
            (|_, _| {}, "", ""),
            (|status, _| status.member = MemberState::Lost, "ask another node", ""),
            (|_, line| line.holder = None, "why no node takes mail", "/group/mail"),
            (
                |_, line| (line.holder, line.stopped) = (None, Some("by ann".to_owned())),
                "start mail",
                "/group/mail/start",
            ),
            (
                |_, line| line.paused = Some("by ann".to_owned()),
                "end the pause",
                "/group/mail/resume",
            ),
            (
                |_, line| line.drift = Some("image".to_owned()),
                "start again",
                "/group/mail/apply",
            ),
            (
                |_, line| line.stuck = Some("on a".to_owned()),
                "power the named host off",
                "/group/mail",
            ),
            (
                |status, _| status.nodes.get_mut("a").unwrap().state = NodeState::Silent,
                "see to host a",
                "/group/mail",
            ),
            (
                |status, _| status.nodes.get_mut("b").unwrap().drained = Some("by ann".to_owned()),
                "second node ready for mail",
                "",
            ),
        ];
        for (change, words, path) in cases {
            let node = || NodeLine {
                state: NodeState::Alive,
                groups: [("mail".to_owned(), String::new())].into(),
                ..NodeLine::default()
            };
            let mut status = Status {
                member: MemberState::Joined,
                nodes: ["a", "b"].map(|name| (name.to_owned(), node())).into(),
                ..Status::default()
            };
            let mut line = GroupLine {
                holder: Some("a".to_owned()),
                ..GroupLine::default()
            };
            change(&mut status, &mut line);
            status.groups.insert("mail".to_owned(), line);
            let advice = of(&status);
            let led = advice.link.map(|(_, path)| path).unwrap_or_default();
            assert!(
                advice.next.contains(words) && advice.next.is_empty() == words.is_empty(),
                "{}",
                advice.next
            );
            assert_eq!(led, path, "{words}");
        }
    }
}
