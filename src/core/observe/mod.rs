//! What a node has seen of the others with its own eyes, timed by its own clock (rule 3 of docs/protocol.md).
//!
//! No etcd clock, lease restart or false renewal enters the argument: a holder counts its validity from before it sent
//! the beat, an observer waits from after it received it.

pub mod etcd;
pub(crate) mod opinion;
pub(crate) mod peers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::protocol::records::View;
use crate::time::Time;

/// What was last seen of an incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// Its beat, by mod revision.
    Beat(i64),
    /// Its key is absent or belongs to another incarnation.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Observation {
    seen: Seen,
    /// When this was first received.
    at: Time,
    /// How long the beat asked observers to wait.
    promise: Duration,
    /// Gone, and the beat seen before was the last there ever was.
    last_seen: bool,
}

/// The observations of every incarnation that may hold something.
#[derive(Clone, Debug, Default)]
pub struct Observer {
    seen: BTreeMap<(String, i64), Observation>,
    /// From the watch: the last version before a key was deleted.
    deleted: BTreeMap<(String, i64), i64>,
}

impl Observer {
    /// Takes a fresh linearizable view. `longest` is the most that an ordinary beat may have promised which was not seen.
    pub fn update(&mut self, now: Time, view: &View, longest: Duration) {
        // Every holder, with the longest promise that its records carry.
        let mut wanted: BTreeMap<(String, i64), Duration> = BTreeMap::new();
        for record in view.groups.values().filter_map(|group| group.active()) {
            let promise = wanted.entry((record.node.clone(), record.incarnation)).or_default();
            *promise = record.promise().max(*promise);
        }
        for (name, key) in &view.nodes {
            let identity = (name.clone(), key.lease);
            let promise = key.beat.as_ref().map_or_else(
                || {
                    // Somebody wrote over a beat that may have promised what the one before it did, or the record.
                    let before = self.seen.get(&identity).map(|seen| seen.promise);
                    let recorded = wanted.get(&identity).copied();
                    longest
                        .max(before.unwrap_or_default())
                        .max(recorded.unwrap_or_default())
                },
                crate::protocol::records::Beat::promise,
            );
            self.note(now, identity, Seen::Beat(key.mod_revision), promise);
        }
        let absent: BTreeSet<_> = self.seen.keys().chain(wanted.keys()).cloned().collect();
        for identity in absent {
            if view.nodes.get(&identity.0).is_none_or(|key| key.lease != identity.1) {
                let seen = match self.seen.get(&identity) {
                    // Its last beat may be one that was not seen, of a longer ttl.
                    Some(before) if before.seen != Seen::Gone => before.promise.max(longest),
                    Some(before) => before.promise,
                    None => longest,
                };
                let recorded = wanted.get(&identity).copied().unwrap_or_default();
                self.note(now, identity, Seen::Gone, seen.max(recorded));
            }
        }
        self.seen
            .retain(|identity, seen| seen.seen != Seen::Gone || wanted.contains_key(identity));
        self.deleted.retain(|identity, _| self.seen.contains_key(identity));
    }

    fn note(&mut self, now: Time, identity: (String, i64), seen: Seen, promise: Duration) {
        let before = self.seen.get(&identity).copied();
        // A record that tells of a longer promise than was known is news, too.
        if before.is_some_and(|before| before.seen == seen && (before.last_seen || before.promise >= promise)) {
            return;
        }
        let kept = match (before, seen) {
            // Gone keeps its time, and the promise, when the version that was deleted is the one observed: no beat came
            // between, so whatever a record still says of an earlier promise is over.
            (Some(before), Seen::Gone) => self
                .deleted
                .get(&identity)
                .filter(|last| before.seen == Seen::Beat(**last))
                .map(|_| Observation {
                    seen,
                    last_seen: true,
                    ..before
                }),
            (Some(_) | None, Seen::Beat(_)) | (None, Seen::Gone) => None,
        };
        let fresh = Observation {
            seen,
            at: now,
            promise,
            last_seen: false,
        };
        self.seen.insert(identity, kept.unwrap_or(fresh));
    }

    /// The watch's word that a key was deleted, and which version was the last.
    pub fn deleted(&mut self, node: String, lease: i64, last_mod_revision: i64) {
        if self.seen.contains_key(&(node.clone(), lease)) {
            self.deleted.insert((node, lease), last_mod_revision);
        }
    }

    /// When the incarnation has been silent for as long as it promised, if it stays so; `None` if it was never seen.
    #[must_use]
    pub fn ripe_at(&self, node: &str, lease: i64) -> Option<Time> {
        self.seen
            .get(&(node.to_owned(), lease))
            .map(|seen| seen.at.plus(seen.promise))
    }

    /// When what is known of it was first received; `None` if it was never seen.
    #[must_use]
    pub(crate) fn seen_at(&self, node: &str, lease: i64) -> Option<Time> {
        self.seen.get(&(node.to_owned(), lease)).map(|seen| seen.at)
    }

    /// Whether the incarnation has been silent, on this node's raw clock, for as long as it promised.
    #[must_use]
    pub fn ripe(&self, now: Time, node: &str, lease: i64) -> bool {
        self.seen
            .get(&(node.to_owned(), lease))
            .is_some_and(|seen| now.waited(seen.at) >= seen.promise)
    }

    /// How long the beat of a key that is still there has not changed.
    #[must_use]
    pub fn silent_for(&self, now: Time, node: &str, lease: i64) -> Option<Duration> {
        let seen = self.seen.get(&(node.to_owned(), lease))?;
        matches!(seen.seen, Seen::Beat(_)).then(|| now.waited(seen.at))
    }

    /// The mod revision of the beat last seen, if its key is still there.
    #[must_use]
    pub fn beat_of(&self, node: &str, lease: i64) -> Option<i64> {
        match self.seen.get(&(node.to_owned(), lease))?.seen {
            Seen::Beat(revision) => Some(revision),
            Seen::Gone => None,
        }
    }

    /// Forgets everything: after a restore nothing seen before counts.
    pub fn clear(&mut self) {
        self.seen.clear();
        self.deleted.clear();
    }
}

/// Unbroken good reads: a campaign needs a full ttl of them behind it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Contact {
    since: Option<Time>,
    last: Option<Time>,
}

impl Contact {
    /// A good linearizable read, stamped before it was sent, received now.
    pub fn good(&mut self, stamp: Time, now: Time, gap: Duration) {
        let unbroken = self.last.is_some_and(|last| now.since(last) <= gap);
        if !unbroken {
            self.since = Some(now);
        }
        self.last = Some(stamp);
    }

    /// Starts over.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether a full `ttl` of contact lies behind `now` and the last good read is not older than `gap`.
    #[must_use]
    pub fn holds(&self, now: Time, ttl: Duration, gap: Duration) -> bool {
        let fresh = self.last.is_some_and(|last| now.since(last) <= gap);
        fresh && self.since.is_some_and(|since| now.waited(since) >= ttl)
    }

    /// When contact will have lasted for `ttl`.
    #[must_use]
    pub fn ready_at(&self, ttl: Duration) -> Option<Time> {
        self.since.map(|since| since.plus(ttl))
    }

    /// How old the last good read is.
    #[must_use]
    pub fn age(&self, now: Time) -> Option<Duration> {
        self.last.map(|last| now.since(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::records::{Beat, GroupKeys, NodeKey, Record, RecordState};

    const TTL: Duration = Duration::from_secs(5);

    fn at(ms: u64) -> Time {
        Time::default().plus(Duration::from_millis(ms))
    }

    fn view(beat: Option<(i64, i64, u64)>) -> View {
        let mut view = View::default();
        if let Some((lease, mod_revision, ttl_ms)) = beat {
            let beat = Beat {
                machine: String::new(),
                boot: String::new(),
                seq: 1,
                nonce: 1,
                ttl_ms,
            };
            let key = NodeKey {
                lease,
                mod_revision,
                beat: Some(beat),
            };
            view.nodes.insert("b".into(), key);
        }
        let record = Record {
            epoch: 1,
            node: "b".into(),
            incarnation: 7,
            state: RecordState::Active,
            reason: String::new(),
            cause: None,
            successor: None,
            stuck: None,
            promise_ms: None,
            kept: None,
            past: crate::protocol::records::Past::default(),
        };
        let group = GroupKeys {
            record_mod: 3,
            record: Some(record),
            ..GroupKeys::default()
        };
        view.groups.insert("mail".into(), group);
        view
    }

    #[test]
    fn a_beat_that_does_not_change_ripens_after_its_own_promise() {
        let mut observer = Observer::default();
        observer.update(at(0), &view(Some((7, 10, 8000))), TTL);
        observer.update(at(7000), &view(Some((7, 10, 8000))), TTL);
        assert!(!observer.ripe(at(7999), "b", 7));
        assert!(observer.ripe(at(8000), "b", 7));
        observer.update(at(8000), &view(Some((7, 11, 8000))), TTL);
        assert!(!observer.ripe(at(15_999), "b", 7));
    }

    #[test]
    fn a_beat_that_somebody_wrote_over_counts_as_long_as_the_one_before() {
        let spoiled = |mut view: View| {
            view.nodes.get_mut("b").unwrap().beat = None;
            view
        };
        // A hold's, as it was seen.
        let mut observer = Observer::default();
        observer.update(at(0), &view(Some((7, 10, 60_000))), TTL);
        observer.update(at(1000), &spoiled(view(Some((7, 11, 0)))), TTL);
        assert!(!observer.ripe(at(60_999), "b", 7));
        assert!(observer.ripe(at(61_000), "b", 7));
        // Or as the record says.
        let mut held = spoiled(view(Some((7, 11, 0))));
        let record = held.groups.get_mut("mail").and_then(|group| group.record.as_mut());
        record.unwrap().promise_ms = Some(60_000);
        let mut observer = Observer::default();
        observer.update(at(0), &held, TTL);
        assert!(!observer.ripe(at(59_999), "b", 7));
        assert!(observer.ripe(at(60_000), "b", 7));
    }

    #[test]
    fn a_key_that_vanished_unseen_is_timed_anew() {
        let mut observer = Observer::default();
        observer.update(at(0), &view(Some((7, 10, 5000))), TTL);
        observer.update(at(4000), &view(None), TTL);
        assert!(!observer.ripe(at(8999), "b", 7));
        assert!(observer.ripe(at(9000), "b", 7));
    }

    #[test]
    fn a_key_that_vanished_unseen_may_have_promised_more_than_was_seen() {
        let mut observer = Observer::default();
        observer.update(at(0), &view(Some((7, 10, 5000))), TTL);
        observer.update(at(1000), &view(None), 2 * TTL);
        assert!(!observer.ripe(at(10_999), "b", 7));
        assert!(observer.ripe(at(11_000), "b", 7));
        // It beats no more: a ttl that grows after it was gone is none of its affair.
        observer.update(at(2000), &view(None), 3 * TTL);
        assert!(observer.ripe(at(11_000), "b", 7));
    }

    #[test]
    fn a_key_deleted_at_the_version_seen_keeps_its_time() {
        let mut observer = Observer::default();
        observer.update(at(0), &view(Some((7, 10, 5000))), TTL);
        observer.deleted("b".into(), 7, 10);
        observer.update(at(4000), &view(None), TTL);
        assert!(observer.ripe(at(5000), "b", 7));
    }

    #[test]
    fn a_key_that_was_never_seen_ripens_after_what_the_record_promises() {
        let mut held = view(None);
        let record = held.groups.get_mut("mail").and_then(|group| group.record.as_mut());
        record.unwrap().promise_ms = Some(60_000);
        let mut observer = Observer::default();
        observer.update(at(0), &held, TTL);
        assert!(!observer.ripe(at(59_999), "b", 7));
        assert!(observer.ripe(at(60_000), "b", 7));
        // One that saw an earlier beat waits from when it first read of the promise.
        let mut observer = Observer::default();
        observer.update(at(0), &view(Some((7, 10, 5000))), TTL);
        observer.update(at(1000), &view(None), TTL);
        observer.update(at(2000), &held, TTL);
        observer.update(at(9000), &held, TTL);
        assert!(!observer.ripe(at(61_999), "b", 7));
        assert!(observer.ripe(at(62_000), "b", 7));
    }

    #[test]
    fn a_promise_in_the_record_does_not_outlast_the_beat_seen_last() {
        let mut held = view(None);
        let record = held.groups.get_mut("mail").and_then(|group| group.record.as_mut());
        record.unwrap().promise_ms = Some(60_000);
        let mut observer = Observer::default();
        let mut beats = held.clone();
        beats.nodes = view(Some((7, 10, 5000))).nodes;
        observer.update(at(0), &beats, TTL);
        observer.update(at(1000), &beats, TTL);
        assert!(observer.ripe(at(5000), "b", 7));
        observer.deleted("b".into(), 7, 10);
        observer.update(at(4000), &held, TTL);
        observer.update(at(4500), &held, TTL);
        assert!(observer.ripe(at(5000), "b", 7));
    }

    #[test]
    fn a_key_deleted_at_a_later_version_does_not() {
        let mut observer = Observer::default();
        observer.update(at(0), &view(Some((7, 10, 5000))), TTL);
        observer.deleted("b".into(), 7, 11);
        observer.update(at(4000), &view(None), TTL);
        assert!(!observer.ripe(at(8999), "b", 7));
    }

    #[test]
    fn another_incarnation_under_the_name_does_not_prolong_the_old_one() {
        let mut observer = Observer::default();
        observer.update(at(0), &view(Some((7, 10, 5000))), TTL);
        observer.update(at(1000), &view(Some((8, 20, 5000))), TTL);
        observer.update(at(5000), &view(Some((8, 25, 5000))), TTL);
        assert!(observer.ripe(at(6000), "b", 7));
        assert!(!observer.ripe(at(6000), "b", 8));
    }

    #[test]
    fn suspend_does_not_ripen() {
        let mut observer = Observer::default();
        observer.update(at(0), &view(Some((7, 10, 5000))), TTL);
        let mut woken = at(1000);
        woken.boot = Duration::from_secs(60);
        assert!(!observer.ripe(woken, "b", 7));
    }

    #[test]
    fn contact_breaks_at_a_gap_and_needs_a_full_ttl() {
        let gap = Duration::from_secs(3);
        let mut contact = Contact::default();
        for ms in (0..=4000).step_by(500) {
            contact.good(at(ms), at(ms + 10), gap);
        }
        assert!(!contact.holds(at(5009), TTL, gap));
        assert!(contact.holds(at(5010), TTL, gap));
        assert!(!contact.holds(at(7500), TTL, gap));
        contact.good(at(7400), at(7500), gap);
        assert!(!contact.holds(at(7600), TTL, gap));
    }
}
