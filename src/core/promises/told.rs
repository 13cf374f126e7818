//! What people are told: for how long etcd may be away, or who is missing for it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Round;
use super::ask::TRIAL;
use crate::membership::Member;
use crate::node::Node;
use crate::protocol::kept::VoterId;
use crate::snapshot::status::{PromisesLine, millis};
use crate::time::Time;

/// Who has not answered for so long is missing.
const PATIENCE: Duration = Duration::from_secs(1);
/// A yes of an earlier round says nothing any more.
const FRESH: Duration = Duration::from_secs(30);

impl Round {
    /// Whose yes it lacks by now; with a no, whose that was.
    pub(super) fn missing(&self) -> BTreeSet<VoterId> {
        match self.refused {
            Some(voter) => [voter].into(),
            None => self.asked.difference(&self.yes).copied().collect(),
        }
    }
}

impl Node {
    /// None without promises.
    pub(crate) fn promises_line(&self, now: Time) -> Option<PromisesLine> {
        let config = self.facts.view().config?;
        let bound = Duration::from_millis(config.promises_ms?);
        let lacking = self.lacking(now);
        let names = self.facts.view().voters.iter();
        let names = names.filter(|(_, key)| lacking.contains(&key.voter));
        Some(PromisesLine {
            bound_ms: millis(bound),
            left_ms: self.left_without_etcd(now, &lacking),
            lacking: names.map(|(name, _)| name.clone()).collect(),
            alone: self.holds_alone(now),
            too_many: self.holds_too_many(now),
            fault: self.promises.fault.clone(),
        })
    }

    /// What this node runs does not fit into one question.
    fn holds_too_many(&self, now: Time) -> Option<u64> {
        let Member::Joined { lease, .. } = *self.membership.place() else {
            return None;
        };
        let count = self.promises_bound().and_then(|_| self.too_many(now, lease))?;
        u64::try_from(count).ok()
    }

    /// What this node runs has nobody to promise anything.
    fn holds_alone(&self, now: Time) -> bool {
        let Member::Joined { lease, .. } = *self.membership.place() else {
            return false;
        };
        self.lasting(now, lease).next().is_some() && self.kept_list().is_none()
    }

    fn lacking(&self, now: Time) -> BTreeSet<VoterId> {
        let Some(round) = self.promises.round.as_ref().filter(|_| self.to_be_asked(now).is_some()) else {
            return BTreeSet::new();
        };
        if round.over || now.since(round.stamp) >= PATIENCE {
            return round.missing();
        }
        let missing = round.missing();
        self.promises.lacked.intersection(&missing).copied().collect()
    }

    /// Until the stop signal of what this node runs, were no beat answered any more, as long as all go on to say yes.
    fn left_without_etcd(&self, now: Time, lacking: &BTreeSet<VoterId>) -> Option<u64> {
        let (lease, _, bound) = self.to_be_asked(now).filter(|_| lacking.is_empty())?;
        let proof = self.promises.proof.filter(|proof| proof.lease == lease)?;
        let (beat, _) = self.membership.exchange().proof()?;
        let fresh = now.since(proof.stamp) <= TRIAL + FRESH;
        let last = self.facts.timing().deadlines(beat, bound, None);
        fresh.then(|| millis(now.until(last.soft)))
    }
}
