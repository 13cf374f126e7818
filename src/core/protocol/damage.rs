//! Keys of etcd that can't be read: each is told by its name with what to do about it, the last good value holds where there
//! is one, and nothing is left of it once the key is sound again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::Action;
use crate::node::Node;
use crate::protocol::bounds::{Fault, PROMISE_MAX_MS};
use crate::protocol::records::{View, json};
use crate::snapshot::code::Code;
use crate::text;

/// What is read with every beat may take so much before somebody should look. A full cluster has less than a tenth of it, and
/// beats end at [`READ_MAX`].
pub const READ_ALARM: usize = 1 << 20;
/// The largest answer that the etcd adapter takes.
pub const READ_MAX: usize = 16 << 20;
const SENTENCE_MAX: usize = 1000;

/// What is wrong with keys of etcd, as told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Damage {
    /// Keys that etcd does not clear away.
    suspected: BTreeSet<String>,
    /// Each key that can't be read, with its sentence.
    keys: BTreeMap<String, String>,
    /// The configuration is among them: the last good one holds, but for a beat that was not seen.
    config: bool,
    /// More lies under what is read with every beat than should.
    crowded: bool,
}

impl Damage {
    /// Whether the configuration can't be read.
    pub(crate) fn of_config(&self) -> bool {
        self.config
    }

    /// What is wrong with each key that can't be read.
    pub(crate) fn sentences(&self) -> &BTreeMap<String, String> {
        &self.keys
    }

    /// Keys that etcd does not clear away, each with its sentence: gives those that are news.
    pub(crate) fn suspect(&mut self, found: Vec<(String, String)>) -> Vec<String> {
        self.suspected
            .retain(|path| found.iter().any(|(suspect, _)| suspect == path));
        let news = found
            .into_iter()
            .filter(|(path, _)| self.suspected.insert(path.clone()));
        news.map(|(_, text)| text).collect()
    }
}

impl Node {
    /// Puts the last good value in the place of one that can't be read, where nothing may be concluded from its absence.
    pub(crate) fn with_last_good(&mut self, mut view: View) -> View {
        let of_config = view.unreadable.contains_key(&self.facts.keys().config());
        self.facts.damage_mut().config = of_config;
        if of_config {
            view.config = self
                .facts
                .view()
                .config
                .or_else(|| self.trust.config(self.facts.timing().ttl));
        }
        for (name, keys) in &mut view.groups {
            if view.unreadable.contains_key(&self.facts.keys().store(name)) {
                keys.store = self.facts.view().groups.get(name).and_then(|keys| keys.store.clone());
            }
        }
        view
    }

    /// While the configuration can't be read nobody knows what beats promised that were not seen: the longest there is.
    pub(crate) fn unseen_promise(&self, known: Duration) -> Duration {
        match self.facts.damage().config {
            true => known.max(Duration::from_millis(PROMISE_MAX_MS)),
            false => known,
        }
    }

    /// Tells of every key that can't be read, or can be again.
    pub(crate) fn tell_damage(&mut self, out: &mut Vec<Action>) {
        let found = self.facts.view().unreadable.iter();
        let found = found.map(|(key, fault)| (key.clone(), self.sentence(key, fault)));
        let found = found.collect();
        let before = std::mem::replace(&mut self.facts.damage_mut().keys, found);
        let now = self.facts.damage().keys.clone();
        for key in before.keys().filter(|key| !now.contains_key(*key)) {
            let text = plain(&text::damage::mended(key));
            self.mention(Code::KeyMended, text, out);
        }
        for (key, text) in now.iter().filter(|(key, text)| before.get(*key) != Some(text)) {
            if !self.is_holders_own(key) {
                self.mention(Code::KeyUnreadable, text.clone(), out);
            }
        }
        self.tell_size(out);
    }

    /// Its holder tells of a record that can't be read in its own words.
    fn is_holders_own(&self, key: &str) -> bool {
        let held = self.groups.iter().filter(|(_, group)| group.is_held());
        held.map(|(name, _)| self.facts.keys().record(name))
            .any(|record| record == key)
    }

    /// What is wrong with the key, and what to do.
    fn sentence(&self, key: &str, fault: &Fault) -> String {
        let advice = match self.facts.keys().parts(key).unwrap_or_default().as_slice() {
            ["config"] => self.config_advice(),
            ["nodes", node] => text::damage::node(node),
            ["status", node] => text::damage::status(node),
            ["status", node, "drained"] => text::damage::drained(node),
            ["status", node, "known" | "voter"] => text::damage::known(node),
            ["groups", group, "record"] => text::damage::record(group),
            ["groups", group, "intent"] => text::damage::intent(group),
            ["groups", group, "store"] => self.store_advice(group),
            ["groups", group, "policy"] => text::damage::policy(group),
            ["groups", group, "stopped"] => text::damage::stopped(group),
            ["groups", group, "paused"] => text::damage::paused(group),
            ["groups", group, "deleted"] => text::damage::deleted(group),
            ["groups", group, "without", node] => text::damage::not_extended(group, node),
            _ => text::damage::DELETE_IT.to_owned(),
        };
        plain(&text::damage::unreadable(key, fault, &advice))
    }

    fn config_advice(&self) -> String {
        match self.facts.view().config {
            Some(config) => text::damage::config(config.ttl(), &json(&config)),
            None => text::damage::NO_CONFIG.to_owned(),
        }
    }

    fn store_advice(&self, group: &str) -> String {
        match self.facts.view().groups.get(group).and_then(|keys| keys.store.as_ref()) {
            Some(store) => text::damage::store(&json(store)),
            None => text::damage::no_store(group),
        }
    }

    /// Why the storage of a group is not known.
    pub(crate) fn no_store(&self, name: &str) -> Option<String> {
        let keys = self.facts.view().groups.get(name);
        if keys.is_some_and(|keys| keys.store.is_some()) {
            return None;
        }
        let told = self.facts.damage().keys.get(&self.facts.keys().store(name)).cloned();
        Some(told.unwrap_or_else(|| text::damage::not_initialised(name)))
    }

    /// Why nothing is known of who holds the group.
    pub(crate) fn no_record(&self, name: &str) -> Option<String> {
        self.facts.damage().keys.get(&self.facts.keys().record(name)).cloned()
    }

    /// Whether what etcd shows of this node is not what it published: somebody else wrote there.
    pub(crate) fn mend_own_status(&mut self) {
        let Some(settled) = self.membership.settled_status() else {
            return;
        };
        let told = self.facts.view().statuses.get(&self.facts.me().name);
        let same = told.is_some_and(|told| json(told) == settled);
        if !same && self.membership.is_joined() {
            self.membership.forget_status();
        }
    }

    /// Beats end where more is read with each than an answer may hold.
    fn tell_size(&mut self, out: &mut Vec<Action>) {
        let crowded = self.facts.view().bytes > READ_ALARM;
        if crowded == std::mem::replace(&mut self.facts.damage_mut().crowded, crowded) {
            return;
        }
        let (bytes, prefix) = (self.facts.view().bytes >> 10, self.facts.keys().prefix());
        let (key, largest) = self.facts.view().largest.clone().unwrap_or_default();
        match crowded {
            true => {
                let text = text::damage::crowded(bytes, prefix, READ_MAX >> 10, (&key, largest >> 10));
                self.mention(Code::EtcdCrowded, plain(&text), out);
            }
            false => {
                let text = text::damage::not_crowded(bytes, prefix);
                self.mention(Code::EtcdCrowdedOver, text, out);
            }
        }
    }
}

/// A key may be named in letters that a terminal obeys, and at any length.
fn plain(text: &str) -> String {
    let letters = text.chars().take(SENTENCE_MAX);
    letters
        .map(|letter| if letter.is_control() { '?' } else { letter })
        .collect()
}
