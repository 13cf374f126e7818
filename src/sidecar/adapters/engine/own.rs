//! The sidecar's own container: from its labels it learns its project, from its mounts where things are on the host.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerSummaryStateEnum, MountPoint};

use super::names::{id, label};
use super::{Engine, EngineError, MountSource, Result, labels};

/// Names the node in the sidecar's environment.
const NODE_VARIABLE: &str = "LEASEHOLD_NODE";

/// What Compose and the engine know about the sidecar's own container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnProject {
    pub container_id: String,
    /// Compose's project name.
    pub project: String,
    /// The sidecar's own service in it.
    pub service: String,
    /// The project directory on the Docker host.
    pub working_dir: PathBuf,
    /// The compose files on the Docker host.
    pub config_files: Vec<PathBuf>,
    /// `stop_grace_period` as the engine knows it; `None` is the engine's 10 s.
    pub stop_timeout: Option<Duration>,
    /// What is mounted in the sidecar: path inside -> where it comes from.
    pub mounts: BTreeMap<PathBuf, MountSource>,
}

impl Engine {
    /// Finds the container in which the sidecar of this node runs; while there is none, a one-off one
    /// (`docker compose run leasehold check` before the first start).
    pub async fn own_container(&self, node: &str) -> Result<OwnProject> {
        match self.find_own(node, false).await? {
            Some(own) => Ok(own),
            None => self.find_own(node, true).await?.ok_or_else(|| EngineError::Missing {
                what: format!("a running container made by Compose with {NODE_VARIABLE}={node} in its environment"),
            }),
        }
    }

    async fn find_own(&self, node: &str, oneoff: bool) -> Result<Option<OwnProject>> {
        let mut found = Vec::new();
        for one in self.list(&[labels::PROJECT.to_owned()]).await? {
            let is_other = label(&one, labels::GROUP).is_some() || label(&one, labels::ROLE).is_some();
            let is_oneoff = label(&one, labels::ONEOFF) == Some("True");
            if is_other || is_oneoff != oneoff || one.state != Some(ContainerSummaryStateEnum::RUNNING) {
                continue;
            }
            match self.inspect_raw(id(&one)).await {
                Ok(container) if names_node(&container, node) => found.push(container),
                Ok(_) | Err(EngineError::Missing { .. }) => {}
                Err(other) => return Err(other),
            }
        }
        if found.len() > 1 {
            let ids: Vec<_> = found.iter().filter_map(|container| container.id.as_deref()).collect();
            let message = format!(
                "several running containers have {NODE_VARIABLE}={node}: {}",
                ids.join(", ")
            );
            return Err(EngineError::Invalid { message });
        }
        Ok(found.pop().map(read))
    }
}

fn names_node(container: &ContainerInspectResponse, node: &str) -> bool {
    let environment = container.config.as_ref().and_then(|config| config.env.as_ref());
    let is_it = |entry: &String| entry.split_once('=') == Some((NODE_VARIABLE, node));
    environment.is_some_and(|entries| entries.iter().any(is_it))
}

fn read(container: ContainerInspectResponse) -> OwnProject {
    let config = container.config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let text = |key: &str| labels.get(key).cloned().unwrap_or_default();
    let files = text(labels::CONFIG_FILES);
    OwnProject {
        container_id: container.id.unwrap_or_default(),
        project: text(labels::PROJECT),
        service: text(labels::SERVICE),
        working_dir: PathBuf::from(text(labels::WORKING_DIR)),
        config_files: files
            .split(',')
            .filter(|file| !file.is_empty())
            .map(PathBuf::from)
            .collect(),
        stop_timeout: config
            .stop_timeout
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs),
        mounts: container
            .mounts
            .unwrap_or_default()
            .into_iter()
            .filter_map(mount)
            .collect(),
    }
}

fn mount(point: MountPoint) -> Option<(PathBuf, MountSource)> {
    let inside = PathBuf::from(point.destination?);
    if point.typ.as_deref() == Some("volume") {
        return Some((inside, MountSource::Volume(point.name?)));
    }
    let source = point.source.filter(|source| !source.is_empty())?;
    Some((inside, MountSource::Path(PathBuf::from(source))))
}
