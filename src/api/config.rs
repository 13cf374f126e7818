//! What all nodes must agree on, beside what a node's compose file says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::words::NodeState;

/// The cluster's configuration, this node's file, and what each node has confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Configuration {
    /// The node whose file and view this is.
    pub node: String,
    /// The file says what the cluster says, and every node that beats has confirmed it.
    pub equal: bool,
    /// The ttl in this node's compose file, as it is now, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_ttl_ms: Option<u64>,
    /// How long a holder may run on without etcd by this node's compose file, in milliseconds; none: promises are off there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_promises_ms: Option<u64>,
    /// Why the file can't be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_fault: Option<String>,
    /// The ttl that is everybody's.
    pub cluster_ttl_ms: u64,
    /// How long a holder may run on without etcd, in milliseconds; none: promises are off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_promises_ms: Option<u64>,
    /// While not every node has confirmed a shorter one: how long a node that nobody sees is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_ms: Option<u64>,
    pub nodes: BTreeMap<String, Confirmed>,
}

/// What a node has confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Confirmed {
    pub state: NodeState,
    /// What its last beat promised; more than the ttl under a `hold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}
