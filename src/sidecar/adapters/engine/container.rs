//! One container's life: what it is now, start, kill, remove.

use std::collections::BTreeMap;

use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, ContainerUpdateBody, HealthStatusEnum, RestartPolicy,
    RestartPolicyNameEnum,
};
use bollard::query_parameters::{KillContainerOptionsBuilder, RemoveContainerOptionsBuilder};

use super::{Engine, EngineError, Result, labels, lenient};

/// What the engine says about a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerState {
    /// Everything else is meaningless where this is false.
    pub exists: bool,
    /// The engine's own word for it: a paused or restarting container counts as running.
    pub running: bool,
    /// The host's pid of the container's PID 1 while it runs.
    pub pid: Option<u32>,
    pub status: Status,
    /// It was made and nobody has ever started it.
    pub never_started: bool,
    pub health: Health,
    /// Of the last run, once one ended.
    pub exit_code: Option<i64>,
    pub oom_killed: bool,
    /// Such as `no`.
    pub restart_policy: String,
    /// Why the last start failed, if it did.
    pub error: String,
    pub labels: BTreeMap<String, String>,
    /// The store ids that its tether is told to find.
    pub stores: Vec<String>,
}

impl ContainerState {
    /// Of the request that made it; empty where Leasehold did not.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        self.labels.get(labels::FINGERPRINT).map_or("", String::as_str)
    }
}

/// The engine's state of a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
    /// Not there, or a word that this version does not know.
    #[default]
    Unknown,
}

impl Status {
    /// Whether the engine says that no process of it is left and none comes by itself.
    #[must_use]
    pub fn is_down(self) -> bool {
        match self {
            Self::Created | Self::Exited | Self::Dead => true,
            Self::Running | Self::Paused | Self::Restarting | Self::Removing | Self::Unknown => false,
        }
    }
}

/// The verdict of the container's own health check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It has none.
    #[default]
    None,
    Starting,
    Healthy,
    Unhealthy,
}

/// How the engine writes a time that never was.
const NO_TIME: &str = "0001-01-01T";

impl Engine {
    /// The container's state; one that does not exist is an answer, not an error.
    pub async fn inspect(&self, container_id: &str) -> Result<ContainerState> {
        match self.inspect_raw(container_id).await {
            Ok(found) => Ok(read(found)),
            Err(EngineError::Missing { .. }) => Ok(ContainerState::default()),
            Err(other) => Err(other),
        }
    }

    /// Starts a prepared container, after taking back any restart policy that someone gave it. Starting one that
    /// runs is no error. After `Unreachable` it may still start later.
    pub async fn start(&self, container_id: &str) -> Result<()> {
        let found = self.inspect_raw(container_id).await?;
        if policy(&found) != "no" {
            self.forbid_restarts(container_id).await?;
        }
        let docker = self.client().await?;
        self.ask("start", docker.start_container(container_id, None)).await
    }

    /// Sends a signal such as `KILL`. A container that is already down, or gone, is no error.
    pub async fn kill(&self, container_id: &str, signal: &str) -> Result<()> {
        let options = KillContainerOptionsBuilder::new().signal(signal).build();
        let docker = self.client().await?;
        match self
            .ask("kill", docker.kill_container(container_id, Some(options)))
            .await
        {
            Err(error) if error.is_conflict() || error.is_missing() => Ok(()),
            other => other,
        }
    }

    /// Freezes every process of it. One that is frozen already, or not there, is an error.
    pub async fn pause(&self, container_id: &str) -> Result<()> {
        let docker = self.client().await?;
        self.ask("pause", docker.pause_container(container_id)).await
    }

    /// Removes a container that is down; the engine refuses to remove a running one. Its volumes stay, nameless ones
    /// too: they may hold mail.
    pub async fn remove(&self, container_id: &str) -> Result<()> {
        self.remove_container(container_id, false).await
    }

    pub(super) async fn remove_container(&self, container_id: &str, force: bool) -> Result<()> {
        let options = RemoveContainerOptionsBuilder::new().force(force).v(false).build();
        let docker = self.client().await?;
        match self
            .ask("remove", docker.remove_container(container_id, Some(options)))
            .await
        {
            Err(error) if error.is_missing() => Ok(()),
            other => other,
        }
    }

    pub(super) async fn inspect_raw(&self, container: &str) -> Result<ContainerInspectResponse> {
        let docker = self.client().await?;
        let call = docker.inspect_container(container, None);
        self.ask("inspect container", lenient::container(call)).await
    }

    async fn forbid_restarts(&self, container_id: &str) -> Result<()> {
        let restart_policy = RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        };
        let update = ContainerUpdateBody {
            restart_policy: Some(restart_policy),
            ..ContainerUpdateBody::default()
        };
        let docker = self.client().await?;
        self.ask("update", docker.update_container(container_id, update)).await
    }
}

pub(super) fn read(found: ContainerInspectResponse) -> ContainerState {
    let restart_policy = policy(&found);
    let config = found.config.unwrap_or_default();
    let stores = stores(config.cmd.as_deref().unwrap_or_default());
    let labels = config.labels.unwrap_or_default();
    let state = found.state.unwrap_or_default();
    let status = state.status.map_or(Status::Unknown, status);
    let started = state.started_at.unwrap_or_default();
    ContainerState {
        exists: true,
        never_started: status == Status::Created && (started.is_empty() || started.starts_with(NO_TIME)),
        running: state.running.unwrap_or(false) || state.restarting.unwrap_or(false),
        pid: state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid > 0),
        status,
        health: health(state.health.and_then(|health| health.status)),
        exit_code: state
            .exit_code
            .filter(|_| matches!(status, Status::Exited | Status::Dead)),
        oom_killed: state.oom_killed.unwrap_or(false),
        restart_policy,
        error: state.error.unwrap_or_default(),
        labels: labels.into_iter().collect(),
        stores,
    }
}

/// The store ids among a tether's arguments; what follows `--` is the service's own.
pub(super) fn stores(arguments: &[String]) -> Vec<String> {
    let own = arguments.iter().take_while(|word| *word != "--");
    let pairs = own.clone().zip(own.skip(1));
    let values = pairs.filter(|(flag, _)| *flag == "--store");
    values
        .map(|(_, value)| value.split_once('=').map_or(value.as_str(), |(id, _)| id).to_owned())
        .collect()
}

fn status(word: ContainerStateStatusEnum) -> Status {
    match word {
        ContainerStateStatusEnum::EMPTY => Status::Unknown,
        ContainerStateStatusEnum::CREATED => Status::Created,
        ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::STOPPING => Status::Running,
        ContainerStateStatusEnum::PAUSED => Status::Paused,
        ContainerStateStatusEnum::RESTARTING => Status::Restarting,
        ContainerStateStatusEnum::REMOVING => Status::Removing,
        ContainerStateStatusEnum::EXITED => Status::Exited,
        ContainerStateStatusEnum::DEAD => Status::Dead,
    }
}

fn health(word: Option<HealthStatusEnum>) -> Health {
    match word {
        None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) => Health::None,
        Some(HealthStatusEnum::STARTING) => Health::Starting,
        Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
    }
}

/// The engine writes an unset policy as the empty word; both mean `no`.
fn policy(found: &ContainerInspectResponse) -> String {
    let policy = found.host_config.as_ref().and_then(|host| host.restart_policy.as_ref());
    let name = policy
        .and_then(|policy| policy.name)
        .map(|name| name.to_string())
        .unwrap_or_default();
    if name.is_empty() { "no".to_owned() } else { name }
}
