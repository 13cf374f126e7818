//! What this node knows: who it is, what time it is, and what etcd has shown. Every decision reads it. It is written here
//! alone, by what has happened.

use std::time::Duration;

use crate::node::Identity;
use crate::observe::{Contact, Observer};
use crate::protocol::damage::Damage;
use crate::protocol::keys::Keys;
use crate::protocol::records::View;
use crate::protocol::sizing::Timing;
use crate::time::Time;

/// The facts that decisions rest on.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    me: Identity,
    keys: Keys,
    timing: Timing,
    now: Time,
    /// The wall time that was told last, in seconds since 1970, and when.
    wall: Option<(i64, Time)>,
    view: View,
    /// What of it can't be read.
    damage: Damage,
    /// Whether `view` was read since the last arrival.
    viewed: bool,
    observer: Observer,
    contact: Contact,
}

impl Facts {
    pub(crate) fn new(me: Identity, cluster: &str, timing: Timing) -> Self {
        Self {
            me,
            keys: Keys::new(cluster),
            timing,
            now: Time::default(),
            wall: None,
            view: View::default(),
            damage: Damage::default(),
            viewed: false,
            observer: Observer::default(),
            contact: Contact::default(),
        }
    }

    pub(crate) fn me(&self) -> &Identity {
        &self.me
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The ttl in force, and what follows from it.
    pub(crate) fn timing(&self) -> &Timing {
        &self.timing
    }

    /// The time of the event.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// The wall time in seconds since 1970, as far as it is known: for people.
    pub(crate) fn wall(&self) -> Option<i64> {
        let (told, at) = self.wall?;
        told.checked_add(i64::try_from(self.now.since(at).as_secs()).ok()?)
    }

    /// What was read of etcd last.
    pub(crate) fn view(&self) -> &View {
        &self.view
    }

    /// Whether that was read since this node arrived.
    pub(crate) fn is_viewed(&self) -> bool {
        self.viewed
    }

    pub(crate) fn damage(&self) -> &Damage {
        &self.damage
    }

    /// For those who read keys: `protocol::damage`, and the search for keys that never end.
    pub(crate) fn damage_mut(&mut self) -> &mut Damage {
        &mut self.damage
    }

    pub(crate) fn observer(&self) -> &Observer {
        &self.observer
    }

    pub(crate) fn contact(&self) -> &Contact {
        &self.contact
    }

    /// Whether the last good word of etcd is young enough: what it says of other nodes may be acted on.
    pub(crate) fn is_fresh(&self) -> bool {
        let age = self.contact.age(self.now);
        age.is_some_and(|age| age <= self.timing.contact_gap())
    }

    /// An event happens now.
    pub(crate) fn pass_to(&mut self, now: Time) {
        self.now = now;
    }

    pub(crate) fn wall_is(&mut self, seconds: Option<i64>) {
        self.wall = seconds.map(|seconds| (seconds, self.now)).or(self.wall);
    }

    pub(crate) fn listen_at(&mut self, address: String) {
        self.me.address = address;
    }

    /// The cluster's ttl is another from here on.
    pub(crate) fn take_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// This node arrives anew: what it read before says nothing of its place.
    pub(crate) fn arrive(&mut self) {
        self.viewed = false;
    }

    /// A good read of the etcd that is trusted, stamped before it was sent. `longest`: the most that a beat may have promised which
    /// was not seen.
    pub(crate) fn learn(&mut self, stamp: Time, view: View, longest: Duration) {
        self.contact.good(stamp, self.now, self.timing.contact_gap());
        self.see(view, longest);
    }

    /// A read of an etcd that is not trusted: no contact, and `anew` where nothing that was seen before counts. It is watched only
    /// so that `accept` can tell whether a hold has ended.
    pub(crate) fn watch_strange(&mut self, view: View, longest: Duration, anew: bool) {
        if anew {
            self.observer.clear();
        }
        self.see(view, longest);
    }

    fn see(&mut self, view: View, longest: Duration) {
        self.observer.update(self.now, &view, longest);
        self.view = view;
        self.viewed = true;
    }

    /// A node's key was deleted, and this version was the last.
    pub(crate) fn key_deleted(&mut self, node: String, lease: i64, last: i64) {
        self.observer.deleted(node, lease, last);
    }

    /// Nothing may be taken before contact has lasted for a ttl once more.
    pub(crate) fn lose_contact(&mut self) {
        self.contact.clear();
    }

    /// Everything seen before counts for nothing: an operator has accepted this etcd.
    pub(crate) fn start_over(&mut self, view: View) {
        self.observer.clear();
        self.contact.clear();
        self.view = view;
        self.viewed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::default().plus(Duration::from_secs(seconds))
    }

    fn facts() -> Facts {
        let timing = Timing::new(Duration::from_secs(10), 0.01, None, Duration::from_secs(1));
        let me = Identity {
            name: "a".to_owned(),
            machine: String::new(),
            boot: String::new(),
            version: String::new(),
            address: String::new(),
            priority: 1,
        };
        Facts::new(me, "c", timing)
    }

    #[test]
    fn only_a_read_of_the_trusted_etcd_is_contact() {
        let mut facts = facts();
        facts.pass_to(at(1));
        facts.watch_strange(View::default(), Duration::ZERO, true);
        assert!(facts.is_viewed() && facts.contact().age(at(1)).is_none());
        facts.learn(at(0), View::default(), Duration::ZERO);
        assert_eq!(facts.contact().age(at(1)), Some(Duration::from_secs(1)));
        facts.lose_contact();
        assert!(facts.contact().age(at(1)).is_none() && facts.is_viewed());
        facts.arrive();
        assert!(!facts.is_viewed());
    }
}
