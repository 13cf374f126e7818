//! PID 1 of the protected container: starts the service behind a gate and kills it when the lease runs out.

pub mod page;
