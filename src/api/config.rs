//! What all nodes must agree on, beside what a node's compose file says.

use std::collections::BTreeMap;

use leasehold_core::snapshot::settings;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exported::StandingOrder;
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
    /// Of each group the values that can be set at run time, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, BTreeMap<String, Setting>>,
}

/// A value of a group that can be set at run time, and where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Setting {
    /// What counts.
    pub value: String,
    /// What this node's compose file says; of a priority what that node's own environment says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Who set it, and when; none: the file counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<StandingOrder>,
    /// Nodes whose compose file differs from this node's there; none where no other node tells of its file, or no file has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<Vec<String>>,
}

impl From<settings::SettingLine> for Setting {
    fn from(line: settings::SettingLine) -> Self {
        let settings::SettingLine {
            setting: _,
            value,
            file,
            set,
            elsewhere,
        } = line;
        let set = set.map(StandingOrder::from);
        Self {
            value,
            file,
            set,
            elsewhere,
        }
    }
}

/// Each by its name.
pub(crate) fn by_name(lines: impl IntoIterator<Item = settings::SettingLine>) -> BTreeMap<String, Setting> {
    let named = lines.into_iter().map(|line| (line.setting.name(), line.into()));
    named.collect()
}

/// What a node has confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Confirmed {
    pub state: NodeState,
    /// What its last beat promised; more than the ttl under a `hold`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}
