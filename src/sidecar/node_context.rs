//! This node's place on its host: the project it serves, as the sidecar's own container tells it, and where the
//! tethers' files and binary lie in the engine's terms.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::adapters::cgroup::Cgroups;
use crate::adapters::engine::{self, Engine, EngineError, MountSource, OwnProject, TetherMounts};
use crate::adapters::files::Taken;
use crate::adapters::http::FileConfig;
use crate::adapters::store;
use crate::adapters::vip::{self, VipError};
use crate::adapters::watchdog::{Device, WatchdogError};
use crate::left::Left;
use crate::node_args::NodeArgs;
use leasehold_base::clock;
use leasehold_compose::model::{END_BUDGET, Project, Service};
use leasehold_compose::{Fault, Sources};
use leasehold_core::protocol::keys::Keys;
use leasehold_core::protocol::sizing::{Timing, TooShort};

/// The engine's own grace for a container that states none.
const ENGINE_GRACE: Duration = Duration::from_secs(10);

/// Tries to find the sidecar's own container, and the pause between them.
const OWN_TRIES: u32 = 25;
const OWN_PAUSE: Duration = Duration::from_millis(200);

/// Why a node can't take part as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum SiteError {
    /// The operator changes the environment or the sidecar's service.
    #[error("{0}")]
    Setting(String),
    /// The operator mends the compose file; all faults are there.
    #[error("{} in the compose file:\n{}", count(.0.len()), lines(.0))]
    File(Vec<Fault>),
    /// The operator sees to the engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The operator loads the watchdog's driver with other options, or does without it.
    #[error(transparent)]
    Watchdog(#[from] WatchdogError),
    /// The operator raises the ttl or tunes etcd.
    #[error(transparent)]
    Sizing(#[from] TooShort),
}

/// Everything that is fixed while the process lives.
#[derive(Clone, Debug)]
pub struct NodeContext {
    pub name: String,
    pub facts: NodeArgs,
    pub engine: Engine,
    pub project: Arc<Project>,
    /// Where it was read from, to be read again.
    pub sources: Arc<Sources>,
    /// The run directory on the Docker host.
    pub run_source: PathBuf,
    pub binary: MountSource,
    /// The sidecar's own container, where it runs in one.
    pub own_id: Option<String>,
    /// The hardware watchdog, where this node has one.
    pub watchdog: Option<Device>,
    /// The sidecar's own grace, where it runs in a container.
    pub own_grace: Option<Duration>,
    /// Of runs of an earlier sidecar.
    pub left: Left,
}

impl NodeContext {
    /// Finds the project and reads it.
    ///
    /// # Errors
    /// [`SiteError`]; a faulty file gives all its faults at once.
    pub async fn open(facts: &NodeArgs) -> Result<Self, SiteError> {
        Self::open_after(facts, None).await
    }

    /// The same for a sidecar that comes after one which crashed: it goes on with what that one took, as that one would have.
    /// What was edited since is told, and taken as a living one takes it.
    ///
    /// # Errors
    /// As [`NodeContext::open`].
    pub async fn open_after(facts: &NodeArgs, taken: Option<Taken>) -> Result<Self, SiteError> {
        let name = facts.name().map_err(SiteError::Setting)?;
        let engine = Engine::connect(&facts.engine);
        let own = match facts.files.is_empty() {
            true => Some(own_container(&engine, &name).await?),
            false => None,
        };
        let sources = Arc::new(sources(facts, own.as_ref())?);
        let own_id = own.as_ref().map(|own| own.container_id.clone());
        let taken = taken.filter(|taken| taken.own_id == own_id).map(|taken| taken.project);
        let (project, is_remembered) =
            leasehold_compose::after_crash(taken, leasehold_compose::read(&sources)).map_err(SiteError::File)?;
        if is_remembered {
            tracing::info!(
                code = "file_remembered",
                "after a crash it goes on with the compose file as it was taken before"
            );
        }
        let (run_source, binary) = places(facts, own.as_ref())?;
        let watchdog = facts.watchdog.as_deref().map(Device::find).transpose()?;
        Ok(Self {
            name,
            watchdog,
            facts: facts.clone(),
            engine,
            project: Arc::new(project),
            sources,
            run_source,
            binary,
            own_id,
            own_grace: own.map(|own| own.stop_timeout.unwrap_or(ENGINE_GRACE)),
            left: Left::default(),
        })
    }

    /// Keeps what was taken from the compose file, for a sidecar that comes after a crash of this one.
    pub fn remember(&self, project: &Project) {
        let taken = clock::boot_id_text().map(|boot| Taken {
            boot,
            own_id: self.own_id.clone(),
            project: project.clone(),
        });
        if let Err(error) = taken.and_then(|taken| taken.write(&self.facts.run_dir)) {
            tracing::warn!(code = "file_not_remembered", %error, "a restart after a crash will read the compose file as it is then");
        }
    }

    /// What the compose file states for the whole cluster now, which may have been edited since.
    ///
    /// # Errors
    /// [`SiteError::File`] with all its faults.
    pub fn config_now(sources: &Sources) -> Result<FileConfig, SiteError> {
        let project = leasehold_compose::read(sources).map_err(SiteError::File)?;
        Ok(FileConfig {
            ttl: project.cluster.ttl,
            promises: project.cluster.promises,
        })
    }

    /// What every protected container of this service gets from the sidecar.
    #[must_use]
    pub fn tether_mounts(&self, group: &str, service: &str) -> TetherMounts {
        TetherMounts {
            binary: self.binary.clone(),
            state: self.run_source.join(group).join(service),
        }
    }

    /// The services of a group by their places: those of the file, then those that left it.
    #[must_use]
    pub fn services(&self, group: &str) -> Vec<&str> {
        let in_file = self.project.groups.get(group).into_iter();
        let in_file = in_file
            .flat_map(|group| &group.services)
            .map(|service| service.name.as_str());
        in_file.chain(self.left.services(group)).collect()
    }

    /// Every group of the file, and those of which something is left.
    #[must_use]
    pub fn groups(&self) -> BTreeSet<&str> {
        let in_file = self.project.groups.keys().map(String::as_str);
        in_file.chain(self.left.groups()).collect()
    }

    /// The name of this node's container of a protected service.
    #[must_use]
    pub fn container_name(&self, service: &str) -> Option<String> {
        let services = self.project.groups.values().flat_map(|group| &group.services);
        let found = services.into_iter().find(|one| one.name == service)?;
        Some(engine::container_name(&self.project, found, &self.name))
    }

    /// The same directory as the sidecar sees it.
    #[must_use]
    pub fn page_dir(&self, group: &str, service: &str) -> PathBuf {
        self.facts.run_dir.join(group).join(service)
    }

    /// The host's cgroups as the sidecar sees them.
    #[must_use]
    pub fn cgroups(&self) -> Cgroups {
        Cgroups::new(&self.facts.cgroup_dir, self.own_id.as_deref())
    }

    /// How to reach etcd.
    #[must_use]
    pub fn store(&self, attempt: Duration) -> store::Settings {
        let cluster = &self.project.cluster;
        store::Settings {
            endpoints: nearest_first(&cluster.etcd),
            tls: cluster.etcd_tls.clone(),
            user: cluster.etcd_user.clone(),
            keys: Keys::new(&cluster.name),
            attempt,
        }
    }

    /// The times of the election for an election timeout of etcd; the longest grace of any group counts.
    ///
    /// # Errors
    /// [`TooShort`] with the smallest ttl that would do.
    pub fn timing(&self, election_timeout: Duration) -> Result<Timing, TooShort> {
        let timing = self.wanted_timing(election_timeout);
        timing.check()?;
        Ok(timing)
    }

    /// The same, whatever the sums say.
    #[must_use]
    pub fn wanted_timing(&self, election_timeout: Duration) -> Timing {
        let cluster = &self.project.cluster;
        let grace = self
            .project
            .groups
            .values()
            .filter_map(|group| group.lease_loss_grace)
            .max();
        let watchdog = self.watchdog.as_ref().map(|device| device.timeout);
        Timing::new(cluster.ttl, cluster.clock_margin, grace, election_timeout).with_watchdog(watchdog)
    }

    /// Before anything starts: an address that this host has by itself is no virtual one.
    ///
    /// # Errors
    /// [`SiteError::Setting`] with each such address and what to do.
    pub async fn check_addresses(&self) -> Result<(), SiteError> {
        match own_addresses(&self.project).await {
            Ok(own) if own.is_empty() => Ok(()),
            Ok(own) => Err(SiteError::Setting(own.join("\n"))),
            // It is asked again before any address is taken.
            Err(error) => {
                tracing::warn!(code = "netlink_failed", %error, "the addresses of this host are not known");
                Ok(())
            }
        }
    }

    /// Compares the sidecar's own grace with what its services may take to stop.
    ///
    /// # Errors
    /// [`SiteError::Setting`] with the line to write.
    pub fn check_grace(&self) -> Result<(), SiteError> {
        let stop = |service: &Service| service.stop_grace_period;
        let needed = self
            .project
            .groups
            .values()
            .map(|group| group.services.iter().map(stop).sum::<Duration>());
        let needed = needed.max().unwrap_or_default() + END_BUDGET;
        match self.own_grace {
            Some(grace) if grace < needed => Err(SiteError::Setting(format!(
                "the sidecar's own stop_grace_period is {grace:?}, but its services may take {needed:?} to stop: \
                 write `stop_grace_period: {}s` into its service",
                needed.as_secs()
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

/// The virtual addresses of a project that are this host's own, each with its group and what to do.
///
/// # Errors
/// The kernel can't be asked.
pub async fn own_addresses(project: &Project) -> Result<Vec<String>, VipError> {
    let mut found = Vec::new();
    for (name, group) in &project.groups {
        let own = vip::own(&group.vips).await?;
        found.extend(own.iter().map(|own| format!("group {name}: {own}")));
    }
    Ok(found)
}

/// A container that has just been started is not at once running in the engine's words.
async fn own_container(engine: &Engine, node: &str) -> Result<OwnProject, EngineError> {
    for _ in 1..OWN_TRIES {
        match engine.own_container(node).await {
            Err(EngineError::Missing { .. }) => tokio::time::sleep(OWN_PAUSE).await,
            found => return found,
        }
    }
    engine.own_container(node).await
}

/// The member on this host, if there is one, before the others: it dies with the host and not without it.
fn nearest_first(endpoints: &[String]) -> Vec<String> {
    let own: Vec<String> = nix::ifaddrs::getifaddrs()
        .map(|addresses| {
            addresses
                .filter_map(|one| one.address.as_ref().and_then(host_of))
                .collect()
        })
        .unwrap_or_default();
    let is_own = |url: &&String| own.iter().any(|address| url.contains(&format!("//{address}:")));
    let (near, far): (Vec<&String>, Vec<&String>) = endpoints.iter().partition(is_own);
    near.into_iter().chain(far).cloned().collect()
}

/// An interface's address as it stands in a URL.
fn host_of(address: &nix::sys::socket::SockaddrStorage) -> Option<String> {
    let v4 = address.as_sockaddr_in().map(|v4| v4.ip().to_string());
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| format!("[{}]", v6.ip())))
}

/// Where the project is read from: from the files that are given, else from what the sidecar's own container says.
pub fn sources(facts: &NodeArgs, own: Option<&OwnProject>) -> Result<Sources, SiteError> {
    let environment: BTreeMap<String, String> = std::env::vars().collect();
    if let Some(own) = own {
        return Ok(Sources {
            host_directory: own.working_dir.clone(),
            local_directory: facts.project.clone(),
            files: own.config_files.clone(),
            project_name: Some(own.project.clone()),
            environment,
        });
    }
    let first = facts.files.first().map(std::path::absolute).transpose();
    let first = first.map_err(|error| SiteError::Setting(format!("--file: {error}")))?;
    let directory = first
        .as_deref()
        .and_then(Path::parent)
        .unwrap_or(Path::new("/"))
        .to_path_buf();
    let files = facts
        .files
        .iter()
        .map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone()));
    Ok(Sources {
        host_directory: directory.clone(),
        local_directory: directory,
        files: files.collect(),
        project_name: facts.project_name.clone(),
        environment,
    })
}

/// Where the run directory and the tether's binary lie for the engine.
fn places(facts: &NodeArgs, own: Option<&OwnProject>) -> Result<(PathBuf, MountSource), SiteError> {
    let Some(own) = own else {
        return Ok((facts.run_dir.clone(), MountSource::Path(facts.tether_dir.clone())));
    };
    let run = match own.mounts.get(&facts.run_dir) {
        Some(MountSource::Path(host)) => host.clone(),
        Some(MountSource::Volume(_)) | None => {
            let inside = facts.run_dir.display();
            return Err(SiteError::Setting(format!(
                "the sidecar's {inside} must be a directory of the host's tmpfs: add `- {inside}:{inside}` to its volumes"
            )));
        }
    };
    let binary = own.mounts.get(&facts.tether_dir).cloned().ok_or_else(|| {
        SiteError::Setting(format!(
            "the tether needs a volume to be found on: add `- leasehold-bin:{}` to the sidecar's volumes",
            facts.tether_dir.display()
        ))
    })?;
    Ok((run, binary))
}

fn count(faults: usize) -> String {
    match faults {
        1 => "1 fault".to_owned(),
        more => format!("{more} faults"),
    }
}

fn lines(faults: &[Fault]) -> String {
    faults
        .iter()
        .map(|fault| format!("  {fault}"))
        .collect::<Vec<_>>()
        .join("\n")
}
