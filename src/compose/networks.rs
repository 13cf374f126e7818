//! How a service is connected: `network_mode`, `networks`, and the project's networks and volumes themselves.

use std::collections::BTreeMap;

use super::context::Context;
use super::cursor::At;
use super::fault::Faults;
use super::model::{Attachment, Network, NetworkMode, Volume};
use super::nfs;
use super::yaml::Value;

/// `network_mode`.
pub(super) fn mode(at: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Option<NetworkMode> {
    let text = at.text(faults)?;
    match text.split_once(':').unwrap_or((&text, "")) {
        ("host", "") => Some(NetworkMode::Host),
        ("none", "") => Some(NetworkMode::None),
        ("bridge", "") => Some(NetworkMode::Bridge),
        ("container", name) if !name.is_empty() => Some(NetworkMode::Container(name.to_owned())),
        ("service", name) => {
            if context.top("services", name).is_none() {
                at.fault(faults, format!("there is no service {name:?} in this project"), "");
            }
            Some(NetworkMode::Service(name.to_owned()))
        }
        _ => {
            let remedy = "use host, none, bridge, service:NAME or container:NAME, or `networks:`";
            at.fault(
                faults,
                format!("{text:?} is no network mode that Leasehold knows"),
                remedy,
            );
            None
        }
    }
}

/// `networks` of a service; none means the default network.
pub(super) fn attachments(
    service: &At<'_>,
    context: &Context<'_>,
    faults: &mut Faults,
) -> BTreeMap<String, Attachment> {
    let mut attachments = BTreeMap::new();
    let at = service.get("networks");
    if let Some(mode) = service.get("network_mode") {
        if at.is_some() {
            mode.fault(faults, "cannot stand beside networks", "remove one of the two");
        }
        return attachments;
    }
    let fields: Vec<(String, At<'_>)> = match &at {
        None => Vec::new(),
        Some(at) if matches!(at.node.value, Value::List(_)) => {
            let items = at.list(faults);
            items
                .into_iter()
                .filter_map(|item| Some((item.text(faults)?, item)))
                .collect()
        }
        Some(at) => at
            .map(faults)
            .into_iter()
            .map(|field| (field.name.to_owned(), field))
            .collect(),
    };
    for (key, field) in fields {
        if key != "default" && context.top("networks", &key).is_none() {
            field.fault(
                faults,
                format!("the network {key:?} is not defined"),
                "add it to the top-level networks",
            );
            continue;
        }
        attachments.insert(key, attachment(&field, faults));
    }
    if attachments.is_empty() {
        attachments.insert("default".to_owned(), Attachment::default());
    }
    attachments
}

fn attachment(at: &At<'_>, faults: &mut Faults) -> Attachment {
    let mut attachment = Attachment::default();
    if at.node.scalar().is_some() {
        return attachment;
    }
    let known = [
        "aliases",
        "ipv4_address",
        "ipv6_address",
        "mac_address",
        "link_local_ips",
        "driver_opts",
    ];
    for field in at.map_of(faults, &known) {
        match field.name {
            "aliases" => attachment.aliases = field.strings(faults),
            "ipv4_address" => {
                attachment.ipv4_address = address(&field, faults, |text| text.parse::<std::net::Ipv4Addr>().is_ok())
            }
            "ipv6_address" => {
                attachment.ipv6_address = address(&field, faults, |text| text.parse::<std::net::Ipv6Addr>().is_ok())
            }
            "mac_address" => attachment.mac_address = field.text(faults),
            "link_local_ips" => attachment.link_local_ips = field.strings(faults),
            _ => attachment.driver_opts = options(&field, faults),
        }
    }
    attachment
}

fn address(at: &At<'_>, faults: &mut Faults, valid: impl Fn(&str) -> bool) -> Option<String> {
    at.parsed(faults, "an address", |text| valid(text).then(|| text.to_owned()))
}

/// The networks that are used, as the project defines them.
pub(super) fn networks<'k>(
    keys: impl Iterator<Item = &'k String>,
    context: &Context<'_>,
    faults: &mut Faults,
) -> BTreeMap<String, Network> {
    let mut networks = BTreeMap::new();
    for key in keys {
        let network = network(key, context, faults);
        networks.entry(key.clone()).or_insert(network);
    }
    networks
}

fn network(key: &str, context: &Context<'_>, faults: &mut Faults) -> Network {
    let mut network = Network {
        name: format!("{}_{key}", context.project),
        ..Network::default()
    };
    let Some(at) = context.top("networks", key) else {
        return network;
    };
    let known = [
        "name",
        "external",
        "driver",
        "driver_opts",
        "internal",
        "enable_ipv6",
        "ipam",
        "labels",
        "attachable",
        "enable_ipv4",
    ];
    for field in at.map_of(faults, &known) {
        match field.name {
            "name" => network.name = field.text(faults).unwrap_or_default(),
            "driver" => network.driver = field.text(faults),
            "driver_opts" => network.driver_opts = options(&field, faults),
            "internal" => network.internal = field.bool(faults).unwrap_or_default(),
            "enable_ipv6" => network.enable_ipv6 = field.bool(faults).unwrap_or_default(),
            "ipam" => ipam(&field, &mut network, faults),
            "labels" => network.labels = options(&field, faults),
            "attachable" => field.warn(faults, "is not carried out: it means nothing outside a swarm", ""),
            "enable_ipv4" => must_be_on(&field, faults),
            _ => {}
        }
    }
    network.external = external(&at, &mut network.name, key, faults);
    network
}

fn must_be_on(at: &At<'_>, faults: &mut Faults) {
    if at.bool(faults) == Some(false) {
        at.fault(faults, "is not carried out", "remove it, or make the network external");
    }
}

/// `external: true`, or the old form with a name in it.
fn external(at: &At<'_>, name: &mut String, key: &str, faults: &mut Faults) -> bool {
    let Some(field) = at.get("external") else {
        return false;
    };
    let old_name = field.get("name").and_then(|name| name.text(faults));
    let external = old_name.is_some() || field.bool(faults) == Some(true);
    if external && at.get("name").is_none() {
        *name = old_name.unwrap_or_else(|| key.to_owned());
    }
    external
}

fn ipam(at: &At<'_>, network: &mut Network, faults: &mut Faults) {
    for field in at.map_of(faults, &["driver", "config"]) {
        if field.name == "driver" {
            field.parsed(faults, "default", |text| (text == "default").then_some(()));
            continue;
        }
        for item in field.list(faults) {
            let (mut subnet, mut gateway, mut range, mut others) = (None, None, None, BTreeMap::new());
            for part in item.map_of(faults, &["subnet", "gateway", "ip_range", "aux_addresses"]) {
                match part.name {
                    "subnet" => subnet = part.text(faults),
                    "gateway" => gateway = part.text(faults),
                    "ip_range" => range = part.text(faults),
                    _ => others = options(&part, faults),
                }
            }
            let Some(subnet) = subnet else { continue };
            network.ip_ranges.extend(range.map(|range| (subnet.clone(), range)));
            if !others.is_empty() {
                network.aux_addresses.insert(subnet.clone(), others);
            }
            network.subnets.push((subnet, gateway));
        }
    }
}

/// A mapping or `key=value` list of strings; a key alone has an empty value.
pub(super) fn options(at: &At<'_>, faults: &mut Faults) -> BTreeMap<String, String> {
    let pairs = at.pairs(faults).into_iter();
    pairs.map(|pair| (pair.key, pair.value.unwrap_or_default())).collect()
}

/// The volumes that are used, as the project defines them.
pub(super) fn volumes<'k>(
    keys: impl Iterator<Item = &'k String>,
    context: &Context<'_>,
    faults: &mut Faults,
) -> BTreeMap<String, Volume> {
    let mut volumes = BTreeMap::new();
    for key in keys {
        if let Some(at) = context.top("volumes", key) {
            volumes.insert(key.clone(), volume(key, &at, context, faults));
        }
    }
    volumes
}

fn volume(key: &str, at: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Volume {
    let mut volume = Volume {
        name: format!("{}_{key}", context.project),
        ..Volume::default()
    };
    for field in at.map_of(faults, &["name", "external", "driver", "driver_opts", "labels"]) {
        match field.name {
            "name" => volume.name = field.text(faults).unwrap_or_default(),
            "driver" => volume.driver = field.text(faults),
            "driver_opts" => volume.driver_opts = options(&field, faults),
            "labels" => volume.labels = options(&field, faults),
            _ => {}
        }
    }
    volume.external = external(at, &mut volume.name, key, faults);
    relative_device(at, &mut volume, context, faults);
    of_nfs(at, &volume, faults);
    volume
}

/// Options that are carried out, and do harm.
fn of_nfs(at: &At<'_>, volume: &Volume, faults: &mut Faults) {
    let option = |key: &str| volume.driver_opts.get(key).map_or("", String::as_str);
    let Some(field) = at.get("driver_opts").and_then(|options| options.get("o")) else {
        return;
    };
    if nfs::is_nfs(option("type")) {
        for harm in nfs::harms(option("o")) {
            field.warn(faults, format!("`{}` {}", harm.option, harm.message), harm.remedy);
        }
    }
}

/// Compose makes the path of a bind absolute, where the driver is named; the engine would look elsewhere for it.
fn relative_device(at: &At<'_>, volume: &mut Volume, context: &Context<'_>, faults: &mut Faults) {
    let option = |key: &str| volume.driver_opts.get(key).map(String::as_str);
    let options = option("o").unwrap_or_default();
    let is_bind = options.split(',').any(|word| word == "bind" || word == "rbind");
    let Some(device) = option("device").filter(|device| is_bind && !device.starts_with('/')) else {
        return;
    };
    if volume.driver.as_deref() != Some("local") || options != "bind" {
        let message = format!("{device:?} is no path from the root, and the engine would look for it elsewhere");
        at.fault(
            faults,
            message,
            "write the whole path, or `driver: local` with `o: bind`",
        );
        return;
    }
    let whole = context.paths.host(std::path::Path::new(device));
    volume
        .driver_opts
        .insert("device".to_owned(), whole.display().to_string());
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_one, faults, file, read_files, said, service};
    use super::*;

    #[test]
    fn network_modes() {
        for (text, mode) in [
            ("host", NetworkMode::Host),
            ("none", NetworkMode::None),
            ("bridge", NetworkMode::Bridge),
            ("service:other", NetworkMode::Service("other".into())),
            ("container:c1", NetworkMode::Container("c1".into())),
        ] {
            let (read, _) = service(&format!("network_mode: {text}"));
            assert_eq!((read.network_mode, read.networks.len()), (Some(mode), 0), "{text}");
        }
        for (keys, words) in [
            ("network_mode: service:nobody", ["no service", "nobody"]),
            ("network_mode: overlay", ["no network mode", "networks"]),
            ("network_mode: host\nnetworks: [net]", ["beside networks", "remove one"]),
            ("networks: [nowhere]", ["not defined", "top-level networks"]),
            (
                "networks: {net: {ipv4_address: x}}",
                ["address", "networks.net.ipv4_address"],
            ),
            (
                "networks: {net: {interface_name: x}}",
                ["networks.net.interface_name", "engine names the interfaces"],
            ),
        ] {
            assert_one(&faults("", keys), &words, keys);
        }
    }

    #[test]
    fn networks_of_a_service() {
        let names = |keys: &str| service(keys).0.networks.into_keys().collect::<Vec<_>>().join(" ");
        assert_eq!(names(""), "default");
        assert_eq!(names("networks: [net, default]"), "default net");
        assert_eq!(names("networks: {net: , far: }"), "far net");
        let keys = "networks: {net: {aliases: [a, b], ipv4_address: 172.22.1.254, ipv6_address: 'fd00::1', mac_address: x,\n\
                    \x20   driver_opts: {a: b}, link_local_ips: [169.254.8.8]}}";
        let attachment = &service(keys).0.networks["net"];
        assert_eq!(attachment.aliases, ["a", "b"]);
        assert_eq!(attachment.ipv4_address.as_deref(), Some("172.22.1.254"));
        assert_eq!(
            (attachment.ipv6_address.as_deref(), attachment.mac_address.as_deref()),
            (Some("fd00::1"), Some("x"))
        );
        assert_eq!(attachment.driver_opts["a"], "b");
        assert_eq!(attachment.link_local_ips, ["169.254.8.8"]);
    }

    #[test]
    fn the_projects_networks_and_volumes_as_defined() {
        let rest = "networks:\n  a: {driver: bridge, internal: true, enable_ipv6: true, labels: [x=y], driver_opts: {o: 1},\n\
                    \x20     ipam: {driver: default, config: [{subnet: 10.1.0.0/16, gateway: 10.1.0.1, ip_range: 10.1.5.0/24,\n\
                    \x20     aux_addresses: {router: 10.1.0.9}}, {subnet: 'fd00::/64'}]}}\n\
                    \x20 b: {external: true, name: shared}\n  c: {external: {name: old}}\n  unused: {nonsense: 1}\n\
                    volumes:\n  v: {driver: local, driver_opts: {type: nfs, o: 'addr=10.0.0.9,rw', device: ':/x'}, labels: {l: 1}}\n\
                    \x20 w: {external: true}\n  unused: {nonsense: 1}\n";
        let keys = "networks: [a, b, c, default]\nvolumes: ['v:/v', 'w:/w']";
        let project = read_files(&[("compose.yaml", &file("", keys, rest))]).unwrap();
        let a = &project.networks["a"];
        assert_eq!(
            (a.name.as_str(), a.internal, a.enable_ipv6, a.external),
            ("mail_a", true, true, false)
        );
        assert_eq!(
            a.subnets,
            [
                ("10.1.0.0/16".into(), Some("10.1.0.1".into())),
                ("fd00::/64".into(), None)
            ]
        );
        assert_eq!(a.ip_ranges["10.1.0.0/16"], "10.1.5.0/24");
        assert_eq!(a.aux_addresses["10.1.0.0/16"]["router"], "10.1.0.9");
        assert_eq!((a.labels["x"].as_str(), a.driver_opts["o"].as_str()), ("y", "1"));
        let names: Vec<_> = project
            .networks
            .values()
            .map(|network| (network.name.as_str(), network.external))
            .collect();
        assert_eq!(
            names,
            [
                ("mail_a", false),
                ("shared", true),
                ("old", true),
                ("mail_default", false)
            ]
        );
        let v = &project.volumes["v"];
        assert_eq!(
            (v.name.as_str(), v.driver.as_deref(), v.external),
            ("mail_v", Some("local"), false)
        );
        assert_eq!(v.driver_opts["o"], "addr=10.0.0.9,rw");
        assert_eq!(
            (project.volumes["w"].name.as_str(), project.volumes["w"].external),
            ("w", true)
        );
        assert_eq!(project.volumes.len(), 2);
    }

    #[test]
    fn what_a_network_or_volume_asks_for_in_vain_is_refused() {
        for (rest, word) in [
            ("networks: {n: {ipam: {options: {a: b}}}}", "make the network external"),
            ("networks: {n: {ipam: {config: [{range: x}]}}}", "not a key"),
            ("networks: {n: {enable_ipv4: false}}", "enable_ipv4"),
            ("networks: {n: {drivr: x}}", "did you mean driver?"),
            ("networks: {n: {ipam: {driver: other}}}", "default"),
        ] {
            assert_one(&said(&file("", "networks: [n]", rest)), &[word], rest);
        }
        for options in ["{o: bind, device: ./d}", "{type: none, o: 'bind,ro', device: d}"] {
            let rest = format!("volumes: {{v: {{driver_opts: {options}}}}}");
            assert_one(
                &said(&file("", "volumes: ['v:/v']", &rest)),
                &["volumes.v", "whole path"],
                options,
            );
        }
        let local = "volumes: {v: {driver: local, driver_opts: {type: none, o: bind, device: ./d}}}";
        let project = read_files(&[("compose.yaml", &file("", "volumes: ['v:/v']", local))]).unwrap();
        assert_eq!(project.volumes["v"].driver_opts["device"], "/srv/mail/d");
        assert_one(
            &said(&file("", "volumes: ['v:/v']", "volumes: {v: {opts: x}}")),
            &["opts"],
            "volume",
        );
    }
}
