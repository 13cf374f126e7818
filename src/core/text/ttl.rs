//! The cluster's ttl: whether it is long enough, and how it changes.

use std::fmt;
use std::time::Duration;

use crate::protocol::sizing::TooShort;

impl fmt::Display for TooShort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ttl_ms,
            sum,
            smallest_ms,
        } = self;
        write!(
            formatter,
            "ttl {ttl_ms} ms is too short: {sum}; the smallest ttl that would do here is {smallest_ms} ms"
        )
    }
}

impl std::error::Error for TooShort {}

// Sums that do not fit.

pub(crate) fn attempts_exceed(attempts: Duration, soft: Duration) -> String {
    format!("beat + 2 attempts = {attempts:?} exceed the {soft:?} until the stop")
}

pub(crate) fn election_exceeds(election: Duration, soft: Duration) -> String {
    format!("beat + attempt + 3 election timeouts = {election:?} exceed the {soft:?} until the stop")
}

pub(crate) fn watchdog_exceeds(watchdog: Duration, fed: Duration, valid: Duration) -> String {
    format!(
        "the watchdog's {watchdog:?} + 1s + beat + 2 attempts = {fed:?} exceed the {valid:?} that a beat is good for"
    )
}

// What becomes of it.

pub(crate) fn differs(file: Duration, ttl: Duration) -> String {
    format!("the compose file says ttl {file:?}, the cluster {ttl:?}: the cluster's holds")
}

pub(crate) fn changed(ttl: Duration, before: Duration) -> String {
    format!("the cluster's ttl is {ttl:?} from here on; it was {before:?}")
}

pub(crate) fn unusable(why: &TooShort) -> String {
    format!(
        "{why}: nothing starts here; state the true etcd_election_timeout in the file and restart the sidecar, or give \
         the cluster a longer ttl"
    )
}

pub(crate) fn usable(ttl: Duration) -> String {
    format!("the cluster's configuration is there, with ttl {ttl:?}, which can be kept here: taking part again")
}

pub(crate) fn confirmed(ttl: Duration, before: Duration) -> String {
    format!("every node beats with the ttl {ttl:?}: nobody waits for {before:?} any more")
}
