//! What a client must find, guessed from what a service publishes and how its image is looked after.

use std::collections::BTreeSet;

use super::super::model::{Port, Service};

/// What the engine knows of the image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The TCP ports that the image says it listens on.
    pub exposed: Vec<u16>,
    /// Whether the image has a health check.
    pub healthcheck: bool,
    /// What it starts.
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
}

/// The probes as they are written into the file; `host`: in the host's network, where nothing is published.
pub(super) fn probes(service: &Service, host: bool, hints: &Hints) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut probes = Vec::new();
    let check = service.healthcheck.as_ref().and_then(|check| check.test.as_ref());
    let path = check.and_then(|words| url(&words.join(" ")));
    for (visible, target) in ports(&service.ports, host, hints) {
        if seen.insert(visible) {
            probes.push(probe(visible, target, path.as_ref()));
        }
    }
    let own = check.map(|words| words.first().is_none_or(|word| word != "NONE"));
    if own.unwrap_or(hints.healthcheck) {
        probes.push(format!("{{ docker: {} }}", service.name));
    }
    probes
}

/// As (where a client finds it, where the service listens).
fn ports(published: &[Port], host: bool, hints: &Hints) -> Vec<(u16, u16)> {
    if published.is_empty() && host {
        return hints.exposed.iter().map(|port| (*port, *port)).collect();
    }
    let for_clients = published.iter().filter(|port| {
        let local = port
            .host_ip
            .as_deref()
            .is_some_and(|ip| ip.starts_with("127.") || ip == "::1");
        port.protocol == "tcp" && !local
    });
    let visible = |port: &Port| match host {
        true => Some(port.target),
        false => port.published.as_deref()?.parse().ok(),
    };
    for_clients
        .filter_map(|port| Some((visible(port)?, port.target)))
        .collect()
}

fn probe(visible: u16, target: u16, path: Option<&(u16, String)>) -> String {
    match (target, path) {
        (25, _) => format!("{{ smtp: {visible} }}"),
        (143, _) => format!("{{ imap: {visible} }}"),
        (993, _) => format!("{{ imap: {visible}, tls: on }}"),
        (110, _) => format!("{{ pop3: {visible} }}"),
        (995, _) => format!("{{ pop3: {visible}, tls: on }}"),
        (_, Some((port, path))) if *port == target => format!("{{ http: {visible}, path: {path} }}"),
        _ => format!("{{ tcp: {visible} }}"),
    }
}

/// Port and path of the page of its own that a health check asks for in plain HTTP.
fn url(check: &str) -> Option<(u16, String)> {
    let hosts = ["http://localhost", "http://127.0.0.1"];
    let rest = hosts
        .iter()
        .find_map(|host| check.split_once(host))
        .map(|(_, rest)| rest)?;
    let ends = |c: char| {
        c.is_whitespace()
            || matches!(
                c,
                '"' | '\'' | ')' | ';' | '|' | '&' | '$' | '{' | '}' | '[' | ']' | ',' | '#'
            )
    };
    let rest = &rest[..rest.find(ends).unwrap_or(rest.len())];
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let port = match authority.strip_prefix(':') {
        Some(port) => port.parse().ok()?,
        None if authority.is_empty() => 80,
        None => return None,
    };
    let path = if path.is_empty() { "/" } else { path };
    Some((port, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::*;

    fn guessed(keys: &str, host: bool) -> String {
        probes(&testing::service(keys).0, host, &Hints::default()).join(" ")
    }

    #[test]
    fn ports_tell_what_a_client_must_find() {
        let mail = "ports: ['2525:25', 143, '993:993', '127.0.0.1:995:995', '53:53/udp', '465:465']";
        assert_eq!(
            guessed(mail, true),
            "{ smtp: 25 } { imap: 143 } { imap: 993, tls: on } { tcp: 465 }"
        );
        assert_eq!(
            guessed("ports: ['8080:80', '443:443', '3000']", false),
            "{ tcp: 8080 } { tcp: 443 }"
        );
        assert_eq!(
            guessed("ports: ['0.0.0.0:110:110', '[::]:110:110']", false),
            "{ pop3: 110 }"
        );
    }

    #[test]
    fn a_health_check_tells_the_page_and_is_a_probe_itself() {
        let web = "ports: ['8080:80', '81:81']\nhealthcheck: {test: 'curl -f http://localhost/health || exit 1'}";
        assert_eq!(
            guessed(web, false),
            "{ http: 8080, path: /health } { tcp: 81 } { docker: s }"
        );
        assert_eq!(guessed("healthcheck: {test: [NONE]}", false), "");
        for (check, expected) in [
            ("wget http://127.0.0.1:9998", Some((9998, "/"))),
            ("curl http://localhost:80/a?b=c; x", Some((80, "/a?b=c"))),
            ("curl https://localhost/", None),
            ("curl http://localhost.example/", None),
            ("curl http://localhost:$PORT/", None),
        ] {
            assert_eq!(
                url(check),
                expected.map(|(port, path)| (port, path.to_owned())),
                "{check}"
            );
        }
    }

    #[test]
    fn without_ports_of_its_own_the_image_is_asked() {
        let (service, _) = testing::service("network_mode: host");
        let hints = Hints {
            exposed: vec![25, 110],
            healthcheck: true,
            ..Hints::default()
        };
        assert_eq!(
            probes(&service, true, &hints),
            ["{ smtp: 25 }", "{ pop3: 110 }", "{ docker: s }"]
        );
    }
}
