//! What the cluster itself has in etcd: `config export` and `config import`.

use std::collections::BTreeMap;

use leasehold_core::protocol::records;
use leasehold_core::requests::exported;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::each;

/// The cluster's own keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// 1, or 2 where something is set at run time.
    pub format: u32,
    pub cluster: String,
    #[schema(maximum = 9_007_199_254_740_992_u64)]
    pub generation: u64,
    /// What every beat promised, in milliseconds.
    #[schema(maximum = 300_000)]
    pub ttl_ms: u64,
    /// While not every node had confirmed a shorter one: the longer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 300_000)]
    pub longest_ms: Option<u64>,
    pub groups: BTreeMap<String, ExportedGroup>,
    /// Nodes that shall hold nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub drained: BTreeMap<String, StandingOrder>,
}

/// A group's own keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportedGroup {
    /// The highest that was given; 0: none yet. One above 281474976710656 is not taken back: nobody counted so far.
    #[schema(maximum = 9_007_199_254_740_992_u64)]
    pub epoch: u64,
    /// Who held it then, for people.
    pub node: String,
    /// What `leasehold init` wrote into its storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreIds>,
    /// The order that it stays stopped. A pause is not kept: it ends with its lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StandingOrder>,
    /// The order that it is no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<StandingOrder>,
    /// What is set for it at run time, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, ExportedValue>,
    /// Nodes that it is not extended to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(rename = "without")]
    pub excluded: BTreeMap<String, StandingOrder>,
}

/// A value that is set at run time, with who set it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportedValue {
    pub to: String,
    pub by: String,
    pub at: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// An operator's order that holds until it is taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StandingOrder {
    /// Who gave it, such as `root on a`.
    pub by: String,
    /// When, for people.
    pub at: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// When it ends by itself, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// What `leasehold init` wrote into the group's storage: mount target -> id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreIds {
    pub id: String,
    pub mounts: Vec<String>,
}

/// Writes both ways between a type of the core and the one here, field by field.
macro_rules! both_ways {
    ($name:ident, $core:ty, { $($field:ident: $into:expr),+ $(,)? }) => {
        impl From<$core> for $name {
            fn from(value: $core) -> Self {
                type Core = $core;
                let Core { $($field),+ } = value;
                Self { $($field: $into($field)),+ }
            }
        }

        impl From<$name> for $core {
            fn from(value: $name) -> Self {
                let $name { $($field),+ } = value;
                Self { $($field: $into($field)),+ }
            }
        }
    };
}

/// As it is.
fn same<T>(value: T) -> T {
    value
}

fn inside<T, U: From<T>>(value: Option<T>) -> Option<U> {
    value.map(Into::into)
}

both_ways! { Exported, exported::Exported, {
    format: same, cluster: same, generation: same, ttl_ms: same, longest_ms: same, groups: each, drained: each,
} }
both_ways! { ExportedGroup, exported::ExportedGroup, {
    epoch: same, node: same, store: inside, stopped: inside, deleted: inside, set: each, excluded: each,
} }
both_ways! { ExportedValue, exported::ExportedValue, { to: same, by: same, at: same, why: same } }
both_ways! { StandingOrder, records::StandingOrder, { by: same, at: same, why: same, until: same } }
both_ways! { StoreIds, records::StoreIds, { id: same, mounts: same } }
