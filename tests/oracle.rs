//! Compose itself as the oracle: what `docker compose config` makes of a file is what Leasehold reads from it. The files are our
//! own.

#![expect(clippy::unwrap_used, reason = "a test fails by it, in its helpers too")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use leasehold::compose::model::{Mount, MountKind, Project, Service};
use leasehold::compose::{Sources, read};
use serde_json::{Value, json};

/// Behind every service that is compared.
const LINES: &str =
    "    profiles: [leasehold]\n    scale: 0\n    entrypoint: [/leasehold/tether]\n    x-leasehold: {group: g}\n";
const TOP: &str = "x-leasehold: {cluster: c, etcd: [\"http://192.0.2.1:2379\"]}\n";

/// A project of some files; the first is `compose.yaml`, whose services that end in a line `LEASEHOLD` are compared.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

const CASES: &[Case] = &[
    (
        "scalars, quotes and dollars",
        &[(
            "compose.yaml",
            "services:\n  s:\n    image: i:1\n    labels: {rule: \"^R$\", on: true, octal: 0644, none: , float: 1.5}\n    \
             command: awk '{print $2}' a\\ b\n    user: 1000:100\n    environment: {HASH: \"${HASH:-$2a$14$x}\", D: $$x, N: '${A:-{\"b\": 1}}y', \
             E: '${A-b}${A+c}'}\n    healthcheck: {test: \"ps | awk '{print $1}'\", interval: 1m30s}\nLEASEHOLD",
        )],
        &["compose.yaml"],
    ),
    (
        "env files in every spelling, and what a later one sees",
        &[
            (
                "compose.yaml",
                "services:\n  s:\n    image: i:1\n    env_file: [one.env, {path: two.env}, {path: gone.env, required: false}]\n    \
                 environment: [\"OWN=${DOT}\", DOT, NOWHERE, B=over]\nLEASEHOLD",
            ),
            (
                "one.env",
                "HOST=db\nPORT: 5432\nexport B = b b # c\nE= # c\nQ=\"\\d+\\n\\$x\" # c\nS='$HOST \\' \\d'\nM=\"a\nb\"\nT=a#b\n\
                 U=a\\nb\nW[0]=w\n",
            ),
            ("two.env", "URL=tcp://$HOST:${PORT:-1}/$DOT\nHOST=second\nL=x$\nDOT\n"),
            (".env", "DOT=dot\n"),
        ],
        &["compose.yaml"],
    ),
    (
        "an override file: every rule of merging, and the tags",
        &[
            (
                "compose.yaml",
                "services:\n  s:\n    image: i:1\n    environment: {A: 1, B: 2, C: 3}\n    labels: [a=1, b=2]\n    ports: ['80:80', '81:81']\n    \
                 extra_hosts: {a: [192.0.2.1, 192.0.2.2], b: '[::1]'}\n    volumes: ['vol:/d', './x:/x', './k:/k']\n    dns: 192.0.2.53\n    \
                 tmpfs: /run\n    cap_add: [A]\n    healthcheck: {test: a, retries: 2}\n    command: [a, b]\n    networks: [n]\n    \
                 ulimits: {nofile: {soft: 1, hard: 2}}\nLEASEHOLDvolumes: {vol: }\nnetworks: {n: , m: }\n",
            ),
            (
                "more.yaml",
                "services:\n  s:\n    environment: [C=4, A]\n    labels: {b: 3, c: 4}\n    ports: !override ['90:90']\n    \
                 extra_hosts: ['b=::1', 'c:192.0.2.9']\n    volumes: ['./y:/x:ro', {type: tmpfs, target: /t}]\n    dns: [192.0.2.54]\n    \
                 tmpfs: [/tmp]\n    cap_add: !reset []\n    healthcheck: {disable: true}\n    command: [c]\n    \
                 networks: {m: {aliases: [x]}}\n    ulimits: {nofile: 5}\n---\nservices:\n  s:\n    user: me\n    ports: ['91:91']\n",
            ),
        ],
        &["compose.yaml", "more.yaml"],
    ),
    (
        "a service that extends one of the file and one of another",
        &[
            (
                "compose.yaml",
                "services:\n  base:\n    image: b:1\n    environment: {A: 1, B: 2}\n    ports: ['80:80']\n    dns: [192.0.2.1]\n  \
                 middle:\n    extends: base\n    labels: {m: 1}\n  s:\n    extends: {service: middle}\n    environment: [B=3]\n    \
                 ports: ['81:81']\n    dns: !reset []\nLEASEHOLD  far:\n    extends: {file: sub/far.yaml, service: far}\n    user: me\nLEASEHOLD",
            ),
            (
                "sub/far.yaml",
                "services:\n  far:\n    extends: {file: deep/er.yaml, service: er}\n    image: f:$V\n    env_file: f.env\n    \
                 volumes: ['./d:/d', {type: bind, source: ../up, target: /u}]\n",
            ),
            (
                "sub/deep/er.yaml",
                "services:\n  er:\n    image: e:1\n    volumes: ['./e:/e']\n    environment: {E: $V}\n",
            ),
            ("sub/f.env", "F=$V\n"),
            (".env", "V=7\n"),
        ],
        &["compose.yaml"],
    ),
    (
        "a project that includes another",
        &[
            (
                "compose.yaml",
                "include:\n  - inc/app.yaml\n  - {path: other.yaml, env_file: o.env}\nservices:\n  s:\n    image: i:1\n    \
                 volumes: ['vol:/v']\nLEASEHOLD",
            ),
            (
                "inc/app.yaml",
                "services:\n  app:\n    image: a:$V\n    environment: [V, W]\n    env_file: a.env\n    volumes: ['./d:/d', 'vol:/v']\n\
                 LEASEHOLDvolumes: {vol: {driver: local, driver_opts: {type: none, o: bind, device: ./dev}}}\n",
            ),
            ("inc/.env", "V=inner\nW=w\nX=x\n"),
            ("inc/a.env", "A=$V\n"),
            ("other.yaml", "services:\n  other:\n    image: \"o:${O}\"\nLEASEHOLD"),
            ("o.env", "O=9\n"),
            (".env", "V=outer\n"),
        ],
        &["compose.yaml"],
    ),
    (
        "anchors, devices, networks and limits",
        &[(
            "compose.yaml",
            "x-base: &base\n  image: i:1\n  environment: &env {A: 1}\nservices:\n  s:\n    <<: *base\n    \
             environment: {<<: *env, B: 2}\n    ports: ['8000-8001:9000-9001', '127.0.0.1:53:53/udp', '[::1]:1:1', {target: 5, published: '6'}]\n    \
             networks: {n: {ipv4_address: 10.5.0.9, aliases: [z, y]}, default: }\n    devices: ['/dev/null:/dev/x:r']\n    \
             deploy: {resources: {limits: {cpus: '0.5', memory: 64m, pids: 9}, reservations: {memory: 1g}}}\n    \
             stop_grace_period: 1m5s\n    sysctls: [net.core.somaxconn=4]\n    \
             volumes: [{type: volume, source: v, target: /v/, volume: {subpath: sub}}, '/etc/x:/x:ro']\nLEASEHOLDvolumes: {v: {name: far}}\n\
             networks: {n: {ipam: {config: [{subnet: 10.5.0.0/16, ip_range: 10.5.8.0/24}]}}}\n",
        )],
        &["compose.yaml"],
    ),
];

struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn place(index: usize, files: &[(&str, &str)]) -> Place {
    let place = Place(std::env::temp_dir().join(format!("leasehold-oracle-{}-{index}", std::process::id())));
    for (number, (name, text)) in files.iter().enumerate() {
        let path = place.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let top = if number == 0 { TOP } else { "" };
        std::fs::write(path, format!("{top}{}", text.replace("LEASEHOLD", LINES))).unwrap();
    }
    place
}

/// What Compose makes of the files; its own escapes of dollar signs are undone.
fn theirs(directory: &Path, names: &[&str]) -> Value {
    let mut command = Command::new("docker");
    command
        .args(["compose", "--profile", "leasehold"])
        .current_dir(directory);
    command.env_remove("COMPOSE_PROJECT_NAME").env_remove("COMPOSE_FILE");
    for name in names {
        command.args(["-f", name]);
    }
    let out = command.args(["config", "--format", "json"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap().replace("$$", "$");
    serde_json::from_str(&text).unwrap()
}

fn ours(directory: &Path, names: &[&str]) -> Project {
    let sources = Sources {
        host_directory: directory.to_path_buf(),
        local_directory: directory.to_path_buf(),
        files: names.iter().map(PathBuf::from).collect(),
        ..Sources::default()
    };
    read(&sources).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

fn texts<'v>(values: impl IntoIterator<Item = &'v Value>) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    values.into_iter().map(text).collect()
}

fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => texts(items),
        Value::Null => Vec::new(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => texts([value]),
    }
}

fn sorted(mut all: Vec<String>) -> Value {
    all.sort();
    json!(all)
}

/// A mapping of texts without what has no value.
fn pairs(value: &Value) -> Value {
    let entries = value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null());
    let entries = entries.map(|(key, value)| (key.clone(), texts([value]).remove(0)));
    json!(entries.collect::<BTreeMap<_, _>>())
}

fn seconds(text: &Value) -> Value {
    // Go writes `1m5s`.
    let text = text.as_str().unwrap_or("10s");
    let (minutes, rest) = text.split_once('m').unwrap_or(("0", text));
    let minutes: u64 = minutes.parse().unwrap();
    json!(minutes * 60 + rest.trim_end_matches('s').parse::<u64>().unwrap_or_default())
}

/// A service as Compose tells it, in words that both have.
fn their_words(service: &Value) -> BTreeMap<&'static str, Value> {
    let part = |value: &Value, key: &str| value.get(key).cloned().unwrap_or(Value::Null);
    let text = |value: &Value, key: &str| list(&part(value, key)).pop().unwrap_or_default();
    let mounts = part(service, "volumes");
    let mounts = mounts.as_array().into_iter().flatten().map(|mount| {
        let subpath = mount
            .get("volume")
            .map(|volume| text(volume, "subpath"))
            .unwrap_or_default();
        let target = text(mount, "target");
        format!(
            "{} {} {} {subpath} {}",
            text(mount, "type"),
            text(mount, "source"),
            target.trim_end_matches('/'),
            text(mount, "read_only") == "true"
        )
    });
    let ports = part(service, "ports");
    let ports = ports.as_array().into_iter().flatten().map(|port| {
        format!(
            "{}:{}:{}/{}",
            text(port, "host_ip"),
            text(port, "published"),
            text(port, "target"),
            text(port, "protocol")
        )
    });
    let networks = part(service, "networks");
    let networks = networks
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, at)| format!("{name} {:?} {}", list(&part(at, "aliases")), text(at, "ipv4_address")));
    let check = part(service, "healthcheck");
    let disabled = check.get("disable") == Some(&json!(true));
    let test = if disabled {
        vec!["NONE".to_owned()]
    } else {
        list(&part(&check, "test"))
    };
    BTreeMap::from([
        ("image", part(service, "image")),
        ("environment", pairs(&part(service, "environment"))),
        ("labels", pairs(&part(service, "labels"))),
        ("command", json!(list(&part(service, "command")))),
        ("user", json!(text(service, "user"))),
        ("extra_hosts", {
            let unique: BTreeSet<String> = list(&part(service, "extra_hosts")).into_iter().collect();
            sorted(unique.into_iter().collect())
        }),
        ("dns", json!(list(&part(service, "dns")))),
        ("tmpfs", json!(list(&part(service, "tmpfs")))),
        ("cap_add", json!(list(&part(service, "cap_add")))),
        ("test", json!(test)),
        ("stop", seconds(&part(service, "stop_grace_period"))),
        ("sysctls", pairs(&part(service, "sysctls"))),
        ("mounts", sorted(mounts.collect())),
        ("ports", sorted(ports.collect())),
        ("networks", sorted(networks.collect())),
    ])
}

fn mount(mount: &Mount) -> String {
    let (kind, source, subpath) = match &mount.kind {
        MountKind::Bind { source, .. } => ("bind", source.display().to_string(), ""),
        MountKind::Volume { key, subpath } => ("volume", key.clone(), subpath.as_deref().unwrap_or_default()),
        MountKind::Tmpfs { .. } => ("tmpfs", String::new(), ""),
        MountKind::File { source } => ("file", source.display().to_string(), ""),
    };
    format!("{kind} {source} {} {subpath} {}", mount.target, mount.read_only)
}

/// The same of what Leasehold reads.
fn our_words(service: &Service) -> BTreeMap<&'static str, Value> {
    let ports = service.ports.iter().map(|port| {
        let (ip, published) = (port.host_ip.as_deref(), port.published.as_deref());
        format!(
            "{}:{}:{}/{}",
            ip.unwrap_or_default(),
            published.unwrap_or_default(),
            port.target,
            port.protocol
        )
    });
    let networks = service.networks.iter().map(|(name, at)| {
        format!(
            "{name} {:?} {}",
            at.aliases,
            at.ipv4_address.as_deref().unwrap_or_default()
        )
    });
    let hosts: BTreeSet<String> = service
        .extra_hosts
        .iter()
        .map(|host| host.replacen(':', "=", 1))
        .collect();
    let test = service.healthcheck.as_ref().and_then(|check| check.test.clone());
    BTreeMap::from([
        ("image", json!(service.image)),
        ("environment", json!(service.environment)),
        ("labels", json!(service.labels)),
        ("command", json!(service.command.clone().unwrap_or_default())),
        ("user", json!(service.user.clone().unwrap_or_default())),
        ("extra_hosts", sorted(hosts.into_iter().collect())),
        ("dns", json!(service.dns)),
        ("tmpfs", json!(service.tmpfs)),
        ("cap_add", json!(service.cap_add)),
        ("test", json!(test.unwrap_or_default())),
        ("stop", json!(service.stop_grace_period.as_secs())),
        ("sysctls", json!(service.sysctls)),
        ("mounts", sorted(service.mounts.iter().map(mount).collect())),
        ("ports", sorted(ports.collect())),
        ("networks", sorted(networks.collect())),
    ])
}

#[test]
fn what_is_read_is_what_compose_reads() {
    let version = Command::new("docker").args(["compose", "version"]).output();
    let is_there = version.is_ok_and(|output| output.status.success());
    assert!(
        is_there,
        "`docker compose` is missing: apt-get install docker.io docker-compose"
    );
    let mut compared = 0;
    for (index, (name, files, names)) in CASES.iter().enumerate() {
        let place = place(index, files);
        let (theirs, ours) = (theirs(&place.0, names), ours(&place.0, names));
        for service in ours.groups.values().flat_map(|group| &group.services) {
            let (wanted, found) = (their_words(&theirs["services"][&service.name]), our_words(service));
            for (key, wanted) in wanted {
                assert_eq!(found[key], wanted, "{name}: {key} of {}", service.name);
                compared += 1;
            }
        }
        for (key, volume) in &ours.volumes {
            let stated = &theirs["volumes"][key];
            assert_eq!(json!(volume.name), stated["name"], "{name}: volume {key}");
            assert_eq!(
                json!(volume.driver_opts),
                pairs(&stated["driver_opts"]),
                "{name}: volume {key}"
            );
        }
        for (key, network) in &ours.networks {
            let config = &theirs["networks"][key]["ipam"]["config"][0];
            let range = network
                .subnets
                .first()
                .and_then(|(subnet, _)| network.ip_ranges.get(subnet));
            assert_eq!(
                range.map(String::as_str),
                config["ip_range"].as_str(),
                "{name}: network {key}"
            );
        }
    }
    assert!(compared >= 100, "only {compared} values were compared");
}
