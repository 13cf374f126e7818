//! The tether in real containers: what it needs of an image and of an engine, which is nothing but to be started.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    reason = "helpers of tests, and the bench prints what it measured; any other event is a failure"
)]

#[path = "tether/bench.rs"]
mod bench;
#[path = "tether/docker.rs"]
mod docker;
#[path = "tether/harness.rs"]
#[allow(dead_code, reason = "the tests without an engine use the rest")]
mod harness;
