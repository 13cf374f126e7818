//! Leasehold: one container alive on exactly one of several Docker hosts.
//!
//! - [`core`]: every decision; pure, given time and events, returns actions
//! - [`run`]: the only loop: wait, decide, hand the actions to the adapters
//! - [`adapters`]: etcd, engine, netlink, tethers, HTTP; no decision
//! - [`compose`]: the user's compose file as configuration
//! - [`tether`]: PID 1 of the protected container
//! - [`archive`]: the history in etcd, for the endpoints
//! - [`cli`], [`node_facts`], [`site`]: verbs, flags, and this node's place on its host
//! - [`clock`]: the only reader of clocks; [`small_file`]: how files are read that others put there

pub mod adapters;
pub mod archive;
#[cfg(test)]
mod catalogue;
pub mod cli;
pub mod clock;
pub mod compose;
pub mod core;
pub mod left;
pub mod node_facts;
pub mod recent;
pub mod run;
pub mod site;
pub mod small_file;
pub mod tally;
pub mod tether;
