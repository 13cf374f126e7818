//! The decision core as it is shipped: the same files, compiled with nothing around them.

#[path = "../../src/core/mod.rs"]
pub mod core;
