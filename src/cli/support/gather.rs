//! What goes into the archive, and from where.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use super::super::client::{self, Daemon};
use super::super::version;
use super::redact::{self, Known};
use super::{Part, step};
use crate::NodeArgs;
use leasehold_api::exported::Exported;
use leasehold_api::status::Status;
use leasehold_base::small_file;
use leasehold_core::store::StoreError;
use leasehold_sidecar::adapters::store;
use leasehold_sidecar::node_context::NodeContext;

/// Groups whose history and decisions are asked for.
const GROUPS_MAX: usize = 32;
/// Of one call to etcd.
const ETCD_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// Every part in order, and the secrets that are known by their value.
pub(super) async fn all(daemon: &Daemon, facts: &NodeArgs, lines: u32) -> (Known, Vec<Part>) {
    let (own, of) = (daemon.clone(), |name: &str| name.to_owned());
    let status = step(move || async move { client::status(&own).await }).await;
    let mut parts = vec![
        (of("version.json"), version(status.as_ref().ok())),
        (of("status.json"), json(&status)),
    ];
    let groups = status
        .map(|status| status.groups.into_keys().collect::<Vec<_>>())
        .unwrap_or_default();
    for group in groups.into_iter().take(GROUPS_MAX) {
        parts.extend(of_group(daemon, &group).await);
    }
    let own = daemon.clone();
    let export = step(move || async move { told(client::ask::<Exported>(&own, "/v1/config/export").await?) }).await;
    parts.push((of("config-export.json"), json(&export)));
    let own = facts.clone();
    let site = step(move || async move { Ok(NodeContext::open(&own).await?) }).await;
    parts.push((of("etcd.txt"), etcd(&site).await));
    parts.extend(compose_files(facts, &site).await);
    parts.push((of("engine.json"), engine(facts).await));
    parts.push((of("sidecar.log"), log(&site, lines).await));
    (known(facts, &site).await, parts)
}

fn version(status: Option<&Status>) -> Result<String, String> {
    let sidecar = status.map(|status| &status.version);
    let (arch, system) = (std::env::consts::ARCH, std::env::consts::OS);
    json(&Ok(
        serde_json::json!({ "version": version::OWN, "sidecar": sidecar, "arch": arch, "system": system }),
    ))
}

fn json<T: Serialize>(document: &Result<T, String>) -> Result<String, String> {
    let document = document.as_ref().map_err(Clone::clone)?;
    serde_json::to_string_pretty(document).map_err(|error| error.to_string())
}

/// A refusal is as good as no answer.
fn told<T>(answer: Result<T, leasehold_api::Outcome>) -> Result<T> {
    answer.map_err(|outcome| anyhow::Error::msg(outcome.message))
}

/// Its history, and the log of this node's decisions about it.
async fn of_group(daemon: &Daemon, group: &str) -> [Part; 2] {
    // A name may be anything that etcd holds.
    let file: String = group
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(*letter))
        .collect();
    let (own, name) = (daemon.clone(), group.to_owned());
    let history = step(move || async move { told(client::history(&own, &name).await?) }).await;
    let (own, name) = (daemon.clone(), group.to_owned());
    let why = step(move || async move { told(client::why(&own, &name).await?) }).await;
    [
        (format!("groups/{file}/history.json"), json(&history)),
        (format!("groups/{file}/why.json"), json(&why)),
    ]
}

/// What each member of etcd says of itself.
async fn etcd(site: &Result<NodeContext, String>) -> Result<String, String> {
    let settings = site.as_ref().map_err(Clone::clone)?.store(ETCD_TIMEOUT);
    let mut text = String::new();
    for url in settings.endpoints.clone() {
        let (own, at) = (settings.clone(), url.clone());
        let member = step(move || async move {
            store::member(&own, &at).await.map_err(|error| match error {
                StoreError::Unknown(why) => anyhow::anyhow!("does not answer: {why}; see `leasehold check`"),
                StoreError::Refused(why) => anyhow::anyhow!("refuses this node: {why}; see `leasehold check`"),
            })
        });
        let said = member.await.map_or_else(|why| why, |member| format!("{member:#?}"));
        text.push_str(&format!("{url}: {said}\n"));
    }
    Ok(text)
}

/// Each compose file as it is read, without its secrets.
async fn compose_files(facts: &NodeArgs, site: &Result<NodeContext, String>) -> Vec<Part> {
    let files: Vec<PathBuf> = match site {
        Ok(site) => site.project.files.iter().map(|file| local(site, file)).collect(),
        // Faulty, maybe: that is when it is wanted most.
        Err(_) => facts.files.clone(),
    };
    if files.is_empty() {
        let why = site.as_ref().err().cloned().unwrap_or_default();
        return vec![("compose/compose.yaml.json".to_owned(), Err(why))];
    }
    let mut parts = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let read = step(move || async move { compose_file(&file) }).await;
        parts.push((format!("compose/{name}.json"), read));
    }
    parts
}

/// As this process sees it.
fn local(site: &NodeContext, file: &Path) -> PathBuf {
    let inside = file.strip_prefix(&site.sources.host_directory);
    inside.map_or_else(|_| file.to_owned(), |rest| site.sources.local_directory.join(rest))
}

fn compose_file(file: &Path) -> Result<String> {
    let place = file.display();
    let text =
        small_file::read_text(file, small_file::MAX).with_context(|| format!("{place}: see `leasehold check`"))?;
    let tree: Result<Value, _> = serde_saphyr::from_str(&text);
    // What is wrong with it may quote a line of it.
    let Ok(tree) = tree else {
        bail!("{place} can't be read as YAML, so nothing of it is here: see `leasehold check`");
    };
    Ok(serde_json::to_string_pretty(&redact::compose(tree))?)
}

async fn engine(facts: &NodeArgs) -> Result<String, String> {
    let socket = facts.engine.clone();
    let said = step(move || async move {
        Ok(leasehold_sidecar::adapters::engine::Engine::connect(&socket)
            .describe()
            .await?)
    });
    json(&said.await)
}

/// The end of the sidecar's log, where it runs in a container.
async fn log(site: &Result<NodeContext, String>, lines: u32) -> Result<String, String> {
    let site = site.as_ref().map_err(Clone::clone)?;
    let Some(id) = site.own_id.clone() else {
        let why = format!(
            "this sidecar runs in no container: add what `journalctl -u leasehold -n {lines}` prints, without its secrets"
        );
        return Err(why);
    };
    let engine = site.engine.clone();
    let read = step(move || async move { Ok(engine.log(&id, lines).await?) }).await?;
    Ok(read.join("\n"))
}

/// What is a secret by its place, wherever else it may stand.
async fn known(facts: &NodeArgs, site: &Result<NodeContext, String>) -> Known {
    let mut known = Known::default();
    let own: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    known.learn(own.iter().map(|(name, value)| (name, value)));
    let mut files: Vec<PathBuf> = facts.tokens.iter().cloned().collect();
    if let Ok(site) = site {
        let services = site.project.groups.values().flat_map(|group| &group.services);
        services.for_each(|service| known.learn(&service.environment));
        let cluster = &site.project.cluster;
        files.extend(cluster.etcd_user.iter().map(|user| user.password_file.clone()));
    }
    for file in files {
        let read = step(move || async move { Ok(small_file::read_text(&file, small_file::MAX)?) });
        if let Ok(text) = read.await {
            known.learn_tokens(&text);
        }
    }
    known
}
