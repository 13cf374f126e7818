//! One node, a tiny etcd, and a clock that the story moves.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the driver has something to do for a few of the actions only"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use leasehold::base::epoch::Run;
use leasehold::base::time::Time;
use leasehold::core::adoption::left::{Part, Parts};
use leasehold::core::event::{Action, Event, Mounts, Order, PageOrder, ProbeFailure, ServiceKey, VipNews};
use leasehold::core::group::made::Made;
use leasehold::core::group::{GroupSettings, OnFailure, OnStandby, ProbeSettings, SecondOpinion, ServiceSettings};
use leasehold::core::history::{Entry, EpochRecorder};
use leasehold::core::host::stuck::OnStopFailure;
use leasehold::core::node::{Identity, Node, Setup};
use leasehold::core::protocol::TxnKind;
use leasehold::core::protocol::keys::Keys;
use leasehold::core::protocol::records::{Beat, Pin, Saved, json};
use leasehold::core::protocol::sizing::Timing;
use leasehold::core::requests::exported::Exported;
use leasehold::core::snapshot::code::Code;
use leasehold::core::snapshot::status::MemberState;
use leasehold::core::store::{Compare, Grant, RequestId, StoreError, TXN_MAX, Txn};
use leasehold::core::takeover::confirm::Failover;
use leasehold::core::takeover::fencing::FenceSettings;

use super::etcd::Etcd;
use super::names::Names;
use super::words;

/// The machine's uptime when a story begins.
const UPTIME: Duration = Duration::from_secs(1000);
/// How long etcd and everything else take to answer by themselves.
const ANSWER: Duration = Duration::from_millis(10);
const TTL: Duration = Duration::from_secs(5);

/// Marks an input that makes no sense where it stands.
pub(crate) const MISLED: &str = "??";

/// What waits for an answer of etcd.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Txn(RequestId, Txn),
    Read(RequestId),
    Grant(Grant),
}

/// How much is told and done without the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Everything is told, nothing answered.
    Told,
    /// Beats and reads are answered and counted; any other transaction waits for the story.
    Run,
    /// Everything is answered as if all went well; only decisions are told.
    Quick,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) keys: Keys,
    pub(crate) etcd: Etcd,
    pub(crate) names: Names,
    pub(crate) now: Time,
    pub(crate) me: Identity,
    pub(crate) node: Option<Node>,
    pub(crate) call: Option<Call>,
    pub(crate) call_at: Time,
    /// Transactions whose answer did not come and that may land yet.
    pub(crate) adrift: Vec<Txn>,
    pub(crate) mode: Mode,
    pub(crate) told: Vec<String>,
    pub(crate) shown: BTreeSet<TxnKind>,
    pub(crate) said: BTreeSet<(Code, String)>,
    pub(crate) groups: Vec<String>,
    pub(crate) on_failure: OnFailure,
    pub(crate) saved: Option<Saved>,
    /// Nodes that beat by themselves.
    pub(crate) alive: BTreeMap<String, Time>,
    /// What those promise that do not promise the usual.
    pub(crate) promises: BTreeMap<String, Duration>,
    pub(crate) connection: u64,
    /// The connection of each tether: let in, or reported running.
    pub(crate) tethers: BTreeMap<ServiceKey, u64>,
    /// The mod revision of the key that the story deleted last.
    pub(crate) deleted: i64,
    pub(crate) on_stop_failure: OnStopFailure,
    pub(crate) failback: Option<Duration>,
    pub(crate) failover: Failover,
    pub(crate) second_opinion: SecondOpinion,
    pub(crate) storage_look: Option<Duration>,
    pub(crate) exclusive_mounts: bool,
    /// What a standby finds at the address by itself.
    pub(crate) afar: Result<(), ProbeFailure>,
    pub(crate) fence: Option<FenceSettings>,
    /// What was asked for last, so that an answer says what it answers: the store of each group's containers,
    pub(crate) prepared_for: BTreeMap<String, Option<String>>,
    /// the run that was started last and the one that was asked about,
    pub(crate) started: BTreeMap<ServiceKey, Run>,
    pub(crate) inspected: BTreeMap<ServiceKey, Run>,
    /// the store that was looked at, the wish that a comparison is for.
    pub(crate) looked: BTreeMap<String, String>,
    pub(crate) compared: BTreeMap<String, i64>,
    /// Services that have left the file.
    pub(crate) without: BTreeSet<String>,
    /// Containers that no kill ends.
    pub(crate) hung: BTreeSet<ServiceKey>,
    pub(crate) timing: Timing,
    /// What `config export` printed last.
    pub(crate) exported: Exported,
    recorder: EpochRecorder,
    /// What the sidecar has to tell of its epochs, since it was last asked.
    pub(crate) entries: Vec<Entry>,
    pin: Option<Pin>,
    pages: BTreeMap<ServiceKey, PageOrder>,
    soon: VecDeque<(Time, Event)>,
    beats: usize,
    reads: usize,
    renewals: usize,
    meals: usize,
    seed: u64,
}

impl World {
    fn settings(&self, group: &str) -> GroupSettings {
        let mut services = settings(group, self.on_stop_failure).services;
        services.retain(|service| !self.without.contains(&service.name));
        GroupSettings {
            services,
            on_failure: self.on_failure,
            failback: self.failback,
            failover: self.confirmed(group),
            second_opinion: self.second_opinion,
            storage_look: self.storage_look,
            exclusive_mounts: self.exclusive_mounts,
            ..settings(group, self.on_stop_failure)
        }
    }

    /// `web` is nobody's concern.
    fn confirmed(&self, group: &str) -> Failover {
        if group == "web" { Failover::Auto } else { self.failover }
    }

    pub(crate) fn new(seed: u64) -> Self {
        Self {
            keys: Keys::new("story"),
            etcd: Etcd::new(),
            names: Names::default(),
            now: Time {
                boot: UPTIME,
                raw: UPTIME,
                slept: Duration::ZERO,
            },
            me: Identity {
                name: "a".to_owned(),
                machine: "m".to_owned(),
                boot: "a1".to_owned(),
                version: "1".to_owned(),
                address: String::new(),
                priority: 100,
            },
            node: None,
            call: None,
            call_at: Time::default(),
            adrift: Vec::new(),
            mode: Mode::Told,
            told: Vec::new(),
            shown: BTreeSet::new(),
            said: BTreeSet::new(),
            groups: Vec::new(),
            on_failure: OnFailure::Recover,
            saved: None,
            alive: BTreeMap::new(),
            promises: BTreeMap::new(),
            // The one that the world answers with by itself.
            connection: 1,
            tethers: BTreeMap::new(),
            deleted: 0,
            on_stop_failure: OnStopFailure::Hold,
            failback: None,
            failover: Failover::Auto,
            second_opinion: SecondOpinion::Off,
            storage_look: None,
            exclusive_mounts: false,
            afar: Ok(()),
            fence: None,
            prepared_for: BTreeMap::new(),
            started: BTreeMap::new(),
            inspected: BTreeMap::new(),
            looked: BTreeMap::new(),
            compared: BTreeMap::new(),
            without: BTreeSet::new(),
            hung: BTreeSet::new(),
            timing: Timing::new(TTL, 0.99, None, Duration::from_secs(1)),
            exported: Exported::default(),
            recorder: EpochRecorder::default(),
            entries: Vec::new(),
            pin: None,
            pages: BTreeMap::new(),
            soon: VecDeque::new(),
            beats: 0,
            reads: 0,
            renewals: 0,
            meals: 0,
            seed,
        }
    }

    pub(crate) fn at(since: Duration) -> Duration {
        UPTIME + since
    }

    /// Time goes by; what was written so far belongs to the time before.
    pub(crate) fn pass(&mut self, by: Duration) {
        self.date_writes();
        self.now = self.now.plus(by);
    }

    pub(crate) fn date_writes(&mut self) {
        let clock = self.clock();
        for (key, revision) in std::mem::take(&mut self.etcd.writes) {
            self.names.wrote(words::short(&self.keys, &key), revision, &clock);
        }
    }

    /// What the story calls now.
    pub(crate) fn clock(&self) -> String {
        words::seconds(self.now.boot - UPTIME)
    }

    pub(crate) fn tell(&mut self, line: String) {
        let line = match self.mode {
            Mode::Told => line,
            Mode::Run | Mode::Quick => format!("{}  {line}", self.clock()),
        };
        self.told.push(line);
    }

    /// An input that does not fit: shown in its place, and no story may be kept with it.
    pub(crate) fn misled(&mut self, why: &str) {
        self.tell(format!("{MISLED} {why}"));
    }

    /// A sidecar starts, with whatever an earlier one left on the disk.
    pub(crate) fn start(&mut self) {
        self.seed += 1;
        self.call = None;
        self.soon.clear();
        self.started.clear();
        self.tethers.clear();
        let mut node = Node::new(Setup {
            me: self.me.clone(),
            cluster: "story".to_owned(),
            timing: self.timing,
            fence: self.fence.clone(),
            groups: self.groups.iter().map(|name| self.settings(name)).collect(),
            pinned: self.pin,
            saved: self.saved.clone(),
            pages: self.pages.clone(),
            seed: self.seed,
        });
        let mut out = Vec::new();
        node.start(self.now, &mut out);
        self.node = Some(node);
        self.carry_out(out);
        self.recorder = EpochRecorder::default();
        self.chronicle();
    }

    pub(crate) fn deliver(&mut self, event: Event) {
        let mut out = Vec::new();
        let Some(node) = &mut self.node else {
            return self.misled("no sidecar runs");
        };
        node.handle(self.now, event, &mut out);
        self.carry_out(out);
        self.chronicle();
    }

    /// As the loop does at the end of each turn.
    fn chronicle(&mut self) {
        if let Some(status) = self.node.as_ref().map(|node| node.status(self.now)) {
            let wall = self.clock();
            self.entries.extend(self.recorder.observe(self.now, &wall, &status));
        }
    }

    fn carry_out(&mut self, out: Vec<Action>) {
        self.date_writes();
        for action in out {
            self.check(&action);
            if let Action::Say(decision) = &action {
                self.said.insert((decision.code, decision.text.clone()));
            }
            let (kind, news) = self.news(&action);
            if let Some(kind) = kind {
                self.shown.extend((news && self.mode != Mode::Quick).then_some(kind));
            }
            match (&action, kind) {
                (Action::Txn { txn, .. }, Some(_)) if news && self.mode != Mode::Quick => {
                    for line in words::txn(&mut self.names, &self.keys, txn) {
                        self.tell(line);
                    }
                }
                (_, Some(kind)) if news => self.tell(format!("txn {}", kind.word())),
                (_, Some(_)) => {}
                (_, None) => {
                    let line = words::action(&mut self.names, self.now, &action);
                    if news {
                        self.tell(line);
                    }
                }
            }
            if self.mode == Mode::Quick {
                self.respond(&action);
            }
            self.effect(action);
        }
    }

    /// A transaction's kind, and whether the mode tells the action.
    fn news(&mut self, action: &Action) -> (Option<TxnKind>, bool) {
        if self.mode == Mode::Told {
            let kind = match action {
                Action::Txn { txn, .. } => Some(txn.kind),
                _ => None,
            };
            return (kind, true);
        }
        let quick = self.mode == Mode::Quick;
        match action {
            Action::Txn { txn, .. } => {
                let kind = txn.kind;
                let plain = self.beats(txn) && (quick || (txn.compare.len() == 2 && txn.then.len() == 1));
                self.beats += usize::from(plain);
                (Some(kind), !plain)
            }
            Action::Read { .. } => {
                self.reads += 1;
                (None, false)
            }
            Action::Page { of, page } => {
                let longer = self.pages.get(of).is_some_and(|old| {
                    old.order == page.order && old.run == page.run && old.soft <= page.soft && page.order == Order::Open
                });
                self.renewals += usize::from(longer);
                (None, !longer && !quick)
            }
            Action::VipHold { announce: false, .. } => {
                self.renewals += 1;
                (None, false)
            }
            Action::Feed { .. } => {
                self.meals += 1;
                (None, false)
            }
            Action::Say(_) | Action::Reply { .. } | Action::Exit { .. } => (None, true),
            _ => (None, !quick),
        }
    }

    /// Nothing starts at or after the soft deadline, nor without an open page of its run.
    fn check(&self, action: &Action) {
        let open = |of: &ServiceKey| {
            self.pages
                .get(of)
                .filter(|page| page.order == Order::Open && !self.now.reached(page.soft))
        };
        match action {
            Action::Start { of, run, made } => {
                let page = open(of).expect("a start needs an open page, before its soft deadline");
                assert_eq!(page.run, *run, "a start needs the page of its own run");
                let asked = self.prepared_for.get(&of.group);
                assert_eq!(
                    asked,
                    Some(&made.store),
                    "what starts was made for the store that was asked for"
                );
            }
            Action::Admit { of, .. } => assert!(open(of).is_some(), "nothing is admitted at or after soft"),
            Action::VipHold {
                group, announce: true, ..
            } => {
                let mut own = self.pages.keys().filter(|of| of.group == *group);
                assert!(own.any(|of| open(of).is_some()), "no address comes at or after soft");
            }
            _ => {}
        }
    }

    fn effect(&mut self, action: Action) {
        match action {
            Action::Txn { id, txn } => self.ask(Call::Txn(id, txn)),
            Action::Read { id } => self.ask(Call::Read(id)),
            // A member asks for another lease only for a pause: that goes beside its beats.
            Action::Grant(grant) if self.status().is_some_and(|status| status.member == MemberState::Joined) => {
                let (lease, result) = (grant.lease, Ok(()));
                self.soon
                    .push_back((self.now.plus(ANSWER), Event::Granted { lease, result }));
            }
            Action::Grant(grant) => self.ask(Call::Grant(grant)),
            Action::Revoke { lease } => self.etcd.remove(|kv| kv.lease == lease),
            Action::Page { of, page } => {
                self.pages.insert(of, page);
            }
            Action::Prepare { group, store } => {
                self.prepared_for.insert(group, store);
            }
            Action::Start { of, run, .. } => {
                self.started.insert(of, run);
            }
            Action::Inspect { of, run } => {
                self.inspected.insert(of, run);
            }
            Action::LookAtStorage { group, store } => {
                self.looked.insert(group, store);
            }
            Action::Compare { group, wish } => {
                self.compared.insert(group, wish);
            }
            Action::Admit { of, connection } => drop(self.tethers.insert(of, connection)),
            Action::Save(saved) => self.saved = Some(saved),
            Action::Pin(pin) | Action::PinLater(pin) => self.pin = Some(pin),
            Action::Exit { .. } => self.node = None,
            _ => {}
        }
    }

    fn ask(&mut self, call: Call) {
        assert!(self.call.is_none(), "one request in flight at a time");
        self.call = Some(call);
        self.call_at = self.now;
    }

    /// The answers of a world in which all goes well.
    fn respond(&mut self, action: &Action) {
        let at = self.now.plus(ANSWER);
        let afar = self.afar.clone();
        let mut answer = |event| self.soon.push_back((at, event));
        match action.clone() {
            Action::Prepare { group, store } => {
                for of in services(&group) {
                    let (store, result) = (store.clone(), Ok(made(store.clone())));
                    answer(Event::Prepared { of, store, result });
                }
            }
            Action::Start { of, run, .. } => answer(Event::TetherHello {
                of,
                run,
                running: false,
                connection: 1,
            }),
            Action::Page { of, page }
                if matches!(page.order, Order::Stop | Order::Kill) && !self.hung.contains(&of) =>
            {
                let run = page.run;
                let connection = match self.tethers.get(&of) {
                    Some(connection) => *connection,
                    // One that an earlier sidecar let in reports to this one before it ends.
                    None => {
                        let (of, running, connection) = (of.clone(), true, 1);
                        answer(Event::TetherHello {
                            of,
                            run,
                            running,
                            connection,
                        });
                        connection
                    }
                };
                answer(Event::TetherGone { of, run, connection });
            }
            Action::Probe { of, run, .. } => answer(Event::Probed {
                of,
                run,
                result: Ok(()),
            }),
            Action::AskHolder { of, run } => {
                let result = afar.clone();
                let vantage = None;
                answer(Event::HolderAsked {
                    of,
                    run,
                    result,
                    vantage,
                });
            }
            Action::LookAtMounts { group, run } => {
                let mounts = Mounts::Gone;
                answer(Event::MountsSeen { group, run, mounts });
            }
            Action::VipProbe { group } => answer(Event::Vip(VipNews::Free { group })),
            Action::VipHold {
                group, announce: true, ..
            } => answer(Event::Vip(VipNews::Held { group })),
            Action::VipDrop { group } => answer(Event::Vip(VipNews::Dropped { group })),
            _ => {}
        }
    }

    /// etcd carries out what was asked, and says so if it failed.
    pub(crate) fn apply(&mut self, txn: &Txn) -> bool {
        self.others_beat();
        self.date_writes();
        let failed = txn.compare.iter().find(|compare| !self.etcd.holds(compare)).cloned();
        if let Some(failed) = failed {
            let failed = words::compare(&mut self.names, &self.keys, &failed);
            self.tell(format!("etcd: not carried out, for not {failed}"));
        }
        self.etcd.txn(txn)
    }

    /// etcd answers what was asked.
    pub(crate) fn answer(&mut self) {
        let Some(call) = self.call.take() else {
            return self.misled("nothing is asked of etcd");
        };
        let reads = self.keys.ranges().len();
        let (id, succeeded) = match call {
            Call::Txn(_, ref txn) if txn.compare.len() > TXN_MAX || txn.then.len() + reads > TXN_MAX => {
                self.call = Some(call);
                self.fail(StoreError::Refused(
                    "etcdserver: too many operations in txn request".to_owned(),
                ));
                self.adrift.pop();
                return;
            }
            Call::Txn(id, txn) => (id, self.apply(&txn)),
            Call::Read(id) => {
                self.others_beat();
                (id, true)
            }
            Call::Grant(Grant { lease, .. }) => return self.deliver(Event::Granted { lease, result: Ok(()) }),
        };
        let result = Ok(self.etcd.answer(&self.keys, succeeded));
        self.deliver(Event::Answer { id, result });
    }

    pub(crate) fn fail(&mut self, why: StoreError) {
        let Some(call) = self.call.take() else {
            return self.misled("nothing is asked of etcd");
        };
        let (id, txn) = match call {
            Call::Txn(id, txn) => (id, Some(txn)),
            Call::Read(id) => (id, None),
            Call::Grant(Grant { lease, .. }) => {
                return self.deliver(Event::Granted {
                    lease,
                    result: Err(why),
                });
            }
        };
        self.adrift.extend(txn);
        self.deliver(Event::Answer { id, result: Err(why) });
    }

    pub(crate) fn beat(&mut self, node: &str, lease: i64, promise: Duration) {
        let beat = Beat {
            machine: "m".to_owned(),
            boot: format!("{node}1"),
            seq: 1,
            nonce: 7,
            ttl_ms: u64::try_from(promise.as_millis()).unwrap(),
        };
        self.etcd.put(&self.keys.node(node), &json(&beat), lease);
    }

    fn others_beat(&mut self) {
        let due = self
            .alive
            .iter()
            .filter(|(_, last)| self.now.since(**last) >= self.timing.beat);
        let due: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            let lease = self.names.named(&format!("L{name}"));
            let promise = self.promises.get(&name).copied().unwrap_or(TTL);
            self.beat(&name, lease, promise);
            self.alive.insert(name, self.now);
        }
    }

    /// Moves the time on, as the node and everything that answers by itself demand it.
    pub(crate) fn run(&mut self, until: Duration, done: impl Fn(&Self) -> bool) {
        (self.beats, self.reads, self.renewals) = (0, 0, 0);
        while let Some(node) = &self.node {
            let waits = self.waits_for_the_story();
            if waits || done(self) {
                break;
            }
            let tick = node.deadline().map(|at| self.now.until(at));
            let answer = self.call.as_ref().map(|_| self.now.until(self.call_at.plus(ANSWER)));
            let soon = self.soon.front().map(|(at, _)| self.now.until(*at));
            let next = [tick, answer, soon]
                .into_iter()
                .flatten()
                .min()
                .unwrap_or(Duration::MAX);
            if next > until.saturating_sub(self.now.boot) {
                self.pass(until.saturating_sub(self.now.boot));
                break;
            }
            self.pass(next);
            if answer == Some(next) {
                self.answer();
            } else if soon == Some(next) {
                let (_, event) = self.soon.pop_front().unwrap();
                self.deliver(event);
            } else {
                self.deliver(Event::Tick);
            }
        }
        let (beats, reads, renewals) = (self.beats, self.reads, self.renewals);
        let meals = match std::mem::take(&mut self.meals) {
            0 => String::new(),
            meals => format!(", {meals} meals of the watchdog"),
        };
        self.tell(format!("({beats} beats, {reads} reads, {renewals} renewals{meals})"));
    }

    /// Whether it is a beat that carries no more than a word of somebody: no story waits for it.
    fn beats(&self, txn: &Txn) -> bool {
        let config = self.keys.config();
        let confirms = |compare: &Compare| matches!(compare, Compare::Mod { key, .. } if *key == config);
        matches!(txn.kind, TxnKind::Beat | TxnKind::Wish | TxnKind::Order) && !txn.compare.iter().any(confirms)
    }

    fn waits_for_the_story(&self) -> bool {
        match (&self.call, self.mode) {
            (Some(Call::Txn(_, txn)), Mode::Run) => !self.beats(txn),
            (Some(Call::Grant(_)), Mode::Run) => true,
            _ => false,
        }
    }
}

/// What a sidecar remembers of a run of the group.
pub(crate) fn parts(group: &str) -> Parts {
    let settings = settings(group, OnStopFailure::Hold);
    let services = settings.services.into_iter().map(|service| Part {
        name: service.name,
        grace_ms: 1000,
    });
    Parts {
        services: services.collect(),
        vips: settings.addresses,
        exclusive_mounts: settings.exclusive_mounts,
    }
}

/// A container as it was made for this store.
pub(crate) fn made(store: Option<String>) -> Made {
    Made {
        store,
        fingerprint: "f1".to_owned(),
        image: "sha256:1".to_owned(),
        content: String::new(),
    }
}

fn services(group: &str) -> Vec<ServiceKey> {
    let group = settings(group, OnStopFailure::Hold);
    (0..group.services.len())
        .map(|service| ServiceKey {
            group: group.name.clone(),
            service,
        })
        .collect()
}

/// `sams` has one service, an address and a probe, `pair` two probes, `post` a canary besides, `routed` a gateway; `web` has two services and neither; in
/// `shop` the second waits for a healthy first.
fn settings(group: &str, on_stop_failure: OnStopFailure) -> GroupSettings {
    let is_plain = matches!(group, "web" | "shop");
    let names: &[&str] = if is_plain { &["db", "http"] } else { &["sams"] };
    let services = names.iter().map(|name| ServiceSettings {
        name: (*name).to_owned(),
        stop_grace: Duration::from_secs(1),
        after_healthy: if (group, *name) == ("shop", "http") {
            vec![0]
        } else {
            Vec::new()
        },
        left: false,
    });
    GroupSettings {
        name: group.to_owned(),
        gone: false,
        services: services.collect(),
        vips: usize::from(!is_plain),
        vip_first: false,
        probes: probes(group),
        start_timeout: Duration::from_secs(60),
        on_failure: OnFailure::Recover,
        restarts: 3,
        restart_window: Duration::from_secs(600),
        grace: None,
        on_stop_failure,
        failover: Failover::Auto,
        failback: None,
        second_opinion: SecondOpinion::Off,
        address: "192.0.2.10".to_owned(),
        addresses: if is_plain {
            Vec::new()
        } else {
            vec!["192.0.2.10/24".to_owned()]
        },
        storage_look: None,
        exclusive_mounts: false,
    }
}

fn probes(group: &str) -> Vec<ProbeSettings> {
    let asked = |name: &str| ProbeSettings {
        on_standby: OnStandby::Asks,
        ..ProbeSettings::named(name)
    };
    match group {
        "web" | "shop" => Vec::new(),
        "post" => vec![
            ProbeSettings::named("smtp 25"),
            ProbeSettings::canary("canary p@m.test", Duration::from_secs(60)),
        ],
        "pair" => ["smtp 25", "imap 143"].map(asked).into(),
        "routed" => vec![
            asked("smtp 25"),
            ProbeSettings {
                on_standby: OnStandby::ChecksWay,
                ..ProbeSettings::named("gateway 192.0.2.1")
            },
        ],
        _ => vec![asked("smtp 25")],
    }
}
