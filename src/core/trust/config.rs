//! The cluster's ttl, and how it changes while everything runs.
//!
//! A beat carries its own promise: its holder counts by that, and so does whoever saw it, whatever the ttl is by now. So
//! a node takes a new ttl for its next beats and nothing else. What remains are waits for beats that were *not* seen:
//! an incarnation whose key is gone, and contact. They take the longest ttl that may be in force. A node beats with a
//! ttl only once it has read it, so whoever reads that a key is gone reads the ttl of its last beat, too, or, after a ttl
//! has shrunk, the longer one that stands beside it until every key carries a beat of the new one.

use std::time::Duration;

use crate::event::{Action, PromisesWanted};
use crate::membership::Purpose;
use crate::node::Node;
use crate::protocol::records::{Beat, ClusterConfig};
use crate::protocol::secret::Promised;
use crate::requests::refusal::Refusal;
use crate::snapshot::code::Code;
use crate::store::Txn;
use crate::text;
use crate::time::Time;

impl Node {
    /// How long to wait for a beat that was not seen, and in contact.
    pub(crate) fn waiting(&self) -> Duration {
        self.unseen_promise(self.trust.longest(self.facts.timing().ttl))
    }

    /// A restored etcd may know a shorter ttl only, and so does a node that was away when it grew and trusts what it reads:
    /// it waits the shorter one from after the restore, hence from after this node's last answered beat. A hold is none of
    /// this: it is known open that a restore forgets one.
    pub(crate) fn shorten_to_known_ttl(&mut self, out: &mut Vec<Action>) {
        let known = self.facts.view().config.map(|config| config.longest());
        if let (Some(known), Some((stamp, promise))) = (known, self.membership.exchange().proof())
            && known < promise
            && promise <= self.waiting()
            && !self.facts.damage().of_config()
        {
            self.shorten(stamp, known, out);
        }
    }

    /// The ttl in etcd is everybody's; a file that says otherwise is reported, not obeyed.
    pub(crate) fn adopt_config(&mut self, out: &mut Vec<Action>) {
        let Some(config) = self.facts.view().config else { return };
        let (ttl, before) = (config.ttl(), self.facts.timing().ttl);
        let timing = self.facts.timing().with_ttl(ttl);
        if timing.check().is_ok() && !self.facts.damage().of_config() {
            self.thaw(ttl, out);
        }
        let first = self.trust.adopt_ttl();
        if ttl == before || self.membership.is_frozen() {
            return;
        }
        let (code, text) = match first {
            true => {
                let text = text::ttl::differs(before, ttl);
                (Code::TtlDiffers, text)
            }
            false => {
                let text = text::ttl::changed(ttl, before);
                (Code::TtlChanged, text)
            }
        };
        self.say(code, text, out);
        if let Err(short) = timing.check() {
            let why = short.to_string();
            let text = text::ttl::unusable(&short);
            let before = Some(Box::new(self.membership.place().clone()));
            return self.stand_still(Code::TtlUnusable, text, why, before, out);
        }
        if timing.attempt != self.facts.timing().attempt {
            out.push(Action::Attempt(timing.attempt));
        }
        self.facts.take_timing(timing);
    }

    /// The configuration that could not be kept here, or was deleted, is one again that can: this node goes on from where it
    /// stood, as after a pause in which it did not beat. Its key says whether it still has its place, and its groups have
    /// obeyed their deadlines meanwhile.
    fn thaw(&mut self, ttl: Duration, out: &mut Vec<Action>) {
        if !self.membership.thaw() {
            return;
        }
        let text = text::ttl::usable(ttl);
        self.say(Code::TtlUsable, text, out);
    }

    /// Nobody waits for an earlier, longer ttl once every node has beaten with the new one, and time has passed in which
    /// whatever nobody sees any more has ended.
    pub(crate) fn settle_config(&mut self, now: Time, out: &mut Vec<Action>) {
        let settled = |config: &ClusterConfig| config.longest_ms.is_none() && !self.facts.damage().of_config();
        let Some(config) = self.facts.view().config.filter(settled) else {
            return;
        };
        let ttl = config.ttl();
        let Some(before) = self.trust.would_settle(ttl) else {
            return;
        };
        if self.all_beat_with(now, ttl) && self.contact_holds_at(now) {
            self.trust.settle(ttl);
            let text = text::ttl::confirmed(ttl, before);
            self.mention(Code::TtlConfirmed, text, out);
        }
    }

    /// The same for everybody, with a beat; it is the first node's task, so that beats do not fail for each other.
    pub(crate) fn settle_in(&self, now: Time, txn: &mut Txn) {
        let changing = |config: &ClusterConfig| config.longest_ms.is_some() && !self.facts.damage().of_config();
        let Some(config) = self.facts.view().config.filter(changing) else {
            return;
        };
        let first = self.facts.view().nodes.keys().next() == Some(&self.facts.me().name);
        if first && self.all_beat_with(now, config.ttl()) && self.contact_holds_at(now) {
            let settled = ClusterConfig {
                longest_ms: None,
                ..config
            };
            txn.and_config(self.facts.keys(), self.facts.view().config_mod, settled);
        }
    }

    /// Whether no incarnation that may hold anything can have been promised more: each key carries a beat that came after
    /// the configuration and promises no more than this, so none that was sent before can land any more; and a holder
    /// without a key, which can't beat any more, has been silent for as long as it takes.
    fn all_beat_with(&self, now: Time, ttl: Duration) -> bool {
        let within = |beat: &Beat| beat.promise() <= ttl;
        let beats = self.facts.view().nodes.values().all(|key| {
            let since = key.mod_revision > self.facts.view().config_mod;
            since && key.beat.as_ref().is_some_and(within)
        });
        beats
            && self.facts.view().groups.values().all(|keys| {
                let gone = |node: &str, lease| {
                    self.facts.view().lease_of(node) != lease && !self.facts.observer().ripe(now, node, lease)
                };
                let active = keys.active();
                !keys.unreadable() && active.is_none_or(|record| !gone(&record.node, record.incarnation))
            })
    }

    /// Why the cluster can't have this configuration.
    pub(crate) fn unfit(&self, ttl: Duration, promises: Option<PromisesWanted>) -> Option<Refusal> {
        self.unfit_ttl(ttl).or_else(|| self.unfit_promises(promises?))
    }

    /// Each node must be able to keep it.
    fn unfit_ttl(&self, ttl: Duration) -> Option<Refusal> {
        let stays = self.facts.timing().ttl;
        if let Err(short) = self.facts.timing().with_ttl(ttl).check() {
            let why = short.to_string();
            return Some(Refusal::TtlTooShort { why, stays });
        }
        self.facts.view().nodes.iter().find_map(|(name, key)| {
            let silent = self.facts.observer().ripe(self.facts.now(), name, key.lease);
            if silent || *name == self.facts.me().name {
                return None;
            }
            match self
                .facts
                .view()
                .statuses
                .get(name)
                .and_then(|status| status.smallest_ttl_ms)
            {
                None => Some(Refusal::TtlNotTold { node: name.clone() }),
                Some(smallest) => {
                    let least = Duration::from_millis(smallest);
                    let node = name.clone();
                    (least > ttl).then_some(Refusal::TtlTooShortFor {
                        node,
                        ttl,
                        least,
                        stays,
                    })
                }
            }
        })
    }

    /// What to answer where it is the cluster's already.
    pub(crate) fn configured(&self, ttl: Duration, promises: Option<PromisesWanted>) -> Option<String> {
        let config = self.facts.view().config.filter(|_| !self.facts.damage().of_config())?;
        let same = config.ttl() == ttl && config.with(wanted(&config, promises)) == config;
        same.then(|| text::orders::already::ttl(ttl))
    }

    /// One transaction that compares the configuration as read, so that of two operators one wins.
    pub(crate) fn configuration(
        &self,
        reply: u64,
        ttl: Duration,
        promises: Option<PromisesWanted>,
        out: &mut Vec<Action>,
    ) -> Option<(Txn, Purpose)> {
        let refused = self.unfit(ttl, promises);
        let Some(config) = self.facts.view().config.filter(|_| refused.is_none()) else {
            let result = Err(refused.unwrap_or(Refusal::NoConfiguration));
            out.push(Action::Reply { reply, result });
            return None;
        };
        let promised = wanted(&config, promises);
        let wanted = ClusterConfig::new(config.generation, ttl, self.waiting()).with(promised);
        let txn = Txn::change_ttl(self.facts.keys(), self.facts.view().config_mod, wanted);
        let news = (promised != config.promised()).then(|| text::promises::changed(promised.bound_ms));
        let done = match (news, ttl == config.ttl()) {
            (Some(news), true) => news,
            (Some(news), false) => format!("{}; {news}", text::orders::done::ttl_changed(ttl, config.ttl())),
            (None, _) => text::orders::done::ttl_changed(ttl, config.ttl()),
        };
        Some((txn, Purpose::Request { reply, done }))
    }
}

/// What the configuration is to say of promises. A secret that it has stays: nobody would hear the others while it changes.
fn wanted(config: &ClusterConfig, promises: Option<PromisesWanted>) -> Promised {
    let Some(PromisesWanted { bound, secret }) = promises else {
        return config.promised();
    };
    match bound {
        Some(bound) => Promised {
            bound_ms: Some(u64::try_from(bound.as_millis()).unwrap_or(u64::MAX)),
            secret: config.promises_secret.or(Some(secret)),
        },
        None => Promised::default(),
    }
}
