//! `accept`, export and import: etcd was restored, or lost.

use std::time::Duration;

pub(crate) const ACCEPTED: &str = "an operator accepted etcd as it is: every node starts over";
/// Why nothing is exported.
pub(crate) const NO_CONFIGURATION: &str = "this etcd holds no configuration of the cluster";

/// The reply; `left` groups did not fit in.
pub(crate) fn done(left: usize) -> String {
    let more = match left {
        0 => String::new(),
        left => format!(
            "; {left} groups did not fit into one transaction: each is taken over as from a silent node; accept again if one \
             starts nowhere because of a claim"
        ),
    };
    format!("accepted: every node starts over, which takes one ttl{more}")
}

pub(crate) fn not_exportable(key: &str) -> String {
    format!("the key {key} can't be read: put it right first")
}

/// Each group with the epoch that it goes on from.
pub(crate) fn imported<'a>(ttl: Duration, generation: u64, groups: impl Iterator<Item = (&'a String, u64)>) -> String {
    let groups: Vec<String> = groups
        .map(|(group, epoch)| format!("{group} at epoch {epoch}"))
        .collect();
    format!(
        "imported: ttl {ttl:?}, generation {generation}; {}, each free; every node starts over, which takes one ttl; what was \
         on pause is not any more",
        groups.join(", ")
    )
}
