//! One adapter an outside system: commands in, events out, no decision.

pub mod alarm;
pub mod cgroup;
pub mod clients;
pub mod clock_source;
pub mod containers;
mod descriptor;
pub mod dns;
pub mod engine;
pub mod events;
pub mod fence;
pub mod files;
pub mod fitness;
pub mod http;
pub mod manager;
pub mod metrics;
pub mod outbox;
pub mod probe;
pub mod promises;
pub mod reset;
pub mod store;
pub mod tether;
pub mod vip;
pub mod voter;
pub mod watchdog;
