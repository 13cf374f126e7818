//! The taker's side: how long it waits (P1, P5, P10), and whom it asks before it takes anything (P14).

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Inquiry, Message};
use crate::node::Node;
use crate::protocol::ReleaseCause;
use crate::protocol::bounds::PROMISE_MAX_MS;
use crate::protocol::records::GroupKeys;
use crate::time::Time;

/// How long an answer of a holder or a voter is waited for.
const INQUIRY: Duration = Duration::from_millis(300);
/// A question that was not used for so long is asked anew.
const STALE: Duration = Duration::from_secs(2);

impl Node {
    /// P1: how long this node waits at least for an incarnation that has a record on whose list it is not.
    fn unlisted_wait(&self, node: &str, lease: i64) -> Duration {
        let me = self.promises.vote.as_ref().map(|vote| vote.id);
        let records = self.facts.view().groups.values().filter_map(|keys| keys.active());
        let of_holder = records.filter(|record| record.node == node && record.incarnation == lease);
        let kept = of_holder.filter_map(|record| record.kept.as_ref());
        let not_on_it = kept.filter(|kept| me.is_none_or(|me| !kept.voters.contains(&me)));
        not_on_it.map(|kept| kept.bound()).max().unwrap_or_default()
    }

    /// What this node's own word leaves of the wait (P5).
    fn bound_by_promise(&self, now: Time, lease: i64) -> Duration {
        let given = self.promises.given.get(&lease);
        given.map_or(Duration::ZERO, |given| given.left(now))
    }

    /// When anything of the incarnation may be taken, if it stays silent; `None` if it was never seen.
    pub(crate) fn takeable_at(&self, now: Time, node: &str, lease: i64) -> Option<Time> {
        let ripe = self.facts.observer().ripe_at(node, lease)?;
        let unlisted = self.unlisted_wait(node, lease);
        let mut at = ripe;
        if !unlisted.is_zero() {
            at = at.later(self.facts.observer().seen_at(node, lease)?.plus(unlisted));
        }
        let promised = self.bound_by_promise(now, lease);
        Some(match promised.is_zero() {
            true => at,
            false => at.later(now.plus(promised)),
        })
    }

    /// Whether it may be taken now.
    pub(crate) fn takeable(&self, now: Time, node: &str, lease: i64) -> bool {
        let observer = self.facts.observer();
        let unlisted = self.unlisted_wait(node, lease);
        let waited = observer
            .seen_at(node, lease)
            .is_some_and(|at| now.waited(at) >= unlisted);
        observer.ripe(now, node, lease) && waited && self.bound_by_promise(now, lease).is_zero()
    }

    /// P14: what to wait for before the incarnation's groups are taken, which is to be at `at`. The question goes out so long before
    /// that it costs nothing. None: nobody runs there, or nobody is asked.
    pub(crate) fn inquire(&mut self, now: Time, keys: &GroupKeys, at: Time) -> Option<Time> {
        let record = keys.active()?;
        let view = self.facts.view();
        let known = view.config.is_some_and(|config| config.promises_ms.is_some());
        if !self.promises.has_vote() || !(known || record.kept.is_some()) {
            return None;
        }
        let left = at.awake().saturating_sub(now.awake());
        if left > INQUIRY {
            return Some(at.minus(INQUIRY));
        }
        let lease = record.incarnation;
        let inquiry = self.promises.inquiries.get(&lease).copied();
        let inquiry = inquiry.filter(|inquiry| now.waited(inquiry.since) <= INQUIRY + STALE);
        match inquiry {
            Some(Inquiry {
                postponed: Some((since, length)),
                ..
            }) if now.waited(since) < length => Some(since.plus(length)),
            Some(Inquiry {
                since, postponed: None, ..
            }) => {
                let answered = since.plus(INQUIRY);
                let wait = now.waited(since) < INQUIRY;
                (wait || !left.is_zero()).then(|| answered.later(at))
            }
            Some(_) | None => {
                self.ask_whether_it_runs(now, lease);
                Some(now.plus(INQUIRY).later(at))
            }
        }
    }

    fn ask_whether_it_runs(&mut self, now: Time, incarnation: i64) {
        let round = self.promises.random.draw();
        let inquiry = Inquiry {
            round,
            since: now,
            postponed: None,
        };
        self.promises.inquiries.insert(incarnation, inquiry);
        let me = self.promises.vote.as_ref().map(|vote| vote.address.clone());
        let addresses = self.facts.view().voters.values().map(|key| key.address.clone());
        let addresses: BTreeSet<String> = addresses.filter(|address| Some(address) != me.as_ref()).collect();
        for to in addresses {
            self.promises.say(&to, Message::Runs { incarnation, round });
        }
    }

    pub(super) fn heard_running(&mut self, now: Time, round: u64, left: Duration) {
        let length = left.min(Duration::from_millis(PROMISE_MAX_MS)).max(INQUIRY);
        let asked = self
            .promises
            .inquiries
            .values_mut()
            .find(|inquiry| inquiry.round == round);
        if let Some(inquiry) = asked {
            let before = inquiry.postponed.map_or(Duration::ZERO, |(since, length)| {
                length.saturating_sub(now.waited(since))
            });
            inquiry.postponed = Some((now, length.max(before)));
            // It is asked anew once that is over.
            inquiry.since = now.plus(inquiry.postponed.map_or(Duration::ZERO, |(_, length)| length));
        }
    }

    /// What is over.
    pub(super) fn forget_promises(&mut self, now: Time) {
        self.promises.given.retain(|_, given| !given.left(now).is_zero());
        let held: BTreeSet<i64> = {
            let records = self.facts.view().groups.values().filter_map(|keys| keys.active());
            records.map(|record| record.incarnation).collect()
        };
        self.promises.inquiries.retain(|lease, _| held.contains(lease));
        self.promises.taking = self.promises.taking.filter(|_| self.membership.exchange().is_unknown());
        self.note_generation(now);
    }

    /// P10: since when this generation is known here, and since when each vote that etcd knows is registered under it.
    fn note_generation(&mut self, now: Time) {
        let generation = self.trust.generation();
        if !self.facts.is_viewed() || self.membership.is_frozen() {
            return;
        }
        if self.promises.generation.is_none_or(|(known, _)| known != generation) {
            self.promises.generation = Some((generation, now));
            self.promises.all_registered = None;
        }
        let view = self.facts.view();
        let registered = view.voters.values().all(|key| key.generation == generation);
        self.promises.all_registered = match registered && !view.voters.is_empty() {
            true => self.promises.all_registered.or(Some(now)),
            false => None,
        };
    }

    /// P10: from when what an accept released may be started. A holder that was cut off from all of it runs on for the bound, if
    /// those whom it asks are cut off, too. None: now.
    pub(crate) fn after_accept(&self, now: Time, keys: &GroupKeys) -> Option<Time> {
        let bound = self.promises_bound()?;
        let accepted = match &keys.record {
            Some(record) => {
                let cause = matches!(record.cause, Some(ReleaseCause::Accepted | ReleaseCause::Imported));
                cause && keys.active().is_none()
            }
            None => self.trust.generation() > 1,
        };
        if !accepted {
            return None;
        }
        let Some((_, since)) = self.promises.generation else {
            return Some(now.plus(bound));
        };
        let wait = self.waiting();
        let all = self.promises.all_registered;
        let over = now.waited(since) >= bound || all.is_some_and(|all| now.waited(all) >= wait);
        let end = since.plus(bound);
        (!over).then(|| all.map_or(end, |all| all.plus(wait).earlier(end)))
    }
}
