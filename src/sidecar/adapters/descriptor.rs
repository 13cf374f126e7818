//! Descriptors whose readiness can be awaited.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor whose readiness to be read can be awaited.
#[expect(
    deprecated,
    reason = "its successor is an unsafe fn; what that asks for, an owned descriptor kept to the end, holds here"
)]
pub(super) fn readable(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, Interest::READABLE)
}
