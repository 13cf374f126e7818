//! YAML text to a tree that remembers where every node stands.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::fault::Mark;

/// A node and its place.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) mark: Mark,
}

/// What a node holds. Plain scalars are typed as Compose's own parser types them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Value {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a mapping with its value, in file order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) mark: Mark,
    pub(super) node: Node,
}

impl Node {
    /// The value under a key; `None` when this is no mapping or has no such key.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// A scalar as text; `None` for null, lists and mappings.
    pub(super) fn scalar(&self) -> Option<String> {
        match &self.value {
            Value::Bool(value) => Some(value.to_string()),
            Value::Int(value) => Some(value.to_string()),
            Value::Float(value) => Some(value.to_string()),
            Value::Text(value) => Some(value.clone()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The items of a list; none for anything else.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Map(_) => &[],
        }
    }

    /// The entries of a mapping; none for anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => &[],
        }
    }

    pub(super) fn is_null(&self) -> bool {
        self.value == Value::Null
    }

    fn set_file(&mut self, file: usize) {
        self.mark.file = file;
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.set_file(file)),
            Value::Map(entries) => {
                for entry in entries {
                    entry.mark.file = file;
                    entry.node.set_file(file);
                }
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
        }
    }
}

/// Why a text is no YAML that can be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) line: u32,
    pub(super) message: String,
}

/// Reads one document. Aliases and `<<` are carried out; a key that stands twice and unknown tags are errors.
pub(super) fn parse(text: &str, file: usize) -> Result<Node, Broken> {
    if text.trim().is_empty() {
        return Ok(Node::default());
    }
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Merge,
        legacy_octal_numbers: true,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    let mut node: Node = serde_saphyr::from_str_with_options(text, options).map_err(|error| Broken {
        line: error.location().map_or(0, |location| line_of(location.line())),
        message: plain_message(&error.without_snippet().to_string()),
    })?;
    node.set_file(file);
    Ok(node)
}

fn line_of(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// The parser's message without the place, which the fault says itself.
fn plain_message(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    match first.find(" at line ") {
        Some(end) => first[..end].to_owned(),
        None => first.to_owned(),
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self {
            value: spanned.value,
            mark: Mark {
                file: 0,
                line: line_of(spanned.defined.line()),
            },
        })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or_else(|_| Value::Text(value.to_string()), Value::Int))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Text(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            if entries.iter().any(|entry| entry.key == key.value) {
                return Err(A::Error::custom(format!("the key {:?} stands twice", key.value)));
            }
            entries.push(Entry {
                mark: Mark {
                    file: 0,
                    line: line_of(key.defined.line()),
                },
                key: key.value,
                node: map.next_value()?,
            });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> Value {
        parse(&format!("k: {text}\n"), 0)
            .unwrap()
            .get("k")
            .unwrap()
            .node
            .value
            .clone()
    }

    #[test]
    fn scalars_are_typed_as_compose_types_them() {
        let text = |text: &str| Value::Text(text.to_owned());
        for (source, value) in [
            ("no", text("no")),
            ("\"no\"", text("no")),
            ("on", text("on")),
            ("true", Value::Bool(true)),
            ("10", Value::Int(10)),
            ("0440", Value::Int(0o440)),
            ("'0440'", text("0440")),
            ("0.5", Value::Float(0.5)),
            ("1m30s", text("1m30s")),
            ("22:22", text("22:22")),
            ("True", Value::Bool(true)),
            ("0x10", Value::Int(16)),
            ("0o17", Value::Int(15)),
            ("1_000", Value::Int(1000)),
            ("1e3", Value::Float(1000.0)),
            (".5", Value::Float(0.5)),
            ("12345678901234567890", text("12345678901234567890")),
            ("172.22.1.254", text("172.22.1.254")),
            ("", Value::Null),
            ("~", Value::Null),
        ] {
            assert_eq!(scalar(source), value, "{source}");
        }
    }

    #[test]
    fn keys_and_values_know_their_lines() {
        let node = parse("a:\n  b: 1\n  c:\n    - x\n    - y\n", 3).unwrap();
        let a = node.get("a").unwrap();
        assert_eq!((a.mark.line, a.mark.file), (1, 3));
        assert_eq!(a.node.get("b").unwrap().mark.line, 2);
        let c = a.node.get("c").unwrap();
        assert_eq!((c.mark.line, c.node.items()[1].mark.line), (3, 5));
        assert_eq!(c.node.items()[1].mark.file, 3);
    }

    #[test]
    fn anchors_aliases_and_merge_keys_are_carried_out() {
        let text =
            "x-base: &base\n  restart: always\n  image: a\nservices:\n  s:\n    <<: *base\n    image: b\n  t: *base\n";
        let node = parse(text, 0).unwrap();
        let services = &node.get("services").unwrap().node;
        let s = &services.get("s").unwrap().node;
        assert_eq!(s.get("image").unwrap().node.value, Value::Text("b".into()));
        assert_eq!(s.get("restart").unwrap().mark.line, 2);
        assert!(s.get("<<").is_none());
        assert_eq!(services.get("t").unwrap().node.entries().len(), 2);
    }

    #[test]
    fn what_is_no_clean_document_is_an_error_with_its_line() {
        for (text, line, part) in [
            ("a: 1\nb: 2\na: 3\n", 3, "duplicate"),
            ("a:\n  b: [1, 2\n", 3, ""),
            ("a: 1\nports: !reset []\n", 2, "tag"),
            ("a: 1\nb: *nowhere\n", 2, ""),
        ] {
            let broken = parse(text, 0).unwrap_err();
            assert!(broken.message.to_lowercase().contains(part), "{text:?}: {broken:?}");
            assert!(broken.line == line || part.is_empty(), "{text:?}: {broken:?}");
        }
    }

    #[test]
    fn an_empty_file_is_null() {
        assert!(parse("\n", 0).unwrap().is_null());
        assert!(parse("# nothing\n", 0).unwrap().is_null());
    }
}
