//! The answer to a command.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::words;
use leasehold_core::event;

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    pub ok: bool,
    /// There where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = words)]
    pub code: Option<String>,
    /// One sentence: what happens now, or why it was refused.
    pub message: String,
    /// The request that the group's holder has to carry out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<IntentRef>,
}

impl Outcome {
    #[must_use]
    pub fn done(done: event::Done) -> Self {
        Self {
            ok: true,
            code: None,
            message: done.text,
            wish: done.intent.map(Into::into),
        }
    }

    #[must_use]
    pub fn refused(code: &str, message: String) -> Self {
        Self {
            ok: false,
            code: Some(code.to_owned()),
            message,
            wish: None,
        }
    }
}

/// A request to move a group, as it stands in etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IntentRef {
    /// It withdraws this request and no other one.
    pub id: i64,
    /// The node that was named or chosen; none: the best standby when the holder begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl From<event::IntentRef> for IntentRef {
    fn from(of: event::IntentRef) -> Self {
        let event::IntentRef { id, to } = of;
        Self { id, to }
    }
}
