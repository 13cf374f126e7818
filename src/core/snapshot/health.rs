//! The health of the cluster in one word, and the sentences behind it: what is wrong, and what would hurt next (jeopardy).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::protocol::TroubleState;
use crate::protocol::records::Trouble;
use crate::snapshot::status::{GroupLine, MemberState, NodeLine, NodeState, Status};
use crate::text;
use crate::text::health::because;

/// What is left of a hold is told in steps of so long.
const HOLD_STEP_MS: u64 = 10_000;

/// One word, in the order of the exit codes of monitoring plugins: 0 to 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Health {
    /// Every group is active, and every node could take it that should.
    #[default]
    Normal,
    /// Every group is active or stopped on purpose, but something would hurt next.
    Warning,
    /// A group is active nowhere, or sick.
    Failed,
    /// This node can't tell: it has no good word of etcd.
    Unknown,
}

impl Health {
    /// The exit code of `leasehold status`.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::Warning => 1,
            Self::Failed => 2,
            Self::Unknown => 3,
        }
    }

    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// The word and every sentence behind it, the worst first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overall {
    pub health: Health,
    pub sentences: Vec<String>,
}

/// A group that has a holder and does not serve as it should.
fn judge_trouble(name: &str, holder: &str, trouble: &Trouble) -> (Health, String) {
    let health = match &trouble.state {
        // Between two tries, or a word of a later version: nothing serves.
        TroubleState::Sick | TroubleState::Down | TroubleState::Other(_) => Health::Failed,
        TroubleState::Restarting | TroubleState::Impaired | TroubleState::Endangered => Health::Warning,
    };
    let text = text::health::trouble(name, holder, &trouble.state);
    (health, because(text, &trouble.why))
}

impl Status {
    /// Judges what this node sees.
    #[must_use]
    pub fn judge(&self) -> Overall {
        let mut found: Vec<(Health, String)> = Vec::new();
        if self.member != MemberState::Joined {
            let text = text::health::not_a_member(&self.node, self.member.word());
            let text = because(text, &self.reason);
            found.push((Health::Unknown, text));
        }
        for (name, line) in &self.groups {
            found.extend(self.judge_group(name, line));
        }
        found.extend(self.damaged.values().map(|text| (Health::Warning, text.clone())));
        for (name, node) in &self.nodes {
            match (node.state, &node.drained) {
                (NodeState::Silent, _) => found.push((Health::Warning, text::health::silent(name))),
                (NodeState::Away, _) => found.push((Health::Warning, text::health::away(name, node.away_s))),
                (NodeState::Alive, Some(order)) => found.push((Health::Warning, text::health::drained(name, order))),
                (NodeState::Alive, None) => found.extend(self.unready(name, node)),
            }
            if let Some(left) = self.hold_left(node) {
                found.push((Health::Warning, text::health::on_hold(name, left)));
            }
        }
        let doubted = self.nodes.iter().filter(|(_, node)| !node.clock.is_empty());
        found.extend(doubted.map(|(name, node)| (Health::Warning, text::health::of(name, &node.clock))));
        let faulty = self.nodes.iter().filter(|(_, node)| !node.endpoints.is_empty());
        found.extend(faulty.map(|(name, node)| (Health::Warning, text::health::endpoints(name, &node.endpoints))));
        found.extend(self.promises_troubles());
        found.extend(self.etcd_troubles.iter().map(|text| (Health::Warning, text.clone())));
        found.extend(self.versions());
        let troubles = [("etcd", &self.etcd_failure), ("engine", &self.engine_failure)];
        for (what, trouble) in troubles {
            if let Some(trouble) = trouble {
                found.push((Health::Warning, text::health::not_answering(what, &self.node, trouble)));
            }
        }
        found.sort_by_key(|(health, _)| std::cmp::Reverse(*health));
        Overall {
            health: found.first().map_or(Health::Normal, |(health, _)| *health),
            sentences: found.into_iter().map(|(_, sentence)| sentence).collect(),
        }
    }

    /// For how long a node may still be silent because it promised a longer beat than the cluster's, in whole steps.
    fn hold_left(&self, node: &NodeLine) -> Option<Duration> {
        let promised = node.ttl_ms.filter(|promised| *promised > self.ttl_ms)?;
        let left = promised.checked_sub(node.beat_ms?)?;
        let steps = left.div_ceil(HOLD_STEP_MS);
        let shown = node.state == NodeState::Alive && left > self.ttl_ms;
        shown.then(|| Duration::from_millis(steps * HOLD_STEP_MS))
    }

    /// A standby that could not take what it should: were its holder to fail, fewer hosts are left than the operator believes.
    fn unready(&self, name: &str, node: &NodeLine) -> Vec<(Health, String)> {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (group, why) in node.groups.iter().filter(|(_, why)| !why.is_empty()) {
            let held_elsewhere = |line: &&GroupLine| {
                let is_wanted = line.holder.as_deref().is_some_and(|holder| holder != name);
                is_wanted && !line.excluded.contains_key(name)
            };
            if self.groups.get(group).filter(held_elsewhere).is_some() {
                groups.entry(why).or_default().push(group);
            }
        }
        let sentence = |(why, groups): (&str, Vec<&str>)| text::health::unready(name, &groups, why);
        groups.into_iter().map(|one| (Health::Warning, sentence(one))).collect()
    }

    /// Were etcd away, what this node holds would stop all the same.
    fn promises_troubles(&self) -> Vec<(Health, String)> {
        let Some(promises) = &self.promises else {
            return Vec::new();
        };
        let alone = promises.alone.then(|| text::promises::alone(&self.node));
        let lacking = (!promises.lacking.is_empty()).then(|| text::promises::lacking(&self.node, &promises.lacking));
        let many = promises
            .too_many
            .map(|count| text::promises::too_many(&self.node, count));
        let fault = promises.fault.as_ref();
        let fault = fault.map(|fault| text::promises::unreachable(&self.node, fault));
        let sentences = [alone, many, lacking, fault].into_iter().flatten();
        sentences.map(|text| (Health::Warning, text)).collect()
    }

    /// An upgrade that is not finished, or a node that was forgotten.
    fn versions(&self) -> Option<(Health, String)> {
        let alive = self.nodes.iter().filter(|(_, node)| node.state == NodeState::Alive);
        let told: Vec<_> = alive.filter(|(_, node)| !node.version.is_empty()).collect();
        let (_, first) = told.first()?;
        if told.iter().all(|(_, node)| node.version == first.version) {
            return None;
        }
        let each = told.iter().map(|(name, node)| (name.as_str(), node.version.as_str()));
        let text = text::health::versions(each);
        Some((Health::Warning, text))
    }

    /// How many nodes besides its holder are alive and ready for the group.
    #[must_use]
    pub fn ready_standbys(&self, group: &str) -> usize {
        let holder = self.groups.get(group).and_then(|line| line.holder.as_ref());
        let ready = self.nodes.iter().filter(|(node, line)| {
            Some(*node) != holder
                && line.state == NodeState::Alive
                && line.groups.get(group).is_some_and(String::is_empty)
        });
        ready.count()
    }

    fn judge_group(&self, name: &str, line: &GroupLine) -> Vec<(Health, String)> {
        let mut found = Vec::new();
        // Nobody wants it up.
        if line.deleted.is_some() && line.holder.is_none() {
            return found;
        }
        if let Some(order) = &line.paused {
            found.push((Health::Warning, text::health::paused(name, order)));
        }
        let Some(holder) = &line.holder else {
            // Whoever holds it goes on; the key is told of by itself.
            if line.unreadable {
                let text = text::health::unknown(name);
                found.push((Health::Warning, text));
                return found;
            }
            let verdict = match &line.stopped {
                Some(order) => (Health::Warning, text::health::stopped(name, order)),
                None => (Health::Failed, because(text::health::nowhere(name), &line.reason)),
            };
            found.push(verdict);
            return found;
        };
        if let Some(stuck) = &line.stuck {
            found.push((Health::Failed, text::health::of(name, stuck)));
        }
        // Its record names it until somebody takes over, which a pause, or no ready standby, may prevent for long.
        let silent = line.held.is_none() && self.nodes.get(holder).is_none_or(|node| node.state != NodeState::Alive);
        if silent {
            let text = text::health::down_with(name, holder);
            found.push((Health::Failed, because(text, &line.reason)));
        }
        if let Some(trouble) = line.trouble.as_ref().filter(|_| !silent) {
            found.push(judge_trouble(name, holder, trouble));
        }
        // The service itself may be well, and so may the network of those who say so: somebody should look.
        if let Some(unreached) = line.unreached.as_ref().filter(|_| !silent) {
            found.push((Health::Warning, unreached.clone()));
        }
        if let Some(drift) = &line.drift {
            found.push((Health::Warning, text::health::drift(name, holder, drift)));
        }
        found.extend(line.warnings.iter().map(|text| (Health::Warning, text.clone())));
        let standby = self.ready_standbys(name) > 0;
        if !standby {
            let text = text::health::no_standby(name, holder);
            found.push((Health::Warning, text));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::status::{HeldLine, PromisesLine};

    fn node(state: NodeState, unready: &str) -> NodeLine {
        NodeLine {
            state,
            groups: [("mail".to_owned(), unready.to_owned())].into(),
            ..NodeLine::default()
        }
    }

    /// `mail` active on a, with b ready.
    fn good() -> Status {
        let line = GroupLine {
            holder: Some("a".to_owned()),
            held: Some(HeldLine::default()),
            ..GroupLine::default()
        };
        Status {
            node: "a".to_owned(),
            member: MemberState::Joined,
            groups: [("mail".to_owned(), line)].into(),
            nodes: [
                ("a".to_owned(), node(NodeState::Alive, "")),
                ("b".to_owned(), node(NodeState::Alive, "")),
            ]
            .into(),
            ..Status::default()
        }
    }

    fn trouble(state: TroubleState, why: &str) -> Option<Trouble> {
        let why = why.to_owned();
        Some(Trouble { state, why })
    }

    fn judged(change: impl FnOnce(&mut Status, &mut GroupLine)) -> (Health, String) {
        let mut status = good();
        let mut line = status.groups.remove("mail").unwrap();
        change(&mut status, &mut line);
        status.groups.insert("mail".to_owned(), line);
        let overall = status.judge();
        (overall.health, overall.sentences.join("; "))
    }

    #[test]
    fn a_service_with_a_ready_standby_is_normal() {
        assert_eq!(judged(|_, _| {}), (Health::Normal, String::new()));
    }

    #[test]
    fn a_promise_that_is_missing_would_hurt_next() {
        let with = |promises: PromisesLine| judged(|status, _| status.promises = Some(promises));
        assert_eq!(with(PromisesLine::default()), (Health::Normal, String::new()));
        let (lacking, alone) = (vec!["b".to_owned(), "c".to_owned()], true);
        let fault = Some("UDP is taken".to_owned());
        let (health, text) = with(PromisesLine {
            lacking,
            alone,
            too_many: Some(60),
            fault,
            ..PromisesLine::default()
        });
        assert_eq!(health, Health::Warning);
        for words in [
            "no promise from b, c",
            "no other node has a vote",
            "its 60 groups do not fit into one question; move some of them to another node",
            "a can't be asked for a promise: UDP is taken",
        ] {
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn each_trouble_has_its_word_and_its_sentence() {
        type Change = fn(&mut Status, &mut GroupLine);
        let cases: [(Change, Health, &str); 11] = [
            (|_, line| line.holder = None, Health::Failed, "mail is active nowhere"),
            (
                |_, line| (line.holder, line.stopped) = (None, Some("by root".to_owned())),
                Health::Warning,
                "mail is stopped by root",
            ),
            (
                |_, line| line.paused = Some("by root, until noon".to_owned()),
                Health::Warning,
                "mail is on pause by root, until noon",
            ),
            (
                |status, _| {
                    status.nodes.insert("b".to_owned(), node(NodeState::Alive, "no image"));
                },
                Health::Warning,
                "mail has no ready standby: were a to fail, it would stay down",
            ),
            (
                |status, _| status.nodes.get_mut("b").unwrap().drained = Some("by root".to_owned()),
                Health::Warning,
                "b is drained by root",
            ),
            (
                |_, line| line.warnings = vec!["mail would be another image on b".to_owned()],
                Health::Warning,
                "mail would be another image on b",
            ),
            (
                |_, line| line.unreached = Some("b can't reach mail at 192.0.2.10".to_owned()),
                Health::Warning,
                "b can't reach mail at 192.0.2.10",
            ),
            (
                |status, _| {
                    status.nodes.get_mut("a").unwrap().version = "0.1.0".to_owned();
                    status.nodes.get_mut("b").unwrap().version = "0.2.0".to_owned();
                },
                Health::Warning,
                "the sidecars are of different versions: a 0.1.0, b 0.2.0",
            ),
            (
                |status, _| status.member = MemberState::Frozen,
                Health::Unknown,
                "a is frozen, not a member",
            ),
            (
                |status, _| status.etcd_failure = Some("timed out".to_owned()),
                Health::Warning,
                "etcd of a: timed out",
            ),
            (
                |status, _| {
                    status.nodes.insert("c".to_owned(), node(NodeState::Silent, ""));
                },
                Health::Warning,
                "c is silent",
            ),
        ];
        for (change, health, words) in cases {
            let (got, sentences) = judged(change);
            assert!(
                got == health && sentences.contains(words),
                "{words}: {got:?} {sentences}"
            );
        }
    }

    #[test]
    fn a_hold_is_a_warning_until_less_than_a_ttl_of_it_is_left_and_an_ordinary_beat_is_none() {
        let of_beat = |promised, age| {
            judged(|status, _| {
                status.ttl_ms = 5000;
                let node = status.nodes.get_mut("a").unwrap();
                (node.ttl_ms, node.beat_ms) = (Some(promised), Some(age));
            })
        };
        let (health, said) = of_beat(120_000, 52_000);
        assert!(
            health == Health::Warning && said.starts_with("a is on hold for 70 s more"),
            "{said}"
        );
        for (promised, age) in [(5000, 400), (120_000, 115_500), (120_000, 130_000)] {
            assert_eq!(of_beat(promised, age), (Health::Normal, String::new()));
        }
    }

    #[test]
    fn what_can_not_be_read_is_no_failure_of_the_group() {
        let unreadable = judged(|_, line| (line.holder, line.unreadable) = (None, true));
        let wanted = "mail may be active, or not: its record can't be read";
        assert_eq!(unreadable, (Health::Warning, wanted.to_owned()));
        let damaged = judged(|status, _| {
            let text = "the key /k can't be read".to_owned();
            status.damaged.insert("/k".to_owned(), text);
        });
        assert_eq!(damaged, (Health::Warning, "the key /k can't be read".to_owned()));
    }

    #[test]
    fn one_standby_that_could_not_take_it_is_a_warning_while_another_could() {
        let with = |state, why: &'static str, away_s| {
            judged(move |status, _| {
                let mut third = node(state, why);
                third.away_s = away_s;
                status.nodes.insert("c".to_owned(), third);
            })
        };
        let unready = with(NodeState::Alive, "no image", None);
        assert_eq!(unready, (Health::Warning, "c could not take mail: no image".to_owned()));
        let remove = "if it will not come back, `leasehold node remove c`";
        for (seconds, words) in [
            (None, "c is away"),
            (Some(100), "c has been away for a minute"),
            (Some(7199), "c has been away for 119 minutes"),
            (Some(7200), "c has been away for 2 hours"),
            (Some(3 * 86_400 + 5), "c has been away for 3 days"),
        ] {
            let away = with(NodeState::Away, "", seconds);
            assert_eq!(away, (Health::Warning, format!("{words}: {remove}")));
        }
    }

    #[test]
    fn what_nobody_wants_of_a_node_is_no_warning() {
        let without = judged(|status, line| {
            status
                .nodes
                .insert("c".to_owned(), node(NodeState::Alive, "not extended to it"));
            line.excluded.insert("c".to_owned(), "by root".to_owned());
        });
        assert_eq!(without, (Health::Normal, String::new()));
    }

    #[test]
    fn an_etcd_that_fills_up_is_a_warning() {
        let judged = judged(|status, _| status.etcd_troubles = vec!["etcd http://a: full".to_owned()]);
        assert_eq!(judged, (Health::Warning, "etcd http://a: full".to_owned()));
    }

    #[test]
    fn nobody_misses_a_group_that_was_deleted() {
        let deleted = judged(|_, line| (line.holder, line.deleted) = (None, Some("by root".to_owned())));
        assert_eq!(deleted, (Health::Normal, String::new()));
    }

    #[test]
    fn a_doubtful_clock_is_a_warning_and_its_node_stays_a_standby() {
        let change = |status: &mut Status, _: &mut GroupLine| {
            status.nodes.get_mut("b").unwrap().clock = "the clock source is hpet".to_owned();
        };
        let wanted = (Health::Warning, "b: the clock source is hpet".to_owned());
        assert_eq!(judged(change), wanted);
    }

    #[test]
    fn endpoints_that_are_closed_are_a_warning_on_every_node() {
        let change = |status: &mut Status, _: &mut GroupLine| {
            status.nodes.get_mut("b").unwrap().endpoints = "closed: the port is taken".to_owned();
        };
        let wanted = (Health::Warning, "endpoints of b: closed: the port is taken".to_owned());
        assert_eq!(judged(change), wanted);
    }

    #[test]
    fn a_holder_that_serves_nothing_is_no_warning() {
        let silent = judged(|status, line| {
            (line.held, line.reason) = (None, "on pause".to_owned());
            // What it said last is not what is wrong now.
            line.trouble = trouble(TroubleState::Sick, "smtp 25: refused");
            status.nodes.get_mut("a").unwrap().state = NodeState::Silent;
        });
        let between_two_tries = judged(|_, line| line.trouble = trouble(TroubleState::Down, "keeps failing"));
        for ((health, sentences), words) in [
            (silent, "mail is down, because a is silent: on pause"),
            (between_two_tries, "mail is down on a: keeps failing"),
        ] {
            assert!(health == Health::Failed && sentences.starts_with(words), "{sentences}");
            assert!(!sentences.contains("sick"), "{sentences}");
        }
    }

    #[test]
    fn what_its_holder_says_counts_on_every_node() {
        for (state, health, words) in [
            (TroubleState::Sick, Health::Failed, "mail is sick on a: refused"),
            (
                TroubleState::Restarting,
                Health::Warning,
                "mail is being started again on a: refused",
            ),
            (
                TroubleState::Impaired,
                Health::Warning,
                "mail serves on a, but not as it should: refused",
            ),
            (
                TroubleState::Endangered,
                Health::Warning,
                "mail serves on a, and soon may not: refused",
            ),
            (TroubleState::Down, Health::Failed, "mail is down on a: refused"),
            (
                TroubleState::Other("bewitched".to_owned()),
                Health::Failed,
                "mail is bewitched on a: refused",
            ),
        ] {
            for node in ["a", "b"] {
                let said = judged(|status, line| {
                    status.node = node.to_owned();
                    line.held = line.held.take().filter(|_| node == "a");
                    line.trouble = trouble(state.clone(), "refused");
                });
                assert_eq!(said, (health, words.to_owned()), "{node}");
            }
        }
    }

    #[test]
    fn the_worst_comes_first() {
        let (health, sentences) = judged(|status, line| {
            status.etcd_failure = Some("timed out".to_owned());
            line.holder = None;
        });
        assert_eq!(health, Health::Failed);
        assert!(sentences.starts_with("mail is active nowhere"), "{sentences}");
    }
}
