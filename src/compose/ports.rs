//! `ports` and `expose`.

use super::cursor::At;
use super::fault::Faults;
use super::model::Port;
use super::yaml::Value;

/// All published ports, ranges written out.
pub(super) fn read(at: &At<'_>, faults: &mut Faults) -> Vec<Port> {
    let mut ports = Vec::new();
    for item in at.list(faults) {
        let read = match &item.node.value {
            Value::Map(_) => long(&item, faults),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => item
                .parsed(faults, "a port such as 8080:80, 127.0.0.1:25:25 or 53:53/udp", short)
                .unwrap_or_default(),
        };
        ports.extend(read);
    }
    ports
}

/// `[[address:]published:]target[/protocol]`.
fn short(text: &str) -> Option<Vec<Port>> {
    let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol_of(protocol)?;
    let (front, target) = match text.rsplit_once(':') {
        Some((front, target)) => (Some(front), target),
        None => (None, text),
    };
    let (host_ip, published) = match front.and_then(|front| front.rsplit_once(':')) {
        Some((address, published)) => (address_of(address)?, published),
        None => (None, front.unwrap_or_default()),
    };
    expand(host_ip.as_deref(), published, range(target)?, &protocol)
}

fn protocol_of(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    matches!(text.as_str(), "tcp" | "udp" | "sctp").then_some(text)
}

/// An address, bare or in brackets; an empty one is none.
fn address_of(text: &str) -> Option<Option<String>> {
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    if inner.is_empty() {
        return Some(None);
    }
    let address: std::net::IpAddr = inner.parse().ok()?;
    Some(Some(address.to_string()))
}

/// `a` or `a-b`, both from 1.
fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0 && first <= last).then_some((first, last))
}

fn expand(host_ip: Option<&str>, published: &str, target: (u16, u16), protocol: &str) -> Option<Vec<Port>> {
    let port = |published: Option<String>, target| Port {
        host_ip: host_ip.map(str::to_owned),
        published,
        target,
        protocol: protocol.to_owned(),
    };
    let targets = target.0..=target.1;
    if published.is_empty() {
        return Some(targets.map(|target| port(None, target)).collect());
    }
    let outer = range(published)?;
    if target.0 == target.1 {
        return Some(vec![port(Some(published.to_owned()), target.0)]);
    }
    if outer.1 - outer.0 != target.1 - target.0 {
        return None;
    }
    let both = targets.zip(outer.0..=outer.1);
    Some(
        both.map(|(target, outer)| port(Some(outer.to_string()), target))
            .collect(),
    )
}

fn long(item: &At<'_>, faults: &mut Faults) -> Vec<Port> {
    let known = [
        "target",
        "published",
        "host_ip",
        "protocol",
        "mode",
        "name",
        "app_protocol",
    ];
    let (mut target, mut published, mut host_ip, mut protocol) = (None, String::new(), None, "tcp".to_owned());
    for field in item.map_of(faults, &known) {
        match field.name {
            "target" => target = field.parsed(faults, "a port", range),
            "published" => published = field.text(faults).unwrap_or_default(),
            "host_ip" => host_ip = field.parsed(faults, "an address", address_of).flatten(),
            "protocol" => {
                protocol = field
                    .parsed(faults, "tcp, udp or sctp", protocol_of)
                    .unwrap_or_default()
            }
            "mode" => {
                field.parsed(faults, "host or ingress", |text| {
                    matches!(text, "host" | "ingress").then_some(())
                });
            }
            _ => {}
        }
    }
    let Some(target) = target else {
        item.fault(faults, "has an entry without a target port", "");
        return Vec::new();
    };
    let ports = expand(host_ip.as_deref(), &published, target, &protocol);
    if ports.is_none() {
        item.fault(
            faults,
            format!("{published:?} is no port or range that fits the target"),
            "",
        );
    }
    ports.unwrap_or_default()
}

/// `expose`: ports or ranges with a protocol.
pub(super) fn exposed(at: &At<'_>, faults: &mut Faults) -> Vec<String> {
    let valid = |text: &str| {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        (range(ports).is_some() && protocol_of(protocol).is_some()).then(|| text.to_owned())
    };
    let items = at.list(faults);
    items
        .iter()
        .filter_map(|item| item.parsed(faults, "a port such as 80 or 53/udp", valid))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    fn show(yaml: &str) -> (String, usize) {
        let node = parse(&format!("ports: {yaml}"), 0).unwrap().remove(0);
        let mut faults = Faults::default();
        let ports = read(&At::root(&node).get("ports").unwrap(), &mut faults);
        let show = |port: &Port| {
            let (ip, published) = (port.host_ip.as_deref(), port.published.as_deref());
            format!(
                "{}|{}|{}/{}",
                ip.unwrap_or("-"),
                published.unwrap_or("-"),
                port.target,
                port.protocol
            )
        };
        (
            ports.iter().map(show).collect::<Vec<_>>().join(" "),
            faults.into_parts().0.len(),
        )
    }

    #[test]
    fn ports_in_every_form() {
        for (yaml, ports) in [
            ("['80']", "-|-|80/tcp"),
            ("[80]", "-|-|80/tcp"),
            ("['8080:80']", "-|8080|80/tcp"),
            ("['127.0.0.1:8080:80']", "127.0.0.1|8080|80/tcp"),
            ("['127.0.0.1::80']", "127.0.0.1|-|80/tcp"),
            ("[':443:443']", "-|443|443/tcp"),
            ("['[::1]:25:25']", "::1|25|25/tcp"),
            ("['53:53/udp']", "-|53|53/udp"),
            ("['8000-8001:9000-9001']", "-|8000|9000/tcp -|8001|9001/tcp"),
            ("['8000-8010:80']", "-|8000-8010|80/tcp"),
            ("['3000-3001']", "-|-|3000/tcp -|-|3001/tcp"),
            ("[{target: 80}]", "-|-|80/tcp"),
            (
                "[{target: 80, published: '8080', host_ip: 10.0.0.1, protocol: udp, mode: host}]",
                "10.0.0.1|8080|80/udp",
            ),
            (
                "[{target: 80, published: 8080, name: web, app_protocol: http}]",
                "-|8080|80/tcp",
            ),
        ] {
            assert_eq!(show(yaml), (ports.to_owned(), 0), "{yaml}");
        }
        for yaml in [
            "['x']",
            "['0']",
            "['70000:1']",
            "['1-2:1-3']",
            "['host:1:1']",
            "['1:1/icmp']",
            "[{published: 1}]",
            "[{target: 80, publish: 1}]",
            "[{target: 80, published: x}]",
            "8080",
        ] {
            assert_eq!(show(yaml).1, 1, "{yaml}");
        }
    }
}
