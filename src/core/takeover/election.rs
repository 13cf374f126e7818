//! Who may hold a group: the transactions T3 to T8 of the protocol, each with all that it compares.

use std::time::Duration;

use crate::event::Action;
use crate::group::{AfterStop, Holding, Stage, StartCause};
use crate::membership::{LastBeat, Purpose, WriteKind};
use crate::node::Node;
use crate::protocol::image::ImageId;
use crate::protocol::records::{GroupKeys, Intent, NodeStatus, Readiness, Record, RecordState, Trouble, json};
use crate::protocol::{AsRead, Beside, Release, Winner};
use crate::store::Txn;
use crate::takeover::{Sequel, Turn, TurnWait, sequel};
use crate::text;
use crate::time::Time;

/// Between the campaigns of two standbys of neighbouring rank, at most: nothing but a lost campaign depends on it.
const RANK_STEP: Duration = Duration::from_millis(300);
/// How long the others leave a vacancy to a named successor.
const SUCCESSOR_START: Duration = Duration::from_secs(3);
/// How long a node whose last look at the storage failed leaves a vacancy to the others, and to its next look.
const SUSPECT_START: Duration = Duration::from_secs(3);

/// Whether and when this node may take a group.
pub(crate) enum Claim {
    Now(Txn),
    /// T10 first: its holder is fenced.
    Free(Txn),
    At(Time),
    No(String),
}

impl Node {
    /// T7, or T6 where the same holder may start again: for a group that is proved stopped.
    pub(crate) fn released(&mut self, now: Time, lease: i64) -> Option<(Txn, Purpose)> {
        let contact = self.contact_holds();
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let stopped = |held: &&Holding| held.stage == Stage::Stopped && held.lease == lease;
            if self.groups.get(&name)?.held().filter(stopped).is_none() {
                continue;
            }
            let other_ready = self.has_successor(&name);
            let keys = self.facts.view().group(&name);
            if keys.unreadable() || self.membership.put_off(now, &WriteKind::Release(name.clone())) {
                continue;
            }
            // Whoever a switchover named, if its stop was cut short.
            let wanted = match &keys.intent {
                Some((Intent::Switchover { to, .. }, _)) => to.as_deref(),
                Some((Intent::Apply { .. } | Intent::Refused { .. }, _)) | None => None,
            };
            let wanted = wanted.and_then(|wanted| self.successor(&name, Some(wanted)));
            let group = self.groups.get_mut(&name)?;
            let Some(held) = group.held().filter(stopped) else {
                continue;
            };
            // A restart in place mounts the same again, on this host: it needs no proof of the unmount.
            assert!(
                held.after == AfterStop::Restart || held.proved_stopped(),
                "a group is released only when its stop is proved"
            );
            let sequel = sequel(&held.after, other_ready, wanted);
            let own = keys
                .active()
                .filter(|record| record.incarnation == lease && record.epoch == held.run.epoch);
            let again = match (sequel, own) {
                (Sequel::Stays, _) => continue,
                (Sequel::Over, _) | (Sequel::StartsAgain(_) | Sequel::Released(..), None) => {
                    group.lay_down();
                    continue;
                }
                (Sequel::StartsAgain(again), Some(_)) => again,
                (Sequel::Released(cause, reason, named), Some(record)) => {
                    // It was chosen before the stop, which may have had to wait for etcd since.
                    let successor = named
                        .and_then(|named| self.successor(&name, Some(&named)))
                        .or_else(|| self.successor(&name, None))
                        .filter(|_| keys.stopped.is_none() && keys.deleted.is_none());
                    let release = Release {
                        cause,
                        reason,
                        successor,
                        past: self.past_of_release(&name, keys),
                    };
                    let txn = Txn::release(self.facts.keys(), self.as_read(&name), record, release);
                    return Some((txn, Purpose::Release { group: name }));
                }
            };
            // T6: its validity ran out, so it needs contact like any other candidate.
            let put_off = self.membership.put_off(now, &WriteKind::Campaign(name.clone()));
            if contact && !put_off && self.forbidden(&name).is_none() && self.barred(&name).is_none() {
                let winner = self.winner(keys, lease, again);
                let txn = Txn::start_again(self.facts.keys(), self.as_read(&name), winner);
                return Some((txn, Purpose::campaign(name)));
            }
        }
        None
    }

    /// T8: the record of a lost incarnation, once its containers are proved stopped.
    pub(crate) fn released_lost(&mut self, lease: i64) -> Option<(Txn, Purpose)> {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            if self
                .membership
                .put_off(self.facts.now(), &WriteKind::Release(name.clone()))
            {
                continue;
            }
            let keys = self.facts.view().group(&name);
            let group = self.groups.get_mut(&name)?;
            let Some(held) = group.held().filter(|held| held.stage == Stage::Stopped) else {
                continue;
            };
            assert!(
                held.proved_stopped(),
                "a group is released only when its stop is proved"
            );
            let own = keys
                .active()
                .filter(|record| record.incarnation == lease && record.epoch == held.run.epoch);
            let Some(record) = own else {
                group.lay_down();
                continue;
            };
            let txn = Txn::release_lost(self.facts.keys(), self.as_read(&name), record);
            return Some((txn, Purpose::ReleaseLost { group: name }));
        }
        None
    }

    /// A group's keys as they are known now.
    pub(crate) fn as_read<'a>(&'a self, group: &'a str) -> AsRead<'a> {
        let keys = self.facts.view().group(group);
        AsRead { group, keys }
    }

    fn winner<'a>(&'a self, keys: &GroupKeys, lease: i64, reason: &'a str) -> Winner<'a> {
        Winner {
            node: &self.facts.me().name,
            lease,
            reason,
            past: self.inherited(keys, lease),
            kept: self.kept_list(),
        }
    }

    /// Rewrites each active record of this incarnation that says something else about a long promise: with the long beat
    /// of a hold, and with a beat after its end. Whoever finds the key gone and never saw that beat waits for the record's.
    /// What is remembered of earlier moves goes the same way, once it is over, and so does the list of promises. With it, how many
    /// records did not fit in.
    pub(crate) fn promise_in_records(&self, lease: i64, promise: Option<Duration>) -> (Txn, usize) {
        let promise_ms = promise.map(|promise| u64::try_from(promise.as_millis()).unwrap_or(u64::MAX));
        let kept = self.kept_list();
        let changed = self.facts.view().groups.iter().filter_map(|(name, keys)| {
            let record = keys.active().filter(|record| record.incarnation == lease)?;
            let past = self.settled(name, record);
            let is_news = record.promise_ms != promise_ms || past.is_some() || record.kept != kept;
            is_news.then(|| {
                let changed = Record {
                    promise_ms,
                    kept: kept.clone(),
                    past: past.unwrap_or_else(|| record.past.clone()),
                    ..record.clone()
                };
                (self.as_read(name), changed)
            })
        });
        Txn::beat_with_records(self.facts.keys(), changed)
    }

    /// The first group that this node may take now.
    pub(crate) fn campaign(&mut self, now: Time, lease: i64) -> Option<(Txn, Purpose)> {
        if self.membership.ending().is_told() {
            return None;
        }
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            if self.groups.get(&name).is_some_and(|group| group.is_held()) {
                self.takeover.end(&name);
                continue;
            }
            if self.membership.put_off(now, &WriteKind::Campaign(name.clone())) {
                self.takeover
                    .wait_because(&name, text::takeover::ETCD_REFUSED.to_owned());
                continue;
            }
            let claim = self.claim(now, &name, lease);
            if matches!(claim, Claim::Now(_) | Claim::Free(_)) {
                let record = self.facts.view().group(&name).active();
                let from = record.map(|record| record.incarnation);
                self.promises.note_taking(from);
            }
            match claim {
                Claim::Now(txn) => {
                    let keys = self.facts.view().group(&name);
                    let taking = StartCause::after(keys.record.as_ref());
                    let before = self.image_before(&name, keys.record.as_ref());
                    if let Some(group) = self.groups.get_mut(&name) {
                        group.campaign(taking, before);
                    }
                    let ends = self.ended_by_campaign(keys);
                    return Some((txn, Purpose::Campaign { group: name, ends }));
                }
                Claim::Free(txn) => return Some((txn, Purpose::Free { group: name })),
                Claim::At(at) => {
                    self.takeover.wait_until(&name, at);
                }
                Claim::No(why) => {
                    self.takeover.wait_because(&name, why);
                }
            }
        }
        None
    }

    /// The incarnation whose key a T4 deletes, and the beat that it compares.
    fn ended_by_campaign(&self, keys: &GroupKeys) -> Option<LastBeat> {
        let record = keys.active()?;
        let (node, lease) = (record.node.clone(), record.incarnation);
        let revision = self.facts.observer().beat_of(&node, lease)?;
        Some(LastBeat { node, lease, revision })
    }

    fn claim(&mut self, now: Time, name: &str, lease: i64) -> Claim {
        let keys = self.facts.view().group(name).clone();
        let vacancy = self.vacancy(now, name, &keys);
        if let Some(why) = self.forbidden(name).or_else(|| self.barred(name)) {
            return Claim::No(why);
        }
        let contact = self.contact_holds_at(now);
        let turn = Turn {
            vacant_at: *vacancy
                .as_ref()
                .unwrap_or(&self.takeover.first_seen(name).unwrap_or(now)),
            contact_at: self.facts.contact().ready_at(self.contact_needed()),
            later: self.came_back_start(now, &keys) + self.suspect_start(name),
            step: self.rank_step(RANK_STEP.min(self.facts.timing().ttl / 10), &keys),
            rank: self.rank(now, name, &keys),
        };
        if let Err(why) = vacancy {
            let freed = contact.then(|| self.claim_stuck(now, &keys, turn.at())).flatten();
            return freed.unwrap_or(Claim::No(why));
        }
        match turn.wait(now, contact) {
            Some(TurnWait::NoContact) => return Claim::No(text::takeover::NO_CONTACT.to_owned()),
            Some(TurnWait::Until(at)) => return Claim::At(self.inquire(now, &keys, at).unwrap_or(at)),
            None => {}
        }
        if let Some(at) = self.after_accept(now, &keys) {
            return Claim::At(at);
        }
        let Some(txn) = self.claim_txn(now, name, &keys, lease) else {
            return Claim::No(text::takeover::NOT_SILENT_YET.to_owned());
        };
        if let Some(why) = self.word_awaited(now, name, &keys) {
            return Claim::No(why);
        }
        if let Some(at) = self.inquire(now, &keys, now) {
            return Claim::At(at);
        }
        self.fence_first(now, &keys).unwrap_or(Claim::Now(txn))
    }

    /// Since or from when the group can be taken by anyone, or why not.
    fn vacancy(&mut self, now: Time, name: &str, keys: &GroupKeys) -> Result<Time, String> {
        let first_seen = self.takeover.seen(name, keys.record_mod, now);
        if keys.record_mod == 0 {
            return Ok(first_seen);
        }
        let Some(record) = &keys.record else {
            let why = self.no_record(name);
            return Err(why.unwrap_or_else(|| text::damage::RECORD_UNREADABLE.to_owned()));
        };
        match record.state {
            RecordState::Released => {
                let waits = record
                    .successor
                    .as_ref()
                    .is_some_and(|named| *named != self.facts.me().name);
                Ok(if waits {
                    first_seen.plus(SUCCESSOR_START)
                } else {
                    first_seen
                })
            }
            RecordState::Active => match &record.stuck {
                Some(why) => Err(text::stuck::on(&record.node, why)),
                None if record.kept.is_some() && !self.promises.has_vote() => Err(text::promises::NO_VOTE.to_owned()),
                None => self
                    .takeable_at(now, &record.node, record.incarnation)
                    .ok_or_else(|| text::takeover::held_by(&record.node)),
            },
        }
    }

    /// T3, T4 or T5 with all compares; `None` while the holder is not silent for long enough.
    fn claim_txn(&self, now: Time, name: &str, keys: &GroupKeys, lease: i64) -> Option<Txn> {
        let of = AsRead { group: name, keys };
        let Some(holder) = keys.active() else {
            let winner = self.winner(keys, lease, text::takeover::TAKEN_WHILE_FREE);
            return Some(Txn::take_free(self.facts.keys(), of, winner));
        };
        let (node, incarnation) = (holder.node.as_str(), holder.incarnation);
        if !self.takeable(now, node, incarnation) {
            return None;
        }
        let reason = text::membership::fell_silent(node);
        let winner = self.winner(keys, lease, &reason);
        Some(match self.facts.observer().beat_of(node, incarnation) {
            // The key is gone or belongs to another incarnation.
            None => Txn::take_gone(self.facts.keys(), of, winner, (node, incarnation)),
            Some(beat) => {
                let others = self.beside(name, node, incarnation);
                Txn::take_silent(self.facts.keys(), of, winner, (node, beat), others)
            }
        })
    }

    /// The other groups of the incarnation that a T4 ends, as far as this node knows their policy. Silence frees no record that is
    /// marked stuck, or waits for a person's word.
    fn beside<'a>(&'a self, name: &'a str, node: &'a str, incarnation: i64) -> impl Iterator<Item = Beside<'a>> {
        // One that left the file tells nothing of its policy any more.
        let known = self.groups.iter().filter(|(_, group)| !group.has_left());
        let others = known.filter(move |(other, _)| *other != name);
        others.filter_map(move |(other, _)| {
            let of = self.as_read(other);
            let same = |record: &&Record| record.node == node && record.incarnation == incarnation;
            let record = of.keys.active().filter(same)?;
            let freed = record.stuck.is_none() && !self.needs_word(other, record);
            Some(Beside { of, record, freed })
        })
    }

    /// The place of this node among the ready and living candidates; 0 campaigns at once.
    pub(crate) fn rank(&self, now: Time, name: &str, keys: &GroupKeys) -> u32 {
        let named = keys.record.as_ref().and_then(|record| record.successor.as_ref());
        if named.is_some_and(|named| *named == self.facts.me().name) {
            return 0;
        }
        let cooling = self.groups.get(name).is_some_and(|group| group.cools(now))
            || self.failing(name)
            || self.unseen(name).is_some()
            || self.stuck_here().is_some();
        let holder = keys.active().map(|record| record.node.as_str());
        let own = self.has_image_of(holder, &self.facts.me().name, name);
        let before = self.facts.view().statuses.iter().filter(|(node, status)| {
            let candidate = **node != self.facts.me().name && Some(node.as_str()) != holder;
            let first = match (self.has_image_of(holder, node, name), own) {
                // Nobody has ordered an update, or its withdrawal, with the crash.
                (true, false) => true,
                (false, true) => cooling,
                (true, true) | (false, false) => {
                    let me = self.facts.me().name.as_str();
                    cooling || (self.priority(name, node), node.as_str()) < (self.priority(name, me), me)
                }
            };
            candidate && first && self.alive_and_ready(now, name, node, status)
        });
        u32::try_from(before.count()).unwrap_or(u32::MAX)
    }

    /// A node's place in the order of a group: what is set for it, else what it says itself. Ranks and moves that nobody needs
    /// rest on it, never who may hold a group.
    pub(crate) fn priority(&self, group: &str, node: &str) -> u32 {
        let view = self.facts.view();
        let own = || match node == self.facts.me().name {
            true => Some(self.facts.me().priority),
            false => view.statuses.get(node).map(|status| status.priority),
        };
        let set = view.group(group).policy.priority(node);
        set.or_else(own).unwrap_or(u32::MAX)
    }

    pub(crate) fn alive_and_ready(&self, now: Time, group: &str, node: &str, status: &NodeStatus) -> bool {
        let lease = self.facts.view().lease_of(node);
        // An order counts from when it is read, not from when its node has published what follows from it.
        let extended = self
            .facts
            .view()
            .groups
            .get(group)
            .is_none_or(|keys| !keys.excluded.contains_key(node));
        let living = lease != 0 && !self.facts.observer().ripe(now, node, lease);
        extended && living && status.groups.get(group).is_some_and(|ready| ready.ready)
    }

    /// The best living standby that is ready for the group, first of those with the image of this node, or `wanted` if it is one.
    /// Without a word of etcd there is none: nobody could be told that the group is free, and who was ready may not live.
    pub(crate) fn successor(&self, group: &str, wanted: Option<&str>) -> Option<String> {
        self.best_standby(group, |node, _| wanted.is_none_or(|wanted| wanted == node))
    }

    /// The same of those that know their own certificates to be good.
    fn certified(&self, group: &str) -> Option<String> {
        self.best_standby(group, |_, ready| ready.certified)
    }

    /// Whether there is any.
    pub(crate) fn has_successor(&self, group: &str) -> bool {
        self.standbys(group).next().is_some()
    }

    fn best_standby(&self, group: &str, fits: impl Fn(&str, &Readiness) -> bool) -> Option<String> {
        let me = self.facts.me().name.as_str();
        self.standbys(group)
            .filter(|(node, ready)| fits(node, ready))
            .min_by_key(|(node, ..)| {
                (
                    !self.has_image_of(Some(me), node, group),
                    self.priority(group, node),
                    *node,
                )
            })
            .map(|(node, ..)| node.to_owned())
    }

    fn standbys<'a>(&'a self, group: &'a str) -> impl Iterator<Item = (&'a str, &'a Readiness)> {
        let (now, is_fresh) = (self.facts.now(), self.facts.is_fresh());
        let all = self.facts.view().statuses.iter().filter(move |_| is_fresh);
        all.filter_map(move |(node, status)| {
            let ready = status.groups.get(group).filter(|ready| ready.why.is_empty())?;
            let is_other = *node != self.facts.me().name && self.alive_and_ready(now, group, node, status);
            is_other.then_some((node.as_str(), ready))
        })
    }

    /// Why nobody should hand the group over to this node, as far as it is known here.
    pub(crate) fn unready(&self, name: &str) -> Option<String> {
        self.obstacle(name, false).or_else(|| self.unseen(name))
    }

    /// Why this node may not take the group now. What it did not find on the storage a moment ago may be there by now, and the
    /// gate looks anew: with that it may take it, after everybody else.
    pub(crate) fn barred(&self, name: &str) -> Option<String> {
        self.obstacle(name, self.stays_for_want_of_another(name))
    }

    /// `stays`: whatever an operator said of this node and the group.
    fn obstacle(&self, name: &str, stays: bool) -> Option<String> {
        let group = self.groups.get(name)?;
        if let Some(why) = group.not_in_file() {
            return Some(why);
        }
        if let Some(claim) = self.claim_above(name) {
            let epoch = self
                .facts
                .view()
                .group(name)
                .record
                .as_ref()
                .map_or(0, |record| record.epoch);
            return Some(text::stuck::claimed(name, claim, epoch));
        }
        let unextended = || self.unextended(name, &self.facts.me().name).filter(|_| !stays);
        if let Some(why) = self.deleted(name).or_else(unextended) {
            return Some(why);
        }
        if let Some(why) = self.no_store(name) {
            return Some(why);
        }
        if let Some(why) = self.host.engine_failure() {
            return Some(text::host::engine_silent(why));
        }
        if let Some(why) = self.host.watchdog().imminent_reset() {
            return Some(why);
        }
        if !self.host.has_link() && group.settings().vips > 0 {
            return Some(text::address::NO_LINK.to_owned());
        }
        let unfit = || group.unfit();
        let drained = || self.drained().filter(|_| !stays);
        group.unprepared().or_else(unfit).or_else(drained)
    }

    /// A node that shall hold nothing keeps a group all the same while nobody else is ready for it. So it takes it up again after
    /// an outage: what it held until then, and lost by nobody's order.
    fn stays_for_want_of_another(&self, name: &str) -> bool {
        let Some(group) = self.groups.get(name) else {
            return false;
        };
        let keys = self.facts.view().group(name);
        let lost = |epoch| {
            let free = |record: &&Record| record.state == RecordState::Released && record.successor.is_none();
            let left = keys.record.as_ref().filter(free);
            left.is_some_and(|record| record.node == self.facts.me().name && record.epoch >= epoch)
        };
        let own = group.is_held() || group.lost().is_some_and(lost);
        let mut others = self
            .facts
            .view()
            .statuses
            .iter()
            .filter(|(node, _)| **node != self.facts.me().name);
        own && !others.any(|(node, status)| self.alive_and_ready(self.facts.now(), name, node, status))
    }

    /// What the last look at the storage did not find there.
    fn unseen(&self, name: &str) -> Option<String> {
        self.groups.get(name)?.unseen()
    }

    /// Further time for another look, before a node takes what it could not see when it looked last.
    fn suspect_start(&self, name: &str) -> Duration {
        self.unseen(name).map_or(Duration::ZERO, |_| SUSPECT_START)
    }

    /// The service failed here several times: nobody hands it over to this node, and every other one goes first.
    fn failing(&self, name: &str) -> bool {
        self.groups.get(name).is_some_and(|group| group.fails(self.facts.now()))
    }

    pub(crate) fn contact_holds(&self) -> bool {
        self.contact_holds_at(self.facts.now())
    }

    pub(crate) fn contact_holds_at(&self, now: Time) -> bool {
        self.facts
            .contact()
            .holds(now, self.contact_needed(), self.facts.timing().contact_gap())
    }

    /// How long contact must have lasted before anything is taken.
    pub(crate) fn contact_needed(&self) -> Duration {
        self.waiting().max(self.facts.timing().contact_least())
    }

    /// What this node publishes, when it has changed.
    pub(crate) fn publish_in(&mut self, lease: i64, txn: &mut Txn) {
        let value = json(&self.published_status());
        if self.membership.offer_status(&value) {
            txn.and_status(self.facts.keys(), &self.facts.me().name, lease, value);
        }
    }

    /// Why nobody should hand the group over to this node.
    pub(crate) fn not_a_successor(&self, name: &str) -> Option<String> {
        let failed = || Some(self.groups.get(name)?.failed_here().to_owned());
        let failing = || failed().filter(|_| self.failing(name));
        let ending = self
            .membership
            .ending()
            .is_told()
            .then(|| text::old::NODE_ENDING.to_owned());
        ending
            .or_else(|| self.unready(name))
            .or_else(failing)
            .or_else(|| self.other_addresses(name))
            .or_else(|| self.unhealthy_reason())
    }

    fn published_status(&self) -> NodeStatus {
        let groups = self.groups.iter().filter(|(_, group)| !group.has_left());
        let groups = groups.map(|(name, group)| {
            let unready = self.not_a_successor(name);
            let ready = unready.is_none();
            // Ready, and ranked as such, but nobody should hand over to it yet: it could not campaign at once.
            let new = (!self.contact_holds()).then(|| text::takeover::CONTACT_IS_YOUNG.to_owned());
            let why = unready.or(new).unwrap_or_default();
            let ImageId { digest: image, content } = group.image();
            let readiness = Readiness {
                ready,
                why,
                image,
                content,
                file: group.file().clone(),
                claim: self.claim_met(name),
                drift: group.drift().cloned(),
                trouble: group.trouble().map(Trouble::brief),
                used: group.used().map(str::to_owned),
                serves: group.serves(),
                opinion: group.opinion(),
                certified: group.has_good_certificates(self.facts.now()),
            };
            (name.clone(), readiness)
        });
        NodeStatus {
            version: self.facts.me().version.clone(),
            address: self.facts.me().address.clone(),
            priority: self.facts.me().priority,
            smallest_ttl_ms: self.host.smallest_ttl_ms(),
            groups: groups.collect(),
            clock: self.host.clock_doubt().unwrap_or_default().to_owned(),
            endpoints: self.host.endpoints().unwrap_or_default().to_owned(),
            ending: self.membership.ending().is_told(),
            votes: self.promises.has_vote(),
            heeds_policy: true,
            mac: self.host.mac().to_owned(),
        }
    }

    pub(crate) fn step_groups(&mut self, now: Time, out: &mut Vec<Action>) {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let context = self.context(now, &name);
            let known_faults = self.known_faults(&name);
            let certified = self.certified(&name);
            if let Some(group) = self.groups.get_mut(&name) {
                group.step(context, known_faults, certified, out);
            }
        }
    }
}
