//! Where the stories lie: `tests/scenarios/TOPIC/NAME.txt`. A name is known without its topic, so it stands there once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// Every story by its name, in the order of the names.
pub(crate) fn stories() -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for topic in entries(&folder()) {
        assert!(!is_story(&topic), "{} lies under no topic", topic.display());
        if !topic.is_dir() {
            continue;
        }
        for path in entries(&topic) {
            assert!(is_story(&path), "{} is no story", path.display());
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let twin = found.insert(name, path.clone());
            assert_eq!(twin, None, "{} has a namesake", path.display());
        }
    }
    assert!(!found.is_empty(), "no story below {}", folder().display());
    found
}

fn is_story(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "txt")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}
