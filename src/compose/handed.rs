//! `secrets` and `configs` of a service: files of the host, mounted read-only.

use std::path::{Path, PathBuf};

use super::context::Context;
use super::cursor::At;
use super::fault::Faults;
use super::model::{Mount, MountKind};

/// The mounts of one of the two.
pub(super) fn read(at: &At<'_>, context: &Context<'_>, faults: &mut Faults) -> Vec<Mount> {
    let items = at.list(faults);
    items
        .iter()
        .filter_map(|item| file(item, at.name, context, faults))
        .collect()
}

fn file(item: &At<'_>, section: &str, context: &Context<'_>, faults: &mut Faults) -> Option<Mount> {
    let mut source = item.node.scalar();
    let mut target = None;
    if source.is_none() {
        for field in item.map_of(faults, &["source", "target"]) {
            match field.name {
                "source" => source = field.text(faults),
                _ => target = field.text(faults),
            }
        }
    }
    let Some(source) = source else {
        item.fault(faults, "has an entry without a source", "");
        return None;
    };
    let directory = if section == "secrets" { "/run/secrets" } else { "" };
    let target = target.unwrap_or_else(|| source.clone());
    Some(Mount {
        kind: MountKind::File {
            source: file_of(&source, item, section, context, faults)?,
        },
        target: if target.starts_with('/') {
            target
        } else {
            format!("{directory}/{target}")
        },
        read_only: true,
        no_storage: false,
    })
}

fn file_of(key: &str, item: &At<'_>, section: &str, context: &Context<'_>, faults: &mut Faults) -> Option<PathBuf> {
    let Some(top) = context.top(section, key) else {
        item.fault(
            faults,
            format!("{key:?} is not defined"),
            format!("add it to the top-level {section}"),
        );
        return None;
    };
    let mut path = None;
    let mut is_refused = false;
    for field in top.map(faults) {
        match field.name {
            "file" => path = field.text(faults),
            "name" | "labels" => {}
            name if name.starts_with("x-") => {}
            _ => {
                field.unknown(faults, &["file", "name", "labels"]);
                is_refused = true;
            }
        }
    }
    if is_refused {
        return None;
    }
    if path.is_none() {
        top.fault(faults, "names no file", "write `file: ./name`");
    }
    Some(context.paths.host(Path::new(&path?)))
}
