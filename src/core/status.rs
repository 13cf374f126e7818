//! A snapshot for people and tools: what the node believes, and the sentence of its last decision.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::epoch::Run;
use super::group::{Group, Held, ServiceRun, ServiceState, Stage, VipStage};
use super::member::Member;
use super::node::Node;
use super::overall::Overall;
use super::protocol::ReleaseCause;
use super::records::{Record, RecordState, Trouble};
use super::time::Time;
use super::watchdog::Watchdog;

/// What one node knows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    pub node: String,
    pub cluster: String,
    pub version: String,
    /// `joined`, `arriving`, `waiting`, `lost`, `frozen` or `left`.
    pub member: String,
    /// Milliseconds since the last good read of etcd was sent; none before the first.
    pub etcd_age_ms: Option<u64>,
    pub etcd_failure: Option<String>,
    pub engine_failure: Option<String>,
    /// Of the hardware watchdog: `fed`, `asleep`, or `not fed`, after which this host is reset; empty without one.
    #[serde(default)]
    pub watchdog: String,
    /// What every beat of the cluster promises.
    pub ttl_ms: u64,
    /// While not every node has confirmed a shorter one: how long a node that nobody sees is waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_ms: Option<u64>,
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

/// A node as this one sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeLine {
    /// `alive` or `silent`.
    pub state: String,
    pub version: String,
    pub address: String,
    pub priority: u32,
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
    /// `active`, `starting`, `stopping`, `stuck`, `standby`, `free`, `deleted` or `unknown`: of the group, wherever it is held.
    pub state: String,
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
    /// What would be different after a move.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why this node could not take it over now; empty when it could.
    pub unready: String,
    /// Of this node's own snapshot alone, and not published.
    #[serde(skip)]
    pub facts: GroupFacts,
}

/// What stands in a group's words, as the core has it: its history is told by this.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GroupFacts {
    pub state: GroupState,
    /// Of a released record.
    pub cause: Option<ReleaseCause>,
    pub held: Option<HeldFacts>,
}

/// The same of the run on this node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldFacts {
    pub run: Run,
    pub stage: Stage,
    /// All its containers are.
    pub up: bool,
    pub address_held: bool,
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
    fn word(self) -> &'static str {
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
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HeldLine {
    pub run: String,
    pub stage: String,
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

impl Status {
    /// Whether this node serves the group, or any group if none is named.
    #[must_use]
    pub fn leads(&self, group: Option<&str>) -> bool {
        self.groups.iter().any(|(name, line)| {
            group.is_none_or(|wanted| wanted == name) && line.held.as_ref().is_some_and(|held| held.stage == "active")
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
        if self.member != "joined" {
            return Err(format!("this node is {}", self.member));
        }
        let mut wanted = self
            .groups
            .iter()
            .filter(|(name, _)| group.is_none_or(|wanted| wanted == name.as_str()));
        let named = group.is_some();
        let fault = wanted.find_map(|(name, line)| match (&line.held, &line.stuck) {
            // What nobody wants here, by an order of its own, is no fault of the node.
            (None, _) if !named && (line.deleted.is_some() || line.without.contains_key(&self.node)) => None,
            (Some(_), Some(stuck)) => Some(format!("{name}: {stuck}")),
            (None, _) if !line.unready.is_empty() => Some(format!("{name}: {}", line.unready)),
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
            member: self.membership.place().word().to_owned(),
            etcd_age_ms: self.facts.contact().age(now).map(millis),
            etcd_failure: self.membership.exchange().failure().map(str::to_owned),
            engine_failure: self.host.engine_failure().map(str::to_owned),
            watchdog: self.watchdog_word().to_owned(),
            ttl_ms: millis(self.facts.timing().ttl),
            longest_ms: (self.waiting() > self.facts.timing().ttl).then(|| millis(self.waiting())),
            reason: self.said.text().unwrap_or_default().to_owned(),
            nodes: self.node_lines(now),
            groups: self
                .groups
                .iter()
                .map(|(name, group)| (name.clone(), self.group_line(now, name, group)))
                .collect(),
            damaged: self.damage.sentences().clone(),
            overall: Overall::default(),
        };
        status.overall = status.judge();
        status
    }

    fn watchdog_word(&self) -> &'static str {
        match (self.facts.timing().watchdog, self.watchdog) {
            (None, _) => "",
            (Some(_), Watchdog { starved: true, .. }) => "not fed",
            (Some(_), Watchdog { armed: true, .. }) => "fed",
            (Some(_), Watchdog { armed: false, .. }) => "asleep",
        }
    }

    fn node_lines(&self, now: Time) -> BTreeMap<String, NodeLine> {
        let names = self
            .facts
            .view()
            .nodes
            .keys()
            .chain(self.facts.view().statuses.keys())
            .cloned();
        let mut lines: BTreeMap<String, NodeLine> = BTreeMap::new();
        for name in names {
            let status = self.facts.view().statuses.get(&name).cloned().unwrap_or_default();
            let lease = self.facts.view().lease_of(&name);
            let silent = lease == 0 || self.facts.observer().ripe(now, &name, lease);
            let groups = status.groups.into_iter().map(|(group, readiness)| {
                let order = self.unextended(&group, &name);
                (group, order.unwrap_or(readiness.why))
            });
            let line = NodeLine {
                state: if silent { "silent" } else { "alive" }.to_owned(),
                version: status.version,
                address: status.address,
                priority: status.priority,
                ttl_ms: self
                    .facts
                    .view()
                    .nodes
                    .get(&name)
                    .and_then(|key| Some(key.beat.as_ref()?.ttl_ms)),
                beat_ms: self.facts.observer().silent_for(now, &name, lease).map(millis),
                groups: groups.collect(),
                clock: status.clock,
                endpoints: status.endpoints,
                drained: self.facts.view().drained.get(&name).map(|(order, _)| order.to_string()),
            };
            lines.insert(name, line);
        }
        lines
    }

    fn group_line(&self, now: Time, name: &str, group: &Group) -> GroupLine {
        let keys = self.facts.view().group(name);
        let record = keys.record.as_ref();
        let unreadable = keys.unreadable();
        // What is held here is, whatever somebody wrote.
        let own = || (unreadable && group.is_held()).then(|| self.facts.me().name.clone());
        let holder = keys.active().map(|record| record.node.clone()).or_else(own);
        let held = group.held().map(|held| HeldLine {
            run: held.run.to_string(),
            stage: held.stage.word().to_owned(),
            valid_ms: millis(now.until(held.deadlines.soft)),
            address_held: held.vip == VipStage::Held,
            probe_failure: group.probe_failure().map(|failure| failure.text.clone()),
            sick: group.is_sick(),
            services: service_lines(group, held),
            probes: probe_lines(group, held),
        });
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
        let facts = GroupFacts {
            state,
            cause: released.map(Record::release_cause),
            held: group.held().map(Held::facts),
        };
        let waits = self.takeover.why(name).to_owned();
        let said = group.last_words().map(str::to_owned);
        let opinions = self.opinions(name);
        GroupLine {
            state: state.word().to_owned(),
            facts,
            unreached: self.doubt(name, &opinions).map(|doubt| doubt.text),
            opinions: opinions.into_iter().collect(),
            warnings: self.image_warnings(name, holder.as_deref()),
            last_holder: record.filter(|_| holder.is_none()).map(|record| record.node.clone()),
            trouble: self.trouble_of(name, group, holder.as_deref()),
            holder,
            unreadable,
            epoch: match group.held() {
                Some(held) if unreadable => held.run.epoch,
                Some(_) | None => record.map_or(0, |record| record.epoch),
            },
            record: record.map(|record| record.reason.clone()).unwrap_or_default(),
            reason: match &stuck {
                Some(stuck) => stuck.clone(),
                None => said.filter(|_| held.is_some() || waits.is_empty()).unwrap_or(waits),
            },
            drift: self.drift_line(name),
            stuck,
            vips: Vec::new(),
            held,
            stopped: keys.stopped.as_ref().map(|(order, _)| order.to_string()),
            paused: keys.paused.as_ref().map(|(order, _)| order.to_string()),
            deleted: keys.deleted.as_ref().map(|(order, _)| order.to_string()),
            used: self.users(name),
            without: keys
                .without
                .iter()
                .map(|(node, (order, _))| (node.clone(), order.to_string()))
                .collect(),
            wish: keys.wish(),
            refused: keys.refused(),
            unready: self.unready(name).unwrap_or_default(),
        }
    }
}

impl Node {
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

impl Held {
    fn facts(&self) -> HeldFacts {
        let up = |service: &ServiceRun| service.state == ServiceState::Up;
        HeldFacts {
            run: self.run,
            stage: self.stage,
            up: !self.services.is_empty() && self.services.iter().all(up),
            address_held: self.vip == VipStage::Held,
        }
    }
}

fn service_lines(group: &Group, held: &Held) -> BTreeMap<String, String> {
    let named = group.settings().services.iter().zip(&held.services);
    let lines = named.map(|(settings, service)| {
        let word = match service.state {
            ServiceState::Idle => "idle",
            ServiceState::Starting => "starting",
            ServiceState::Up => "up",
            ServiceState::Unknown => "unknown",
            ServiceState::Gone => "gone",
        };
        let line = match service.healthy {
            Some(true) => format!("{word}, healthy"),
            Some(false) => format!("{word}, not healthy"),
            None => word.to_owned(),
        };
        (settings.name.clone(), line)
    });
    lines.collect()
}

fn probe_lines(group: &Group, held: &Held) -> BTreeMap<String, bool> {
    let named = group.settings().probes.iter().zip(&held.probes);
    let lines = named.filter_map(|(settings, probe)| Some((settings.name.clone(), probe.passes?)));
    lines.collect()
}

impl Member {
    fn word(&self) -> &'static str {
        match self {
            Self::Arriving | Self::Granting { .. } | Self::Registering { .. } | Self::Adopting { .. } => "arriving",
            Self::Waiting => "waiting",
            Self::Joined { .. } => "joined",
            Self::Lost { .. } => "lost",
            Self::Frozen { .. } => "frozen",
            Self::Left => "left",
        }
    }
}

impl Stage {
    fn word(self) -> &'static str {
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

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
