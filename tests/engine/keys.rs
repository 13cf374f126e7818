//! Every key of a service, carried out by the real engine.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bollard::models::{ContainerConfig, HostConfig, RestartPolicyNameEnum};
use leasehold::compose::model::{Attachment, Logging, Mount, MountKind, Network, Port, Service};

use crate::support::{Bed, GROUP, NODE};

#[tokio::test]
async fn every_key_reaches_the_engine() {
    let mut bed = Bed::new().await;
    let secret = bed.directory.join("secret");
    std::fs::write(&secret, "s").unwrap();
    let mut service = bed.service();
    set_process(&mut service);
    set_files(&mut service, &secret);
    set_limits(&mut service);
    set_network(&mut service, &mut bed);

    let prepared = bed.prepare(&service).await.unwrap();
    bed.engine.start(&prepared.container_id).await.unwrap();
    assert!(!bed.prepare(&service).await.unwrap().created);

    let found = bed
        .docker
        .inspect_container(&prepared.container_id, None)
        .await
        .unwrap();
    assert_eq!(found.path.as_deref(), Some("/leasehold/tether"));
    let words = [
        "--service",
        "sams",
        "--group",
        GROUP,
        "--node",
        NODE,
        "--",
        "/bin/busybox",
        "sleep",
        "600",
    ];
    assert_eq!(found.args.unwrap(), words);
    let networks = found.network_settings.unwrap().networks.unwrap();
    assert_eq!(
        networks.values().next().unwrap().ip_address.as_deref(),
        Some("10.213.97.25")
    );
    check_process(found.config.unwrap());
    let host = found.host_config.unwrap();
    check_limits(&host);
    check_files(host);
}

fn text(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn pair(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

fn set_process(service: &mut Service) {
    service.environment = pair("A", "b=c");
    service.user = Some("8:12".to_owned());
    service.working_dir = Some("/store".to_owned());
    service.hostname = Some("mail".to_owned());
    service.domainname = Some("example.test".to_owned());
    (service.cap_add, service.cap_drop) = (text(&["NET_BIND_SERVICE"]), text(&["ALL"]));
    service.security_opt = text(&["no-new-privileges:true"]);
    service.group_add = text(&["100"]);
    (service.tty, service.stdin_open) = (true, true);
    service.stop_signal = Some("SIGINT".to_owned());
    service.stop_grace_period = Duration::from_secs(20);
    service.labels = pair("their.own", "label");
    service.runtime = Some("runc".to_owned());
    let machine = if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    };
    service.platform = Some(format!("linux/{machine}"));
}

fn check_process(config: ContainerConfig) {
    assert_eq!(config.env.unwrap().first().map(String::as_str), Some("A=b=c"));
    assert_eq!(
        (config.hostname.as_deref(), config.domainname.as_deref()),
        (Some("mail"), Some("example.test"))
    );
    assert_eq!(
        (config.user.as_deref(), config.working_dir.as_deref()),
        (Some("8:12"), Some("/store"))
    );
    assert_eq!(
        (config.stop_signal.as_deref(), config.stop_timeout),
        (Some("SIGINT"), Some(20))
    );
    assert_eq!((config.tty, config.open_stdin), (Some(true), Some(true)));
    assert_eq!(config.labels.unwrap()["their.own"], "label");
    let mut exposed = config.exposed_ports.unwrap();
    exposed.sort();
    assert_eq!(exposed, ["110/tcp", "143/tcp", "144/tcp", "25/tcp"]);
}

fn set_files(service: &mut Service, secret: &Path) {
    let memory = MountKind::Tmpfs {
        size: Some(1 << 20),
        mode: Some(0o700),
    };
    let file = MountKind::File {
        source: secret.to_owned(),
    };
    service.mounts = vec![
        Mount {
            kind: memory,
            target: "/t".to_owned(),
            read_only: false,
            no_storage: false,
        },
        Mount {
            kind: file,
            target: "/run/secrets/s".to_owned(),
            read_only: true,
            no_storage: false,
        },
    ];
    service.tmpfs = text(&["/scratch:size=1m", "/plain"]);
    service.devices = text(&["/dev/null:/dev/zilch:r"]);
    service.read_only = true;
    service.logging = Some(Logging {
        driver: Some("json-file".to_owned()),
        options: pair("max-size", "1m"),
    });
}

fn check_files(host: HostConfig) {
    let tmpfs = host.tmpfs.unwrap();
    assert_eq!((tmpfs["/scratch"].as_str(), tmpfs["/plain"].as_str()), ("size=1m", ""));
    let log = host.log_config.unwrap();
    assert_eq!(
        (log.typ.as_deref(), log.config.unwrap()["max-size"].as_str()),
        (Some("json-file"), "1m")
    );
    let mounts = host.mounts.unwrap().into_iter();
    let mut made: Vec<_> = mounts
        .map(|mount| (mount.target.unwrap(), mount.read_only.unwrap_or(false)))
        .collect();
    made.sort();
    let expected = [
        ("/leasehold", true),
        ("/run/leasehold", true),
        ("/run/secrets/s", true),
        ("/t", false),
    ];
    assert_eq!(made, expected.map(|(path, read_only)| (path.to_owned(), read_only)));
    let device = host.devices.unwrap().remove(0);
    assert_eq!(device.path_in_container.as_deref(), Some("/dev/zilch"));
    assert_eq!(device.cgroup_permissions.as_deref(), Some("r"));
}

fn set_limits(service: &mut Service) {
    service.ulimits = BTreeMap::from([("nofile".to_owned(), (1024, 2048))]);
    (service.shm_size, service.mem_limit, service.mem_reservation) = (Some(1 << 20), Some(1 << 26), Some(1 << 25));
    (service.memswap_limit, service.nano_cpus, service.cpu_shares) = (Some(1 << 26), Some(500_000_000), Some(512));
    (service.cpuset, service.pids_limit) = (Some("0".to_owned()), Some(64));
    // Below zero it takes a privilege that an engine in a virtual machine may lack.
    service.oom_score_adj = Some(100);
}

fn check_limits(host: &HostConfig) {
    assert_eq!((host.memory, host.memory_reservation), (Some(1 << 26), Some(1 << 25)));
    assert_eq!((host.nano_cpus, host.shm_size), (Some(500_000_000), Some(1 << 20)));
    assert_eq!((host.pids_limit, host.oom_score_adj), (Some(64), Some(100)));
    assert_eq!((host.cpu_shares, host.cpuset_cpus.as_deref()), (Some(512), Some("0")));
    let limit = &host.ulimits.as_ref().unwrap()[0];
    assert_eq!(
        (limit.name.as_deref(), limit.soft, limit.hard),
        (Some("nofile"), Some(1024), Some(2048))
    );
    assert_eq!(
        (host.readonly_rootfs, host.init, host.auto_remove),
        (Some(true), Some(false), Some(false))
    );
    assert_eq!(host.cap_drop.as_deref(), Some(&text(&["ALL"])[..]));
    assert_eq!(
        host.security_opt.as_deref(),
        Some(&text(&["no-new-privileges=true"])[..])
    );
    assert_eq!(host.group_add.as_deref(), Some(&text(&["100"])[..]));
    assert_eq!(
        host.restart_policy.as_ref().unwrap().name,
        Some(RestartPolicyNameEnum::NO)
    );
    assert_eq!(
        host.sysctls.as_ref().unwrap()["net.ipv4.ip_unprivileged_port_start"],
        "0"
    );
    assert_eq!(
        (&host.dns, &host.dns_search),
        (&Some(text(&["192.0.2.53"])), &Some(text(&["example.test"])))
    );
    assert_eq!(
        (&host.dns_options, &host.extra_hosts),
        (&Some(text(&["ndots:1"])), &Some(text(&["store:192.0.2.9"])))
    );
}

fn set_network(service: &mut Service, bed: &mut Bed) {
    service.network_mode = None;
    let host_ip = Some("127.0.0.1".to_owned());
    service.ports = vec![Port {
        host_ip,
        published: None,
        target: 25,
        protocol: "tcp".to_owned(),
    }];
    service.expose = text(&["110", "143-144"]);
    service.sysctls = pair("net.ipv4.ip_unprivileged_port_start", "0");
    service.extra_hosts = text(&["store:192.0.2.9"]);
    (service.dns, service.dns_search) = (text(&["192.0.2.53"]), text(&["example.test"]));
    service.dns_opt = text(&["ndots:1"]);
    let network = Network {
        name: format!("{}_own", bed.project.name),
        subnets: vec![("10.213.97.0/24".to_owned(), Some("10.213.97.1".to_owned()))],
        ip_ranges: [("10.213.97.0/24".to_owned(), "10.213.97.128/25".to_owned())].into(),
        ..Network::default()
    };
    bed.project.networks.insert("own".to_owned(), network);
    let fixed = Attachment {
        ipv4_address: Some("10.213.97.25".to_owned()),
        ..Attachment::default()
    };
    service.networks.insert("own".to_owned(), fixed);
}
