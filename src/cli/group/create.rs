//! `leasehold group create`: checks the group here and prepares its storage, then takes its deletion back.

use anyhow::{Context, Result, bail};

use super::super::answer::Answer;
use super::super::client::{self, Daemon};
use super::super::text::say;
use super::super::{adopt, check, init};
use super::{MOVE_TIMEOUT, held};
use crate::NodeArgs;
use leasehold_api::OrderRequest;
use leasehold_sidecar::adapters::engine::Guarded;
use leasehold_sidecar::node_context::NodeContext;

pub(super) async fn create(daemon: &Daemon, facts: &NodeArgs, group: &str, adopt: bool, why: String) -> Result<Answer> {
    let site = NodeContext::open(facts).await?;
    let settings = init::known(&site, group)?;
    let status = client::status(daemon).await?;
    let line = status.groups.get(group);
    let line = line.with_context(|| {
        format!(
            "the sidecar of this host was started with a file without {group}: `docker compose up -d` it anew first"
        )
    })?;
    let mut prepared = String::new();
    if line.deleted.is_some() || !init::is_done(&site, group).await? {
        let mut faults = check::faults_of(&site, settings).await;
        faults.extend(line.used.iter().map(|(node, by)| {
            format!("container {by} on {node} uses the storage of {group} without a lease: take it down there")
        }));
        let users = site.engine.plain_users(&Guarded::of(&site.project, settings)).await;
        let users = users.context("asking the engine who uses the storage: see `leasehold check`")?;
        faults.extend(users.iter().map(|one| adopt::how_to_stop(one, &site.project.name)));
        if !faults.is_empty() {
            bail!(
                "nothing was changed, mend this and say `leasehold group create` again:\n  {}",
                faults.join("\n  ")
            );
        }
        let answer = init::init(facts, group, adopt).await?;
        if !answer.is_good() {
            return Ok(answer);
        }
        answer.words().clone_into(&mut prepared);
    }
    let path = format!("/v1/groups/{group}/create");
    let outcome = client::tell(daemon, &path, &OrderRequest { why }).await?;
    if !outcome.ok || line.deleted.is_none() {
        return Ok(client::conclude(&outcome).below(&prepared));
    }
    say(&outcome.message);
    let answer = match held(daemon, group, true).await? {
        Some(holder) => Answer::good(format!("{holder} starts {group}")).with("holder", holder),
        None => Answer::bad(format!(
            "no node has taken {group} within {MOVE_TIMEOUT:?}: see `leasehold why {group}`"
        )),
    };
    Ok(answer.below(&prepared))
}
