//! T10: somebody has made sure that a node can't write, by hand or with a fence agent. What it held is free, also what is
//! marked stuck.

use std::time::Duration;

use crate::event::Action;
use crate::membership::Purpose;
use crate::node::Node;
use crate::protocol::records::{GroupKeys, Record};
use crate::protocol::{AsRead, FencedNode};
use crate::requests::refusal::Refusal;
use crate::snapshot::code::Code;
use crate::store::Txn;
use crate::text;
use crate::time::Time;

/// A node that was powered off does not beat; its last beat may still be so young.
const OFF_FOR: Duration = Duration::from_secs(3);

/// What can't be written to any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fenced {
    /// By this node: it was powered off, or cut from all storage.
    Node(String),
    /// The storage of this group, by its holder.
    Group(String),
}

/// A T10 that an operator asked for.
#[derive(Clone, Debug)]
pub(crate) struct PendingFenced {
    pub(crate) reply: u64,
    what: Fenced,
    /// Who says so, and when.
    by: String,
}

/// A record that T10 frees, with its group.
pub(crate) type Freed<'a> = (&'a String, &'a GroupKeys, &'a Record);

impl Node {
    /// Takes the operator's word, or says why not.
    pub(crate) fn want_fenced(&mut self, reply: u64, what: Fenced, by: String) -> Option<Refusal> {
        if !self.membership.is_joined() {
            return Some(Refusal::NotMemberForFence);
        }
        if self.membership.is_under_hold(self.facts.now()) {
            return Some(Refusal::UnderHold);
        }
        self.requests.fenced(PendingFenced { reply, what, by }).err()
    }

    /// The operator's T10, when it may be sent.
    pub(crate) fn fenced_by_hand(&mut self, now: Time, out: &mut Vec<Action>) -> Option<(Txn, Purpose)> {
        let PendingFenced { reply, what, by } = self.requests.take_fenced()?;
        match self.fenced_txn(now, &what, &by) {
            Ok((txn, left)) => Some((txn, Purpose::Fenced { reply, left })),
            Err(why) => {
                let result = Err(why);
                out.push(Action::Reply { reply, result });
                None
            }
        }
    }

    fn fenced_txn(&self, now: Time, what: &Fenced, by: &str) -> Result<(Txn, usize), Refusal> {
        let freed = self.freed(what)?;
        let Some((_, _, first)) = freed.first() else {
            return Err(Refusal::NothingToFree);
        };
        let node = first.node.clone();
        let key = self.facts.view().lease_of(&node);
        let silent = self.facts.observer().silent_for(now, &node, key);
        let beats = key != 0 && silent.is_none_or(|silent| silent < OFF_FOR);
        for (name, _, record) in &freed {
            self.may_free(what, name, record, beats && record.incarnation == key)?;
        }
        let reason = text::fencing::by_hand(by, &self.facts.me().name, &node);
        // The key of a node that came back belongs to a life that was not fenced.
        let whole = matches!(what, Fenced::Node(_)) && !beats && node != self.facts.me().name;
        Ok(self.fence_release_txn(&node, &freed, &reason, whole))
    }

    /// The records that are meant: all of one node.
    pub(crate) fn freed(&self, what: &Fenced) -> Result<Vec<Freed<'_>>, Refusal> {
        let active = self
            .facts
            .view()
            .groups
            .iter()
            .filter_map(|(name, keys)| Some((name, keys, keys.active()?)));
        match what {
            Fenced::Group(group) => {
                let Some(keys) = self.facts.view().groups.get(group) else {
                    let known: Vec<&str> = self.facts.view().groups.keys().map(String::as_str).collect();
                    return Err(Refusal::NoGroupAnywhere {
                        group: group.clone(),
                        known: known.join(", "),
                    });
                };
                if keys.active().is_none() {
                    return Err(Refusal::HeldByNobody { group: group.clone() });
                }
                Ok(active.filter(|(name, _, _)| *name == group).collect())
            }
            Fenced::Node(node) => {
                let freed: Vec<_> = active.filter(|(_, _, record)| record.node == *node).collect();
                if !freed.is_empty() {
                    return Ok(freed);
                }
                let known = self.facts.view().nodes.keys().chain(self.facts.view().statuses.keys());
                let mut known: Vec<&str> = known.map(String::as_str).collect();
                known.sort_unstable();
                known.dedup();
                let there = known.contains(&node.as_str());
                let (node, known) = (node.clone(), known.join(", "));
                Err(if there {
                    Refusal::HoldsNothing { node }
                } else {
                    Refusal::NoNodeAnywhere { node, known }
                })
            }
        }
    }

    /// Whether the operator's word can be true of this record.
    fn may_free(&self, what: &Fenced, name: &str, record: &Record, lives: bool) -> Result<(), Refusal> {
        let node = &record.node;
        let held = self.groups.get(name).is_some_and(|group| group.is_held());
        if *node == self.facts.me().name && held {
            return Err(Refusal::HeldHere { group: name.to_owned() });
        }
        let (group, node) = (name.to_owned(), node.clone());
        match what {
            Fenced::Node(_) if lives => Err(Refusal::FencedBeats {
                node,
                off_for: OFF_FOR,
                group,
            }),
            Fenced::Group(_) if lives && record.stuck.is_none() => Err(Refusal::NotStuckThere { group, node }),
            Fenced::Node(_) | Fenced::Group(_) => Ok(()),
        }
    }

    /// Frees the records, if they and the node's key are still as read; `whole` ends the node's incarnation, too. With it, how
    /// many records did not fit in; those that nothing else frees come first.
    pub(crate) fn fence_release_txn(&self, node: &str, freed: &[Freed<'_>], reason: &str, whole: bool) -> (Txn, usize) {
        let fenced = FencedNode {
            node,
            lease: self.facts.view().lease_of(node),
            itself: node == self.facts.me().name,
            whole,
        };
        let freed = freed
            .iter()
            .map(|(group, keys, record)| (AsRead { group, keys }, *record));
        Txn::free_fenced(self.facts.keys(), fenced, &freed.collect::<Vec<_>>(), reason)
    }

    /// What became of it.
    pub(crate) fn fenced(&mut self, reply: u64, left: usize, succeeded: bool, out: &mut Vec<Action>) {
        let result = if succeeded {
            self.mention(Code::FencedByHand, text::fencing::FREED_BY_HAND.to_owned(), out);
            Ok(text::fencing::freed(left).into())
        } else {
            Err(Refusal::FreedChanged)
        };
        out.push(Action::Reply { reply, result });
    }
}
