//! Where the program comes from: licences and sources of its crates by `deny.toml`, and the bill of materials.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "supply/bill.rs"]
mod bill;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use bill::{bill, check_bill};
use serde_json::Value;

const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// The strings of a list in `deny.toml`.
fn listed(section: &str, key: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(TOP).join("deny.toml")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let text = text.split(&format!("[{section}]\n")).nth(1).unwrap();
    let text = text.split("\n[").next().unwrap();
    let text = text.split(&format!("{key} = [")).nth(1).unwrap();
    let text = text.split("\n]").next().unwrap();
    let text = if text.contains('\n') {
        text
    } else {
        text.split(']').next().unwrap()
    };
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn cargo(args: &[&str], targets: &str) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(args).args(["--locked", "--offline"]);
    for target in listed("graph", "targets") {
        cargo.args([targets, &target]);
    }
    let output = cargo.current_dir(TOP).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The crates that are compiled for the targets of `deny.toml`, those of the tests included. Metadata alone would also list
/// what only a feature that nobody asks for would bring.
fn crates() -> Vec<Value> {
    let tree = [
        "tree",
        "--workspace",
        "--edges",
        "all",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let tree = cargo(&tree, "--target");
    let used: BTreeSet<String> = tree
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some(format!("{} {}", words.next()?, words.next()?.strip_prefix('v')?))
        })
        .collect();
    let told = cargo(&["metadata", "--format-version", "1"], "--filter-platform");
    let told: Value = serde_json::from_str(&told).unwrap();
    let mut all = told["packages"].as_array().unwrap().clone();
    all.retain(|one| used.contains(&label(one)));
    assert_eq!(all.len(), used.len(), "two crates of one name and version");
    all
}

fn label(one: &Value) -> String {
    format!("{} {}", one["name"].as_str().unwrap(), one["version"].as_str().unwrap())
}

/// Whether an SPDX expression can be met with what is allowed: one side of an OR, all sides of an AND.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = either(&words, &mut at, allowed);
    assert_eq!(at, words.len(), "{expression} is no licence expression");
    met
}

fn either(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= both(words, at, allowed);
    }
    met
}

fn both(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = licence(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= licence(words, at, allowed);
    }
    met
}

fn licence(words: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let word = words.get(*at).copied().unwrap_or_default();
    *at += 1;
    if word == "(" {
        let met = either(words, at, allowed);
        *at += 1;
        return met;
    }
    if words.get(*at) == Some(&"WITH") {
        let exception = words.get(*at + 1).copied().unwrap_or_default();
        *at += 2;
        return allowed.contains(&format!("{word} WITH {exception}"));
    }
    allowed.contains(word)
}

#[test]
fn licence_expressions_are_read_as_they_are_meant() {
    let allowed = BTreeSet::from(["MIT".to_owned(), "Apache-2.0".to_owned()]);
    for (expression, wanted) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("GPL-3.0-only/MIT", true),
        ("MIT OR Apache-2.0 AND GPL-3.0-only", true),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", false),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("Apache-2.0 WITH LLVM-exception OR MIT", true),
        ("", false),
    ] {
        assert_eq!(
            !expression.is_empty() && is_allowed(expression, &allowed),
            wanted,
            "{expression}"
        );
    }
}

#[test]
fn every_crate_may_be_passed_on_and_comes_from_the_registry() {
    let (allowed, banned) = (listed("licenses", "allow"), listed("bans", "deny"));
    assert!(allowed.len() > 3 && banned.contains("ring"), "{allowed:?} {banned:?}");
    let registries = listed("sources", "allow-registry");
    let crates = crates();
    assert!(crates.len() > 200, "{} crates", crates.len());
    let mut faults = Vec::new();
    for one in &crates {
        let name = one["name"].as_str().unwrap();
        let expression = one["license"].as_str().unwrap_or_default();
        if expression.is_empty() || !is_allowed(expression, &allowed) {
            faults.push(format!("{name}: licence {expression:?} is not in deny.toml"));
        }
        if banned.contains(name) {
            faults.push(format!("{name} is banned in deny.toml"));
        }
        let source = one["source"].as_str();
        let registry = source.map(|source| source.trim_start_matches("registry+"));
        if registry.is_some_and(|registry| !registries.contains(registry)) {
            faults.push(format!("{name} comes from {source:?}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(
        crates.iter().any(|one| one["name"] == "aws-lc-rs"),
        "the TLS provider is another one"
    );
}

#[test]
fn the_bill_of_materials_names_every_crate_of_the_program() {
    let named = check_bill(&bill(&["--crates"]));
    let known: BTreeMap<String, Value> = crates().into_iter().map(|one| (label(&one), one)).collect();
    // All of them are in the lock file; those that are asked for by name are in the bill.
    let unknown: Vec<&String> = named
        .keys()
        .filter(|name| !known.contains_key(*name) && !name.starts_with("rust-std "))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let me = known.values().find(|one| one["name"] == "leasehold").unwrap();
    for wanted in me["dependencies"].as_array().unwrap() {
        let name = wanted["name"].as_str().unwrap();
        let is_there = named.keys().any(|one| one.split(' ').next() == Some(name));
        assert!(is_there || !wanted["kind"].is_null(), "{name} is not in the bill");
    }
    for absent in ["proptest", "rcgen", "leasehold"] {
        assert!(
            !named.keys().any(|one| one.starts_with(&format!("{absent} "))),
            "{absent} is in no binary"
        );
    }
}
