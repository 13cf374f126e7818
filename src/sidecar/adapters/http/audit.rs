//! What an operator asked for, in the words of the history.

use super::problem::Problem;
use leasehold_base::clock;
use leasehold_core::event::{Done, OrderKind, Request};
use leasehold_core::history::AuditEntry;
use leasehold_core::requests::fenced::Fenced;

/// The act as it is asked for, not answered yet.
pub(super) fn act(by: String, request: &Request) -> AuditEntry {
    let mut act = AuditEntry {
        at: clock::wall(),
        by,
        verb: String::new(),
        group: None,
        node: None,
        why: String::new(),
        accepted: false,
        answer: String::new(),
    };
    match request {
        Request::Hold { length } => act.verb = format!("hold {} s", length.as_secs()),
        Request::Switchover { group, to, origin } => {
            act.verb = "switchover".to_owned();
            (act.group, act.node) = (Some(group.clone()), to.clone());
            act.why.clone_from(&origin.why);
        }
        Request::Failback { group, origin } => {
            act.verb = "failback".to_owned();
            act.group = Some(group.clone());
            act.why.clone_from(&origin.why);
        }
        Request::Apply { group, origin } => {
            act.verb = "apply".to_owned();
            act.group = Some(group.clone());
            act.why.clone_from(&origin.why);
        }
        Request::Fenced { what, by } => {
            act.verb = "fenced".to_owned();
            act.why = format!("on the word of {by}");
            match what {
                Fenced::Node(node) => act.node = Some(node.clone()),
                Fenced::Group(group) => act.group = Some(group.clone()),
            }
        }
        Request::Accept { force, epoch } => {
            let force = if *force { " --force" } else { "" };
            let epoch = epoch.map_or_else(String::new, |epoch| format!(" --epoch {epoch}"));
            act.verb = format!("accept{force}{epoch}");
        }
        Request::Import { exported } => act.verb = format!("config import: generation {}", exported.generation),
        Request::Order { order, origin } => {
            act.why.clone_from(&origin.why);
            ordered(&mut act, order);
        }
    }
    act
}

fn ordered(act: &mut AuditEntry, order: &OrderKind) {
    let (verb, group, node) = match order {
        OrderKind::Stop { group } => ("stop", Some(group), None),
        OrderKind::Start { group } => ("start", Some(group), None),
        OrderKind::Pause { group, .. } => ("pause", Some(group), None),
        OrderKind::Resume { group } => ("resume", Some(group), None),
        OrderKind::Withdraw { group, .. } => ("withdraw switchover", Some(group), None),
        OrderKind::Drain { node } => ("drain", None, Some(node)),
        OrderKind::Undrain { node } => ("undrain", None, Some(node)),
        OrderKind::Remove { node } => ("remove", None, Some(node)),
        OrderKind::Extend { group, node } => ("group extend", Some(group), Some(node)),
        OrderKind::Unextend { group, node } => ("group unextend", Some(group), Some(node)),
        OrderKind::Create { group } => ("group create", Some(group), None),
        OrderKind::Delete { group } => ("group delete", Some(group), None),
        OrderKind::Set { group, .. } => ("config set", Some(group), None),
        OrderKind::Configure { .. } => ("config apply", None, None),
    };
    act.verb = match order {
        OrderKind::Pause { length, .. } => format!("{verb} {} s", length.as_secs()),
        OrderKind::Configure { ttl, promises } => match promises.and_then(|promises| promises.bound) {
            Some(bound) => format!("{verb}: ttl {ttl:?}, promises {bound:?}"),
            None => format!("{verb}: ttl {ttl:?}"),
        },
        OrderKind::Set { changes, .. } => {
            let words: Vec<String> = changes.iter().map(ToString::to_string).collect();
            format!("{verb} {}", words.join(" "))
        }
        OrderKind::Stop { .. }
        | OrderKind::Start { .. }
        | OrderKind::Resume { .. }
        | OrderKind::Withdraw { .. }
        | OrderKind::Drain { .. }
        | OrderKind::Undrain { .. }
        | OrderKind::Remove { .. }
        | OrderKind::Extend { .. }
        | OrderKind::Unextend { .. }
        | OrderKind::Create { .. }
        | OrderKind::Delete { .. } => verb.to_owned(),
    };
    (act.group, act.node) = (group.cloned(), node.cloned());
}

/// The act with what came of it.
pub(super) fn answered(act: AuditEntry, result: &Result<Done, Problem>) -> AuditEntry {
    let (accepted, answer) = match result {
        Ok(answer) => (true, answer.text.as_str()),
        Err(problem) => (false, problem.message()),
    };
    AuditEntry {
        accepted,
        answer: answer.to_owned(),
        ..act
    }
}
