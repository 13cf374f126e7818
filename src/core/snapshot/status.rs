//! A snapshot for people and tools: what the node believes, and the sentence of its last decision.

use std::collections::BTreeMap;

use crate::epoch::Run;
use crate::group::{Group, Holding, ServiceRun, ServiceState, Stage, VipStage};
use crate::membership::Member;
use crate::node::Node;
use crate::protocol::ReleaseCause;
use crate::protocol::records::{Intent, KnownNode, NodeStatus, Record, RecordState, Trouble};
use crate::snapshot::health::Overall;
use crate::snapshot::settings::SettingLine;
use crate::text;
use crate::time::Time;

/// What one node knows.
#[derive(Clone, Debug, Default, PartialEq)]
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
    pub etcd_troubles: Vec<String>,
    /// The same of each member, by its url.
    pub etcd_members: BTreeMap<String, Vec<String>>,
    pub watchdog: WatchdogState,
    /// What every beat of the cluster promises.
    pub ttl_ms: u64,
    /// While not every node has confirmed a shorter one: how long a node that nobody sees is waited for.
    pub longest_ms: Option<u64>,
    /// For how long this node would run on without etcd; none where promises are off.
    pub promises: Option<PromisesLine>,
    /// What the last day was like for the cluster's ttl; none before it was measured for long enough.
    pub measured: Option<MeasuredLine>,
    /// The node's last decision that is not about one group.
    pub reason: String,
    /// The health of all of it in one word.
    pub overall: Overall,
    /// Keys in etcd that can't be read, each with what to do about it.
    pub damaged: BTreeMap<String, String>,
    pub nodes: BTreeMap<String, NodeLine>,
    pub groups: BTreeMap<String, GroupLine>,
}

/// Promises, as far as this node's own runs go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromisesLine {
    /// After its last answered beat, in milliseconds.
    pub bound_ms: u64,
    /// Milliseconds until the stop signal, were no further beat answered while all others go on to promise. None where this node
    /// holds nothing, or somebody's word is missing.
    pub left_ms: Option<u64>,
    /// Nodes without whose word it stops as without promises.
    pub lacking: Vec<String>,
    /// It holds something, and no other node has a vote.
    pub alone: bool,
    /// It holds so many groups, which one question can't name: nobody is asked.
    pub too_many: Option<u64>,
    /// Why nobody can ask this node.
    pub fault: Option<String>,
}

/// What this node has measured for the advice of `check`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeasuredLine {
    pub for_s: u64,
    /// How often in a day etcd and this host would have stopped a service, with the ttl of now.
    pub stops_a_day: f64,
    /// The smallest ttl that would have stopped none; none: none of those that are tried.
    pub would_carry_ms: Option<u64>,
}

/// A node as this one sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeLine {
    pub state: NodeState,
    pub version: String,
    pub address: String,
    pub priority: u32,
    /// Seconds since it was here last, to a minute, while it is away.
    pub away_s: Option<u64>,
    /// Milliseconds since its last beat was seen; none without a key.
    pub beat_ms: Option<u64>,
    /// What its last beat promised, in milliseconds; none without a key.
    pub ttl_ms: Option<u64>,
    /// For each group: empty when it is ready, else why not.
    pub groups: BTreeMap<String, String>,
    /// Why the rate of its clocks is in doubt; empty when it is not.
    pub clock: String,
    /// What is wrong with its endpoints; empty when nothing is.
    pub endpoints: String,
    /// The operator's order that it shall hold nothing.
    pub drained: Option<String>,
}

/// A group as this node sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupLine {
    pub state: GroupState,
    /// The node that the record names, while it is active.
    pub holder: Option<String>,
    /// The node that the record names, while nobody holds it.
    pub last_holder: Option<String>,
    pub epoch: u64,
    /// On which node it could not be stopped, and what to do; it stays down until then.
    pub stuck: Option<String>,
    /// What the record says about its last change.
    pub record: String,
    /// Why it was released, while its record says so: its history is told by this.
    pub cause: Option<ReleaseCause>,
    /// Its record can't be read: who holds it is not known.
    pub unreadable: bool,
    /// This node's last decision about the group.
    pub reason: String,
    pub vips: Vec<String>,
    /// Why it does not serve as it should, although it is held: as its holder says.
    pub trouble: Option<Trouble>,
    /// What each standby finds that asks the service at its first virtual address: empty where it reaches everything.
    pub opinions: BTreeMap<String, String>,
    /// Those that do not reach it, in a sentence.
    pub unreached: Option<String>,
    /// Of this node: present while it holds the group.
    pub held: Option<HeldLine>,
    /// The operator's order that it stays stopped.
    pub stopped: Option<String>,
    /// The operator's order that nothing is done to it automatically.
    pub paused: Option<String>,
    /// The operator's order that it is no more: nobody starts it, and its storage is let alone.
    pub deleted: Option<String>,
    /// Nodes that it is not extended to, with the operator's order.
    pub excluded: BTreeMap<String, String>,
    /// While it is deleted: the container that uses its storage without a lease, by node.
    pub used: BTreeMap<String, String>,
    /// In what its run differs from what the file and the image say now, and what to do.
    pub drift: Option<String>,
    /// What an operator wants of it, and whether its holder has begun.
    pub intent_text: Option<String>,
    /// Why the holder refused the last one; for half a minute.
    pub refused: Option<String>,
    /// The same as it stands in etcd, with its mod revision.
    pub intent: Option<(Intent, i64)>,
    /// The run that serves: this node's own, or one that its holder lets standbys ask.
    pub serving: Option<Run>,
    /// Its values that can be set at run time, and where each comes from.
    pub settings: Vec<SettingLine>,
    /// What would be different after a move.
    pub warnings: Vec<String>,
    /// Why this node could not take it over now; empty when it could.
    pub unready: String,
}

/// How this node stands in the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    #[default]
    Arriving,
    Waiting,
    Joined,
    Lost,
    Frozen,
    Left,
}

impl MemberState {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Arriving => "arriving",
            Self::Waiting => "waiting",
            Self::Joined => "joined",
            Self::Lost => "lost",
            Self::Frozen => "frozen",
            Self::Left => "left",
        }
    }
}

/// The hardware watchdog of this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WatchdogState {
    /// There is none.
    #[default]
    Missing,
    Asleep,
    Fed,
    /// After which this host is reset.
    NotFed,
}

impl WatchdogState {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Missing => "",
            Self::Asleep => "asleep",
            Self::Fed => "fed",
            Self::NotFed => "not fed",
        }
    }
}

/// Whether a node beats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodeState {
    Alive,
    #[default]
    Silent,
    /// Its lease has ended, and nobody removed it.
    Away,
}

impl NodeState {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Silent => "silent",
            Self::Away => "away",
        }
    }
}

/// What a group is, wherever it is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupState {
    /// Nothing certain was read of it.
    #[default]
    Unknown,
    Stuck,
    /// Here.
    Held(Stage),
    /// Elsewhere.
    Standby,
    Deleted,
    Free,
}

impl GroupState {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Stuck => "stuck",
            Self::Held(stage) => stage.word(),
            Self::Standby => "standby",
            Self::Deleted => "deleted",
            Self::Free => "free",
        }
    }
}

/// The run on this node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeldLine {
    pub run: Run,
    pub stage: Stage,
    /// All its containers are.
    pub up: bool,
    /// Milliseconds until the stop signal, were no further beat answered.
    pub valid_ms: u64,
    pub address_held: bool,
    pub probe_failure: Option<String>,
    /// A probe has failed as often as it takes: the service is sick although it runs.
    pub sick: bool,
    /// Each container.
    pub services: BTreeMap<String, ServiceLine>,
    /// Each probe that has passed once: whether it passes now.
    pub probes: BTreeMap<String, bool>,
}

/// A container of the run on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceLine {
    pub state: ServiceState,
    /// What the engine's health check says, where it has one.
    pub healthy: Option<bool>,
}

impl Status {
    /// Whether this node serves the group, or any group if none is named.
    #[must_use]
    pub fn leads(&self, group: Option<&str>) -> bool {
        self.groups.iter().any(|(name, line)| {
            group.is_none_or(|wanted| wanted == name)
                && line.held.as_ref().is_some_and(|held| held.stage == Stage::Active)
        })
    }

    /// Whether this node holds the group, or any group if none is named, in whatever stage.
    #[must_use]
    pub fn holds(&self, group: Option<&str>) -> bool {
        let mut wanted = self
            .groups
            .iter()
            .filter(|(name, _)| group.is_none_or(|wanted| wanted == name.as_str()));
        wanted.any(|(_, line)| line.held.is_some())
    }

    /// Whether this node could take over the group (every group, if none is named) or holds it.
    ///
    /// # Errors
    /// Why it could not.
    pub fn ready(&self, group: Option<&str>) -> Result<(), String> {
        if self.member != MemberState::Joined {
            return Err(text::health::this_node_is(self.member.word()));
        }
        let mut wanted = self
            .groups
            .iter()
            .filter(|(name, _)| group.is_none_or(|wanted| wanted == name.as_str()));
        let named = group.is_some();
        let fault = wanted.find_map(|(name, line)| match (&line.held, &line.stuck) {
            // What nobody wants here, by an order of its own, is no fault of the node.
            (None, _) if !named && (line.deleted.is_some() || line.excluded.contains_key(&self.node)) => None,
            (Some(_), Some(stuck)) => Some(text::health::of(name, stuck)),
            (None, _) if !line.unready.is_empty() => Some(text::health::of(name, &line.unready)),
            (Some(_) | None, _) => None,
        });
        fault.map_or(Ok(()), Err)
    }
}

impl Node {
    /// Cheap, without side effect.
    #[must_use]
    pub fn status(&self, now: Time) -> Status {
        let mut status = Status {
            node: self.facts.me().name.clone(),
            cluster: self.facts.keys().cluster().to_owned(),
            version: self.facts.me().version.clone(),
            member: self.membership.place().state(),
            etcd_age_ms: self.facts.contact().age(now).map(millis),
            etcd_failure: self.membership.exchange().failure().map(str::to_owned),
            engine_failure: self.host.engine_failure().map(str::to_owned),
            etcd_troubles: self.host.etcd_troubles(),
            etcd_members: self.host.etcd_members(),
            watchdog: self.watchdog_state(),
            ttl_ms: millis(self.facts.timing().ttl),
            longest_ms: (self.waiting() > self.facts.timing().ttl).then(|| millis(self.waiting())),
            promises: self.promises_line(now),
            // Who measures fills it in.
            measured: None,
            reason: self.speech.text().unwrap_or_default().to_owned(),
            nodes: self.node_lines(now),
            groups: self
                .groups
                .iter()
                .map(|(name, group)| (name.clone(), self.group_line(now, name, group)))
                .collect(),
            damaged: self.facts.damage().sentences().clone(),
            overall: Overall::default(),
        };
        status.overall = status.judge();
        status
    }

    fn watchdog_state(&self) -> WatchdogState {
        let device = self.host.watchdog();
        match self.facts.timing().watchdog {
            None => WatchdogState::Missing,
            Some(_) if device.is_withheld() => WatchdogState::NotFed,
            Some(_) if device.is_armed() => WatchdogState::Fed,
            Some(_) => WatchdogState::Asleep,
        }
    }

    fn node_lines(&self, now: Time) -> BTreeMap<String, NodeLine> {
        let view = self.facts.view();
        let names = view.nodes.keys().chain(view.statuses.keys()).chain(view.known.keys());
        names.map(|name| (name.clone(), self.node_line(now, name))).collect()
    }

    fn node_line(&self, now: Time, name: &str) -> NodeLine {
        let view = self.facts.view();
        let (key, known) = (view.nodes.get(name), view.known.get(name));
        let status = view.statuses.get(name).cloned().unwrap_or_else(|| NodeStatus {
            version: known.map(|known| known.version.clone()).unwrap_or_default(),
            address: known.map(|known| known.address.clone()).unwrap_or_default(),
            ..NodeStatus::default()
        });
        let lease = view.lease_of(name);
        let silent = lease == 0 || self.facts.observer().ripe(now, name, lease);
        let state = match (silent, key, known) {
            (false, _, _) => NodeState::Alive,
            (true, None, Some(_)) => NodeState::Away,
            (true, Some(_), _) | (true, None, None) => NodeState::Silent,
        };
        let groups = status.groups.into_iter().map(|(group, readiness)| {
            let order = self.unextended(&group, name);
            (group, order.unwrap_or(readiness.why))
        });
        NodeLine {
            state,
            version: status.version,
            address: status.address,
            priority: status.priority,
            ttl_ms: key.and_then(|key| Some(key.beat.as_ref()?.ttl_ms)),
            away_s: known
                .filter(|_| state == NodeState::Away)
                .and_then(|known| self.away(known)),
            beat_ms: self.facts.observer().silent_for(now, name, lease).map(millis),
            groups: groups.collect(),
            clock: status.clock,
            endpoints: status.endpoints,
            drained: view.drained.get(name).map(|(order, _)| order.to_string()),
        }
    }

    fn away(&self, known: &KnownNode) -> Option<u64> {
        u64::try_from(self.facts.wall()?.checked_sub(known.seen)?).ok()
    }

    fn group_line(&self, now: Time, name: &str, group: &Group) -> GroupLine {
        let keys = self.facts.view().group(name);
        let record = keys.record.as_ref();
        let unreadable = keys.unreadable();
        // What is held here is, whatever somebody wrote.
        let own = || (unreadable && group.is_held()).then(|| self.facts.me().name.clone());
        let holder = keys.active().map(|record| record.node.clone()).or_else(own);
        let held = group.held().map(|held| held_line(now, group, held));
        let stuck = self.stuck_line(group, record);
        let state = match (group.held(), record.map(|record| record.state)) {
            _ if stuck.is_some() => GroupState::Stuck,
            (Some(held), _) => GroupState::Held(held.stage),
            (None, Some(RecordState::Active)) => GroupState::Standby,
            (None, None) if unreadable => GroupState::Unknown,
            (None, Some(RecordState::Released) | None) if keys.deleted.is_some() => GroupState::Deleted,
            (None, Some(RecordState::Released) | None) if self.facts.is_viewed() => GroupState::Free,
            (None, Some(RecordState::Released) | None) => GroupState::Unknown,
        };
        let released = record.filter(|record| record.state == RecordState::Released);
        let waits = self.takeover.why(name).to_owned();
        let said = group.last_words().map(str::to_owned);
        let opinions = self.opinions(name);
        GroupLine {
            state,
            unreached: self.doubt(name, &opinions).map(|doubt| doubt.text),
            opinions: opinions.into_iter().collect(),
            warnings: self.differences(name, holder.as_deref()),
            last_holder: record.filter(|_| holder.is_none()).map(|record| record.node.clone()),
            trouble: self.trouble_of(name, group, holder.as_deref()),
            holder,
            unreadable,
            epoch: match group.held() {
                Some(held) if unreadable => held.run.epoch,
                Some(_) | None => record.map_or(0, |record| record.epoch),
            },
            record: record.map(|record| record.reason.clone()).unwrap_or_default(),
            cause: released.map(Record::release_cause),
            reason: match &stuck {
                Some(stuck) => stuck.clone(),
                None => said.filter(|_| held.is_some() || waits.is_empty()).unwrap_or(waits),
            },
            drift: self.drift_line(name),
            settings: self.setting_lines(name),
            stuck,
            vips: Vec::new(),
            held,
            stopped: keys.stopped.as_ref().map(|(order, _)| order.to_string()),
            paused: keys.paused.as_ref().map(|(order, _)| order.to_string()),
            deleted: keys.deleted.as_ref().map(|(order, _)| order.to_string()),
            used: self.users(name),
            excluded: keys
                .excluded
                .iter()
                .map(|(node, (order, _))| (node.clone(), order.to_string()))
                .collect(),
            intent_text: keys.intent_text(),
            refused: keys.refused(),
            intent: keys.intent.clone(),
            serving: self.serves_now(now, name, group),
            unready: self.unready(name).unwrap_or_default(),
        }
    }
}

impl Node {
    /// Of another node, where it lets standbys ask.
    fn serves_now(&self, now: Time, name: &str, group: &Group) -> Option<Run> {
        match group.held() {
            Some(held) => (held.stage == Stage::Active).then_some(held.run),
            None => self.serving(now, name),
        }
    }

    /// What the holder of a group says of it; of this node's own it is known without etcd.
    fn trouble_of(&self, name: &str, group: &Group, holder: Option<&str>) -> Option<Trouble> {
        if group.is_held() {
            return group.trouble();
        }
        let holder = holder.filter(|holder| *holder != self.facts.me().name)?;
        self.facts
            .view()
            .statuses
            .get(holder)?
            .groups
            .get(name)?
            .trouble
            .clone()
    }
}

impl Holding {
    fn is_up(&self) -> bool {
        let up = |service: &ServiceRun| service.state == ServiceState::Up;
        !self.services.is_empty() && self.services.iter().all(up)
    }
}

fn held_line(now: Time, group: &Group, held: &Holding) -> HeldLine {
    HeldLine {
        run: held.run,
        stage: held.stage,
        up: held.is_up(),
        valid_ms: millis(now.until(held.deadlines.soft)),
        address_held: held.vip == VipStage::Held,
        probe_failure: group.probe_failure().map(|failure| failure.text.clone()),
        sick: group.is_sick(),
        services: service_lines(group, held),
        probes: probe_lines(group, held),
    }
}

fn service_lines(group: &Group, held: &Holding) -> BTreeMap<String, ServiceLine> {
    let named = group.settings().services.iter().zip(&held.services);
    let lines = named.map(|(settings, service)| {
        let line = ServiceLine {
            state: service.state,
            healthy: service.healthy,
        };
        (settings.name.clone(), line)
    });
    lines.collect()
}

fn probe_lines(group: &Group, held: &Holding) -> BTreeMap<String, bool> {
    let named = group.settings().probes.iter().zip(&held.probes);
    let lines = named.filter_map(|(settings, probe)| Some((settings.name.clone(), probe.passes?)));
    lines.collect()
}

impl Member {
    fn state(&self) -> MemberState {
        match self {
            Self::Arriving | Self::Granting { .. } | Self::Registering { .. } | Self::Adopting { .. } => {
                MemberState::Arriving
            }
            Self::Waiting => MemberState::Waiting,
            Self::Joined { .. } => MemberState::Joined,
            Self::Lost { .. } => MemberState::Lost,
            Self::Frozen { .. } => MemberState::Frozen,
            Self::Left => MemberState::Left,
        }
    }
}

impl Stage {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Adopting => "adopting",
            Self::Starting => "starting",
            Self::Checking => "checking",
            Self::Active => "active",
            Self::Stopping => "stopping",
            Self::Withdrawing => "withdrawing",
            Self::Stopped => "stopped",
        }
    }
}

pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
