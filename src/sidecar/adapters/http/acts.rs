//! What an operator may ask about a group or a node, whatever it comes by: an operation of `/v1` or a form of the console.

use std::time::Duration;

use super::Shared;
use super::access::{Caller, Role};
use super::acting::{ask, known_group, known_node, order, origin};
use super::problem::Problem;
use leasehold_base::clock;
use leasehold_core::event::{Done, OrderKind, Request};

/// An act about one group or one node that takes an operator.
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
    Drain {
        node: String,
    },
    Undrain {
        node: String,
    },
}

impl Act {
    /// The group that it is about.
    pub(super) fn group(&self) -> Option<&str> {
        match self {
            Self::Switchover { group, .. }
            | Self::Failback { group }
            | Self::Apply { group }
            | Self::Stop { group }
            | Self::Start { group }
            | Self::Pause { group, .. }
            | Self::Resume { group }
            | Self::Extend { group, .. }
            | Self::Unextend { group, .. } => Some(group),
            Self::Drain { .. } | Self::Undrain { .. } => None,
        }
    }

    /// The node that it names.
    pub(super) fn node(&self) -> Option<&str> {
        match self {
            Self::Switchover { to, .. } => to.as_deref(),
            Self::Extend { node, .. } | Self::Unextend { node, .. } | Self::Drain { node } | Self::Undrain { node } => {
                Some(node)
            }
            Self::Failback { .. }
            | Self::Apply { .. }
            | Self::Stop { .. }
            | Self::Start { .. }
            | Self::Pause { .. }
            | Self::Resume { .. } => None,
        }
    }
}

/// Has the loop do it, with the caller's name and reason for the log and the history.
pub(super) async fn carry_out(shared: &Shared, caller: &Caller, act: Act, why: String) -> Result<Done, Problem> {
    match (act.group(), act.node()) {
        (Some(group), _) => known_group(shared, group)?,
        (None, Some(node)) => known_node(shared, node)?,
        (None, None) => {}
    }
    let kind = match act {
        Act::Switchover { group, to } => {
            let origin = origin(shared, caller, why, None)?;
            return ask(
                shared,
                caller,
                Role::Operator,
                Request::Switchover { group, to, origin },
            )
            .await;
        }
        Act::Failback { group } => {
            let origin = origin(shared, caller, why, None)?;
            return ask(shared, caller, Role::Operator, Request::Failback { group, origin }).await;
        }
        Act::Apply { group } => {
            let origin = origin(shared, caller, why, None)?;
            return ask(shared, caller, Role::Operator, Request::Apply { group, origin }).await;
        }
        Act::Pause { group, length } => {
            let until = clock::wall_after(length);
            let kind = OrderKind::Pause { group, length };
            return order(shared, caller, Role::Operator, kind, why, until).await;
        }
        Act::Stop { group } => OrderKind::Stop { group },
        Act::Start { group } => OrderKind::Start { group },
        Act::Resume { group } => OrderKind::Resume { group },
        Act::Extend { group, node } => OrderKind::Extend { group, node },
        Act::Unextend { group, node } => OrderKind::Unextend { group, node },
        Act::Drain { node } => OrderKind::Drain { node },
        Act::Undrain { node } => OrderKind::Undrain { node },
    };
    order(shared, caller, Role::Operator, kind, why, None).await
}
