//! The cluster as one node sees it.

use std::collections::BTreeMap;

use leasehold_core::protocol::records;
use leasehold_core::snapshot::health;
use leasehold_core::snapshot::status;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::config::{Setting, by_name};
use super::each;
use super::words::{
    GroupState, Health, IntentKind, IntentState, MemberState, NodeState, Stage, TroubleState, WatchdogState,
};

/// What one node knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    pub node: String,
    pub cluster: String,
    pub version: String,
    pub member: MemberState,
    /// Milliseconds since the last good read of etcd was sent; none before the first.
    pub etcd_age_ms: Option<u64>,
    pub etcd_failure: Option<String>,
    pub engine_failure: Option<String>,
    /// What is wrong with etcd although it answers: it fills up, or is damaged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub etcd_troubles: Vec<String>,
    #[serde(default)]
    pub watchdog: WatchdogState,
    /// What every beat of the cluster promises.
    pub ttl_ms: u64,
    /// While not every node has confirmed a shorter one: how long a node that nobody sees is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_ms: Option<u64>,
    /// For how long this node would run on without etcd; none where promises are off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promises: Option<PromisesLine>,
    /// What the last day was like for the cluster's ttl; none before it was measured for an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<MeasuredLine>,
    /// The node's last decision that is not about one group.
    pub reason: String,
    /// The health of all of it in one word.
    #[serde(default)]
    pub overall: Overall,
    /// Keys in etcd that can't be read, each with what to do about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub damaged: BTreeMap<String, String>,
    pub nodes: BTreeMap<String, NodeLine>,
    pub groups: BTreeMap<String, GroupLine>,
}

/// Promises, as far as this node's own runs go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PromisesLine {
    /// How long a holder may run on after its last answered beat, in milliseconds.
    pub bound_ms: u64,
    /// Milliseconds until the stop signal, were no further beat answered while all others go on to promise. None where this node
    /// holds nothing, or somebody's word is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
    /// Nodes without whose word it stops as without promises.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<String>,
    /// It holds something, and no other node has a vote.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alone: bool,
    /// It holds so many groups, which one question can't name: nobody is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub too_many: Option<u64>,
    /// Why nobody can ask this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// What this node has measured for the advice of `check`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MeasuredLine {
    /// For how long, in seconds; a day at most.
    pub for_s: u64,
    /// How often in a day etcd and this host would have stopped a service, with the ttl of now.
    pub stops_a_day: f64,
    /// The smallest ttl that would have stopped none, in milliseconds; none: none of those that are tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_carry_ms: Option<u64>,
}

/// A node as this one sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeLine {
    pub state: NodeState,
    pub version: String,
    pub address: String,
    pub priority: u32,
    /// Seconds since it was here last, to a minute, while it is away; none where nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away_s: Option<u64>,
    /// Milliseconds since its last beat was seen; none without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beat_ms: Option<u64>,
    /// What its last beat promised, in milliseconds; none without a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// For each group: empty when it is ready, else why not.
    pub groups: BTreeMap<String, String>,
    /// Why the rate of its clocks is in doubt; empty when it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub clock: String,
    /// What is wrong with its endpoints; empty when nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub endpoints: String,
    /// The operator's order that it shall hold nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<String>,
}

/// A group as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GroupLine {
    pub state: GroupState,
    /// The node that the record names, while it is active.
    pub holder: Option<String>,
    /// The node that the record names, while nobody holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_holder: Option<String>,
    pub epoch: u64,
    /// On which node it could not be stopped, and what to do; it stays down until then.
    pub stuck: Option<String>,
    /// What the record says about its last change.
    pub record: String,
    /// Its record can't be read: who holds it is not known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
    /// This node's last decision about the group.
    pub reason: String,
    pub vips: Vec<String>,
    /// Why it does not serve as it should, although it is held: as its holder says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// What each standby finds that asks the service at its first virtual address: empty where it reaches everything.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub opinions: BTreeMap<String, String>,
    /// Those that do not reach it, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreached: Option<String>,
    /// Of this node: present while it holds the group.
    pub held: Option<HeldLine>,
    /// The operator's order that it stays stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The operator's order that nothing is done to it automatically.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// The operator's order that it is no more: nobody starts it, and its storage is let alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<String>,
    /// Nodes that it is not extended to, with the operator's order.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub without: BTreeMap<String, String>,
    /// While it is deleted: the container that uses its storage without a lease, by node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub used: BTreeMap<String, String>,
    /// In what its run differs from what the file and the image say now, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    /// What an operator wants of it, and whether its holder has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<String>,
    /// Why the holder refused the last one; for half a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The request behind either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<StandingIntent>,
    /// The run that serves: of this node, or of a holder that lets standbys ask it. None says nothing of another node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<String>,
    /// What is set for it at run time, in the place of what the file says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, Setting>,
    /// What would be different after a move.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why this node could not take it over now; empty when it could.
    pub unready: String,
}

/// A request of an operator about a group, as it stands in etcd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StandingIntent {
    /// The same as whoever asked was answered.
    pub id: i64,
    pub what: IntentKind,
    /// The node that was named; none: the best standby when the holder begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    pub state: IntentState,
}

/// The run on this node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HeldLine {
    pub run: String,
    pub stage: Stage,
    /// Milliseconds until the stop signal, were no further beat answered.
    pub valid_ms: u64,
    pub address_held: bool,
    pub probe_failure: Option<String>,
    /// A probe has failed as often as it takes: the service is sick although it runs.
    #[serde(default)]
    pub sick: bool,
    /// Each container: `idle`, `starting`, `up`, `unknown` or `gone`, with the engine's health check where it has one.
    pub services: BTreeMap<String, String>,
    /// Each probe that has passed once: whether it passes now.
    #[serde(default)]
    pub probes: BTreeMap<String, bool>,
}

/// The word and every sentence behind it, the worst first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Overall {
    pub health: Health,
    pub sentences: Vec<String>,
}

/// Why a group that is held does not serve as it should: what only its holder can know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trouble {
    pub state: TroubleState,
    /// In a sentence.
    pub why: String,
}

impl From<status::Status> for Status {
    fn from(seen: status::Status) -> Self {
        let status::Status {
            node,
            cluster,
            version,
            member,
            etcd_age_ms,
            etcd_failure,
            engine_failure,
            etcd_troubles,
            // The same, for the console.
            etcd_members: _,
            watchdog,
            ttl_ms,
            longest_ms,
            promises,
            measured,
            reason,
            overall,
            damaged,
            nodes,
            groups,
        } = seen;
        Self {
            node,
            cluster,
            version,
            member: member.into(),
            etcd_age_ms,
            etcd_failure,
            engine_failure,
            etcd_troubles,
            watchdog: watchdog.into(),
            ttl_ms,
            longest_ms,
            promises: promises.map(PromisesLine::from),
            measured: measured.map(MeasuredLine::from),
            reason,
            overall: overall.into(),
            damaged,
            nodes: each(nodes),
            groups: each(groups),
        }
    }
}

impl From<status::MeasuredLine> for MeasuredLine {
    fn from(line: status::MeasuredLine) -> Self {
        let status::MeasuredLine {
            for_s,
            stops_a_day,
            would_carry_ms,
        } = line;
        Self {
            for_s,
            stops_a_day,
            would_carry_ms,
        }
    }
}

impl From<status::PromisesLine> for PromisesLine {
    fn from(line: status::PromisesLine) -> Self {
        let status::PromisesLine {
            bound_ms,
            left_ms,
            lacking,
            alone,
            too_many,
            fault,
        } = line;
        Self {
            bound_ms,
            left_ms,
            lacking,
            alone,
            too_many,
            fault,
        }
    }
}

impl From<status::NodeLine> for NodeLine {
    fn from(line: status::NodeLine) -> Self {
        let status::NodeLine {
            state,
            version,
            address,
            priority,
            away_s,
            beat_ms,
            ttl_ms,
            groups,
            clock,
            endpoints,
            drained,
        } = line;
        Self {
            state: state.into(),
            version,
            address,
            priority,
            away_s,
            beat_ms,
            ttl_ms,
            groups,
            clock,
            endpoints,
            drained,
        }
    }
}

impl From<status::GroupLine> for GroupLine {
    fn from(line: status::GroupLine) -> Self {
        let status::GroupLine {
            state,
            holder,
            last_holder,
            epoch,
            stuck,
            record,
            // For the history.
            cause: _,
            unreadable,
            reason,
            vips,
            trouble,
            opinions,
            unreached,
            held,
            stopped,
            paused,
            deleted,
            excluded: without,
            used,
            drift,
            intent_text: wish,
            refused,
            intent,
            serving,
            settings,
            warnings,
            unready,
        } = line;
        Self {
            state: state.into(),
            holder,
            last_holder,
            epoch,
            stuck,
            record,
            unreadable,
            reason,
            vips,
            trouble: trouble.map(Into::into),
            opinions,
            unreached,
            held: held.map(Into::into),
            stopped,
            paused,
            deleted,
            without,
            used,
            drift,
            wish,
            refused,
            asked: intent.map(Into::into),
            serving: serving.map(|run| run.to_string()),
            set: by_name(settings.into_iter().filter(|line| line.set.is_some())),
            warnings,
            unready,
        }
    }
}

impl From<(records::Intent, i64)> for StandingIntent {
    fn from((intent, revision): (records::Intent, i64)) -> Self {
        let (id, what, to, state) = match intent {
            records::Intent::Switchover { to, begun, .. } => match begun {
                Some(of) => (of, IntentKind::Switchover, to, IntentState::Begun),
                None => (revision, IntentKind::Switchover, to, IntentState::Asked),
            },
            records::Intent::Apply { .. } => (revision, IntentKind::Apply, None, IntentState::Asked),
            // A holder answers to a move so, and to nothing else.
            records::Intent::Refused { of, .. } => (of, IntentKind::Switchover, None, IntentState::Refused),
        };
        Self { id, what, to, state }
    }
}

impl From<status::HeldLine> for HeldLine {
    fn from(line: status::HeldLine) -> Self {
        let status::HeldLine {
            run,
            stage,
            // For the history.
            up: _,
            valid_ms,
            address_held,
            probe_failure,
            sick,
            services,
            probes,
        } = line;
        Self {
            run: run.to_string(),
            stage: stage.into(),
            valid_ms,
            address_held,
            probe_failure,
            sick,
            services: services
                .into_iter()
                .map(|(name, line)| (name, line.to_string()))
                .collect(),
            probes,
        }
    }
}

impl From<health::Overall> for Overall {
    fn from(overall: health::Overall) -> Self {
        let health::Overall { health, sentences } = overall;
        let health = health.into();
        Self { health, sentences }
    }
}

impl From<records::Trouble> for Trouble {
    fn from(trouble: records::Trouble) -> Self {
        let records::Trouble { state, why } = trouble;
        let state = state.into();
        Self { state, why }
    }
}
