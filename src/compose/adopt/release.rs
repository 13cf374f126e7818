//! The way back: a service without anything of Leasehold's, and with what `adopt` had put away.

use super::super::fault::Fault;
use super::super::yaml::Node;
use super::lines::{Edit, Lines, indent};
use super::{KEPT, OURS, Subject};

const TETHER: &str = "/leasehold/tether";

pub(super) fn plan(subject: &Subject) -> Result<Vec<Edit>, Fault> {
    let lines = Lines::of(&subject.text);
    let service = subject.service_block(&lines)?;
    let mut edits = Vec::new();
    for key in ["profiles", "scale", "entrypoint", "x-leasehold"] {
        let value = value(&subject.own, &subject.name, key);
        let Some(block) = subject
            .key_block(&lines, service, key)
            .filter(|_| value.is_some_and(|value| is_ours(key, value)))
        else {
            continue;
        };
        let instead = (key == "entrypoint").then(|| entrypoint(subject)).flatten();
        let indent = " ".repeat(block.indent);
        let is_kept = (service.first..service.end).any(|index| lines.line(index).contains("# plain: entrypoint:"));
        edits.push(Edit {
            at: block.first,
            remove: block.end - block.first,
            insert: instead
                .filter(|_| !is_kept)
                .map(|words| format!("{indent}entrypoint: {words}"))
                .into_iter()
                .collect(),
        });
    }
    let inside = |edits: &[Edit], index: usize| {
        edits
            .iter()
            .any(|edit| (edit.at..edit.at + edit.remove).contains(&index))
    };
    for index in service.first + 1..service.end {
        let line = lines.line(index);
        let insert = match line.trim_start().strip_prefix(KEPT) {
            Some(kept) => vec![format!("{}{kept}", " ".repeat(indent(line)))],
            None if line.contains(OURS) => Vec::new(),
            None => continue,
        };
        if !inside(&edits, index) {
            edits.push(Edit {
                at: index,
                remove: 1,
                insert,
            });
        }
    }
    Ok(edits)
}

/// Whether nothing of Leasehold's is left in the service.
pub(super) fn is_plain(tree: &Node, service: &str) -> bool {
    ["profiles", "scale", "entrypoint", "x-leasehold"]
        .iter()
        .all(|key| value(tree, service, key).is_none_or(|value| !is_ours(key, value)))
}

fn value<'n>(tree: &'n Node, service: &str, key: &str) -> Option<&'n Node> {
    Some(&tree.get("services")?.node.get(service)?.node.get(key)?.node)
}

fn is_ours(key: &str, value: &Node) -> bool {
    let words: Vec<String> = value.items().iter().filter_map(Node::scalar).collect();
    let one = value.scalar();
    match key {
        "profiles" => words == ["leasehold"],
        "scale" => one.as_deref() == Some("0"),
        "entrypoint" => one.as_deref() == Some(TETHER) || words == [TETHER],
        _ => true,
    }
}

/// What the tether starts instead of the image's own entrypoint.
fn entrypoint(subject: &Subject) -> Option<String> {
    let own = value(&subject.own, &subject.name, "x-leasehold")?;
    let node = &own.get("entrypoint")?.node;
    let quoted = |text: String| serde_json::Value::from(text).to_string();
    match node.scalar() {
        Some(text) => Some(quoted(text)),
        None => {
            let words: Vec<_> = node.items().iter().filter_map(Node::scalar).map(quoted).collect();
            Some(format!("[{}]", words.join(", ")))
        }
    }
}
