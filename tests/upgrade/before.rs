//! What the program of 84eb5cc reads and writes: its types as they stood there, attribute by attribute. An export alone
//! refused a field that it did not know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
pub(super) struct Beat {
    machine: String,
    boot: String,
    seq: u64,
    nonce: u64,
    ttl_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RecordState {
    Active,
    Released,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    epoch: u64,
    node: String,
    incarnation: i64,
    state: RecordState,
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    successor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stuck: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    promise_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Past::is_empty")]
    past: Past,
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Past {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    returned: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quiet_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    faults: Vec<String>,
}

impl Past {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct ClusterConfig {
    generation: u64,
    ttl_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    longest_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Readiness {
    ready: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    why: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    image: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    claim: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trouble: Option<Trouble>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drift: Option<Drift>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    used: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    serves: Option<Run>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opinion: Option<Opinion>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Opinion {
    of: Run,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    fault: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Trouble {
    state: String,
    why: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Drift {
    what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    obstacle: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct NodeStatus {
    version: String,
    address: String,
    priority: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    smallest_ttl_ms: Option<u64>,
    groups: BTreeMap<String, Readiness>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    clock: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "want", rename_all = "lowercase")]
pub(super) enum Intent {
    Switchover {
        to: Option<String>,
        by: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        why: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begun: Option<i64>,
    },
    Apply {
        by: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        why: String,
    },
    Refused {
        of: i64,
        why: String,
    },
}

#[derive(Serialize, Deserialize)]
pub(super) struct StandingOrder {
    by: String,
    at: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoreIds {
    id: String,
    mounts: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Pin {
    cluster_id: u64,
    generation: u64,
    revision: i64,
    #[serde(default)]
    longest_ms: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    boot: String,
    lease: i64,
    groups: BTreeMap<String, SavedRun>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SavedRun {
    epoch: u64,
    n: u32,
    latched: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Run {
    epoch: u64,
    n: u32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Phase {
    what: String,
    ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Before {
    Nothing,
    Release,
    Silence,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Begun {
    epoch: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    to: String,
    cause: String,
    at: String,
    before: Before,
    phases: Vec<Phase>,
    served: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Left {
    epoch: u64,
    node: String,
    cause: String,
    at: String,
    phases: Vec<Phase>,
    runs: u32,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Act {
    at: String,
    by: String,
    verb: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    why: String,
    accepted: bool,
    answer: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Started {
    id: String,
    seen: Vec<Place>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Content {
    boot: String,
    lost: bool,
    started: BTreeMap<String, Vec<Started>>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Place {
    device: u64,
    top: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exported {
    format: u32,
    cluster: String,
    generation: u64,
    ttl_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    longest_ms: Option<u64>,
    groups: BTreeMap<String, ExportedGroup>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    drained: BTreeMap<String, StandingOrder>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExportedGroup {
    epoch: u64,
    node: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store: Option<StoreIds>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stopped: Option<StandingOrder>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deleted: Option<StandingOrder>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    without: BTreeMap<String, StandingOrder>,
}
