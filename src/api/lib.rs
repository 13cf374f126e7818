//! The words of `/v1`: what the sidecar answers, what the command line reads, and what the description of the API tells others.
//!
//! - [`status`], [`history`], [`config`], [`exported`], [`reading`]: what is read
//! - [`acting`]: what acts take; [`outcome`]: what they are answered with; [`problem`]: the words of a refusal
//! - [`follow`]: what becomes of an order once it is taken
//! - [`words`]: what the sidecar chooses from, with room for the words of a later version
//!
//! What the core knows comes in through a `From` that names every field, so that neither can drift from the other.

use std::collections::BTreeMap;

pub mod acting;
pub mod config;
pub mod exported;
pub mod follow;
pub mod history;
pub mod number;
pub mod outcome;
pub mod problem;
pub mod reading;
pub mod status;
pub mod words;

pub use acting::{
    AcceptRequest, ExtentRequest, FencedRequest, HoldRequest, OrderRequest, PauseRequest, SetRequest, SwitchoverRequest,
};
pub use config::{Configuration, Confirmed, Setting};
pub use outcome::{IntentRef, Outcome};
pub use reading::{LoggedDecision, Why};

/// Whoever acts sends it, as `X-Leasehold: 1`.
pub const ACT_HEADER: &str = "x-leasehold";
/// Who sits at the CLI, as the environment there knows it; read on the local socket alone.
pub const USER_HEADER: &str = "leasehold-user";

/// Each value of a map, its name as it is.
fn each<T, U: From<T>>(map: BTreeMap<String, T>) -> BTreeMap<String, U> {
    map.into_iter().map(|(name, value)| (name, value.into())).collect()
}

#[cfg(test)]
mod tests;
