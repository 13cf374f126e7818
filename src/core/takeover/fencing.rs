//! A fence before an unclean take-over (rule 14 of docs/protocol.md): which node is being fenced, whether that is done, and when a
//! failed one is tried again.
//!
//! With a fence configured, T4 and T5 wait until it has succeeded, and a record that is marked stuck is freed by it
//! (T10). One fence at a time for a node; the ranks of the standbys see to it that one of them starts.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::Action;
use crate::node::Node;
use crate::protocol::records::{GroupKeys, Record};
use crate::requests::fenced::Fenced;
use crate::snapshot::code::Code;
use crate::takeover::election::Claim;
use crate::text;
use crate::text::fencing::Because;
use crate::time::Time;

/// Between two tries, doubled from one to the next; and once the tries are spent.
const BACK_OFF: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(60);
/// How much longer than its deadline an adapter may be silent.
const OVERDUE: Duration = Duration::from_secs(30);
/// How long the others leave the record to a node that came back under its own name, rather than fence it.
const CAME_BACK_START: Duration = Duration::from_secs(3);

/// What the core must know of the fence that is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceSettings {
    /// The program, for sentences.
    pub agent: String,
    /// The deadline of one try.
    pub timeout: Duration,
    /// Tries in a row, with a growing pause between them.
    pub tries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Wanted,
    Running { since: Time },
    Done,
    Waiting { until: Time },
}

/// The fence, and the nodes that are being fenced.
#[derive(Clone, Debug, Default)]
pub(super) struct Fences {
    settings: Option<FenceSettings>,
    nodes: BTreeMap<String, Fencing>,
}

impl Fences {
    pub(super) fn new(settings: Option<FenceSettings>) -> Self {
        let nodes = BTreeMap::new();
        Self { settings, nodes }
    }
}

/// The fence of one node.
#[derive(Clone, Debug)]
struct Fencing {
    incarnation: i64,
    /// Its record is marked stuck: that it beats is no surprise.
    stuck: bool,
    /// The beat that was the last one when it was wanted; `None`: the key was gone.
    beat: Option<i64>,
    state: State,
    failures: u32,
}

impl Node {
    /// How long the standby of one rank leaves the take-over to the one before; longer than a fence takes.
    pub(crate) fn rank_step(&self, ordinary: Duration, keys: &GroupKeys) -> Duration {
        match &self.takeover.fences.settings {
            Some(fence) if self.needs_fence(keys).is_some() => fence.timeout,
            Some(_) | None => ordinary,
        }
    }

    /// Further time for a holder whose name lives on under another incarnation: it knows best, and would be hit.
    pub(crate) fn came_back_start(&self, now: Time, keys: &GroupKeys) -> Duration {
        let Some(record) = self.needs_fence(keys) else {
            return Duration::ZERO;
        };
        let lease = self.facts.view().lease_of(&record.node);
        let other = lease != 0 && lease != record.incarnation && !self.facts.observer().ripe(now, &record.node, lease);
        if other { CAME_BACK_START } else { Duration::ZERO }
    }

    /// The record, if a fence must come before this node may take it. Nobody fences itself: a record of an earlier life
    /// of this very node is guarded by its gate.
    fn needs_fence<'a>(&self, keys: &'a GroupKeys) -> Option<&'a Record> {
        self.takeover.fences.settings.as_ref()?;
        keys.active().filter(|record| record.node != self.facts.me().name)
    }

    /// Whether the take-over of a silent holder's group must wait for its fence.
    pub(crate) fn fence_first(&mut self, now: Time, keys: &GroupKeys) -> Option<Claim> {
        let record = self.needs_fence(keys)?;
        self.fence(now, &record.clone(), false)
    }

    /// A record marked stuck: where a fence is configured the first standby fences its holder, then frees it (T10).
    pub(crate) fn claim_stuck(&mut self, now: Time, keys: &GroupKeys, at: Time) -> Option<Claim> {
        let record = self.needs_fence(keys).filter(|record| record.stuck.is_some())?.clone();
        if now.awake() < at.awake() {
            return Some(Claim::At(at));
        }
        if let Some(wait) = self.fence(now, &record, true) {
            return Some(wait);
        }
        let agent = self
            .takeover
            .fences
            .settings
            .as_ref()
            .map(|fence| fence.agent.clone())
            .unwrap_or_default();
        let freed = self.of_incarnation(&record.node, record.incarnation);
        let reason = text::fencing::succeeded(&agent, &self.facts.me().name);
        let whole = self.facts.view().lease_of(&record.node) == record.incarnation;
        // What does not fit in comes with the next.
        let (txn, _) = self.fence_release_txn(&record.node, &freed, &reason, whole);
        Some(Claim::Free(txn))
    }

    /// `None` once the incarnation is fenced; until then what to wait for.
    fn fence(&mut self, now: Time, record: &Record, stuck: bool) -> Option<Claim> {
        let node = &record.node;
        let beat = self.facts.observer().beat_of(node, record.incarnation);
        let fresh = Fencing {
            incarnation: record.incarnation,
            stuck,
            beat,
            state: State::Wanted,
            failures: 0,
        };
        let fencing = self
            .takeover
            .fences
            .nodes
            .entry(node.clone())
            .or_insert_with(|| fresh.clone());
        let same = fencing.incarnation == record.incarnation;
        match fencing.state {
            State::Done if same => return None,
            State::Waiting { until } if same && !now.reached(until) => return Some(Claim::At(until)),
            State::Waiting { .. } if same => {
                fencing.state = State::Wanted;
                (fencing.beat, fencing.stuck) = (beat, stuck);
            }
            // One at a time for a node: that of an earlier life ends first.
            State::Wanted | State::Running { .. } => {}
            State::Done | State::Waiting { .. } => *fencing = fresh,
        }
        Some(Claim::No(text::fencing::under_way(node)))
    }

    /// Once a step: drops what nobody needs any more, and gives the orders.
    pub(crate) fn step_fencing(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(settings) = self.takeover.fences.settings.clone() else {
            return;
        };
        let nodes: Vec<String> = self.takeover.fences.nodes.keys().cloned().collect();
        for node in nodes {
            let Some(fencing) = self.takeover.fences.nodes.get(&node).cloned() else {
                continue;
            };
            match fencing.state {
                State::Wanted => {
                    let because = if fencing.stuck { Because::Stuck } else { Because::Silent };
                    let text = text::fencing::begins(&node, because, &settings.agent);
                    self.say(Code::FenceStarted, text, out);
                    self.set_fencing(&node, State::Running { since: now });
                    let incarnation = fencing.incarnation;
                    out.push(Action::Fence { node, incarnation });
                }
                State::Running { since } if now.since(since) >= settings.timeout + OVERDUE => {
                    let result = Err(text::fencing::DID_NOT_END.to_owned());
                    self.fence_ended(now, &node, fencing.incarnation, result, out);
                }
                State::Running { .. } => {}
                State::Done | State::Waiting { .. } => {
                    let held = self.of_incarnation(&node, fencing.incarnation);
                    let wanted = held
                        .iter()
                        .any(|(_, _, record)| !fencing.stuck || record.stuck.is_some());
                    if !wanted {
                        self.takeover.fences.nodes.remove(&node);
                    } else if self.beats_again(&node, &fencing) {
                        self.takeover.fences.nodes.remove(&node);
                        if fencing.state == State::Done {
                            self.living_node_fenced(&node, out);
                        }
                    }
                }
            }
        }
    }

    fn set_fencing(&mut self, node: &str, state: State) {
        if let Some(fencing) = self.takeover.fences.nodes.get_mut(node) {
            fencing.state = state;
        }
    }

    /// A holder that was silent when its fence was wanted, and no longer is.
    fn beats_again(&self, node: &str, fencing: &Fencing) -> bool {
        let beat = self.facts.observer().beat_of(node, fencing.incarnation);
        !fencing.stuck && beat.is_some() && beat != fencing.beat
    }

    fn living_node_fenced(&mut self, node: &str, out: &mut Vec<Action>) {
        self.say(Code::FenceHitLiving, text::fencing::hit_the_living(node), out);
    }

    /// A try has ended.
    pub(crate) fn fence_ended(
        &mut self,
        now: Time,
        node: &str,
        incarnation: i64,
        result: Result<String, String>,
        out: &mut Vec<Action>,
    ) {
        let Some(settings) = self.takeover.fences.settings.clone() else {
            return;
        };
        let Some(fencing) = self
            .takeover
            .fences
            .nodes
            .get(node)
            .filter(|fencing| fencing.incarnation == incarnation)
        else {
            return;
        };
        if !matches!(fencing.state, State::Running { .. }) {
            return;
        }
        let agent = &settings.agent;
        match result {
            Ok(_) if self.beats_again(node, fencing) => {
                self.takeover.fences.nodes.remove(node);
                self.living_node_fenced(node, out);
            }
            Ok(_) => {
                self.set_fencing(node, State::Done);
                self.say(Code::FenceDone, text::fencing::done(node, agent), out);
            }
            Err(why) => {
                let failures = fencing.failures + 1;
                let spent = failures >= settings.tries;
                let pause = if spent {
                    PAUSE
                } else {
                    BACK_OFF * (1 << (failures - 1).min(5))
                };
                let text = if spent {
                    text::fencing::given_up(node, failures, agent, &why, pause)
                } else {
                    text::fencing::failed(node, agent, &why, pause)
                };
                if let Some(fencing) = self.takeover.fences.nodes.get_mut(node) {
                    fencing.failures = if spent { 0 } else { failures };
                    fencing.state = State::Waiting { until: now.plus(pause) };
                }
                let code = if spent { Code::FenceGivenUp } else { Code::FenceFailed };
                self.say(code, text, out);
            }
        }
    }

    /// All active records of one incarnation.
    fn of_incarnation(&self, node: &str, incarnation: i64) -> Vec<crate::requests::fenced::Freed<'_>> {
        let of_node = self.freed(&Fenced::Node(node.to_owned())).unwrap_or_default();
        let same = of_node
            .into_iter()
            .filter(|(_, _, record)| record.incarnation == incarnation);
        same.collect()
    }
}
