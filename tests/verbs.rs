//! What holds for every verb of the command line: it stands in docs/verbs.md with what shows it, it can be asked for from
//! afar where it acts, and `--json` makes one object of whatever it has to say.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "scenarios/shelf.rs"]
mod shelf;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use clap::builder::Command as Verb;
use serde_json::Value;

/// Whose stdout is something else than an answer, and what it says to `--json`.
const WITHOUT_JSON: [(&str, &str); 3] = [
    ("run", "LEASEHOLD_LOG_FORMAT=json"),
    ("adopt", "prints a patch"),
    ("completions", "prints what a shell reads"),
];
const USAGE: Option<i32> = Some(2);

/// A line of docs/verbs.md.
struct Line {
    verb: String,
    example: Vec<String>,
    operations: Vec<String>,
    stories: Vec<String>,
    tests: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn table() -> Vec<Line> {
    let text = fs::read_to_string(root().join("docs/verbs.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(line).collect()
}

fn line(text: &str) -> Line {
    let cells: Vec<&str> = text.trim_matches('|').split('|').map(str::trim).collect();
    let [verb, example, operations, stories, tests] = cells[..] else {
        panic!("five cells: {text}")
    };
    let list = |cell: &str| -> Vec<String> {
        let names = cell.split(", ").filter(|name| *name != "-");
        names.map(str::to_owned).collect()
    };
    let words = example.trim_matches('`').split_whitespace();
    Line {
        verb: verb.to_owned(),
        example: words.map(str::to_owned).collect(),
        operations: list(operations),
        stories: list(stories),
        // The name of a row may have a comma in it.
        tests: tests.replace(", tests/", "\n").split('\n').map(str::to_owned).collect(),
    }
}

/// Every verb that has no verbs below it.
fn verbs(of: &Verb, name: &str, found: &mut Vec<String>) {
    for verb in of.get_subcommands() {
        let name = format!("{name} {}", verb.get_name()).trim().to_owned();
        match verb.has_subcommands() {
            true => verbs(verb, &name, found),
            false => found.push(name),
        }
    }
}

#[test]
fn every_verb_is_in_the_table_with_an_example() {
    let mut all = Vec::new();
    verbs(&leasehold::cli::command(), "", &mut all);
    let mut listed: Vec<String> = table().into_iter().map(|line| line.verb).collect();
    listed.dedup();
    all.sort();
    listed.sort();
    assert_eq!(listed, all, "docs/verbs.md, and what the program knows");
    for line in table() {
        let text = line.example.join(" ");
        assert!(text.starts_with(&format!("leasehold {}", line.verb)), "{text}");
        let parsed = leasehold::cli::command().try_get_matches_from(&line.example);
        assert!(parsed.is_ok(), "{text}: {}", parsed.unwrap_err());
    }
}

#[test]
fn every_operation_of_v1_is_some_verb() {
    let text = fs::read_to_string(root().join("docs/openapi.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let of = |(path, methods): (&String, &Value)| -> Vec<String> {
        let methods = methods.as_object().unwrap().keys();
        methods
            .map(|method| format!("{} {path}", method.to_uppercase()))
            .collect()
    };
    let offered: BTreeSet<String> = paths.flat_map(of).collect();
    let named: BTreeSet<String> = table().into_iter().flat_map(|line| line.operations).collect();
    assert_eq!(named, offered, "docs/verbs.md, and docs/openapi.json");
}

#[test]
fn what_is_said_to_show_a_verb_exists() {
    let told = shelf::stories();
    for line in table() {
        let what = line.example.join(" ");
        for story in &line.stories {
            assert!(told.contains_key(story), "{what}: no story {story}");
        }
        for test in &line.tests {
            let (file, name) = test.split_once('#').unwrap();
            let found = [root().join(file), root().join("tests").join(file)];
            let text = found.iter().find_map(|file| fs::read_to_string(file).ok());
            let text = text.unwrap_or_else(|| panic!("{what}: no file {file}"));
            let is_there = text.contains(&format!("fn {name}(")) || text.contains(&format!("\"{name}\""));
            assert!(is_there, "{what}: no test {name} in {file}");
        }
        let acts = line.operations.iter().any(|operation| !operation.starts_with("GET "));
        assert!(
            !acts || !line.stories.is_empty(),
            "{what}: it acts, and no story tells it"
        );
    }
}

/// A directory of its own, where no sidecar answers and no compose file is.
struct Nowhere(PathBuf);

impl Nowhere {
    fn new(name: &str) -> Self {
        let place = std::env::temp_dir().join(format!("leasehold-verbs-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        Self(place)
    }

    fn run(&self, words: &[String]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leasehold"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LEASEHOLD_")) {
            command.env_remove(name);
        }
        command.current_dir(&self.0).stdin(Stdio::null()).args(words);
        command.env("LEASEHOLD_RUN_DIR", &self.0).env("LEASEHOLD_NODE", "a");
        command
            .env("LEASEHOLD_STATE_DIR", &self.0)
            .env("LEASEHOLD_TETHER_DIR", &self.0);
        command
            .env("LEASEHOLD_FILE", self.0.join("compose.yaml"))
            .output()
            .unwrap()
    }
}

impl Drop for Nowhere {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One object, and what it says agrees with the exit code.
fn object(what: &str, output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let read: Value = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{what}: {why}: {text:?}"));
    let message = read["message"].as_str().unwrap_or_default();
    assert!(!message.is_empty(), "{what}: {read}");
    assert_eq!(read["ok"], output.status.success(), "{what}: {read}");
    read
}

#[test]
fn every_verb_says_with_json_in_one_object_that_it_failed() {
    let place = Nowhere::new("all");
    for Line { verb, example, .. } in table() {
        let what = example.join(" ");
        let with_json = [&example[1..], &["--json".to_owned()]].concat();
        if let Some((_, reason)) = WITHOUT_JSON.iter().find(|(name, _)| *name == verb) {
            let output = place.run(&with_json);
            let refused = object(&what, &output);
            assert!(
                refused["message"].as_str().unwrap().contains(reason),
                "{what}: {refused}"
            );
            assert_eq!(output.status.code(), USAGE, "{what}");
            continue;
        }
        let plain = place.run(&example[1..]);
        let output = place.run(&with_json);
        let read = object(&what, &output);
        assert_eq!(output.status.code(), plain.status.code(), "{what}: {read}");
        let words = [plain.stdout, plain.stderr].concat();
        let words = String::from_utf8_lossy(&words).into_owned();
        // `check` counts its faults for machines, and prints them for people.
        let told = [&read["message"], &read["faults"][0]];
        let mut told = told.iter().filter_map(|value| value.as_str());
        assert!(told.any(|said| words.contains(said)), "{what}: {read}\n{words}");
        assert!(plain.status.success() || verb != "man", "{what}: {words}");
    }
}

#[test]
fn a_misused_command_line_is_one_object_too() {
    let place = Nowhere::new("misused");
    for words in [
        "stop --json",
        "--json",
        "--json nonsense",
        "pause mail --for never --json",
    ] {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let output = place.run(&words);
        object(&words.join(" "), &output);
        assert_eq!(output.status.code(), USAGE, "{words:?}");
    }
    let known = place.run(&["status".to_owned(), "--json".to_owned()]);
    assert_eq!(known.status.code(), Some(3), "no sidecar: nothing is known");
}
