//! Why a run is stopped, and what is still missing to its end.

use std::fmt::{self, Display};

use crate::epoch::Run;
use crate::group::StayReason;

pub(crate) const RELEASED: &str = "released: stopped here and free for the next holder";
/// Somebody else is named in etcd.
pub(crate) const RECORD_TAKEN: &str = "its record in etcd names somebody else: stopping";

// Why a run of an earlier sidecar is not this node's any more.
pub(crate) const LEASE_TAKEN: &str = "its lease is no longer this node's";
pub(crate) const RECORD_LOST: &str = "its record in etcd is no longer this node's";

/// After "it", or by itself.
impl Display for StayReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::OnPause => "is on pause",
            Self::SharedFault => "would fail in the same way on every host",
            Self::Notify => "on_failure is notify",
            Self::NoStandby => "no standby is ready",
            Self::CameForThis => "came here because of the same fault",
            Self::ServesOthers => "serves other clients",
        })
    }
}

/// A run that an earlier sidecar left.
pub(crate) fn disowned(run: Run, why: &str) -> String {
    format!("stopping run {run}: {why}")
}

pub(crate) fn place_lost(why: &str) -> String {
    format!("this node lost its place in the cluster ({why}): stopping")
}

pub(crate) fn lease_runs_out(epoch: u64) -> String {
    format!("the lease of epoch {epoch} runs out: stopping")
}

/// It moves.
pub(crate) fn here_first(reason: &str) -> String {
    format!("{reason}: stopping here first")
}

/// It starts nowhere else.
pub(crate) fn here(reason: &str) -> String {
    format!("{reason}: stopping here")
}

/// What is told of a process by which the stop hangs.
pub(crate) fn doubt(service: &str, doubt: &str) -> String {
    format!(" (service {service}: {doubt})")
}

pub(crate) fn not_proved(run: Run, doubt: &str) -> String {
    format!("run {run} is not proved stopped{doubt}: it is not handed over until it is")
}

pub(crate) fn not_unmounted(run: Run, doubt: &str) -> String {
    format!("run {run} has ended, but is not proved unmounted ({doubt}): it is not handed over until it is")
}

pub(crate) fn left_the_file(me: &str) -> String {
    format!("it left the compose file of {me}")
}

/// Why a node is not ready.
pub(crate) const NOT_IN_FILE: &str = "it is not in the compose file of this node";

pub(crate) fn group_left_the_file(run: Run) -> String {
    format!("run {run}: the group is not in the compose file any more: stopping, to let it go")
}

pub(crate) fn services_left_the_file(run: Run, left: &str) -> String {
    format!("run {run}: not in the compose file any more: {left}: stopping, to start again as the file says")
}

pub(crate) fn begun_before(run: Run) -> String {
    format!("run {run}: its stop had begun before this sidecar started: going on with it")
}

// The node leaves.
pub(crate) const LEFT_UNDER_HOLD: &str = "leaving under a hold: the containers go on";
pub(crate) const NODE_ENDS_ALONE: &str = "this node was told to end and no standby is ready: stopping";

pub(crate) fn node_ends(next: &str) -> String {
    format!("this node was told to end: handing over to {next}")
}

/// An order to give it away: `order` is what was said, by whom.
pub(crate) fn handing_over(order: impl Display, next: &str) -> String {
    format!("{order}: handing over to {next}")
}

pub(crate) fn nobody_to_hand_over_to(order: impl Display) -> String {
    format!("{order}, but no standby is ready: the group stays here")
}
