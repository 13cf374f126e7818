//! The user's compose file as configuration: read, merged, filled in, checked; nothing is dropped in silence.

pub mod model;

mod cursor;
mod dotenv;
mod fault;
mod interpolate;
mod merge;
mod scalar;
mod words;
mod yaml;

pub use fault::Fault;
