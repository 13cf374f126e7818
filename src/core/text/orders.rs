//! Operators' orders: what holds, what is done, and what stands already.

use std::fmt;
use std::time::Duration;

use crate::protocol::records::StandingOrder;

/// As the end of a sentence: "by root on a at ... (reason), until ...".
impl fmt::Display for StandingOrder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, at, why, until } = self;
        write!(formatter, "by {by} at {at}{}", super::given(why))?;
        match until {
            Some(until) => write!(formatter, ", until {until}"),
            None => Ok(()),
        }
    }
}

/// Somebody gave an order, on this node.
pub(crate) fn was_given(done: &str) -> String {
    format!("an operator's order: {done}")
}

pub(crate) fn held(length: Duration) -> String {
    format!("held for {} s on an operator's order", length.as_secs())
}

pub(crate) fn hold_stands(left: Duration) -> String {
    format!(
        "held for {} s: replace the sidecar now, nothing else starts meanwhile",
        left.as_secs()
    )
}

/// What stands already, so that nothing is done.
pub(crate) mod already {
    use super::{Duration, StandingOrder};

    pub(crate) fn stopped(group: &str, order: &StandingOrder) -> String {
        format!("{group} is stopped already: {order}")
    }

    pub(crate) fn not_stopped(group: &str) -> String {
        format!("{group} is not stopped by anybody: see `leasehold why {group}`")
    }

    pub(crate) fn not_on_pause(group: &str) -> String {
        format!("{group} is not on pause")
    }

    pub(crate) fn not_moved(group: &str) -> String {
        format!("nobody wants {group} to be moved")
    }

    pub(crate) fn drained(node: &str, order: &StandingOrder) -> String {
        format!("{node} is drained already: {order}")
    }

    pub(crate) fn not_drained(node: &str) -> String {
        format!("{node} is not drained")
    }

    pub(crate) fn removed(node: &str) -> String {
        format!("nothing of {node} is in etcd: it was removed before, or never was")
    }

    pub(crate) fn extended(group: &str, node: &str) -> String {
        format!("{group} is extended to {node} already")
    }

    pub(crate) fn not_extended(group: &str, node: &str, order: &StandingOrder) -> String {
        format!("{group} is not extended to {node} already: {order}")
    }

    pub(crate) fn created(group: &str) -> String {
        format!("{group} is there already: see `leasehold status`")
    }

    pub(crate) fn deleted(group: &str, order: &StandingOrder) -> String {
        format!("{group} is deleted already: {order}")
    }

    pub(crate) fn ttl(ttl: Duration) -> String {
        format!("the cluster's ttl is {ttl:?} already")
    }

    pub(crate) fn preferred(group: &str, best: &str) -> String {
        format!("{group} is on {best} already: no ready node is preferred to it")
    }
}

/// What an order that landed does.
pub(crate) mod done {
    use super::Duration;

    pub(crate) fn stopped(group: &str) -> String {
        format!("{group} stops, and nobody starts it until `leasehold start {group}`")
    }

    pub(crate) fn started(group: &str) -> String {
        format!("{group} may start: the first ready node takes it")
    }

    pub(crate) fn started_on_pause(group: &str) -> String {
        format!("{group} may start, but is on pause: `leasehold resume {group}`")
    }

    pub(crate) fn paused(group: &str, length: Duration) -> String {
        format!(
            "{group} is on pause for {} s: nobody starts, restarts or moves it; a lease that runs out still ends it",
            length.as_secs()
        )
    }

    pub(crate) fn resumed(group: &str) -> String {
        format!("{group} is looked after again")
    }

    pub(crate) fn drained(node: &str) -> String {
        format!("{node} gives its groups to ready standbys and takes none until `leasehold undrain {node}`")
    }

    pub(crate) fn undrained(node: &str) -> String {
        format!("{node} may take groups again")
    }

    /// `left` of its orders are still there.
    pub(crate) fn removed(node: &str, left: usize) -> String {
        let but = match left {
            0 => String::new(),
            left => {
                format!(" but for {left} orders about groups, which did not fit into one transaction: say it again")
            }
        };
        format!("what {node} left in etcd is deleted{but}")
    }

    pub(crate) fn extended(group: &str, node: &str) -> String {
        format!("{node} may take {group} again")
    }

    pub(crate) fn unextended(group: &str, node: &str) -> String {
        format!("{node} never takes {group} until `leasehold group extend {group} {node}`")
    }

    pub(crate) fn created(group: &str, epoch: u64) -> String {
        format!("{group} is there again: the first ready node starts it, as epoch {epoch}")
    }

    pub(crate) fn deleted(group: &str) -> String {
        format!(
            "{group} is deleted: no node starts it, its storage stays as it is; `leasehold group create {group}` takes it back"
        )
    }

    pub(crate) fn ttl(ttl: Duration) -> String {
        format!("the ttl is {ttl:?}")
    }

    pub(crate) fn ttl_changed(ttl: Duration, before: Duration) -> String {
        format!(
            "the cluster's ttl is {ttl:?} now, it was {before:?}: each node takes it with its next beat, which `leasehold config diff` \
             shows"
        )
    }
}

/// What holds: why a group does not start, and why it leaves. Such words follow the group's or the node's name.
pub(crate) mod standing {
    use super::StandingOrder;

    pub(crate) fn stopped(order: &StandingOrder) -> String {
        format!("stopped {order}")
    }

    pub(crate) fn stopped_until(order: &StandingOrder, group: &str) -> String {
        format!("stopped {order}: `leasehold start {group}` takes it back")
    }

    pub(crate) fn paused_until(order: &StandingOrder, group: &str) -> String {
        format!("on pause {order}: `leasehold resume {group}` ends it")
    }

    pub(crate) fn drained_until(order: &StandingOrder, node: &str) -> String {
        format!("drained {order}: `leasehold undrain {node}` takes it back")
    }

    pub(crate) fn this_node_drained(order: &StandingOrder) -> String {
        format!("this node is drained {order}")
    }

    pub(crate) fn its_node_drained(order: &StandingOrder) -> String {
        format!("its node was drained {order}")
    }

    pub(crate) fn deleted(order: &StandingOrder) -> String {
        format!("deleted {order}")
    }

    pub(crate) fn deleted_until(order: &StandingOrder, group: &str) -> String {
        format!("deleted {order}: `leasehold group create {group}` takes it back")
    }

    pub(crate) fn not_extended(order: &StandingOrder, node: &str) -> String {
        format!("not extended to {node} {order}")
    }

    pub(crate) fn not_extended_until(order: &StandingOrder, group: &str, node: &str) -> String {
        format!("not extended to {node} {order}: `leasehold group extend {group} {node}` takes it back")
    }
}
