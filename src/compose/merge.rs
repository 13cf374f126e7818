//! Several compose files become one, by the rules of Compose.

use super::fault::{Faults, Mark};
use super::yaml::{Entry, Node, Tag, Value};

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
    /// `name=address` lists and mappings are the same thing; every address of a name stays.
    Hosts,
    /// Subnets of a network: those of one subnet are put together.
    Subnets,
    /// A list whose items are told apart by their target.
    ByTarget,
    /// A list in which nothing stands twice.
    Unique,
}

/// Puts `over` onto `base`. What `!reset` and `!override` say is said already by the result.
pub(super) fn merge(base: Node, over: Node, faults: &mut Faults) -> Node {
    settled(merge_at(base, over, &[], faults))
}

/// Puts a service onto the one that it extends. Its tags stay: they count against earlier files, too.
pub(super) fn extend(base: Node, over: Node, faults: &mut Faults) -> Node {
    merge_at(settled(base), over, &["services", ""], faults)
}

/// Puts a file onto what it includes. Its tags stay as well.
pub(super) fn import(included: Node, over: Node, faults: &mut Faults) -> Node {
    merge_at(settled(included), over, &[], faults)
}

/// A tree as it is when nothing comes before it: what is to be taken out is not there.
pub(super) fn settled(mut node: Node) -> Node {
    settle(&mut node);
    node
}

fn settle(node: &mut Node) {
    node.tag = Tag::None;
    match &mut node.value {
        Value::List(items) => {
            items.retain(|item| item.tag != Tag::Reset);
            items.iter_mut().for_each(settle);
        }
        Value::Map(entries) => {
            entries.retain(|entry| entry.node.tag != Tag::Reset);
            entries.iter_mut().for_each(|entry| settle(&mut entry.node));
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
    }
}

fn rule(path: &[&str]) -> Rule {
    match path {
        ["services", _, "command" | "entrypoint"]
        | ["services", _, "healthcheck", "test"]
        | ["services", _, "environment" | "labels" | "annotations" | "sysctls", _] => Rule::Replace,
        ["services", _, "extra_hosts"] => Rule::Hosts,
        ["networks", _, "ipam", "config"] => Rule::Subnets,
        ["services", _, "environment" | "labels" | "annotations" | "sysctls"]
        | ["networks" | "volumes" | "secrets" | "configs", _, "labels"]
        | ["services", _, "deploy", "labels"] => Rule::Pairs,
        [
            "services",
            _,
            "dns" | "dns_search" | "dns_opt" | "tmpfs" | "env_file" | "label_file",
        ] => Rule::Strings,
        ["services", _, "depends_on" | "networks"] => Rule::Names,
        ["services", _, "logging"] => Rule::Logging,
        ["services", _, "volumes" | "devices" | "secrets" | "configs"] => Rule::ByTarget,
        [
            "services",
            _,
            "ports" | "expose" | "cap_add" | "cap_drop" | "profiles" | "security_opt" | "group_add" | "links",
        ]
        | ["services", _, "networks", _, "aliases" | "link_local_ips"] => Rule::Unique,
        _ => Rule::Usual,
    }
}

fn merge_at(base: Node, over: Node, path: &[&str], faults: &mut Faults) -> Node {
    let rule = rule(path);
    let stands_alone = over.tag != Tag::None || base.tag == Tag::Reset;
    if stands_alone || rule == Rule::Replace || base.is_null() {
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
        Rule::Hosts => unique(usual(as_hosts(base), as_hosts(over), path, faults)),
        Rule::Subnets => subnets(base, over, path, faults),
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
    Node::new(value, mark)
}

/// Each subnet of `over` onto the same one of `base`.
fn subnets(base: Node, over: Node, path: &[&str], faults: &mut Faults) -> Node {
    let mark = over.mark;
    let (Value::List(mut all), Value::List(new)) = (base.value, over.value) else {
        cannot(mark, path, faults);
        return Node::default();
    };
    let subnet = |node: &Node| node.get("subnet").and_then(|entry| entry.node.scalar());
    for item in new {
        match all.iter_mut().find(|known| subnet(known) == subnet(&item)) {
            Some(known) => *known = usual(std::mem::take(known), item, path, faults),
            None => all.push(item),
        }
    }
    Node::new(Value::List(all), mark)
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
        let node = Node::new(value, mark);
        entries.push(Entry { key, mark, node });
    }
    Node::new(Value::Map(entries), mark)
}

/// A mapping of names to one address or several as a list of `name=address`.
fn as_hosts(node: Node) -> Node {
    let mark = node.mark;
    let Value::Map(entries) = node.value else {
        return node;
    };
    let mut items = Vec::new();
    for Entry { key, node, .. } in entries {
        let addresses = match &node.value {
            Value::List(addresses) => addresses.clone(),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Map(_) => {
                vec![node]
            }
        };
        items.extend(addresses.into_iter().map(|address| {
            let text = format!("{key}={}", address.scalar().unwrap_or_default());
            Node::new(Value::Text(text), address.mark)
        }));
    }
    Node::new(Value::List(items), mark)
}

fn as_names(node: Node) -> Node {
    let mark = node.mark;
    let Value::List(items) = node.value else {
        return node;
    };
    let entry = |item: Node| Entry {
        key: item.scalar().unwrap_or_default(),
        mark: item.mark,
        node: Node::new(Value::Null, item.mark),
    };
    Node::new(Value::Map(items.into_iter().map(entry).collect()), mark)
}

fn as_list(node: Node) -> Node {
    let mark = node.mark;
    if node.scalar().is_none() {
        return node;
    }
    Node::new(Value::List(vec![node]), mark)
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
    Node::new(Value::List(kept), mark)
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
    use super::*;

    fn parse(text: &str, file: usize) -> Result<Node, super::super::yaml::Broken> {
        Ok(super::super::yaml::parse(text, file)?.remove(0))
    }

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
    fn tags_and_names_of_hosts_have_their_rules() {
        for (base, over, result) in [
            (
                "extra_hosts: {a: [1.1.1.1, 2.2.2.2]}",
                "extra_hosts: ['b=::1', 'a=1.1.1.1']",
                "extra_hosts: a=1.1.1.1, a=2.2.2.2, b=::1",
            ),
            (
                "environment: {A: 1, B: 2}",
                "environment: {A: }",
                "environment: A: , B: 2",
            ),
            ("ports: [1]", "ports: !reset [2]", ""),
            ("ports: [1], user: a", "ports: !reset null", "user: a"),
            ("ports: [1]", "ports: !override [2]", "ports: 2"),
            (
                "environment: {A: 1, B: 2}",
                "environment: {A: !reset null}",
                "environment: B: 2",
            ),
            (
                "environment: {A: 1, B: 2}",
                "environment: !override {C: 3}",
                "environment: C: 3",
            ),
            ("ports: !reset [1]", "ports: [2]", "ports: 2"),
            ("ports: !override [1]", "ports: [2]", "ports: 1, 2"),
            ("image: a", "ports: [!reset 1, 2]", "image: a, ports: 2"),
            ("user: a", "user: !reset null", ""),
        ] {
            assert_eq!(merged(base, over), (result.to_owned(), 0), "{base} + {over}");
        }
    }

    #[test]
    fn a_subnet_is_put_together_with_itself() {
        let network = |config: &str| parse(&format!("networks: {{n: {{ipam: {{config: [{config}]}}}}}}"), 0).unwrap();
        let (base, over) = (
            network("{subnet: 10.1.0.0/16, gateway: 10.1.0.1}, {subnet: 'fd00::/64'}"),
            network("{subnet: 10.1.0.0/16, ip_range: 10.1.5.0/24}, {subnet: 10.2.0.0/16}"),
        );
        let merged = merge(base, over, &mut Faults::default());
        let text = describe(&merged);
        assert_eq!(text.matches("subnet").count(), 3, "{text}");
        assert!(text.contains("gateway: 10.1.0.1, ip_range: 10.1.5.0/24"), "{text}");
    }

    #[test]
    fn a_service_is_put_onto_the_one_it_extends_and_its_tags_count_further() {
        let node = |text: &str| parse(text, 0).unwrap();
        let mut faults = Faults::default();
        let own = extend(
            node("ports: [1]\nuser: !reset null"),
            node("ports: !override [2]"),
            &mut faults,
        );
        assert_eq!(describe(&settled(own.clone())), "ports: 2, , ");
        let tag = own.get("ports").unwrap().node.tag.clone();
        assert_eq!(tag, Tag::Override, "an earlier file's ports go as well");
        assert!(own.get("user").is_none(), "what the other takes out is its own affair");
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
