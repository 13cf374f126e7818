//! `probes` of a service: what is checked, and how often.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::context::Context;
use super::cursor::At;
use super::fault::Faults;
use super::leasehold::{seen_here, within};
use super::model::{Cadence, CanaryCheck, Check, HttpCheck, MailCheck, MailProtocol, Probe, ProbeTls};
use super::service;
use leasehold_core::protocol::policy::{FALL_MAX, INTERVAL_MAX, INTERVAL_MIN};

const INTERVAL_DEFAULT: Duration = Duration::from_secs(5);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
const FALL_DEFAULT: u32 = 3;
/// A canary costs the server a message each time.
const CANARY_INTERVAL_DEFAULT: Duration = Duration::from_secs(300);
const CANARY_INTERVAL_MIN: Duration = Duration::from_secs(30);
const CANARY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const CANARY_FALL_DEFAULT: u32 = 2;
/// Percent of the storage.
const FLOOR_DEFAULT: u8 = 10;
const FLOOR_MAX: u8 = 50;

/// The keys that say what is checked: exactly one of them stands in each probe.
const KINDS: [&str; 10] = [
    "tcp", "smtp", "imap", "pop3", "http", "exec", "docker", "storage", "canary", "gateway",
];
const CADENCE: [&str; 5] = ["interval", "timeout", "rise", "fall", "fall_timeout"];
const EXAMPLE: &str = "write one of them, such as {smtp: 25} or {http: 80, path: /health}";

/// All probes that a service states; those that name no service mean `stated_in`.
pub(super) fn read(at: &At<'_>, stated_in: &str, context: &Context<'_>, faults: &mut Faults) -> Vec<Probe> {
    let items = at.list(faults);
    items
        .iter()
        .filter_map(|item| probe(item, stated_in, context, faults))
        .collect()
}

fn probe(item: &At<'_>, stated_in: &str, context: &Context<'_>, faults: &mut Faults) -> Option<Probe> {
    let fields = item.map(faults);
    if fields.is_empty() {
        return None;
    }
    let mut kinds = fields.iter().filter(|field| KINDS.contains(&field.name));
    let (kind, second) = (kinds.next(), kinds.next());
    if let (Some(first), Some(second)) = (kind, second) {
        let message = format!("stands beside {}: a probe checks one thing", first.name);
        second.fault(faults, message, "write two probes");
        return None;
    }
    let Some(kind) = kind else {
        // A misspelled kind is the likely cause: then it alone is reported.
        match fields.iter().find(|field| !is_option(field.name)) {
            Some(unknown) => unknown.unknown(faults, &KINDS),
            None => item.fault(faults, format!("names none of {}", KINDS.join(", ")), EXAMPLE),
        }
        return None;
    };
    let check = check(kind, item, stated_in, context, faults);
    let known: Vec<&str> = [kind.name]
        .into_iter()
        .chain(options_of(kind.name).iter().copied())
        .chain(CADENCE)
        .collect();
    item.map_of(faults, &known);
    let cadence = cadence(item, kind.name == "canary", faults);
    check.map(|check| Probe { check, cadence })
}

/// What each kind knows beside the cadence.
fn options_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "smtp" | "imap" | "pop3" => &["tls", "login_file"],
        "http" => &["tls", "path", "host", "status", "body"],
        "exec" => &["service"],
        "storage" => &["floor"],
        "canary" => &["smtp_port", "imap_port", "tls", "login_file"],
        _ => &[],
    }
}

fn is_option(name: &str) -> bool {
    CADENCE.contains(&name) || KINDS.iter().any(|kind| options_of(kind).contains(&name))
}

fn check(kind: &At<'_>, item: &At<'_>, stated_in: &str, context: &Context<'_>, faults: &mut Faults) -> Option<Check> {
    match kind.name {
        "smtp" => mail(MailProtocol::Smtp, kind, item, context, faults),
        "imap" => mail(MailProtocol::Imap, kind, item, context, faults),
        "pop3" => mail(MailProtocol::Pop3, kind, item, context, faults),
        "http" => http(kind, item, faults),
        "canary" => canary(kind, item, context, faults),
        "exec" => {
            let command = service::command(kind, faults).filter(|command| !command.is_empty());
            if command.is_none() {
                kind.fault(faults, "names no command", "write it as a list of words");
            }
            let named = item.get("service").and_then(|field| field.text(faults));
            let service = named.unwrap_or_else(|| stated_in.to_owned());
            command.map(|command| Check::Exec { service, command })
        }
        "docker" => kind.text(faults).map(|service| Check::Docker { service }),
        "storage" => {
            let floor = item.get("floor").and_then(|field| floor(&field, faults));
            let floor = floor.unwrap_or(FLOOR_DEFAULT);
            kind.text(faults).map(|service| Check::Storage { service, floor })
        }
        "gateway" => kind
            .parsed(faults, "an IPv4 address such as 10.0.0.1", |text| {
                text.parse::<Ipv4Addr>()
                    .ok()
                    .filter(|address| !address.is_unspecified())
            })
            .map(|address| Check::Gateway { address }),
        _ => port(kind, faults).map(|port| Check::Tcp { port }),
    }
}

fn port(at: &At<'_>, faults: &mut Faults) -> Option<u16> {
    at.parsed(faults, "a port", |text| text.parse().ok().filter(|port| *port > 0))
}

fn floor(at: &At<'_>, faults: &mut Faults) -> Option<u8> {
    at.parsed(faults, "a share such as 10%, at most 50%", |text| {
        let percent = text.strip_suffix('%')?.parse().ok()?;
        (percent <= FLOOR_MAX).then_some(percent)
    })
}

fn mail(
    protocol: MailProtocol,
    kind: &At<'_>,
    item: &At<'_>,
    context: &Context<'_>,
    faults: &mut Faults,
) -> Option<Check> {
    let tls = tls(item, &["off", "start", "on"], faults);
    let login_file = item
        .get("login_file")
        .and_then(|field| field.text(faults))
        .map(|path| seen_here(&path, context));
    let port = port(kind, faults)?;
    Some(Check::Mail(MailCheck {
        protocol,
        port,
        tls,
        login_file,
    }))
}

fn canary(kind: &At<'_>, item: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Option<Check> {
    let tls = tls(item, &["off", "start", "on"], faults);
    let mut port_of = |key: &str, usual: u16| match item.get(key) {
        Some(field) => port(&field, faults),
        None => Some(usual),
    };
    let (smtp_port, imap_port) = match tls {
        ProbeTls::On => (port_of("smtp_port", 465), port_of("imap_port", 993)),
        ProbeTls::Off | ProbeTls::Start => (port_of("smtp_port", 25), port_of("imap_port", 143)),
    };
    let mailbox = kind.parsed(faults, "an address such as canary@example.org", |text| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "@.!#$%&'*+/=?^_`{|}~-".contains(letter);
        let (local, domain) = text.split_once('@')?;
        let valid = !local.is_empty() && !domain.is_empty() && !domain.contains('@') && text.chars().all(plain);
        valid.then(|| text.to_owned())
    });
    let login_file = item.get("login_file").and_then(|field| field.text(faults));
    if login_file.is_none() {
        let remedy = "write login_file: PATH, a file with user and password of the mailbox, a line each";
        kind.fault(
            faults,
            "has no login_file, so nobody could look into the mailbox",
            remedy,
        );
    }
    Some(Check::Canary(CanaryCheck {
        mailbox: mailbox?,
        smtp_port: smtp_port?,
        imap_port: imap_port?,
        tls,
        login_file: seen_here(&login_file?, context),
    }))
}

fn http(kind: &At<'_>, item: &At<'_>, faults: &mut Faults) -> Option<Check> {
    let tls = tls(item, &["off", "on"], faults);
    let path = item.get("path").and_then(|field| {
        field.parsed(faults, "a path such as /health", |text| {
            (text.starts_with('/') && !text.contains(char::is_whitespace)).then(|| text.to_owned())
        })
    });
    let host = item.get("host").and_then(|field| field.text(faults));
    let status = item
        .get("status")
        .and_then(|field| field.parsed(faults, "a status such as 200, or a span such as 200-399", span));
    let body = item.get("body").and_then(|field| field.text(faults));
    let port = port(kind, faults)?;
    Some(Check::Http(HttpCheck {
        port,
        tls,
        path: path.unwrap_or_else(|| "/".to_owned()),
        host,
        status: status.unwrap_or((200, 399)),
        body,
    }))
}

fn span(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let valid = 100 <= first && first <= last && last <= 599;
    valid.then_some((first, last))
}

fn tls(item: &At<'_>, allowed: &[&str], faults: &mut Faults) -> ProbeTls {
    let Some(field) = item.get("tls") else {
        return ProbeTls::Off;
    };
    let word = field.node.scalar().unwrap_or_default();
    // YAML reads a bare `on` and `off` as booleans.
    match word.as_str() {
        "off" | "false" => ProbeTls::Off,
        "on" | "true" => ProbeTls::On,
        "start" if allowed.contains(&"start") => ProbeTls::Start,
        _ => {
            field.fault(faults, format!("must be {}, not {word:?}", allowed.join(" or ")), "");
            ProbeTls::Off
        }
    }
}

fn cadence(item: &At<'_>, is_canary: bool, faults: &mut Faults) -> Cadence {
    let (interval_min, interval, limit, fall) = if is_canary {
        let fall = CANARY_FALL_DEFAULT;
        (
            CANARY_INTERVAL_MIN,
            CANARY_INTERVAL_DEFAULT,
            CANARY_TIMEOUT_DEFAULT,
            fall,
        )
    } else {
        (INTERVAL_MIN, INTERVAL_DEFAULT, TIMEOUT_DEFAULT, FALL_DEFAULT)
    };
    let mut span = |key: &str, min, max, default| {
        item.get(key)
            .and_then(|field| within(&field, min, max, faults))
            .unwrap_or(default)
    };
    let interval = span("interval", interval_min, INTERVAL_MAX, interval);
    let timeout = span("timeout", TIMEOUT_MIN, TIMEOUT_MAX, limit);
    let mut count = |key: &str, default| {
        item.get(key)
            .and_then(|field| {
                field.parsed(faults, &format!("a count between 1 and {FALL_MAX}"), |text| {
                    text.parse().ok().filter(|count| (1..=FALL_MAX).contains(count))
                })
            })
            .unwrap_or(default)
    };
    let rise = count("rise", 1);
    let fall = count("fall", fall);
    // A canary that is slow has been given half a minute already.
    let patience = if is_canary { 1 } else { 2 };
    let fall_timeout = count("fall_timeout", fall.saturating_mul(patience));
    if fall_timeout < fall {
        let message = format!("is less than fall ({fall}): slowness would count for more than a refusal");
        if let Some(field) = item.get("fall_timeout") {
            field.fault(faults, message, "make it at least as large");
        }
    }
    Cadence {
        interval,
        timeout,
        rise,
        fall,
        fall_timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{REST, assert_one, faults, file, read_files};
    use super::*;

    fn probes(list: &str) -> Vec<Probe> {
        let own = format!("probes: [{list}]");
        let keys = "network_mode: host\nvolumes: [data:/store]";
        let project = read_files(&[("compose.yaml", &file(&own, keys, REST))])
            .unwrap_or_else(|faults| panic!("{list}: {faults:#?}"));
        project.groups["s"].probes.clone()
    }

    #[test]
    fn every_kind_is_read_with_its_options() {
        let read = probes(
            "{smtp: 25, tls: start, login_file: /run/secrets/probe}, {imap: 993, tls: on}, \
             {http: 80, path: /up, host: h, status: 200-299, body: fine}, {exec: [check, -q]}, {exec: 'a b', service: s}, \
             {docker: s}, {storage: s}, {storage: s, floor: 0%}, {gateway: 10.0.0.1}",
        );
        let checks: Vec<Check> = read.into_iter().map(|probe| probe.check).collect();
        let mail = |protocol, port, tls, login: Option<&str>| {
            Check::Mail(MailCheck {
                protocol,
                port,
                tls,
                login_file: login.map(Into::into),
            })
        };
        let exec = |words: &[&str]| Check::Exec {
            service: "s".to_owned(),
            command: words.iter().map(|word| (*word).to_owned()).collect(),
        };
        assert_eq!(
            checks,
            [
                mail(MailProtocol::Smtp, 25, ProbeTls::Start, Some("/run/secrets/probe")),
                mail(MailProtocol::Imap, 993, ProbeTls::On, None),
                Check::Http(HttpCheck {
                    port: 80,
                    tls: ProbeTls::Off,
                    path: "/up".to_owned(),
                    host: Some("h".to_owned()),
                    status: (200, 299),
                    body: Some("fine".to_owned()),
                }),
                exec(&["check", "-q"]),
                exec(&["a", "b"]),
                Check::Docker {
                    service: "s".to_owned()
                },
                Check::Storage {
                    service: "s".to_owned(),
                    floor: 10
                },
                Check::Storage {
                    service: "s".to_owned(),
                    floor: 0
                },
                Check::Gateway {
                    address: Ipv4Addr::new(10, 0, 0, 1)
                },
            ]
        );
    }

    #[test]
    fn the_cadence_has_defaults_and_is_read() {
        let cadence = probes("{tcp: 1}")[0].cadence;
        assert_eq!(
            (
                cadence.interval,
                cadence.timeout,
                cadence.rise,
                cadence.fall,
                cadence.fall_timeout
            ),
            (INTERVAL_DEFAULT, TIMEOUT_DEFAULT, 1, 3, 6)
        );
        let cadence = probes("{tcp: 1, interval: 10s, timeout: 500ms, rise: 2, fall: 4, fall_timeout: 5}")[0].cadence;
        assert_eq!(
            (
                cadence.interval,
                cadence.timeout,
                cadence.rise,
                cadence.fall,
                cadence.fall_timeout
            ),
            (Duration::from_secs(10), Duration::from_millis(500), 2, 4, 5)
        );
        assert_eq!(probes("{tcp: 1, fall: 5}")[0].cadence.fall_timeout, 10);
    }

    #[test]
    fn a_canary_has_a_pace_of_its_own() {
        let read = |text: &str| probes(text).remove(0);
        let usual = read("{canary: c+1@m.test, login_file: /run/secrets/canary}");
        let wanted = CanaryCheck {
            mailbox: "c+1@m.test".to_owned(),
            smtp_port: 25,
            imap_port: 143,
            tls: ProbeTls::Off,
            login_file: "/run/secrets/canary".into(),
        };
        assert_eq!(usual.check, Check::Canary(wanted.clone()));
        assert_eq!(usual.check.name(), "canary c+1@m.test");
        let pace = |probe: &Probe| {
            let Cadence { interval, timeout, .. } = probe.cadence;
            (
                interval.as_secs(),
                timeout.as_secs(),
                probe.cadence.fall,
                probe.cadence.fall_timeout,
            )
        };
        assert_eq!(pace(&usual), (300, 30, 2, 2));
        let other =
            read("{canary: c@m.test, login_file: /l, tls: on, imap_port: 1993, interval: 30s, timeout: 9s, fall: 4}");
        assert_eq!(pace(&other), (30, 9, 4, 4));
        let Check::Canary(other) = other.check else {
            panic!("{other:?}")
        };
        assert_eq!((other.smtp_port, other.imap_port, other.tls), (465, 1993, ProbeTls::On));
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_key() {
        for (probe, words) in [
            ("{smtp: 25, imap: 143}", ["probes.imap", "stands beside smtp"]),
            ("{interval: 5s}", ["probes", "names none of"]),
            ("{tcp: 1, tls: start}", ["probes.tls", "not a key"]),
            ("{http: 80, tls: start}", ["probes.tls", "off or on"]),
            ("{http: 80, path: up}", ["probes.path", "a path"]),
            ("{http: 80, status: 99}", ["probes.status", "200-399"]),
            ("{exec: []}", ["probes.exec", "names no command"]),
            (
                "{exec: [a], service: web}",
                ["probes", "service web, which is not of this group"],
            ),
            ("{docker: web}", ["probes", "service web"]),
            ("{storage: web}", ["probes", "service web"]),
            ("{tcp: 1, floor: 10%}", ["probes.floor", "not a key"]),
            (
                "{storage: s}",
                ["probes", "storage of service s, which mounts none that is writable"],
            ),
            ("{canary: c@m.test}", ["probes.canary", "has no login_file"]),
            (
                "{canary: '<c@m.test>', login_file: /l}",
                ["probes.canary", "an address"],
            ),
            (
                "{canary: 'a b@m.test', login_file: /l}",
                ["probes.canary", "an address"],
            ),
            (
                "{canary: c@m.test, login_file: /l, interval: 20s}",
                ["probes.interval", "between"],
            ),
            ("{gateway: 'fd00::1'}", ["probes.gateway", "IPv4"]),
            ("{tcp: 1, interval: 10ms}", ["probes.interval", "between"]),
            ("{tcp: 1, fall: 0}", ["probes.fall", "between 1 and 1000"]),
            (
                "{tcp: 1, fall: 4, fall_timeout: 2}",
                ["probes.fall_timeout", "less than fall (4)"],
            ),
            ("{tcp: 1, fal: 2}", ["probes.fal", "did you mean fall?"]),
        ] {
            let own = format!("probes: [{probe}]");
            assert_one(&faults(&own, "network_mode: host"), &words, probe);
        }
        for floor in ["10", "51%", "-1%"] {
            let own = format!("probes: [{{storage: s, floor: {floor}}}]");
            let found = faults(&own, "network_mode: host\nvolumes: [data:/store]");
            assert_one(&found, &["probes.floor", "a share such as 10%, at most 50%"], floor);
        }
    }
}
