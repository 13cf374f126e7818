//! One adapter an outside system: commands in, events out, no decision.

pub mod engine;
pub mod http;
pub mod probe;
pub mod store;
pub mod tether;
pub mod vip;
