//! The node: one event in, actions out. The only mutator is [`Node::handle`].

use std::collections::BTreeMap;
use std::time::Duration;

use crate::adoption::Adoption;
use crate::adoption::left::with_left;
use crate::epoch::Run;
use crate::event::{Action, Event, NotStarted, Order, PageOrder, ServiceKey};
use crate::facts::Facts;
use crate::group::made::Made;
use crate::group::{Context, Group, GroupSettings};
use crate::host::Host;
use crate::membership::Membership;
use crate::outbox::Outbox;
use crate::promises::{Promises, Vote};
use crate::protocol::records::{Pin, Saved};
use crate::protocol::sizing::Timing;
use crate::requests::Requests;
use crate::snapshot::speech::Speech;
use crate::snapshot::status::millis;
use crate::store::Hint;
use crate::takeover::Takeover;
use crate::takeover::fencing::FenceSettings;
use crate::time::Time;
use crate::trust::Trust;

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
    /// This node's vote, where it can take part in promises.
    pub vote: Option<Vote>,
    /// How long a holder may run on without etcd, as the compose file says: the cluster's configuration counts.
    pub promises: Option<Duration>,
    /// Randomness for lease ids and nonces.
    pub seed: u64,
}

/// The decision core of one host: each part has its own state, and its folder changes it.
#[derive(Debug)]
pub struct Node {
    pub(super) facts: Facts,
    pub(super) groups: BTreeMap<String, Group>,
    pub(super) membership: Membership,
    pub(super) trust: Trust,
    pub(super) adoption: Adoption,
    pub(super) requests: Requests,
    pub(super) takeover: Takeover,
    pub(super) promises: Promises,
    pub(super) host: Host,
    pub(super) speech: Speech,
    /// When it must be asked again.
    wake: Option<Time>,
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
            facts: Facts::new(setup.me, &setup.cluster, setup.timing),
            groups: groups.collect(),
            membership: Membership::new(setup.seed),
            trust: Trust::new(setup.pinned, setup.timing.ttl),
            adoption: Adoption::new(saved, setup.pages),
            requests: Requests::default(),
            takeover: Takeover::new(setup.fence),
            promises: Promises::new(setup.vote, setup.promises, setup.seed),
            host: Host::new(setup.timing.smallest().map(millis)),
            speech: Speech::default(),
            wake: None,
        }
    }

    /// The actions before the first event: leave no address of an earlier life behind, unless its run may be adopted.
    pub fn start(&mut self, now: Time, out: &mut Vec<Action>) {
        self.facts.pass_to(now);
        self.host.begin(now);
        self.membership.begin(now);
        for (name, group) in &self.groups {
            let adoptable = self.adoption.was_left(name);
            // After a suspend the kernel's count of the addresses is behind: those of a run past its deadline go now.
            let alive = adoptable && self.adoption.soft(name).is_some_and(|soft| !now.reached(soft));
            if group.settings().vips > 0 && !alive {
                self.adoption.drop_addresses(name);
                out.push(Action::VipDrop { group: name.clone() });
            }
            if adoptable {
                continue;
            }
            // A run that nothing is known of is stopped first: its page may still be open.
            for service in 0..group.settings().services.len() {
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
        self.facts.pass_to(now);
        let mut outbox = Outbox::default();
        self.go_through(now, event, &mut outbox);
        outbox.drain_into(out);
        self.wake = self.next_wake(now);
        self.assert_invariants(now, &out[first..]);
    }

    /// The phases of an event. Their order carries safety:
    ///
    /// 1. The time comes before the event: no event may count on a lease that has run out (rule 7 of docs/protocol.md). It comes
    ///    again after it: what the event has moved may be over already.
    /// 2. What people want, and what follows for moves by themselves, comes before the groups: what shall stop must not start
    ///    once more in the same event.
    /// 3. The watchdog comes before the groups: nothing starts that it does not guard.
    /// 4. The groups come before the request: what they have proved is released with it. What they stop or shorten is in a page
    ///    before a shorter promise is sent; [`Node::request`](Self::request) steps them again where it sends one.
    /// 5. The fences come after the request, whose campaign finds out that one is wanted. Words for people see what came of it.
    ///    What is asked of other nodes directly comes after it, too: a list counts from when it is sent.
    /// 6. The end comes when nothing can be taken up any more in this event.
    /// 7. The watchdog comes once more: the request and the end may have let go of the last run.
    /// 8. The memory comes last, because it is of all of it. The [`Outbox`] puts it before everything else.
    fn go_through(&mut self, now: Time, event: Event, outbox: &mut Outbox) {
        self.pass_time(now, outbox.effects());
        self.take(now, event, outbox.effects());
        self.check_time(now, outbox.effects());
        self.heed_people(now, outbox.effects());
        self.watch_over(now, outbox);
        self.run_groups(now, outbox.effects());
        self.request(now, outbox.effects());
        self.look_out(now, outbox.effects());
        self.step_promises(now, outbox.effects());
        self.part(outbox.effects());
        self.watch_over(now, outbox);
        self.remember(outbox);
    }

    /// What the time alone demands, whatever the event.
    fn pass_time(&mut self, now: Time, out: &mut Vec<Action>) {
        self.heed_wakeups(now, out);
        self.check_time(now, out);
        self.drop_overdue(now, out);
    }

    fn check_time(&mut self, now: Time, out: &mut Vec<Action>) {
        for group in self.groups.values_mut() {
            group.check_time(now, out);
        }
    }

    /// Requests and orders, and the moves that follow from priorities and second opinions.
    fn heed_people(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.membership.ending().is_told() {
            self.hand_over(now, out);
        }
        self.expire_requests(now, out);
        self.execute_intents(now, out);
        self.answer_askers(now, out);
        self.execute_orders(now, out);
        self.step_failback(now, out);
        self.step_opinions(now, out);
        self.step_link(now, out);
        self.step_looks(now, out);
    }

    fn run_groups(&mut self, now: Time, out: &mut Vec<Action>) {
        self.step_groups(now, out);
        self.step_stuck(now, out);
    }

    /// What others do, and what is to be done or said about it.
    fn look_out(&mut self, now: Time, out: &mut Vec<Action>) {
        self.step_fencing(now, out);
        self.request_confirmation(now, out);
        self.report_peers(now, out);
    }

    /// From what left the file and is let go, and at last from the cluster.
    fn part(&mut self, out: &mut Vec<Action>) {
        self.bury(out);
        self.finish(out);
    }

    fn remember(&mut self, outbox: &mut Outbox) {
        let memory = self.memory();
        if let Some(save) = self.adoption.write(memory) {
            outbox.save(save);
        }
    }

    pub(super) fn context(&self, now: Time, group: &str) -> Context {
        Context {
            now,
            other_ready: self.has_successor(group),
            engine_away: self.host.engine_is_away(),
            watched: self.is_watched(),
            paused: self.on_pause(group),
            frozen: self.membership.is_frozen(),
        }
    }

    /// A suspend in the middle of an adoption: the kernel's count of the addresses is behind, and nobody renews them yet.
    fn drop_overdue(&mut self, now: Time, out: &mut Vec<Action>) {
        let waiting: Vec<String> = self.adoption.names().cloned().collect();
        for name in waiting {
            let over = self.adoption.soft(&name).is_some_and(|soft| now.reached(soft));
            let has = self.groups.get(&name).is_some_and(|group| group.settings().vips > 0);
            if over && has && self.adoption.drop_addresses(&name) {
                out.push(Action::VipDrop { group: name });
            }
        }
    }

    /// When the loop must call [`Node::handle`] with [`Event::Tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.wake
    }

    /// Whether the last action said that the process ends.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.membership.ending().is_over()
    }

    /// Each kind goes to the part whose matter it is. A new kind has no home before it is named here.
    fn take(&mut self, now: Time, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Answer { id, result } => self.answered(now, id, result, out),
            Event::Granted { lease, result } => self.granted(lease, result, out),
            Event::Hint(hint) => self.hinted(hint),
            Event::Engine { result } => self.engine_answered(result),
            Event::EngineOrphaned => self.engine_orphaned(now, out),
            Event::Fitness { group, unfit } => self.fitness(&group, unfit),
            Event::StorageSeen { group, store, result } => self.storage_seen(now, &group, &store, result),
            Event::StartTried { group, made, result } => self.start_tried(now, &group, &made, result),
            Event::HolderAsked {
                of,
                run,
                result,
                vantage,
            } => self.holder_asked(now, &of, run, result, vantage),
            Event::Compared { group, intent, drift } => self.compared(now, &group, drift, intent, out),
            Event::FileRead { group, keys } => self.file_read(&group, keys),
            Event::Clock { doubt, wall } => self.clock_read(doubt, wall, out),
            Event::Endpoints { address, fault } => self.endpoints(address, fault, out),
            Event::TetherWoke { late } => self.tether_woke(now, late, out),
            Event::EtcdMember { url, troubles } => self.etcd_member(url, troubles, out),
            Event::PinUnwritten { why } => self.pin_unwritten(&why, out),
            Event::Intruder { group, seen } => self.intruder(&group, seen, out),
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
            Event::Reachable { address, fault } => self.reachable(address, fault),
            Event::Heard { from, message } => self.heard(now, &from, message, out),
            Event::Terminate => self.terminate(now, out),
            Event::Request { reply, request } => self.take_request(reply, request, out),
            Event::TetherHello {
                of,
                run,
                running,
                connection,
            } => self.hello(now, of, run, running, connection, out),
            Event::Prepared { of, store, result } => self.prepared(&of, &store, result),
            Event::StartAnswered { of, run, result } => self.start_answered(now, &of, run, result, out),
            Event::ClaimAbove {
                of,
                run,
                epoch,
                connection,
            } => self.tell(&of.group, |group| {
                group.claim_above(now, of.service, run, epoch, connection, out);
            }),
            Event::TetherGone { of, run, connection } => {
                self.tell(&of.group, |group| group.gone(now, of.service, run, connection));
            }
            Event::Probed { of, run, result } => {
                self.tell(&of.group, |group| group.probed(now, run, of.probe, result, out));
            }
            Event::Inspected { of, run, trace } => self.tell(&of.group, |it| it.inspected(now, of.service, run, trace)),
            Event::Health { of, run, healthy } => self.tell(&of.group, |group| group.health(of.service, run, healthy)),
            Event::Ended { of, run, code, lines } => {
                self.tell(&of.group, |group| group.ended(now, of.service, run, code, &lines, out));
            }
            Event::Signalled { of, run, what } => {
                self.tell(&of.group, |group| group.signalled(now, of.service, run, what, out));
            }
            Event::ClientsSeen { group, clients } => self.tell(&group, |group| group.clients_seen(now, clients)),
        }
    }

    /// What is told of a group's containers and clients; of a group that is not known here it is dropped.
    fn tell(&mut self, group: &str, hear: impl FnOnce(&mut Group)) {
        if let Some(group) = self.groups.get_mut(group) {
            hear(group);
        }
    }

    fn prepared(&mut self, of: &ServiceKey, store: &Option<String>, result: Result<Made, String>) {
        self.tell(&of.group, |group| group.prepared(of.service, store, result));
    }

    fn start_answered(
        &mut self,
        now: Time,
        of: &ServiceKey,
        run: Run,
        result: Result<(), NotStarted>,
        out: &mut Vec<Action>,
    ) {
        if let Err(failure) = result {
            self.tell(&of.group, |group| {
                group.start_failed(now, of.service, run, &failure, out)
            });
        }
    }

    fn hinted(&mut self, hint: Hint) {
        match hint {
            Hint::Changed => {}
            Hint::NodeGone {
                node,
                lease,
                last_mod_revision,
            } => self.facts.key_deleted(node, lease, last_mod_revision),
        }
        self.membership.hint();
    }

    fn clock_read(&mut self, doubt: Option<String>, wall: Option<i64>, out: &mut Vec<Action>) {
        self.facts.wall_is(wall);
        self.doubt_clock(doubt, out);
    }

    fn hello(&mut self, now: Time, of: ServiceKey, run: Run, running: bool, connection: u64, out: &mut Vec<Action>) {
        if !running && self.membership.is_frozen() {
            // Nothing starts under a strange etcd, not even what was on its way.
            out.push(Action::Refuse { of, connection });
        } else if let Some(group) = self.groups.get_mut(&of.group) {
            group.hello(now, of.service, run, running, connection, out);
        }
    }

    /// What the boot-scoped file must hold now.
    pub(super) fn memory(&self) -> Saved {
        self.adoption
            .memory(&self.facts.me().boot, self.membership.lease(), &self.groups)
    }

    fn next_wake(&self, now: Time) -> Option<Time> {
        if self.membership.ending().is_over() {
            return None;
        }
        let mut times: Vec<Time> = self.groups.values().flat_map(Group::wake).collect();
        times.extend(self.membership.exchange().due_at(self.facts.timing().beat));
        times.extend(self.takeover.wakes());
        times.extend(self.membership.holding_until());
        times.extend(self.requests.wake());
        times.extend(self.switchover_deadlines());
        times.extend(self.feed_at());
        times.extend(self.link_heeded_at());
        times.extend(self.promises_wake(now));
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
