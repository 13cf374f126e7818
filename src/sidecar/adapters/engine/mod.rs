//! The Docker engine through bollard: images, the protected containers, intruders, hints.
//!
//! Every call ends within a deadline. A call that ran into it may still take effect on the engine later: the
//! outcome is unknown, and the tether inside the container is what makes a late start harmless.

mod body;
mod container;
mod describe;
mod devices;
mod ending;
mod error;
mod events;
mod exec;
mod helper;
mod image;
mod intruders;
mod labels;
mod lenient;
mod looks;
mod mounts;
mod names;
mod networking;
mod own;
mod own_init;
mod prepare;
mod supplies;
mod trial;
#[cfg(test)]
mod version_tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as ClientError;
use bollard::models::SystemInfo;
use tokio::time::timeout;

pub use container::{ContainerState, Health, Status};
pub use devices::{DeviceLook, Sharing};
pub use error::EngineError;
pub use events::{Hint, HintKind};
pub use exec::{Exec, ExecOutcome};
use helper::Helpers;
pub use helper::{Helper, HelperOutcome};
pub use image::Image;
pub use intruders::{Guarded, Reason, Seen};
pub use looks::Look;
pub use mounts::{MountSource, TetherMounts};
pub use names::container_name;
pub use own::OwnProject;
pub use own_init::within;
pub use prepare::{Prepared, Wanted};
pub use trial::Tried;

type Result<T> = std::result::Result<T, EngineError>;

/// How long a call may take unless [`Engine::within`] says otherwise: a start on a bridge takes 0.3 s, a slow disk 5 s.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// A client of one Docker engine; clones share what they know of it.
#[derive(Clone, Debug)]
pub struct Engine {
    socket: PathBuf,
    /// With the API version agreed upon last: an engine that comes back may be another one.
    client: Arc<RwLock<Option<Docker>>>,
    helpers: Arc<Helpers>,
    deadline: Duration,
}

/// What the engine says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Such as `20.10.24`.
    pub engine: String,
    /// Such as `1.41`, as (major, minor).
    pub api: (u32, u32),
}

/// How an engine is set up, as far as it matters to what it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Such as `20.10.24`.
    pub version: String,
    /// Its containers live on without it.
    pub live_restore: bool,
    /// Root of a container is nobody on the host.
    pub remaps_users: bool,
    /// It runs without root's rights, in a network or with ids of its own.
    pub rootless: bool,
    /// The log drivers that it has by its own word; none where it says nothing.
    pub log_drivers: Vec<String>,
    /// What keeps its containers from mounting anything, whatever capabilities they have.
    pub confined_by: Option<Confinement>,
}

/// A security module by which an engine confines containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confinement {
    AppArmor,
    SeLinux,
}

impl Confinement {
    /// The option of a service that takes it off.
    #[must_use]
    pub const fn off(self) -> &'static str {
        match self {
            Self::AppArmor => "apparmor=unconfined",
            Self::SeLinux => "label=disable",
        }
    }
}

impl Settings {
    fn of(info: SystemInfo) -> Self {
        let security = info.security_options.unwrap_or_default();
        let has = |wanted: &str| {
            security
                .iter()
                .any(|option| option.split(',').any(|part| part == wanted))
        };
        Self {
            version: info.server_version.unwrap_or_default(),
            live_restore: info.live_restore_enabled.unwrap_or_default(),
            remaps_users: has("name=userns"),
            rootless: has("name=rootless"),
            confined_by: match (has("name=apparmor"), has("name=selinux")) {
                (true, _) => Some(Confinement::AppArmor),
                (false, true) => Some(Confinement::SeLinux),
                (false, false) => None,
            },
            log_drivers: info.plugins.and_then(|plugins| plugins.log).unwrap_or_default(),
        }
    }
}

impl Engine {
    /// A client for the engine behind a unix socket. Nothing is sent yet: the engine may come up later.
    #[must_use]
    pub fn connect(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            client: Arc::default(),
            helpers: Arc::default(),
            deadline: CALL_DEADLINE,
        }
    }

    /// The same engine with another deadline for each call to it.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// Whether the engine answers.
    pub async fn ping(&self) -> Result<()> {
        let docker = self.client().await?;
        self.ask("ping", docker.ping()).await.map(drop)
    }

    /// The engine's version and that of its API.
    pub async fn version(&self) -> Result<Version> {
        let docker = self.client().await?;
        let version = self.ask("version", docker.version()).await?;
        let api = version.api_version.unwrap_or_default();
        let parsed = api
            .split_once('.')
            .and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let Some(api) = parsed else {
            return Err(EngineError::Unreachable(format!("version: {api:?} is no API version")));
        };
        Ok(Version {
            engine: version.version.unwrap_or_default(),
            api,
        })
    }

    /// How it is set up.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn settings(&self) -> Result<Settings> {
        let docker = self.client().await?;
        self.ask("info", docker.info()).await.map(Settings::of)
    }

    /// The client of the library, connected and with the API version agreed upon by the first call that needs it.
    async fn client(&self) -> Result<Docker> {
        let known = self.client.read().unwrap_or_else(PoisonError::into_inner).clone();
        let docker = match known {
            Some(docker) => docker,
            None => self.agree().await?,
        };
        Ok(docker.with_timeout(Duration::from_secs(seconds_above(self.deadline))))
    }

    /// Agrees upon a version with the engine that is there now. Until it answers, the one before stands.
    async fn agree(&self) -> Result<Docker> {
        let path = self.socket.to_string_lossy();
        let docker = Docker::connect_with_unix(&path, seconds_above(CALL_DEADLINE), bollard::API_DEFAULT_VERSION);
        let docker = docker.map_err(|error| EngineError::sort("connect", &error))?;
        // bollard 0.21.1 sends no version at all; the next one will pin its newest, which old engines refuse.
        let docker = self.ask("connect", docker.negotiate_version()).await?;
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = Some(docker.clone());
        Ok(docker)
    }

    /// Waits for one call, at most for the deadline; the library's own timeout ends at the answer's head.
    async fn ask<T>(&self, what: &str, call: impl Future<Output = std::result::Result<T, ClientError>>) -> Result<T> {
        match timeout(self.deadline, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(EngineError::sort(what, &error)),
            Err(_) => Err(EngineError::late(what, self.deadline)),
        }
    }
}

/// The library takes whole seconds; ours strikes first.
fn seconds_above(deadline: Duration) -> u64 {
    deadline.as_secs().saturating_add(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send(_: impl Send) {}

    /// Compiles only if the loop may spawn every call.
    fn can_be_spawned(
        engine: &Engine,
        wanted: &Wanted<'_>,
        helper: &Helper<'_>,
        look: &Look<'_>,
        devices: &DeviceLook<'_>,
        guarded: &Guarded,
    ) {
        is_send(engine.look(look));
        is_send(engine.ping());
        is_send(engine.prepare(wanted));
        is_send(engine.try_start(wanted, ""));
        is_send(engine.start(""));
        is_send(engine.kill("", "KILL"));
        is_send(engine.remove(""));
        is_send(engine.inspect(""));
        is_send(engine.own_container(""));
        is_send(engine.intruders(guarded, "", &[]));
        is_send(engine.run_helper(helper));
        is_send(engine.devices_held(devices, Duration::ZERO));
    }

    /// A part of what Podman 5.4.2 says of itself, run by a user.
    #[test]
    fn podman_says_how_it_is_set_up() {
        let text = r#"{"ID":"f9ff4535-315b-4bc4-9c97-5077dad0c85d","Containers":2,"Driver":"overlay",
            "DriverStatus":[["Supports shifting","true"]],"Plugins":{"Volume":["local"],"Network":["bridge","macvlan","ipvlan"],
            "Authorization":null,"Log":["k8s-file","none","passthrough","journald"]},"MemoryLimit":false,"PidsLimit":true,
            "SystemTime":"2026-11-30T22:07:23.896123867Z","LoggingDriver":"","CgroupDriver":"systemd","CgroupVersion":"2",
            "IndexServerAddress":"","RegistryConfig":{"AllowNondistributableArtifactsCIDRs":[],"IndexConfigs":{},"Mirrors":[]},
            "NCPU":2,"GenericResources":null,"Labels":null,"ServerVersion":"5.4.2","Runtimes":{"crun":{"path":"/usr/bin/crun"}},
            "DefaultRuntime":"crun","Swarm":{"NodeID":"","LocalNodeState":"inactive","ControlAvailable":false,"Error":""},
            "LiveRestoreEnabled":false,"Isolation":"","InitBinary":"","ContainerdCommit":{"ID":"","Expected":""},
            "SecurityOptions":["name=seccomp,profile=default","name=rootless"],"CDISpecDirs":null,"Warnings":[],
            "BuildahVersion":"1.39.3","Rootless":true,"SwapFree":0,"Uptime":"4h 11m"}"#;
        let settings = Settings::of(serde_json::from_str(text).unwrap());
        let wanted = Settings {
            version: "5.4.2".to_owned(),
            rootless: true,
            log_drivers: ["k8s-file", "none", "passthrough", "journald"]
                .map(str::to_owned)
                .into(),
            ..Settings::default()
        };
        assert_eq!(settings, wanted);
    }

    #[test]
    fn calls_can_be_spawned() {
        let _ = can_be_spawned;
        assert_eq!(seconds_above(Duration::from_millis(1500)), 3);
    }
}
