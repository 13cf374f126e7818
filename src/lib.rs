//! Leasehold: one container alive on exactly one of several Docker hosts.
//!
//! The crates below `src`, under one name for the tests:
//!
//! - [`core`]: every decision; pure, given time and events, returns actions
//! - [`api`]: the words of `/v1`, which sidecar and command line share
//! - [`sidecar`]: the loop around it and the adapters
//! - [`compose`]: the user's compose file as configuration
//! - [`tether`]: PID 1 of the protected container
//! - [`cli`]: verbs and flags
//! - [`base`]: what sidecar and tether have in common

pub use leasehold_api as api;
pub use leasehold_base as base;
pub use leasehold_cli as cli;
pub use leasehold_compose as compose;
pub use leasehold_core as core;
pub use leasehold_sidecar as sidecar;
pub use leasehold_tether as tether;
