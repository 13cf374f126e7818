//! The words of `/v1`: what the sidecar answers, what the command line reads, and what the description of the API tells others.
//!
//! - [`acting`]: what acts take; [`outcome`]: what they are answered with; [`problem`]: the words of a refusal
//! - [`reading`], [`config`]: what is read besides

pub mod acting;
pub mod config;
pub mod number;
pub mod outcome;
pub mod problem;
pub mod reading;

pub use acting::{
    AcceptRequest, ExtentRequest, FencedRequest, HoldRequest, OrderRequest, PauseRequest, SwitchoverRequest,
};
pub use config::{Configuration, Confirmed};
pub use outcome::Outcome;
pub use reading::{Told, Why};

/// Whoever acts sends it, as `X-Leasehold: 1`.
pub const ACT_HEADER: &str = "x-leasehold";
/// Who sits at the CLI, as the environment there knows it; read on the local socket alone.
pub const USER_HEADER: &str = "leasehold-user";
