//! What this host shows of itself: whether it could run a group, and containers that may not run.

mod files;
pub mod stuck;
mod wakeups;
pub mod watchdog;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::event::{Action, Intruder, ProbeFailure};
use crate::group::made::Made;
use crate::group::storage_check::Silence;
use crate::host::stuck::Stuck;
use crate::host::wakeups::Wakeups;
use crate::host::watchdog::Watchdog;
use crate::node::Node;
use crate::observe::etcd::{EtcdMembers, EtcdTrouble};
use crate::protocol::records::Record;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// So long after its start a sidecar that has no word of etcd yet does not know whether a group is deleted; containers that
/// may not run are reported again when it is over.
const UNDECIDED: Duration = Duration::from_secs(5);

/// Containers that may not run here and don't: so many are remembered as told.
const IDLE_MAX: usize = 64;

/// What the engine said last.
#[derive(Clone, Debug)]
enum Engine {
    NotAsked,
    Answers,
    /// And why it does not.
    Silent(String),
}

/// What of this host counts for every group.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    engine: Engine,
    /// Why the rate of its clocks is in doubt.
    clock: Option<String>,
    /// Since when the interface has no link.
    without_link: Option<Time>,
    /// The hardware address of the interface; empty while it is not known.
    mac: String,
    /// What is wrong with etcd although it answers.
    etcd: EtcdMembers,
    smallest_ttl_ms: Option<u64>,
    /// When this sidecar began.
    started: Time,
    /// What is wrong with the endpoints of this node.
    endpoints: Option<String>,
    /// Containers that may not run here and don't, which was told: by id, the last one first.
    idle: VecDeque<String>,
    watchdog: Watchdog,
    stuck: Stuck,
    wakeups: Wakeups,
}

impl Host {
    /// `smallest_ttl_ms`: that could be kept here, as everybody is told.
    pub(crate) fn new(smallest_ttl_ms: Option<u64>) -> Self {
        Self {
            engine: Engine::NotAsked,
            clock: None,
            without_link: None,
            mac: String::new(),
            etcd: EtcdMembers::default(),
            smallest_ttl_ms,
            started: Time::default(),
            endpoints: None,
            idle: VecDeque::new(),
            watchdog: Watchdog::default(),
            stuck: Stuck::default(),
            wakeups: Wakeups::default(),
        }
    }

    /// This sidecar begins.
    pub(crate) fn begin(&mut self, now: Time) {
        self.started = now;
    }

    pub(crate) fn engine_answered(&mut self, result: Result<(), String>) {
        self.engine = match result {
            Ok(()) => Engine::Answers,
            Err(why) => Engine::Silent(why),
        };
    }

    /// It was asked and does not answer.
    pub(crate) fn engine_is_away(&self) -> bool {
        matches!(self.engine, Engine::Silent(_))
    }

    /// Why nothing can be asked of it.
    pub(crate) fn engine_failure(&self) -> Option<&str> {
        match &self.engine {
            Engine::NotAsked => Some(text::host::ENGINE_NOT_ASKED),
            Engine::Answers => None,
            Engine::Silent(why) => Some(why),
        }
    }

    pub(crate) fn clock_doubt(&self) -> Option<&str> {
        self.clock.as_deref()
    }

    /// Gives the doubt if it is a new one.
    fn doubt_clock(&mut self, doubt: Option<String>) -> Option<String> {
        let is_new = self.clock != doubt;
        self.clock.clone_from(&doubt);
        doubt.filter(|_| is_new)
    }

    /// Whether it is news that this container, which may not run here, was made.
    fn is_idle_news(&mut self, id: &str) -> bool {
        let is_news = !self.idle.iter().any(|told| told == id);
        if is_news {
            self.idle.truncate(IDLE_MAX - 1);
            self.idle.push_front(id.to_owned());
        }
        is_news
    }

    /// Whether the interface had its link before.
    pub(crate) fn link(&mut self, now: Time, up: bool, mac: String) -> bool {
        self.mac = mac;
        let before = self.without_link;
        self.without_link = (!up).then(|| before.unwrap_or(now));
        before.is_none()
    }

    pub(crate) fn has_link(&self) -> bool {
        self.without_link.is_none()
    }

    pub(crate) fn mac(&self) -> &str {
        &self.mac
    }

    pub(crate) fn without_link(&self) -> Option<Time> {
        self.without_link
    }

    pub(crate) fn etcd_troubles(&self) -> Vec<String> {
        self.etcd.sentences()
    }

    pub(crate) fn etcd_members(&self) -> BTreeMap<String, Vec<String>> {
        self.etcd.by_member()
    }

    /// What is wrong with the endpoints.
    pub(crate) fn endpoints(&self) -> Option<&str> {
        self.endpoints.as_deref()
    }

    pub(crate) fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }

    pub(crate) fn smallest_ttl_ms(&self) -> Option<u64> {
        self.smallest_ttl_ms
    }
}

impl Node {
    /// While the group is held here, its own service takes the ports.
    pub(super) fn fitness(&mut self, group: &str, unfit: Option<String>) {
        if let Some(group) = self.groups.get_mut(group) {
            group.found_unfit(unfit);
        }
    }

    /// The same for the storage, once it is initialised and a container of the service could be started at all.
    pub(super) fn step_looks(&mut self, now: Time, out: &mut Vec<Action>) {
        for (name, group) in &mut self.groups {
            let keys = self.facts.view().group(name);
            let could = self.host.engine_failure().is_none() && group.unprepared().is_none();
            let store = keys.store.as_ref().filter(|_| could).map(|store| store.id.clone());
            let held = keys.active().is_some_and(|record| {
                record.stuck.is_some() || !self.facts.observer().ripe(now, &record.node, record.incarnation)
            });
            let vacant = (!held && !keys.unreadable()).then_some(keys.record_mod);
            let others = |record: &&Record| record.stuck.is_none() && record.node != self.facts.me().name;
            let silent = keys.active().filter(others).and_then(|record| {
                let (node, lease) = (&record.node, record.incarnation);
                let ripe = self.facts.observer().ripe_at(node, lease)?;
                let beat = self.facts.observer().beat_of(node, lease);
                let record = keys.record_mod;
                Some((Silence { record, beat }, ripe))
            });
            group.step_watch(now, store.clone(), silent, self.facts.timing().ttl, out);
            group.step_look(now, store, vacant, out);
            group.step_trial(now, could && !keys.unreadable(), vacant, out);
        }
    }

    pub(super) fn start_tried(
        &mut self,
        now: Time,
        group: &str,
        made: &[Made],
        result: Result<Option<Duration>, ProbeFailure>,
    ) {
        if let Some(group) = self.groups.get_mut(group) {
            group.start_tried(now, made, result);
        }
    }

    pub(super) fn storage_seen(&mut self, now: Time, group: &str, store: &str, result: Result<(), ProbeFailure>) {
        if let Some(group) = self.groups.get_mut(group) {
            group.storage_seen(now, store, result);
        }
    }

    /// Nothing follows from it but words, for all to read: a standby with a doubtful clock is better than none.
    pub(super) fn doubt_clock(&mut self, doubt: Option<String>, out: &mut Vec<Action>) {
        if let Some(text) = self.host.doubt_clock(doubt) {
            self.mention(Code::ClockDoubtful, text, out);
        }
    }

    /// Nothing follows from it but words: a node whose endpoints are closed serves as well as before.
    pub(super) fn endpoints(&mut self, address: String, fault: Option<String>, out: &mut Vec<Action>) {
        let before = std::mem::replace(&mut self.host.endpoints, fault.clone());
        match (before, fault) {
            (before, Some(text)) if before.as_ref() != Some(&text) => {
                self.mention(Code::EndpointsFaulty, text.clone(), out);
            }
            (Some(_), None) => {
                let text = text::host::endpoints_open(&address);
                self.mention(Code::EndpointsRestored, text, out);
            }
            (Some(_) | None, Some(_)) | (None, None) => {}
        }
        self.facts.listen_at(address);
    }

    /// Nothing follows from it but words: what fills up is the operator's to empty.
    pub(super) fn etcd_member(&mut self, url: String, troubles: Vec<EtcdTrouble>, out: &mut Vec<Action>) {
        let were_sound = self.host.etcd.are_sound();
        for text in self.host.etcd.hear(url, troubles) {
            self.mention(Code::EtcdEndangered, text, out);
        }
        if !were_sound && self.host.etcd.are_sound() {
            self.mention(Code::EtcdSound, text::etcd::SOUND.to_owned(), out);
        }
    }

    /// The storage of a deleted group is its owner's. What does not run writes nothing and can't be killed: it is told once. Anybody
    /// may start it at any time, and then it is killed as every other one.
    pub(super) fn intruder(&mut self, group: &str, seen: Intruder, out: &mut Vec<Action>) {
        let deleted = self.facts.view().group(group).deleted.is_some();
        let asked = self.groups.get(group).is_some_and(|group| group.is_prepared());
        let undecided = !asked && self.facts.now().since(self.host.started) < UNDECIDED;
        if deleted || undecided {
            return;
        }
        let Intruder { id, name, why, runs } = seen;
        if !runs {
            if self.host.is_idle_news(&id) {
                let text = text::host::intruder_created(&name, &why);
                self.mention(Code::IntruderCreated, text, out);
            }
            return;
        }
        let text = text::host::intruder_killed(&name, &why);
        self.mention(Code::IntruderKilled, text, out);
        out.push(Action::KillForeign { id, why });
    }

    pub(super) fn used(&mut self, group: &str, by: Option<String>) {
        if let Some(group) = self.groups.get_mut(group) {
            group.used_by(by);
        }
    }
}
