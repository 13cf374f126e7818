//! What happens around this node, told for people: etcd out of reach, a node that fails or comes back, a group without a
//! ready standby. No rule hangs on any of it; whoever takes a group over has reasons of its own in `election`.

use std::collections::BTreeMap;

use crate::event::Action;
use crate::group::Group;
use crate::node::Node;
use crate::protocol::records::NodeStatus;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Neighbour {
    Well,
    /// It said that it will leave.
    Ending,
    Away,
}

/// What was told last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peers {
    cut_off: bool,
    nodes: BTreeMap<String, Neighbour>,
    /// Groups that are active here without a ready standby: since when, and whether that was told.
    alone: BTreeMap<String, (Time, bool)>,
}

impl Node {
    /// Once a step, as a member.
    pub(crate) fn report_peers(&mut self, now: Time, out: &mut Vec<Action>) {
        if !self.membership.is_joined() || self.membership.ending().is_told() {
            return;
        }
        let gap = self.facts.timing().contact_gap();
        let cut_off = !self.facts.is_fresh();
        if cut_off != self.speech.peers().cut_off {
            self.speech.peers_mut().cut_off = cut_off;
            let (code, text) = match cut_off {
                true => {
                    let why = self
                        .membership
                        .exchange()
                        .failure()
                        .unwrap_or(text::membership::NO_ANSWER);
                    let text = text::membership::no_good_word(gap, why);
                    (Code::CommunicationLost, text)
                }
                false => (Code::CommunicationRestored, text::membership::ETCD_ANSWERS.to_owned()),
            };
            self.mention(code, text, out);
        }
        // Without a word of etcd every other node looks silent, and is not.
        if !cut_off {
            self.look_at_nodes(now, out);
            self.look_for_standbys(now, out);
        }
    }

    fn look_at_nodes(&mut self, now: Time, out: &mut Vec<Action>) {
        let mut seen: BTreeMap<String, Neighbour> = BTreeMap::new();
        for (name, key) in self
            .facts
            .view()
            .nodes
            .iter()
            .filter(|(name, _)| **name != self.facts.me().name)
        {
            let silent = key.lease == 0 || self.facts.observer().ripe(now, name, key.lease);
            let ending = self.facts.view().statuses.get(name).is_some_and(NodeStatus::leaves);
            let neighbour = match (silent, ending) {
                (true, _) => Neighbour::Away,
                (false, true) => Neighbour::Ending,
                (false, false) => Neighbour::Well,
            };
            seen.insert(name.clone(), neighbour);
        }
        let before = std::mem::take(&mut self.speech.peers_mut().nodes);
        for (name, was) in &before {
            let is = seen.get(name).copied();
            let (code, text) = match (was, is) {
                (Neighbour::Well | Neighbour::Ending, Some(Neighbour::Away)) => {
                    (Code::NodeFailed, text::membership::fell_silent(name))
                }
                (Neighbour::Well, None) => (Code::NodeFailed, text::membership::is_gone(name)),
                (Neighbour::Ending, None) => (Code::NodeLeft, text::membership::left_in_order(name)),
                (Neighbour::Away, Some(Neighbour::Well | Neighbour::Ending)) => {
                    (Code::NodeReturned, text::membership::is_back(name))
                }
                (Neighbour::Away, Some(Neighbour::Away) | None)
                | (Neighbour::Well | Neighbour::Ending, Some(Neighbour::Well | Neighbour::Ending)) => continue,
            };
            self.mention(code, text, out);
        }
        for name in before.into_keys() {
            seen.entry(name).or_insert(Neighbour::Away);
        }
        self.speech.peers_mut().nodes = seen;
    }

    /// A node that joins is ready for nothing for a ttl: what lasts no longer than two is not worth a word.
    fn look_for_standbys(&mut self, now: Time, out: &mut Vec<Action>) {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let known = self.speech.peers_mut().alone.remove(&name);
            if !self.groups.get(&name).is_some_and(Group::active) {
                continue;
            }
            let next = self.successor(&name, None);
            let Some(group) = self.groups.get_mut(&name) else {
                continue;
            };
            match next {
                None => {
                    let (since, told) = known.unwrap_or((now, false));
                    let due = !told && now.since(since) >= self.facts.timing().ttl * 2;
                    if due {
                        let text = text::membership::NO_STANDBY.to_owned();
                        group.mention(now, Code::Jeopardy, text, out);
                    }
                    self.speech.peers_mut().alone.insert(name, (since, told || due));
                }
                Some(next) => {
                    if known.is_some_and(|(_, told)| told) {
                        group.mention(now, Code::JeopardyOver, text::membership::has_standby(&next), out);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NodeStatus;

    fn status(why: &str, more: &str) -> NodeStatus {
        let group = format!(r#"{{"ready":false,"why":"{why}"}}"#);
        let head = r#""version":"1","address":"","priority":100"#;
        serde_json::from_str(&format!(r#"{{{head},"groups":{{"mail":{group}}}{more}}}"#)).unwrap()
    }

    #[test]
    fn a_node_that_leaves_says_so_in_a_word_and_not_in_its_sentence() {
        assert!(status("about to go", r#","ending":true"#).leaves());
        assert!(!status("about to go", "").leaves());
        let without_groups = NodeStatus {
            ending: true,
            ..NodeStatus::default()
        };
        assert!(without_groups.leaves());
    }

    /// As 84eb5cc wrote it.
    #[test]
    fn a_node_of_before_is_understood_by_its_sentence() {
        assert!(status("its node was told to end", "").leaves());
        assert!(!status("no image", "").leaves());
    }
}
