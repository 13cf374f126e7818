//! `leasehold init`: prepares a group's storage, once. Each mount gets a store id, which every tether looks for before
//! it starts the service: an empty directory in place of the real storage has none.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::check::images::WantsEmpty;
use super::check::volumes;
use super::text::table;
use leasehold_compose::model::{Group, Service};
use leasehold_core::protocol::TxnKind;
use leasehold_core::protocol::bounds::{self, Bounded};
use leasehold_core::protocol::keys::Keys;
use leasehold_core::protocol::records::{Record, RecordState, StoreIds, json};
use leasehold_core::store::{Compare, Op, StoreError, Txn};
use leasehold_sidecar::adapters::engine::Helper;
use leasehold_sidecar::adapters::{store, tether};
use leasehold_sidecar::node_args::NodeArgs;
use leasehold_sidecar::node_context::NodeContext;

/// A mount of a network that is not there hangs; so long is waited.
const DEADLINE: Duration = Duration::from_secs(60);
const ETCD_TIMEOUT: Duration = Duration::from_secs(5);

/// What the helper says of a mount.
#[derive(Debug, Serialize, Deserialize)]
struct Shown {
    path: String,
    mounted: bool,
    source: String,
    fstype: String,
    entries: Vec<String>,
    count: usize,
    store_id: Option<String>,
    /// Whose claim lies there, for people.
    claim: Option<String>,
    held: bool,
    writable: bool,
}

pub(super) async fn init(facts: &NodeArgs, group: &str, adopt: bool) -> Result<Answer> {
    let site = NodeContext::open(facts).await?;
    let settings = known(&site, group)?;
    tether::install(&facts.tether_dir)
        .context("installing the tether's binary: run this as root on the host, or see `leasehold check`")?;
    mounted_alone(&site, settings).await?;
    let volumes = volumes::look(&site, settings).await;
    let mut mounts = Vec::new();
    for service in &settings.services {
        mounts.extend(show(&site, service).await?);
    }
    let answer = match write_all(&site, settings, &mounts, adopt).await {
        Ok(id) => Answer::good(format!("{group} is initialised: store id {id}")).with("store_id", id),
        Err(error) => Answer::bad(format!("{error:#}")),
    };
    let warned: String = volumes
        .warnings
        .iter()
        .map(|text| format!("warning: {text}\n"))
        .collect();
    Ok(answer
        .below(&format!("{warned}{}", render(&mounts)))
        .with("warnings", volumes.warnings)
        .with("mounts", serde_json::to_value(&mounts)?))
}

/// The helper mounts it: never beside another node that has it mounted.
async fn mounted_alone(site: &NodeContext, settings: &Group) -> Result<()> {
    let group = &settings.name;
    let devices = volumes::devices(site, settings).await?;
    if devices.is_empty() {
        return Ok(());
    }
    let key = Keys::new(&site.project.cluster.name).record(group);
    let Some(record) = read_key::<Record>(site, &key).await? else {
        return Ok(());
    };
    if record.state == RecordState::Active && record.node != site.name {
        let (devices, node) = (devices.join(", "), &record.node);
        bail!("{node} holds {group} and has {devices} mounted: run this on {node}, or after `leasehold stop {group}`");
    }
    Ok(())
}

/// A store id into each mount and into etcd, unless something speaks against it.
async fn write_all(site: &NodeContext, settings: &Group, mounts: &[Shown], adopt: bool) -> Result<String> {
    let group = &settings.name;
    let in_etcd = read_store(site, group).await?;
    let wants_empty = wants_empty(site, settings).await?;
    refuse(mounts, in_etcd.as_ref(), adopt, group, &wants_empty)?;
    let found = mounts.iter().find_map(|mount| mount.store_id.clone());
    let id = match in_etcd.as_ref().map(|ids| ids.id.clone()).or(found) {
        Some(id) => id,
        None => format!(
            "{:016x}",
            getrandom::u64().context("no randomness from the kernel: run this as root on the host")?
        ),
    };
    for service in &settings.services {
        // Storage that etcd knows keeps its claims, whatever was asked: they belong to it.
        write(site, service, &id, adopt && in_etcd.is_none()).await?;
    }
    if in_etcd.is_none() {
        let targets = mounts.iter().map(|mount| mount.path.clone()).collect();
        put_store(
            site,
            group,
            StoreIds {
                id: id.clone(),
                mounts: targets,
            },
        )
        .await?;
    }
    Ok(id)
}

/// The group as the compose file has it.
pub(super) fn known<'s>(site: &'s NodeContext, group: &str) -> Result<&'s Group> {
    let known = || site.project.groups.keys().cloned().collect::<Vec<_>>().join(", ");
    let settings = site.project.groups.get(group);
    settings.with_context(|| {
        format!(
            "no group {group} in the compose file, only {}; see `leasehold check`",
            known()
        )
    })
}

/// Whether etcd knows the group's storage.
pub(super) async fn is_done(site: &NodeContext, group: &str) -> Result<bool> {
    Ok(read_store(site, group).await?.is_some())
}

/// What a program of the group will set up, if it is empty.
async fn wants_empty(site: &NodeContext, settings: &Group) -> Result<Vec<WantsEmpty>> {
    let mut all = Vec::new();
    for service in &settings.services {
        let image = site.engine.image(&service.image).await?;
        all.extend(WantsEmpty::find(service, Some(&image)));
    }
    Ok(all)
}

/// Everything that speaks against it, before anything is written.
fn refuse(
    mounts: &[Shown],
    in_etcd: Option<&StoreIds>,
    adopt: bool,
    group: &str,
    wants_empty: &[WantsEmpty],
) -> Result<()> {
    let mut reasons = Vec::new();
    for mount in mounts {
        let path = &mount.path;
        let is_new = mount.count == 0 && mount.store_id.is_none();
        let spoilt = wants_empty.iter().find(|wants| is_new && wants.target == *path);
        reasons.extend(spoilt.map(WantsEmpty::remedy));
        if !mount.mounted {
            reasons.push(format!("{path} is not a mount: nothing would outlive the container"));
        } else if !mount.writable {
            reasons.push(format!("{path} is not writable"));
        }
        match (&mount.store_id, in_etcd) {
            (Some(id), Some(ids)) if *id != ids.id => {
                reasons.push(format!(
                    "{path} is store {id}, but etcd knows {} for {group}: is it the right storage?",
                    ids.id
                ));
            }
            (Some(id), _)
                if mounts
                    .iter()
                    .any(|other| other.store_id.as_ref().is_some_and(|theirs| theirs != id)) =>
            {
                reasons.push(format!(
                    "{path} is store {id} and another mount is not: they do not belong together"
                ));
            }
            (None, _) if mount.count > 0 && !adopt => {
                reasons.push(format!(
                    "{path} holds {} entries; if they are this service's own, add --adopt",
                    mount.count
                ));
            }
            (Some(_) | None, _) => {}
        }
        if let Some(claim) = mount
            .claim
            .as_ref()
            .filter(|_| mount.held && in_etcd.is_none() && !adopt)
        {
            reasons.push(format!(
                "{path} is claimed by {claim}, and was not released; if nothing writes there any more, add --adopt"
            ));
        }
    }
    if reasons.is_empty() {
        return Ok(());
    }
    bail!(
        "nothing was changed, mend this and say `leasehold init` again:\n  {}",
        reasons.join("\n  ")
    )
}

async fn show(site: &NodeContext, service: &Service) -> Result<Vec<Shown>> {
    let targets = service.protected_targets();
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let text = helper(site, service, ["show".to_owned()].into_iter().chain(targets).collect()).await?;
    let lines = text.lines().map(|line| {
        serde_json::from_str(line).with_context(|| {
            format!("the helper said {line:?}: is the image of the sidecar of this version? See `leasehold check`")
        })
    });
    lines.collect()
}

async fn write(site: &NodeContext, service: &Service, id: &str, adopt: bool) -> Result<()> {
    let targets = service.protected_targets();
    if targets.is_empty() {
        return Ok(());
    }
    let adopt = adopt.then_some("--adopt");
    let words = ["init", "--id", id].into_iter().chain(adopt).map(str::to_owned);
    helper(site, service, words.chain(targets).collect()).await.map(|_| ())
}

/// Runs the tether's `store` form in a container with the service's mounts.
async fn helper(site: &NodeContext, service: &Service, words: Vec<String>) -> Result<String> {
    let command: Vec<String> = ["/leasehold/tether", "store"]
        .into_iter()
        .map(str::to_owned)
        .chain(words)
        .collect();
    let outcome = site
        .engine
        .run_helper(&Helper {
            project: &site.project,
            service,
            node: &site.name,
            binary: &site.binary,
            name: "init",
            only: None,
            devices: &[],
            command: &command,
            user: None,
            deadline: DEADLINE,
        })
        .await?;
    if outcome.exit_code != 0 {
        bail!("{}: {}; see `leasehold check`", service.name, outcome.stderr.trim());
    }
    Ok(outcome.stdout)
}

fn render(mounts: &[Shown]) -> String {
    let head = ["MOUNT", "SOURCE", "TYPE", "STORE ID", "CLAIM", "CONTENTS"]
        .map(str::to_owned)
        .to_vec();
    let rows = mounts.iter().map(|mount| {
        let contents = match mount.count {
            0 => "empty".to_owned(),
            count => format!("{count}: {}", mount.entries.join(" ")),
        };
        let id = mount.store_id.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            mount.path.clone(),
            mount.source.clone(),
            mount.fstype.clone(),
            id,
            claim(mount),
            contents,
        ]
    });
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

fn claim(mount: &Shown) -> String {
    match &mount.claim {
        Some(claim) if mount.held => format!("{claim}, held"),
        Some(claim) => format!("{claim}, released"),
        None => "-".to_owned(),
    }
}

async fn read_store(site: &NodeContext, group: &str) -> Result<Option<StoreIds>> {
    read_key(site, &Keys::new(&site.project.cluster.name).store(group)).await
}

async fn read_key<T: DeserializeOwned + Bounded>(site: &NodeContext, key: &str) -> Result<Option<T>> {
    let answer = store::once(&site.store(ETCD_TIMEOUT), &Txn::read())
        .await
        .map_err(explain)?;
    let found = answer.keys.iter().find(|kv| kv.key == key);
    found.map(|kv| bounds::read(&kv.value)).transpose().map_err(|fault| {
        anyhow::anyhow!(
            "the key {key} can't be read ({fault}): see what wrote it, put it right in etcd, and run this again"
        )
    })
}

async fn put_store(site: &NodeContext, group: &str, ids: StoreIds) -> Result<()> {
    let key = Keys::new(&site.project.cluster.name).store(group);
    let txn = Txn {
        kind: TxnKind::InitStore,
        compare: vec![Compare::Create {
            key: key.clone(),
            revision: 0,
        }],
        then: vec![Op::Put {
            key,
            value: json(&ids),
            lease: 0,
        }],
    };
    let answer = store::once(&site.store(ETCD_TIMEOUT), &txn).await.map_err(explain)?;
    if !answer.succeeded {
        bail!("somebody else initialised {group} at the same moment: run it again");
    }
    Ok(())
}

fn explain(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::Unknown(why) => anyhow::anyhow!("etcd did not answer: {why}; it is safe to run this again"),
        StoreError::Refused(why) => anyhow::anyhow!("etcd refused: {why}; see `leasehold check`"),
    }
}
