//! The user's compose file as configuration: read, merged, filled in, checked; nothing is dropped in silence.
//!
//! - `files`: finds the files; `layers` reads them and puts them together; `yaml`, `dotenv`, `interpolate`, `elsewhere` and
//!   `merge` are its tools
//! - `keys`: the table of all keys of Compose and what becomes of them
//! - `project`: from the merged tree to [`model::Project`]; `service`, `leasehold` and `groups` read, `refusals` forbids
//! - `adopt`: the edit of a file that protects a service, and the one that takes it back
//! - `drift`: in what a container differs from what the file says now
//! - `command`, `hash`, `report`: what others ask of a project that has been read

pub mod adopt;
pub mod alike;
pub mod model;

mod certificates;
mod command;
mod context;
mod cursor;
mod depends;
mod dotenv;
mod drift;
mod elsewhere;
mod email;
mod environment;
pub mod events;
mod fault;
mod fence;
mod files;
mod gpus;
mod groups;
mod handed;
mod hash;
mod health;
mod interpolate;
pub mod keys;
mod layers;
mod leasehold;
mod limits;
mod merge;
mod mounts;
mod networks;
pub mod nfs;
mod order;
mod paths;
mod places;
mod policy;
mod ports;
mod probes;
mod project;
mod reach;
mod refusals;
mod report;
mod scalar;
mod service;
mod sidecar;
#[cfg(test)]
mod testing;
mod words;
mod yaml;

pub use command::{Init, Unfit, command_line, fits, init_of, lent};
pub use drift::{Misfit, after_crash, changed, fingerprints, takeable};
pub use fault::Fault;
pub use files::{Sources, files, override_of};
pub use hash::config_hash;
pub use project::read;
pub use report::report;
pub use scalar::is_name;
