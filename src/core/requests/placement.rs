//! Which nodes a group is extended to, and whether it is there at all: operators' orders like the others, each in a key of its
//! own. A group that is deleted keeps its record, because epochs never go down, and its storage, because that is not ours.

use std::collections::BTreeMap;

use crate::event::{Action, OrderKind, Origin};
use crate::membership::Purpose;
use crate::node::Node;
use crate::protocol::ReleaseCause;
use crate::protocol::records::{GroupKeys, Past, Record, RecordState, StandingOrder};
use crate::requests::refusal::Refusal;
use crate::requests::switchover::moving;
use crate::snapshot::code::Code;
use crate::store::Txn;
use crate::text;
use crate::text::orders::{done, standing};

/// A node that holds what it shall not, by which order, and what is said of it.
pub(crate) struct VacateOrder {
    /// Without a standby.
    pub code: Code,
    /// As the beginning of a sentence.
    pub order: String,
    /// For the record.
    pub cause: ReleaseCause,
    /// The same for people.
    pub reason: String,
}

impl Node {
    /// Why nobody starts the group: it is no more.
    pub(crate) fn deleted(&self, group: &str) -> Option<String> {
        let (order, _) = self.facts.view().groups.get(group)?.deleted.as_ref()?;
        Some(standing::deleted_until(order, group))
    }

    /// Why a node may not hold the group, whoever else may.
    pub(crate) fn unextended(&self, group: &str, node: &str) -> Option<String> {
        let (order, _) = self.facts.view().groups.get(group)?.excluded.get(node)?;
        Some(standing::not_extended_until(order, group, node))
    }

    /// By which order this node shall give the group away; one about the node comes first.
    pub(crate) fn leaving(&self, group: &str) -> Option<VacateOrder> {
        if let Some((order, _)) = self.facts.view().drained.get(&self.facts.me().name) {
            return Some(VacateOrder {
                code: Code::DrainWaits,
                order: standing::this_node_drained(order),
                cause: ReleaseCause::Drained,
                reason: standing::its_node_drained(order),
            });
        }
        let (order, _) = self
            .facts
            .view()
            .groups
            .get(group)?
            .excluded
            .get(&self.facts.me().name)?;
        Some(VacateOrder {
            code: Code::UnextendWaits,
            order: standing::not_extended(order, &self.facts.me().name),
            cause: ReleaseCause::NotExtended,
            reason: standing::not_extended(order, &self.facts.me().name),
        })
    }

    /// Why there is nothing to order about a group.
    pub(crate) fn not_there(&self, group: &str) -> Option<Refusal> {
        self.unknown_group(group).or_else(|| self.deletion_of(group))
    }

    /// The same as a refusal.
    pub(crate) fn deletion_of(&self, group: &str) -> Option<Refusal> {
        let why = self.deleted(group)?;
        let group = group.to_owned();
        Some(Refusal::Deleted { group, why })
    }

    pub(crate) fn not_extendable(&self, group: &str, node: &str) -> Option<Refusal> {
        if let Some(why) = self.not_there(group) {
            return Some(why);
        }
        let lease = self.facts.view().lease_of(node);
        if lease == 0 || self.facts.observer().ripe(self.facts.now(), node, lease) {
            return Some(Refusal::NodeSilent { node: node.to_owned() });
        }
        (!self.has_group(node, group)).then(|| Refusal::NotInFile {
            group: group.to_owned(),
            node: node.to_owned(),
        })
    }

    pub(crate) fn not_unextendable(&self, group: &str, node: &str) -> Option<Refusal> {
        if let Some(why) = self.not_there(group) {
            return Some(why);
        }
        let keys = self.facts.view().group(group);
        if keys.excluded.contains_key(node) {
            return None;
        }
        if !self.facts.view().nodes.contains_key(node) && !self.facts.view().statuses.contains_key(node) {
            return Some(Refusal::NoNodeListed { node: node.to_owned() });
        }
        let (named, node_named) = (group.to_owned(), node.to_owned());
        if keys.unreadable() {
            let (group, whom) = (named, node_named);
            return Some(Refusal::RecordUnreadable { group, whom });
        }
        if let Some(record) = keys.active().filter(|record| record.node == node) {
            let (group, node) = (named, node_named);
            return Some(match &record.stuck {
                Some(why) => Refusal::Stuck {
                    why: text::stuck::on(&node, why),
                    group,
                },
                None => Refusal::HoldsMoveFirst { group, node },
            });
        }
        let last = self.other_extended(group, node).is_none();
        last.then_some(Refusal::LastNode {
            group: named,
            node: node_named,
        })
    }

    /// Another node that is known and may take the group; one that lives comes first.
    fn other_extended(&self, group: &str, node: &str) -> Option<String> {
        let keys = self.facts.view().group(group);
        let others = self.facts.view().statuses.keys().chain([&self.facts.me().name]);
        let others = others.filter(|other| *other != node && !keys.excluded.contains_key(*other));
        let others = others.filter(|other| self.has_group(other, group));
        let silent = |other: &String| {
            let lease = self.facts.view().lease_of(other);
            lease == 0 || self.facts.observer().ripe(self.facts.now(), other, lease)
        };
        others.min_by_key(|other| (silent(other), (*other).clone())).cloned()
    }

    fn has_group(&self, node: &str, group: &str) -> bool {
        let told = self.facts.view().statuses.get(node);
        let own = *node == self.facts.me().name && self.groups.contains_key(group);
        own || told.is_some_and(|status| status.groups.contains_key(group))
    }

    /// One that is not in this node's file any more can be deleted all the same: its keys are.
    pub(crate) fn not_deletable(&self, group: &str) -> Option<Refusal> {
        let keys = match self.facts.view().groups.get(group) {
            Some(keys) => keys.clone(),
            None => return self.unknown_group(group),
        };
        if keys.deleted.is_some() {
            return None;
        }
        let named = || group.to_owned();
        if keys.unreadable() {
            let whom = text::damage::A_HOLDER.to_owned();
            return Some(Refusal::RecordUnreadable { group: named(), whom });
        }
        if let Some(why) = moving(group, &keys) {
            return Some(why);
        }
        if let Some(Record { node, stuck, .. }) = keys.active() {
            let group = named();
            return Some(match stuck {
                Some(why) => Refusal::Stuck {
                    why: text::stuck::on(node, why),
                    group,
                },
                None => Refusal::HoldsStopFirst {
                    group,
                    node: node.clone(),
                },
            });
        }
        if self.groups.get(group).is_some_and(|group| group.is_held()) {
            return Some(Refusal::StillStopping { group: named() });
        }
        let epoch = keys.record.as_ref().map_or(0, |record| record.epoch);
        let claim = self
            .claim_above(group)
            .map(|claim| text::stuck::claimed(group, claim, epoch));
        let claim = claim.map(|why| Refusal::ClaimAbove { why });
        claim
            .or_else(|| self.holder_may_run(group))
            .or_else(|| self.promised_holder_may_run(group))
    }

    /// The same of one that runs on by promises, and was cut off when this etcd was accepted.
    fn promised_holder_may_run(&self, group: &str) -> Option<Refusal> {
        let now = self.facts.now();
        let at = self.after_accept(now, self.facts.view().group(group))?;
        let (group, left) = (group.to_owned(), now.until(at));
        Some(Refusal::MayRunOn { group, left })
    }

    /// A record that nobody holds says nothing of a holder that an `accept` took it from, nor of one that a restored etcd has
    /// forgotten: whoever is told that a group is deleted may start it by hand. It takes what a campaign takes.
    fn holder_may_run(&self, group: &str) -> Option<Refusal> {
        (!self.contact_holds()).then(|| {
            let wait = self.contact_needed();
            let at = self.facts.contact().ready_at(wait);
            let left = at.map_or(wait, |at| self.facts.now().until(at));
            Refusal::MayRunOn {
                group: group.to_owned(),
                left,
            }
        })
    }

    pub(crate) fn not_creatable(&self, group: &str) -> Option<Refusal> {
        if let Some(why) = self.unknown_group(group) {
            return Some(why);
        }
        let keys = self.facts.view().group(group);
        if let Some(why) = self
            .facts
            .damage()
            .sentences()
            .get(&self.facts.keys().store(group))
            .filter(|_| keys.store.is_none())
        {
            return Some(Refusal::KeyUnreadable { why: why.clone() });
        }
        let named = || group.to_owned();
        if keys.store.is_none() {
            return Some(Refusal::NotInitialised { group: named() });
        }
        keys.deleted.as_ref()?;
        let (node, by) = self.users(group).pop_first()?;
        let group = named();
        Some(Refusal::StorageInUse { group, node, by })
    }

    /// Who uses the storage of a deleted group, on which node: this node's own are known without etcd.
    pub(crate) fn users(&self, group: &str) -> BTreeMap<String, String> {
        let told = self
            .facts
            .view()
            .statuses
            .iter()
            .filter(|(node, _)| **node != self.facts.me().name);
        let told = told.filter_map(|(node, status)| Some((node.clone(), status.groups.get(group)?.used.clone()?)));
        let own = self.groups.get(group).and_then(|group| group.used().map(str::to_owned));
        told.chain(own.map(|by| (self.facts.me().name.clone(), by))).collect()
    }

    /// T13. It compares that nobody holds the group and that a node is left for it; each of two operators who take away
    /// the other's last node compares what the other one writes.
    pub(crate) fn unextension(
        &self,
        reply: u64,
        group: &str,
        node: &str,
        origin: Origin,
        out: &mut Vec<Action>,
    ) -> Sent {
        let refused = self.not_unextendable(group, node);
        let rest = self.other_extended(group, node);
        let (None, Some(rest)) = (refused.as_ref(), rest) else {
            return refuse(reply, refused.unwrap_or(Refusal::Faster), out);
        };
        let txn = Txn::unextend(
            self.facts.keys(),
            self.as_read(group),
            node,
            &rest,
            &StandingOrder::from(origin),
        );
        let done = done::unextended(group, node);
        Some((txn, Purpose::Request { reply, done }))
    }

    /// T14. The record is written anew with its epoch, so that no campaign which read the one before can land: from here on
    /// every candidate has read that the group is deleted.
    pub(crate) fn deletion(&self, reply: u64, group: &str, origin: Origin, out: &mut Vec<Action>) -> Sent {
        if let Some(why) = self.not_deletable(group) {
            return refuse(reply, why, out);
        }
        let of = self.as_read(group);
        let order = StandingOrder::from(origin);
        let txn = Txn::delete(self.facts.keys(), of, &self.left_behind(of.keys, &order), &order);
        let done = done::deleted(group);
        Some((txn, Purpose::Request { reply, done }))
    }

    /// What the record says of a group that is no more: its epoch, and nothing of what moves remember.
    fn left_behind(&self, keys: &GroupKeys, order: &StandingOrder) -> Record {
        let before = keys.record.as_ref();
        Record {
            epoch: before.map_or(0, |record| record.epoch),
            node: before.map_or_else(|| self.facts.me().name.clone(), |record| record.node.clone()),
            incarnation: before.map_or(0, |record| record.incarnation),
            state: RecordState::Released,
            reason: standing::deleted(order),
            cause: Some(ReleaseCause::Deleted),
            successor: None,
            stuck: None,
            promise_ms: None,
            kept: None,
            past: Past::default(),
        }
    }

    /// T15: whoever may take it takes it, with the epoch after the record's.
    pub(crate) fn creation(&self, reply: u64, group: &str, out: &mut Vec<Action>) -> Sent {
        if let Some(why) = self.not_creatable(group) {
            return refuse(reply, why, out);
        }
        let kind = OrderKind::Create {
            group: group.to_owned(),
        };
        if let Some(already) = self.fulfilled(&kind) {
            let result = Ok(already.into());
            out.push(Action::Reply { reply, result });
            return None;
        }
        let txn = Txn::create(self.facts.keys(), self.as_read(group));
        let epoch = self
            .facts
            .view()
            .group(group)
            .record
            .as_ref()
            .map_or(0, |record| record.epoch)
            + 1;
        let done = done::created(group, epoch);
        Some((txn, Purpose::Request { reply, done }))
    }
}

type Sent = Option<(Txn, Purpose)>;

/// It was good when it came in, and is not any more.
fn refuse(reply: u64, why: Refusal, out: &mut Vec<Action>) -> Sent {
    let result = Err(why);
    out.push(Action::Reply { reply, result });
    None
}
