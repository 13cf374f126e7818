//! The words of the stories, as `README.md` lists them. The driver takes no other input.

use std::sync::LazyLock;

const PAGE: &str = include_str!("README.md");
/// Words in capitals that stand for themselves.
const LOUD: &[&str] = &["ALARM", "FENCE", "RESET", "THE", "HOST"];

pub(crate) static INPUTS: LazyLock<List> = LazyLock::new(|| List::of("Inputs"));
pub(crate) static TOLD: LazyLock<List> = LazyLock::new(|| List::of("What is told"));

pub(crate) struct List(Vec<Entry>);

struct Entry {
    text: String,
    slots: Vec<Slot>,
    /// Of what is written `key=value`.
    keys: Vec<String>,
}

enum Slot {
    Word { one_of: Vec<String>, needed: bool },
    Rest { needed: bool },
}

impl List {
    fn of(heading: &str) -> Self {
        let section = PAGE.split("\n## ").find_map(|part| part.strip_prefix(heading));
        let lines = section.expect("a section of the page").lines();
        let entries = lines.filter_map(|line| line.strip_prefix("- `")?.split_once("`: "));
        Self(entries.map(|(text, _)| Entry::new(text)).collect())
    }

    /// The parts of the list that this line shows: those of the first entry that it fits.
    pub(crate) fn parts_in(&self, line: &str) -> Option<Vec<String>> {
        self.0.iter().find_map(|entry| entry.parts_in(line))
    }

    /// Each entry, and each of its words that may be there or not.
    pub(crate) fn parts(&self) -> Vec<String> {
        self.0.iter().flat_map(Entry::parts).collect()
    }
}

impl Entry {
    fn new(text: &str) -> Self {
        let (mut slots, mut keys) = (Vec::new(), Vec::new());
        for word in text.trim_start_matches("> ").split(' ') {
            let inner = word.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
            let (word, needed) = (inner.unwrap_or(word), inner.is_none());
            if let Some((key, _)) = word.split_once('=').filter(|_| !needed) {
                keys.push(format!("{key}="));
            } else if word.ends_with("...") {
                slots.push(Slot::Rest { needed });
            } else {
                let one_of = word.split('|').map(str::to_owned).collect();
                slots.push(Slot::Word { one_of, needed });
            }
        }
        Self {
            text: text.to_owned(),
            slots,
            keys,
        }
    }

    fn part(&self, word: &str) -> String {
        format!("{}: {word}", self.text)
    }

    fn parts(&self) -> Vec<String> {
        let mut parts = vec![self.text.clone()];
        parts.extend(self.keys.iter().map(|key| self.part(key)));
        for slot in &self.slots {
            match slot {
                Slot::Word { one_of, needed } if one_of.len() > 1 || !needed => {
                    parts.extend(one_of.iter().map(|word| self.part(word)));
                }
                Slot::Word { .. } | Slot::Rest { .. } => {}
            }
        }
        parts
    }

    fn parts_in(&self, line: &str) -> Option<Vec<String>> {
        let mut parts = vec![self.text.clone()];
        let key_of = |word: &str| self.keys.iter().find(|key| word.starts_with(key.as_str()));
        let (keyed, plain): (Vec<&str>, Vec<&str>) = line.split_whitespace().partition(|word| key_of(word).is_some());
        parts.extend(keyed.into_iter().filter_map(key_of).map(|key| self.part(key)));
        self.fits(&self.slots, &plain, &mut parts).then_some(parts)
    }

    fn fits(&self, slots: &[Slot], words: &[&str], parts: &mut Vec<String>) -> bool {
        match (slots.split_first(), words.split_first()) {
            (None, first) => first.is_none(),
            (Some((Slot::Rest { needed }, _)), first) => first.is_some() || !needed,
            (Some((Slot::Word { needed, .. }, slots)), None) => !needed && self.fits(slots, words, parts),
            (Some((Slot::Word { one_of, needed }, slots)), Some((first, rest))) => {
                match one_of.iter().find(|word| is_like(word, first)) {
                    Some(word) => {
                        parts.push(self.part(word));
                        self.fits(slots, rest, parts)
                    }
                    None => !needed && self.fits(slots, words, parts),
                }
            }
        }
    }
}

/// Capitals stand for anything.
fn is_like(pattern: &str, word: &str) -> bool {
    let is_loud = LOUD.contains(&pattern.trim_end_matches(':'));
    match pattern.find(|letter: char| letter.is_ascii_uppercase()) {
        Some(at) if !is_loud => {
            let (before, rest) = pattern.split_at(at);
            let after = rest.trim_start_matches(|letter: char| letter.is_ascii_uppercase());
            word.len() > before.len() + after.len() && word.starts_with(before) && word.ends_with(after)
        }
        _ => pattern == word,
    }
}

#[test]
fn an_entry_fits_what_it_says() {
    let entry = Entry::new("> etcd ready|ending NODE [GROUP...] [needs=TIME]");
    let fits = |line: &str| entry.parts_in(line).is_some();
    assert!(fits("etcd ready b") && fits("etcd ending b needs=5s sams web"));
    assert!(!fits("etcd ready") && !fits("etcd silent b") && !fits("etcd ready needs=5s"));
    let all = Entry::new("vip hold GROUP until TIME [announce]");
    assert!(
        all.parts_in("vip hold sams until +4s announce").unwrap().len()
            > all.parts_in("vip hold sams until +4s").unwrap().len()
    );
    assert!(all.parts_in("vip hold sams until +4s twice").is_none());
    let loud = Entry::new("ALARM GROUP: WORDS...");
    assert!(loud.parts_in("ALARM sams: gone").is_some() && loud.parts_in("say sams: gone").is_none());
    assert!(loud.parts_in("ALARM: gone").is_none() && loud.parts_in("ALARM sams:").is_none());
}
