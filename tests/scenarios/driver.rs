//! One node, a tiny etcd, and a clock that the story moves.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the driver has something to do for a few of the actions only"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use leasehold::base::epoch::Run;
use leasehold::base::time::Time;
use leasehold::core::event::{Action, Event, Order, PageOrder, ProbeFailure, ServiceKey};
use leasehold::core::group::made::Made;
use leasehold::core::group::{OnConflict, OnFailure, SecondOpinion};
use leasehold::core::history::{Entry, EpochRecorder};
use leasehold::core::host::stuck::OnStopFailure;
use leasehold::core::node::{Identity, Node, Setup};
use leasehold::core::promises::Vote;
use leasehold::core::protocol::TxnKind;
use leasehold::core::protocol::keys::Keys;
use leasehold::core::protocol::records::{Pin, Saved};
use leasehold::core::protocol::sizing::Timing;
use leasehold::core::requests::exported::Exported;
use leasehold::core::snapshot::code::Code;
use leasehold::core::snapshot::status::MemberState;
use leasehold::core::store::{Grant, RequestId, Txn};
use leasehold::core::takeover::confirm::Failover;
use leasehold::core::takeover::fencing::FenceSettings;

use super::etcd::Etcd;
use super::names::Names;

/// The machine's uptime when a story begins.
pub(super) const UPTIME: Duration = Duration::from_secs(1000);
/// How long etcd and everything else take to answer by themselves.
pub(super) const ANSWER: Duration = Duration::from_millis(10);
pub(super) const TTL: Duration = Duration::from_secs(5);

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
    pub(crate) on_conflict: OnConflict,
    pub(crate) second_opinion: SecondOpinion,
    pub(crate) storage_look: Option<Duration>,
    pub(crate) start_trial: Option<Duration>,
    pub(crate) exclusive_mounts: bool,
    /// What a standby finds at the address by itself.
    pub(crate) afar: Result<(), ProbeFailure>,
    pub(crate) fence: Option<FenceSettings>,
    pub(crate) vote: Option<Vote>,
    /// What was asked for last, so that an answer says what it answers: the store of each group's containers,
    pub(crate) prepared_for: BTreeMap<String, Option<String>>,
    /// the run that was started last and the one that was asked about,
    pub(crate) started: BTreeMap<ServiceKey, Run>,
    pub(crate) inspected: BTreeMap<ServiceKey, Run>,
    /// the store that was looked at, the containers that were tried, the request that a comparison is for.
    pub(crate) looked: BTreeMap<String, String>,
    pub(crate) tried: BTreeMap<String, Vec<Made>>,
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
    pub(super) pages: BTreeMap<ServiceKey, PageOrder>,
    pub(super) soon: VecDeque<(Time, Event)>,
    pub(super) beats: usize,
    pub(super) reads: usize,
    pub(super) renewals: usize,
    pub(super) meals: usize,
    seed: u64,
}

impl World {
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
            on_conflict: OnConflict::Wait,
            second_opinion: SecondOpinion::Off,
            storage_look: None,
            start_trial: None,
            exclusive_mounts: false,
            afar: Ok(()),
            fence: None,
            vote: None,
            prepared_for: BTreeMap::new(),
            started: BTreeMap::new(),
            inspected: BTreeMap::new(),
            looked: BTreeMap::new(),
            tried: BTreeMap::new(),
            compared: BTreeMap::new(),
            without: BTreeSet::new(),
            hung: BTreeSet::new(),
            timing: Timing::new(TTL, 0.01, None, Duration::from_secs(1)),
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
            vote: self.vote.clone(),
            promises: None,
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
            self.tell_action(&action);
            if self.mode == Mode::Quick {
                self.respond(&action);
            }
            self.effect(action);
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
            Action::TryStart { group, made } => {
                self.tried.insert(group, made);
            }
            Action::Compare { group, intent } => {
                self.compared.insert(group, intent);
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

    fn waits_for_the_story(&self) -> bool {
        match (&self.call, self.mode) {
            (Some(Call::Txn(_, txn)), Mode::Run) => !self.beats(txn),
            (Some(Call::Grant(_)), Mode::Run) => true,
            _ => false,
        }
    }
}
