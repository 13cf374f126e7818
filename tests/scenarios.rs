//! Stories for the decision core: events in, actions out, reviewed as diffs. `UPDATE_EXPECT=1` writes the files anew.
//!
//! A line that starts with `>` is an input, one with `#` a remark; everything else is what the core did about it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod scenarios {
    mod answers;
    mod bounded;
    mod control;
    pub(crate) mod diff;
    pub(crate) mod driver;
    pub(crate) mod etcd;
    mod etcd_input;
    mod events;
    pub(crate) mod garbage;
    mod groups;
    pub(crate) mod names;
    mod operator;
    pub(crate) mod page;
    mod parse;
    pub(crate) mod shelf;
    pub(crate) mod story;
    mod telling;
    pub(crate) mod words;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use leasehold::core::protocol::TxnKind;
use leasehold::core::snapshot::code::Code;
use scenarios::{diff, driver, page, shelf, story};

struct Told {
    /// Its topic and its name.
    name: String,
    path: PathBuf,
    before: String,
    played: story::Played,
}

/// Read and played once, before any of them is written anew.
static STORIES: LazyLock<Vec<Told>> = LazyLock::new(|| {
    let told = shelf::stories().into_values().map(|path| {
        let name = path.strip_prefix(shelf::folder()).unwrap();
        let name = name.to_string_lossy().into_owned();
        let before = fs::read_to_string(&path).unwrap();
        let played = story::play(&name, &before);
        Told {
            name,
            path,
            before,
            played,
        }
    });
    told.collect()
});

#[test]
fn every_story_ends_as_it_is_told() {
    let mut differ = Vec::new();
    for told in STORIES.iter().filter(|told| told.before != told.played.text) {
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&told.path, &told.played.text).unwrap();
        } else {
            let lines = diff::lines(&told.before, &told.played.text);
            differ.push(format!("--- {}\n{lines}", told.name));
        }
    }
    assert!(
        differ.is_empty(),
        "{}\nUPDATE_EXPECT=1 cargo test --test scenarios writes the files anew",
        differ.join("\n")
    );
}

#[test]
fn every_input_makes_sense_where_it_stands() {
    for told in STORIES.iter() {
        let mut lines = told.played.text.lines();
        let misled = lines.find(|line| line.contains(driver::MISLED));
        assert_eq!(misled, None, "{}", told.name);
    }
}

/// The line as the page knows it: without the time at which it was given or told.
fn untimed(line: &str) -> &str {
    let is_time = |word: &str| word.ends_with('s') && word.trim_end_matches('s').parse::<f64>().is_ok();
    let line = line.trim();
    match line.split_once(' ') {
        Some((first, rest)) if is_time(first) => rest.trim(),
        _ => line,
    }
}

#[test]
fn the_page_has_every_word_of_the_stories_and_no_other() {
    let mut unused: BTreeSet<String> = page::INPUTS.parts().into_iter().chain(page::TOLD.parts()).collect();
    for told in STORIES.iter() {
        let lines = told.played.text.lines();
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let shown = match line.strip_prefix("> ") {
                Some(input) => page::INPUTS.parts_in(untimed(input)),
                None => page::TOLD.parts_in(untimed(line)),
            };
            let Some(shown) = shown else {
                panic!("{}: tests/scenarios/README.md has no such line: {line}", told.name);
            };
            for part in &shown {
                unused.remove(part);
            }
        }
    }
    let unused: Vec<String> = unused.into_iter().collect();
    assert!(unused.is_empty(), "on the page, and in no story: {unused:#?}");
}

#[test]
fn every_transaction_of_the_protocol_occurs() {
    let shown: BTreeSet<TxnKind> = STORIES
        .iter()
        .flat_map(|told| told.played.shown.iter().copied())
        .collect();
    for kind in TxnKind::ALL {
        // `leasehold init` is no node, and what only reads is no transaction.
        let apart = matches!(kind, TxnKind::InitStore | TxnKind::Read);
        assert!(
            apart || shown.contains(kind),
            "{kind:?} occurs in no story, only {shown:?}"
        );
    }
}

/// Codes that no story can bring about, and why.
const UNTOLD: &[(Code, &str)] = &[];

/// A sentence with every number as `#`, so that a list of them stays short.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for letter in text.chars() {
        match letter.is_ascii_digit() {
            true if shape.ends_with('#') => {}
            true => shape.push('#'),
            false => shape.push(letter),
        }
    }
    shape
}

/// One file shows each code with every sentence that it stands for: a code with two meanings is seen in review.
#[test]
fn every_code_is_said_in_a_story() {
    let mut said: BTreeMap<Code, BTreeSet<String>> = BTreeMap::new();
    for (code, text) in STORIES.iter().flat_map(|told| &told.played.said) {
        said.entry(*code).or_default().insert(shape(text));
    }
    let silent = Code::ALL.iter().filter(|code| !said.contains_key(code));
    let untold: Vec<Code> = UNTOLD.iter().map(|(code, _)| *code).collect();
    let silent: Vec<Code> = silent.copied().collect();
    assert_eq!(silent, untold, "what no story says, and what UNTOLD gives a reason for");
    let mut text = "Each code with the sentences of the stories. `UPDATE_EXPECT=1` writes it anew.\n".to_owned();
    for (code, shapes) in &said {
        text += &format!("\n{} ({}, {})\n", code.word(), code.level().word(), code.kind());
        for shape in shapes {
            text += &format!("    {shape}\n");
        }
    }
    let path = shelf::folder().join("codes.list");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let before = fs::read_to_string(&path).unwrap_or_default();
    let lines = diff::lines(&before, &text);
    assert!(
        before == text,
        "{}\n{lines}\nUPDATE_EXPECT=1 writes it anew",
        path.display()
    );
}
