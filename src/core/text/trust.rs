//! Which etcd is trusted, and what makes it strange.

use std::time::Duration;

pub(crate) fn config_gone(key: &str) -> String {
    format!("the key {key} in etcd is gone")
}

/// `value` is what stood there.
pub(crate) fn put_config_back(why: &str, value: &str) -> String {
    format!(
        "{why}: nothing starts until it is there again: put {value} there; or, if etcd was restored or replaced, `leasehold accept`"
    )
}

pub(crate) fn frozen(why: &str) -> String {
    format!("{why}: nothing starts until `leasehold accept`; see whether etcd was restored or replaced")
}

// Why it is strange.

pub(crate) fn other_cluster(id: u64, before: u64) -> String {
    format!("etcd's cluster id is {id:x}, not {before:x} as before")
}

pub(crate) fn generation_back(before: u64, generation: u64) -> String {
    format!("the cluster's generation went back from {before} to {generation}")
}

pub(crate) fn revision_back(before: i64, revision: i64) -> String {
    format!("etcd's revision went back from {before} to {revision}")
}

pub(crate) fn pin_not_written(why: &str) -> String {
    format!(
        "which etcd is trusted, and up to which revision, could not be written ({why}): everything goes on; make room in the state \
         directory, or make it writable, before this node restarts"
    )
}

// Leases that do not end.

pub(crate) fn node_without_lease(key: &str, node: &str) -> String {
    format!(
        "the key {key} hangs on no lease, so it never ends by itself; was it written by hand? \
         Once node {node} is down for certain, delete it"
    )
}

pub(crate) fn lease_does_not_end(node: &str, silent: Duration, key: &str) -> String {
    format!(
        "node {node} has been silent for {} s and its key {key} is still there: its lease does not end; \
         see whether etcd ends any lease (a broken clock or token on an etcd member keeps them)",
        silent.as_secs()
    )
}

pub(crate) fn leader_without_lease(key: &str) -> String {
    format!(
        "the key {key} hangs on no lease, so tools may go on reading a leader that is gone; was it written by hand? \
         The next change of the leader puts it right; no rule reads it"
    )
}
