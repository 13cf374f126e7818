//! The tether as a real process: in a PID namespace of its own, never outside one.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests, and one of them prints what it measured; any other event is a failure"
)]

#[path = "tether/claim.rs"]
mod claim;
#[path = "tether/gate.rs"]
mod gate;
#[path = "tether/harness.rs"]
mod harness;
#[path = "tether/host.rs"]
mod host;
#[path = "tether/init.rs"]
mod init;
#[path = "tether/kill_path.rs"]
mod kill_path;
#[path = "tether/own_init.rs"]
mod own_init;
#[path = "tether/running.rs"]
mod running;
#[path = "tether/starved.rs"]
mod starved;
#[path = "tether/storage.rs"]
mod storage;
#[path = "tether/store.rs"]
mod store;
