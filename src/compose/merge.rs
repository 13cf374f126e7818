//! Several compose files become one, by the rules of Compose.

use super::fault::{Faults, Mark};
use super::yaml::{Entry, Node, Value};

/// How the values of a key are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Mappings key by key, lists one after the other, scalars replaced.
    Usual,
    /// The later file wins, even with null.
    Replace,
    /// `key=value` lists and mappings are the same thing; the later value of a key wins.
    Pairs,
    /// One string is a list of one; what is there already is not added.
    Strings,
    /// A list of names is a mapping of names to null.
    Names,
    /// Options are merged only for the same driver.
    Logging,
    /// A list whose items are told apart by their target.
    ByTarget,
    /// A list in which nothing stands twice.
    Unique,
}

/// Puts `over` onto `base`.
pub(super) fn merge(base: Node, over: Node, faults: &mut Faults) -> Node {
    merge_at(base, over, &[], faults)
}

fn rule(path: &[&str]) -> Rule {
    match path {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => Rule::Replace,
        ["services", _, "environment" | "labels" | "annotations" | "sysctls"]
        | ["networks" | "volumes" | "secrets" | "configs", _, "labels"]
        | ["services", _, "deploy", "labels"] => Rule::Pairs,
        ["services", _, "dns" | "dns_search" | "dns_opt" | "tmpfs" | "env_file"] => Rule::Strings,
        ["services", _, "depends_on" | "networks"] => Rule::Names,
        ["services", _, "logging"] => Rule::Logging,
        ["services", _, "volumes" | "devices" | "secrets" | "configs"] => Rule::ByTarget,
        [
            "services",
            _,
            "ports" | "expose" | "cap_add" | "cap_drop" | "profiles" | "security_opt" | "group_add",
        ]
        | ["services", _, "networks", _, "aliases"] => Rule::Unique,
        _ => Rule::Usual,
    }
}

fn merge_at(base: Node, over: Node, path: &[&str], faults: &mut Faults) -> Node {
    let rule = rule(path);
    if rule == Rule::Replace || base.is_null() {
        return over;
    }
    if over.is_null() {
        return base;
    }
    match rule {
        Rule::Replace => over,
        Rule::Usual => usual(base, over, path, faults),
        Rule::Pairs => usual(as_pairs(base), as_pairs(over), path, faults),
        Rule::Names => usual(as_names(base), as_names(over), path, faults),
        Rule::Strings => unique(usual(as_list(base), as_list(over), path, faults)),
        Rule::Unique => unique(usual(base, over, path, faults)),
        Rule::ByTarget => by_target(usual(base, over, path, faults)),
        Rule::Logging => {
            let driver = |node: &Node| node.get("driver").and_then(|entry| entry.node.scalar());
            match (driver(&base), driver(&over)) {
                (Some(old), Some(new)) if old != new => over,
                (Some(_) | None, Some(_) | None) => usual(base, over, path, faults),
            }
        }
    }
}

fn usual(base: Node, over: Node, path: &[&str], faults: &mut Faults) -> Node {
    let mark = over.mark;
    let value = match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => Value::Map(merge_entries(base, over, path, faults)),
        (Value::List(mut base), Value::List(over)) => {
            base.extend(over);
            Value::List(base)
        }
        (base @ (Value::Map(_) | Value::List(_)), over) => {
            if !matches!((path, &base), (["services", _, "ulimits", _], Value::Map(_))) {
                cannot(mark, path, faults);
            }
            over
        }
        (Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_), over) => over,
    };
    Node { value, mark }
}

fn cannot(mark: Mark, path: &[&str], faults: &mut Faults) {
    faults.fault(
        mark,
        &path.join("."),
        "is of another kind in an earlier file",
        "write it as a list in both files, or as a mapping in both",
    );
}

fn merge_entries(mut base: Vec<Entry>, over: Vec<Entry>, path: &[&str], faults: &mut Faults) -> Vec<Entry> {
    for entry in over {
        let Some(known) = base.iter_mut().find(|known| known.key == entry.key) else {
            base.push(entry);
            continue;
        };
        let mut deeper = path.to_vec();
        deeper.push(&entry.key);
        let old = std::mem::take(&mut known.node);
        let replaced = old.entries().is_empty();
        known.node = merge_at(old, entry.node, &deeper, faults);
        // A mapping stays where it was first written; a value is where it was last written.
        if replaced {
            known.mark = entry.mark;
        }
    }
    base
}

fn as_pairs(node: Node) -> Node {
    let mark = node.mark;
    let mut entries: Vec<Entry> = Vec::new();
    let Value::List(items) = node.value else {
        return node;
    };
    for item in items {
        let text = item.scalar().unwrap_or_default();
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Value::Text(value.to_owned())),
            None => (text, Value::Null),
        };
        entries.retain(|entry| entry.key != key);
        let mark = item.mark;
        let node = Node { value, mark };
        entries.push(Entry { key, mark, node });
    }
    let value = Value::Map(entries);
    Node { value, mark }
}

fn as_names(node: Node) -> Node {
    let mark = node.mark;
    let Value::List(items) = node.value else {
        return node;
    };
    let entry = |item: Node| Entry {
        key: item.scalar().unwrap_or_default(),
        mark: item.mark,
        node: Node {
            value: Value::Null,
            mark: item.mark,
        },
    };
    let value = Value::Map(items.into_iter().map(entry).collect());
    Node { value, mark }
}

fn as_list(node: Node) -> Node {
    let mark = node.mark;
    if node.scalar().is_none() {
        return node;
    }
    let value = Value::List(vec![node]);
    Node { value, mark }
}

/// Keeps the last of the items that are the same by `identity`, in the place of the first.
fn keep_last(node: Node, identity: impl Fn(&Node) -> String) -> Node {
    let mark = node.mark;
    let Value::List(items) = node.value else {
        return node;
    };
    let mut kept: Vec<Node> = Vec::new();
    for item in items {
        match kept.iter_mut().find(|known| identity(known) == identity(&item)) {
            Some(known) => *known = item,
            None => kept.push(item),
        }
    }
    let value = Value::List(kept);
    Node { value, mark }
}

fn unique(node: Node) -> Node {
    keep_last(node, describe)
}

fn by_target(node: Node) -> Node {
    keep_last(node, target)
}

/// The values of a node without their places.
fn describe(node: &Node) -> String {
    match &node.value {
        Value::Map(entries) => entries
            .iter()
            .map(|entry| format!("{}: {}, ", entry.key, describe(&entry.node)))
            .collect(),
        Value::List(items) => items.iter().map(|item| format!("{}, ", describe(item))).collect(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
            node.scalar().unwrap_or_default()
        }
    }
}

/// The path in the container that an item of `volumes`, `devices`, `secrets` or `configs` is about.
fn target(node: &Node) -> String {
    if let Some(text) = node.scalar() {
        let mut parts = text.split(':');
        let first = parts.next().unwrap_or_default();
        return parts.next().unwrap_or(first).trim_end_matches('/').to_owned();
    }
    let key = node.get("target").or_else(|| node.get("source"));
    let text = key.and_then(|entry| entry.node.scalar()).unwrap_or_default();
    text.trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    fn merged(base: &str, over: &str) -> (String, usize) {
        let service = |text: &str, file| parse(&format!("services: {{s: {{{text}}}}}"), file).unwrap();
        let mut faults = Faults::default();
        let node = merge(service(base, 0), service(over, 1), &mut faults);
        let s = &node.get("services").unwrap().node.get("s").unwrap().node;
        let text = describe(s).trim_end_matches([',', ' ']).to_owned();
        (text, faults.into_parts().0.len())
    }

    #[test]
    fn every_kind_of_key_has_its_rule() {
        for (base, over, result) in [
            ("image: a", "image: b", "image: b"),
            ("image: a", "user: b", "image: a, user: b"),
            ("image: a", "image: null", "image: a"),
            ("command: [a, b]", "command: [c]", "command: c"),
            ("command: [a]", "command: null", "command:"),
            (
                "environment: [A=1, B=2]",
                "environment: {B: 3, C: 4}",
                "environment: A: 1, B: 3, C: 4",
            ),
            ("labels: {a: 1}", "labels: [a=2]", "labels: a: 2"),
            ("dns: 1.1.1.1", "dns: [2.2.2.2, 1.1.1.1]", "dns: 1.1.1.1, 2.2.2.2"),
            (
                "depends_on: [a]",
                "depends_on: {b: {condition: x}}",
                "depends_on: a: , b: condition: x",
            ),
            ("networks: [a]", "networks: [b]", "networks: a: , b:"),
            (
                "logging: {driver: a, options: {x: 1}}",
                "logging: {driver: b}",
                "logging: driver: b",
            ),
            (
                "logging: {driver: a, options: {x: 1}}",
                "logging: {options: {y: 1}}",
                "logging: driver: a, options: x: 1, y: 1",
            ),
            ("volumes: [a:/x, b:/y]", "volumes: [c:/x:ro]", "volumes: c:/x:ro, b:/y"),
            (
                "volumes: [a:/x]",
                "volumes: [{type: bind, source: /h, target: /x}]",
                "volumes: type: bind, source: /h, target: /x",
            ),
            (
                "devices: [/dev/a:/dev/x]",
                "devices: [/dev/b:/dev/x]",
                "devices: /dev/b:/dev/x",
            ),
            ("extra_hosts: [a:1]", "extra_hosts: [a:2]", "extra_hosts: a:1, a:2"),
            ("ports: ['80:80']", "ports: ['80:80', '81:81']", "ports: 80:80, 81:81"),
            ("security_opt: [a]", "security_opt: [a]", "security_opt: a"),
            (
                "ulimits: {nofile: {soft: 1, hard: 2}}",
                "ulimits: {nofile: 5}",
                "ulimits: nofile: 5",
            ),
            (
                "x-leasehold: {group: a}",
                "x-leasehold: {vip_first: true}",
                "x-leasehold: group: a, vip_first: true",
            ),
        ] {
            assert_eq!(merged(base, over), (result.to_owned(), 0), "{base} + {over}");
        }
    }

    #[test]
    fn kinds_that_do_not_fit_are_a_fault() {
        assert_eq!(merged("cap_add: [a]", "cap_add: {b: c}").1, 1);
        assert_eq!(merged("healthcheck: {retries: 1}", "healthcheck: 5").1, 1);
    }

    #[test]
    fn a_value_stands_where_it_was_last_written() {
        let mut faults = Faults::default();
        let base = parse("services:\n  s:\n    image: a\n", 0).unwrap();
        let over = parse("services:\n  s:\n\n\n    image: b\n", 1).unwrap();
        let node = merge(base, over, &mut faults);
        let s = node.get("services").unwrap().node.get("s").unwrap().clone();
        assert_eq!((s.mark.file, s.mark.line), (0, 2));
        let image = s.node.get("image").unwrap();
        assert_eq!((image.mark.file, image.mark.line), (1, 5));
    }
}
