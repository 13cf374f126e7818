//! Whether a client of a virtual IP reaches anything: what a group publishes, and at which addresses.

use std::net::IpAddr;

use super::fault::Faults;
use super::groups::Member;
use super::model::{NetworkMode, Port, Vip};

/// Warns of a group whose virtual IPs lead nowhere, and of ports that can't be bound when its containers start.
pub(super) fn look(members: &[Member<'_>], vips: &[Vip], vip_first: bool, faults: &mut Faults) {
    if vips.is_empty() {
        return;
    }
    let is_vip = |ip: &IpAddr| vips.iter().any(|vip| vip.address == *ip);
    for member in members {
        let early = member
            .service
            .ports
            .iter()
            .find(|port| address(port).as_ref().is_some_and(is_vip));
        let (Some(port), false, Some(field)) = (early, vip_first, member.at.get("ports")) else {
            continue;
        };
        let ip = port.host_ip.as_deref().unwrap_or_default();
        let message = format!("publishes at {ip}, which this host gets only after the containers have started");
        field.warn(
            faults,
            message,
            "add `vip_first: true` to x-leasehold, or publish without an address",
        );
    }
    let at_any = |port: &Port| address(port).is_none_or(|ip| ip.is_unspecified() || is_vip(&ip));
    let is_reached = |member: &Member<'_>| match &member.service.network_mode {
        Some(NetworkMode::Host | NetworkMode::Service(_) | NetworkMode::Container(_)) => true,
        None | Some(NetworkMode::Bridge) => member.service.ports.iter().any(at_any),
        Some(NetworkMode::None) => false,
    };
    if members.iter().any(is_reached) {
        return;
    }
    let ports: Vec<&Port> = members.iter().flat_map(|member| &member.service.ports).collect();
    let stated = members.iter().find_map(|member| member.settings.vips.as_ref());
    let Some((_, at)) = stated else { return };
    match ports.first().and_then(|port| port.host_ip.as_deref()) {
        Some(ip) => {
            let message =
                format!("no client of them reaches anything: every port is published at an address such as {ip} alone");
            at.warn(
                faults,
                message,
                "publish what clients need without an address, as in \"8080:80\"",
            );
        }
        None => {
            let message = "no client of them reaches anything: no service of the group publishes a port";
            at.warn(faults, message, "add `ports`, or use `network_mode: host`");
        }
    }
}

fn address(port: &Port) -> Option<IpAddr> {
    port.host_ip.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{REST, file, read_files};

    fn warnings(own: &str, keys: &str) -> Vec<String> {
        let own = format!("vips: ['192.0.2.9/24', 'fd00::9/64']{own}");
        let project = read_files(&[("compose.yaml", &file(&own, keys, REST))]).unwrap();
        project.warnings
    }

    #[test]
    fn a_virtual_ip_that_leads_nowhere_is_told() {
        for (keys, words) in [
            (
                "ports: ['127.0.0.1:8000:80', '10.0.0.1:81:81']",
                "such as 127.0.0.1 alone",
            ),
            ("ports: ['[::1]:8000:80']", "such as ::1 alone"),
            ("", "publishes a port"),
            ("expose: [80]", "publishes a port"),
            ("network_mode: none", "publishes a port"),
        ] {
            let found = warnings("", keys);
            assert_eq!(found.len(), 1, "{keys}: {found:#?}");
            assert!(
                found[0].contains("x-leasehold.vips: no client") && found[0].contains(words),
                "{found:#?}"
            );
        }
        for keys in [
            "ports: ['8000:80', '127.0.0.1:81:81']",
            "ports: ['0.0.0.0:8000:80']",
            "ports: ['[::]:8000:80']",
            "ports: ['80']",
            "network_mode: host",
            "network_mode: service:other",
        ] {
            assert!(warnings("", keys).is_empty(), "{keys}: {:#?}", warnings("", keys));
        }
    }

    #[test]
    fn a_port_at_the_virtual_ip_needs_it_first() {
        let keys = "ports: ['192.0.2.9:80:80']";
        let found = warnings("", keys);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("services.s.ports: publishes at 192.0.2.9") && found[0].contains("vip_first: true"));
        assert!(warnings(", vip_first: true", keys).is_empty());
    }
}
