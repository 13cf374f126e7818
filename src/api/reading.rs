//! What the reading half of `/v1` answers besides the status and the history.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::status::GroupLine;
use super::words::Level;

/// Why a group is where it is.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Why {
    pub group: String,
    /// The node whose view this is.
    pub node: String,
    /// The one sentence.
    pub sentence: String,
    /// What it rests on.
    pub evidence: GroupLine,
    /// The last decisions of this node about the group and about itself, oldest first.
    pub decisions: Vec<LoggedDecision>,
}

/// A decision and when it was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoggedDecision {
    /// Wall time in RFC 3339.
    pub at: String,
    /// Its stable code, as in docs/messages.md.
    #[serde(default)]
    pub code: String,
    pub level: Level,
    /// None: about the node itself.
    pub group: Option<String>,
    pub text: String,
}
