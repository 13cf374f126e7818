//! `failover: confirm`: nobody takes a group from a node that fell silent before a person has said that it can't write any
//! more (T10). For two sites whose line fails more often than their hosts, where a majority alone is not believed.
//!
//! It withholds T4 and T5, and what a T4 for another group would free; it changes no compare and no wait. Only who has the
//! group in its file knows of it: a T4 of anybody else leaves its record alone. A node takes its own record of an earlier life
//! as ever: the gate of its own containers guards it.

use crate::event::Action;
use crate::node::Node;
use crate::protocol::records::{GroupKeys, Record};
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// Who decides that the group is taken from a node that fell silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failover {
    /// The standbys.
    #[default]
    Auto,
    /// A person, with `leasehold fenced`.
    Confirm,
}

/// `failover`: of the group in this node's file, if it has it.
fn needs_word(me: &str, failover: Option<Failover>, record: &Record) -> bool {
    record.node != me && failover == Some(Failover::Confirm)
}

impl Node {
    /// Whether silence does not free this record for this node.
    pub(crate) fn needs_word(&self, group: &str, record: &Record) -> bool {
        let failover = self.groups.get(group).map(|group| group.settings().failover);
        needs_word(&self.facts.me().name, failover, record)
    }

    /// What to wait for, once the holder has been silent for as long as it promised.
    pub(crate) fn word_awaited(&self, now: Time, group: &str, keys: &GroupKeys) -> Option<String> {
        let record = keys.active().filter(|record| self.needs_word(group, record))?;
        let node = &record.node;
        let silent = self.takeable(now, node, record.incarnation) && record.stuck.is_none();
        silent.then(|| text::takeover::word_awaited(node, group))
    }

    /// The standby that would take it says what it waits for.
    pub(crate) fn request_confirmation(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.membership.ending().is_told() || !self.contact_holds_at(now) {
            return;
        }
        let confirmed = self.groups.iter();
        let confirmed = confirmed.filter(|(_, group)| group.settings().failover == Failover::Confirm);
        let names: Vec<String> = confirmed.map(|(name, _)| name.clone()).collect();
        for name in names {
            let keys = self.facts.view().group(&name);
            let Some(text) = self.word_awaited(now, &name, keys) else {
                continue;
            };
            let able = self.forbidden(&name).is_none() && self.barred(&name).is_none();
            if able
                && self.rank(now, &name, keys) == 0
                && let Some(group) = self.groups.get_mut(&name)
            {
                group.say(Code::FailoverWaits, text, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failover, Record, needs_word};

    #[test]
    fn a_word_is_needed_for_what_another_node_holds_where_the_file_asks_for_it() {
        let json = r#"{"epoch":3,"node":"b","incarnation":7,"state":"active","reason":""}"#;
        let record: Record = serde_json::from_str(json).unwrap();
        assert!(needs_word("a", Some(Failover::Confirm), &record));
        assert!(!needs_word("b", Some(Failover::Confirm), &record), "its gate guards it");
        assert!(!needs_word("a", Some(Failover::Auto), &record));
        assert!(!needs_word("a", None, &record), "it is not in the file");
    }
}
