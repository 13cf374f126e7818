//! Fences: by an agent, and by a person's word.

use std::time::Duration;

/// Of an agent.
pub(crate) const DID_NOT_END: &str = "it did not end";

/// Why a node is fenced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Because {
    Stuck,
    Silent,
}

/// In the record.
pub(crate) fn succeeded(agent: &str, me: &str) -> String {
    format!("fenced: {agent} on {me} succeeded")
}

/// The same, by a person.
pub(crate) fn by_hand(by: &str, me: &str, node: &str) -> String {
    format!("fenced: {by} on {me} made sure that {node} can't write")
}

/// Why nobody takes what it holds yet.
pub(crate) fn under_way(node: &str) -> String {
    format!("{node} is being fenced")
}

pub(crate) fn begins(node: &str, because: Because, agent: &str) -> String {
    let why = match because {
        Because::Stuck => "can't stop what it holds",
        Because::Silent => "fell silent",
    };
    format!("{node} {why}: fencing it with {agent}; nothing that it held is started before")
}

pub(crate) fn done(node: &str, agent: &str) -> String {
    format!("{node} is fenced: {agent} succeeded")
}

pub(crate) fn hit_the_living(node: &str) -> String {
    format!(
        "a living node was fenced: {node} beat again meanwhile. Nothing of it is taken before it is silent for as long as \
         it promised; see what kept it from etcd"
    )
}

pub(crate) fn failed(node: &str, agent: &str, why: &str, pause: Duration) -> String {
    format!("{node} could not be fenced ({agent}: {why}): trying again in {pause:?}")
}

/// As often as the file says.
pub(crate) fn given_up(node: &str, failures: u32, agent: &str, why: &str, pause: Duration) -> String {
    format!(
        "{node} could not be fenced in {failures} tries ({agent}: {why}): what it held stays down. Power {node} \
         off by hand, then run `leasehold fenced {node}`; trying again in {pause:?}"
    )
}

pub(crate) const FREED_BY_HAND: &str = "an operator made sure that a node can't write: what it held is free";

/// The reply; `left` groups are still its.
pub(crate) fn freed(left: usize) -> String {
    let more = match left {
        0 => String::new(),
        left => format!("; {left} groups did not fit into one transaction: say it again"),
    };
    format!("freed: the best ready standby takes over what it held{more}")
}
