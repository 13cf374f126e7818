//! What must not leave the host: values of the environment, whatever is named like a secret, keys in PEM, passwords in URLs. In
//! doubt something is left out: whoever reads the report can ask.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// In the place of what was taken out.
pub(super) const GONE: &str = "***";
/// Parts of names whose values are secrets.
const SECRET: [&str; 13] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "credential",
    "private",
    "apikey",
    "api_key",
    "accesskey",
    "access_key",
    "auth",
    "webhook",
    "cookie",
];
/// Keys of a compose file whose values are all taken out, names and structure kept.
const ALL_VALUES: [&str; 5] = ["environment", "args", "labels", "annotations", "build_args"];
/// The key whose text is a file's content.
const CONTENT: &str = "content";
/// Keys that hold the words of a command line.
const COMMANDS: [&str; 4] = ["command", "entrypoint", "test", "exec"];
/// A shorter word stands for too much else to be looked for in a text.
const KNOWN_MIN: usize = 6;

/// Whether a name says that its value is a secret.
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    // A path to a secret is none.
    !name.ends_with("_file")
        && (name == "key" || name.ends_with("_key") || SECRET.iter().any(|part| name.contains(part)))
}

/// Secrets that are known by their value: they are looked for in everything that is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(BTreeSet<String>);

impl Known {
    /// Every value whose name says that it is a secret.
    pub(super) fn learn<'a>(&mut self, variables: impl IntoIterator<Item = (&'a String, &'a String)>) {
        let secrets = variables.into_iter().filter(|(name, _)| is_secret(name));
        secrets.for_each(|(_, value)| self.add(value));
    }

    /// The last word of each line: of `ROLE NAME TOKEN`, and of a file with a password.
    pub(super) fn learn_tokens(&mut self, text: &str) {
        let words = text.lines().filter_map(|line| line.split_whitespace().last());
        words.for_each(|word| self.add(word));
    }

    fn add(&mut self, value: &str) {
        if value.len() >= KNOWN_MIN {
            self.0.insert(value.to_owned());
        }
    }

    /// The text without them, without keys in PEM, and without what looks like a secret in a URL or behind a name.
    pub(super) fn taken_out(&self, text: &str) -> String {
        let mut text = without_pem(text);
        // The longest first: one may be part of another.
        let mut known: Vec<&String> = self.0.iter().collect();
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        for secret in known {
            text = text.replace(secret.as_str(), GONE);
        }
        let lines = text
            .split('\n')
            .map(|line| line.split(' ').map(word).collect::<Vec<_>>().join(" "));
        after_bearer(&lines.collect::<Vec<_>>().join("\n"))
    }
}

/// A word without the password in a URL, and without the value of what is named like a secret: `password=x`, `"token":"x"`.
fn word(word: &str) -> String {
    let word = without_userinfo(word);
    let Some((name, value)) = word.split_once(['=', ':']) else {
        return word;
    };
    let of_url = value.starts_with("//");
    let bare = name
        .rsplit(['"', '\'', '{', ',', '&', '?', '-'])
        .find(|part| !part.is_empty())
        .unwrap_or(name);
    if !of_url && !value.is_empty() && is_secret(bare) && !value.trim_matches(['"', ',']).is_empty() {
        return format!("{name}={GONE}");
    }
    // More of them may follow, as in the options of a mount.
    match word.split_once(',') {
        Some((first, rest)) if rest.contains('=') => format!("{first},{}", self::word(rest)),
        Some(_) | None => word,
    }
}

/// `https://name:password@host` without both.
fn without_userinfo(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else {
        return word.to_owned();
    };
    let authority = rest.split(['/', '?', '#', '"', ',']).next().unwrap_or(rest);
    match authority.rfind('@') {
        Some(at) => format!("{scheme}://{GONE}{}", &rest[at..]),
        None => word.to_owned(),
    }
}

/// What follows `Bearer` and `Basic` in a header.
fn after_bearer(text: &str) -> String {
    let mut secret_follows = false;
    let words = text.split(' ').map(|word| {
        let is_secret = std::mem::replace(&mut secret_follows, word.ends_with("Bearer") || word.ends_with("Basic"));
        if is_secret { GONE } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Certificates tell only what everybody may know; keys are cut, also one that has no end.
fn without_pem(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("-----BEGIN ").filter(|at| {
        let head = rest[*at..].lines().next().unwrap_or_default();
        head.contains("KEY")
    }) {
        kept.push_str(&rest[..at]);
        kept.push_str(GONE);
        let block = &rest[at..];
        rest = block.find("-----END ").map_or("", |end| {
            let end = &block[end + "-----END ".len()..];
            end.find("-----").map_or("", |close| &end[close + "-----".len()..])
        });
    }
    kept + rest
}

/// A compose file as it is read, without its secrets.
pub(super) fn compose(tree: Value) -> Value {
    match tree {
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(name, value)| field(name, value)).collect()),
        Value::Array(items) => Value::Array(items.into_iter().map(compose).collect()),
        Value::String(text) => Value::String(Known::default().taken_out(&text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => tree,
    }
}

fn field(name: String, value: Value) -> (String, Value) {
    let word = name.as_str();
    // A list of names, or a map of them: which there are, and which a service may read.
    let is_list = value.is_object() || ["secrets", "configs"].contains(&word);
    let value = if ALL_VALUES.contains(&word) {
        without_values(value)
    } else if COMMANDS.contains(&word) {
        without_words(value)
    } else if !is_list && (is_secret(word) || word == CONTENT) {
        blank(value)
    } else {
        compose(value)
    };
    (name, value)
}

/// Names stay, values go: of `{A: b}`, and of `[A=b]`.
fn without_values(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, blank(value)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_values).collect()),
        Value::String(text) => match text.split_once('=') {
            Some((name, _)) => Value::String(format!("{name}={GONE}")),
            None => Value::String(text),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => blank(value),
    }
}

/// Of a command the program stays; of one that names a secret anywhere, nothing else does.
fn without_words(value: Value) -> Value {
    let looks_secret = |text: &str| text.split([' ', '=', '-', ':', '"', '\'']).any(is_secret);
    let words: Vec<String> = match &value {
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        Value::Array(words) => words
            .iter()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    };
    if !words.iter().any(|word| looks_secret(word)) {
        return compose(value);
    }
    let first = words.into_iter().next().unwrap_or_default();
    Value::Array(vec![compose(Value::String(first)), Value::String(GONE.to_owned())])
}

fn blank(value: Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Array(items) => Value::Array(items.into_iter().map(blank).collect()),
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(name, value)| (name, blank(value))).collect()),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Value::String(GONE.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_compose_file_keeps_its_structure_and_loses_its_secrets() {
        let file = json!({
            "services": { "mail": {
                "image": "mail:1",
                "environment": { "DB_PASSWORD": "hunter2", "MODE": "plain-but-private", "TZ": null },
                "labels": ["traefik.basicauth=ann:hunter2"],
                "command": ["serve", "--db-password", "hunter2"],
                "healthcheck": { "test": "curl -H 'X-Token: hunter2' x" },
                "secrets": ["tls"],
                "volumes": ["store:/data"],
            } },
            "configs": { "key": { "content": "-----BEGIN KEY-----hunter2" } },
            "secrets": { "tls": { "file": "./tls/key.pem" } },
            "volumes": { "store": { "driver_opts": { "o": "addr=10.0.0.9,username=ann,password=hunter2" } } },
            "x-leasehold": {
                "etcd": ["https://ann:hunter2@10.0.0.1:2379"],
                "events": { "webhook": "https://hooks.example.org/hunter2", "secret_file": "/run/secrets/hook" },
                "fence": { "options": { "password": "hunter2", "password_file": "/etc/pw" } },
            },
        });
        let shown = compose(file);
        let text = shown.to_string();
        for gone in ["hunter2", "plain-but-private"] {
            assert!(!text.contains(gone), "{gone}: {text}");
        }
        for kept in [
            "mail:1",
            "DB_PASSWORD",
            "store:/data",
            "./tls/key.pem",
            "/run/secrets/hook",
            "10.0.0.1:2379",
            "/etc/pw",
        ] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        assert_eq!(shown["services"]["mail"]["command"], json!(["serve", GONE]));
        assert_eq!(shown["services"]["mail"]["environment"]["TZ"], Value::Null);
    }

    #[test]
    fn a_text_loses_what_is_known_and_what_looks_like_a_secret() {
        let mut known = Known::default();
        let variables = [
            ("DB_PASSWORD".to_owned(), "hunter2".to_owned()),
            ("TZ".to_owned(), "Europe/Berlin".to_owned()),
        ];
        known.learn(variables.iter().map(|(name, value)| (name, value)));
        known.learn_tokens("viewer prometheus 3f0c9a71\noperator alice cert");
        let text = "at hunter2, 3f0c9a71, https://u:p4ss@h/x, password=pw123, \"token\":\"abc\", Authorization: Bearer ey0 \
                    in Europe/Berlin\n-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\nafter";
        let shown = known.taken_out(text);
        for gone in ["hunter2", "3f0c9a71", "p4ss", "pw123", "abc", "ey0", "MIIB"] {
            assert!(!shown.contains(gone), "{gone}: {shown}");
        }
        for kept in ["Europe/Berlin", "@h/x", "after"] {
            assert!(shown.contains(kept), "{kept}: {shown}");
        }
        assert_eq!(
            known.taken_out("-----BEGIN RSA PRIVATE KEY-----\nMIIB"),
            GONE,
            "a key without an end"
        );
        let public = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----";
        assert_eq!(known.taken_out(public), public);
        assert_eq!(
            known.taken_out("state: alive, no key here, at=12:00"),
            "state: alive, no key here, at=12:00"
        );
    }

    #[test]
    fn a_name_says_whether_it_is_a_secret() {
        for name in ["DB_PASSWORD", "api-key", "TOKEN", "key", "TLS_PRIVATE_KEY", "SMTP_AUTH"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["password_file", "keys", "TZ", "monkey", "state"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
