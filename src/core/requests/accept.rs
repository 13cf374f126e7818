//! T11: an operator takes a strange etcd as the true one, or lifts the epochs above the claims on the storages.

use std::time::Duration;

use crate::event::Action;
use crate::group::Group;
use crate::membership::Purpose;
use crate::node::Node;
use crate::protocol::records::{ClusterConfig, NodeKey, Past, Record, RecordState};
use crate::protocol::released::released;
use crate::protocol::{AsRead, ReleaseCause};
use crate::requests::PendingAccept;
use crate::requests::refusal::Refusal;
use crate::store::Txn;
use crate::text;

impl Node {
    /// T11, when an operator asked for it.
    pub(crate) fn acceptance(&mut self, out: &mut Vec<Action>) -> Option<(Txn, Purpose)> {
        if !self.facts.is_viewed() {
            return None;
        }
        let PendingAccept {
            reply,
            force,
            epoch: given,
            import,
        } = self.requests.take_accept()?;
        let refusal = self.needless(force, given).or_else(|| self.stuck_here_refusal());
        if let Some(why) = refusal.or_else(|| self.held_refusal()) {
            let result = Err(why);
            out.push(Action::Reply { reply, result });
            return None;
        }
        if let Some(exported) = import {
            return self.import(reply, &exported, out);
        }
        let (txn, left) = self.acceptance_txn(given);
        let done = text::accept::done(left);
        Some((txn, Purpose::Accept { reply, done }))
    }

    /// T11, and how many records did not fit in.
    fn acceptance_txn(&self, given: Option<u64>) -> (Txn, usize) {
        let (keys, read_at) = (self.facts.keys(), self.facts.view().config_mod);
        let mut txn = Txn::accept(keys, read_at, self.accepted_config());
        let mut lifted = self.to_be_lifted(given);
        // What can't be started without it comes first, then what somebody holds.
        lifted.sort_by_key(|(of, _)| (self.claim_above(of.group).is_none(), of.keys.active().is_none()));
        let fits = lifted
            .iter()
            .map(|(of, record)| txn.and_lifted(keys, *of, record.as_ref()));
        let left = fits.filter(|fits| !fits).count();
        (txn, left)
    }

    /// Each group's record as T11 writes it: free, above every epoch that is known of. None for one that is marked stuck, which
    /// stays as it is and is only compared: a fence alone frees it, before or after.
    fn to_be_lifted(&self, given: Option<u64>) -> Vec<(AsRead<'_>, Option<Record>)> {
        let of_group = self.facts.view().groups.iter().filter_map(|(name, keys)| {
            let of = AsRead { group: name, keys };
            if keys.active().is_some_and(|record| record.stuck.is_some()) {
                return Some((of, None));
            }
            let held = self.groups.get(name).and_then(|group| group.held());
            let held = held.map_or(0, |held| held.run.epoch);
            let known = [held, self.claim_told(name).unwrap_or(0), given.unwrap_or(0)];
            let known = known.into_iter().fold(0, u64::max);
            let mut record = match &keys.record {
                Some(record) => released(record, ReleaseCause::Accepted, "accepted".to_owned(), None),
                // The snapshot may be older than the first record, but no claim is.
                None if known > 0 && !keys.unreadable() => self.forgotten(),
                None => return None,
            };
            record.epoch = record.epoch.max(known) + 1;
            Some((of, Some(record)))
        });
        of_group.collect()
    }

    /// The ttl that etcd tells of stays the cluster's, unless this node can't keep it; a file's is not. Of what its beats may have
    /// promised, the longest that etcd or this node knows of is waited for: a snapshot may have forgotten it, and a node that
    /// was away may never have known it.
    pub(crate) fn accepted_config(&self) -> ClusterConfig {
        let known = self.trust.generation();
        let generation = self
            .facts
            .view()
            .config
            .map_or(0, |config| config.generation)
            .max(known)
            + 1;
        let told = self.facts.view().config.map(|config| config.ttl());
        let kept = told.filter(|ttl| self.facts.timing().with_ttl(*ttl).check().is_ok());
        let ttl = kept.unwrap_or(self.facts.timing().ttl);
        let promised = self.trust.promised(self.facts.view());
        ClusterConfig::new(generation, ttl, self.longest_known()).with(promised)
    }

    /// What everybody waits after T11, at least.
    pub(crate) fn longest_known(&self) -> Duration {
        let told = self
            .facts
            .view()
            .config
            .map_or(Duration::ZERO, |config| config.longest());
        self.waiting().max(told).max(self.facts.timing().ttl)
    }

    /// A record in the place of one that a restore has lost.
    fn forgotten(&self) -> Record {
        Record {
            epoch: 0,
            node: self.facts.me().name.clone(),
            incarnation: 0,
            state: RecordState::Released,
            reason: "accepted".to_owned(),
            cause: Some(ReleaseCause::Accepted),
            successor: None,
            stuck: None,
            promise_ms: None,
            kept: None,
            past: Past::default(),
        }
    }

    /// T11 stops every group of the cluster: why there is no need for it.
    fn needless(&self, force: bool, given: Option<u64>) -> Option<Refusal> {
        let frozen = self.membership.is_frozen();
        let mut groups = self.facts.view().groups.iter();
        let claimed = groups.any(|(name, keys)| {
            let epoch = keys.record.as_ref().map_or(0, |record| record.epoch);
            self.claim_above(name).max(given).is_some_and(|claim| claim > epoch)
        });
        (!force && !frozen && !claimed).then_some(Refusal::Needless)
    }

    /// Everybody waits so long after it as an ordinary beat may promise: too short for containers that were promised more.
    pub(crate) fn held_refusal(&self) -> Option<Refusal> {
        let node = self.held_elsewhere()?;
        Some(Refusal::HeldElsewhere { node })
    }

    fn held_elsewhere(&self) -> Option<String> {
        let longest = self.longest_known();
        let long = |key: &NodeKey| key.beat.as_ref().is_some_and(|beat| beat.promise() > longest);
        let beats = self.facts.view().nodes.iter().filter(|(_, key)| long(key));
        let beats = beats.map(|(name, key)| (name, key.lease));
        let records = self.facts.view().groups.values().filter_map(|group| group.active());
        let records = records.filter(|record| record.promise() > longest);
        let mut held = beats.chain(records.map(|record| (&record.node, record.incarnation)));
        let held = held.find(|(name, lease)| {
            **name != self.facts.me().name && !self.facts.observer().ripe(self.facts.now(), name, *lease)
        });
        held.map(|(name, _)| name.clone())
    }

    /// The highest epoch claimed on the group's storage that any living node met, where it is above the record's.
    pub(crate) fn claim_above(&self, name: &str) -> Option<u64> {
        let epoch = self
            .facts
            .view()
            .group(name)
            .record
            .as_ref()
            .map_or(0, |record| record.epoch);
        let living = self
            .facts
            .view()
            .statuses
            .iter()
            .filter(|(node, _)| **node != self.facts.me().name && self.facts.view().nodes.contains_key(*node));
        let told = living.filter_map(|(_, status)| status.groups.get(name)?.claim);
        told.chain(self.claim_met(name)).max().filter(|claim| *claim > epoch)
    }

    /// The same, by nodes that are gone, too: no rule waits for their word, but whoever lifts an epoch goes above it.
    pub(crate) fn claim_told(&self, name: &str) -> Option<u64> {
        let statuses = self.facts.view().statuses.values();
        let told = statuses.filter_map(|status| status.groups.get(name)?.claim);
        told.chain(self.claim_met(name)).max()
    }

    /// The same that this node's own tethers met: what it publishes. What others tell it does not tell again, or a false word
    /// would never end.
    pub(crate) fn claim_met(&self, name: &str) -> Option<u64> {
        let epoch = self
            .facts
            .view()
            .group(name)
            .record
            .as_ref()
            .map_or(0, |record| record.epoch);
        let met = self.groups.get(name).and_then(Group::claim);
        met.filter(|claim| *claim > epoch)
    }
}
