//! Keys in etcd that can't be read, and what to do about each; how much lies there.

use std::fmt;
use std::time::Duration;

use crate::protocol::bounds::Fault;

/// What an order that can't be read says of its author and its time.
pub(crate) const BY_SOMEBODY: &str = "somebody";
pub(crate) const AT_SOME_TIME: &str = "a time that is not told";

// Of a group's record.
/// Whom it may name.
pub(crate) const A_HOLDER: &str = "a holder";
pub(crate) const RECORD_UNREADABLE: &str = "its record in etcd can't be read";
pub(crate) const RECORD_SOUND: &str = "its record in etcd is sound again";

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(bytes) => write!(formatter, "{bytes} bytes are no value of Leasehold's"),
            Self::NotOurs => write!(formatter, "it is not what Leasehold writes there"),
            Self::Beyond { what, value } => write!(formatter, "its {what} {value} is none that Leasehold ever counted"),
        }
    }
}

/// Of a group that this node holds.
pub(crate) fn own_record(key: &str) -> String {
    format!("its record in etcd ({key}) can't be read: it goes on; put the record right")
}

pub(crate) fn mended(key: &str) -> String {
    format!("the key {key} in etcd is sound again, or gone")
}

pub(crate) fn unreadable(key: &str, fault: &Fault, advice: &str) -> String {
    format!("the key {key} in etcd can't be read ({fault}): {advice}")
}

// What to do, by the key.

pub(crate) const DELETE_IT: &str = "delete it";
pub(crate) const NO_CONFIG: &str = "this node knows of none before, and takes no part; another one may: `leasehold config apply` there writes it again";

/// `value` is what was read last.
pub(crate) fn config(ttl: Duration, value: &str) -> String {
    format!(
        "what was read last holds, with ttl {ttl:?}; `leasehold config apply` writes it again, or put {value} there"
    )
}

pub(crate) fn node(node: &str) -> String {
    format!("{node} joins again by itself; if there is no such node, delete the key")
}

pub(crate) fn status(node: &str) -> String {
    format!(
        "{node} counts as not ready until it writes it again, which it does by itself; if there is no such node, delete the key"
    )
}

/// Of an order: the verb that takes it back, with its names.
fn order(back: &str) -> String {
    format!("the order holds all the same; `leasehold {back}` takes it back")
}

pub(crate) fn known(node: &str) -> String {
    format!("{node} writes it again by itself; if there is no such node, `leasehold node remove {node}` deletes it")
}

pub(crate) fn drained(node: &str) -> String {
    order(&format!("undrain {node}"))
}

pub(crate) fn stopped(group: &str) -> String {
    order(&format!("start {group}"))
}

pub(crate) fn paused(group: &str) -> String {
    order(&format!("resume {group}"))
}

pub(crate) fn deleted(group: &str) -> String {
    order(&format!("group create {group}"))
}

pub(crate) fn not_extended(group: &str, node: &str) -> String {
    order(&format!("group extend {group} {node}"))
}

pub(crate) fn record(group: &str) -> String {
    format!(
        "the node that runs {group} goes on, and nobody can take it over; put the record right, or, once no host runs it, delete the key: \
         it then begins with epoch 1, and if the storage was claimed by a later one, `leasehold accept` lifts it above that"
    )
}

pub(crate) fn intent(group: &str) -> String {
    format!("nobody acts on it; the next `leasehold switchover {group}` writes over it")
}

pub(crate) fn policy(group: &str) -> String {
    format!(
        "what every file says of {group} counts until then; `leasehold config set {group} NAME=VALUE` writes over it, \
         `leasehold config set {group} --unset all` deletes it"
    )
}

/// `value` is what was read last.
pub(crate) fn store(value: &str) -> String {
    format!("what was read last holds; put {value} there")
}

pub(crate) fn no_store(group: &str) -> String {
    format!(
        "nothing of {group} starts on a node that does not know it from before; delete the key, then `leasehold init {group}`, \
         which finds the id on the storage"
    )
}

/// Why a node is not ready.
pub(crate) fn not_initialised(group: &str) -> String {
    format!("its storage is not initialised: run `leasehold init {group}`")
}

/// Sizes are in KiB.
pub(crate) fn crowded(size: usize, prefix: &str, most: usize, (key, largest): (&str, usize)) -> String {
    format!(
        "{size} KiB lie in etcd under {prefix}, where every beat reads them, and beats end at {most} KiB; the largest key is {key} \
         with {largest} KiB: delete what Leasehold did not write"
    )
}

pub(crate) fn not_crowded(size: usize, prefix: &str) -> String {
    format!("{size} KiB lie in etcd under {prefix}: as it should be")
}
