//! T11: an operator takes a strange etcd as the true one, or lifts the epochs above the claims on the storages.

use super::election::released;
use super::event::Action;
use super::member::{Member, Purpose};
use super::node::{AcceptWish, Node};
use super::records::{ClusterConfig, NodeKey, Past, Record, RecordState, json};
use super::store::{Op, Txn};

impl Node {
    /// T11, when an operator asked for it.
    pub(super) fn acceptance(&mut self, out: &mut Vec<Action>) -> Option<(Txn, Purpose)> {
        if !self.viewed {
            return None;
        }
        let AcceptWish {
            reply,
            force,
            epoch: given,
            import,
        } = self.accept_wish.take()?;
        let refusal = self.needless(force, given).or_else(|| self.stuck_here_refusal());
        if let Some(why) = refusal.or_else(|| self.held_refusal()) {
            let result = Err(why);
            out.push(Action::Reply { reply, result });
            return None;
        }
        if let Some(exported) = import {
            return self.import(reply, &exported, out);
        }
        let known = self.pinned.map_or(0, |pin| pin.generation);
        let generation = self.view.config.map_or(0, |config| config.generation).max(known) + 1;
        // The snapshot may not know of a ttl that was longer: this node does, and everybody waits for it.
        let config = ClusterConfig::new(generation, self.timing.ttl, self.waiting());
        let mut txn = self.config_txn(config);
        txn.then.push(Op::DeletePrefix {
            prefix: self.keys.nodes(),
        });
        for (name, keys) in &self.view.groups {
            if let Some(still) = self.still_stuck(name, keys) {
                txn.compare.push(still);
                continue;
            }
            let held = self
                .groups
                .get(name)
                .and_then(|group| group.held.as_ref())
                .map_or(0, |held| held.run.epoch);
            let known = [held, self.claim_above(name).unwrap_or(0), given.unwrap_or(0)];
            let known = known.into_iter().fold(0, u64::max);
            let mut record = match &keys.record {
                Some(record) => released(record, "accepted".to_owned(), None),
                // The snapshot may be older than the first record, but no claim is.
                None if known > 0 && !keys.unreadable() => self.forgotten(),
                None => continue,
            };
            record.epoch = record.epoch.max(known) + 1;
            txn.then.push(Op::Put {
                key: self.keys.record(name),
                value: json(&record),
                lease: 0,
            });
            txn.then.push(Op::Delete {
                key: self.keys.leader(name),
            });
        }
        let done = "accepted: every node starts over, which takes one ttl".to_owned();
        Some((txn, Purpose::Accept { reply, done }))
    }

    /// A record in the place of one that a restore has lost.
    fn forgotten(&self) -> Record {
        Record {
            epoch: 0,
            node: self.me.name.clone(),
            incarnation: 0,
            state: RecordState::Released,
            reason: "accepted".to_owned(),
            successor: None,
            stuck: None,
            promise_ms: None,
            past: Past::default(),
        }
    }

    /// T11 stops every group of the cluster: why there is no need for it.
    fn needless(&self, force: bool, given: Option<u64>) -> Option<String> {
        let frozen = matches!(self.member, Member::Frozen { .. });
        let mut groups = self.view.groups.iter();
        let claimed = groups.any(|(name, keys)| {
            let epoch = keys.record.as_ref().map_or(0, |record| record.epoch);
            self.claim_above(name).max(given).is_some_and(|claim| claim > epoch)
        });
        (!force && !frozen && !claimed).then(|| {
            "nothing is strange about this etcd, and accept would stop every group of the cluster: \
             look at `leasehold status`; if you mean it, `leasehold accept --force`"
                .to_owned()
        })
    }

    /// Everybody waits one ttl after it: too short for containers that were promised more.
    fn held_refusal(&self) -> Option<String> {
        let name = self.held_elsewhere()?;
        Some(format!(
            "{name} is under a hold, so its containers may run on: wait for its end, or fence it"
        ))
    }

    fn held_elsewhere(&self) -> Option<String> {
        let ttl = self.waiting();
        let long = |key: &NodeKey| key.beat.as_ref().is_some_and(|beat| beat.promise() > ttl);
        let beats = self.view.nodes.iter().filter(|(_, key)| long(key));
        let beats = beats.map(|(name, key)| (name, key.lease));
        let records = self.view.groups.values().filter_map(|group| group.active());
        let records = records.filter(|record| record.promise() > ttl);
        let mut held = beats.chain(records.map(|record| (&record.node, record.incarnation)));
        let held = held.find(|(name, lease)| **name != self.me.name && !self.observer.ripe(self.now, name, *lease));
        held.map(|(name, _)| name.clone())
    }

    /// The highest epoch claimed on the group's storage that any living node met, where it is above the record's.
    pub(super) fn claim_above(&self, name: &str) -> Option<u64> {
        let epoch = self.view.group(name).record.map_or(0, |record| record.epoch);
        let living = self
            .view
            .statuses
            .iter()
            .filter(|(node, _)| **node != self.me.name && self.view.nodes.contains_key(*node));
        let told = living.filter_map(|(_, status)| status.groups.get(name)?.claim);
        told.chain(self.claim_met(name)).max().filter(|claim| *claim > epoch)
    }

    /// The same that this node's own tethers met: what it publishes. What others tell it does not tell again, or a false word
    /// would never end.
    pub(super) fn claim_met(&self, name: &str) -> Option<u64> {
        let epoch = self.view.group(name).record.map_or(0, |record| record.epoch);
        let met = self.groups.get(name).and_then(|group| group.claim);
        met.filter(|claim| *claim > epoch)
    }
}
