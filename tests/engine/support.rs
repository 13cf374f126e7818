//! A place of its own on the real engine for one test; everything in it is gone when the test ends, however it ends.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, CreateImageOptionsBuilder, ListContainersOptionsBuilder, ListNetworksOptionsBuilder,
    ListVolumesOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder, RemoveVolumeOptionsBuilder,
};
use futures_util::StreamExt;
use leasehold::compose::model::{
    Cluster, Failback, Failover, Group, Mount, MountKind, NetworkMode, OnFailure, OnStopFailure, Project,
    RestartBudget, Service, Volume,
};
use leasehold::sidecar::adapters::engine::{Engine, EngineError, MountSource, Prepared, TetherMounts, Wanted};

pub(crate) const SOCKET: &str = "/var/run/docker.sock";
/// Names another socket for the adapter, with the same engine behind it.
pub(crate) const ADAPTERS_SOCKET: &str = "LEASEHOLD_TEST_ENGINE";
pub(crate) const NODE: &str = "node-a";
pub(crate) const GROUP: &str = "mail";
pub(crate) const SLEEPS: [&str; 3] = ["/bin/busybox", "sleep", "600"];
pub(crate) const PROJECT_LABEL: &str = "com.docker.compose.project";

/// In place of the real tether, whose rules are not at issue here: starts what stands behind `--`.
const STAND_IN: &str = "#!/bin/busybox sh\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n";

static BEDS: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Bed {
    pub(crate) engine: Engine,
    pub(crate) docker: Docker,
    pub(crate) project: Project,
    /// A directory of the host for this test alone.
    pub(crate) directory: PathBuf,
    pub(crate) image: String,
    pub(crate) tether: TetherMounts,
}

impl Bed {
    pub(crate) async fn new() -> Self {
        let name = format!("lhtest{}x{}", std::process::id(), BEDS.fetch_add(1, Ordering::Relaxed));
        let socket = std::env::var_os(ADAPTERS_SOCKET).map_or(PathBuf::from(SOCKET), PathBuf::from);
        let engine = Engine::connect(&socket);
        if let Err(error) = engine.ping().await {
            panic!("these tests need a Docker engine at {SOCKET} (start one: `dockerd &`): {error}");
        }
        let directory = std::env::temp_dir().join(&name);
        let tether = TetherMounts {
            binary: MountSource::Path(directory.join("bin")),
            state: directory.join("state"),
        };
        for part in ["bin", "state"] {
            fs::create_dir_all(directory.join(part)).unwrap();
        }
        let stand_in = directory.join("bin/tether");
        fs::write(&stand_in, STAND_IN).unwrap();
        fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
        let docker = Docker::connect_with_unix(SOCKET, 30, bollard::API_DEFAULT_VERSION).unwrap();
        let image = format!("{name}:1");
        import(&docker, &name).await;
        Self {
            engine,
            docker,
            project: project(&name),
            directory,
            image,
            tether,
        }
    }

    /// A service that sleeps.
    pub(crate) fn service(&self) -> Service {
        Service {
            name: "sams".to_owned(),
            image: self.image.clone(),
            stop_grace_period: Duration::from_secs(10),
            network_mode: Some(NetworkMode::None),
            ..Service::default()
        }
    }

    pub(crate) async fn prepare(&self, service: &Service) -> Result<Prepared, EngineError> {
        self.prepare_as(service, "hash-1").await
    }

    pub(crate) async fn prepare_as(&self, service: &Service, config_hash: &str) -> Result<Prepared, EngineError> {
        self.prepare_on(service, config_hash, NODE).await
    }

    pub(crate) async fn prepare_on(
        &self,
        service: &Service,
        config_hash: &str,
        node: &str,
    ) -> Result<Prepared, EngineError> {
        let command_line = SLEEPS.map(str::to_owned);
        let wanted = self.wanted(service, config_hash, node, &command_line);
        self.engine.prepare(&wanted).await
    }

    pub(crate) fn wanted<'a>(
        &'a self,
        service: &'a Service,
        config_hash: &'a str,
        node: &'a str,
        command_line: &'a [String],
    ) -> Wanted<'a> {
        Wanted {
            project: &self.project,
            group: GROUP,
            service,
            node,
            tether: &self.tether,
            tether_flags: &[],
            command_line,
            config_hash,
        }
    }

    /// Adds a volume to the project and gives the mount of it.
    pub(crate) fn volume(&mut self, key: &str, driver_opts: &[(&str, &str)], target: &str) -> Mount {
        let name = format!("{}_{key}", self.project.name);
        let driver_opts = driver_opts
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        self.project.volumes.insert(
            key.to_owned(),
            Volume {
                name,
                driver_opts,
                ..Volume::default()
            },
        );
        let kind = MountKind::Volume {
            key: key.to_owned(),
            subpath: None,
        };
        Mount {
            kind,
            target: target.to_owned(),
            read_only: false,
            no_storage: false,
        }
    }

    pub(crate) fn group(&self, services: Vec<Service>) -> Group {
        Group {
            name: GROUP.to_owned(),
            services,
            vips: Vec::new(),
            vip_first: false,
            probes: Vec::new(),
            start_timeout: Duration::from_secs(60),
            failback: Failback::Manual,
            on_failure: OnFailure::Recover,
            restarts: RestartBudget::default(),
            lease_loss_grace: None,
            on_stop_failure: OnStopFailure::Hold,
            failover: Failover::Auto,
            on_conflict: leasehold::compose::model::OnConflict::Wait,
            second_opinion: leasehold::compose::model::SecondOpinion::Off,
            storage_look: None,
            start_trial: None,
        }
    }

    /// A container that Leasehold did not make, started.
    pub(crate) async fn stranger(&self, name: &str, labels: &[(&str, &str)], host: HostConfig, env: &[&str]) -> String {
        let mut all: HashMap<String, String> = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        all.insert("leasehold.test".to_owned(), self.project.name.clone());
        let body = ContainerCreateBody {
            image: Some(self.image.clone()),
            entrypoint: Some(["/bin/busybox", "sleep", "600"].map(str::to_owned).to_vec()),
            env: Some(env.iter().map(|entry| (*entry).to_owned()).collect()),
            labels: Some(all),
            host_config: Some(HostConfig {
                network_mode: Some("none".to_owned()),
                ..host
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::new()
            .name(&format!("{}-{name}", self.project.name))
            .build();
        let made = self.docker.create_container(Some(options), body).await.unwrap();
        self.docker.start_container(&made.id, None).await.unwrap();
        made.id
    }

    pub(crate) async fn containers(&self) -> usize {
        of_project(&self.docker, &self.project.name).await.len()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let name = self.project.name.clone();
        // A runtime can't be entered twice on one thread.
        let cleaner = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(clear(&name));
        });
        let done = cleaner.join();
        fs::remove_dir_all(&self.directory).ok();
        if !std::thread::panicking() {
            done.unwrap();
        }
    }
}

async fn of_project(docker: &Docker, name: &str) -> Vec<String> {
    let mut all = Vec::new();
    for label in [PROJECT_LABEL, "leasehold.cluster", "leasehold.test"] {
        let filters = HashMap::from([("label", vec![format!("{label}={name}")])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = docker.list_containers(Some(options)).await.unwrap();
        all.extend(found.into_iter().filter_map(|one| one.id));
    }
    all.sort();
    all.dedup();
    all
}

async fn clear(name: &str) {
    let docker = Docker::connect_with_unix(SOCKET, 30, bollard::API_DEFAULT_VERSION).unwrap();
    for id in of_project(&docker, name).await {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        docker.remove_container(&id, Some(options)).await.ok();
    }
    let filters = HashMap::from([("label", vec![format!("{PROJECT_LABEL}={name}")])]);
    let options = ListVolumesOptionsBuilder::new().filters(&filters).build();
    for volume in docker
        .list_volumes(Some(options))
        .await
        .unwrap()
        .volumes
        .unwrap_or_default()
    {
        let options = RemoveVolumeOptionsBuilder::new().force(true).build();
        docker.remove_volume(&volume.name, Some(options)).await.ok();
    }
    let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
    for network in docker.list_networks(Some(options)).await.unwrap() {
        docker.remove_network(&network.id.unwrap()).await.ok();
    }
    let options = RemoveImageOptionsBuilder::new().force(true).build();
    for tag in ["1", "2"] {
        docker
            .remove_image(&format!("{name}:{tag}"), Some(options.clone()), None)
            .await
            .ok();
    }
}

fn project(name: &str) -> Project {
    Project {
        name: name.to_owned(),
        directory: PathBuf::from("/srv/mail"),
        files: vec![PathBuf::from("/srv/mail/compose.yaml")],
        cluster: Cluster {
            name: name.to_owned(),
            etcd: Vec::new(),
            ttl: Duration::from_secs(10),
            election_timeout: None,
            clock_margin: 0.01,
            etcd_tls: None,
            etcd_user: None,
            fence: None,
            events: None,
            promises: None,
        },
        groups: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        warnings: Vec::new(),
    }
}

/// An image of one static busybox, with a file where the tests mount their storage.
async fn import(docker: &Docker, name: &str) {
    let Ok(busybox) = fs::read("/bin/busybox") else {
        panic!("these tests make their image from a static /bin/busybox: `apt-get install busybox-static`");
    };
    let mut tar = Vec::new();
    entry(&mut tar, "bin/busybox", &busybox, 0o755);
    entry(
        &mut tar,
        "store/from-the-image",
        b"must not get onto the storage\n",
        0o644,
    );
    tar.resize(tar.len() + 1024, 0);
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(name)
        .tag("1")
        .build();
    let mut steps = docker.create_image(Some(options), Some(bollard::body_full(tar.into())), None);
    while let Some(step) = steps.next().await {
        step.unwrap();
    }
}

/// One file in ustar form.
fn entry(tar: &mut Vec<u8>, path: &str, content: &[u8], mode: u32) {
    let mut head = [0_u8; 512];
    let mut put = |at: usize, text: &str| head[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, path);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", content.len()));
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    tar.extend_from_slice(&head);
    tar.extend_from_slice(content);
    tar.resize(tar.len().next_multiple_of(512), 0);
}
