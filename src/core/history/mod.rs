//! The history of a group for people: what each epoch began and ended with, and what operators asked. No rule reads it.

mod observer;
mod phase;

use serde::{Deserialize, Serialize};

use crate::protocol::bounds::COUNTED_MAX;
use crate::protocol::keys::Keys;
use crate::store::KeyValue;

use crate::text;
pub use observer::EpochRecorder;
pub use phase::PhaseKind;

/// Epochs kept of each group.
pub const EPOCHS_MAX: usize = 100;
/// Entries of what operators asked, kept of the cluster.
pub const AUDIT_MAX: usize = 300;
/// Parts of one begin or end; a node writes eight at most.
const PHASES_MAX: usize = 16;

/// A part of a move, as the node that saw it timed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    pub what: PhaseKind,
    pub ms: u64,
}

/// What came before an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Before {
    /// Nobody served, as far as is known.
    Nothing,
    /// The holder released it.
    Release,
    /// The holder fell silent.
    Silence,
}

/// How an epoch began, written by the node that won it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    pub epoch: u64,
    /// The holder before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    pub to: String,
    /// In words, with the operator who asked and why, if one did.
    pub cause: String,
    /// Wall time of the node, when it won the epoch.
    pub at: String,
    pub before: Before,
    /// From the last that was known of the holder before, in order of time; each counts from the one before it.
    pub phases: Vec<Phase>,
    /// Whether all was up and the probes passed; false too where its sidecar ended before it could say so.
    pub served: bool,
}

/// How it ended, written by the same node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub epoch: u64,
    pub node: String,
    pub cause: String,
    pub at: String,
    /// From the order to stop until others may take it.
    pub phases: Vec<Phase>,
    /// Runs of its containers in this epoch: more than one were restarts in place.
    pub runs: u32,
}

/// What an observer has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Told when the epoch is won, and again once it serves or can't any more.
    Begun {
        group: String,
        begun: Begun,
    },
    Left {
        group: String,
        left: Left,
    },
}

/// What an operator asked for, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    pub at: String,
    /// Who, and on which node.
    pub by: String,
    /// Such as `stop` or `drain`.
    pub verb: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The node that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// False: it was refused.
    pub accepted: bool,
    /// What was answered.
    pub answer: String,
}

/// One epoch, as far as anybody wrote of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    pub epoch: u64,
    pub begun: Option<Begun>,
    pub left: Option<Left>,
    /// From when the service stopped, or was last heard of, until it served again; none where a part is not known.
    pub total_ms: Option<u64>,
    /// What is missing, in a sentence.
    pub unknown: Option<String>,
}

/// All that is kept of a group, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    pub group: String,
    pub epochs: Vec<Epoch>,
    /// About the group, and about nodes and the cluster as a whole.
    pub acts: Vec<AuditEntry>,
}

impl History {
    /// Sorts what was read of the history's keys into its places. What can't be understood is left out.
    #[must_use]
    pub fn read(keys: &Keys, group: &str, found: &[KeyValue]) -> Self {
        let mut epochs: std::collections::BTreeMap<u64, Epoch> = std::collections::BTreeMap::new();
        let mut acts = Vec::new();
        for kv in found {
            let place = |number: &str| number.parse::<u64>().ok().filter(|number| *number <= COUNTED_MAX);
            match keys.parts(&kv.key).as_deref() {
                Some(["history", of, number]) if *of == group => {
                    let begun: Option<Begun> = serde_json::from_str(&kv.value).ok();
                    if let (Some(number), Some(begun)) = (place(number), begun.filter(|it| are_sound(&it.phases))) {
                        epochs.entry(number).or_default().begun = Some(begun);
                    }
                }
                Some(["history", of, number, "left"]) if *of == group => {
                    let left: Option<Left> = serde_json::from_str(&kv.value).ok();
                    if let (Some(number), Some(left)) = (place(number), left.filter(|it| are_sound(&it.phases))) {
                        epochs.entry(number).or_default().left = Some(left);
                    }
                }
                Some(["acts", _]) => {
                    let act: Option<AuditEntry> = serde_json::from_str(&kv.value).ok();
                    acts.extend(act.filter(|act| act.group.as_ref().is_none_or(|of| of == group)));
                }
                Some(_) | None => {}
            }
        }
        let mut before: Option<(u64, Option<Left>)> = None;
        let epochs = epochs.into_iter().map(|(number, mut epoch)| {
            epoch.epoch = number;
            let left = before.take().filter(|(last, _)| last + 1 == number);
            epoch.judge(left.and_then(|(_, left)| left).as_ref());
            before = Some((number, epoch.left.clone()));
            epoch
        });
        Self {
            group: group.to_owned(),
            epochs: epochs.collect(),
            acts,
        }
    }
}

/// Whether a node may have timed them. Who shows them adds them up, and a sum that wraps ends the process.
fn are_sound(phases: &[Phase]) -> bool {
    phases.len() <= PHASES_MAX && phases.iter().all(|phase| phase.ms <= COUNTED_MAX)
}

impl Epoch {
    /// Adds up what is known, or says what is not.
    fn judge(&mut self, left: Option<&Left>) {
        let sum = |phases: &[Phase]| phases.iter().fold(0, |sum: u64, phase| sum.saturating_add(phase.ms));
        let Some(begun) = &self.begun else {
            self.unknown = Some(text::history::BEGIN_NOT_WRITTEN.to_owned());
            return;
        };
        if !begun.served {
            self.unknown = Some(match &self.left {
                Some(_) => text::history::NEVER_SERVED.to_owned(),
                None => text::history::serves_not_written(&begun.to),
            });
            return;
        }
        match (begun.before, left) {
            (Before::Nothing | Before::Silence, _) => self.total_ms = Some(sum(&begun.phases)),
            (Before::Release, Some(left)) => self.total_ms = Some(sum(&left.phases).saturating_add(sum(&begun.phases))),
            (Before::Release, None) => {
                self.unknown = Some(text::history::stop_not_written(begun.from.as_deref()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phases(of: &[(PhaseKind, u64)]) -> Vec<Phase> {
        let phase = |(what, ms): &(PhaseKind, u64)| Phase {
            what: what.clone(),
            ms: *ms,
        };
        of.iter().map(phase).collect()
    }

    fn begun(epoch: u64, before: Before, served: bool) -> Begun {
        Begun {
            epoch,
            from: Some("a".to_owned()),
            to: "b".to_owned(),
            cause: "why".to_owned(),
            at: "noon".to_owned(),
            before,
            phases: phases(&[(PhaseKind::TakeOver, 10), (PhaseKind::Serving, 200)]),
            served,
        }
    }

    fn left(epoch: u64) -> Left {
        Left {
            epoch,
            node: "a".to_owned(),
            cause: "why".to_owned(),
            at: "noon".to_owned(),
            phases: phases(&[(PhaseKind::Stop, 300), (PhaseKind::Release, 5)]),
            runs: 1,
        }
    }

    fn kv(key: String, value: &impl Serialize) -> KeyValue {
        KeyValue {
            key,
            value: serde_json::to_string(value).unwrap(),
            create_revision: 1,
            mod_revision: 1,
            lease: 0,
        }
    }

    #[test]
    fn a_move_is_the_stop_of_one_epoch_and_the_start_of_the_next() {
        let keys = Keys::new("mail");
        let found = [
            kv(keys.epoch_left("g", 1), &left(1)),
            kv(keys.epoch_begun("g", 2), &begun(2, Before::Release, true)),
            kv(keys.epoch_begun("g", 3), &begun(3, Before::Release, true)),
            kv(keys.epoch_begun("g", 10), &begun(10, Before::Silence, true)),
            kv(keys.epoch_begun("other", 4), &begun(4, Before::Silence, true)),
        ];
        let history = History::read(&keys, "g", &found);
        let told: Vec<_> = history.epochs.iter().map(|one| (one.epoch, one.total_ms)).collect();
        assert_eq!(told, [(1, None), (2, Some(515)), (3, None), (10, Some(210))]);
        assert_eq!(history.epochs[0].unknown.as_deref(), Some("nobody wrote how it began"));
        assert_eq!(
            history.epochs[2].unknown.as_deref(),
            Some("a did not write how long its stop took")
        );
    }

    /// Every part is in bounds by itself for JSON; their sum is not.
    #[test]
    fn what_nobody_can_have_timed_is_left_out() {
        let keys = Keys::new("mail");
        let mut long = begun(2, Before::Silence, true);
        long.phases = phases(&[(PhaseKind::Silence, u64::MAX), (PhaseKind::Serving, 2)]);
        let mut many = left(3);
        many.phases = phases(&vec![(PhaseKind::Stop, 1); PHASES_MAX + 1]);
        let found = [
            kv(keys.epoch_begun("sams", 1), &begun(1, Before::Silence, true)),
            kv(keys.epoch_begun("sams", 2), &long),
            kv(keys.epoch_left("sams", 3), &many),
        ];
        let history = History::read(&keys, "sams", &found);
        let known: Vec<u64> = history.epochs.iter().map(|epoch| epoch.epoch).collect();
        assert_eq!(known, [1]);
    }

    #[test]
    fn what_did_not_serve_has_no_total() {
        let keys = Keys::new("mail");
        let open = kv(keys.epoch_begun("g", 2), &begun(2, Before::Silence, false));
        let history = History::read(&keys, "g", std::slice::from_ref(&open));
        assert_eq!(history.epochs[0].total_ms, None);
        assert!(
            history.epochs[0]
                .unknown
                .as_ref()
                .unwrap()
                .contains("b has not written")
        );
        let history = History::read(&keys, "g", &[open, kv(keys.epoch_left("g", 2), &left(2))]);
        assert!(
            history.epochs[0]
                .unknown
                .as_ref()
                .unwrap()
                .contains("ended before it served")
        );
    }

    #[test]
    fn acts_about_other_groups_are_left_out_and_those_about_nodes_are_not() {
        let keys = Keys::new("mail");
        let act = |group: Option<&str>| AuditEntry {
            at: "noon".to_owned(),
            by: "ann on a".to_owned(),
            verb: "stop".to_owned(),
            group: group.map(str::to_owned),
            node: None,
            why: String::new(),
            accepted: true,
            answer: "it stops".to_owned(),
        };
        let of = [Some("g"), Some("other"), None];
        let found = of.iter().enumerate();
        let mut found: Vec<_> = found
            .map(|(number, group)| kv(keys.act(number as u64, "a", 0), &act(*group)))
            .collect();
        found.push(kv(keys.act(9, "a", 0), &"no act"));
        let history = History::read(&keys, "g", &found);
        let groups: Vec<_> = history.acts.iter().map(|act| act.group.as_deref()).collect();
        assert_eq!(groups, [Some("g"), None]);
    }
}
