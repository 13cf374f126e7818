//! The part of a path that names an act.

use std::time::Duration;

use crate::adapters::http::acts::Act;
use leasehold_core::protocol::policy::{Change, Setting};

/// Of the acts that a page offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Switchover,
    Failback,
    Drill,
    Apply,
    Stop,
    Start,
    Pause,
    Resume,
    Extend,
    Unextend,
    Set,
    Create,
    Delete,
    /// Of a group or of a node.
    Fenced,
    Drain,
    Undrain,
    Remove,
    Hold,
}

impl Verb {
    pub(super) const ALL: [Self; 18] = [
        Self::Switchover,
        Self::Failback,
        Self::Drill,
        Self::Apply,
        Self::Stop,
        Self::Start,
        Self::Pause,
        Self::Resume,
        Self::Extend,
        Self::Unextend,
        Self::Set,
        Self::Create,
        Self::Delete,
        Self::Fenced,
        Self::Drain,
        Self::Undrain,
        Self::Remove,
        Self::Hold,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Switchover => "switchover",
            Self::Failback => "failback",
            Self::Drill => "drill",
            Self::Apply => "apply",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Extend => "extend",
            Self::Unextend => "unextend",
            Self::Set => "set",
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Fenced => "fenced",
            Self::Drain => "drain",
            Self::Undrain => "undrain",
            Self::Remove => "remove",
            Self::Hold => "hold",
        }
    }

    pub(super) fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.word() == word)
    }

    /// The act on a group, with what a form says besides.
    pub(super) fn on_group(self, group: &str, node: Option<&str>, length: Duration) -> Option<Act> {
        let group = group.to_owned();
        let named = node.filter(|node| !node.is_empty()).map(str::to_owned);
        Some(match self {
            Self::Switchover => Act::Switchover { group, to: named },
            Self::Failback => Act::Failback { group },
            Self::Drill => Act::Drill { group, to: named },
            Self::Apply => Act::Apply { group },
            Self::Stop => Act::Stop { group },
            Self::Start => Act::Start { group },
            Self::Pause => Act::Pause { group, length },
            Self::Resume => Act::Resume { group },
            Self::Extend => Act::Extend { group, node: named? },
            Self::Unextend => Act::Unextend { group, node: named? },
            // Which value is meant; the form says what it shall be.
            Self::Set => {
                let changes = vec![Change::Unset(Setting::named(node?)?)];
                Act::Set { group, changes }
            }
            Self::Create => Act::Create { group },
            Self::Delete => Act::Delete { group },
            Self::Fenced => Act::FencedGroup { group },
            Self::Drain | Self::Undrain | Self::Remove | Self::Hold => return None,
        })
    }

    /// The act on a node.
    pub(super) fn on_node(self, node: &str, length: Duration) -> Option<Act> {
        let node = node.to_owned();
        match self {
            Self::Drain => Some(Act::Drain { node }),
            Self::Undrain => Some(Act::Undrain { node }),
            Self::Fenced => Some(Act::FencedNode { node }),
            Self::Remove => Some(Act::Remove { node }),
            Self::Hold => Some(Act::Hold { node, length }),
            Self::Switchover
            | Self::Failback
            | Self::Drill
            | Self::Apply
            | Self::Stop
            | Self::Start
            | Self::Pause
            | Self::Resume
            | Self::Extend
            | Self::Unextend
            | Self::Set
            | Self::Create
            | Self::Delete => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_its_verb_and_is_of_a_group_or_a_node() {
        for verb in Verb::ALL {
            assert_eq!(Verb::read(verb.word()), Some(verb));
            let named = if verb == Verb::Set { "failback" } else { "b" };
            let of_group = verb.on_group("mail", Some(named), Duration::ZERO);
            let of_node = verb.on_node("b", Duration::ZERO);
            assert!(of_group.is_some() || of_node.is_some(), "{verb:?}");
        }
        assert_eq!(Verb::read("dance"), None);
    }
}
