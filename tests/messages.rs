//! Checks `docs/messages.md` against what the program says, both ways.

use leasehold::core::snapshot::code::Code;

const CATALOGUE: &str = include_str!("../docs/messages.md");
/// What the stories say with each code: see tests/scenarios.rs.
const SAID: &str = include_str!("scenarios/codes.list");

/// The entries below `### ` headings that `is` picks: heading and body.
fn entries(is: impl Fn(&str) -> bool) -> Vec<(&'static str, &'static str)> {
    let parts = CATALOGUE.split("\n### ").skip(1);
    let parts = parts.filter_map(|part| part.split_once('\n'));
    parts.filter(|(heading, _)| is(heading)).collect()
}

/// What follows `- Cause: ` or `- Remedy: ` on its line.
fn line<'a>(body: &'a str, name: &str) -> &'a str {
    let found = body.lines().find_map(|line| line.strip_prefix(name));
    found.map_or("", str::trim)
}

fn has_cause_and_remedy(heading: &str, body: &str) {
    for name in ["- Cause:", "- Remedy:"] {
        assert!(line(body, name).len() > 10, "{heading} has no {name}");
    }
}

#[test]
fn the_catalogue_has_every_code_and_no_other() {
    let entries = entries(|heading| heading.starts_with('`') && heading.ends_with('`'));
    let headings: Vec<String> = entries.iter().map(|(heading, _)| (*heading).to_owned()).collect();
    let codes: Vec<String> = Code::ALL.iter().map(|code| format!("`{}`", code.word())).collect();
    assert_eq!(headings, codes, "docs/messages.md against the enum, in its order");
    for ((heading, body), code) in entries.into_iter().zip(Code::ALL) {
        let head = format!("{}, `{}`: \"", code.level().word(), code.kind());
        let example = body
            .lines()
            .find_map(|line| line.strip_prefix(&head)?.strip_suffix('"'));
        assert!(
            example.is_some_and(|example| !example.is_empty()),
            "{heading} wants {head}SENTENCE\""
        );
        has_cause_and_remedy(heading, body);
    }
}

/// An example that nothing says any more would mislead whoever looks it up: its first words stand in a story.
#[test]
fn every_example_is_what_the_stories_say() {
    for (heading, body) in entries(|heading| heading.starts_with('`') && heading.ends_with('`')) {
        let word = heading.trim_matches('`');
        let said = SAID.split(&format!("\n{word} (")).nth(1).unwrap_or_default();
        let said = said.split("\n\n").next().unwrap_or_default();
        let example = body.split('"').nth(1).unwrap_or_default();
        let letters = |text: &str| -> String { text.chars().filter(char::is_ascii_alphabetic).collect() };
        // From the last part on: what the sentence itself says, past names, addresses and reasons of others.
        let part = example.rsplit([':', ')']).next().unwrap_or_default();
        assert!(
            said.lines().any(|line| letters(line).ends_with(&letters(part))),
            "no story says {example:?} as {word}:\n{said}"
        );
    }
}

#[test]
fn every_exit_code_of_the_tether_is_explained() {
    let source = include_str!("../src/base/exit.rs");
    let shown: Vec<&str> = entries(|heading| heading.starts_with('2'))
        .into_iter()
        .map(|(heading, body)| {
            has_cause_and_remedy(heading, body);
            heading.split_once(' ').map_or(heading, |(number, _)| number)
        })
        .collect();
    let numbers = source
        .lines()
        .filter_map(|line| line.trim().split_once(" = ")?.1.strip_suffix(','));
    let numbers: Vec<&str> = numbers.filter(|number| number.parse::<u8>().is_ok()).collect();
    assert!(!numbers.is_empty() && shown == numbers, "{shown:?} {numbers:?}");
}
