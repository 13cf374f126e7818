//! Every key of the Compose specification, and what becomes of it in a protected service. The readers ask this table for what
//! they don't carry out, and the documentation is held against it.

use super::scalar;

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    CarriedOut,
    /// It changes nothing, which is said: why.
    Warned(&'static str),
    /// What to do instead.
    Refused(&'static str),
}

use Fate::{CarriedOut, Refused, Warned};

const BY_HAND: &str = "remove it, or leave this service unprotected";
const USE_CPUS: &str = "use `cpus`";
const ON_THE_FILE: &str = "Compose does not for a file: set it on the file itself";
const SWARM: &str = "only a swarm reads it";
const FROM_A_FILE: &str = "put it into a file and name it with `file:`";

/// Keys by their paths; `*` stands for a name, `[]` for an item of a list.
pub const KEYS: &[(&str, Fate)] = &[
    ("version", CarriedOut),
    ("name", CarriedOut),
    ("include", CarriedOut),
    ("services", CarriedOut),
    ("networks", CarriedOut),
    ("volumes", CarriedOut),
    ("secrets", CarriedOut),
    ("configs", CarriedOut),
    ("models", Warned("no protected service may use one")),
    ("services.*.annotations", Refused(BY_HAND)),
    ("services.*.attach", Warned("only `docker compose up` reads it")),
    ("services.*.blkio_config", Refused(BY_HAND)),
    (
        "services.*.build",
        Warned("the image must be on every host: build and push it beforehand"),
    ),
    ("services.*.cap_add", CarriedOut),
    ("services.*.cap_drop", CarriedOut),
    ("services.*.cgroup", Refused(BY_HAND)),
    ("services.*.cgroup_parent", Refused(BY_HAND)),
    ("services.*.command", CarriedOut),
    ("services.*.configs", CarriedOut),
    ("services.*.configs[].source", CarriedOut),
    ("services.*.configs[].target", CarriedOut),
    ("services.*.configs[].uid", Warned(ON_THE_FILE)),
    ("services.*.configs[].gid", Warned(ON_THE_FILE)),
    ("services.*.configs[].mode", Warned(ON_THE_FILE)),
    ("services.*.container_name", CarriedOut),
    ("services.*.cpu_count", Refused(USE_CPUS)),
    ("services.*.cpu_percent", Refused(USE_CPUS)),
    ("services.*.cpu_period", Refused(USE_CPUS)),
    ("services.*.cpu_quota", Refused(USE_CPUS)),
    ("services.*.cpu_rt_period", Refused(BY_HAND)),
    ("services.*.cpu_rt_runtime", Refused(BY_HAND)),
    ("services.*.cpu_shares", CarriedOut),
    ("services.*.cpus", CarriedOut),
    ("services.*.cpuset", CarriedOut),
    ("services.*.credential_spec", Refused(BY_HAND)),
    ("services.*.depends_on", CarriedOut),
    ("services.*.depends_on.*.condition", CarriedOut),
    ("services.*.depends_on.*.required", CarriedOut),
    (
        "services.*.depends_on.*.restart",
        Warned("only `docker compose restart` reads it"),
    ),
    ("services.*.deploy", CarriedOut),
    ("services.*.deploy.endpoint_mode", Warned(SWARM)),
    ("services.*.deploy.labels", Warned(SWARM)),
    ("services.*.deploy.mode", Warned(SWARM)),
    ("services.*.deploy.placement", Warned(SWARM)),
    (
        "services.*.deploy.replicas",
        Refused("remove it, `scale: 0` is enough: it runs once in the whole cluster"),
    ),
    ("services.*.deploy.resources", CarriedOut),
    ("services.*.deploy.resources.limits.cpus", CarriedOut),
    ("services.*.deploy.resources.limits.memory", CarriedOut),
    ("services.*.deploy.resources.limits.pids", CarriedOut),
    ("services.*.deploy.resources.reservations.cpus", Warned(SWARM)),
    ("services.*.deploy.resources.reservations.devices", CarriedOut),
    (
        "services.*.deploy.resources.reservations.generic_resources",
        Warned(SWARM),
    ),
    ("services.*.deploy.resources.reservations.memory", CarriedOut),
    (
        "services.*.deploy.restart_policy",
        Refused("remove it: Leasehold starts the container again, while it holds the lease"),
    ),
    ("services.*.deploy.rollback_config", Warned(SWARM)),
    ("services.*.deploy.update_config", Warned(SWARM)),
    ("services.*.develop", Warned("only `docker compose watch` reads it")),
    (
        "services.*.device_cgroup_rules",
        Refused("name the devices with `devices`"),
    ),
    ("services.*.devices", CarriedOut),
    ("services.*.dns", CarriedOut),
    ("services.*.dns_opt", CarriedOut),
    ("services.*.dns_search", CarriedOut),
    ("services.*.domainname", CarriedOut),
    ("services.*.entrypoint", CarriedOut),
    ("services.*.env_file", CarriedOut),
    ("services.*.environment", CarriedOut),
    ("services.*.expose", CarriedOut),
    ("services.*.extends", CarriedOut),
    (
        "services.*.external_links",
        Refused("join the same network and use its aliases"),
    ),
    ("services.*.extra_hosts", CarriedOut),
    ("services.*.gpus", CarriedOut),
    ("services.*.group_add", CarriedOut),
    ("services.*.healthcheck", CarriedOut),
    ("services.*.hostname", CarriedOut),
    ("services.*.image", CarriedOut),
    (
        "services.*.init",
        Refused("remove it: the tether reaps children and hands signals on"),
    ),
    ("services.*.ipc", Refused(BY_HAND)),
    ("services.*.isolation", Refused(BY_HAND)),
    ("services.*.label_file", Refused("write the labels under `labels`")),
    ("services.*.labels", CarriedOut),
    ("services.*.links", CarriedOut),
    ("services.*.logging", CarriedOut),
    (
        "services.*.mac_address",
        Refused("write it under `networks`, at the network it is for"),
    ),
    ("services.*.mem_limit", CarriedOut),
    ("services.*.mem_reservation", CarriedOut),
    ("services.*.mem_swappiness", Refused(BY_HAND)),
    ("services.*.memswap_limit", CarriedOut),
    (
        "services.*.models",
        Refused("a model runs beside one engine and does not move along: leave this service unprotected"),
    ),
    ("services.*.network_mode", CarriedOut),
    ("services.*.networks", CarriedOut),
    ("services.*.networks.*.aliases", CarriedOut),
    ("services.*.networks.*.driver_opts", CarriedOut),
    (
        "services.*.networks.*.gw_priority",
        Warned("networks are joined in the order of their names"),
    ),
    (
        "services.*.networks.*.interface_name",
        Refused("remove it: the engine names the interfaces"),
    ),
    ("services.*.networks.*.ipv4_address", CarriedOut),
    ("services.*.networks.*.ipv6_address", CarriedOut),
    ("services.*.networks.*.link_local_ips", CarriedOut),
    ("services.*.networks.*.mac_address", CarriedOut),
    (
        "services.*.networks.*.priority",
        Warned("networks are joined in the order of their names"),
    ),
    ("services.*.oom_kill_disable", Refused(BY_HAND)),
    ("services.*.oom_score_adj", CarriedOut),
    (
        "services.*.pid",
        Refused("remove it: the tether must be PID 1 of a namespace of its own"),
    ),
    ("services.*.pids_limit", CarriedOut),
    ("services.*.platform", CarriedOut),
    ("services.*.ports", CarriedOut),
    ("services.*.ports[].app_protocol", CarriedOut),
    ("services.*.ports[].host_ip", CarriedOut),
    ("services.*.ports[].mode", CarriedOut),
    ("services.*.ports[].name", CarriedOut),
    ("services.*.ports[].protocol", CarriedOut),
    ("services.*.ports[].published", CarriedOut),
    ("services.*.ports[].target", CarriedOut),
    (
        "services.*.post_start",
        Refused("do it in the image's entrypoint"),
    ),
    (
        "services.*.pre_start",
        Refused("do it in the image's entrypoint"),
    ),
    (
        "services.*.pre_stop",
        Refused("do it in the image's entrypoint, on the stop signal"),
    ),
    (
        "services.*.privileged",
        Refused("name what it needs under cap_add and devices"),
    ),
    ("services.*.profiles", CarriedOut),
    (
        "services.*.provider",
        Refused("it is no container but something that Compose's plugin makes: leave this service unprotected"),
    ),
    (
        "services.*.pull_policy",
        Warned("Leasehold pulls an image only where it is missing"),
    ),
    (
        "services.*.pull_refresh_after",
        Warned("Leasehold pulls an image only where it is missing"),
    ),
    ("services.*.read_only", CarriedOut),
    (
        "services.*.restart",
        Refused("write restart: \"no\" or remove the line: Leasehold starts it again, while it holds the lease"),
    ),
    ("services.*.runtime", CarriedOut),
    ("services.*.scale", CarriedOut),
    ("services.*.secrets", CarriedOut),
    ("services.*.secrets[].source", CarriedOut),
    ("services.*.secrets[].target", CarriedOut),
    ("services.*.secrets[].uid", Warned(ON_THE_FILE)),
    ("services.*.secrets[].gid", Warned(ON_THE_FILE)),
    ("services.*.secrets[].mode", Warned(ON_THE_FILE)),
    ("services.*.security_opt", CarriedOut),
    ("services.*.shm_size", CarriedOut),
    ("services.*.stdin_open", CarriedOut),
    ("services.*.stop_grace_period", CarriedOut),
    ("services.*.stop_signal", CarriedOut),
    ("services.*.storage_opt", Refused(BY_HAND)),
    ("services.*.sysctls", CarriedOut),
    ("services.*.tmpfs", CarriedOut),
    ("services.*.tty", CarriedOut),
    ("services.*.ulimits", CarriedOut),
    ("services.*.use_api_socket", Refused(BY_HAND)),
    ("services.*.user", CarriedOut),
    ("services.*.userns_mode", Refused(BY_HAND)),
    ("services.*.uts", Refused(BY_HAND)),
    ("services.*.volumes", CarriedOut),
    (
        "services.*.volumes[].bind.create_host_path",
        Warned("an empty directory is no storage: create it yourself"),
    ),
    ("services.*.volumes[].bind.propagation", CarriedOut),
    (
        "services.*.volumes[].bind.recursive",
        Refused("remove it: what is mounted below the source comes along, as by default"),
    ),
    (
        "services.*.volumes[].bind.selinux",
        Warned("Leasehold never relabels shared storage: label the directory once, with chcon"),
    ),
    ("services.*.volumes[].consistency", CarriedOut),
    (
        "services.*.volumes[].image",
        Refused("copy what the image holds into a volume"),
    ),
    ("services.*.volumes[].read_only", CarriedOut),
    ("services.*.volumes[].source", CarriedOut),
    ("services.*.volumes[].target", CarriedOut),
    ("services.*.volumes[].tmpfs.mode", CarriedOut),
    ("services.*.volumes[].tmpfs.size", CarriedOut),
    ("services.*.volumes[].type", CarriedOut),
    (
        "services.*.volumes[].volume.labels",
        Refused("write the labels at the top-level volume"),
    ),
    ("services.*.volumes[].volume.nocopy", CarriedOut),
    ("services.*.volumes[].volume.subpath", CarriedOut),
    (
        "services.*.volumes_from",
        Refused("name the volumes themselves under `volumes`"),
    ),
    ("services.*.working_dir", CarriedOut),
    ("networks.*.attachable", Warned("it means nothing outside a swarm")),
    ("networks.*.driver", CarriedOut),
    ("networks.*.driver_opts", CarriedOut),
    (
        "networks.*.enable_ipv4",
        Refused("remove it, or make the network external"),
    ),
    ("networks.*.enable_ipv6", CarriedOut),
    ("networks.*.external", CarriedOut),
    ("networks.*.internal", CarriedOut),
    ("networks.*.ipam", CarriedOut),
    ("networks.*.ipam.config[].aux_addresses", CarriedOut),
    ("networks.*.ipam.config[].gateway", CarriedOut),
    ("networks.*.ipam.config[].ip_range", CarriedOut),
    ("networks.*.ipam.config[].subnet", CarriedOut),
    (
        "networks.*.ipam.options",
        Refused("remove it, or make the network external"),
    ),
    ("networks.*.labels", CarriedOut),
    ("networks.*.name", CarriedOut),
    ("volumes.*.driver", CarriedOut),
    ("volumes.*.driver_opts", CarriedOut),
    ("volumes.*.external", CarriedOut),
    ("volumes.*.labels", CarriedOut),
    ("volumes.*.name", CarriedOut),
    ("secrets.*.driver", Refused(FROM_A_FILE)),
    ("secrets.*.driver_opts", Refused(FROM_A_FILE)),
    ("secrets.*.environment", Refused(FROM_A_FILE)),
    ("secrets.*.external", Refused(FROM_A_FILE)),
    ("secrets.*.file", CarriedOut),
    ("secrets.*.labels", CarriedOut),
    ("secrets.*.name", CarriedOut),
    ("secrets.*.template_driver", Refused(FROM_A_FILE)),
    ("configs.*.content", Refused(FROM_A_FILE)),
    ("configs.*.environment", Refused(FROM_A_FILE)),
    ("configs.*.external", Refused(FROM_A_FILE)),
    ("configs.*.file", CarriedOut),
    ("configs.*.labels", CarriedOut),
    ("configs.*.name", CarriedOut),
    ("configs.*.template_driver", Refused(FROM_A_FILE)),
];

/// Keys of Compose's earlier formats, and what took their place.
const FORMER: [(&str, &str); 5] = [
    ("log_driver", "use `logging`"),
    ("log_opt", "use `logging`"),
    ("net", "use `network_mode`"),
    ("dockerfile", "use `image:`"),
    ("volume_driver", "name the driver at the top-level volume"),
];

/// What becomes of the key with this path, as messages name it; none where Compose has no such key.
pub(super) fn fate(path: &str) -> Option<Fate> {
    let parts: Vec<&str> = path.split('.').collect();
    if let ["services", _, key] = parts.as_slice()
        && let Some((_, remedy)) = FORMER.iter().find(|(former, _)| former == key)
    {
        return Some(Refused(remedy));
    }
    let fits = |pattern: &str| {
        let wanted: Vec<&str> = pattern.split('.').collect();
        let same = |(wanted, part): (&&str, &&str)| *wanted == "*" || wanted.trim_end_matches("[]") == *part;
        wanted.len() == parts.len() && wanted.iter().zip(&parts).all(same)
    };
    KEYS.iter().find(|(pattern, _)| fits(pattern)).map(|(_, fate)| *fate)
}

/// A key of a service that is close to one which nobody knows.
pub(super) fn meant(key: &str) -> Option<String> {
    let known = KEYS.iter().filter_map(|(path, _)| path.strip_prefix("services.*."));
    let known: Vec<&str> = known
        .filter(|path| !path.contains(['.', '[']))
        .chain(["x-leasehold"])
        .collect();
    scalar::did_you_mean(key, &known)
}
