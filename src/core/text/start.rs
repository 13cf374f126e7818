//! How a run starts, and why it does not.

use std::time::Duration;

use crate::epoch::Run;
use crate::group::StayReason;

pub(crate) const ADOPTED_CONTAINER_ENDED: &str = "a container of the adopted run had ended";
pub(crate) const ADOPTED_TETHER_SILENT: &str = "a tether of the adopted run does not report";
/// Where a probe has not said anything.
pub(crate) const PROBE_SILENT: &str = "no answer";
/// Why a prepared container is of no use.
pub(crate) const OTHER_STORAGE: &str = "its container was made for another storage";
pub(crate) const STAYS_DOWN_ON_PAUSE: &str = "on pause: it is not started again";

// Why it is given up here: in the record, and in the log.
pub(crate) const LASTING: &str = "failed here, and would at each try";
pub(crate) const LASTING_HERE: &str = "would fail at each try here: handing over";
pub(crate) const ENGINE: &str = "failed: its engine did not start it";

pub(crate) fn won(epoch: u64) -> String {
    format!("won epoch {epoch}: starting here")
}

pub(crate) fn adopting(run: Run) -> String {
    format!("restarted: adopting run {run}, which goes on untouched")
}

pub(crate) fn again(run: Run) -> String {
    format!("starting again here: run {run}")
}

pub(crate) fn serving(run: Run) -> String {
    format!("run {run} is up: serving")
}

pub(crate) fn service_ended(service: &str) -> String {
    format!("service {service} ended by itself")
}

/// With which code it ended, if the engine tells, and what it wrote last.
pub(crate) fn output(service: &str, code: Option<i64>, lines: &str) -> String {
    let code = code.map_or(String::new(), |code| format!(" with exit code {code}"));
    match lines {
        "" => format!("service {service} ended{code} and wrote nothing"),
        lines => format!("service {service} ended{code}; its last lines: {lines}"),
    }
}

/// A sentence about starts that fail, with what is known of the last one.
pub(crate) fn with_output(text: &str, output: Option<&str>) -> String {
    match output {
        Some(output) => format!("{text} ({output})"),
        None => text.to_owned(),
    }
}

/// By the engine's word, without us.
pub(crate) fn told_to_end(service: &str, group: &str) -> String {
    format!(
        "the Docker engine ends service {service} (docker stop, restart, kill or rm, or its own shutdown): it is started again; \
         to keep it down, `leasehold stop {group}`, and then `leasehold start {group}`"
    )
}

pub(crate) fn paused_from_outside(service: &str) -> String {
    format!(
        "the Docker engine pauses service {service} (docker pause, or a docker commit without --pause=false): nobody is served \
         until it is unpaused; if that lasts, its probes fail and it is started again"
    )
}

pub(crate) fn gate_not_reached(service: &str, within: Duration) -> String {
    format!("service {service} did not reach its gate within {within:?}")
}

pub(crate) fn probes_did_not_pass(within: Duration, last: &str) -> String {
    format!("the probes did not pass within {within:?} (start_timeout): {last}")
}

pub(crate) fn another_image(run: Run, within: Duration) -> String {
    format!("run {run} has another image than the one that served last: its probes may take {within:?} this time")
}

pub(crate) fn did_not_start(service: &str, why: &str) -> String {
    format!("service {service} did not start: {why}")
}

pub(crate) fn engine_silent(service: &str) -> String {
    format!("service {service} did not start: the Docker engine does not answer")
}

pub(crate) fn engine_awaited(service: &str) -> String {
    format!("service {service} waits for the Docker engine, which does not answer")
}

pub(crate) fn not_prepared_in_time(service: &str, within: Duration) -> String {
    format!("service {service} did not start: its container was not prepared within {within:?}")
}

/// Why a node is not ready.
pub(crate) fn not_preparable(service: &str, why: &str) -> String {
    format!("service {service}: {why}")
}

/// The same, for now.
pub(crate) fn not_prepared(service: &str) -> String {
    format!("service {service}: its container is not prepared yet")
}

pub(crate) fn failed(tries: usize) -> String {
    format!("failed {tries} times here")
}

pub(crate) fn failed_within(tries: usize, window: Duration) -> String {
    format!("failed {tries} times within {window:?}: handing over")
}

pub(crate) fn engine_gave_up(patience: Duration) -> String {
    format!("the Docker engine has not started it for {patience:?}: handing over")
}

/// It can't be handed over, for `stays`, and fails in the same way each time.
pub(crate) fn same_again(failure: &str, stays: StayReason, pause: Duration) -> String {
    format!("{failure} (the same at each try, and {stays}: trying again in {pause:?})")
}

pub(crate) fn keeps_failing(stays: StayReason, pause: Duration) -> String {
    format!("keeps failing and {stays}: trying again in {pause:?}")
}

/// What a container that runs has not of the file.
pub(crate) fn file_changed(service: &str, keys: &[String]) -> String {
    format!("the file has changed since {service} was started: {}", keys.join(", "))
}

pub(crate) fn not_as_the_file_says(service: &str) -> String {
    format!("{service} could not be started again as the file says")
}
