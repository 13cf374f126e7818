//! Promises (docs/promises.md).

use std::time::Duration;

pub(crate) const NO_VOTE: &str = "its holder runs by promises, which this node does not take part in";

// Why a value in etcd can't be read: nobody is told more than that it can't.
pub(crate) const NO_VOTER_ID: &str = "not a voter id";
pub(crate) const NO_SECRET: &str = "not a secret of promises";
pub(crate) const NO_LIST: &str = "a kept record without its list";

// What becomes of them.

/// `none`, or for how long.
fn bound(bound_ms: Option<u64>) -> String {
    bound_ms.map_or("none".to_owned(), |bound| format!("{:?}", Duration::from_millis(bound)))
}

pub(crate) fn differ(file: Option<u64>, told: Option<u64>) -> String {
    let (file, told) = (bound(file), bound(told));
    format!("the compose file says promises {file}, the cluster {told}: the cluster's hold")
}

pub(crate) fn changed(told: Option<u64>) -> String {
    match told {
        Some(_) => format!(
            "promises are on: a holder runs on for {} without etcd, as long as every other node says that it takes nothing",
            bound(told)
        ),
        None => "promises are off: a holder stops when etcd does not answer for a ttl".to_owned(),
    }
}

// What would hurt next.

pub(crate) fn lacking(node: &str, nodes: &[String]) -> String {
    let nodes = nodes.join(", ");
    format!(
        "were etcd away now, {node} would stop what it holds after a ttl: no promise from {nodes}; see `leasehold check` there"
    )
}

pub(crate) fn alone(node: &str) -> String {
    format!("were etcd away now, {node} would stop what it holds after a ttl: no other node has a vote in promises")
}

pub(crate) fn too_many(node: &str, groups: u64) -> String {
    format!(
        "were etcd away now, {node} would stop what it holds after a ttl: its {groups} groups do not fit into one question; \
         move some of them to another node (`leasehold switchover GROUP`)"
    )
}

pub(crate) fn unreachable(node: &str, fault: &str) -> String {
    format!("{node} can't be asked for a promise: {fault}")
}
