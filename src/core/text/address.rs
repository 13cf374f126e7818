//! Virtual IPs, and the interface that they lie on.

use std::time::Duration;

use crate::group::StayReason;

pub(crate) const LINK_LOST: &str = "the interface lost its link";
pub(crate) const LINK_RESTORED: &str = "the interface has its link again";
/// Why a node is not ready.
pub(crate) const NO_LINK: &str = "the interface has no link";

/// Why nobody should hand over to this node, though it has its link again.
pub(crate) const LINK_WAS_LOST: &str = "the interface here lost its link a moment ago";
/// Why it was handed over.
pub(crate) const WITHOUT_LINK: &str = "its interface had no link";

pub(crate) fn link_moves(within: Duration) -> String {
    format!("the interface has had no link for {within:?}, so no client gets through: stopping here, to hand over")
}

pub(crate) fn link_stays(stays: StayReason) -> String {
    format!("the interface has no link, so no client gets through, and {stays}: it is not handed over")
}

/// Before it was taken.
pub(crate) fn taken_already(vip: &str, mac: &str) -> String {
    format!("{vip} is answered by {mac}: its holder is not fenced; the address is not taken while it answers")
}

/// While it is this node's.
pub(crate) fn contested(vip: &str, mac: &str) -> String {
    format!("{vip} is also used by {mac}: announced again; find that machine, clients reach one or the other by chance")
}

pub(crate) fn dropped(vip: &str, mac: &str) -> String {
    format!("{vip} is used by {mac} while this node has no lease for it: dropped here")
}

pub(crate) fn not_added(error: &str) -> String {
    format!("an address could not be added: {error}")
}

pub(crate) fn put_back(vip: &str) -> String {
    format!("{vip} was removed by somebody: put back")
}
