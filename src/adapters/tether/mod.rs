//! The sidecar end of the tethers: page, socket and pidfd.
//!
//! One [`TetherHost`] a protected service. It carries out what it is told and reports what it sees; whether a container
//! may run is decided elsewhere.

mod connection;
mod files;
mod host;
mod install;

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::{Interest, unix::AsyncFd};

pub use host::{TetherEvent, TetherHost};
pub use install::install_binary;

/// A descriptor whose readiness to be read can be awaited.
#[expect(
    deprecated,
    reason = "its successor is an unsafe fn; what that asks for, an owned descriptor kept to the end, holds here"
)]
fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}
