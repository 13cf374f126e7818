//! What the acting half of `/v1` takes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::number::{whole, whole_or_none};

/// What `switchover` takes.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchoverRequest {
    /// The node that takes over; none: the best ready standby.
    #[serde(default)]
    pub to: Option<String>,
    /// For the log and the history.
    #[serde(default)]
    #[schema(max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub why: String,
}

/// What an order takes.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    /// For the log, `status` and the history.
    #[serde(default)]
    #[schema(max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub why: String,
}

/// What `pause` takes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// It ends by itself after so long.
    #[schema(minimum = 10, maximum = 604_800)]
    #[serde(deserialize_with = "whole")]
    pub seconds: u64,
    #[serde(default)]
    #[schema(max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub why: String,
}

/// What `accept` takes.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptRequest {
    /// Although nothing is strange.
    #[serde(default)]
    pub force: bool,
    /// Every epoch is lifted above this.
    #[serde(default, deserialize_with = "whole_or_none")]
    #[schema(maximum = 281_474_976_710_656_u64)]
    pub epoch: Option<u64>,
}

/// What `fenced` takes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FencedRequest {
    /// Who says so.
    #[schema(max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub by: String,
}

/// What `hold` takes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldRequest {
    #[schema(minimum = 1, maximum = 300)]
    #[serde(deserialize_with = "whole")]
    pub seconds: u64,
}

/// What `config set` takes.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetRequest {
    /// Values by their names, such as `failback` and `auto:10m`.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Names of which the file's value counts again; `all` is every one.
    #[serde(default)]
    pub unset: Vec<String>,
    /// For the log, `status` and the history.
    #[serde(default)]
    #[schema(max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub why: String,
}

/// What `extend` and `unextend` take.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtentRequest {
    /// The node's name.
    pub node: String,
    /// For the log, `status` and the history.
    #[serde(default)]
    #[schema(max_length = 200, pattern = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$")]
    pub why: String,
}
