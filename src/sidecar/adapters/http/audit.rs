//! What an operator asked for, in the words of the history.

use super::problem::Problem;
use leasehold_base::clock;
use leasehold_core::event::{Command, Done, Wish};
use leasehold_core::history::Act;
use leasehold_core::requests::fenced::Fenced;

/// The act as it is asked for, not answered yet.
pub(super) fn act(by: String, command: &Command) -> Act {
    let mut act = Act {
        at: clock::wall(),
        by,
        verb: String::new(),
        group: None,
        node: None,
        why: String::new(),
        accepted: false,
        answer: String::new(),
    };
    match command {
        Command::Hold { length } => act.verb = format!("hold {} s", length.as_secs()),
        Command::Switchover { group, to, note } => {
            act.verb = "switchover".to_owned();
            (act.group, act.node) = (Some(group.clone()), to.clone());
            act.why.clone_from(&note.why);
        }
        Command::Failback { group, note } => {
            act.verb = "failback".to_owned();
            act.group = Some(group.clone());
            act.why.clone_from(&note.why);
        }
        Command::Apply { group, note } => {
            act.verb = "apply".to_owned();
            act.group = Some(group.clone());
            act.why.clone_from(&note.why);
        }
        Command::Fenced { what, by } => {
            act.verb = "fenced".to_owned();
            act.why = format!("on the word of {by}");
            match what {
                Fenced::Node(node) => act.node = Some(node.clone()),
                Fenced::Group(group) => act.group = Some(group.clone()),
            }
        }
        Command::Accept { force, epoch } => {
            let force = if *force { " --force" } else { "" };
            let epoch = epoch.map_or_else(String::new, |epoch| format!(" --epoch {epoch}"));
            act.verb = format!("accept{force}{epoch}");
        }
        Command::Import { exported } => act.verb = format!("config import: generation {}", exported.generation),
        Command::Wish { wish, note } => {
            act.why.clone_from(&note.why);
            wished(&mut act, wish);
        }
    }
    act
}

fn wished(act: &mut Act, wish: &Wish) {
    let (verb, group, node) = match wish {
        Wish::Stop { group } => ("stop", Some(group), None),
        Wish::Start { group } => ("start", Some(group), None),
        Wish::Pause { group, .. } => ("pause", Some(group), None),
        Wish::Resume { group } => ("resume", Some(group), None),
        Wish::Withdraw { group, .. } => ("withdraw switchover", Some(group), None),
        Wish::Drain { node } => ("drain", None, Some(node)),
        Wish::Undrain { node } => ("undrain", None, Some(node)),
        Wish::Remove { node } => ("remove", None, Some(node)),
        Wish::Extend { group, node } => ("group extend", Some(group), Some(node)),
        Wish::Unextend { group, node } => ("group unextend", Some(group), Some(node)),
        Wish::Create { group } => ("group create", Some(group), None),
        Wish::Delete { group } => ("group delete", Some(group), None),
        Wish::Configure { .. } => ("config apply", None, None),
    };
    act.verb = match wish {
        Wish::Pause { length, .. } => format!("{verb} {} s", length.as_secs()),
        Wish::Configure { ttl } => format!("{verb}: ttl {ttl:?}"),
        Wish::Stop { .. }
        | Wish::Start { .. }
        | Wish::Resume { .. }
        | Wish::Withdraw { .. }
        | Wish::Drain { .. }
        | Wish::Undrain { .. }
        | Wish::Remove { .. }
        | Wish::Extend { .. }
        | Wish::Unextend { .. }
        | Wish::Create { .. }
        | Wish::Delete { .. } => verb.to_owned(),
    };
    (act.group, act.node) = (group.cloned(), node.cloned());
}

/// The act with what came of it.
pub(super) fn answered(act: Act, result: &Result<Done, Problem>) -> Act {
    let (accepted, answer) = match result {
        Ok(answer) => (true, answer.text.as_str()),
        Err(problem) => (false, problem.message()),
    };
    Act {
        accepted,
        answer: answer.to_owned(),
        ..act
    }
}
