//! A node's place in the cluster: how it is lost, what etcd refuses, and what is seen of the others.

use std::fmt;
use std::time::Duration;

use crate::membership::WriteKind;

/// Where etcd has said nothing.
pub(crate) const NO_ANSWER: &str = "no answer";
pub(crate) const ETCD_ANSWERS: &str = "etcd answers again";
pub(crate) const NO_STANDBY: &str = "no standby is ready: were this node to fail, it would stay down";

// Why the place is lost.
pub(crate) const EARLIER_KEY_GONE: &str = "the key of the earlier sidecar is gone";
pub(crate) const OTHER_BEATS: &str = "somebody else beats on this node's lease";
pub(crate) const KEY_GONE: &str = "its key in etcd is gone";
pub(crate) const KEY_WITHOUT_LEASE: &str = "somebody wrote its key in etcd without a lease";
pub(crate) const KEY_NOT_OWN: &str = "its key in etcd is not its own";
pub(crate) const ETCD_ACCEPTED: &str = "an operator accepted a restored etcd";

pub(crate) fn place_lost(why: &str) -> String {
    format!("this node lost its place in the cluster: {why}")
}

/// As the object of "etcd refuses".
impl fmt::Display for WriteKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Extras => formatter.write_str("what goes with a beat"),
            Self::Campaign(group) => write!(formatter, "that this node takes {group}"),
            Self::Release(group) => write!(formatter, "the release of {group}"),
            Self::Mark(group) => write!(formatter, "the mark that {group} is stuck"),
            Self::IntentAnswer(group) => write!(formatter, "the answer to a request about {group}"),
        }
    }
}

pub(crate) fn refused(asked: &WriteKind, why: &str, pause: Duration) -> String {
    format!(
        "etcd refuses {asked} ({why}): it is tried again in {pause:?}, and beats go on; see the rights of this node's user in etcd, \
         and etcd's --max-txn-ops"
    )
}

pub(crate) fn no_good_word(gap: Duration, why: &str) -> String {
    format!("no good word of etcd for {gap:?} ({why}): what runs here ends with its lease")
}

/// Also why its groups are taken.
pub(crate) fn fell_silent(node: &str) -> String {
    format!("{node} fell silent")
}

pub(crate) fn is_gone(node: &str) -> String {
    format!("{node} is gone: its key in etcd is no longer there")
}

pub(crate) fn left_in_order(node: &str) -> String {
    format!("{node} left in order")
}

pub(crate) fn is_back(node: &str) -> String {
    format!("{node} is a member again")
}

pub(crate) fn has_standby(node: &str) -> String {
    format!("{node} is ready to take it over")
}
