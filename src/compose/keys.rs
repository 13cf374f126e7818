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
    ("services.*.post_start", Refused("do it in the image's entrypoint")),
    ("services.*.pre_start", Refused("do it in the image's entrypoint")),
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
    ("services.*.userns_mode", CarriedOut),
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

#[cfg(test)]
mod tests {
    use super::super::testing::{file, read_files};
    use super::*;

    const NETWORKS: &str = "networks: {n: {NETWORK}}\n";

    /// What stands in the service, or at the top level, to try a key with.
    #[rustfmt::skip]
    const SAMPLES: &[(&str, &str)] = &[
        ("version", "version: '3'"), ("name", "name: mail"), ("include", "include: []"), ("services", ""),
        ("networks", "networks: {o: }"), ("volumes", "volumes: {o: }"), ("secrets", "secrets: {o: }"), ("configs", "configs: {o: }"),
        ("models", "models: {m: {model: x}}"),
        ("services.*.attach", "attach: false"), ("services.*.build", "build: ."), ("services.*.cap_add", "cap_add: [A]"),
        ("services.*.cap_drop", "cap_drop: [A]"), ("services.*.command", "command: run"), ("services.*.configs", "configs: [c]"),
        ("services.*.configs[].source", "configs: [{source: c}]"), ("services.*.configs[].target", "configs: [{source: c, target: /c}]"),
        ("services.*.configs[].uid", "configs: [{source: c, uid: '1'}]"), ("services.*.configs[].gid", "configs: [{source: c, gid: '1'}]"),
        ("services.*.configs[].mode", "configs: [{source: c, mode: 0400}]"), ("services.*.container_name", "container_name: c"),
        ("services.*.cpu_shares", "cpu_shares: 5"), ("services.*.cpus", "cpus: 1"), ("services.*.cpuset", "cpuset: '0'"),
        ("services.*.depends_on", "depends_on: [b]"), ("services.*.depends_on.*.condition", "depends_on: {b: {condition: service_healthy}}"),
        ("services.*.depends_on.*.required", "depends_on: {b: {condition: service_started, required: true}}"),
        ("services.*.depends_on.*.restart", "depends_on: {b: {condition: service_started, restart: true}}"),
        ("services.*.deploy", "deploy: {}"), ("services.*.deploy.endpoint_mode", "deploy: {endpoint_mode: vip}"),
        ("services.*.deploy.labels", "deploy: {labels: {}}"), ("services.*.deploy.mode", "deploy: {mode: global}"),
        ("services.*.deploy.placement", "deploy: {placement: {}}"), ("services.*.deploy.replicas", "deploy: {replicas: 2}"),
        ("services.*.deploy.resources", "deploy: {resources: {}}"),
        ("services.*.deploy.resources.limits.cpus", "deploy: {resources: {limits: {cpus: 1}}}"),
        ("services.*.deploy.resources.limits.memory", "deploy: {resources: {limits: {memory: 1g}}}"),
        ("services.*.deploy.resources.limits.pids", "deploy: {resources: {limits: {pids: 1}}}"),
        ("services.*.deploy.resources.reservations.cpus", "deploy: {resources: {reservations: {cpus: 1}}}"),
        ("services.*.deploy.resources.reservations.devices", "deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}"),
        ("services.*.deploy.resources.reservations.generic_resources", "deploy: {resources: {reservations: {generic_resources: []}}}"),
        ("services.*.deploy.resources.reservations.memory", "deploy: {resources: {reservations: {memory: 1g}}}"),
        ("services.*.deploy.restart_policy", "deploy: {restart_policy: {condition: any}}"),
        ("services.*.deploy.rollback_config", "deploy: {rollback_config: {}}"), ("services.*.deploy.update_config", "deploy: {update_config: {}}"),
        ("services.*.develop", "develop: {watch: []}"), ("services.*.devices", "devices: [/dev/null]"), ("services.*.dns", "dns: 1.1.1.1"),
        ("services.*.dns_opt", "dns_opt: [x]"), ("services.*.dns_search", "dns_search: x"), ("services.*.domainname", "domainname: x"),
        ("services.*.entrypoint", ""), ("services.*.env_file", "env_file: [{path: x, required: false}]"), ("services.*.environment", "environment: [A=1]"),
        ("services.*.expose", "expose: [80]"), ("services.*.extends", "extends: base"), ("services.*.extra_hosts", "extra_hosts: ['a:1.1.1.1']"),
        ("services.*.gpus", "gpus: all"), ("services.*.group_add", "group_add: [mail]"), ("services.*.healthcheck", "healthcheck: {test: x}"),
        ("services.*.hostname", "hostname: h"), ("services.*.image", "image: i:1"), ("services.*.init", "init: true"),
        ("services.*.labels", "labels: [a=1]"), ("services.*.links", "links: [b]"), ("services.*.logging", "logging: {driver: json-file}"),
        ("services.*.mem_limit", "mem_limit: 1g"), ("services.*.mem_reservation", "mem_reservation: 1g"), ("services.*.memswap_limit", "memswap_limit: 1g"),
        ("services.*.network_mode", "network_mode: host"), ("services.*.networks", "networks: [n]"),
        ("services.*.networks.*.aliases", "networks: {n: {aliases: [a]}}"), ("services.*.networks.*.driver_opts", "networks: {n: {driver_opts: {a: b}}}"),
        ("services.*.networks.*.gw_priority", "networks: {n: {gw_priority: 1}}"), ("services.*.networks.*.interface_name", "networks: {n: {interface_name: x}}"),
        ("services.*.networks.*.ipv4_address", "networks: {n: {ipv4_address: 10.0.0.9}}"), ("services.*.networks.*.ipv6_address", "networks: {n: {ipv6_address: '::9'}}"),
        ("services.*.networks.*.link_local_ips", "networks: {n: {link_local_ips: [169.254.1.1]}}"),
        ("services.*.networks.*.mac_address", "networks: {n: {mac_address: x}}"), ("services.*.networks.*.priority", "networks: {n: {priority: 1}}"),
        ("services.*.oom_score_adj", "oom_score_adj: 5"), ("services.*.pids_limit", "pids_limit: 5"), ("services.*.platform", "platform: linux/amd64"),
        ("services.*.ports", "ports: [80]"), ("services.*.ports[].app_protocol", "ports: [{target: 80, app_protocol: http}]"),
        ("services.*.ports[].host_ip", "ports: [{target: 80, host_ip: 10.0.0.1}]"), ("services.*.ports[].mode", "ports: [{target: 80, mode: host}]"),
        ("services.*.ports[].name", "ports: [{target: 80, name: web}]"), ("services.*.ports[].protocol", "ports: [{target: 80, protocol: udp}]"),
        ("services.*.ports[].published", "ports: [{target: 80, published: '80'}]"), ("services.*.ports[].target", "ports: [{target: 80}]"),
        ("services.*.privileged", "privileged: true"), ("services.*.profiles", ""), ("services.*.pull_policy", "pull_policy: always"),
        ("services.*.pull_refresh_after", "pull_refresh_after: 1d"), ("services.*.read_only", "read_only: true"), ("services.*.restart", "restart: always"),
        ("services.*.runtime", "runtime: runsc"), ("services.*.scale", ""), ("services.*.secrets", "secrets: [k]"),
        ("services.*.secrets[].source", "secrets: [{source: k}]"), ("services.*.secrets[].target", "secrets: [{source: k, target: t}]"),
        ("services.*.secrets[].uid", "secrets: [{source: k, uid: '1'}]"), ("services.*.secrets[].gid", "secrets: [{source: k, gid: '1'}]"),
        ("services.*.secrets[].mode", "secrets: [{source: k, mode: 0400}]"), ("services.*.security_opt", "security_opt: [a:b]"),
        ("services.*.shm_size", "shm_size: 1g"), ("services.*.stdin_open", "stdin_open: true"), ("services.*.stop_grace_period", "stop_grace_period: 5s"),
        ("services.*.stop_signal", "stop_signal: SIGINT"), ("services.*.sysctls", "sysctls: {a: 1}"), ("services.*.tmpfs", "tmpfs: /t"),
        ("services.*.tty", "tty: true"), ("services.*.ulimits", "ulimits: {nofile: 5}"), ("services.*.user", "user: me"),
        ("services.*.userns_mode", "userns_mode: host"),
        ("services.*.volumes", "volumes: ['v:/v']"),
        ("services.*.volumes[].bind.create_host_path", "volumes: [{type: bind, source: ./x, target: /x, bind: {create_host_path: true}}]"),
        ("services.*.volumes[].bind.propagation", "volumes: [{type: bind, source: ./x, target: /x, bind: {propagation: rslave}}]"),
        ("services.*.volumes[].bind.recursive", "volumes: [{type: bind, source: ./x, target: /x, bind: {recursive: disabled}}]"),
        ("services.*.volumes[].bind.selinux", "volumes: [{type: bind, source: ./x, target: /x, bind: {selinux: z}}]"),
        ("services.*.volumes[].consistency", "volumes: [{type: bind, source: ./x, target: /x, consistency: cached}]"),
        ("services.*.volumes[].image", "volumes: [{type: image, source: i, target: /x, image: {subpath: x}}]"),
        ("services.*.volumes[].read_only", "volumes: [{type: bind, source: ./x, target: /x, read_only: true}]"),
        ("services.*.volumes[].source", "volumes: [{type: bind, source: ./x, target: /x}]"),
        ("services.*.volumes[].target", "volumes: [{type: bind, source: ./x, target: /x}]"),
        ("services.*.volumes[].tmpfs.mode", "volumes: [{type: tmpfs, target: /x, tmpfs: {mode: 0700}}]"),
        ("services.*.volumes[].tmpfs.size", "volumes: [{type: tmpfs, target: /x, tmpfs: {size: 1m}}]"),
        ("services.*.volumes[].type", "volumes: [{type: tmpfs, target: /x}]"),
        ("services.*.volumes[].volume.labels", "volumes: [{type: volume, source: v, target: /x, volume: {labels: {a: b}}}]"),
        ("services.*.volumes[].volume.nocopy", "volumes: [{type: volume, source: v, target: /x, volume: {nocopy: true}}]"),
        ("services.*.volumes[].volume.subpath", "volumes: [{type: volume, source: v, target: /x, volume: {subpath: s}}]"),
        ("services.*.working_dir", "working_dir: /w"),
        ("networks.*.attachable", "attachable: true"), ("networks.*.driver", "driver: bridge"), ("networks.*.driver_opts", "driver_opts: {a: b}"),
        ("networks.*.enable_ipv4", "enable_ipv4: false"), ("networks.*.enable_ipv6", "enable_ipv6: true"), ("networks.*.external", "external: true"),
        ("networks.*.internal", "internal: true"), ("networks.*.ipam", "ipam: {}"),
        ("networks.*.ipam.config[].aux_addresses", "ipam: {config: [{subnet: 10.0.0.0/8, aux_addresses: {a: 10.0.0.5}}]}"),
        ("networks.*.ipam.config[].gateway", "ipam: {config: [{subnet: 10.0.0.0/8, gateway: 10.0.0.1}]}"),
        ("networks.*.ipam.config[].ip_range", "ipam: {config: [{subnet: 10.0.0.0/8, ip_range: 10.5.0.0/16}]}"),
        ("networks.*.ipam.config[].subnet", "ipam: {config: [{subnet: 10.0.0.0/8}]}"), ("networks.*.ipam.options", "ipam: {options: {a: b}}"),
        ("networks.*.labels", "labels: {a: b}"), ("networks.*.name", "name: x"),
        ("volumes.*.driver", "driver: local"), ("volumes.*.driver_opts", "driver_opts: {a: b}"), ("volumes.*.external", "external: true"),
        ("volumes.*.labels", "labels: {a: b}"), ("volumes.*.name", "name: x"),
        ("secrets.*.driver", "driver: x"), ("secrets.*.driver_opts", "driver_opts: {a: b}"), ("secrets.*.environment", "environment: X"),
        ("secrets.*.external", "external: true"), ("secrets.*.file", "file: ./x"), ("secrets.*.labels", "file: ./x, labels: {a: b}"),
        ("secrets.*.name", "file: ./x, name: x"), ("secrets.*.template_driver", "template_driver: x"),
        ("configs.*.content", "content: x"), ("configs.*.environment", "environment: X"), ("configs.*.external", "external: true"),
        ("configs.*.file", "file: ./x"), ("configs.*.labels", "file: ./x, labels: {a: b}"), ("configs.*.name", "file: ./x, name: x"),
        ("configs.*.template_driver", "template_driver: x"),
    ];

    /// A file in which this key stands; a key that is refused whatever it says needs no sample.
    fn text(path: &str, fate: Fate) -> String {
        let known = SAMPLES
            .iter()
            .find(|(key, _)| *key == path)
            .map(|(_, sample)| (*sample).to_owned());
        let plain = path.strip_prefix("services.*.").filter(|key| !key.contains(['.', '[']));
        let sample = known.or_else(|| match fate {
            Refused(_) => plain.map(|key| format!("{key}: [x]")),
            CarriedOut | Warned(_) => None,
        });
        let sample = sample.unwrap_or_else(|| panic!("no sample of {path}"));
        let beside = "  b:\n    image: b:1\n    profiles: [leasehold]\n    scale: 0\n    entrypoint: [\"/leasehold/tether\"]\n    \
                      x-leasehold: {group: s}\n  base: {image: c:1}\n";
        let within = |section: &str, other: &str| match path.starts_with(&format!("{section}.")) {
            true => sample.clone(),
            false => other.to_owned(),
        };
        let rest = format!(
            "{beside}{}volumes: {{v: {{{}}}}}\nsecrets: {{k: {{{}}}}}\nconfigs: {{c: {{{}}}}}\n",
            NETWORKS.replace("NETWORK", &within("networks", "")),
            within("volumes", "external: true"),
            within("secrets", "file: ./k"),
            within("configs", "file: ./c"),
        );
        let used = match path.split_once('.') {
            Some(("services", _)) => sample,
            Some(("networks", _)) => "networks: [n]".to_owned(),
            Some(("volumes", _)) => "volumes: ['v:/v:ro']".to_owned(),
            Some((section, _)) => format!("{section}: [{}]", &section[..1].replace('s', "k")),
            None => {
                let own = file("", "", &rest);
                let section = format!("\n{path}: ");
                return if own.contains(&section) {
                    own
                } else {
                    format!("{sample}\n{own}")
                };
            }
        };
        file("", &used, &rest)
    }

    #[test]
    fn what_becomes_of_a_key_is_what_the_table_says() {
        for (path, fate) in KEYS {
            let key = path.rsplit(['.']).next().unwrap_or_default();
            let read = read_files(&[("compose.yaml", &text(path, *fate))]);
            match (fate, read) {
                (CarriedOut, Ok(project)) => {
                    let lost = project
                        .warnings
                        .iter()
                        .find(|warning| warning.contains("is not carried out"));
                    assert_eq!(lost, None, "{path}");
                }
                (Warned(_), Ok(project)) => {
                    let told = |warning: &&String| warning.contains("not carried out") && warning.contains(key);
                    assert_eq!(
                        project.warnings.iter().filter(told).count(),
                        1,
                        "{path}: {:#?}",
                        project.warnings
                    );
                }
                (Refused(_), Err(faults)) => {
                    assert!(
                        faults
                            .iter()
                            .any(|fault| fault.key.contains(key) || fault.key.contains("volumes")),
                        "{path}: {faults:#?}"
                    );
                }
                (fate, read) => panic!("{path}: {fate:?}, but {read:#?}"),
            }
        }
    }

    #[test]
    fn a_key_stands_once_and_is_found_by_its_path() {
        let mut seen = std::collections::BTreeSet::new();
        assert!(KEYS.iter().all(|(path, _)| seen.insert(path)));
        assert_eq!(fate("services.mail.ports.mode"), Some(CarriedOut));
        assert!(matches!(fate("networks.n.ipam.options"), Some(Refused(_))));
        assert!(matches!(fate("services.s.net"), Some(Refused("use `network_mode`"))));
        assert_eq!(fate("services.s.nets"), None);
        assert_eq!(meant("helthcheck").unwrap(), "did you mean healthcheck?");
    }
}
