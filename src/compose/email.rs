//! `x-leasehold: events: email:`: through which relay decisions go to people.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::cursor::At;
use super::events::seen;
use super::fault::Faults;

const EXAMPLE: &str =
    "such as email: {relay: \"smtp.example.org:587\", from: leasehold@example.org, to: [ops@example.org]}";
const TO_MAX: usize = 20;
/// Of RFC 5321.
const ADDRESS_MAX: usize = 254;
const HOST_MAX: usize = 253;

/// A receiver of events by e-mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Email {
    pub relay: Relay,
    pub from: String,
    pub to: Vec<String>,
    pub tls: EmailTls,
    pub login: Option<EmailLogin>,
    /// Who must have signed the relay's certificate; else those whom the sidecar's image trusts.
    pub ca: Option<PathBuf>,
}

/// The server that e-mail is given to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relay {
    pub host: String,
    pub port: u16,
}

/// How the way to the relay is kept secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EmailTls {
    /// Asked for first, and nothing is said without it.
    #[default]
    Starttls,
    /// From the first byte.
    Implicit,
    /// Not at all.
    Never,
}

/// Who sends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmailLogin {
    pub user: String,
    /// Read for each try, so that it can be replaced.
    pub password_file: PathBuf,
}

pub(super) fn read(at: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Option<Email> {
    let (mut relay, mut from, mut tls) = (None, None, EmailTls::Starttls);
    let (mut user, mut password_file, mut ca) = (None, None, None);
    let mut to = Vec::new();
    let what = "an address such as ops@example.org";
    for field in at.map_of(faults, &["relay", "from", "to", "tls", "user", "password_file", "ca"]) {
        match field.name {
            "relay" => {
                relay = field.parsed(
                    faults,
                    "a host and its port, such as smtp.example.org:587",
                    host_and_port,
                )
            }
            "from" => from = field.parsed(faults, what, address),
            "to" => {
                let all = field.list(faults);
                to = all.iter().filter_map(|one| one.parsed(faults, what, address)).collect();
                if all.is_empty() || all.len() > TO_MAX {
                    let message = format!("must name 1 to {TO_MAX} addresses, not {}", all.len());
                    field.fault(faults, message, EXAMPLE);
                }
            }
            "tls" => {
                tls = field
                    .parsed(faults, "starttls, implicit or none", encryption)
                    .unwrap_or_default()
            }
            "user" => user = field.text(faults),
            "password_file" => password_file = seen(&field, context, faults),
            _ => ca = seen(&field, context, faults),
        }
    }
    for (key, what) in [
        ("relay", "through which server"),
        ("from", "from whom"),
        ("to", "to whom"),
    ] {
        if at.get(key).is_none() {
            at.fault(faults, format!("does not say {what}: {key} is missing"), EXAMPLE);
        }
    }
    let login = match (user, password_file) {
        (Some(user), Some(password_file)) => Some(EmailLogin { user, password_file }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            at.fault(
                faults,
                "has a login that is not whole",
                "user and password_file go together",
            );
            None
        }
    };
    if login.is_some() && tls == EmailTls::Never {
        at.fault(
            faults,
            "would send its password in clear",
            "use tls: starttls or tls: implicit, or no login",
        );
    }
    Some(Email {
        relay: relay?,
        from: from?,
        to,
        tls,
        login,
        ca,
    })
}

fn encryption(word: &str) -> Option<EmailTls> {
    match word {
        "starttls" => Some(EmailTls::Starttls),
        "implicit" => Some(EmailTls::Implicit),
        "none" => Some(EmailTls::Never),
        _ => None,
    }
}

fn host_and_port(text: &str) -> Option<Relay> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
        None => host.to_owned(),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
    let fits = !host.is_empty() && host.len() <= HOST_MAX && host.bytes().all(is_name);
    let port = port.parse().ok().filter(|port| *port > 0)?;
    fits.then_some(Relay { host, port })
}

/// A plain address, without a name: what goes into a header and to a server as it is.
fn address(text: &str) -> Option<String> {
    let (local, domain) = text.rsplit_once('@')?;
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"<>()[],;:\\\"@".contains(&byte);
    let fits = !local.is_empty() && !domain.is_empty() && text.len() <= ADDRESS_MAX;
    (fits && local.bytes().all(plain) && domain.bytes().all(plain)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::model::Project;
    use super::super::testing::{REST, assert_one, file, read_files, said};
    use super::*;

    fn with(keys: &str) -> String {
        let events = format!("events: {{email: {{{keys}}}}}");
        file("", "network_mode: host", REST).replace("\"]}\n", &format!("\"], {events}}}\n"))
    }

    #[test]
    fn every_key_is_read() {
        let keys = "relay: 'mx.example.org:465', from: a@b.c, to: [x@y.z, q@y.z], tls: implicit, user: me, password_file: /run/p, ca: ./c.pem";
        let project: Project =
            read_files(&[("compose.yaml", &with(keys))]).unwrap_or_else(|faults| panic!("{faults:#?}"));
        let email = project.cluster.events.unwrap().email.unwrap();
        assert_eq!((email.relay.host.as_str(), email.relay.port), ("mx.example.org", 465));
        assert_eq!(
            (email.from.as_str(), email.to.len(), email.tls),
            ("a@b.c", 2, EmailTls::Implicit)
        );
        let login = email.login.unwrap();
        assert_eq!(
            (login.user.as_str(), login.password_file),
            ("me", PathBuf::from("/run/p"))
        );
        assert!(email.ca.unwrap().ends_with("c.pem"));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let rest = "from: a@b.c, to: [x@y.z]";
        for (keys, words) in [
            (
                "relay: 'h:25', to: [x@y.z]".to_owned(),
                ["events.email", "from is missing"],
            ),
            (
                "relay: 'h:25', from: a@b.c".to_owned(),
                ["events.email", "to is missing"],
            ),
            (rest.to_owned(), ["events.email", "relay is missing"]),
            ("relay: 'h:25', from: a@b.c, to: []".to_owned(), ["email.to", "1 to 20"]),
            (
                format!("relay: 'h:25', user: me, {rest}"),
                ["events.email", "go together"],
            ),
            (
                format!("relay: 'h:25', tls: none, user: me, password_file: /p, {rest}"),
                ["events.email", "in clear"],
            ),
            (
                format!("relay: 'h:25', tls: ssl, {rest}"),
                ["email.tls", "starttls, implicit or none"],
            ),
        ] {
            assert_one(&said(&with(&keys)), &words, &keys);
        }
        for relay in ["h", "h:0", "h:65536", ":25", "a b:25", "[::1]", "[x]:25", "h/:25"] {
            assert_eq!(host_and_port(relay), None, "{relay}");
        }
        assert_eq!(host_and_port("[::1]:25").unwrap().host, "::1");
        for wrong in [
            "ops", "@b", "a@", "a b@c", "A <a@b>", "a@b,c@d", "a@b@c", "a@b\n", "\u{e9}@b",
        ] {
            assert_eq!(address(wrong), None, "{wrong}");
        }
        assert!(address(&format!("{}@b", "x".repeat(254))).is_none());
    }
}
