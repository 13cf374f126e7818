//! What the protection of some services means for the others of their file: who waits for them, and who inherits from them.

use super::super::fault::Fault;
use super::super::files;
use super::super::yaml::{Node, Value};
use super::lines::{Block, Edit, Lines, indent};
use super::{BESIDE, KEPT, Subject, release};

/// Lets services that wait for a protected one do without it: its profile is off, so Compose would call the project invalid.
pub(super) fn dependants(subject: &Subject, names: &[&str]) -> Vec<Edit> {
    let lines = Lines::of(&subject.text);
    let others = others(&subject.own, names);
    others
        .filter(|(_, node)| node.get("x-leasehold").is_none())
        .filter_map(|(name, node)| dependant(subject, &lines, name, node, names))
        .collect()
}

fn dependant(subject: &Subject, lines: &Lines<'_>, name: &str, node: &Node, names: &[&str]) -> Option<Edit> {
    let wanted = &node.get("depends_on")?.node;
    let is_optional =
        |node: &Node| node.get("required").and_then(|entry| entry.node.scalar()).as_deref() == Some("false");
    let listed = wanted.items().iter().filter_map(Node::scalar);
    let mut all: Vec<(String, String, bool)> = listed
        .map(|name| (name, "condition: service_started".to_owned(), false))
        .collect();
    for entry in wanted.entries() {
        let stated = entry.node.entries().iter().filter(|part| part.key != "required");
        let stated: Vec<String> = stated
            .map(|part| format!("{}: {}", part.key, flow(&part.node)))
            .collect();
        all.push((entry.key.clone(), stated.join(", "), is_optional(&entry.node)));
    }
    let concerns = |(name, _, optional): &(String, String, bool)| names.contains(&name.as_str()) && !optional;
    if !all.iter().any(concerns) {
        return None;
    }
    let block = open(subject, lines, name)?;
    let mark = format!("{BESIDE}{}", names.join(", "));
    let margin = " ".repeat(lines.inner_indent(block));
    let entry = node.get("depends_on")?;
    let old = lines.block("depends_on", entry.mark.line);
    let old = old.filter(|old| block.first < old.first && old.end <= block.end);
    // What it inherits is overridden; what it says itself is kept in a comment.
    let (at, remove) = old.map_or((block.end, 0), |old| (old.first, old.end - old.first));
    let old = old.map(|old| (old.first..old.end).map(move |index| kept(lines.line(index), old.indent)));
    let mut insert: Vec<String> = old.into_iter().flatten().collect();
    insert.push(format!("{margin}depends_on:{mark}"));
    for (other, stated, optional) in all {
        let required = optional || names.contains(&other.as_str());
        let required = if required { ", required: false" } else { "" };
        insert.push(format!("{margin}  {other}: {{ {stated}{required} }}{mark}"));
    }
    Some(Edit { at, remove, insert })
}

/// A line as a comment that is put back one day.
fn kept(line: &str, margin: usize) -> String {
    match line.get(margin..) {
        Some(rest) if indent(line) >= margin && !rest.is_empty() => format!("{}{KEPT}{rest}", " ".repeat(margin)),
        Some(_) | None => line.to_owned(),
    }
}

/// Gives services that merge an anchor of a protected one what they had from it before.
pub(super) fn disinherit(subject: &Subject, names: &[&str], after: &str) -> Result<Vec<Edit>, Fault> {
    let Ok(tree) = files::own_tree(after) else {
        return Ok(Vec::new());
    };
    let lines = Lines::of(&subject.text);
    let mut edits = Vec::new();
    for (name, before) in others(&subject.own, names) {
        let Some(after) = tree.get("services").and_then(|services| services.node.get(name)) else {
            continue;
        };
        let keys = before.entries().iter().chain(after.node.entries());
        let mut changed: Vec<&str> = keys
            .map(|entry| entry.key.as_str())
            .filter(|key| *key != "depends_on" && value(before, key) != value(&after.node, key))
            .collect();
        changed.sort_unstable();
        changed.dedup();
        if changed.is_empty() {
            continue;
        }
        let Some(block) = open(subject, &lines, name) else {
            let message = format!("inherits from {}, and would be protected with it", names.join(", "));
            return Err(subject.fault(name, &message, "write each of its keys on a line of its own"));
        };
        let margin = " ".repeat(lines.inner_indent(block));
        let line = |key: &str| {
            let value = value(before, key).unwrap_or_else(|| nothing(key).to_owned());
            format!("{margin}{key}: {value}{BESIDE}{}", names.join(", "))
        };
        edits.push(Edit {
            at: block.end,
            remove: 0,
            insert: changed.iter().map(|key| line(key)).collect(),
        });
    }
    Ok(edits)
}

/// How a service says that it has nothing of a key that it would inherit.
fn nothing(key: &str) -> &'static str {
    match key {
        "profiles" => "[]",
        "scale" => "1",
        "x-leasehold" => "false",
        _ => "null",
    }
}

/// Takes the lines out again once all that they are there for are plain.
pub(super) fn put_back(subject: &Subject, names: &[&str]) -> Vec<Edit> {
    let lines = Lines::of(&subject.text);
    let is_over = |line: &str| {
        let named = line.split_once(BESIDE).map(|(_, named)| named.split(", "));
        named.is_some_and(|mut named| named.all(|name| names.contains(&name) || release::is_plain(&subject.own, name)))
    };
    let mut edits = Vec::new();
    let is_plain = |node: &Node| {
        node.get("x-leasehold")
            .is_none_or(|own| own.node.scalar().as_deref() == Some("false"))
    };
    for (name, _) in others(&subject.own, names).filter(|(_, node)| is_plain(node)) {
        let Some(block) = open(subject, &lines, name) else {
            continue;
        };
        let ours = (block.first..block.end).any(|index| is_over(lines.line(index)));
        for index in (block.first..block.end).filter(|_| ours) {
            let line = lines.line(index);
            let insert = match line.trim_start().strip_prefix(KEPT) {
                Some(kept) => vec![format!("{}{kept}", " ".repeat(indent(line)))],
                None if is_over(line) => Vec::new(),
                None => continue,
            };
            edits.push(Edit {
                at: index,
                remove: 1,
                insert,
            });
        }
    }
    edits
}

fn others<'n>(own: &'n Node, names: &'n [&str]) -> impl Iterator<Item = (&'n str, &'n Node)> {
    let services = own
        .get("services")
        .map(|entry| entry.node.entries())
        .unwrap_or_default();
    let others = services.iter().filter(|entry| !names.contains(&entry.key.as_str()));
    others.map(|entry| (entry.key.as_str(), &entry.node))
}

/// The lines of a service, where lines can be added to it.
fn open(subject: &Subject, lines: &Lines<'_>, name: &str) -> Option<Block> {
    let entry = subject.own.get("services")?.node.get(name)?;
    lines
        .block(name, entry.mark.line)
        .filter(|block| lines.is_open(*block, name))
}

fn value(service: &Node, key: &str) -> Option<String> {
    service.get(key).map(|entry| flow(&entry.node))
}

/// A value on one line.
fn flow(node: &Node) -> String {
    match &node.value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => node.scalar().unwrap_or_default(),
        Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Value::List(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let pair = |entry: &super::super::yaml::Entry| {
                let key = serde_json::Value::from(entry.key.as_str());
                format!("{key}: {}", flow(&entry.node))
            };
            format!("{{{}}}", entries.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
    }
}
