//! `x-leasehold: events:`: who is told of decisions, and of which.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::context::Context;
use super::cursor::At;
use super::email;
use super::fault::Faults;
use super::leasehold::seen_here;
use super::model::Events;
use super::scalar;
use leasehold_core::snapshot::code::Code;

const EXAMPLE: &str = "such as events: {webhook: \"https://alerts.example.org/leasehold\", secret_file: /run/secrets/webhook, only: [alarm]}";
/// Every decision that somebody should look at, of whatever kind.
const ALARM: &str = "alarm";

/// A receiver of events over HTTP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Webhook {
    pub url: WebhookUrl,
    /// The key of the signature; read for each try, so that it can be replaced.
    pub secret_file: Option<PathBuf>,
    /// Who must have signed the receiver's certificate; else those whom the sidecar's image trusts.
    pub ca: Option<PathBuf>,
}

/// Where a webhook is. Some receivers are known by a secret in their URL alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WebhookUrl {
    Plain(String),
    /// Its first line; read for each try.
    File(PathBuf),
}

pub(super) fn read(at: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Option<Events> {
    let (mut url, mut secret_file, mut ca) = (None, None, None);
    let mut command = Vec::new();
    let mut only = Vec::new();
    let mut by_email = None;
    let path = |field: &At<'_>, faults: &mut Faults| seen(field, context, faults);
    let known = [
        "webhook",
        "webhook_file",
        "secret_file",
        "ca",
        "command",
        "email",
        "only",
    ];
    for field in at.map_of(faults, &known) {
        match field.name {
            "webhook" | "webhook_file" if url.is_some() => {
                field.fault(
                    faults,
                    "says again where the webhook is",
                    "keep webhook or webhook_file",
                );
            }
            "webhook" => {
                let what = "a URL such as https://alerts.example.org/leasehold, without user and password";
                url = field.parsed(faults, what, web_url).map(WebhookUrl::Plain);
            }
            "webhook_file" => url = path(&field, faults).map(WebhookUrl::File),
            "secret_file" => secret_file = path(&field, faults),
            "ca" => ca = path(&field, faults),
            "command" => command = program(&field, context, faults),
            "email" => by_email = email::read(&field, context, faults),
            _ => only = choice(&field, faults),
        }
    }
    let has_url = at.get("webhook").is_some() || at.get("webhook_file").is_some();
    if !has_url && at.get("command").is_none() && at.get("email").is_none() {
        at.fault(
            faults,
            "tells nobody: it names neither webhook nor command nor email",
            EXAMPLE,
        );
        return None;
    }
    for of_webhook in ["secret_file", "ca"] {
        if let Some(field) = at.get(of_webhook).filter(|_| !has_url) {
            field.fault(faults, "is of use for a webhook only", "name the webhook, or remove it");
        }
    }
    let webhook = url.map(|url| Webhook { url, secret_file, ca });
    Some(Events {
        webhook,
        command,
        email: by_email,
        only,
    })
}

/// A file that the sidecar reads.
pub(super) fn seen(field: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Option<PathBuf> {
    field.text(faults).map(|path| seen_here(&path, context))
}

/// Whether a webhook's URL can be used: a secret part of it is the path's affair, a password would be sent to any proxy.
#[must_use]
pub fn web_url(text: &str) -> Option<String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = !authority.is_empty() && !authority.starts_with(':') && !authority.contains('@');
    let clean = !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '#');
    (host && clean).then(|| text.to_owned())
}

fn program(at: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Vec<String> {
    let mut words = at.strings(faults);
    match words.first_mut() {
        Some(first) if first.contains('/') => *first = seen_here(first, context).to_string_lossy().into_owned(),
        Some(first) => {
            let message = format!("must begin with the path of a program, not {first:?}");
            at.fault(
                faults,
                message,
                "such as command: [/usr/local/bin/tell-somebody, --urgent]",
            );
        }
        None => at.fault(
            faults,
            "names no program",
            "such as command: [/usr/local/bin/tell-somebody]",
        ),
    }
    words
}

/// Codes, kinds of codes, or all alarms.
fn choice(at: &At<'_>, faults: &mut Faults) -> Vec<String> {
    let mut known: Vec<&str> = Code::ALL.iter().flat_map(|code| [code.word(), code.kind()]).collect();
    known.push(ALARM);
    let mut chosen = Vec::new();
    for item in at.list(faults) {
        let Some(word) = item.text(faults) else { continue };
        if known.contains(&word.as_str()) {
            chosen.push(word);
            continue;
        }
        let remedy = match scalar::did_you_mean(&word, &known) {
            Some(near) => format!("did you mean {near}?"),
            None => "see docs/messages.md for the codes and their kinds; alarm stands for all alarms".to_owned(),
        };
        item.fault(
            faults,
            format!("{word:?} is no code of an event, and no kind of them"),
            remedy,
        );
    }
    if at.list(faults).is_empty() {
        at.fault(faults, "chooses nothing", "remove it to be told everything");
    }
    chosen
}

impl Events {
    /// Whether somebody wants to be told of this.
    #[must_use]
    pub fn wants(&self, code: Code) -> bool {
        let fits = |word: &String| match word.as_str() {
            ALARM => code.level() == leasehold_core::event::Level::Alarm,
            word => word == code.word() || word == code.kind(),
        };
        self.only.is_empty() || self.only.iter().any(fits)
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Project;
    use super::super::testing::{REST, assert_one, file, read_files, said};
    use super::*;

    fn with(keys: &str) -> String {
        file("", "network_mode: host", REST).replace("\"]}\n", &format!("\"], events: {{{keys}}}}}\n"))
    }

    fn events(keys: &str) -> Events {
        let project: Project =
            read_files(&[("compose.yaml", &with(keys))]).unwrap_or_else(|faults| panic!("{keys}\n{faults:#?}"));
        project.cluster.events.unwrap()
    }

    #[test]
    fn every_key_is_read() {
        let whole = events(
            "webhook: 'https://h/x?y=z', secret_file: /run/secrets/s, ca: ./ca.pem, command: [./tell, --now], only: [jeopardy, failover]",
        );
        let webhook = whole.webhook.as_ref().unwrap();
        assert_eq!(webhook.url, WebhookUrl::Plain("https://h/x?y=z".to_owned()));
        assert_eq!(webhook.secret_file, Some(PathBuf::from("/run/secrets/s")));
        assert!(webhook.ca.as_ref().unwrap().ends_with("ca.pem"));
        assert!(whole.command[0].ends_with("/tell") && !whole.command[0].starts_with("/srv/mail"));
        assert_eq!(whole.command[1], "--now");
        assert!(whole.wants(Code::Jeopardy) && whole.wants(Code::FailoverDone) && !whole.wants(Code::StuckMarked));
        let plain = events("webhook_file: /run/secrets/url");
        assert_eq!(
            plain.webhook.as_ref().unwrap().url,
            WebhookUrl::File("/run/secrets/url".into())
        );
        assert!(plain.wants(Code::Released) && plain.command.is_empty());
        let alarms = events("command: [/t], only: [alarm, released]");
        assert!(alarms.webhook.is_none() && alarms.wants(Code::Stuck) && alarms.wants(Code::Released));
        assert!(!alarms.wants(Code::StartDone));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for (keys, words) in [
            (
                "only: [alarm]",
                ["x-leasehold.events", "neither webhook nor command nor email"],
            ),
            ("webhook: 'ftp://h/'", ["events.webhook", "https://alerts.example.org"]),
            (
                "webhook: 'https://u:p@h/'",
                ["events.webhook", "without user and password"],
            ),
            ("webhook: 'https:///x'", ["events.webhook", "URL"]),
            ("webhook: 'https://h/a b'", ["events.webhook", "URL"]),
            (
                "webhook: 'https://h', webhook_file: /f",
                ["webhook_file", "keep webhook or"],
            ),
            ("command: [tell]", ["events.command", "path of a program"]),
            ("command: []", ["events.command", "names no program"]),
            ("command: [/t], secret_file: /s", ["events.secret_file", "webhook only"]),
            ("command: [/t], ca: /s", ["events.ca", "webhook only"]),
            ("command: [/t], only: []", ["events.only", "chooses nothing"]),
            (
                "command: [/t], only: [failovers]",
                ["events.only", "did you mean failover?"],
            ),
            ("command: [/t], only: [everything]", ["events.only", "docs/messages.md"]),
            ("webhok: 'https://h'", ["webhok", "did you mean webhook?"]),
        ] {
            let said = said(&with(keys));
            if keys.starts_with("webhok") {
                assert!(
                    said.iter().any(|line| words.iter().all(|word| line.contains(word))),
                    "{said:?}"
                );
            } else {
                assert_one(&said, &words, keys);
            }
        }
    }
}
