//! This host: its watchdog, its endpoints, and containers and images that are not as they should be.

use std::time::Duration;

/// Of the engine, at the start.
pub(crate) const ENGINE_NOT_ASKED: &str = "not asked yet";
/// Why a node is not ready.
pub(crate) const RESET_SOON: &str = "the watchdog is not fed: it resets this host soon";
pub(crate) const WATCHDOG_FED: &str = "the watchdog is fed again";

/// What lets the watchdog be fed again.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unless {
    StopProved,
    BeatAnswered,
}

pub(crate) fn watchdog_starves(timeout: Duration, unless: Unless) -> String {
    let unless = match unless {
        Unless::StopProved => "the stop is proved",
        Unless::BeatAnswered => "etcd answers a beat",
    };
    format!("the watchdog is not fed any more: it resets this host within {timeout:?}, unless {unless} before")
}

pub(crate) fn wakes_late(late: Duration, before: Duration, from_here: Duration) -> String {
    format!(
        "a tether woke up {} ms too late: what runs here is killed {from_here:?} before the end of its lease, no more {before:?}, until \
        nothing was late for 10 min",
        late.as_millis()
    )
}

pub(crate) fn endpoints_open(address: &str) -> String {
    format!("the endpoints are open at {address}")
}

pub(crate) fn intruder_killed(container: &str, why: &str) -> String {
    format!("container {container} may not run here ({why}): killed")
}

pub(crate) fn intruder_created(container: &str, why: &str) -> String {
    format!(
        "container {container} was made and does not run: it may not run here ({why}), and is killed if somebody starts it; \
        `docker rm {container}` removes it"
    )
}

/// A node with its image.
pub(crate) type ImageOn<'a> = (&'a str, &'a str);

pub(crate) fn other_image(group: &str, (node, other): ImageOn<'_>, (holder, own): ImageOn<'_>) -> String {
    format!("{group} would be another image on {node} ({other}) than it is on {holder} ({own})")
}

pub(crate) fn other_file(group: &str, node: &str, holder: &str, keys: &[&str]) -> String {
    let keys = keys.join(", ");
    format!("{group} would be another service on {node}: its compose file differs from that of {holder} in {keys}")
}

/// Why a node is not ready.
pub(crate) fn other_addresses(group: &str, holder: &str) -> String {
    format!("its compose file has other virtual addresses than that of {holder}, which holds {group}")
}

/// On a node that holds a group.
pub(crate) const ENGINE_ORPHANED: &str = "the socket of the Docker engine in this container is dead: the engine was started \
    again and made another one. The service goes on, but can't be started again here: `leasehold hold 60s`, and then start the \
    sidecar's container again (docker compose restart leasehold)";
pub(crate) const ENDS_FOR_ENGINE: &str = "the socket of the Docker engine in this container is dead: the engine was started \
    again and made another one. Nothing is held here: this sidecar ends, so that it is started again with the new socket";

/// Why a node is not ready.
pub(crate) fn engine_silent(why: &str) -> String {
    format!("the engine does not answer: {why}")
}
