//! The decision core: one event and a time in, actions out. It never awaits, reads a clock, or names an outside type.

pub use leasehold_base::{epoch, time};

pub mod adoption;
pub mod advice;
pub mod event;
mod facts;
mod failure;
pub mod group;
pub mod history;
pub mod host;
mod invariants;
mod membership;
pub mod node;
pub mod observe;
mod outbox;
pub mod promises;
pub mod protocol;
mod random;
pub mod requests;
pub mod snapshot;
pub mod store;
pub mod takeover;
mod text;
mod trust;
