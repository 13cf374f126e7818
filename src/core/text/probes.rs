//! What probes and second opinions say, and what comes of it.

use super::listed;
use crate::group::StayReason;

pub(crate) const REACHED_AGAIN: &str = "no standby says any more that it can't reach it at its address";
/// Why it was handed over.
pub(crate) const UNREACHED: &str = "failed: no standby reached it at its address";

/// Why it was handed over.
pub(crate) const CERTIFICATE: &str = "its certificate was out of date here";
pub(crate) const CERTIFICATE_HERE: &str = "the certificate is out of date on this host alone: handing over";

// Why nobody should hand over to this node.
pub(crate) const WAS_UNREACHED: &str = "the standbys could not reach the service here";
pub(crate) const ENGINE_DID_NOT_START: &str = "the Docker engine here did not start the service";
pub(crate) const MUST_BE_MENDED: &str = "the service can't start here until that is mended";
pub(crate) const RENEW_HERE: &str = "the service's certificate is out of date here: renew it on this host, too";
pub(crate) const FAILED_HERE: &str = "the service failed here several times";

pub(crate) fn passes_again(probe: &str) -> String {
    format!("{probe} passes again")
}

/// `failure` may be the probe's name alone.
pub(crate) fn canary_failed(failure: &str) -> String {
    format!("{failure}: nothing is restarted or moved for that")
}

pub(crate) fn warns(warning: &str) -> String {
    format!("{warning}: it passes, for now")
}

pub(crate) fn warning_over(probe: &str) -> String {
    format!("{probe}: what it warned of is over")
}

pub(crate) fn fault_everywhere(failure: &str) -> String {
    format!("{failure}: the same on every host, so nothing is restarted or moved until it is mended")
}

pub(crate) fn certificate_moves(failure: &str, node: &str) -> String {
    format!("{failure}: that of {node} is good, so it is stopped here, to hand over; renew this host's, too")
}

pub(crate) fn restarts_here(failure: &str) -> String {
    format!("{failure}: stopping, to start again here")
}

pub(crate) fn fault_on_pause(failure: &str) -> String {
    format!("{failure}: on pause, so nothing is done")
}

pub(crate) fn fault_told_only(failure: &str) -> String {
    format!("{failure}: on_failure is notify, so nothing is done")
}

/// Who can't reach it, and what each of them says.
pub(crate) fn unreached(failing: &[&(String, String)], group: &str, address: &str, holder: &str) -> String {
    let nodes: Vec<&str> = failing.iter().map(|(node, _)| node.as_str()).collect();
    let first = failing.first().map(|(_, fault)| fault.as_str()).unwrap_or_default();
    let faults = match failing.iter().all(|(_, fault)| fault == first) {
        true => first.to_owned(),
        false => {
            let each = failing.iter().map(|(node, fault)| format!("{node}: {fault}"));
            each.collect::<Vec<_>>().join("; ")
        }
    };
    format!(
        "{} can't reach {group} at {address}: {faults} ({holder}, which runs it, reaches it)",
        listed(&nodes)
    )
}

pub(crate) fn unreached_stays(doubt: &str, stays: StayReason) -> String {
    format!("{doubt}: it {stays}, so it is not handed over")
}

pub(crate) fn unreached_moves(doubt: &str) -> String {
    format!("{doubt}: stopping here, to hand over (second_opinion: act)")
}
