//! What `check` refuses although every key could be carried out, and what it warns of.

use super::command::fits;
use super::cursor::At;
use super::fault::Faults;
use super::model::{Check, MailCheck, MailProtocol, NetworkMode, Port, Probe, Service};
use super::service;
use super::yaml::Value;

const TETHER: &str = "/leasehold/tether";

/// The three lines that keep every other tool from starting the service without a lease.
pub(super) fn demanded_lines(at: &At<'_>, faults: &mut Faults) {
    let stated = at.get("profiles");
    let profiles: Vec<_> = stated
        .iter()
        .flat_map(|field| field.node.items())
        .filter_map(|item| item.scalar())
        .collect();
    if profiles != ["leasehold"] {
        let message = "must be [leasehold], so that a plain `docker compose up` leaves the service alone";
        demand(at, "profiles", message, "write `profiles: [leasehold]`", faults);
    }
    if at.get("scale").and_then(|field| field.node.scalar()).as_deref() != Some("0") {
        let message = "must be 0, so that `docker compose up NAME` creates nothing";
        demand(at, "scale", message, "write `scale: 0`", faults);
    }
    let entrypoint = at.get("entrypoint").and_then(|field| service::command(&field, faults));
    if entrypoint.as_deref() != Some(&[TETHER.to_owned()]) {
        let message = "must be the tether, so that whatever creates the container meets the gate";
        let remedy = "write `entrypoint: [\"/leasehold/tether\"]`; an entrypoint of your own goes under \
                      `x-leasehold: entrypoint:`";
        demand(at, "entrypoint", message, remedy, faults);
    }
}

/// A fault at the key, or at the service when the key is missing.
fn demand(at: &At<'_>, key: &str, message: &str, remedy: &str, faults: &mut Faults) {
    let mark = at.get(key).map_or(at.mark, |field| field.mark);
    faults.fault(mark, &format!("{}.{key}", at.path), message, remedy);
}

/// Whether a service has the lines of a protected one and lacks `x-leasehold`.
pub(super) fn half_protected(at: &At<'_>, faults: &mut Faults) {
    let texts = |node: &super::yaml::Node| {
        node.items()
            .iter()
            .filter_map(super::yaml::Node::scalar)
            .collect::<Vec<_>>()
    };
    let starts_tether = at.get("entrypoint").is_some_and(|field| {
        field.node.scalar().as_deref() == Some(TETHER) || texts(field.node).first().map(String::as_str) == Some(TETHER)
    });
    if starts_tether {
        let message = "starts the tether and has no x-leasehold: nobody would ever give it a lease";
        at.fault(
            faults,
            message,
            "add `x-leasehold: {group: NAME}`, or take the entrypoint out",
        );
    }
}

/// What an ordinary service may not do with protected ones.
pub(super) fn ordinary(at: &At<'_>, is_protected: impl Fn(&str) -> bool, faults: &mut Faults) {
    half_protected(at, faults);
    if let Some(field) = at.get("depends_on") {
        depends_on_protected(&field, &is_protected, faults);
    }
    for key in ["network_mode", "ipc", "pid"] {
        let Some(field) = at.get(key) else { continue };
        let text = field.node.scalar().unwrap_or_default();
        if text.strip_prefix("service:").is_some_and(&is_protected) {
            joins_protected(&field, faults);
        }
    }
    for key in ["links", "volumes_from"] {
        let Some(field) = at.get(key) else { continue };
        let names = field.node.items().iter().filter_map(super::yaml::Node::scalar);
        if names
            .into_iter()
            .any(|text| is_protected(text.split(':').next().unwrap_or_default()))
        {
            joins_protected(&field, faults);
        }
    }
}

fn depends_on_protected(field: &At<'_>, is_protected: &impl Fn(&str) -> bool, faults: &mut Faults) {
    let message =
        |name: &str| format!("{name} is protected and its profile is off: Compose would call the project invalid");
    let remedy = |name: &str| format!("write `{name}: {{condition: service_started, required: false}}`");
    for item in field.node.items() {
        let name = item.scalar().unwrap_or_default();
        if is_protected(&name) {
            faults.fault(item.mark, &field.path, message(&name), remedy(&name));
        }
    }
    if !matches!(field.node.value, Value::Map(_)) {
        return;
    }
    for dependency in field
        .map(faults)
        .iter()
        .filter(|dependency| is_protected(dependency.name))
    {
        let required = dependency.get("required").and_then(|required| required.node.scalar());
        if required.as_deref() != Some("false") {
            dependency.fault(faults, message(dependency.name), remedy(dependency.name));
        }
    }
}

fn joins_protected(field: &At<'_>, faults: &mut Faults) {
    let message = "refers to a protected service, whose profile is off: Compose would call the project invalid";
    field.fault(faults, message, "remove it, or protect this service in the same group");
}

/// Ordinary services run on every node: what they write to protected storage is written beside the holder.
pub(super) fn writes_beside(at: &At<'_>, is_protected_source: impl Fn(&str) -> bool, faults: &mut Faults) {
    let Some(field) = at.get("volumes") else { return };
    for item in field.node.items() {
        let (source, read_only) = match item.scalar() {
            Some(text) => {
                let options = text.splitn(3, ':').nth(2).unwrap_or_default().to_owned();
                let source = text.split(':').next().unwrap_or_default().to_owned();
                (source, options.split(',').any(|option| option == "ro"))
            }
            None => {
                let part = |key: &str| item.get(key).and_then(|entry| entry.node.scalar()).unwrap_or_default();
                (part("source"), part("read_only") == "true")
            }
        };
        if !read_only && is_protected_source(&source) {
            let message = format!("writes to {source}, which is protected, from whatever node this service runs on");
            faults.warn(
                item.mark,
                &field.path,
                message,
                "mount it read-only, or protect this service in the same group",
            );
        }
    }
}

/// What a protected service may not ask for, given all of its keys.
pub(super) fn service(at: &At<'_>, service: &Service, faults: &mut Faults) {
    image(at, service, faults);
    match &service.network_mode {
        Some(NetworkMode::Host) => host_network(at, faults),
        Some(NetworkMode::Service(_) | NetworkMode::Container(_)) => shared_network(at, faults),
        Some(NetworkMode::None | NetworkMode::Bridge) | None => {}
    }
    own_init(at, service, faults);
}

/// As far as the file alone tells it; the image's part is told where the image is.
fn own_init(at: &At<'_>, service: &Service, faults: &mut Faults) {
    let starts = [&service.entrypoint, &service.command].into_iter().flatten();
    let unfit = starts
        .map(Vec::as_slice)
        .chain([&[][..]])
        .find_map(|words| fits(words, service, None).err());
    if let Some(unfit) = unfit {
        at.fault(faults, unfit.to_string(), "");
    }
}

fn image(at: &At<'_>, service: &Service, faults: &mut Faults) {
    let image = service.image.as_str();
    if image.is_empty() {
        let message = "names no image";
        at.fault(faults, message, "write `image: name:tag`, the same on every node");
        return;
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    let floating = !image.contains('@') && last.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    if let Some(field) = at.get("image").filter(|_| floating) {
        let message = format!("{image} may be another image on every node");
        field.warn(faults, message, "name a version, or better a digest");
    }
}

fn host_network(at: &At<'_>, faults: &mut Faults) {
    if let Some(field) = at.get("ports").filter(|field| !field.node.items().is_empty()) {
        let message = "means nothing in the host's network: every port is open already";
        field.fault(faults, message, "remove it, or remove `network_mode: host`");
    }
    let Some(field) = at.get("sysctls") else { return };
    if field.pairs(faults).iter().any(|pair| pair.key.starts_with("net.")) {
        let message = "net.* cannot be set in the host's network: the engine would refuse the container";
        field.fault(faults, message, "set it on the hosts, in /etc/sysctl.d");
    }
}

/// The engine refuses these in a network that belongs to another container.
fn shared_network(at: &At<'_>, faults: &mut Faults) {
    for key in ["ports", "expose", "hostname", "dns", "extra_hosts"] {
        if let Some(field) = at.get(key).filter(|field| !field.node.is_null()) {
            let message = "belongs to the container whose network this is: the engine would refuse this one";
            field.fault(faults, message, "set it on that service");
        }
    }
}

/// Behind a bridge a client keeps its address only where the engine forwards the port by itself: else every client seems to be
/// the gateway, which mail servers trust.
pub(super) fn open_relay(members: &[(At<'_>, &Service, bool)], probes: &[Probe], faults: &mut Faults) {
    let smtp = |probe: &Probe| match &probe.check {
        Check::Mail(MailCheck {
            protocol: MailProtocol::Smtp,
            port,
            ..
        }) => Some(*port),
        Check::Canary(canary) => Some(canary.smtp_port),
        Check::Mail(_)
        | Check::Tcp { .. }
        | Check::Http(_)
        | Check::Exec { .. }
        | Check::Docker { .. }
        | Check::Storage { .. }
        | Check::Gateway { .. } => None,
    };
    let relays: Vec<u16> = probes.iter().filter_map(smtp).collect();
    if relays.is_empty() {
        return;
    }
    for (at, service, states_probe) in members {
        let on_bridge = match service.network_mode {
            None | Some(NetworkMode::Bridge) => true,
            Some(NetworkMode::Host | NetworkMode::None | NetworkMode::Service(_) | NetworkMode::Container(_)) => false,
        };
        let publishes = service
            .ports
            .iter()
            .any(|port| relays.iter().any(|relay| concerns(port, *relay)));
        if on_bridge && (publishes || *states_probe || members.len() == 1) {
            let message = "serves smtp from a bridge network: clients keep their addresses where the engine forwards the port \
                           itself; through its userland proxy (IPv6 without `enable_ipv6`), rootless or with `iptables: false` \
                           all share one, which a relay trusts";
            at.warn(
                faults,
                message,
                "look which address its log gives a client from outside; if it is the gateway's, use `network_mode: host`",
            );
        }
    }
}

fn concerns(port: &Port, relay: u16) -> bool {
    let published = port.published.as_deref().unwrap_or_default();
    port.target == relay || published.split('-').any(|text| text.parse() == Ok(relay))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLUSTER, REST, assert_one, faults, file, read_files, said, service};

    #[test]
    fn the_three_lines_are_demanded() {
        let whole = file("", "", REST);
        for (line, instead, words) in [
            (
                "    profiles: [leasehold]\n",
                "",
                ["services.s.profiles", "write `profiles: [leasehold]`"],
            ),
            (
                "    profiles: [leasehold]\n",
                "    profiles: [leasehold, mail]\n",
                ["services.s.profiles", "leaves the service alone"],
            ),
            ("    scale: 0\n", "", ["services.s.scale", "write `scale: 0`"]),
            (
                "    scale: 0\n",
                "    scale: 1\n",
                ["services.s.scale", "creates nothing"],
            ),
            (
                "    entrypoint: [\"/leasehold/tether\"]\n",
                "",
                ["services.s.entrypoint", "the gate"],
            ),
            (
                "    entrypoint: [\"/leasehold/tether\"]\n",
                "    entrypoint: [\"/leasehold/tether\", \"-x\"]\n",
                ["services.s.entrypoint", "x-leasehold: entrypoint:"],
            ),
        ] {
            assert!(whole.contains(line));
            assert_one(&said(&whole.replace(line, instead)), &words, instead);
        }
    }

    #[test]
    fn ordinary_services_may_not_need_protected_ones() {
        for (keys, words) in [
            ("depends_on: [s]", ["services.web.depends_on", "required: false"]),
            (
                "depends_on: {s: {condition: service_started}}",
                ["services.web.depends_on.s", "required: false"],
            ),
            (
                "depends_on: {s: {condition: service_started, required: true}}",
                ["services.web.depends_on.s", "required: false"],
            ),
            (
                "network_mode: 'service:s'",
                ["services.web.network_mode", "profile is off"],
            ),
            ("pid: 'service:s'", ["services.web.pid", "profile is off"]),
            ("links: ['s:mail']", ["services.web.links", "profile is off"]),
            (
                "volumes_from: ['s:ro']",
                ["services.web.volumes_from", "profile is off"],
            ),
            ("entrypoint: [/leasehold/tether]", ["services.web", "no x-leasehold"]),
        ] {
            let text = file("", "", &format!("  web: {{image: w, {keys}}}\n{REST}"));
            assert_one(&said(&text), &words, keys);
        }
        for keys in [
            "depends_on: [other]",
            "depends_on: {s: {condition: service_started, required: false}}",
            "network_mode: 'service:other', privileged: true, pid: host, restart: always, nonsense: 1",
            "environment: ['A=${NONE:?required}']",
        ] {
            assert_eq!(
                said(&file("", "", &format!("  web: {{image: w, {keys}}}\n{REST}"))),
                [""; 0],
                "{keys}"
            );
        }
    }

    #[test]
    fn init_systems_are_refused_without_their_key() {
        for (own, keys, words) in [
            ("entrypoint: [/init]", "", ["starts /init,", "own_init: true"]),
            ("", "command: /init -x", ["starts /init -x", "own_init: true"]),
            ("entrypoint: /sbin/init", "", ["starts /sbin/init", "systemd"]),
            (
                "entrypoint: /lib/systemd/systemd, own_init: true",
                "",
                ["a whole system", "cgroups"],
            ),
            ("own_init: true", "user: '1000'", ["runs as user 1000", "only root"]),
            ("own_init: maybe", "", ["own_init", "true or false"]),
        ] {
            assert_one(&faults(own, keys), &words, own);
        }
        for (own, keys) in [
            ("entrypoint: [/init], own_init: true", "user: root"),
            ("own_init: false", "user: app"),
            ("own_init: true", "cap_drop: [ALL]"),
        ] {
            assert_eq!(faults(own, keys), [""; 0], "{own}");
        }
    }

    #[test]
    fn the_hosts_network_has_no_ports_and_no_sysctls() {
        assert_one(
            &faults("", "network_mode: host\nports: ['80:80']"),
            &["services.s.ports", "open already"],
            "ports",
        );
        for sysctls in ["[net.core.somaxconn=1]", "{net.ipv4.ip_forward: 1}"] {
            let keys = format!("network_mode: host\nsysctls: {sysctls}");
            assert_one(&faults("", &keys), &["services.s.sysctls", "/etc/sysctl.d"], sysctls);
        }
        assert_eq!(
            faults("", "network_mode: host\nsysctls: {kernel.msgmax: 1}\nports: []"),
            [""; 0]
        );
        assert_eq!(faults("", "sysctls: {net.core.somaxconn: 1}"), [""; 0]);
    }

    #[test]
    fn a_network_of_another_container_is_set_up_there() {
        for keys in [
            "ports: ['80:80']",
            "expose: [80]",
            "hostname: h",
            "dns: 1.1.1.1",
            "extra_hosts: ['a:1.1.1.1']",
        ] {
            let found = faults("", &format!("network_mode: service:other\n{keys}"));
            assert_one(&found, &["engine would refuse", "on that service"], keys);
        }
    }

    #[test]
    fn smtp_behind_a_bridge_is_warned_of() {
        let warned = |own: &str, keys: &str| {
            let project = read_files(&[("compose.yaml", &file(own, keys, REST))]).unwrap();
            let warnings = project.warnings.iter();
            warnings
                .filter(|warning| warning.contains("which a relay trusts"))
                .count()
        };
        for keys in [
            "",
            "ports: ['25:25']",
            "ports: ['192.0.2.1:25:2525']",
            "networks: [net]",
            "network_mode: bridge",
        ] {
            assert_eq!(warned("probes: [{smtp: 25}]", keys), 1, "{keys}");
        }
        for keys in ["network_mode: host", "network_mode: service:other"] {
            assert_eq!(warned("probes: [{smtp: 25}]", keys), 0, "{keys}");
        }
        assert_eq!(warned("probes: [{imap: 143}]", "ports: ['143:143']"), 0);
    }

    #[test]
    fn images_must_be_named_and_should_be_fixed() {
        for (image, warnings) in [
            ("a", 1),
            ("a:latest", 1),
            ("reg:5000/a", 1),
            ("a:1", 0),
            ("reg:5000/a:1", 0),
            ("a@sha256:00", 0),
        ] {
            let (_, said) = service(&format!("image: {image}"));
            assert_eq!(said.len(), warnings, "{image}: {said:?}");
        }
        let none = file("", "", REST).replace("    image: i:1\n", "");
        assert_one(
            &said(&none),
            &["services.s: names no image", "image: name:tag"],
            "no image",
        );
    }

    #[test]
    fn ordinary_services_that_write_to_protected_storage_are_warned_of() {
        let warnings = |volume: &str| {
            let keys = "volumes: ['data:/x', './b:/y', 'own:/z:ro']";
            let text = file("", keys, &format!("  web: {{image: w, volumes: [{volume}]}}\n{REST}"));
            let project = read_files(&[("compose.yaml", &text)]).unwrap();
            project
                .warnings
                .iter()
                .filter(|warning| warning.contains("which is protected"))
                .count()
        };
        for volume in [
            "'data:/d'",
            "'data:/d:z'",
            "./b:/d",
            "{type: volume, source: data, target: /d}",
            "/srv/mail/b:/d",
        ] {
            assert_eq!(warnings(volume), 1, "{volume}");
        }
        for volume in [
            "'data:/d:ro'",
            "'own:/d'",
            "./c:/d",
            "{type: volume, source: data, target: /d, read_only: true}",
        ] {
            assert_eq!(warnings(volume), 0, "{volume}");
        }
    }

    #[test]
    fn something_must_be_protected() {
        let text = format!("{CLUSTER}services:\n  web: {{image: w}}\n");
        assert_one(
            &said(&text),
            &["services: no service is protected", "x-leasehold"],
            "nothing",
        );
    }
}
