//! A node of the tree together with its key, its place and its path: what a reader of keys works with.

use std::time::Duration;

use super::fault::{Faults, Mark};
use super::keys::{self, Fate};
use super::scalar;
use super::yaml::{Entry, Node, Value};

/// A value and the way to it.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    /// The last part of the path.
    pub(super) name: &'a str,
    pub(super) node: &'a Node,
    /// The place of the key, or of the item of a list.
    pub(super) mark: Mark,
    /// As in `services.sams.restart`.
    pub(super) path: String,
}

/// A `key: value` or `key=value` with its place.
pub(super) struct Pair<'a> {
    pub(super) key: String,
    /// `None` when there is only a key.
    pub(super) value: Option<String>,
    pub(super) at: At<'a>,
}

impl<'a> At<'a> {
    pub(super) fn root(node: &'a Node) -> Self {
        Self {
            name: "",
            node,
            mark: node.mark,
            path: String::new(),
        }
    }

    fn child(&self, entry: &'a Entry) -> Self {
        let path = match self.path.as_str() {
            "" => entry.key.clone(),
            path => format!("{path}.{}", entry.key),
        };
        Self {
            name: &entry.key,
            node: &entry.node,
            mark: entry.mark,
            path,
        }
    }

    pub(super) fn fault(&self, faults: &mut Faults, message: impl Into<String>, remedy: impl Into<String>) {
        faults.fault(self.mark, &self.path, message, remedy);
    }

    pub(super) fn warn(&self, faults: &mut Faults, message: impl Into<String>, remedy: impl Into<String>) {
        faults.warn(self.mark, &self.path, message, remedy);
    }

    pub(super) fn get(&self, key: &str) -> Option<Self> {
        self.node.get(key).map(|entry| self.child(entry))
    }

    /// The `x-leasehold` of a service that is protected; `false` says that it is not, whatever it inherits.
    pub(super) fn protection(&self) -> Option<Self> {
        let own = self.get("x-leasehold");
        own.filter(|own| own.node.scalar().as_deref() != Some("false"))
    }

    /// The entries of a mapping; null is an empty one, anything else a fault.
    pub(super) fn map(&self, faults: &mut Faults) -> Vec<Self> {
        match &self.node.value {
            Value::Map(entries) => entries.iter().map(|entry| self.child(entry)).collect(),
            Value::Null => Vec::new(),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => {
                self.fault(faults, "must be a mapping of keys to values", "");
                Vec::new()
            }
        }
    }

    /// The entries of a mapping that knows only certain keys; `x-` keys are the user's own.
    pub(super) fn map_of(&self, faults: &mut Faults, known: &[&str]) -> Vec<Self> {
        let fields = self
            .map(faults)
            .into_iter()
            .filter(|field| !field.name.starts_with("x-"));
        let (good, bad): (Vec<_>, Vec<_>) = fields.partition(|field| known.contains(&field.name));
        for field in bad {
            field.unknown(faults, known);
        }
        good
    }

    /// The fault for a key that nobody knows, or that Compose knows and Leasehold does not carry out.
    pub(super) fn unknown(&self, faults: &mut Faults, known: &[&str]) {
        match keys::fate(&self.path) {
            Some(Fate::Refused(remedy)) => return self.not_carried_out(faults, remedy),
            Some(Fate::Warned(why)) => return self.warn(faults, format!("is not carried out: {why}"), ""),
            Some(Fate::CarriedOut) | None => {}
        }
        let remedy = scalar::did_you_mean(self.name, known).unwrap_or_else(|| "remove it".to_owned());
        self.fault(faults, "is not a key that Leasehold knows here", remedy);
    }

    pub(super) fn not_carried_out(&self, faults: &mut Faults, remedy: &str) {
        self.fault(faults, "is not carried out for a protected service", remedy);
    }

    /// The items of a list; null is an empty one, anything else a fault.
    pub(super) fn list(&self, faults: &mut Faults) -> Vec<Self> {
        match &self.node.value {
            Value::List(items) => self.items(items),
            Value::Null => Vec::new(),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Map(_) => {
                self.fault(faults, "must be a list", "");
                Vec::new()
            }
        }
    }

    fn items(&self, items: &'a [Node]) -> Vec<Self> {
        let item = |node: &'a Node| Self {
            name: self.name,
            node,
            mark: node.mark,
            path: self.path.clone(),
        };
        items.iter().map(item).collect()
    }

    pub(super) fn text(&self, faults: &mut Faults) -> Option<String> {
        let text = self.node.scalar();
        if text.is_none() {
            self.fault(faults, "must be a string", "");
        }
        text
    }

    pub(super) fn bool(&self, faults: &mut Faults) -> Option<bool> {
        let value = match self.node.scalar().unwrap_or_default().to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "y" | "1" => Some(true),
            "false" | "no" | "off" | "n" | "0" => Some(false),
            _ => None,
        };
        if value.is_none() {
            self.fault(faults, "must be true or false", "");
        }
        value
    }

    pub(super) fn int(&self, faults: &mut Faults) -> Option<i64> {
        self.parsed(faults, "a whole number", |text| text.parse().ok())
    }

    pub(super) fn bytes(&self, faults: &mut Faults) -> Option<i64> {
        self.parsed(faults, "a size such as 64m", scalar::bytes)
    }

    pub(super) fn duration(&self, faults: &mut Faults) -> Option<Duration> {
        self.parsed(faults, "a duration such as 10s or 1m30s", scalar::duration)
    }

    /// A scalar through a parser; `what` completes "must be ...".
    pub(super) fn parsed<T>(&self, faults: &mut Faults, what: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.node.scalar();
        let value = text.as_deref().and_then(parse);
        if value.is_none() {
            let but = text.map_or_else(String::new, |text| format!(", not {text:?}"));
            self.fault(faults, format!("must be {what}{but}"), "");
        }
        value
    }

    /// A list of strings, or one string for a list of one.
    pub(super) fn strings(&self, faults: &mut Faults) -> Vec<String> {
        if let Some(text) = self.node.scalar() {
            return vec![text];
        }
        let items = self.list(faults);
        items.iter().filter_map(|item| item.text(faults)).collect()
    }

    /// A mapping, or a list of `key=value`.
    pub(super) fn pairs(&self, faults: &mut Faults) -> Vec<Pair<'a>> {
        if !matches!(self.node.value, Value::List(_)) {
            let fields = self.map(faults);
            return fields.into_iter().filter_map(|field| field.into_pair(faults)).collect();
        }
        let items = self.list(faults);
        let texts = items
            .into_iter()
            .filter_map(|at| at.text(faults).map(|text| (text, at)));
        let pair = |(text, at): (String, At<'a>)| match text.split_once('=') {
            Some((key, value)) => Pair {
                key: key.to_owned(),
                value: Some(value.to_owned()),
                at,
            },
            None => Pair {
                key: text,
                value: None,
                at,
            },
        };
        texts.collect::<Vec<_>>().into_iter().map(pair).collect()
    }

    fn into_pair(self, faults: &mut Faults) -> Option<Pair<'a>> {
        let value = match self.node.is_null() {
            true => None,
            false => Some(self.text(faults)?),
        };
        Some(Pair {
            key: self.name.to_owned(),
            value,
            at: self,
        })
    }
}
