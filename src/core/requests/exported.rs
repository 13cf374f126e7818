//! What the cluster itself has in etcd, to be put back when etcd is lost for good: `config export` and `config import`.
//!
//! No secrets are in it, and nothing of which node holds what: after an import everybody starts over, as after T11, with
//! every epoch above the one that was exported, so that the claims on the storages stay below.

use std::collections::BTreeMap;

use crate::event::Action;
use crate::membership::Purpose;
use crate::node::Node;
use crate::protocol::ReleaseCause;
use crate::protocol::bounds::{GIVEN_MAX, PROMISE_MAX_MS};
use crate::protocol::policy::{Policy, Written};
use crate::protocol::records::{ClusterConfig, GroupKeys, Past, Record, RecordState, StandingOrder, StoreIds, View};
use crate::requests::refusal::Refusal;
use crate::store::Txn;
use crate::text;

/// The form of the file, and that of one without what is set at run time: an earlier version reads it.
pub const FORMAT: u32 = 2;
pub const FORMAT_PLAIN: u32 = 1;
/// More is no cluster that one transaction could put back.
const GROUPS_MAX: usize = 25;
/// What one transaction holds besides the configuration and the end of all beats.
const KEYS_MAX: usize = 120;

/// The cluster's own keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// 1, or 2 where something is set at run time.
    pub format: u32,
    pub cluster: String,
    pub generation: u64,
    /// What every beat promised, in milliseconds.
    pub ttl_ms: u64,
    /// While not every node had confirmed a shorter one: the longer one.
    pub longest_ms: Option<u64>,
    pub groups: BTreeMap<String, ExportedGroup>,
    /// Nodes that shall hold nothing.
    pub drained: BTreeMap<String, StandingOrder>,
}

/// A group's own keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportedGroup {
    /// The highest that was given; 0: none yet. One above 281474976710656 is not taken back: nobody counted so far.
    pub epoch: u64,
    /// Who held it then, for people.
    pub node: String,
    /// What `leasehold init` wrote into its storage.
    pub store: Option<StoreIds>,
    /// The order that it stays stopped. A pause is not kept: it ends with its lease.
    pub stopped: Option<StandingOrder>,
    /// The order that it is no more.
    pub deleted: Option<StandingOrder>,
    /// What is set for it at run time, by name.
    pub set: BTreeMap<String, ExportedValue>,
    /// Nodes that it is not extended to.
    pub excluded: BTreeMap<String, StandingOrder>,
}

/// A value that is set at run time, with who set it.
pub type ExportedValue = Written;

impl Exported {
    /// What a whole read of the cluster's keys holds.
    ///
    /// # Errors
    /// What can't be exported, in a sentence.
    pub fn of(cluster: &str, view: &View) -> Result<Self, String> {
        if let Some(key) = view.unreadable.keys().next() {
            return Err(text::accept::not_exportable(key));
        }
        let config = view.config.ok_or(text::accept::NO_CONFIGURATION)?;
        let group = |(name, keys): (&String, &GroupKeys)| {
            let record = keys.record.as_ref();
            let exported = ExportedGroup {
                epoch: record.map_or(0, |record| record.epoch),
                node: record.map(|record| record.node.clone()).unwrap_or_default(),
                store: keys.store.clone(),
                stopped: keys.stopped.as_ref().map(|(order, _)| order.clone()),
                deleted: keys.deleted.as_ref().map(|(order, _)| order.clone()),
                set: keys.policy.clone().into(),
                excluded: keys
                    .excluded
                    .iter()
                    .map(|(node, (order, _))| (node.clone(), order.clone()))
                    .collect(),
            };
            (name.clone(), exported)
        };
        let plain = view.groups.values().all(|keys| keys.policy.is_empty());
        Ok(Self {
            format: if plain { FORMAT_PLAIN } else { FORMAT },
            cluster: cluster.to_owned(),
            generation: config.generation,
            ttl_ms: config.ttl_ms,
            longest_ms: config.longest_ms,
            groups: view.groups.iter().map(group).collect(),
            drained: view
                .drained
                .iter()
                .map(|(name, (order, _))| (name.clone(), order.clone()))
                .collect(),
        })
    }

    /// Why this is not an export that can be put back as it is.
    fn unsound(&self) -> Option<Refusal> {
        if !(FORMAT_PLAIN..=FORMAT).contains(&self.format) {
            let (format, known) = (self.format, FORMAT);
            return Some(Refusal::ExportFormat { format, known });
        }
        let excluded = self.groups.values().flat_map(|group| group.excluded.keys());
        let names = self.groups.keys().chain(self.drained.keys()).chain(excluded);
        if let Some(name) = names.into_iter().find(|name| !is_name(name)) {
            return Some(Refusal::ExportName { name: name.clone() });
        }
        if self.groups.len() > GROUPS_MAX || self.drained.len() > GROUPS_MAX {
            return Some(Refusal::ExportGroups { most: GROUPS_MAX });
        }
        let keys = |group: &ExportedGroup| {
            let orders = [
                group.store.is_some(),
                group.stopped.is_some(),
                group.deleted.is_some(),
                !group.set.is_empty(),
            ];
            1 + orders.into_iter().filter(|there| *there).count() + group.excluded.len()
        };
        let keys: usize = self.groups.values().map(keys).sum();
        if keys + self.drained.len() > KEYS_MAX {
            return Some(Refusal::ExportKeys { most: KEYS_MAX });
        }
        if let Some(name) = self.groups.iter().find_map(|(name, group)| {
            let sound = Policy::try_from(group.set.clone()).is_ok();
            (!sound).then_some(name)
        }) {
            return Some(Refusal::ExportSet { group: name.clone() });
        }
        let counts = self.groups.values().map(|group| group.epoch).chain([self.generation]);
        if counts.into_iter().any(|count| count > GIVEN_MAX)
            || self.longest_ms.max(Some(self.ttl_ms)) > Some(PROMISE_MAX_MS)
        {
            return Some(Refusal::ExportNumber);
        }
        None
    }
}

/// As in the compose file: letters, digits, dot, dash and underscore, not a dash first.
fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !text.is_empty() && text.len() <= 63 && !text.starts_with(['-', '.']) && text.chars().all(fits)
}

impl Node {
    /// T11 with what was exported, into a prefix that holds no group: nothing that somebody counts on is overwritten.
    pub(crate) fn import(&mut self, reply: u64, exported: &Exported, out: &mut Vec<Action>) -> Option<(Txn, Purpose)> {
        if let Some(why) = self.not_importable(exported) {
            let result = Err(why);
            out.push(Action::Reply { reply, result });
            return None;
        }
        let ttl = std::time::Duration::from_millis(exported.ttl_ms);
        let longest = std::time::Duration::from_millis(exported.longest_ms.unwrap_or(0));
        let known = self.trust.generation();
        let present = self.facts.view().config.map_or(0, |config| config.generation);
        let generation = exported.generation.max(known).max(present) + 1;
        let promised = self.trust.promised(self.facts.view());
        let config = ClusterConfig::new(generation, ttl, self.longest_known().max(longest)).with(promised);
        let keys = self.facts.keys();
        let mut txn = Txn::accept(keys, self.facts.view().config_mod, config);
        for (name, group) in &exported.groups {
            txn.and_imported(keys, name, &self.imported(name, group), group);
        }
        for (node, order) in &exported.drained {
            txn.and_drained(keys, node, order);
        }
        let groups = exported.groups.iter();
        let groups = groups.map(|(name, group)| (name, self.epoch_above(name, group)));
        let done = text::accept::imported(ttl, generation, groups);
        Some((txn, Purpose::Accept { reply, done }))
    }

    /// Above the one that was exported, and above every later one that this node knows of.
    fn epoch_above(&self, name: &str, group: &ExportedGroup) -> u64 {
        let held = self.groups.get(name).and_then(|group| group.held());
        let held = held.map_or(0, |held| held.run.epoch);
        let claimed = self.claim_told(name).unwrap_or(0);
        group.epoch.max(held).max(claimed) + 1
    }

    /// The record of a group that was exported: free.
    fn imported(&self, name: &str, group: &ExportedGroup) -> Record {
        Record {
            epoch: self.epoch_above(name, group),
            node: group.node.clone(),
            incarnation: 0,
            state: RecordState::Released,
            reason: "imported".to_owned(),
            cause: Some(ReleaseCause::Imported),
            successor: None,
            stuck: None,
            promise_ms: None,
            kept: None,
            past: Past::default(),
        }
    }

    fn not_importable(&self, exported: &Exported) -> Option<Refusal> {
        if let Some(why) = exported.unsound() {
            return Some(why);
        }
        let own = self.facts.keys().cluster();
        if exported.cluster != own {
            let (theirs, own) = (exported.cluster.clone(), own.to_owned());
            return Some(Refusal::ExportCluster { theirs, own });
        }
        if let Some((group, _)) = self.facts.view().groups.first_key_value() {
            return Some(Refusal::EtcdNotEmpty { group: group.clone() });
        }
        let ttl = std::time::Duration::from_millis(exported.ttl_ms);
        let short = self.facts.timing().with_ttl(ttl).check().err()?;
        Some(Refusal::ImportedTtl { why: short.to_string() })
    }
}
