//! Who is told of decisions.

use std::io;

use crate::adapters::events::{self, Kept, Notifier, Pace};
use crate::counters::Counters;
use crate::node_context::NodeContext;

/// Whoever wants to be told of decisions; what would keep them from it is said now.
pub(super) fn notifier(site: &NodeContext, counters: &Counters) -> io::Result<Option<Notifier>> {
    for group in site.project.groups.values() {
        counters.begin(&group.name, group.probes.iter().map(|probe| probe.check.name()));
    }
    let cluster = &site.project.cluster;
    let Some(wanted) = &cluster.events else { return Ok(None) };
    for fault in events::faults(wanted) {
        tracing::warn!(code = "setting_unusable", "{fault}");
    }
    let life = getrandom::u64().map_err(io::Error::other)?;
    let kept = Kept::open(&site.facts.state_dir);
    let notifier = Notifier::open(
        wanted,
        &cluster.name,
        &site.name,
        life,
        &Pace::default(),
        counters,
        kept,
    );
    Ok(Some(notifier))
}
