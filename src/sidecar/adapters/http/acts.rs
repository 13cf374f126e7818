//! What an operator may ask about a group or a node, whatever it comes by: an operation of `/v1` or a form of the console.

use std::time::Duration;

use super::Shared;
use super::access::{Caller, Role};
use super::acting::{ask, known_group, known_node, one_line, origin};
use super::problem::Problem;
use leasehold_base::clock;
use leasehold_core::event::{Done, OrderKind, Request};
use leasehold_core::protocol::policy::Change;
use leasehold_core::requests::fenced::Fenced;

/// An act about one group or one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// To the node that is named, else to the best ready standby.
    Switchover {
        group: String,
        to: Option<String>,
    },
    Failback {
        group: String,
    },
    /// There and back, measured as a client does it: the command line's work, see `console/job.rs`.
    Drill {
        group: String,
        to: Option<String>,
    },
    Apply {
        group: String,
    },
    Stop {
        group: String,
    },
    Start {
        group: String,
    },
    Pause {
        group: String,
        length: Duration,
    },
    Resume {
        group: String,
    },
    Extend {
        group: String,
        node: String,
    },
    Unextend {
        group: String,
        node: String,
    },
    /// Values in the place of its files'.
    Set {
        group: String,
        changes: Vec<Change>,
    },
    Drain {
        node: String,
    },
    Undrain {
        node: String,
    },
    /// Takes a deletion back.
    Create {
        group: String,
    },
    Delete {
        group: String,
    },
    /// The caller's word that the holder of the group can't write to its storage.
    FencedGroup {
        group: String,
    },
    /// The same of a node and of all storage.
    FencedNode {
        node: String,
    },
    /// Forgets a node that is gone for good.
    Remove {
        node: String,
    },
    /// One long beat of the node that is asked, which is the one that is named.
    Hold {
        node: String,
        length: Duration,
    },
}

impl Act {
    /// What the caller must be.
    pub(super) fn role(&self) -> Role {
        match self {
            Self::Create { .. }
            | Self::Delete { .. }
            | Self::FencedGroup { .. }
            | Self::FencedNode { .. }
            | Self::Remove { .. }
            | Self::Set { .. }
            | Self::Hold { .. } => Role::Admin,
            Self::Switchover { .. }
            | Self::Failback { .. }
            | Self::Drill { .. }
            | Self::Apply { .. }
            | Self::Stop { .. }
            | Self::Start { .. }
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Extend { .. }
            | Self::Unextend { .. }
            | Self::Drain { .. }
            | Self::Undrain { .. } => Role::Operator,
        }
    }

    /// The group that it is about.
    pub(super) fn group(&self) -> Option<&str> {
        match self {
            Self::Switchover { group, .. }
            | Self::Failback { group }
            | Self::Drill { group, .. }
            | Self::Apply { group }
            | Self::Stop { group }
            | Self::Start { group }
            | Self::Pause { group, .. }
            | Self::Resume { group }
            | Self::Extend { group, .. }
            | Self::Unextend { group, .. }
            | Self::Create { group }
            | Self::Delete { group }
            | Self::Set { group, .. }
            | Self::FencedGroup { group } => Some(group),
            Self::Drain { .. }
            | Self::Undrain { .. }
            | Self::FencedNode { .. }
            | Self::Remove { .. }
            | Self::Hold { .. } => None,
        }
    }

    /// The node that it names.
    pub(super) fn node(&self) -> Option<&str> {
        match self {
            Self::Switchover { to, .. } | Self::Drill { to, .. } => to.as_deref(),
            Self::Extend { node, .. }
            | Self::Unextend { node, .. }
            | Self::Drain { node }
            | Self::Undrain { node }
            | Self::FencedNode { node }
            | Self::Remove { node }
            | Self::Hold { node, .. } => Some(node),
            Self::Failback { .. }
            | Self::Apply { .. }
            | Self::Stop { .. }
            | Self::Start { .. }
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Create { .. }
            | Self::Delete { .. }
            | Self::Set { .. }
            | Self::FencedGroup { .. } => None,
        }
    }

    /// What it names may be unknown to this node's file, and in etcd all the same: there the core knows. Nor is it a fault
    /// where nothing is left to do.
    fn is_judged_by_the_core(&self) -> bool {
        match self {
            Self::Delete { .. }
            | Self::FencedGroup { .. }
            | Self::FencedNode { .. }
            | Self::Remove { .. }
            | Self::Hold { .. } => true,
            Self::Create { .. }
            | Self::Switchover { .. }
            | Self::Failback { .. }
            | Self::Drill { .. }
            | Self::Apply { .. }
            | Self::Stop { .. }
            | Self::Start { .. }
            | Self::Pause { .. }
            | Self::Resume { .. }
            | Self::Extend { .. }
            | Self::Unextend { .. }
            | Self::Set { .. }
            | Self::Drain { .. }
            | Self::Undrain { .. } => false,
        }
    }
}

/// Has the loop do it, with the caller's name and reason for the log and the history.
pub(super) async fn carry_out(shared: &Shared, caller: &Caller, act: Act, why: String) -> Result<Done, Problem> {
    match (act.group(), act.node()) {
        _ if act.is_judged_by_the_core() => {}
        (Some(group), _) => known_group(shared, group)?,
        (None, Some(node)) => known_node(shared, node)?,
        (None, None) => {}
    }
    let role = act.role();
    let request = request(shared, caller, act, why)?;
    ask(shared, caller, role, request).await
}

/// What the loop is asked.
fn request(shared: &Shared, caller: &Caller, act: Act, why: String) -> Result<Request, Problem> {
    let until = if let Act::Pause { length, .. } = &act {
        clock::wall_after(*length)
    } else {
        None
    };
    let order = match act {
        Act::Switchover { group, to } => {
            let origin = origin(shared, caller, why, None)?;
            return Ok(Request::Switchover { group, to, origin });
        }
        Act::Failback { group } => {
            let origin = origin(shared, caller, why, None)?;
            return Ok(Request::Failback { group, origin });
        }
        Act::Drill { group, .. } => {
            let message = format!("a drill is measured beside the sidecar: `leasehold drill {group}`, or the console");
            return Err(Problem::malformed(message));
        }
        Act::Apply { group } => {
            let origin = origin(shared, caller, why, None)?;
            return Ok(Request::Apply { group, origin });
        }
        Act::FencedGroup { group } => return on_the_word(shared, caller, Fenced::Group(group), &why),
        Act::FencedNode { node } => return on_the_word(shared, caller, Fenced::Node(node), &why),
        Act::Hold { node, length } if node == shared.node => return Ok(Request::Hold { length }),
        Act::Hold { node, .. } => {
            let message = format!("a hold is a beat of the node that is asked: ask {node} itself");
            return Err(Problem::malformed(message));
        }
        Act::Pause { group, length } => OrderKind::Pause { group, length },
        Act::Stop { group } => OrderKind::Stop { group },
        Act::Start { group } => OrderKind::Start { group },
        Act::Resume { group } => OrderKind::Resume { group },
        Act::Extend { group, node } => OrderKind::Extend { group, node },
        Act::Unextend { group, node } => OrderKind::Unextend { group, node },
        Act::Set { group, changes } => OrderKind::Set { group, changes },
        Act::Drain { node } => OrderKind::Drain { node },
        Act::Undrain { node } => OrderKind::Undrain { node },
        Act::Create { group } => OrderKind::Create { group },
        Act::Delete { group } => OrderKind::Delete { group },
        Act::Remove { node } => OrderKind::Remove { node },
    };
    let origin = origin(shared, caller, why, until)?;
    Ok(Request::Order { order, origin })
}

/// `by` says it; the caller's name, this node and the time are put to it.
fn on_the_word(shared: &Shared, caller: &Caller, what: Fenced, by: &str) -> Result<Request, Problem> {
    one_line("by", by)?;
    let by = format!("{by} ({} on {}) at {}", caller.name, shared.node, clock::wall());
    Ok(Request::Fenced { what, by })
}
