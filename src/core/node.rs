//! The node: one event in, actions out. The only mutator is [`Node::handle`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::bounds::GIVEN_MAX;
use super::code::Code;
use super::damage::Damage;
use super::epoch::Run;
use super::event::{Action, Command, Decision, Event, Order, PageOrder, ServiceKey};
use super::exported::Exported;
use super::failback::Preferred;
use super::fenced::FencedWish;
use super::fencing::{FenceSettings, Fencing};
use super::group::{Context, Group, GroupSettings, mention};
use super::keys::Keys;
use super::left::with_left;
use super::member::{Attempt, Member, Pending, Refusals};
use super::observe::{Contact, Observer};
use super::orders::{WISH_PATIENCE, Wanted};
use super::records::{Intent, Pin, Saved, SavedRun, View};
use super::refusal::Refusal;
use super::sizing::{HOLD_MAX, Timing};
use super::status::millis;
use super::store::Hint;
use super::stuck::Reset;
use super::surroundings::Surroundings;
use super::switchover::Intents;
use super::time::Time;
use super::watchdog::Watchdog;

/// Who this node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    /// The machine id, for people: two machines may share one.
    pub machine: String,
    pub boot: String,
    pub version: String,
    /// Where its endpoints listen, for people and tools.
    pub address: String,
    /// 1 to 999; lower wins.
    pub priority: u32,
}

/// Everything the core is given at its start.
#[derive(Clone, Debug)]
pub struct Setup {
    pub me: Identity,
    pub cluster: String,
    pub timing: Timing,
    pub groups: Vec<GroupSettings>,
    /// The fence before an unclean take-over, where one is configured.
    pub fence: Option<FenceSettings>,
    /// From the disk: which etcd is trusted.
    pub pinned: Option<Pin>,
    /// From the boot-scoped file: what an earlier sidecar left running.
    pub saved: Option<Saved>,
    /// What the pages of those runs say.
    pub pages: BTreeMap<ServiceKey, PageOrder>,
    /// Randomness for lease ids and nonces.
    pub seed: u64,
}

/// An operator's wish for T11, until it can be sent.
#[derive(Clone, Debug)]
pub(super) struct AcceptWish {
    pub reply: u64,
    pub force: bool,
    pub epoch: Option<u64>,
    /// With this in the place of what etcd holds, which is nothing.
    pub import: Option<Box<Exported>>,
}

/// The decision core of one host.
#[derive(Debug)]
pub struct Node {
    pub(super) me: Identity,
    pub(super) keys: Keys,
    pub(super) timing: Timing,
    /// The longest that an ordinary beat may have promised which this node did not see; 0 before anything is known.
    pub(super) longest: Duration,
    /// Of this host, as everybody is told.
    pub(super) smallest_ttl_ms: Option<u64>,
    /// Whether the ttl in force is the cluster's yet, and not the file's.
    pub(super) adopted: bool,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) member: Member,
    pub(super) observer: Observer,
    pub(super) contact: Contact,
    pub(super) view: View,
    /// What is wrong with keys of it.
    pub(super) damage: Damage,
    /// Whether `view` was read since the last arrival.
    pub(super) viewed: bool,
    pub(super) pinned: Option<Pin>,
    pub(super) pin_written: i64,
    pub(super) saved: Option<Saved>,
    pub(super) adoptable: BTreeMap<String, SavedRun>,
    pub(super) pages: BTreeMap<ServiceKey, PageOrder>,
    /// Groups whose addresses were dropped before their run was adopted.
    overdue: BTreeSet<String>,
    pub(super) pending: Option<Pending>,
    pub(super) attempts: Vec<Attempt>,
    /// The stamp and promise of the youngest beat known to have landed.
    pub(super) proof: Option<(Time, Duration)>,
    pub(super) read_back: bool,
    pub(super) refusals: Refusals,
    pub(super) hinted: bool,
    pub(super) sent_at: Time,
    pub(super) pause: Duration,
    pub(super) kept_alive: Time,
    pub(super) seq: u64,
    pub(super) next_id: u64,
    pub(super) holding_until: Option<Time>,
    /// Since when the oldest wish has been waiting to be sent.
    pub(super) wished_at: Option<Time>,
    pub(super) hold_wish: Option<(u64, Duration)>,
    pub(super) switch_wish: Option<(u64, String, Intent)>,
    pub(super) accept_wish: Option<AcceptWish>,
    /// Standing orders that wait to be written.
    pub(super) wanted: VecDeque<Wanted>,
    pub(super) fenced_wish: Option<FencedWish>,
    pub(super) fence: Option<FenceSettings>,
    /// By node.
    pub(super) fencing: BTreeMap<String, Fencing>,
    pub(super) intents: Intents,
    pub(super) published: Option<String>,
    pub(super) publishing: Option<String>,
    /// For each group: the record's mod revision and when this node first saw it.
    pub(super) first_seen: BTreeMap<String, (i64, Time)>,
    /// For each group not held: when this node may campaign, or why it does not.
    pub(super) waits: BTreeMap<String, (Option<Time>, String)>,
    pub(super) engine_failure: Option<String>,
    pub(super) store_failure: Option<String>,
    /// Why the rate of this host's clocks is in doubt.
    pub(super) clock_doubt: Option<String>,
    pub(super) link_up: bool,
    pub(super) reset: Reset,
    /// For each group held here: the preferred node to which it may go back by itself.
    pub(super) preferred: BTreeMap<String, Preferred>,
    /// Groups that were handed over because another one is stuck here.
    pub(super) given_away: Vec<String>,
    pub(super) ending: bool,
    pub(super) watchdog: Watchdog,
    pub(super) surroundings: Surroundings,
    pub(super) last: Option<Decision>,
    /// What was last mentioned, and when.
    mentioned: Option<(Decision, Time)>,
    pub(super) now: Time,
    written: Option<Saved>,
    pub(super) exited: bool,
    wake: Option<Time>,
    random: u64,
}

impl Node {
    /// A node that knows nothing yet; its first request goes out with the first event.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let saved = setup
            .saved
            .filter(|saved| saved.boot == setup.me.boot && saved.lease != 0);
        let groups = with_left(setup.groups, saved.as_ref()).into_iter().map(Group::named);
        Self {
            me: setup.me,
            keys: Keys::new(&setup.cluster),
            timing: setup.timing,
            longest: setup.pinned.map_or(Duration::ZERO, |pin| pin.longest(setup.timing.ttl)),
            smallest_ttl_ms: setup.timing.smallest().map(millis),
            adopted: false,
            groups: groups.collect(),
            member: Member::Arriving,
            observer: Observer::default(),
            contact: Contact::default(),
            view: View::default(),
            damage: Damage::default(),
            viewed: false,
            pinned: setup.pinned,
            pin_written: setup.pinned.map_or(0, |pin| pin.revision),
            written: saved.clone(),
            saved,
            adoptable: BTreeMap::new(),
            pages: setup.pages,
            overdue: BTreeSet::new(),
            pending: None,
            attempts: Vec::new(),
            proof: None,
            read_back: false,
            refusals: Refusals::default(),
            hinted: false,
            sent_at: Time::default(),
            pause: Duration::ZERO,
            kept_alive: Time::default(),
            seq: 0,
            next_id: 0,
            holding_until: None,
            wished_at: None,
            hold_wish: None,
            switch_wish: None,
            accept_wish: None,
            wanted: VecDeque::new(),
            fenced_wish: None,
            fence: setup.fence,
            fencing: BTreeMap::new(),
            intents: Intents::default(),
            published: None,
            publishing: None,
            first_seen: BTreeMap::new(),
            waits: BTreeMap::new(),
            engine_failure: Some("not asked yet".to_owned()),
            store_failure: None,
            clock_doubt: None,
            link_up: true,
            reset: Reset::None,
            preferred: BTreeMap::new(),
            given_away: Vec::new(),
            ending: false,
            watchdog: Watchdog::default(),
            surroundings: Surroundings::default(),
            last: None,
            mentioned: None,
            now: Time::default(),
            exited: false,
            wake: None,
            random: setup.seed,
        }
    }

    /// The actions before the first event: leave no address of an earlier life behind, unless its run may be adopted.
    pub fn start(&mut self, now: Time, out: &mut Vec<Action>) {
        self.now = now;
        self.surroundings.started = now;
        self.sent_at = now;
        for (name, group) in &self.groups {
            let adoptable = self.saved.as_ref().is_some_and(|saved| saved.groups.contains_key(name));
            // After a suspend the kernel's count of the addresses is behind: those of a run past its deadline go now.
            let alive = adoptable && self.page_soft(name).is_some_and(|soft| !now.reached(soft));
            if group.settings.vips > 0 && !alive {
                self.overdue.insert(name.clone());
                out.push(Action::VipDrop { group: name.clone() });
            }
            if adoptable {
                continue;
            }
            // A run that nothing is known of is stopped first: its page may still be open.
            for service in 0..group.settings.services.len() {
                let of = ServiceKey {
                    group: name.clone(),
                    service,
                };
                let page = PageOrder {
                    run: Run::default(),
                    order: Order::Closed,
                    soft: Time::default(),
                    hard: Time::default(),
                };
                out.push(Action::Page { of, page });
            }
        }
        self.handle(now, Event::Tick, out);
    }

    /// The only mutator: one event in, all resulting actions appended, invariants asserted on exit.
    pub fn handle(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        let first = out.len();
        self.now = now;
        // The time comes first: no event may count on a lease that has run out.
        for group in self.groups.values_mut() {
            group.check_time(now, out);
        }
        self.drop_overdue(now, out);
        self.take(now, event, out);
        for group in self.groups.values_mut() {
            group.check_time(now, out);
        }
        if self.ending {
            self.hand_over(now, out);
        }
        self.tire_of_wishes(now, out);
        self.obey(now, out);
        self.answer_askers(now, out);
        self.obey_orders(now, out);
        self.step_failback(now, out);
        self.step_opinions(now, out);
        self.step_looks(now, out);
        self.watch_over(now, first, out);
        self.step_groups(now, out);
        self.step_stuck(now, out);
        self.request(now, out);
        self.step_fencing(now, out);
        self.ask_for_word(now, out);
        self.look_around(now, out);
        self.bury(out);
        self.finish(out);
        self.watch_over(now, first, out);
        let saved = self.memory();
        if self.written.as_ref() != Some(&saved) && self.saved.is_none() {
            // Before everything else of this event: a latch is on disk before the stop begins, a run before it starts.
            out.insert(first, Action::Save(saved.clone()));
            self.written = Some(saved);
        }
        self.assert_invariants(now, &out[first..]);
        self.wake = self.next_wake(now);
    }

    pub(super) fn context(&self, now: Time, group: &str) -> Context {
        Context {
            now,
            other_ready: self.successor(group, None).is_some(),
            watched: self.is_watched(),
            paused: self.on_pause(group),
            frozen: matches!(self.member, Member::Frozen { .. }),
        }
    }

    /// A suspend in the middle of an adoption: the kernel's count of the addresses is behind, and nobody renews them yet.
    fn drop_overdue(&mut self, now: Time, out: &mut Vec<Action>) {
        let saved = self.saved.as_ref().map(|saved| &saved.groups);
        let waiting = saved.into_iter().chain([&self.adoptable]).flat_map(BTreeMap::keys);
        for name in waiting {
            let over = self.page_soft(name).is_some_and(|soft| now.reached(soft));
            let has = self.groups.get(name).is_some_and(|group| group.settings.vips > 0);
            if over && has && self.overdue.insert(name.clone()) {
                out.push(Action::VipDrop { group: name.clone() });
            }
        }
    }

    /// The earliest soft deadline on the pages that an earlier sidecar left for the group; a closed page has none.
    pub(super) fn page_soft(&self, group: &str) -> Option<Time> {
        let pages = self
            .pages
            .iter()
            .filter(|(of, page)| of.group == group && page.order != Order::Closed);
        pages.map(|(_, page)| page.soft).reduce(Time::earlier)
    }

    /// When the loop must call [`Node::handle`] with [`Event::Tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.wake
    }

    /// Whether the last action said that the process ends.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.exited
    }

    fn take(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Answer { id, result } => self.answered(now, id, result, out),
            Event::Granted { lease, result } => self.granted(lease, result, out),
            Event::Hint(Hint::Changed) => self.hinted = true,
            Event::Hint(Hint::NodeGone {
                node,
                lease,
                last_mod_revision,
            }) => {
                self.observer.deleted(node, lease, last_mod_revision);
                self.hinted = true;
            }
            Event::Engine { result } => self.engine_failure = result.err(),
            Event::Fitness { group, unfit } => self.fitness(&group, unfit),
            Event::StorageSeen { group, store, result } => self.storage_seen(now, &group, &store, result),
            Event::HolderAsked { of, run, result } => self.holder_asked(now, &of, run, result),
            Event::Health { of, run, healthy } => {
                if let Some(group) = self.groups.get_mut(&of.group) {
                    group.health(of.service, run, healthy);
                }
            }
            Event::Compared { group, wish, drift } => self.compared(now, &group, drift, wish, out),
            Event::ClockSource { doubt } => self.doubt_clock(doubt, out),
            Event::Endpoints { address, fault } => self.endpoints(address, fault, out),
            Event::PinUnwritten { why } => self.pin_unwritten(&why, out),
            Event::Intruder { group, id, name, why } => self.intruder(&group, id, &name, why, out),
            Event::Used { group, by } => self.used(&group, by),
            Event::Mounting { of, run } => self.mounting(now, &of, run),
            Event::MountsSeen { group, run, mounts } => self.mounts_seen(now, &group, run, mounts, out),
            Event::Vip(news) => self.take_vip(now, news, out),
            Event::ResetFailed { why } => self.reset_failed(&why, out),
            Event::FenceEnded {
                node,
                incarnation,
                result,
            } => self.fence_ended(now, &node, incarnation, result, out),
            Event::Terminate => self.terminate(now, out),
            Event::Command { reply, command } => self.command(reply, command, out),
            Event::Prepared { .. }
            | Event::StartAnswered { .. }
            | Event::TetherHello { .. }
            | Event::ClaimAbove { .. }
            | Event::TetherGone { .. }
            | Event::Inspected { .. }
            | Event::Probed { .. } => self.take_run(now, event, out),
        }
    }

    fn take_run(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Prepared { of, store, result } => {
                if let Some(group) = self.groups.get_mut(&of.group) {
                    group.prepared(of.service, &store, result);
                }
            }
            Event::StartAnswered { of, run, result } => {
                if let (Some(group), Err(why)) = (self.groups.get_mut(&of.group), result) {
                    group.start_failed(now, of.service, run, &why, out);
                }
            }
            Event::TetherHello {
                of,
                run,
                running,
                connection,
            } => self.hello(now, of, run, running, connection, out),
            Event::ClaimAbove {
                of,
                run,
                epoch,
                connection,
            } => {
                if let Some(group) = self.groups.get_mut(&of.group) {
                    group.claim_above(now, of.service, run, epoch, connection, out);
                }
            }
            Event::TetherGone { of, run, connection } => {
                if let Some(group) = self.groups.get_mut(&of.group) {
                    group.gone(now, of.service, run, connection);
                }
            }
            Event::Inspected { of, run, trace } => {
                if let Some(group) = self.groups.get_mut(&of.group) {
                    group.inspected(now, of.service, run, trace);
                }
            }
            Event::Probed { of, run, result } => {
                if let Some(group) = self.groups.get_mut(&of.group) {
                    group.probed(now, run, of.probe, result, out);
                }
            }
            Event::Tick
            | Event::Answer { .. }
            | Event::Granted { .. }
            | Event::Hint(_)
            | Event::Engine { .. }
            | Event::Fitness { .. }
            | Event::StorageSeen { .. }
            | Event::HolderAsked { .. }
            | Event::Health { .. }
            | Event::Compared { .. }
            | Event::ClockSource { .. }
            | Event::Endpoints { .. }
            | Event::PinUnwritten { .. }
            | Event::Intruder { .. }
            | Event::Used { .. }
            | Event::Mounting { .. }
            | Event::MountsSeen { .. }
            | Event::Vip(_)
            | Event::ResetFailed { .. }
            | Event::FenceEnded { .. }
            | Event::Terminate
            | Event::Command { .. } => {}
        }
    }

    fn hello(&mut self, now: Time, of: ServiceKey, run: Run, running: bool, connection: u64, out: &mut Vec<Action>) {
        if !running && matches!(self.member, Member::Frozen { .. }) {
            // Nothing starts under a strange etcd, not even what was on its way.
            out.push(Action::Refuse { of, connection });
        } else if let Some(group) = self.groups.get_mut(&of.group) {
            group.hello(now, of.service, run, running, connection, out);
        }
    }

    fn command(&mut self, reply: u64, command: Command, out: &mut Vec<Action>) {
        let refused = match command {
            Command::Hold { length } => {
                if length > HOLD_MAX {
                    Some(Refusal::HoldTooLong { length, most: HOLD_MAX })
                } else if length < self.timing.ttl * 4 {
                    Some(Refusal::HoldTooShort { ttl: self.timing.ttl })
                } else if !matches!(self.member, Member::Joined { .. }) {
                    Some(Refusal::NotMember)
                } else if self.hold_wish.is_some() {
                    Some(Refusal::OtherHold)
                } else {
                    self.hold_wish = Some((reply, length));
                    None
                }
            }
            Command::Switchover { group, to, note } => self.want_switchover(reply, group, to, note),
            Command::Failback { group, note } => self.want_failback(reply, group, note, out),
            Command::Apply { group, note } => self.want_apply(reply, group, note),
            Command::Fenced { what, by } => self.want_fenced(reply, what, by),
            Command::Accept { force, epoch } => {
                if self.accept_wish.is_some() {
                    Some(Refusal::OtherAccept)
                } else if epoch.is_some_and(|epoch| epoch > GIVEN_MAX) {
                    Some(Refusal::EpochTooHigh { most: GIVEN_MAX })
                } else {
                    self.accept_wish = Some(AcceptWish {
                        reply,
                        force,
                        epoch,
                        import: None,
                    });
                    None
                }
            }
            Command::Import { .. } if self.accept_wish.is_some() => Some(Refusal::AcceptFirst),
            Command::Import { exported } => {
                self.accept_wish = Some(AcceptWish {
                    reply,
                    force: true,
                    epoch: None,
                    import: Some(exported),
                });
                None
            }
            Command::Wish { wish, note } => {
                self.wish(reply, wish, note, out);
                None
            }
        };
        if let Some(why) = refused {
            out.push(Action::Reply {
                reply,
                result: Err(why),
            });
        }
    }

    fn memory(&self) -> Saved {
        let lease = self.member.lease().unwrap_or_else(|| {
            let held = self.groups.values().find_map(|group| group.held.as_ref());
            let written = self.written.as_ref().filter(|_| !self.adoptable.is_empty());
            held.map_or(written.map_or(0, |written| written.lease), |held| held.lease)
        });
        let mut groups = self.adoptable.clone();
        groups.extend(
            self.groups
                .iter()
                .filter_map(|(name, group)| Some((name.clone(), group.saved()?))),
        );
        Saved {
            boot: self.me.boot.clone(),
            lease,
            groups,
        }
    }

    pub(super) fn say(&mut self, code: Code, text: String, out: &mut Vec<Action>) {
        let decision = Decision {
            code,
            group: None,
            epoch: None,
            text,
        };
        if self.last.as_ref() != Some(&decision) {
            self.last = Some(decision.clone());
            out.push(Action::Say(decision));
        }
    }

    /// Says what happened and is over, so that it does not stand in the status for ever; not again within a minute.
    pub(super) fn mention(&mut self, code: Code, text: String, out: &mut Vec<Action>) {
        let decision = Decision {
            code,
            group: None,
            epoch: None,
            text,
        };
        if mention(&mut self.mentioned, self.now, &decision) {
            out.push(Action::Say(decision));
        }
    }

    /// splitmix64: the seed comes from the operating system, so that no lease id is ever met twice.
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A lease id: 63 random bits, never 0.
    pub(super) fn new_lease(&mut self) -> i64 {
        i64::try_from(self.random() >> 1).unwrap_or(1).max(1)
    }

    fn next_wake(&self, now: Time) -> Option<Time> {
        if self.exited {
            return None;
        }
        let mut times: Vec<Time> = self.groups.values().flat_map(Group::wake).collect();
        if self.pending.is_none() {
            let due = if self.hinted || self.read_back {
                self.pause
            } else {
                self.timing.beat.max(self.pause)
            };
            times.push(self.sent_at.plus(due));
        }
        times.extend(self.waits.values().filter_map(|(at, _)| *at));
        times.extend(self.holding_until);
        times.extend(self.wished_at.map(|at| at.plus(WISH_PATIENCE)));
        times.extend(self.switchover_deadlines());
        times.extend(self.meal());
        let ahead = times.into_iter().filter(|at| !now.reached(*at));
        let soonest = ahead.min_by_key(|at| now.until(*at));
        // Never at once again: a condition that time cannot change must not spin the loop.
        soonest.map(|at| {
            if now.until(at) < TICK_MIN {
                now.plus(TICK_MIN)
            } else {
                at
            }
        })
    }
}

/// The shortest time between two ticks.
const TICK_MIN: Duration = Duration::from_millis(2);
