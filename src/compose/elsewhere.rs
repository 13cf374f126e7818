//! Relative paths of a file that lies elsewhere than the project: made absolute before it becomes part of it.

use std::path::Path;

use super::layers::Place;
use super::paths::normal;
use super::yaml::{Node, Value};

/// What an included project says, as it means it where it lies.
pub(super) fn project(tree: &mut Node, place: &Place) {
    let each = |tree: &mut Node, section: &str, change: &dyn Fn(&mut Node)| {
        let section = tree.get_mut(section);
        for entry in section.into_iter().flat_map(|entry| entry.node.entries_mut()) {
            change(&mut entry.node);
        }
    };
    each(tree, "services", &|node| {
        service(node, &place.directory);
        variables(node, place);
    });
    for section in ["secrets", "configs"] {
        each(tree, section, &|node| path_under(node, "file", &place.directory));
    }
    each(tree, "volumes", &|node| {
        if let Some(options) = node.get_mut("driver_opts")
            && options.node.get("o").and_then(|entry| entry.node.scalar()).as_deref() == Some("bind")
        {
            path_under(&mut options.node, "device", &place.directory);
        }
    });
}

/// The paths of one service.
pub(super) fn service(node: &mut Node, directory: &Path) {
    for key in ["env_file", "label_file"] {
        let Some(entry) = node.get_mut(key) else { continue };
        path(&mut entry.node, directory);
        path_under(&mut entry.node, "path", directory);
        for item in entry.node.items_mut() {
            path(item, directory);
            path_under(item, "path", directory);
        }
    }
    if let Some(extends) = node.get_mut("extends") {
        path_under(&mut extends.node, "file", directory);
    }
    let volumes = node.get_mut("volumes");
    for item in volumes.into_iter().flat_map(|entry| entry.node.items_mut()) {
        let is_bind = item.get("type").and_then(|entry| entry.node.scalar()).as_deref() == Some("bind");
        match &item.value {
            Value::Text(text) if text.starts_with('.') => path(item, directory),
            Value::Map(_) if is_bind => path_under(item, "source", directory),
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_) => {}
        }
    }
}

fn path_under(node: &mut Node, key: &str, directory: &Path) {
    if let Some(entry) = node.get_mut(key) {
        path(&mut entry.node, directory);
    }
}

/// A text that begins with a relative path.
fn path(node: &mut Node, directory: &Path) {
    if let Value::Text(text) = &mut node.value
        && !text.starts_with(['/', '~'])
        && !text.is_empty()
    {
        *text = normal(&directory.join(&*text)).display().to_string();
    }
}

/// Variables of `environment` that have a name alone are looked up where the file lies.
fn variables(service: &mut Node, place: &Place) {
    let Some(entry) = service.get_mut("environment") else {
        return;
    };
    for entry in entry.node.entries_mut().iter_mut().filter(|entry| entry.node.is_null()) {
        if let Some(value) = place.environment.get(&entry.key) {
            entry.node.value = Value::Text(value.clone());
        }
    }
    for item in entry.node.items_mut() {
        let name = item.scalar().filter(|text| !text.contains('='));
        if let Some((value, name)) = name.and_then(|name| Some((place.environment.get(&name)?, name))) {
            item.value = Value::Text(format!("{name}={value}"));
        }
    }
}
