//! One protected service: every key is carried out, refused, or known to be harmless.

use std::time::Duration;

use super::context::Context;
use super::cursor::At;
use super::fault::Faults;
use super::keys::{self, Fate};
use super::model::Service;
use super::yaml::Value;
use super::{environment, gpus, handed, health, limits, mounts, networks, ports, words};

/// Compose's own default.
const STOP_GRACE_PERIOD: Duration = Duration::from_secs(10);

/// Keys that other parts of the reader carry out.
const ELSEWHERE: [&str; 10] = [
    "profiles",
    "scale",
    "entrypoint",
    "depends_on",
    "links",
    "env_file",
    "environment",
    "networks",
    "extends",
    "x-leasehold",
];

/// Reads everything but `depends_on` and `x-leasehold`.
pub(super) fn read(at: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Service {
    let mut service = Service {
        name: at.name.to_owned(),
        stop_grace_period: STOP_GRACE_PERIOD,
        environment: environment::read(at, context, faults),
        networks: networks::attachments(at, context, faults),
        ..Service::default()
    };
    for field in at.map(faults) {
        let empty = field.node.is_null() && field.name != "command";
        if empty || ELSEWHERE.contains(&field.name) {
            continue;
        }
        let taken = set_process(&mut service, &field, faults)
            || set_rights(&mut service, &field, faults)
            || set_network(&mut service, &field, context, faults)
            || set_storage(&mut service, &field, context, faults)
            || set_limits(&mut service, &field, faults);
        if !taken {
            other(&field, faults);
        }
    }
    // `deploy` is read last, so that it is compared with whatever stands beside it.
    if let Some(field) = at.get("deploy") {
        limits::deploy(&field, &mut service, faults);
    }
    duplicate_targets(at, &service, faults);
    service
}

fn set_process(service: &mut Service, field: &At<'_>, faults: &mut Faults) -> bool {
    match field.name {
        "image" => service.image = field.text(faults).unwrap_or_default(),
        "command" => service.command = command(field, faults),
        "user" => service.user = field.text(faults),
        "working_dir" => service.working_dir = field.text(faults),
        "container_name" => service.container_name = field.text(faults),
        "platform" => service.platform = field.text(faults),
        "runtime" => service.runtime = field.text(faults),
        "stop_signal" => service.stop_signal = field.text(faults),
        "stop_grace_period" => service.stop_grace_period = field.duration(faults).unwrap_or(STOP_GRACE_PERIOD),
        "tty" => service.tty = field.bool(faults).unwrap_or_default(),
        "stdin_open" => service.stdin_open = field.bool(faults).unwrap_or_default(),
        "healthcheck" => service.healthcheck = Some(health::healthcheck(field, faults)),
        "logging" => service.logging = Some(health::logging(field, faults)),
        "labels" => service.labels = labels(field, faults),
        _ => return false,
    }
    true
}

fn set_rights(service: &mut Service, field: &At<'_>, faults: &mut Faults) -> bool {
    match field.name {
        "cap_add" => service.cap_add = field.strings(faults),
        "cap_drop" => service.cap_drop = field.strings(faults),
        "security_opt" => service.security_opt = field.strings(faults),
        "group_add" => service.group_add = field.strings(faults),
        "read_only" => service.read_only = field.bool(faults).unwrap_or_default(),
        "devices" => service.devices = devices(field, faults),
        "sysctls" => service.sysctls = networks::options(field, faults),
        "userns_mode" => service.userns_mode = userns_mode(field, faults),
        _ => return false,
    }
    true
}

/// The engine knows one word: not to map the users of this container, where it maps those of others.
fn userns_mode(field: &At<'_>, faults: &mut Faults) -> Option<String> {
    field.parsed(faults, "host", |text| match text {
        "host" => Some(text.to_owned()),
        _ => None,
    })
}

fn set_network(service: &mut Service, field: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> bool {
    match field.name {
        "hostname" => service.hostname = field.text(faults),
        "domainname" => service.domainname = field.text(faults),
        "network_mode" => service.network_mode = networks::mode(field, context, faults),
        "ports" => service.ports = ports::read(field, faults),
        "expose" => service.expose = ports::exposed(field, faults),
        "extra_hosts" => service.extra_hosts = extra_hosts(field, faults),
        "dns" => service.dns = field.strings(faults),
        "dns_search" => service.dns_search = field.strings(faults),
        "dns_opt" => service.dns_opt = field.strings(faults),
        _ => return false,
    }
    true
}

fn set_storage(service: &mut Service, field: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> bool {
    match field.name {
        "volumes" => service.mounts.extend(mounts::read(field, context, faults)),
        "secrets" | "configs" => service.mounts.extend(handed::read(field, context, faults)),
        "tmpfs" => service.tmpfs = field.strings(faults),
        _ => return false,
    }
    true
}

fn set_limits(service: &mut Service, field: &At<'_>, faults: &mut Faults) -> bool {
    match field.name {
        "shm_size" => service.shm_size = field.bytes(faults),
        "mem_limit" => service.mem_limit = field.bytes(faults),
        "mem_reservation" => service.mem_reservation = field.bytes(faults),
        "memswap_limit" => service.memswap_limit = field.bytes(faults),
        "cpus" => service.nano_cpus = limits::cpus(field, faults),
        "cpu_shares" => service.cpu_shares = field.int(faults),
        "cpuset" => service.cpuset = field.text(faults),
        "pids_limit" => service.pids_limit = field.int(faults),
        "oom_score_adj" => service.oom_score_adj = field.int(faults),
        "ulimits" => service.ulimits = limits::ulimits(field, faults),
        "gpus" => service.device_requests.extend(gpus::gpus(field, faults)),
        "deploy" => {}
        _ => return false,
    }
    true
}

/// What is left: switches that must be off, keys that are harmless, refused or unknown.
fn other(field: &At<'_>, faults: &mut Faults) {
    let off = field
        .node
        .scalar()
        .is_some_and(|text| text.eq_ignore_ascii_case("false"));
    match field.name {
        "restart" => {
            if field.node.scalar().as_deref() != Some("no") {
                let remedy =
                    "write restart: \"no\" or remove the line: Leasehold starts it again, while it holds the lease";
                field.fault(
                    faults,
                    "the engine must not start a protected container by itself",
                    remedy,
                );
            }
        }
        "init" if !off => {
            let remedy = "remove it: the tether reaps children and hands signals on";
            field.fault(faults, "the tether must be PID 1", remedy);
        }
        "privileged" if !off => {
            let remedy = "name what it needs under cap_add and devices";
            field.fault(
                faults,
                "a privileged container could take the tether's locks and the node's addresses",
                remedy,
            );
        }
        "pid" => field.fault(
            faults,
            "the tether must be PID 1 of a namespace of its own",
            "remove it",
        ),
        "init" | "privileged" => {}
        name if name.starts_with("x-") => {}
        name => match keys::fate(&format!("services.s.{name}")) {
            Some(Fate::Warned(why)) => field.warn(faults, format!("is not carried out: {why}"), ""),
            Some(Fate::Refused(remedy)) => field.not_carried_out(faults, remedy),
            Some(Fate::CarriedOut) | None => {
                let remedy = keys::meant(name).unwrap_or_else(|| "remove it".to_owned());
                field.fault(faults, "is not a key that Leasehold knows here", remedy);
            }
        },
    }
}

/// A command or entrypoint: null is the image's, a string is split into words.
pub(super) fn command(at: &At<'_>, faults: &mut Faults) -> Option<Vec<String>> {
    match &at.node.value {
        Value::Null => None,
        Value::Text(line) => match words::split(line) {
            Ok(words) => Some(words),
            Err(message) => {
                at.fault(
                    faults,
                    message,
                    "write it as a list, or as [\"/bin/sh\", \"-c\", \"...\"]",
                );
                None
            }
        },
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => Some(at.strings(faults)),
    }
}

fn labels(at: &At<'_>, faults: &mut Faults) -> std::collections::BTreeMap<String, String> {
    let labels = networks::options(at, faults);
    if labels.keys().any(|key| key.starts_with("com.docker.compose.")) {
        at.fault(
            faults,
            "com.docker.compose. is reserved for Compose's own labels",
            "take another prefix",
        );
    }
    labels
}

fn devices(at: &At<'_>, faults: &mut Faults) -> Vec<String> {
    let items = at.list(faults);
    items.iter().filter_map(|item| device(item, faults)).collect()
}

fn device(item: &At<'_>, faults: &mut Faults) -> Option<String> {
    if let Some(text) = item.node.scalar() {
        return Some(text);
    }
    let (mut source, mut target, mut permissions) = (None, None, "rwm".to_owned());
    for field in item.map_of(faults, &["source", "target", "permissions"]) {
        match field.name {
            "source" => source = field.text(faults),
            "target" => target = field.text(faults),
            _ => permissions = field.text(faults)?,
        }
    }
    let source = source?;
    let target = target.unwrap_or_else(|| source.clone());
    Some(format!("{source}:{target}:{permissions}"))
}

/// `host:address` and `host=address` pairs, with one address or several, or a mapping to them.
fn extra_hosts(at: &At<'_>, faults: &mut Faults) -> Vec<String> {
    let bare = |address: &str| {
        let inner = address.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        inner.unwrap_or(address).to_owned()
    };
    let mut hosts = Vec::new();
    if !matches!(at.node.value, Value::Map(_)) {
        let item = |text: &str| {
            let (host, addresses) = text.split_once('=').or_else(|| text.split_once(':'))?;
            let addresses: Vec<String> = addresses.split(',').map(bare).collect();
            let is_whole = !host.is_empty() && addresses.iter().all(|address| !address.is_empty());
            is_whole.then(|| (host.to_owned(), addresses))
        };
        for at in at.list(faults) {
            let (host, addresses) = at.parsed(faults, "host:address", item).unwrap_or_default();
            hosts.extend(addresses.iter().map(|address| format!("{host}:{address}")));
        }
        return hosts;
    }
    for field in at.map(faults) {
        let addresses = field.strings(faults).into_iter();
        hosts.extend(addresses.map(|address| format!("{}:{}", field.name, bare(&address))));
    }
    hosts
}

fn duplicate_targets(at: &At<'_>, service: &Service, faults: &mut Faults) {
    let mut seen = Vec::new();
    for mount in &service.mounts {
        if seen.contains(&&mount.target) {
            at.fault(
                faults,
                format!("two mounts have the target {}", mount.target),
                "keep one of them",
            );
        }
        seen.push(&mount.target);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_one, faults, service};
    use super::*;

    type Look = fn(&Service) -> String;

    fn assert_keys(rows: &[(&str, Look, &str)]) {
        for (keys, look, expected) in rows {
            let (read, _) = service(keys);
            assert_eq!(look(&read), *expected, "{keys}");
        }
    }

    #[test]
    fn keys_of_the_process_are_carried_out() {
        assert_keys(&[
            ("image: a/b:1@sha256:0", |s| s.image.clone(), "a/b:1@sha256:0"),
            (
                "command: run --now 'a b'",
                |s| format!("{:?}", s.command),
                r#"Some(["run", "--now", "a b"])"#,
            ),
            (
                "command: [run, 5, true]",
                |s| format!("{:?}", s.command),
                r#"Some(["run", "5", "true"])"#,
            ),
            ("command: []", |s| format!("{:?}", s.command), "Some([])"),
            ("command: ''", |s| format!("{:?}", s.command), "Some([])"),
            ("command: null", |s| format!("{:?}", s.command), "None"),
            ("user: 1000:1000", |s| format!("{:?}", s.user), r#"Some("1000:1000")"#),
            ("user: 1000", |s| format!("{:?}", s.user), r#"Some("1000")"#),
            ("working_dir: /w", |s| format!("{:?}", s.working_dir), r#"Some("/w")"#),
            (
                "container_name: c",
                |s| format!("{:?}", s.container_name),
                r#"Some("c")"#,
            ),
            (
                "platform: linux/arm64",
                |s| format!("{:?}", s.platform),
                r#"Some("linux/arm64")"#,
            ),
            ("runtime: runsc", |s| format!("{:?}", s.runtime), r#"Some("runsc")"#),
            (
                "userns_mode: host",
                |s| format!("{:?}", s.userns_mode),
                r#"Some("host")"#,
            ),
            (
                "stop_signal: SIGINT",
                |s| format!("{:?}", s.stop_signal),
                r#"Some("SIGINT")"#,
            ),
            (
                "stop_grace_period: 1m30s",
                |s| format!("{:?}", s.stop_grace_period),
                "90s",
            ),
            (
                "tty: true",
                |s| format!("{} {:?}", s.tty, s.stop_grace_period),
                "true 10s",
            ),
            ("stdin_open: 'true'", |s| s.stdin_open.to_string(), "true"),
        ]);
    }

    #[test]
    fn maps_of_the_process_are_carried_out() {
        assert_keys(&[
            (
                "labels: [a=1, b]",
                |s| format!("{:?}", s.labels),
                r#"{"a": "1", "b": ""}"#,
            ),
            (
                "labels: {a: true, b: }",
                |s| format!("{:?}", s.labels),
                r#"{"a": "true", "b": ""}"#,
            ),
            (
                "environment: [A=1=2, NODE, GONE]",
                |s| format!("{:?}", s.environment),
                r#"{"A": "1=2", "NODE": "n1"}"#,
            ),
            (
                "environment: {A: 1, B: true, C: 0.5, D: , E: $NODE, F: '$$x'}",
                |s| format!("{:?}", s.environment),
                r#"{"A": "1", "B": "true", "C": "0.5", "E": "n1", "F": "$x"}"#,
            ),
            (
                "logging: {driver: journald, options: {tag: x, max-file: 3}}",
                |s| format!("{:?}", s.logging),
                r#"Some(Logging { driver: Some("journald"), options: {"max-file": "3", "tag": "x"} })"#,
            ),
            (
                "init: false\nprivileged: ${NONE:-false}\nrestart: \"no\"\nx-own: 1",
                |s| s.tty.to_string(),
                "false",
            ),
        ]);
    }

    #[test]
    fn healthchecks_are_carried_out() {
        let test: Look = |s| format!("{:?}", s.healthcheck.as_ref().unwrap().test);
        assert_keys(&[
            (
                "healthcheck: {test: curl -f x || exit 1}",
                test,
                r#"Some(["CMD-SHELL", "curl -f x || exit 1"])"#,
            ),
            ("healthcheck: {test: [CMD, a, b]}", test, r#"Some(["CMD", "a", "b"])"#),
            ("healthcheck: {test: [NONE]}", test, r#"Some(["NONE"])"#),
            ("healthcheck: {disable: true}", test, r#"Some(["NONE"])"#),
            (
                "healthcheck: {disable: true, test: [CMD, a]}",
                test,
                r#"Some(["NONE"])"#,
            ),
            (
                "healthcheck: {disable: false, test: [CMD, a]}",
                test,
                r#"Some(["CMD", "a"])"#,
            ),
            ("healthcheck: {interval: 5s}", test, "None"),
            (
                "healthcheck: {interval: 5s, timeout: 3s, retries: 0, start_period: 1m, start_interval: 1s}",
                |s| {
                    let check = s.healthcheck.as_ref().unwrap();
                    let times = [check.interval, check.timeout, check.start_period, check.start_interval];
                    format!("{times:?} {:?}", check.retries)
                },
                "[Some(5s), Some(3s), Some(60s), Some(1s)] Some(0)",
            ),
        ]);
        for keys in ["{test: [curl, x]}", "{test: []}", "{interval: 5}", "{tests: x}"] {
            assert_one(&faults("", &format!("healthcheck: {keys}")), &["healthcheck"], keys);
        }
    }

    #[test]
    fn keys_of_rights_and_networks_are_carried_out() {
        assert_keys(&[
            (
                "cap_add: [NET_ADMIN]\ncap_drop: [ALL]",
                |s| format!("{:?} {:?}", s.cap_add, s.cap_drop),
                r#"["NET_ADMIN"] ["ALL"]"#,
            ),
            (
                "security_opt: ['no-new-privileges:true']",
                |s| s.security_opt.join(" "),
                "no-new-privileges:true",
            ),
            ("group_add: [mail, 8]", |s| s.group_add.join(" "), "mail 8"),
            ("read_only: true", |s| s.read_only.to_string(), "true"),
            (
                "devices: [/dev/a:/dev/b:r, {source: /dev/c}]",
                |s| s.devices.join(" "),
                "/dev/a:/dev/b:r /dev/c:/dev/c:rwm",
            ),
            (
                "sysctls: [net.core.somaxconn=4096]",
                |s| format!("{:?}", s.sysctls),
                r#"{"net.core.somaxconn": "4096"}"#,
            ),
            (
                "sysctls: {net.core.somaxconn: 4096}",
                |s| format!("{:?}", s.sysctls),
                r#"{"net.core.somaxconn": "4096"}"#,
            ),
            (
                "hostname: h\ndomainname: d",
                |s| format!("{:?} {:?}", s.hostname, s.domainname),
                r#"Some("h") Some("d")"#,
            ),
            ("expose: [80, 53/udp, '1-2']", |s| s.expose.join(" "), "80 53/udp 1-2"),
            (
                "dns: 1.1.1.1\ndns_search: [a, b]\ndns_opt: [ndots:1]",
                |s| format!("{:?} {:?} {:?}", s.dns, s.dns_search, s.dns_opt),
                r#"["1.1.1.1"] ["a", "b"] ["ndots:1"]"#,
            ),
            (
                "extra_hosts: ['a:1.2.3.4', 'b=::1', 'c:[::2]']",
                |s| s.extra_hosts.join(" "),
                "a:1.2.3.4 b:::1 c:::2",
            ),
            (
                "extra_hosts: ['a=1.1.1.1,2.2.2.2', 'h:host-gateway']",
                |s| s.extra_hosts.join(" "),
                "a:1.1.1.1 a:2.2.2.2 h:host-gateway",
            ),
            (
                "extra_hosts: {a: 1.2.3.4, b: [1.1.1.1, '[::2]'], c: '[::1]'}",
                |s| s.extra_hosts.join(" "),
                "a:1.2.3.4 b:1.1.1.1 b:::2 c:::1",
            ),
            (
                "extra_hosts: {a: 1.2.3.4, b: [1.1.1.1, 2.2.2.2]}",
                |s| s.extra_hosts.join(" "),
                "a:1.2.3.4 b:1.1.1.1 b:2.2.2.2",
            ),
        ]);
    }

    #[test]
    fn limits_are_carried_out() {
        assert_keys(&[
            (
                "shm_size: 64m\nmem_limit: 1g\nmem_reservation: 512m\nmemswap_limit: -1",
                |s| format!("{:?}", [s.shm_size, s.mem_limit, s.mem_reservation, s.memswap_limit]),
                "[Some(67108864), Some(1073741824), Some(536870912), Some(-1)]",
            ),
            (
                "cpus: 1.5\ncpu_shares: 512\npids_limit: 100\noom_score_adj: -5",
                |s| format!("{:?}", [s.nano_cpus, s.cpu_shares, s.pids_limit, s.oom_score_adj]),
                "[Some(1500000000), Some(512), Some(100), Some(-5)]",
            ),
            ("cpuset: 0-1", |s| format!("{:?}", s.cpuset), r#"Some("0-1")"#),
            (
                "ulimits: {nproc: 65535, nofile: {soft: 1, hard: 2}}",
                |s| format!("{:?}", s.ulimits),
                r#"{"nofile": (1, 2), "nproc": (65535, 65535)}"#,
            ),
            (
                "deploy: {replicas: 0, resources: {limits: {cpus: '0.5', memory: 1k, pids: 5}, reservations: {memory: 10}}}",
                |s| format!("{:?}", [s.nano_cpus, s.mem_limit, s.pids_limit, s.mem_reservation]),
                "[Some(500000000), Some(1024), Some(5), Some(10)]",
            ),
            (
                "deploy: {resources: {limits: {memory: 1k}}}\nmem_limit: 1024",
                |s| format!("{:?}", s.mem_limit),
                "Some(1024)",
            ),
        ]);
        for (keys, word) in [
            (
                "deploy: {resources: {limits: {memory: 1k}}}\nmem_limit: 2k",
                "contradicts mem_limit",
            ),
            ("deploy: {replicas: 2}", "runs once"),
            ("deploy: {restart_policy: {condition: any}}", "start"),
            (
                "deploy: {resources: {reservations: {devices: [{count: many}]}}}",
                "all or a number",
            ),
            ("deploy: {resources: {limits: {gpu: 1}}}", "not a key"),
            ("ulimits: {nofile: {soft: 1}}", "both soft and hard"),
            ("ulimits: {nofile: many}", "whole number"),
            ("cpus: two", "processors"),
            ("mem_limit: 1x", "64m"),
        ] {
            assert_one(&faults("", keys), &[word], keys);
        }
    }

    #[test]
    fn what_is_not_carried_out_is_refused_with_a_remedy() {
        for (key, remedy) in [
            ("log_opt", "use `logging`"),
            ("net", "use `network_mode`"),
            ("pre_start", "entrypoint"),
        ] {
            assert_one(
                &faults("", &format!("{key}: [x]")),
                &[&format!("services.s.{key}: "), remedy],
                key,
            );
        }
        for (keys, words) in [
            ("restart: always", ["services.s.restart", "no"]),
            ("restart: unless-stopped", ["services.s.restart", "lease"]),
            ("init: true", ["services.s.init", "PID 1"]),
            ("privileged: true", ["services.s.privileged", "cap_add"]),
            ("pid: host", ["services.s.pid", "remove it"]),
            ("helthcheck: {}", ["services.s.helthcheck", "did you mean healthcheck?"]),
            ("volume: []", ["services.s.volume", "did you mean volumes?"]),
            ("zzz: 1", ["services.s.zzz", "remove it"]),
            ("read_only: perhaps", ["services.s.read_only", "true or false"]),
            ("stop_grace_period: 10", ["services.s.stop_grace_period", "1m30s"]),
            ("command: a && b", ["services.s.command", "/bin/sh"]),
            (
                "labels: [com.docker.compose.project=x]",
                ["services.s.labels", "reserved"],
            ),
            ("image: [x]", ["services.s.image", "string"]),
            ("cap_add: {a: b}", ["services.s.cap_add", "list"]),
            ("labels: 5", ["services.s.labels", "mapping"]),
        ] {
            let faults = faults("", keys);
            let faults: Vec<_> = faults
                .into_iter()
                .filter(|fault| !fault.contains("names no image"))
                .collect();
            assert_one(&faults, &words, keys);
        }
    }

    #[test]
    fn what_is_harmless_is_said_once() {
        for keys in [
            "develop: {watch: []}",
            "pull_policy: always",
            "attach: false",
            "deploy: {mode: global}",
            "build: .",
            "build: {context: .}",
        ] {
            let (_, warnings) = service(keys);
            assert_eq!(warnings.len(), 1, "{keys}: {warnings:?}");
            assert!(warnings[0].starts_with("compose.yaml:"), "{warnings:?}");
        }
    }
}
