//! Who may hold a group: the transactions T3 to T8 of the protocol, each with all that it compares.

use std::time::Duration;

use super::event::Action;
use super::group::{After, Coming, Group, Stage, claimed};
use super::member::{Asked, LastBeat, Purpose};
use super::node::Node;
use super::protocol::{ReleaseCause, TxnKind};
use super::records::{GroupKeys, Intent, NodeStatus, Readiness, Record, RecordState, Trouble, json};
use super::release::{lost, plain, released};
use super::store::{Compare, Op, Txn};
use super::stuck::stuck_on;
use super::time::Time;

/// Between the campaigns of two standbys of neighbouring rank.
const RANK_STEP: Duration = Duration::from_millis(300);
/// How long the others leave a vacancy to a named successor.
const SUCCESSOR_START: Duration = Duration::from_secs(3);
/// How long a node whose last look at the storage failed leaves a vacancy to the others, and to its next look.
const SUSPECT_START: Duration = Duration::from_secs(3);

/// Whether and when this node may take a group.
pub(super) enum Claim {
    Now(Txn),
    /// T10 first: its holder is fenced.
    Free(Txn),
    At(Time),
    No(String),
}

impl Node {
    /// T7, or T6 where the same holder may start again: for a group that is proved stopped.
    pub(super) fn released(&mut self, now: Time, lease: i64) -> Option<(Txn, Purpose)> {
        let contact = self.contact_holds();
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let other_ready = self.successor(&name, None).is_some();
            let keys = self.view.group(&name);
            if keys.unreadable() || self.refusals.put_off(now, &Asked::Release(name.clone())) {
                continue;
            }
            // Whoever a switchover named, if its stop was cut short.
            let wanted = match &keys.intent {
                Some((Intent::Switchover { to, .. }, _)) => to.as_deref(),
                Some((Intent::Apply { .. } | Intent::Refused { .. }, _)) | None => None,
            };
            let wanted = wanted.and_then(|wanted| self.successor(&name, Some(wanted)));
            let group = self.groups.get_mut(&name)?;
            let Some(held) = group
                .held
                .as_mut()
                .filter(|held| held.stage == Stage::Stopped && held.lease == lease)
            else {
                continue;
            };
            // A restart in place mounts the same again, on this host: it needs no proof of the unmount.
            assert!(
                held.after == After::Restart || held.proved_stopped(),
                "a group is released only when its stop is proved"
            );
            let release = match held.after.clone() {
                After::Restart | After::Claimed => continue,
                After::Forget => {
                    group.held = None;
                    continue;
                }
                After::Release {
                    cause,
                    reason,
                    successor,
                } => Some((cause, reason, successor)),
                After::RanOut | After::Lost if other_ready => Some(plain(ReleaseCause::RanOut, None)),
                After::Interrupted if other_ready => Some(plain(ReleaseCause::Interrupted, wanted)),
                After::RanOut | After::Interrupted | After::Lost => None,
            };
            let epoch = held.run.epoch;
            let again = started_again(&held.after);
            let own = keys
                .active()
                .filter(|record| record.incarnation == lease && record.epoch == epoch);
            let Some(record) = own else {
                group.held = None;
                continue;
            };
            if let Some((cause, reason, named)) = release {
                let successor = named
                    .or_else(|| self.successor(&name, None))
                    .filter(|_| keys.stopped.is_none() && keys.deleted.is_none());
                let mut record = released(record, cause, reason, successor);
                record.past = self.past_of_release(&name, keys);
                let txn = self.record_txn(TxnKind::Release, &name, keys, &record);
                return Some((txn, Purpose::Release { group: name }));
            }
            // T6: its validity ran out, so it needs contact like any other candidate.
            let put_off = self.refusals.put_off(now, &Asked::Campaign(name.clone()));
            if contact && !put_off && self.forbidden(&name).is_none() && self.barred(&name).is_none() {
                let txn = self.record_txn(TxnKind::StartAgain, &name, keys, &self.won(keys, lease, again));
                return Some((txn, Purpose::campaign(name)));
            }
        }
        None
    }

    /// T8: the record of a lost incarnation, once its containers are proved stopped.
    pub(super) fn released_lost(&mut self, lease: i64) -> Option<(Txn, Purpose)> {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            if self.refusals.put_off(self.now, &Asked::Release(name.clone())) {
                continue;
            }
            let keys = self.view.group(&name);
            let group = self.groups.get_mut(&name)?;
            let Some(held) = group.held.as_ref().filter(|held| held.stage == Stage::Stopped) else {
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
                group.held = None;
                continue;
            };
            let record = lost(record, ReleaseCause::PlaceLost);
            let txn = self.record_txn(TxnKind::ReleaseLost, &name, keys, &record);
            return Some((txn, Purpose::ReleaseLost { group: name }));
        }
        None
    }

    /// Writes a group's record if it is still the one that was read; a fulfilled move leaves nothing behind.
    fn record_txn(&self, kind: TxnKind, name: &str, keys: &GroupKeys, record: &Record) -> Txn {
        let key = self.keys.record(name);
        let mut then = vec![Op::Put {
            key: key.clone(),
            value: json(record),
            lease: 0,
        }];
        match record.state {
            RecordState::Active => {
                let value = record.node.clone();
                then.push(Op::Put {
                    key: self.keys.leader(name),
                    value,
                    lease: record.incarnation,
                });
            }
            RecordState::Released => then.push(Op::Delete {
                key: self.keys.leader(name),
            }),
        }
        // One that can't be read is over with the next change, too.
        if keys.intent_mod != 0 {
            then.push(Op::Delete {
                key: self.keys.intent(name),
            });
        }
        Txn {
            kind,
            compare: vec![Compare::Mod {
                key,
                revision: keys.record_mod,
            }],
            then,
        }
    }

    fn won(&self, keys: &GroupKeys, lease: i64, reason: &str) -> Record {
        Record {
            epoch: keys.record.as_ref().map_or(1, |record| record.epoch + 1),
            node: self.me.name.clone(),
            incarnation: lease,
            state: RecordState::Active,
            reason: reason.to_owned(),
            cause: None,
            successor: None,
            stuck: None,
            promise_ms: None,
            past: self.inherited(keys, lease),
        }
    }

    /// Rewrites each active record of this incarnation that says something else about a long promise: with the long beat
    /// of a hold, and with a beat after its end. Whoever finds the key gone and never saw that beat waits for the record's.
    /// What is remembered of earlier moves goes the same way, once it is over. With it, how many records did not fit in.
    pub(super) fn promise_in_records(&self, lease: i64, promise: Option<Duration>) -> (Txn, usize) {
        let promise_ms = promise.map(|promise| u64::try_from(promise.as_millis()).unwrap_or(u64::MAX));
        let (mut txn, mut left) = (Txn::new(TxnKind::Beat), 0);
        for (name, keys) in &self.view.groups {
            let own = keys.active().filter(|record| record.incarnation == lease);
            let past = own.and_then(|record| self.settled(name, record));
            let Some(record) = own.filter(|record| record.promise_ms != promise_ms || past.is_some()) else {
                continue;
            };
            if !txn.has_room(1, 1) {
                left += 1;
                continue;
            }
            let key = self.keys.record(name);
            let value = json(&Record {
                promise_ms,
                past: past.unwrap_or_else(|| record.past.clone()),
                ..record.clone()
            });
            txn.compare.push(Compare::Mod {
                key: key.clone(),
                revision: keys.record_mod,
            });
            txn.then.push(Op::Put { key, value, lease: 0 });
        }
        (txn, left)
    }

    /// The first group that this node may take now.
    pub(super) fn campaign(&mut self, now: Time, lease: i64) -> Option<(Txn, Purpose)> {
        if self.ending {
            return None;
        }
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            if self.groups.get(&name).is_some_and(|group| group.held.is_some()) {
                self.takeover.end(&name);
                continue;
            }
            if self.refusals.put_off(now, &Asked::Campaign(name.clone())) {
                self.takeover
                    .wait_because(&name, "etcd refused it: see the log".to_owned());
                continue;
            }
            match self.claim(now, &name, lease) {
                Claim::Now(txn) => {
                    let keys = self.view.group(&name);
                    let taking = Coming::after(keys.record.as_ref());
                    if let Some(group) = self.groups.get_mut(&name) {
                        group.taking = taking;
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
        let revision = self.observer.beat_of(&node, lease)?;
        Some(LastBeat { node, lease, revision })
    }

    fn claim(&mut self, now: Time, name: &str, lease: i64) -> Claim {
        let keys = self.view.group(name).clone();
        let vacancy = self.vacancy(now, name, &keys);
        if let Some(why) = self.forbidden(name).or_else(|| self.barred(name)) {
            return Claim::No(why);
        }
        let contact_at = self.contact.ready_at(self.waiting());
        let step = self.rank_step(RANK_STEP, &keys);
        // Ranks count from when everybody could: after a first start that is the contact, not the vacancy.
        let ranked = |node: &Self, at: Time| {
            let from = contact_at.filter(|contact| contact.awake() > at.awake()).unwrap_or(at);
            let later = node.came_back_start(now, &keys) + node.suspect_start(name);
            from.plus(later + step * node.rank(now, name, &keys))
        };
        let contact = self.contact_holds_at(now);
        let at = match vacancy {
            Ok(at) => at,
            Err(why) => {
                let marked = self.takeover.first_seen(name).unwrap_or(now);
                let at = ranked(self, marked);
                let freed = contact.then(|| self.claim_stuck(now, &keys, at)).flatten();
                return freed.unwrap_or(Claim::No(why));
            }
        };
        if !contact {
            return contact_at.map_or(Claim::No("no contact to etcd".to_owned()), Claim::At);
        }
        let at = ranked(self, at);
        // An observer waits by its raw clock alone: suspend must not shorten the wait.
        if now.awake() < at.awake() {
            return Claim::At(at);
        }
        let Some(txn) = self.claim_txn(now, name, &keys, lease) else {
            return Claim::No("its holder is not silent for long enough".to_owned());
        };
        if let Some(why) = self.word_awaited(now, name, &keys) {
            return Claim::No(why);
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
            return Err(why.unwrap_or_else(|| "its record in etcd can't be read".to_owned()));
        };
        match record.state {
            RecordState::Released => {
                let waits = record.successor.as_ref().is_some_and(|named| *named != self.me.name);
                Ok(if waits {
                    first_seen.plus(SUCCESSOR_START)
                } else {
                    first_seen
                })
            }
            RecordState::Active => match &record.stuck {
                Some(why) => Err(stuck_on(&record.node, why)),
                None => self
                    .observer
                    .ripe_at(&record.node, record.incarnation)
                    .ok_or_else(|| format!("{} holds it", record.node)),
            },
        }
    }

    /// T3, T4 or T5 with all compares; `None` while the holder is not silent for long enough.
    fn claim_txn(&self, now: Time, name: &str, keys: &GroupKeys, lease: i64) -> Option<Txn> {
        let Some(holder) = keys.active() else {
            let won = self.won(keys, lease, "taken while free");
            return Some(self.record_txn(TxnKind::TakeFree, name, keys, &won));
        };
        let (node, incarnation) = (holder.node.clone(), holder.incarnation);
        if !self.observer.ripe(now, &node, incarnation) {
            return None;
        }
        let key = self.keys.node(&node);
        let reason = format!("{node} fell silent");
        let won = self.won(keys, lease, &reason);
        let Some(beat) = self.observer.beat_of(&node, incarnation) else {
            // The key is gone or belongs to another incarnation.
            let mut txn = self.record_txn(TxnKind::TakeGone, name, keys, &won);
            txn.compare.push(Compare::LeaseNot {
                key,
                lease: incarnation,
            });
            return Some(txn);
        };
        // Ends the silent incarnation as a whole; its other groups are free at once.
        let mut txn = self.record_txn(TxnKind::TakeSilent, name, keys, &won);
        txn.compare.push(Compare::Mod {
            key: key.clone(),
            revision: beat,
        });
        txn.then.push(Op::Delete { key });
        self.free_others(name, &node, incarnation, &mut txn);
        Some(txn)
    }

    /// The other groups of the incarnation that a T4 ends, as far as this node knows their policy, and as far as they fit in. One
    /// that is left out is taken by T5: its holder beats no more.
    fn free_others(&self, name: &str, node: &str, incarnation: i64, txn: &mut Txn) {
        // One that left the file tells nothing of its policy any more.
        let known = self.groups.iter().filter(|(_, group)| !group.has_left());
        for (other, _) in known.filter(|(other, _)| *other != name) {
            let keys = self.view.group(other);
            let same = keys
                .active()
                .filter(|record| record.node == node && record.incarnation == incarnation);
            let Some(record) = same.filter(|_| txn.has_room(1, 2)) else {
                continue;
            };
            let key = self.keys.record(other);
            txn.compare.push(Compare::Mod {
                key: key.clone(),
                revision: keys.record_mod,
            });
            // Silence frees no record that is marked stuck, or waits for a person's word; that it was not marked meanwhile is
            // compared all the same.
            if record.stuck.is_some() || self.needs_word(other, record) {
                continue;
            }
            let value = json(&lost(record, ReleaseCause::Silent));
            txn.then.push(Op::Delete {
                key: self.keys.leader(other),
            });
            txn.then.push(Op::Put { key, value, lease: 0 });
        }
    }

    /// The place of this node among the ready and living candidates; 0 campaigns at once.
    pub(super) fn rank(&self, now: Time, name: &str, keys: &GroupKeys) -> u32 {
        let named = keys.record.as_ref().and_then(|record| record.successor.as_ref());
        if named.is_some_and(|named| *named == self.me.name) {
            return 0;
        }
        let cooling = self
            .groups
            .get(name)
            .and_then(|group| group.cool_until)
            .is_some_and(|until| !now.reached(until))
            || self.failing(name)
            || self.unseen(name).is_some()
            || self.stuck_here().is_some();
        let holder = keys.active().map(|record| record.node.as_str());
        let before = self.view.statuses.iter().filter(|(node, status)| {
            let candidate = **node != self.me.name && Some(node.as_str()) != holder;
            let first = cooling || (status.priority, node.as_str()) < (self.me.priority, self.me.name.as_str());
            candidate && first && self.alive_and_ready(now, name, node, status)
        });
        u32::try_from(before.count()).unwrap_or(u32::MAX)
    }

    pub(super) fn alive_and_ready(&self, now: Time, group: &str, node: &str, status: &NodeStatus) -> bool {
        let lease = self.view.lease_of(node);
        // An order counts from when it is read, not from when its node has published what follows from it.
        let extended = self
            .view
            .groups
            .get(group)
            .is_none_or(|keys| !keys.without.contains_key(node));
        let living = lease != 0 && !self.observer.ripe(now, node, lease);
        extended && living && status.groups.get(group).is_some_and(|ready| ready.ready)
    }

    /// The best living standby that is ready for the group, or `wanted` if it is one.
    pub(super) fn successor(&self, group: &str, wanted: Option<&str>) -> Option<String> {
        let now = self.now;
        self.view
            .statuses
            .iter()
            .filter(|(node, status)| **node != self.me.name && self.alive_and_ready(now, group, node, status))
            .filter(|(_, status)| status.groups.get(group).is_some_and(|ready| ready.why.is_empty()))
            .filter(|(node, _)| wanted.is_none_or(|wanted| wanted == node.as_str()))
            .min_by_key(|(node, status)| (status.priority, (*node).clone()))
            .map(|(node, _)| node.clone())
    }

    /// Why nobody should hand the group over to this node, as far as it is known here.
    pub(super) fn unready(&self, name: &str) -> Option<String> {
        self.obstacle(name, false).or_else(|| self.unseen(name))
    }

    /// Why this node may not take the group now. What it did not find on the storage a moment ago may be there by now, and the
    /// gate looks anew: with that it may take it, after everybody else.
    pub(super) fn barred(&self, name: &str) -> Option<String> {
        self.obstacle(name, self.stays_for_want_of_another(name))
    }

    /// `stays`: whatever an operator said of this node and the group.
    fn obstacle(&self, name: &str, stays: bool) -> Option<String> {
        let group = self.groups.get(name)?;
        if let Some(why) = group.not_in_file() {
            return Some(why);
        }
        if let Some(claim) = self.claim_above(name) {
            let epoch = self.view.group(name).record.as_ref().map_or(0, |record| record.epoch);
            return Some(claimed(name, claim, epoch));
        }
        let unextended = || self.unextended(name, &self.me.name).filter(|_| !stays);
        if let Some(why) = self.deleted(name).or_else(unextended) {
            return Some(why);
        }
        if let Some(why) = self.no_store(name) {
            return Some(why);
        }
        if let Some(why) = self.host.engine_failure() {
            return Some(format!("the engine does not answer: {why}"));
        }
        if let Some(why) = self.watchdog.doom() {
            return Some(why);
        }
        if !self.host.has_link() && group.settings.vips > 0 {
            return Some("the interface has no link".to_owned());
        }
        let unfit = || {
            group
                .occupied
                .clone()
                .or_else(|| group.unfit.clone())
                .filter(|_| group.held.is_none())
        };
        let drained = || self.drained().filter(|_| !stays);
        group.unprepared().or_else(unfit).or_else(drained)
    }

    /// A node that shall hold nothing keeps a group all the same while nobody else is ready for it. So it takes it up again after
    /// an outage: what it held until then, and lost by nobody's order.
    fn stays_for_want_of_another(&self, name: &str) -> bool {
        let Some(group) = self.groups.get(name) else {
            return false;
        };
        let keys = self.view.group(name);
        let lost = |epoch| {
            let free = |record: &&Record| record.state == RecordState::Released && record.successor.is_none();
            let left = keys.record.as_ref().filter(free);
            left.is_some_and(|record| record.node == self.me.name && record.epoch >= epoch)
        };
        let own = group.held.is_some() || group.lost.is_some_and(lost);
        let mut others = self.view.statuses.iter().filter(|(node, _)| **node != self.me.name);
        own && !others.any(|(node, status)| self.alive_and_ready(self.now, name, node, status))
    }

    /// What the last look at the storage did not find there.
    fn unseen(&self, name: &str) -> Option<String> {
        let group = self.groups.get(name).filter(|group| group.held.is_none())?;
        group.look.fault()
    }

    /// Further time for another look, before a node takes what it could not see when it looked last.
    fn suspect_start(&self, name: &str) -> Duration {
        self.unseen(name).map_or(Duration::ZERO, |_| SUSPECT_START)
    }

    /// The service failed here several times: nobody hands it over to this node, and every other one goes first.
    fn failing(&self, name: &str) -> bool {
        let until = self.groups.get(name).and_then(|group| group.failing_until);
        until.is_some_and(|until| !self.now.reached(until))
    }

    pub(super) fn contact_holds(&self) -> bool {
        self.contact_holds_at(self.now)
    }

    pub(super) fn contact_holds_at(&self, now: Time) -> bool {
        self.contact.holds(now, self.waiting(), self.timing.contact_gap())
    }

    /// What this node publishes, when it has changed.
    pub(super) fn publication(&mut self, lease: i64) -> Vec<Op> {
        let value = json(&self.published_status());
        if !self.publication.offer(&value) {
            return Vec::new();
        }
        let key = self.keys.status(&self.me.name);
        vec![Op::Put { key, value, lease }]
    }

    /// Why nobody should hand the group over to this node.
    pub(super) fn not_a_successor(&self, name: &str) -> Option<String> {
        let failed = || Some(self.groups.get(name)?.failed_here().to_owned());
        let failing = || failed().filter(|_| self.failing(name));
        let ending = self.ending.then(|| "its node was told to end".to_owned());
        ending
            .or_else(|| self.unready(name))
            .or_else(failing)
            .or_else(|| self.ill())
    }

    fn published_status(&self) -> NodeStatus {
        let groups = self.groups.iter().filter(|(_, group)| !group.has_left());
        let groups = groups.map(|(name, group)| {
            let unready = self.not_a_successor(name);
            let ready = unready.is_none();
            // Ready, and ranked as such, but nobody should hand over to it yet: it could not campaign at once.
            let new = (!self.contact_holds()).then(|| "in contact with etcd for less than a ttl".to_owned());
            let why = unready.or(new).unwrap_or_default();
            let (image, content) = group.containers.image();
            let readiness = Readiness {
                ready,
                why,
                image,
                content,
                claim: self.claim_met(name),
                drift: group.drift.clone().filter(|_| group.held.is_some()),
                trouble: group.trouble().map(Trouble::brief),
                used: group.used.clone(),
                serves: group.serves(),
                opinion: group.opinion(),
            };
            (name.clone(), readiness)
        });
        NodeStatus {
            version: self.me.version.clone(),
            address: self.me.address.clone(),
            priority: self.me.priority,
            smallest_ttl_ms: self.host.smallest_ttl_ms(),
            groups: groups.collect(),
            clock: self.host.clock_doubt().unwrap_or_default().to_owned(),
            endpoints: self.surroundings.endpoints.clone().unwrap_or_default(),
            ending: self.ending,
        }
    }

    pub(super) fn step_groups(&mut self, now: Time, out: &mut Vec<Action>) {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let context = self.context(now, &name);
            let known_faults = self.known_faults(&name);
            if let Some(group) = self.groups.get_mut(&name) {
                group.known_faults = known_faults;
                group.step(context, out);
            }
        }
    }
}

/// What the record says of a group that its holder starts again.
fn started_again(after: &After) -> &'static str {
    match after {
        After::Interrupted => "started again after an interrupted stop",
        After::Restart | After::Release { .. } | After::RanOut | After::Claimed | After::Lost | After::Forget => {
            "started again after its lease ran out"
        }
    }
}

impl Group {
    /// How long it has served here without a break.
    pub(super) fn serves_for(&self, now: Time) -> Option<Duration> {
        let held = self.held.as_ref().filter(|_| self.active() && !self.is_sick())?;
        Some(now.waited(held.since))
    }

    /// Whether the group serves on this node.
    #[must_use]
    pub fn active(&self) -> bool {
        self.held
            .as_ref()
            .is_some_and(|held| held.stage == Stage::Active && !held.latched)
    }
}
