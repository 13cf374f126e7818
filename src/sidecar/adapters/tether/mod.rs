//! The sidecar end of the tethers: page, socket and pidfd.
//!
//! One [`TetherHost`] a protected service. It carries out what it is told and reports what it sees; whether a container
//! may run is decided elsewhere.

mod connection;
mod files;
mod host;
mod install;
mod left;

pub use host::{TetherEvent, TetherHost};
pub use install::{install, install_binary};
pub use left::{close_page, open_pages};
