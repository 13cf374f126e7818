//! The last decisions with their time, for whoever asks why.

use std::collections::{BTreeMap, VecDeque};

use crate::counters::Counters;
use leasehold_api::LoggedDecision;
use leasehold_core::event::Decision;

/// Decisions kept of each group, and of the node itself.
const KEPT_MAX: usize = 50;

/// The last decisions, bounded.
#[derive(Clone, Debug, Default)]
pub struct DecisionLog {
    /// What was counted besides: clones share it.
    pub counters: Counters,
    count: u64,
    /// By group; the empty name is the node itself. With a number, so that two lists can be put in order again.
    kept: BTreeMap<String, VecDeque<(u64, LoggedDecision)>>,
}

impl DecisionLog {
    /// Keeps one more, and drops the oldest beyond the bound.
    pub fn keep(&mut self, at: String, decision: &Decision) {
        self.count += 1;
        self.counters.decided(decision);
        let told = LoggedDecision {
            at,
            code: decision.code.word().to_owned(),
            level: decision.code.level().into(),
            group: decision.group.clone(),
            text: decision.text.clone(),
        };
        let list = self.kept.entry(decision.group.clone().unwrap_or_default()).or_default();
        if list.len() == KEPT_MAX {
            list.pop_front();
        }
        list.push_back((self.count, told));
    }

    /// What was decided about the group and about the node, oldest first.
    #[must_use]
    pub fn about(&self, group: &str) -> Vec<LoggedDecision> {
        let mut both: Vec<&(u64, LoggedDecision)> = ["", group]
            .into_iter()
            .filter_map(|name| self.kept.get(name))
            .flatten()
            .collect();
        both.sort_by_key(|(number, _)| *number);
        both.into_iter().map(|(_, told)| told.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::snapshot::code::Code;

    #[test]
    fn the_last_ones_are_kept_in_order_and_others_groups_are_left_out() {
        let mut recent = DecisionLog::default();
        for number in 0..60 {
            for group in [Some("mail"), None, Some("web")] {
                let decision = Decision {
                    code: Code::Released,
                    epoch: None,
                    group: group.map(str::to_owned),
                    text: format!("{number}"),
                };
                recent.keep("now".to_owned(), &decision);
            }
        }
        let told = recent.about("mail");
        assert_eq!(told.len(), 2 * KEPT_MAX);
        assert!(told.iter().all(|told| told.group.as_deref() != Some("web")));
        assert_eq!((told[0].text.as_str(), told[0].group.as_deref()), ("10", Some("mail")));
        assert_eq!((told[99].text.as_str(), told[99].group.as_deref()), ("59", None));
    }
}
