//! What a compose file means to Leasehold once it is read, merged, filled in and checked: plain data, no file left open.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::email::{Email, EmailLogin, EmailTls, Relay};
pub use super::events::{Webhook, WebhookUrl};
pub use super::policy::{Failover, OnConflict};

/// Time that the sidecar needs besides its services to end in order: addresses, release, exit.
pub const END_BUDGET: Duration = Duration::from_secs(5);

/// A compose project as this node sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// Compose's project name.
    pub name: String,
    /// The project directory on the Docker host: relative bind sources start here.
    pub directory: PathBuf,
    /// The compose files on the Docker host, in the order in which they were merged.
    pub files: Vec<PathBuf>,
    /// What holds for the whole cluster.
    pub cluster: Cluster,
    /// The protected groups, by name.
    pub groups: BTreeMap<String, Group>,
    /// The project's networks that protected services join, by their key in the file.
    pub networks: BTreeMap<String, Network>,
    /// The project's volumes that protected services mount, by their key in the file.
    pub volumes: BTreeMap<String, Volume>,
    /// What is harmless to ignore, said once: file, line and key are in the text.
    pub warnings: Vec<String>,
}

/// The top-level `x-leasehold`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    pub name: String,
    /// `http://` or `https://` URLs of the etcd members.
    pub etcd: Vec<String>,
    /// The promised time of a beat: how long observers wait.
    pub ttl: Duration,
    /// etcd's election timeout where it is stated (`etcd_election_timeout`); otherwise it is learned by a probe.
    pub election_timeout: Option<Duration>,
    /// Share of the ttl that a holder does not trust, for the drift of clocks. It is kept as the share that it trusts, under the name
    /// that earlier versions read.
    #[serde(rename = "kappa", with = "trusted_share")]
    pub clock_margin: f64,
    pub etcd_tls: Option<EtcdTls>,
    pub etcd_user: Option<EtcdUser>,
    pub fence: Option<Fence>,
    pub events: Option<Events>,
    /// How long a holder may run on without etcd, while every other node promises to take nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promises: Option<Duration>,
}

/// A margin to its twelfth digit. So it is the same one after it was kept as what is left of 1, and no edit of the file is seen in it.
pub(crate) fn rounded(margin: f64) -> f64 {
    (margin * 1e12).round() / 1e12
}

/// A margin, kept as what is left of 1.
mod trusted_share {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub(super) fn serialize<S: Serializer>(margin: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(1.0 - margin)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(super::rounded(1.0 - f64::deserialize(from)?))
    }
}

/// Who is told of decisions, and of which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Events {
    pub webhook: Option<Webhook>,
    /// A program as the sidecar sees it, and its arguments; empty: none.
    pub command: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// Codes, kinds of codes, or `alarm`; empty: all.
    pub only: Vec<String>,
}

/// Files for TLS towards etcd, as the sidecar sees them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EtcdTls {
    pub ca: PathBuf,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// User and password towards etcd; the password stays in its file until it is used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EtcdUser {
    pub name: String,
    pub password_file: PathBuf,
}

/// The fence agent that runs before an unclean take-over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fence {
    /// The program as the sidecar sees it.
    pub agent: PathBuf,
    /// `off` or `reboot`.
    pub action: String,
    /// The deadline of one try.
    pub timeout: Duration,
    pub tries: u32,
    /// For every node.
    pub common: FenceOptions,
    /// Where some are named, only those can be fenced; their options win.
    pub nodes: BTreeMap<String, FenceOptions>,
}

/// What a fence agent reads from its stdin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceOptions {
    pub options: BTreeMap<String, String>,
    /// Options whose value stands in a file, as the sidecar sees it; read for each try.
    pub secret_files: BTreeMap<String, PathBuf>,
}

/// The unit of failover.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    pub name: String,
    /// In start order; the stop order is the reverse.
    pub services: Vec<Service>,
    pub vips: Vec<Vip>,
    /// Whether the addresses come before the containers, for a service that binds them itself (`vip_first`).
    pub vip_first: bool,
    /// What follows where somebody else answers for an address that is to be taken.
    #[serde(default, skip_serializing_if = "OnConflict::is_wait")]
    pub on_conflict: OnConflict,
    pub probes: Vec<Probe>,
    /// How long a start may take until all probes have passed once.
    pub start_timeout: Duration,
    pub failback: Failback,
    pub on_failure: OnFailure,
    pub restarts: RestartBudget,
    /// Time between the stop signal and the kill when the lease runs out.
    pub lease_loss_grace: Option<Duration>,
    /// What follows when a run can't be stopped.
    pub on_stop_failure: OnStopFailure,
    pub failover: Failover,
    /// What the standbys' own look at the service is for.
    pub second_opinion: SecondOpinion,
    /// Between two looks of a standby at the storage; none where nobody shall look.
    pub storage_look: Option<Duration>,
    /// Between two trial starts of a standby whose containers stay as they are; none where it shall make none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_trial: Option<Duration>,
}

/// A virtual IP with its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Vip {
    pub address: IpAddr,
    pub prefix: u8,
}

impl fmt::Display for Vip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Vip {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        super::leasehold::vip(text).ok_or(())
    }
}

/// One check of the service, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    pub check: Check,
    pub cadence: Cadence,
}

impl Probe {
    /// Whether a standby can make it at the address of the clients.
    #[must_use]
    pub fn is_asked_from_outside(&self) -> bool {
        self.check.port().is_some()
    }

    /// The same check without a login: whether the service is reached shows before it.
    #[must_use]
    pub fn from_outside(&self) -> Self {
        let mut probe = self.clone();
        if let Check::Mail(mail) = &mut probe.check {
            mail.login_file = None;
        }
        probe
    }
}

/// How often a check is made, and how many of a kind it takes to change one's mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cadence {
    pub interval: Duration,
    /// From the first packet to the last word.
    pub timeout: Duration,
    /// Good answers in a row that make a probe pass.
    pub rise: u32,
    /// Refusals and wrong answers in a row that make it fail.
    pub fall: u32,
    /// The same where answers that did not come in time count too: slowness alone is weaker evidence.
    pub fall_timeout: u32,
}

/// What is checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Check {
    /// A connection is enough.
    Tcp {
        port: u16,
    },
    Mail(MailCheck),
    Http(HttpCheck),
    /// A command inside the container of a service: exit code 0 is good.
    Exec {
        service: String,
        command: Vec<String>,
    },
    /// The engine's own health check of a service.
    Docker {
        service: String,
    },
    /// Every protected mount of a service takes a file and gives it back.
    Storage {
        service: String,
        /// Percent of it that should be free.
        floor: u8,
    },
    /// A message that is sent over SMTP and fetched over IMAP.
    Canary(CanaryCheck),
    /// An address outside that answers an echo request: the way to the clients.
    Gateway {
        address: Ipv4Addr,
    },
}

impl Check {
    /// The port that a client would connect to for it; none where it is made otherwise, or is more than a look at the service.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp { port } => Some(*port),
            Self::Mail(mail) => Some(mail.port),
            Self::Http(http) => Some(http.port),
            Self::Exec { .. } | Self::Docker { .. } | Self::Storage { .. } | Self::Canary(_) | Self::Gateway { .. } => {
                None
            }
        }
    }

    /// In a word or two, as `check` and every sentence about it name it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Tcp { port } => format!("tcp {port}"),
            Self::Mail(mail) => {
                let protocol = match mail.protocol {
                    MailProtocol::Smtp => "smtp",
                    MailProtocol::Imap => "imap",
                    MailProtocol::Pop3 => "pop3",
                };
                format!("{protocol} {}", mail.port)
            }
            Self::Http(http) => format!("http {}{}", http.port, http.path),
            Self::Exec { service, command } => {
                format!("exec {} in {service}", command.first().map_or("", String::as_str))
            }
            Self::Docker { service } => format!("health of {service}"),
            Self::Storage { service, .. } => format!("storage of {service}"),
            Self::Canary(canary) => format!("canary {}", canary.mailbox),
            Self::Gateway { address } => format!("gateway {address}"),
        }
    }
}

/// A conversation with a mail server, as a client would begin it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailCheck {
    pub protocol: MailProtocol,
    pub port: u16,
    pub tls: ProbeTls,
    /// A file with user and password, a line each; without it nobody logs in.
    pub login_file: Option<PathBuf>,
}

/// A message to a mailbox of its own and back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryCheck {
    /// Its address: ASCII without anything that would have to be quoted.
    pub mailbox: String,
    pub smtp_port: u16,
    pub imap_port: u16,
    /// For both.
    pub tls: ProbeTls,
    /// A file with user and password of the mailbox, a line each.
    pub login_file: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MailProtocol {
    Smtp,
    Imap,
    Pop3,
}

/// Whether a probe speaks TLS. A certificate that has run out makes it fail; whose it is does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProbeTls {
    Off,
    /// Asked for within the conversation (STARTTLS, STLS).
    Start,
    /// From the first byte.
    On,
}

/// A request that a web server must answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCheck {
    pub port: u16,
    pub tls: ProbeTls,
    pub path: String,
    /// The `Host` header, where it is not the address.
    pub host: Option<String>,
    /// The least and the greatest status that is good.
    pub status: (u16, u16),
    /// What the body must contain, within its first 64 KiB.
    pub body: Option<String>,
}

/// What a node does when it can't stop a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnStopFailure {
    /// Resets its host, hard.
    Reboot,
    /// Holds on to the group, which stays down until a fence.
    #[default]
    Hold,
}

/// What follows where standbys can't reach the service at its address, though its holder does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecondOpinion {
    /// They do not look.
    Off,
    /// Warnings and alarms.
    #[default]
    Tell,
    /// Besides, it is handed over where none of them reaches it for long.
    Act,
}

/// When a group goes back to a preferred node by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failback {
    Manual,
    Auto {
        /// How long that node must have been ready without a break.
        quiet: Duration,
    },
}

/// What follows when the service fails its probes or ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnFailure {
    /// Restart in place, then hand over, then keep trying.
    Recover,
    /// Alarms only: people decide. A dead node is taken over from all the same.
    Notify,
}

/// How many restarts in place are tried within a window before the group moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartBudget {
    pub count: u32,
    pub window: Duration,
}

impl Default for RestartBudget {
    fn default() -> Self {
        Self {
            count: 3,
            window: Duration::from_secs(600),
        }
    }
}

/// One protected service, every key resolved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Service {
    pub name: String,
    pub image: String,
    pub container_name: Option<String>,
    /// `x-leasehold: entrypoint:` in place of the image's; `None` means the image's own, `Some([])` none.
    pub entrypoint: Option<Vec<String>>,
    /// `None`: the image's; `Some([])`: the image's as well, as the engine has it (see `command_line`).
    pub command: Option<Vec<String>>,
    /// In file order of precedence: `environment` over `env_file`; a key without a value is taken out.
    pub environment: BTreeMap<String, String>,
    pub user: Option<String>,
    pub working_dir: Option<String>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub network_mode: Option<NetworkMode>,
    /// Without a `network_mode`: key in the file -> aliases and fixed addresses; `default` when none is named.
    pub networks: BTreeMap<String, Attachment>,
    pub ports: Vec<Port>,
    pub expose: Vec<String>,
    pub mounts: Vec<Mount>,
    pub tmpfs: Vec<String>,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    /// `source:target:permissions`, the last two optional.
    pub devices: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    pub ulimits: BTreeMap<String, (i64, i64)>,
    pub security_opt: Vec<String>,
    pub group_add: Vec<String>,
    pub read_only: bool,
    pub stop_signal: Option<String>,
    /// Compose's own default is 10 s.
    pub stop_grace_period: Duration,
    pub healthcheck: Option<Healthcheck>,
    pub logging: Option<Logging>,
    pub labels: BTreeMap<String, String>,
    /// `host:ip` pairs.
    pub extra_hosts: Vec<String>,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_opt: Vec<String>,
    /// Bytes.
    pub shm_size: Option<i64>,
    /// Bytes.
    pub mem_limit: Option<i64>,
    /// Bytes.
    pub mem_reservation: Option<i64>,
    /// Bytes; -1 means without limit.
    pub memswap_limit: Option<i64>,
    /// Billionths of a processor.
    pub nano_cpus: Option<i64>,
    pub cpu_shares: Option<i64>,
    pub cpuset: Option<String>,
    pub pids_limit: Option<i64>,
    /// What is asked of the drivers of the host, such as a GPU.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub device_requests: Vec<DeviceRequest>,
    pub oom_score_adj: Option<i64>,
    pub tty: bool,
    pub stdin_open: bool,
    pub platform: Option<String>,
    pub runtime: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userns_mode: Option<String>,
    /// Services of the same group that must be up (or healthy) first.
    pub depends_on: BTreeMap<String, Dependency>,
    /// `x-leasehold: certificates:`, paths in the container at which each host has a certificate of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<String>,
    /// `x-leasehold: own_init:`, the image's init must be PID 1: it is given a PID namespace of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub own_init: bool,
}

/// Devices that a driver of the engine finds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    pub driver: Option<String>,
    /// -1: all; 0 where they are named.
    pub count: i64,
    pub device_ids: Vec<String>,
    /// All of them in one device.
    pub capabilities: Vec<String>,
    pub options: BTreeMap<String, String>,
}

/// What a dependant waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Dependency {
    Started,
    Healthy,
}

/// `network_mode`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkMode {
    Host,
    None,
    Bridge,
    /// The network of another service of the project: its container on this node.
    Service(String),
    /// The network of a container by name or id.
    Container(String),
}

/// How a service joins a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Those of the file; the service's own name is not among them.
    pub aliases: Vec<String>,
    pub ipv4_address: Option<String>,
    pub ipv6_address: Option<String>,
    pub mac_address: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link_local_ips: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    pub host_ip: Option<String>,
    /// A port or a range `a-b`; `None` lets the engine choose.
    pub published: Option<String>,
    pub target: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// One mount; none is ever created or filled by mounting it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    pub kind: MountKind,
    pub target: String,
    pub read_only: bool,
    /// A file, a socket or a place of the system itself: what lies there is not this service's data.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_storage: bool,
}

/// Where a mount comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MountKind {
    /// A path of the Docker host; must exist.
    Bind {
        source: PathBuf,
        propagation: Option<String>,
    },
    /// A volume of the project, by its key in the file; always mounted with `nocopy`.
    Volume { key: String, subpath: Option<String> },
    /// A volume without a name is refused by the reader: its contents would differ from node to node.
    Tmpfs { size: Option<i64>, mode: Option<u32> },
    /// A secret or config from a file of the Docker host, mounted read-only.
    File { source: PathBuf },
}

impl Service {
    /// Where the group's storage is mounted in it.
    #[must_use]
    pub fn protected_targets(&self) -> Vec<String> {
        let protected = self.mounts.iter().filter(|mount| mount.is_protected());
        protected.map(|mount| mount.target.clone()).collect()
    }
}

impl Mount {
    /// Whether the mount is part of the group's storage: writable and not held in memory.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        match self.kind {
            MountKind::Bind { .. } | MountKind::Volume { .. } => !self.read_only && !self.no_storage,
            MountKind::Tmpfs { .. } | MountKind::File { .. } => false,
        }
    }
}

/// A volume of the project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The engine's name: `name:` or `<project>_<key>`.
    pub name: String,
    pub external: bool,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

/// A network of the project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The engine's name: `name:` or `<project>_<key>`.
    pub name: String,
    pub external: bool,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub internal: bool,
    pub enable_ipv6: bool,
    /// (subnet, gateway) pairs of `ipam.config`.
    pub subnets: Vec<(String, Option<String>)>,
    /// The part of a subnet from which containers get their addresses, where it is not the whole.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ip_ranges: BTreeMap<String, String>,
    /// Addresses of a subnet that containers never get, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aux_addresses: BTreeMap<String, BTreeMap<String, String>>,
    pub labels: BTreeMap<String, String>,
}

/// `healthcheck`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// As the engine takes it: `["NONE"]`, `["CMD", ...]` or `["CMD-SHELL", "..."]`; `None` keeps the image's.
    pub test: Option<Vec<String>>,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub retries: Option<i64>,
    pub start_period: Option<Duration>,
    pub start_interval: Option<Duration>,
}

/// `logging`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    pub driver: Option<String>,
    pub options: BTreeMap<String, String>,
}
