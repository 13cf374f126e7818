//! The decision core: one event and a time in, actions out. It never awaits, reads a clock, or names an outside type.

mod accept;
mod apply;
pub mod code;
mod config;
pub mod drift;
mod election;
mod ending;
pub mod epoch;

pub mod event;
pub mod exported;
mod failback;
pub mod fenced;
pub mod fencing;
pub mod group;
pub mod history;
mod host;
mod invariants;
pub mod keys;
mod member;
mod moving;
pub mod node;
pub mod observe;
mod orders;
mod outcome;
pub mod overall;
pub mod records;
mod removal;
pub mod sizing;
pub mod status;
pub mod store;
pub mod stuck;
mod surroundings;
mod switchover;
pub mod time;
pub mod watchdog;
