//! The protected container: made, or made anew, while it is down; never started here.

use bollard::models::{ContainerCreateBody, ContainerInspectResponse};
use bollard::query_parameters::CreateContainerOptionsBuilder;
use sha2::{Digest, Sha256};

use super::body;
use super::container::{read, stores};
use super::names::{container_name, id, label};
use super::networking::Joined;
use super::{ContainerState, Engine, EngineError, Image, Result, Status, TetherMounts, labels};
use leasehold_compose::model::{MountKind, Project, Service};
use leasehold_compose::{changed, fingerprints};

/// The same of each key of its service, for people: what has changed.
const KEYS: &str = "leasehold.keys";

/// What the container of a service has to be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub project: &'a Project,
    pub group: &'a str,
    pub service: &'a Service,
    pub node: &'a str,
    pub tether: &'a TetherMounts,
    /// What the tether is told besides service, group and node.
    pub tether_flags: &'a [String],
    /// What the tether starts.
    pub command_line: &'a [String],
    /// Compose's hash of the service, without which Compose does not see the container.
    pub config_hash: &'a str,
}

/// The container of a service on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    pub container_id: String,
    /// The engine's id of the wanted image.
    pub image_id: String,
    /// The registry's digest of the wanted image where there is one, else its id.
    pub image_digest: String,
    /// Made by this call.
    pub created: bool,
    /// Found running, and so left as it is.
    pub running: bool,
    /// Whether it is what the file asks for now; false only while `running`.
    pub is_current: bool,
    /// If it is not: the keys of its service that changed, or what else did.
    pub differs: Vec<String>,
    /// What the operator should know: warnings of the engine, keys that have no effect here.
    pub notes: Vec<String>,
    /// Of the request that made this very container.
    pub fingerprint: String,
    /// The store ids that its tether is told to find.
    pub stores: Vec<String>,
}

impl Engine {
    /// Makes sure that the container of a service exists as wanted and is down. One that differs is removed and made
    /// anew, but never while it runs. Nothing is mounted, written to the storage or started.
    pub async fn prepare(&self, wanted: &Wanted<'_>) -> Result<Prepared> {
        let image = self.image(&wanted.service.image).await?;
        self.check_api(wanted.service).await?;
        let standing = self.standing(wanted).await?;
        if let Some((running, state)) = standing.iter().find(|(_, state)| !state.status.is_down()) {
            let is_current = self.is_running_current(wanted, &image, running, state).await?;
            let found = Found::Running { is_current };
            let mut prepared = prepared(id_of(running), &image, found, Vec::new()).made_as(state);
            if !is_current {
                prepared.differs = differs(wanted.service, running, state, &image);
            }
            return Ok(prepared);
        }
        self.ensure_volumes(wanted.project, wanted.service).await?;
        let joined = self.join(wanted).await?;
        let mut body = body::protected(wanted, &image, &joined)?;
        let print = fingerprint(&body)?;
        let mut notes = notes(wanted.service, &image, &joined);
        let mut kept: Option<(String, &ContainerState)> = None;
        for (container, state) in &standing {
            if kept.is_none() && has_name(container, wanted) && is_current(container, state, &print, &image, &joined) {
                kept = Some((id_of(container), state));
            } else {
                self.remove(&id_of(container)).await?;
            }
        }
        if let Some((kept, state)) = kept {
            return Ok(prepared(kept, &image, Found::Down, notes).made_as(state));
        }
        let stores = stores(body.cmd.as_deref().unwrap_or_default());
        let labels = body.labels.get_or_insert_default();
        labels.insert(labels::FINGERPRINT.to_owned(), print.clone());
        labels.insert(KEYS.to_owned(), fingerprints(wanted.service));
        let (made, warnings) = self.create(wanted, body, &joined).await?;
        notes.extend(warnings);
        Ok(Prepared {
            fingerprint: print,
            stores,
            ..prepared(made, &image, Found::Made, notes)
        })
    }

    /// A running container is found even where its surroundings are not as wanted any more.
    async fn is_running_current(
        &self,
        wanted: &Wanted<'_>,
        image: &Image,
        running: &ContainerInspectResponse,
        state: &ContainerState,
    ) -> Result<bool> {
        match self.join(wanted).await {
            Ok(joined) => {
                let print = fingerprint(&body::protected(wanted, image, &joined)?)?;
                Ok(is_current(running, state, &print, image, &joined))
            }
            Err(EngineError::Unreachable(why)) => Err(EngineError::Unreachable(why)),
            Err(EngineError::Missing { .. } | EngineError::Refused { .. } | EngineError::Invalid { .. }) => Ok(false),
        }
    }

    /// The containers that stand for this service on this node, with what the engine says of them.
    async fn standing(&self, wanted: &Wanted<'_>) -> Result<Vec<(ContainerInspectResponse, ContainerState)>> {
        let mut ids = Vec::new();
        for one in self.list_service(&wanted.project.name, &wanted.service.name).await? {
            let is_oneoff = label(&one, labels::ONEOFF) == Some("True");
            if label(&one, labels::NODE) == Some(wanted.node) && !is_oneoff && label(&one, labels::ROLE).is_none() {
                ids.push(id(&one).to_owned());
            }
        }
        let mut all = Vec::new();
        for id in ids {
            match self.inspect_raw(&id).await {
                Ok(found) => all.push((found.clone(), read(found))),
                Err(EngineError::Missing { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        if let Some(holder) = self.holder_of_name(wanted).await?
            && all.iter().all(|(known, _)| known.id != holder.0.id)
        {
            all.push(holder);
        }
        // One on its way out is nobody's any more; while it still has the name, the engine refuses to make another.
        all.retain(|(_, state)| state.status != Status::Removing);
        if all.iter().filter(|(_, state)| !state.status.is_down()).count() > 1 {
            let what = format!(
                "service {} has several running containers on this node",
                wanted.service.name
            );
            return Err(EngineError::invalid(what));
        }
        Ok(all)
    }

    /// Whatever has the name of our container. One that Compose left behind for the same service gives way while it
    /// is down; anything else is not ours to touch.
    async fn holder_of_name(&self, wanted: &Wanted<'_>) -> Result<Option<(ContainerInspectResponse, ContainerState)>> {
        let name = container_name(wanted.project, wanted.service, wanted.node);
        let found = match self.inspect_raw(&name).await {
            Ok(found) => found,
            Err(EngineError::Missing { .. }) => return Ok(None),
            Err(other) => return Err(other),
        };
        let state = read(found.clone());
        let has = |key: &str, value: &str| state.labels.get(key).is_some_and(|found| found == value);
        let is_service = has(labels::PROJECT, &wanted.project.name) && has(labels::SERVICE, &wanted.service.name);
        let is_ours = has(labels::NODE, wanted.node);
        let is_left_behind = !state.labels.contains_key(labels::NODE) && state.status.is_down();
        if is_service && (is_ours || is_left_behind) {
            return Ok(Some((found, state)));
        }
        let doing = if state.running { "running" } else { "stopped" };
        Err(EngineError::invalid(format!(
            "the name {name} is taken by another container ({doing}): remove or rename it"
        )))
    }

    async fn create(
        &self,
        wanted: &Wanted<'_>,
        body: ContainerCreateBody,
        joined: &Joined,
    ) -> Result<(String, Vec<String>)> {
        let name = container_name(wanted.project, wanted.service, wanted.node);
        let mut options = CreateContainerOptionsBuilder::new().name(&name);
        if let Some(platform) = &wanted.service.platform {
            options = options.platform(platform);
        }
        let docker = self.client().await?;
        let made = self
            .ask("create container", docker.create_container(Some(options.build()), body))
            .await?;
        if let Err(error) = self.connect_more(&made.id, joined).await {
            // Half a container is worse than none; if this fails too, the next call finds its networks wanting.
            self.remove(&made.id).await.ok();
            return Err(error);
        }
        Ok((made.id, made.warnings))
    }

    /// Keys that an older engine would drop in silence.
    async fn check_api(&self, service: &Service) -> Result<()> {
        let mut needs: Vec<(&str, (u32, u32))> = Vec::new();
        if service
            .networks
            .values()
            .any(|attachment| attachment.mac_address.is_some())
        {
            needs.push(("mac_address of a network", (1, 44)));
        }
        if service
            .healthcheck
            .as_ref()
            .is_some_and(|check| check.start_interval.is_some())
        {
            needs.push(("healthcheck.start_interval", (1, 44)));
        }
        if service
            .mounts
            .iter()
            .any(|mount| matches!(mount.kind, MountKind::Volume { subpath: Some(_), .. }))
        {
            needs.push(("subpath of a volume", (1, 45)));
        }
        if needs.is_empty() {
            return Ok(());
        }
        let version = self.version().await?;
        let Some((key, (major, minor))) = needs.into_iter().find(|(_, least)| version.api < *least) else {
            return Ok(());
        };
        Err(EngineError::invalid(format!(
            "service {}: {key} needs an engine with API {major}.{minor} or newer; this one ({}) has {}.{}",
            service.name, version.engine, version.api.0, version.api.1
        )))
    }
}

enum Found {
    Made,
    Down,
    Running { is_current: bool },
}

fn prepared(container_id: String, image: &Image, found: Found, notes: Vec<String>) -> Prepared {
    let (created, running, is_current) = match found {
        Found::Made => (true, false, true),
        Found::Down => (false, false, true),
        Found::Running { is_current } => (false, true, is_current),
    };
    let (image_id, image_digest) = (image.id.clone(), image.digest.clone());
    Prepared {
        container_id,
        image_id,
        image_digest,
        created,
        running,
        is_current,
        differs: Vec::new(),
        notes,
        fingerprint: String::new(),
        stores: Vec::new(),
    }
}

impl Prepared {
    /// As the container that was found says of itself.
    fn made_as(self, state: &ContainerState) -> Self {
        Self {
            fingerprint: state.fingerprint().to_owned(),
            stores: state.stores.clone(),
            ..self
        }
    }
}

/// What an operator would look at first.
fn differs(
    service: &Service,
    running: &ContainerInspectResponse,
    state: &ContainerState,
    image: &Image,
) -> Vec<String> {
    let keys = state.labels.get(KEYS);
    let mut all = keys.map_or_else(Vec::new, |keys| changed(keys, service));
    if running.image.as_deref() != Some(image.id.as_str()) && !all.iter().any(|key| key == "image") {
        all.push(format!("what {} means here", service.image));
    }
    if all.is_empty() {
        all.push("something beside its own keys".to_owned());
    }
    all
}

fn id_of(container: &ContainerInspectResponse) -> String {
    container.id.clone().unwrap_or_default()
}

fn has_name(container: &ContainerInspectResponse, wanted: &Wanted<'_>) -> bool {
    let name = container.name.as_deref().unwrap_or_default();
    name.trim_start_matches('/') == container_name(wanted.project, wanted.service, wanted.node)
}

/// Made by the same request, from the same image, and connected to all its networks.
fn is_current(
    container: &ContainerInspectResponse,
    state: &ContainerState,
    print: &str,
    image: &Image,
    joined: &Joined,
) -> bool {
    let networks = container
        .network_settings
        .as_ref()
        .and_then(|settings| settings.networks.as_ref());
    let is_in = |name: &str| networks.is_some_and(|networks| networks.contains_key(name));
    state.fingerprint() == print
        && container.image.as_deref() == Some(image.id.as_str())
        && joined.networks().all(is_in)
}

pub(super) fn fingerprint(body: &ContainerCreateBody) -> Result<String> {
    // Through a value, whose maps are sorted: the request's own come in random order.
    let text = serde_json::to_value(body).map(|value| value.to_string());
    let text = text.map_err(|error| EngineError::invalid(format!("container request: {error}")))?;
    Ok(Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn notes(service: &Service, image: &Image, joined: &Joined) -> Vec<String> {
    let mut all = Vec::new();
    if joined.is_shared && service.hostname.is_some() {
        all.push(format!(
            "service {}: hostname has no effect in the network of another container",
            service.name
        ));
    }
    for path in &image.volumes {
        let in_memory = service.tmpfs.iter().any(|entry| entry.split(':').next() == Some(path));
        if !in_memory && service.mounts.iter().all(|mount| mount.target != *path) {
            all.push(format!(
                "service {}: the image declares a volume at {path} that no mount covers: what is written there stays \
                 on this host and is gone when the container is made anew",
                service.name
            ));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn fingerprint_does_not_depend_on_the_order_of_maps() {
        let labels = || {
            (0..50)
                .map(|n| (format!("key{n}"), "v".to_owned()))
                .collect::<HashMap<_, _>>()
        };
        let body = || ContainerCreateBody {
            labels: Some(labels()),
            ..ContainerCreateBody::default()
        };
        assert_eq!(fingerprint(&body()).unwrap(), fingerprint(&body()).unwrap());
    }
}
