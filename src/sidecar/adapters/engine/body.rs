//! The container that a service asks for, in the engine's terms: pure, so that every key can be tested without one.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest as EngineDeviceRequest, HealthConfig, HostConfig,
    HostConfigLogConfig, Mount, NetworkingConfig, PortBinding, PortMap, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};

use super::networking::Joined;
use super::prepare::Wanted;
use super::{EngineError, Image, Result, labels, mounts, own_init};
use leasehold_compose::model::{DeviceRequest, Healthcheck, Logging, Port, Service};

/// The tether as the container sees it.
pub(super) const TETHER: &str = "/leasehold/tether";

/// The whole request for the protected container.
pub(super) fn protected(wanted: &Wanted<'_>, image: &Image, joined: &Joined) -> Result<ContainerCreateBody> {
    let service = wanted.service;
    let mut all = mounts::of_service(wanted.project, service)?;
    all.extend(wanted.tether.mounts());
    let mut host = host(service, all)?;
    own_init::lend(&mut host, service);
    host.network_mode = Some(joined.mode.clone());
    host.port_bindings = Some(port_bindings(&service.ports));
    Ok(ContainerCreateBody {
        image: Some(service.image.clone()),
        entrypoint: Some(vec![TETHER.to_owned()]),
        cmd: Some(tether_arguments(wanted)),
        env: Some(environment(service)),
        user: service.user.clone(),
        working_dir: service.working_dir.clone(),
        hostname: service.hostname.clone().filter(|_| !joined.is_shared),
        domainname: service.domainname.clone(),
        exposed_ports: exposed(service)?,
        tty: Some(service.tty),
        open_stdin: Some(service.stdin_open),
        stop_signal: service.stop_signal.clone(),
        stop_timeout: Some(whole_seconds(service.stop_grace_period)),
        healthcheck: own_init::health_check(service, image),
        labels: Some(container_labels(wanted, image)),
        host_config: Some(host),
        networking_config: Some(NetworkingConfig {
            endpoints_config: Some(joined.first.clone()),
        }),
        ..ContainerCreateBody::default()
    })
}

/// The host's side of a service but its network, for the helper containers too.
pub(super) fn host(service: &Service, mounts: Vec<Mount>) -> Result<HostConfig> {
    let some = |list: &[String]| Some(list.to_vec()).filter(|list| !list.is_empty());
    Ok(HostConfig {
        mounts: Some(mounts),
        restart_policy: Some(RestartPolicy {
            name: Some(RestartPolicyNameEnum::NO),
            maximum_retry_count: None,
        }),
        // Said in words: a daemon with `--init` would otherwise put its own PID 1 before the tether.
        init: Some(false),
        auto_remove: Some(false),
        tmpfs: Some(tmpfs(&service.tmpfs)),
        cap_add: some(&service.cap_add),
        cap_drop: some(&service.cap_drop),
        devices: Some(service.devices.iter().map(|text| device(text)).collect()),
        sysctls: Some(hashed(&service.sysctls)),
        ulimits: Some(ulimits(&service.ulimits)),
        security_opt: Some(security(&service.security_opt)?).filter(|list| !list.is_empty()),
        group_add: some(&service.group_add),
        readonly_rootfs: Some(service.read_only),
        log_config: service.logging.as_ref().map(logging),
        extra_hosts: some(&service.extra_hosts),
        dns: some(&service.dns),
        dns_search: some(&service.dns_search),
        dns_options: some(&service.dns_opt),
        shm_size: service.shm_size,
        memory: service.mem_limit,
        memory_reservation: service.mem_reservation,
        memory_swap: service.memswap_limit,
        nano_cpus: service.nano_cpus,
        cpu_shares: service.cpu_shares,
        cpuset_cpus: service.cpuset.clone(),
        pids_limit: service.pids_limit,
        device_requests: Some(service.device_requests.iter().map(device_request).collect())
            .filter(|list: &Vec<_>| !list.is_empty()),
        oom_score_adj: service.oom_score_adj,
        runtime: service.runtime.clone(),
        userns_mode: service.userns_mode.clone(),
        ..HostConfig::default()
    })
}

/// What may read these devices, as the host's root owns them, and nothing else.
pub(super) fn readers(host: &mut HostConfig, devices: &[String]) {
    let readable = |path: &String| DeviceMapping {
        path_on_host: Some(path.clone()),
        path_in_container: Some(path.clone()),
        cgroup_permissions: Some("r".to_owned()),
    };
    host.devices = Some(devices.iter().map(readable).collect());
    (host.cap_add, host.cap_drop) = (None, Some(vec!["ALL".to_owned()]));
    // An engine with user namespaces of its own would give it a root that owns no device; SELinux keeps devices from containers.
    host.userns_mode = Some("host".to_owned());
    host.security_opt = Some(vec!["no-new-privileges".to_owned(), "label=disable".to_owned()]);
    (host.readonly_rootfs, host.group_add) = (Some(true), None);
}

pub(super) fn environment(service: &Service) -> Vec<String> {
    service
        .environment
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

pub(super) fn hashed(map: &BTreeMap<String, String>) -> HashMap<String, String> {
    map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn tether_arguments(wanted: &Wanted<'_>) -> Vec<String> {
    let mut words = Vec::with_capacity(wanted.command_line.len() + 7);
    for (flag, value) in [
        ("--service", &*wanted.service.name),
        ("--group", wanted.group),
        ("--node", wanted.node),
    ] {
        words.extend([flag.to_owned(), value.to_owned()]);
    }
    words.extend_from_slice(wanted.tether_flags);
    words.extend(own_init::flags(wanted.service));
    words.push("--".to_owned());
    words.extend_from_slice(wanted.command_line);
    words
}

fn container_labels(wanted: &Wanted<'_>, image: &Image) -> HashMap<String, String> {
    let project = wanted.project;
    let files: Vec<_> = project.files.iter().map(|file| file.to_string_lossy()).collect();
    let mut all = hashed(&wanted.service.labels);
    let own = [
        (labels::PROJECT, project.name.as_str()),
        (labels::SERVICE, &wanted.service.name),
        (labels::ONEOFF, "False"),
        (labels::NUMBER, "1"),
        (labels::CONFIG_HASH, wanted.config_hash),
        (labels::CONFIG_FILES, &files.join(",")),
        (labels::WORKING_DIR, &project.directory.to_string_lossy()),
        (labels::IMAGE, &image.id),
        (labels::DEPENDS_ON, ""),
        (labels::VERSION, labels::COMPOSE_VERSION),
        (labels::CLUSTER, &project.cluster.name),
        (labels::GROUP, wanted.group),
        (labels::NODE, wanted.node),
    ];
    all.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
    all
}

/// `path` or `path:options`.
fn tmpfs(entries: &[String]) -> HashMap<String, String> {
    let split = entries.iter().map(|entry| entry.split_once(':').unwrap_or((entry, "")));
    split
        .map(|(path, options)| (path.to_owned(), options.to_owned()))
        .collect()
}

/// `host[:container[:permissions]]`.
fn device(text: &str) -> DeviceMapping {
    let mut parts = text.split(':');
    let on_host = parts.next().unwrap_or_default();
    let (inside, permissions) = match (parts.next(), parts.next()) {
        (Some(inside), Some(permissions)) => (inside, permissions),
        // The second part may already be the permissions.
        (Some(word), None) if !word.starts_with('/') => (on_host, word),
        (Some(inside), None) => (inside, "rwm"),
        (None, _) => (on_host, "rwm"),
    };
    DeviceMapping {
        path_on_host: Some(on_host.to_owned()),
        path_in_container: Some(inside.to_owned()),
        cgroup_permissions: Some(permissions.to_owned()),
    }
}

fn device_request(asked: &DeviceRequest) -> EngineDeviceRequest {
    EngineDeviceRequest {
        driver: asked.driver.clone(),
        count: Some(asked.count),
        device_ids: Some(asked.device_ids.clone()),
        capabilities: Some(vec![asked.capabilities.clone()]),
        options: Some(hashed(&asked.options)),
    }
}

fn ulimits(limits: &BTreeMap<String, (i64, i64)>) -> Vec<ResourcesUlimits> {
    let one = |(name, (soft, hard)): (&String, &(i64, i64))| ResourcesUlimits {
        name: Some(name.clone()),
        soft: Some(*soft),
        hard: Some(*hard),
    };
    limits.iter().map(one).collect()
}

/// The engine wants `key=value`, and the text of a seccomp profile where Compose takes the name of a file.
fn security(options: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::with_capacity(options.len());
    for option in options {
        let parts = option.split_once('=').or_else(|| option.split_once(':'));
        let Some((key, value)) = parts else {
            all.push(option.clone());
            continue;
        };
        if key == "seccomp" && value != "unconfined" && value != "builtin" && !value.trim_start().starts_with('{') {
            let reason = "a seccomp profile is handed to the engine as text, not as the name of a file";
            return Err(EngineError::invalid(format!("security_opt {option:?}: {reason}")));
        }
        all.push(format!("{key}={value}"));
    }
    Ok(all)
}

fn logging(logging: &Logging) -> HostConfigLogConfig {
    HostConfigLogConfig {
        typ: logging.driver.clone(),
        config: Some(hashed(&logging.options)),
    }
}

pub(super) fn healthcheck(check: &Healthcheck) -> HealthConfig {
    HealthConfig {
        test: check.test.clone(),
        interval: check.interval.map(nanoseconds),
        timeout: check.timeout.map(nanoseconds),
        retries: check.retries,
        start_period: check.start_period.map(nanoseconds),
        start_interval: check.start_interval.map(nanoseconds),
    }
}

/// Published ports are exposed as well; ranges are written out, one port each.
fn exposed(service: &Service) -> Result<Option<Vec<String>>> {
    let mut all: Vec<String> = service
        .ports
        .iter()
        .map(|port| format!("{}/{}", port.target, port.protocol))
        .collect();
    for entry in &service.expose {
        let (range, protocol) = entry.split_once('/').unwrap_or((entry, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else {
            return Err(EngineError::invalid(format!(
                "service {}: {entry:?} is no port to expose",
                service.name
            )));
        };
        all.extend((first..=last).map(|port| format!("{port}/{protocol}")));
    }
    Ok(Some(all).filter(|all| !all.is_empty()))
}

fn port_bindings(ports: &[Port]) -> PortMap {
    let mut all = PortMap::new();
    for port in ports {
        let binding = PortBinding {
            host_ip: port.host_ip.clone(),
            host_port: port.published.clone(),
        };
        let key = format!("{}/{}", port.target, port.protocol);
        all.entry(key).or_default().get_or_insert_default().push(binding);
    }
    all
}

/// Rounded up: less time than asked for could cut a clean shutdown short.
fn whole_seconds(time: Duration) -> i64 {
    let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_forms() {
        let parts = |text: &str| {
            let made = device(text);
            [made.path_on_host, made.path_in_container, made.cgroup_permissions].map(Option::unwrap)
        };
        assert_eq!(parts("/dev/a"), ["/dev/a", "/dev/a", "rwm"]);
        assert_eq!(parts("/dev/a:/dev/b"), ["/dev/a", "/dev/b", "rwm"]);
        assert_eq!(parts("/dev/a:r"), ["/dev/a", "/dev/a", "r"]);
        assert_eq!(parts("/dev/a:/dev/b:rw"), ["/dev/a", "/dev/b", "rw"]);
    }

    #[test]
    fn seccomp_files_are_refused_and_colons_become_equals() {
        assert_eq!(
            security(&["no-new-privileges:true".to_owned()]).unwrap(),
            ["no-new-privileges=true"]
        );
        assert_eq!(
            security(&["seccomp:unconfined".to_owned()]).unwrap(),
            ["seccomp=unconfined"]
        );
        assert!(security(&["seccomp:./profile.json".to_owned()]).is_err());
    }

    #[test]
    fn ports_of_one_target_share_an_entry_and_ranges_are_written_out() {
        let port = |published: &str| Port {
            host_ip: None,
            published: Some(published.to_owned()),
            target: 25,
            protocol: "tcp".to_owned(),
        };
        let bindings = port_bindings(&[port("25"), port("2525")]);
        assert_eq!(bindings["25/tcp"].as_ref().unwrap().len(), 2);
        let service = Service {
            expose: vec!["30-32".to_owned(), "53/udp".to_owned()],
            ..Service::default()
        };
        assert_eq!(
            exposed(&service).unwrap().unwrap(),
            ["30/tcp", "31/tcp", "32/tcp", "53/udp"]
        );
    }

    #[test]
    fn grace_is_never_rounded_down() {
        assert_eq!(whole_seconds(Duration::from_millis(1500)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(20)), 20);
    }
}
