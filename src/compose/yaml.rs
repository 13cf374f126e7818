//! YAML text to a tree that remembers where every node stands.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Error, Spanned, Tagged};

use super::fault::Mark;

/// A node and its place.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) mark: Mark,
    pub(super) tag: Tag,
}

/// What Compose's own tags say of a value when files are merged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Tag {
    #[default]
    None,
    /// `!reset`: the key is taken out, whatever an earlier file says.
    Reset,
    /// `!override`: the value of an earlier file is replaced, not added to.
    Override,
    /// Nobody's; an error once the document has been read.
    Other(String),
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
    pub(super) fn new(value: Value, mark: Mark) -> Self {
        let tag = Tag::None;
        Self { value, mark, tag }
    }

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

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Entry> {
        match &mut self.value {
            Value::Map(entries) => entries.iter_mut().find(|entry| entry.key == key),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// Takes a key out of a mapping.
    pub(super) fn take(&mut self, key: &str) -> Option<Entry> {
        match &mut self.value {
            Value::Map(entries) => {
                let index = entries.iter().position(|entry| entry.key == key)?;
                Some(entries.remove(index))
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => None,
        }
    }

    /// The entries of a mapping; none for anything else.
    pub(super) fn entries_mut(&mut self) -> &mut [Entry] {
        match &mut self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => &mut [],
        }
    }

    /// The items of a list; none for anything else.
    pub(super) fn items_mut(&mut self) -> &mut [Self] {
        match &mut self.value {
            Value::List(items) => items,
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Map(_) => &mut [],
        }
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        match self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => {
                Vec::new()
            }
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

    /// The first tag in it that is neither YAML's nor Compose's.
    fn foreign_tag(&self) -> Option<Broken> {
        if let Tag::Other(tag) = &self.tag {
            return Some(Broken {
                line: self.mark.line,
                message: format!("the tag {tag} is neither YAML's nor Compose's"),
            });
        }
        match &self.value {
            Value::List(items) => items.iter().find_map(Self::foreign_tag),
            Value::Map(entries) => entries.iter().find_map(|entry| entry.node.foreign_tag()),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => None,
        }
    }
}

/// Events that aliases may unfold to: a thousand uses of a large service.
const UNFOLDED_MAX: usize = 200_000;

/// Why a text is no YAML that can be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) line: u32,
    pub(super) message: String,
}

/// Reads the documents of a file, without empty ones. Aliases and `<<` are carried out; a key that stands twice and tags that
/// Compose does not know are errors.
pub(super) fn parse(text: &str, file: usize) -> Result<Vec<Node>, Broken> {
    let options = serde_saphyr::options! {
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::Error,
        merge_keys: serde_saphyr::options::MergeKeyPolicy::Merge,
        legacy_octal_numbers: true,
        strict_booleans: true,
        with_snippet: false,
        // Many uses of few anchors are common. What they unfold to is bounded all the same.
        budget: serde_saphyr::budget! { enforce_alias_anchor_ratio: false },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: UNFOLDED_MAX },
    };
    let read = serde_saphyr::from_multiple_with_options::<Node>(text, options);
    let mut documents = read.map_err(|error| Broken {
        line: error.location().map_or(0, |location| line_of(location.line())),
        message: reason(&error),
    })?;
    documents.retain(|document| !document.is_null());
    if let Some(broken) = documents.iter().find_map(Node::foreign_tag) {
        return Err(broken);
    }
    documents.iter_mut().for_each(|document| document.set_file(file));
    Ok(documents)
}

fn line_of(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// The parser's errors in words of our own: its names of things are no help to whoever wrote the file.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of its errors are of a reader that is not used here"
)]
fn reason(error: &Error) -> String {
    let words = match error.without_snippet() {
        Error::AliasError { error, .. } => return reason(error),
        Error::DuplicateMappingKey { key: Some(key), .. } => return format!("the key {key:?} stands twice"),
        Error::DuplicateMappingKey { key: None, .. } => "a key stands twice",
        Error::UnknownAnchor { .. } => "an alias names an anchor that is not further up",
        Error::Budget { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => "it unfolds to more than a compose file may hold",
        Error::MergeValueNotMapOrSeqOfMaps { .. } => "`<<` takes a mapping or a list of mappings",
        Error::UnsupportedTag { tag, .. } => return format!("the tag {tag} does not fit its value"),
        Error::RecursiveReferencesRequireWeakTypes { .. } => "an anchor holds itself",
        Error::SerdeInvalidType { .. } | Error::ExpectedStringKeyForExternallyTaggedEnum { .. } => {
            "a key is no plain text"
        }
        Error::NonFiniteFloat { .. } => "a number is not finite: put it in quotes",
        _ => {
            "it ends or goes on where it can't: look at the indentation, quotes and brackets here and on the line above"
        }
    };
    words.to_owned()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tagged(spanned, tag) = Tagged::<Spanned<Value>>::deserialize(deserializer)?;
        let tag = match tag.as_deref() {
            None | Some("!") => Tag::None,
            Some("!reset") => Tag::Reset,
            Some("!override") => Tag::Override,
            Some(tag) if tag.starts_with("tag:yaml.org,2002:") => Tag::None,
            Some(tag) => Tag::Other(tag.to_owned()),
        };
        Ok(Self {
            value: spanned.value,
            mark: Mark {
                file: 0,
                line: line_of(spanned.defined.line()),
            },
            tag,
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

    fn one(text: &str, file: usize) -> Result<Node, Broken> {
        Ok(parse(text, file)?.remove(0))
    }

    fn scalar(text: &str) -> Value {
        one(&format!("k: {text}\n"), 0)
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
        let node = one("a:\n  b: 1\n  c:\n    - x\n    - y\n", 3).unwrap();
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
        let node = one(text, 0).unwrap();
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
            ("a: 1\nb: 2\na: 3\n", 3, "stands twice"),
            ("a:\n  b: [1, 2\n", 0, "brackets"),
            (
                "a: 1\nports: !secret []\n",
                2,
                "the tag !secret is neither YAML's nor Compose's",
            ),
            ("a: 1\nb: *nowhere\n", 2, "not further up"),
            ("a: &a 1\nb:\n  <<: *a\n", 0, "takes a mapping"),
            ("a: 1\n b: 2\n", 2, "indentation"),
            ("a: \"x\n", 0, "quotes"),
            ("a: .inf\n", 1, "not finite"),
        ] {
            let broken = parse(text, 0).unwrap_err();
            assert!(broken.message.contains(part), "{text:?}: {broken:?}");
            assert!(broken.line == line || line == 0, "{text:?}: {broken:?}");
        }
    }

    #[test]
    fn composes_own_tags_are_kept_wherever_they_stand() {
        let text =
            "x: &x {p: !reset []}\na: !reset null\nb: !override\n  c: 1\nd: [!reset 1, 2]\ns: {<<: *x}\ne: !!str 5\n";
        let node = one(text, 0).unwrap();
        let tag = |key: &str| node.get(key).unwrap().node.tag.clone();
        assert_eq!(
            [tag("a"), tag("b"), tag("d"), tag("e")],
            [Tag::Reset, Tag::Override, Tag::None, Tag::None]
        );
        assert_eq!(node.get("d").unwrap().node.items()[0].tag, Tag::Reset);
        assert_eq!(node.get("s").unwrap().node.get("p").unwrap().node.tag, Tag::Reset);
        assert_eq!(node.get("b").unwrap().node.get("c").unwrap().node.value, Value::Int(1));
        assert_eq!(node.get("e").unwrap().node.value, Value::Text("5".into()));
    }

    #[test]
    fn many_aliases_are_read_and_a_bomb_is_not() {
        let many: String = (0..1000).map(|index| format!("s{index}: *a\n")).collect();
        let node = one(&format!("a: &a {{b: 1}}\n{many}"), 0).unwrap();
        assert_eq!(node.entries().len(), 1001);
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let all = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{all}]\n"));
        }
        assert!(parse(&bomb, 0).unwrap_err().message.contains("unfolds to more"));
    }

    #[test]
    fn a_file_may_hold_several_documents_or_none() {
        for (text, count) in [
            ("", 0),
            ("\n", 0),
            ("# nothing\n", 0),
            ("---\na: 1\n---\nb: 2\n", 2),
            ("a: 1\n---\n", 1),
        ] {
            assert_eq!(parse(text, 0).unwrap().len(), count, "{text:?}");
        }
        let second = parse("a: 1\n---\n\nb: 2\n", 0).unwrap().remove(1);
        assert_eq!(second.get("b").unwrap().mark.line, 4);
    }
}
