//! What the rows share: the ttl of the hosts' `.env`, and what clients may see.

use std::time::Duration;

/// The smallest that `compose/node`'s settings of etcd allow.
pub(crate) const TTL: Duration = Duration::from_secs(5);
/// The ttl, an election of etcd where its leader dies too (stock timing), and what a machine with three hosts needs.
pub(crate) const FAILOVER_LIMIT: Duration = Duration::from_secs(10);
/// Stop and start of the mail server, and the way through etcd.
pub(crate) const HAND_OVER_LIMIT: Duration = Duration::from_secs(4);
/// What a busy machine may make of "no outage": a greeting that came late.
pub(crate) const NO_OUTAGE: Duration = Duration::from_secs(1);
pub(crate) const RETURN_LIMIT: Duration = Duration::from_secs(60);
