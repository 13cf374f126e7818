//! The language of the stories: each input is one line, `> [time] verb words...`.

use std::collections::BTreeSet;

use leasehold::core::protocol::TxnKind;
use leasehold::core::snapshot::code::Code;

use super::driver::{Mode, World};
use super::page;
use super::parse::time;

/// A story as it was played.
pub(crate) struct Played {
    pub(crate) text: String,
    /// The transactions that it shows in full.
    pub(crate) shown: BTreeSet<TxnKind>,
    /// Every decision that was said in it.
    pub(crate) said: BTreeSet<(Code, String)>,
}

pub(crate) fn play(name: &str, story: &str) -> Played {
    let mut world = World::new(7);
    let mut text = String::new();
    for line in story.lines() {
        match line.strip_prefix("> ") {
            Some(input) => {
                text += &format!("{line}\n");
                let words: Vec<&str> = input.split_whitespace().collect();
                let words = world.move_to(&words);
                assert!(
                    world.input(words),
                    "{name}: not understood, or not in tests/scenarios/README.md: {line}"
                );
                let told = world.take_told();
                for line in told {
                    text += &format!("    {line}\n");
                }
            }
            None if line.starts_with('#') || line.is_empty() => text += &format!("{line}\n"),
            None => {}
        }
    }
    Played {
        text,
        shown: world.shown,
        said: world.said,
    }
}

impl World {
    /// A leading time moves the clocks there; nobody ticks meanwhile.
    fn move_to<'a, 'b>(&mut self, words: &'a [&'b str]) -> &'a [&'b str] {
        match words.first().and_then(|word| time(word)) {
            Some(to) => {
                match Self::at(to).checked_sub(self.now.boot) {
                    Some(by) => self.pass(by),
                    None => self.misled("it is later than that"),
                }
                &words[1..]
            }
            None => words,
        }
    }

    fn take_told(&mut self) -> Vec<String> {
        self.mode = Mode::Told;
        std::mem::take(&mut self.told)
    }

    pub(crate) fn input(&mut self, words: &[&str]) -> bool {
        if page::INPUTS.parts_in(&words.join(" ")).is_none() {
            return false;
        }
        let before = self.told.len();
        let setting = matches!(
            words[0],
            "etcd"
                | "node"
                | "notify"
                | "vote"
                | "watchdog"
                | "saved"
                | "sleep"
                | "kill"
                | "policy"
                | "hangs"
                | "afar"
                | "without"
        );
        let understood = match words[0] {
            "etcd" => self.etcd_input(&words[1..]),
            "node" | "notify" | "vote" | "watchdog" | "start" | "restart" | "kill" | "saved" | "sleep" | "run"
            | "quick" | "status" | "history" | "policy" | "hangs" | "afar" | "without" => self.control(words),
            "health" if words.len() == 1 => self.control(words),
            "answer" | "timeout" | "landed" | "late" | "refused" => self.answer_input(words),
            "term" | "hold" | "switchover" | "failback" | "apply" | "accept" | "fenced" | "order" | "export"
            | "import" => self.operator(words),
            _ => match self.event(words) {
                Some(event) => {
                    self.deliver(event);
                    true
                }
                None => false,
            },
        };
        if self.told.len() == before && !setting {
            self.tell("(nothing)".to_owned());
        }
        understood
    }
}
