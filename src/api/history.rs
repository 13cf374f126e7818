//! The history of a group: what each epoch began and ended with, and what operators asked.

use leasehold_core::history;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words::{Before, PhaseKind};

/// A part of a move, as the node that saw it timed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Phase {
    pub what: PhaseKind,
    pub ms: u64,
}

/// How an epoch began, written by the node that won it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Begun {
    pub epoch: u64,
    /// The holder before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    pub to: String,
    /// In words, with the operator who asked and why, if one did.
    pub cause: String,
    /// Wall time of the node, when it won the epoch.
    pub at: String,
    pub before: Before,
    /// From the last that was known of the holder before, in order of time; each counts from the one before it.
    pub phases: Vec<Phase>,
    /// Whether all was up and the probes passed; false too where its sidecar ended before it could say so.
    pub served: bool,
}

/// How it ended, written by the same node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Left {
    pub epoch: u64,
    pub node: String,
    pub cause: String,
    pub at: String,
    /// From the order to stop until others may take it.
    pub phases: Vec<Phase>,
    /// Runs of its containers in this epoch: more than one were restarts in place.
    pub runs: u32,
}

/// What an operator asked for, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    pub at: String,
    /// Who, and on which node.
    pub by: String,
    /// Such as `stop` or `drain`.
    pub verb: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The node that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// False: it was refused.
    pub accepted: bool,
    /// What was answered.
    pub answer: String,
}

/// One epoch, as far as anybody wrote of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Epoch {
    pub epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<Begun>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Left>,
    /// From when the service stopped, or was last heard of, until it served again; none where a part is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_ms: Option<u64>,
    /// What is missing, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// All that is kept of a group, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct History {
    pub group: String,
    pub epochs: Vec<Epoch>,
    /// About the group, and about nodes and the cluster as a whole.
    pub acts: Vec<AuditEntry>,
}

impl From<history::Phase> for Phase {
    fn from(phase: history::Phase) -> Self {
        let history::Phase { what, ms } = phase;
        let what = what.into();
        Self { what, ms }
    }
}

impl From<history::Begun> for Begun {
    fn from(begun: history::Begun) -> Self {
        let history::Begun {
            epoch,
            from,
            to,
            cause,
            at,
            before,
            phases,
            served,
        } = begun;
        Self {
            epoch,
            from,
            to,
            cause,
            at,
            before: before.into(),
            phases: phases.into_iter().map(Into::into).collect(),
            served,
        }
    }
}

impl From<history::Left> for Left {
    fn from(left: history::Left) -> Self {
        let history::Left {
            epoch,
            node,
            cause,
            at,
            phases,
            runs,
        } = left;
        Self {
            epoch,
            node,
            cause,
            at,
            phases: phases.into_iter().map(Into::into).collect(),
            runs,
        }
    }
}

impl From<history::AuditEntry> for AuditEntry {
    fn from(act: history::AuditEntry) -> Self {
        let history::AuditEntry {
            at,
            by,
            verb,
            group,
            node,
            why,
            accepted,
            answer,
        } = act;
        Self {
            at,
            by,
            verb,
            group,
            node,
            why,
            accepted,
            answer,
        }
    }
}

impl From<history::Epoch> for Epoch {
    fn from(of: history::Epoch) -> Self {
        let history::Epoch {
            epoch,
            begun,
            left,
            total_ms,
            unknown,
        } = of;
        Self {
            epoch,
            begun: begun.map(Into::into),
            left: left.map(Into::into),
            total_ms,
            unknown,
        }
    }
}

impl From<history::History> for History {
    fn from(history: history::History) -> Self {
        let history::History { group, epochs, acts } = history;
        Self {
            group,
            epochs: epochs.into_iter().map(Into::into).collect(),
            acts: acts.into_iter().map(Into::into).collect(),
        }
    }
}
