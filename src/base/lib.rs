//! What sidecar and tether have in common: the clocks, the words that they exchange, and how small files are read.
//!
//! - [`clock`]: the only reader of clocks; [`time`]: readings and deadlines on two of them
//! - [`epoch`], [`order`], [`page`], [`hello`], [`exit`]: what passes between a sidecar and its tethers
//! - [`device`], [`storage_probe`], [`trial`], [`watched`]: what the tether's helpers are asked and answer
//! - [`words`]: an enum that keeps the word of a later version
//! - [`bounds`]: how far anything is counted; [`length`]: lengths of time as people write them
//! - [`small_file`]: how files are read that others put there

pub mod bounds;
pub mod clock;
pub mod device;
pub mod epoch;
pub mod exit;
pub mod hello;
pub mod length;
pub mod order;
pub mod own_init;
pub mod page;
pub mod small_file;
pub mod storage_probe;
pub mod time;
pub mod trial;
pub mod watched;
pub mod words;
