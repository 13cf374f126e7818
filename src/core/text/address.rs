//! Virtual IPs, and the interface that they lie on.

use std::time::Duration;

use crate::group::{Answerer, StayReason};

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

/// Before it was taken. `takes`: it is, if it is answered once more.
pub(crate) fn taken_already(vip: &str, mac: &str, who: &Answerer, takes: bool) -> String {
    let whose = whose(who);
    match takes {
        true => format!(
            "{vip} is answered by {mac}, {whose}; it is asked again, then taken all the same (on_conflict: take)"
        ),
        false => format!("{vip} is answered by {mac}, {whose}; the address is not taken while it answers"),
    }
}

pub(crate) fn taken_all_the_same(vip: &str, mac: &str, who: &Answerer) -> String {
    let whose = whose(who);
    format!("{vip} is still answered by {mac}, {whose}; it is taken all the same, and announced (on_conflict: take)")
}

fn whose(who: &Answerer) -> String {
    match who {
        Answerer::Living(node) => format!("the hardware address of {node}, whose lease lives"),
        Answerer::Silent(node) => format!(
            "the hardware address of {node}, whose lease is over: it still has the address, or a switch or a proxy answers for it"
        ),
        Answerer::Stranger => {
            "no node's: another machine has the address, or a switch or a proxy answers for one".to_owned()
        }
        Answerer::Unknown => "maybe of a node that is not fenced".to_owned(),
    }
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
