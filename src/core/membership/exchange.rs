//! The exchange with etcd: the one request in flight, the beats that may still land, and the youngest that is known to have.

use std::time::Duration;

use super::{Attempt, Pending, Purpose};
use crate::store::RequestId;
use crate::time::Time;

/// Attempts whose outcome is unknown and that may still land.
const ATTEMPTS_MAX: usize = 16;

/// What is under way, and what it has proved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exchange {
    pending: Option<Pending>,
    attempts: Vec<Attempt>,
    /// The stamp and promise of the youngest beat known to have landed.
    proof: Option<(Time, Duration)>,
    /// The outcome of the last request is unknown: read before anything else.
    read_back: bool,
    /// Something has changed in etcd: do not wait for the next beat.
    hinted: bool,
    sent_at: Time,
    /// From `sent_at` on nothing is sent for so long.
    pause: Duration,
    /// Why etcd did not answer, or what it refused, last; `None` once it has answered well.
    failure: Option<String>,
    kept_alive: Time,
    seq: u64,
    next_id: u64,
}

impl Exchange {
    pub(crate) fn hint(&mut self) {
        self.hinted = true;
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether etcd may know more of what was asked than this node does.
    pub(crate) fn is_unknown(&self) -> bool {
        self.pending.is_some() || self.read_back
    }

    pub(super) fn must_read_back(&self) -> bool {
        self.read_back
    }

    pub(super) fn may_send(&self, now: Time) -> bool {
        self.pending.is_none() && now.since(self.sent_at) >= self.pause
    }

    /// Whether it is time for a beat or a read.
    pub(super) fn is_due(&self, now: Time, beat: Duration) -> bool {
        now.since(self.sent_at) >= beat || self.hinted
    }

    /// When the next request is due; `None` while one is in flight.
    pub(crate) fn due_at(&self, beat: Duration) -> Option<Time> {
        let due = if self.hinted || self.read_back {
            self.pause
        } else {
            beat.max(self.pause)
        };
        self.pending.is_none().then(|| self.sent_at.plus(due))
    }

    /// A request goes out; its answer must name this id.
    pub(super) fn ask(&mut self, now: Time, purpose: Purpose) -> RequestId {
        self.next_id += 1;
        let id = RequestId(self.next_id);
        self.pending = Some(Pending {
            id,
            stamp: now,
            purpose,
        });
        self.sent_at = now;
        self.hinted = false;
        id
    }

    /// Counts for the pace: the start, and what is sent besides.
    pub(crate) fn sent(&mut self, now: Time) {
        self.sent_at = now;
    }

    /// The request that this is the answer to, if any still waits for it.
    pub(super) fn take(&mut self, id: RequestId) -> Option<Pending> {
        self.pending.take_if(|pending| pending.id == id)
    }

    pub(super) fn answered(&mut self) {
        self.pause = Duration::ZERO;
        self.read_back = false;
        self.failure = None;
    }

    /// No answer: it may have landed, or may yet.
    pub(super) fn unanswered(&mut self, pause: Duration, why: String) {
        self.pause = pause;
        self.read_back = true;
        self.failure = Some(why);
    }

    pub(super) fn failed(&mut self, why: String) {
        self.failure = Some(why);
    }

    /// Why etcd did not answer, or what it refused, last.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    pub(super) fn pause(&mut self, pause: Duration) {
        self.pause = pause;
    }

    pub(super) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// A beat goes out with this nonce.
    pub(super) fn attempt(&mut self, nonce: u64, stamp: Time, promise: Duration) {
        if self.attempts.len() == ATTEMPTS_MAX {
            self.attempts.remove(0);
        }
        self.attempts.push(Attempt { nonce, stamp, promise });
    }

    /// The least that a beat promises which was sent and may still land.
    pub(crate) fn shortest_sent(&self) -> Option<Duration> {
        self.attempts.iter().map(|attempt| attempt.promise).min()
    }

    /// etcd has refused what was sent at this stamp: it never lands.
    pub(super) fn never_lands(&mut self, stamp: Time) {
        self.attempts.retain(|attempt| attempt.stamp != stamp);
    }

    /// The attempt whose nonce stands in this node's key.
    pub(super) fn landed(&self, nonce: u64) -> Option<Attempt> {
        self.attempts.iter().find(|attempt| attempt.nonce == nonce).copied()
    }

    /// It has landed: what was sent before it can't be the youngest any more.
    pub(super) fn settle(&mut self, attempt: Attempt) {
        self.attempts.retain(|other| other.stamp > attempt.stamp);
    }

    pub(super) fn prove(&mut self, attempt: Attempt) {
        self.proof = Some((attempt.stamp, attempt.promise));
    }

    /// The stamp and promise of the youngest beat known to have landed.
    pub(crate) fn proof(&self) -> Option<(Time, Duration)> {
        self.proof
    }

    /// The incarnation is dropped: none of its beats counts.
    pub(super) fn drop_beats(&mut self) {
        self.attempts.clear();
        self.proof = None;
    }

    /// Whether the lease must be kept alive now; then it is.
    pub(super) fn keep_alive(&mut self, now: Time, every: Duration) -> bool {
        let due = now.since(self.kept_alive) >= every;
        if due {
            self.kept_alive = now;
        }
        due
    }

    /// Whether no beat that may still land is older than the proof, and there are few: an invariant.
    pub(crate) fn is_in_order(&self) -> bool {
        let after = |attempt: &Attempt| self.proof.is_none_or(|(stamp, _)| attempt.stamp >= stamp);
        self.attempts.len() <= ATTEMPTS_MAX && self.attempts.iter().all(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(1);
    const TTL: Duration = Duration::from_secs(10);

    fn at(ms: u64) -> Time {
        Time::default().plus(Duration::from_millis(ms))
    }

    #[test]
    fn one_request_at_a_time_and_only_its_own_answer_counts() {
        let mut exchange = Exchange::default();
        let id = exchange.ask(at(0), Purpose::Read);
        assert!(exchange.is_pending() && !exchange.may_send(at(5000)) && exchange.due_at(BEAT).is_none());
        assert!(exchange.take(RequestId(id.0 + 1)).is_none() && exchange.is_pending());
        assert_eq!(exchange.take(id).map(|pending| pending.stamp), Some(at(0)));
        assert!(exchange.take(id).is_none() && exchange.may_send(at(0)));
    }

    #[test]
    fn an_outcome_that_is_not_known_is_read_back_after_a_pause() {
        let mut exchange = Exchange::default();
        let id = exchange.ask(at(0), Purpose::Beat);
        assert!(exchange.take(id).is_some());
        exchange.unanswered(Duration::from_millis(100), "no answer".to_owned());
        assert!(exchange.is_unknown() && exchange.must_read_back());
        assert!(!exchange.may_send(at(99)) && exchange.may_send(at(100)));
        assert_eq!(exchange.due_at(BEAT), Some(at(100)), "not at the next beat");
        assert_eq!(exchange.failure(), Some("no answer"));
        exchange.answered();
        assert!(!exchange.is_unknown() && exchange.failure().is_none());
        assert_eq!(exchange.due_at(BEAT), Some(at(1000)));
    }

    #[test]
    fn a_hint_brings_the_next_request_forward_once() {
        let mut exchange = Exchange::default();
        exchange.sent(at(0));
        assert!(!exchange.is_due(at(1), BEAT));
        exchange.hint();
        assert!(exchange.is_due(at(1), BEAT));
        exchange.ask(at(1), Purpose::Read);
        assert!(!exchange.is_due(at(2), BEAT));
    }

    #[test]
    fn the_youngest_that_landed_is_the_proof_and_ends_what_is_older() {
        let mut exchange = Exchange::default();
        for (nonce, ms) in [(1, 0), (2, 1000), (3, 2000)] {
            exchange.attempt(nonce, at(ms), TTL);
        }
        let second = exchange.landed(2).unwrap();
        exchange.settle(second);
        exchange.prove(second);
        assert_eq!(exchange.proof(), Some((at(1000), TTL)));
        assert!(exchange.landed(1).is_none() && exchange.landed(3).is_some());
        assert!(exchange.is_in_order());
        exchange.drop_beats();
        assert!(exchange.proof().is_none() && exchange.landed(3).is_none());
    }

    #[test]
    fn what_etcd_refused_never_lands_and_what_it_did_not_answer_may() {
        let mut exchange = Exchange::default();
        exchange.attempt(1, at(0), TTL);
        exchange.attempt(2, at(1000), TTL);
        exchange.never_lands(at(0));
        exchange.unanswered(Duration::ZERO, "no answer".to_owned());
        assert!(exchange.landed(1).is_none() && exchange.landed(2).is_some());
    }

    #[test]
    fn attempts_are_bounded_and_the_oldest_goes() {
        let mut exchange = Exchange::default();
        for nonce in 0..40 {
            exchange.attempt(nonce, at(nonce * 1000), TTL);
        }
        assert!(exchange.is_in_order());
        assert!(exchange.landed(23).is_none() && exchange.landed(24).is_some());
    }
}
