//! Leasehold: one container alive on exactly one of several Docker hosts.
//!
//! - [`core`]: every decision; pure, given time and events, returns actions
//! - [`adapters`]: etcd, engine, netlink, tethers, HTTP; no decision
//! - [`compose`]: the user's compose file as configuration
//! - [`tether`]: PID 1 of the protected container
//! - `run`: the only loop

pub mod adapters;
pub mod clock;
pub mod compose;
pub mod core;
pub mod tether;
