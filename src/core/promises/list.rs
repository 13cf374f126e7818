//! Who is on the list of a record, and who must be asked because of it (P1 to P4).

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Listed, fits};
use crate::group::{Group, Holding};
use crate::membership::Member;
use crate::node::Node;
use crate::protocol::kept::{Kept, VOTERS_MAX, VoterId, VoterKey};
use crate::protocol::records::Record;
use crate::store::Txn;
use crate::time::Time;

impl Node {
    /// How long a holder may run on without etcd; none without promises, or where this node has no vote.
    pub(crate) fn promises_bound(&self) -> Option<Duration> {
        let config = self.facts.view().config.filter(|_| self.promises.has_vote())?;
        config.promises_ms.map(Duration::from_millis)
    }

    /// P1: the list that this node writes into its records. None where nobody else has a vote, or two nodes have the same one.
    pub(crate) fn kept_list(&self) -> Option<Kept> {
        let bound = self.promises_bound()?;
        let me = self.promises.vote.as_ref()?.id;
        let others = self.facts.view().voters.iter();
        let others = others.filter(|(node, _)| **node != self.facts.me().name);
        let others: Vec<VoterId> = others.map(|(_, key)| key.voter).collect();
        let voters: BTreeSet<VoterId> = others.iter().copied().chain([me]).collect();
        let distinct = voters.len() == others.len() + 1;
        let fits = distinct && (2..=VOTERS_MAX).contains(&voters.len());
        let bound_ms = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        fits.then_some(Kept { voters, bound_ms })
    }

    /// The part of a beat that says where this node's vote is asked, where etcd does not say so.
    pub(crate) fn enroll_in(&self, txn: &mut Txn) {
        let (Some(vote), Some(config)) = (&self.promises.vote, self.facts.view().config) else {
            return;
        };
        let key = VoterKey {
            voter: vote.id,
            address: vote.address.clone(),
            generation: config.generation,
        };
        let me = &self.facts.me().name;
        let is_told = self.facts.view().voters.get(me) == Some(&key);
        // Not before it can be asked: whoever is on no list is waited for, and needs not be heard.
        let can_be_asked = !key.address.is_empty();
        if config.promises_ms.is_some() && can_be_asked && !is_told && txn.has_room(0, 1) {
            txn.and_voter(self.facts.keys(), me, &key);
        }
    }

    /// What a transaction under this lease says of who may take its records; each counts from when it is sent (P2).
    pub(crate) fn note_lists(&mut self, stamp: Time, lease: i64, txn: &Txn) {
        if !self.promises.has_vote() {
            return;
        }
        let own = txn.active_records(lease);
        let listed = own.map(|record| listed(&record)).reduce(Listed::and);
        if let Some(listed) = listed {
            self.promises.note_sent(stamp, listed);
        }
    }

    /// T11 is sent: nobody knows any more who may take what.
    pub(crate) fn note_acceptance(&mut self, stamp: Time) {
        let (voters, bound) = (None, Duration::ZERO);
        self.promises.note_sent(stamp, Listed { voters, bound });
        (self.promises.round, self.promises.proof) = (None, None);
    }

    /// The runs of this incarnation that may still go on.
    pub(super) fn lasting(&self, now: Time, lease: i64) -> impl Iterator<Item = (&str, &Holding)> {
        self.groups.iter().filter_map(move |(name, group)| {
            let lasts = |held: &&Holding| held.lease == lease && !held.latched && !now.reached(held.deadlines.soft);
            Some((name.as_str(), group.held().filter(lasts)?))
        })
    }

    /// How many groups run, where one question can't name them all.
    pub(super) fn too_many(&self, now: Time, lease: i64) -> Option<usize> {
        let cluster = self.facts.keys().cluster();
        let names = self.lasting(now, lease).map(|(name, _)| name);
        let fit = fits(cluster, &self.facts.me().name, names);
        (!fit).then(|| self.lasting(now, lease).count())
    }

    /// P2, P3: everybody who may take anything of this incarnation after an ordinary promise, by what has landed and by what may
    /// still land. None: anybody may, or there is nothing to ask for.
    fn listed_all(&self, now: Time, lease: i64) -> Option<Listed> {
        let mut all: Option<Listed> = None;
        for (name, held) in self.lasting(now, lease) {
            let record = self.facts.view().group(name).active()?;
            if (record.incarnation, record.epoch) != (lease, held.run.epoch) {
                return None;
            }
        }
        let landed = self.facts.view().groups.values().filter_map(|keys| keys.active());
        let landed = landed.filter(|record| record.incarnation == lease).map(listed);
        let sent = self.promises.sent.iter().map(|sent| sent.listed.clone());
        for one in landed.chain(sent) {
            all = Some(match all {
                Some(all) => all.and(one),
                None => one,
            });
        }
        all
    }

    /// P4: whom to ask, all of them, and how long this node may run on after its last landed beat at most.
    pub(super) fn to_be_asked(&self, now: Time) -> Option<(i64, BTreeSet<VoterId>, Duration)> {
        let Member::Joined { lease, .. } = *self.membership.place() else {
            return None;
        };
        self.promises_bound()?;
        let me = self.promises.vote.as_ref()?.id;
        self.lasting(now, lease).next()?;
        if self.too_many(now, lease).is_some() {
            return None;
        }
        let listed = self.listed_all(now, lease)?;
        let mut voters = listed.voters?;
        voters.remove(&me);
        (!voters.is_empty()).then_some((lease, voters, listed.bound))
    }

    /// Where a vote is asked.
    pub(super) fn address_of(&self, voter: VoterId) -> Option<String> {
        let mut keys = self.facts.view().voters.values();
        keys.find(|key| key.voter == voter).map(|key| key.address.clone())
    }

    /// The groups of an incarnation whose runs are not proved to have ended.
    pub(super) fn running(&self, lease: i64) -> impl Iterator<Item = &Group> {
        let of_lease = move |group: &&Group| group.held().is_some_and(|held| held.lease == lease);
        self.groups.values().filter(move |group| of_lease(group))
    }
}

fn listed(record: &Record) -> Listed {
    match &record.kept {
        Some(kept) => Listed {
            voters: Some(kept.voters.clone()),
            bound: kept.bound(),
        },
        None => Listed {
            voters: None,
            bound: Duration::ZERO,
        },
    }
}
