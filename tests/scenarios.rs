//! Stories for the decision core: events in, actions out, reviewed as diffs. `UPDATE_EXPECT=1` writes the files anew.
//!
//! A line that starts with `>` is an input, one with `#` a remark; everything else is what the core did about it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod scenarios {
    pub(crate) mod diff;
    pub(crate) mod driver;
    pub(crate) mod etcd;
    pub(crate) mod story;
    pub(crate) mod words;
}

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use scenarios::{diff, driver, story};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn files() -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| path.extension().is_some_and(|end| end == "txt"))
        .collect()
}

#[test]
fn every_story_ends_as_it_is_told() {
    let mut told = Vec::new();
    for path in files() {
        let before = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let after = story::play(&name, &before).text;
        if before == after {
            continue;
        }
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, after).unwrap();
        } else {
            told.push(format!("--- {name}\n{}", diff::lines(&before, &after)));
        }
    }
    assert!(
        told.is_empty(),
        "{}\nUPDATE_EXPECT=1 cargo test --test scenarios writes the files anew",
        told.join("\n")
    );
}

#[test]
fn every_input_makes_sense_where_it_stands() {
    for path in files() {
        let text = fs::read_to_string(&path).unwrap();
        let misled = text.lines().find(|line| line.trim().starts_with(driver::MISLED));
        assert_eq!(misled, None, "{}", path.display());
    }
}

#[test]
fn every_transaction_of_the_protocol_occurs() {
    let mut kinds = BTreeSet::new();
    for path in files() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        kinds.extend(story::play(&name, &fs::read_to_string(&path).unwrap()).shown);
    }
    for kind in ["T1", "T2", "T3", "T4", "T5", "T6", "T7", "T8", "T9", "T11"] {
        assert!(kinds.contains(kind), "{kind} occurs in no story, only {kinds:?}");
    }
}
