//! The whole sidecar as a process of its own, on a real etcd and this machine's engine. But for `apply`, `block`, `group` and
//! `starts`, its group is never ready (no storage is initialised, no image is there), so no container and no tether is ever
//! started.

#![allow(clippy::unwrap_used, reason = "a test fails by it, in its helpers too")]

#[path = "sidecar/api.rs"]
mod api;
#[path = "sidecar/apply.rs"]
mod apply;
#[path = "sidecar/asked.rs"]
mod asked;
#[path = "sidecar/block.rs"]
mod block;
#[path = "sidecar/busybox.rs"]
mod busybox;
#[path = "sidecar/config.rs"]
mod config;
#[path = "sidecar/endpoints.rs"]
mod endpoints;
#[path = "store/etcd.rs"]
#[allow(dead_code, reason = "the store tests use the rest")]
mod etcd;
#[path = "sidecar/group.rs"]
mod group;
#[path = "sidecar/json.rs"]
mod json;
#[path = "sidecar/left.rs"]
mod left;
#[path = "sidecar/manager.rs"]
mod manager;
#[path = "sidecar/measured.rs"]
mod measured;
#[path = "engine/own.rs"]
#[allow(dead_code, reason = "the engine tests use the rest")]
mod own;
#[path = "sidecar/process.rs"]
#[allow(dead_code, reason = "the console tests use the rest")]
mod process;
#[path = "sidecar/screen.rs"]
mod screen;
#[path = "sidecar/secure.rs"]
mod secure;
#[path = "sidecar/starts.rs"]
mod starts;
#[path = "sidecar/trust.rs"]
mod trust;
#[path = "sidecar/world.rs"]
mod world;
