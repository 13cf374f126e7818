//! The answer to a command.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::words;
use leasehold_core::event::{Done, Wished};

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
    /// The wish that the group's holder has to carry out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<Wished>,
}

impl Outcome {
    #[must_use]
    pub fn done(done: Done) -> Self {
        Self {
            ok: true,
            code: None,
            message: done.text,
            wish: done.wish,
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
