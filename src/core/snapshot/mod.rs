//! What people and tools are told: the snapshot, the health, what is published in etcd, and the codes.

pub mod code;
pub mod health;
pub(crate) mod publication;
pub(crate) mod said;
pub mod settings;
pub(crate) mod speech;
pub mod status;
