//! The sidecar: one loop around the decision core, and an adapter for each outside system.
//!
//! - [`run`]: the only loop: wait, decide, hand the actions to the adapters
//! - [`adapters`]: etcd, engine, netlink, tethers, HTTP; no decision
//! - [`node_context`], [`node_args`], [`left`]: this node's place on its host, its flags, and what an earlier sidecar left there
//! - [`measure`]: what the last day was like for a ttl
//! - [`etcd_history`], [`decision_log`], [`counters`]: the history in etcd, the last decisions, the counters

pub mod adapters;
pub mod beats;
pub mod counters;
pub mod decision_log;
pub mod etcd_history;
pub mod left;
pub mod measure;
pub mod node_args;
pub mod node_context;
pub mod process;
pub mod run;
pub mod timings;
