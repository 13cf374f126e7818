//! The decision core: one event and a time in, actions out. It never awaits, reads a clock, or names an outside type.

pub mod epoch;
pub mod keys;
pub mod store;
pub mod time;
