//! What is wrong with the cluster as one node sees it, a line each.

use std::fmt;
use std::time::Duration;

use crate::group::ServiceState;
use crate::protocol::TroubleState;
use crate::snapshot::status::ServiceLine;

impl fmt::Display for ServiceLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.state {
            ServiceState::Idle => "idle",
            ServiceState::Starting => "starting",
            ServiceState::Up => "up",
            ServiceState::Unknown => "unknown",
            ServiceState::Gone => "gone",
        };
        let health = match self.healthy {
            Some(true) => ", healthy",
            Some(false) => ", not healthy",
            None => "",
        };
        write!(formatter, "{word}{health}")
    }
}

/// A sentence with its reason, if there is one.
pub(crate) fn because(text: String, reason: &str) -> String {
    if reason.is_empty() {
        text
    } else {
        format!("{text}: {reason}")
    }
}

/// What one part of the cluster says of itself.
pub(crate) fn of(part: &str, fault: &str) -> String {
    format!("{part}: {fault}")
}

/// Why a probe of readiness fails: `state` is this node's place in the cluster.
pub(crate) fn this_node_is(state: &str) -> String {
    format!("this node is {state}")
}

pub(crate) fn not_a_member(node: &str, state: &str) -> String {
    format!("{node} is {state}, not a member")
}

pub(crate) fn silent(node: &str) -> String {
    format!("{node} is silent")
}

/// A node that took part and is missed.
pub(crate) fn away(name: &str, seconds: Option<u64>) -> String {
    let since = seconds.map_or_else(
        || "is away".to_owned(),
        |seconds| format!("has been away for {}", span(seconds)),
    );
    format!("{name} {since}: if it will not come back, `leasehold node remove {name}`")
}

/// A length of time as a person says it.
fn span(seconds: u64) -> String {
    let (count, unit) = match seconds {
        0..120 => return "a minute".to_owned(),
        120..7200 => (seconds / 60, "minutes"),
        7200..172_800 => (seconds / 3600, "hours"),
        172_800.. => (seconds / 86_400, "days"),
    };
    format!("{count} {unit}")
}

pub(crate) fn unready(node: &str, groups: &[&str], why: &str) -> String {
    format!("{node} could not take {}: {why}", groups.join(", "))
}

pub(crate) fn on_hold(node: &str, left: Duration) -> String {
    let left = left.as_secs();
    format!("{node} is on hold for {left} s more: it may be silent, and were it to fail, nobody takes over before")
}

pub(crate) fn drained(node: &str, order: &str) -> String {
    format!("{node} is drained {order}")
}

pub(crate) fn endpoints(node: &str, fault: &str) -> String {
    format!("endpoints of {node}: {fault}")
}

/// `what` is `etcd` or `engine`.
pub(crate) fn not_answering(what: &str, node: &str, trouble: &str) -> String {
    format!("{what} of {node}: {trouble}")
}

/// Each node with its version.
pub(crate) fn versions<'a>(told: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let each: Vec<String> = told.map(|(node, version)| format!("{node} {version}")).collect();
    format!("the sidecars are of different versions: {}", each.join(", "))
}

/// A group that is held.
pub(crate) fn trouble(group: &str, holder: &str, state: &TroubleState) -> String {
    match state {
        TroubleState::Sick => format!("{group} is sick on {holder}"),
        TroubleState::Restarting => format!("{group} is being started again on {holder}"),
        TroubleState::Impaired => format!("{group} serves on {holder}, but not as it should"),
        TroubleState::Endangered => format!("{group} serves on {holder}, and soon may not"),
        state @ (TroubleState::Down | TroubleState::Other(_)) => format!("{group} is {state} on {holder}"),
    }
}

pub(crate) fn paused(group: &str, order: &str) -> String {
    format!("{group} is on pause {order}")
}

pub(crate) fn stopped(group: &str, order: &str) -> String {
    format!("{group} is stopped {order}")
}

pub(crate) fn unknown(group: &str) -> String {
    format!("{group} may be active, or not: its record can't be read")
}

pub(crate) fn nowhere(group: &str) -> String {
    format!("{group} is active nowhere")
}

pub(crate) fn down_with(group: &str, holder: &str) -> String {
    format!("{group} is down, because {holder} is silent")
}

pub(crate) fn drift(group: &str, holder: &str, drift: &str) -> String {
    format!("{group} on {holder}: {drift}")
}

pub(crate) fn no_standby(group: &str, holder: &str) -> String {
    format!("{group} has no ready standby: were {holder} to fail, it would stay down")
}
