//! The etcd adapter against real etcd members on the loopback interface.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking, too")]

#[path = "store/adapter.rs"]
mod adapter;
#[path = "store/compares.rs"]
mod compares;
#[path = "store/etcd.rs"]
mod etcd;
#[path = "store/failover.rs"]
mod failover;
#[path = "store/figures.rs"]
mod figures;
#[path = "store/full.rs"]
mod full;
#[path = "store/hints.rs"]
mod hints;
#[path = "store/history.rs"]
mod history;
#[path = "store/large.rs"]
mod large;
#[path = "store/leases.rs"]
mod leases;
#[path = "store/secure.rs"]
mod secure;
