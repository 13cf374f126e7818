//! The history as etcd has it, where no sidecar answers.

use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::NodeArgs;
use leasehold_api::history::History;
use leasehold_core::store::StoreError;
use leasehold_sidecar::adapters::store;
use leasehold_sidecar::node_context::NodeContext;

/// Of one call to etcd.
const ETCD_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn read(facts: &NodeArgs, group: &str) -> Result<History> {
    let site = NodeContext::open(facts).await?;
    let read = store::history(&site.store(ETCD_TIMEOUT), group).await;
    read.map(History::from).map_err(|error| match error {
        StoreError::Unknown(why) => anyhow!("etcd did not answer: {why}; see `leasehold check`"),
        StoreError::Refused(why) => anyhow!("etcd refused: {why}; see `leasehold check`"),
    })
}
