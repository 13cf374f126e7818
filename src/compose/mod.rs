//! The user's compose file as configuration: read, merged, filled in, checked; nothing is dropped in silence.

pub mod model;
