//! The tether in real containers: what it needs of an image and of an engine, which is nothing but to be started.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "tether/bench.rs"]
mod bench;
#[path = "tether/docker.rs"]
mod docker;
#[path = "tether/harness.rs"]
#[allow(dead_code, reason = "the tests without an engine use the rest")]
mod harness;
