//! The values of the keys in etcd and of the two local files, and a whole read of them as one view.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::adoption::left::Parts;
use crate::epoch::Run;
use crate::event::Origin;
use crate::protocol::bounds::{self, Bounded, Fault};
use crate::protocol::image::ImageId;
use crate::protocol::kept::{Kept, RecordInEtcd, VoterKey};
use crate::protocol::keys::Keys;
use crate::protocol::policy::Policy;
use crate::protocol::secret::Secret;
use crate::protocol::{FaultId, ReleaseCause, TroubleState};
use crate::store::{Answer, KeyValue};
use crate::text;

/// A node's beat: proof of life that everyone can time for themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beat {
    pub machine: String,
    pub boot: String,
    pub seq: u64,
    /// Never repeated: tells the writer that this very attempt has landed.
    pub nonce: u64,
    /// How long observers must wait after it, in milliseconds.
    pub ttl_ms: u64,
}

impl Beat {
    /// The promise as a duration.
    #[must_use]
    pub fn promise(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }
}

/// Whether a group's record names a holder that may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordState {
    Active,
    Released,
}

/// A group's record: the only thing the rules read about who holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RecordInEtcd", into = "RecordInEtcd")]
pub struct Record {
    pub epoch: u64,
    pub node: String,
    /// The holder's lease id: a record belongs to an incarnation, never to a name.
    pub incarnation: i64,
    pub state: RecordState,
    /// In a sentence.
    pub reason: String,
    /// Of a released one: why. None from a version that said it in the sentence alone.
    pub cause: Option<ReleaseCause>,
    pub successor: Option<String>,
    /// Its holder could not stop it: a fence frees it, or the holder; silence never does.
    pub stuck: Option<String>,
    /// Under a hold, in milliseconds: what the long beat promised, for those who find its key gone and never saw it.
    pub promise_ms: Option<u64>,
    pub past: Past,
    /// Of an active one, with promises: who may take it after an ordinary promise.
    pub kept: Option<Kept>,
}

/// What the next holder must know of earlier moves, so that nothing goes to and fro. No rule of the election reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PastInEtcd", into = "PastInEtcd")]
pub struct Past {
    /// It went back by itself to this record's holder, or to the successor.
    pub returned: bool,
    /// The quiet window before it goes back by itself the next time.
    pub quiet_ms: Option<u64>,
    /// What made it leave its holders, one after the other: by the same fault it is not moved again.
    pub faults: Vec<FaultId>,
}

/// As it stands in the record.
#[derive(Serialize, Deserialize)]
struct PastInEtcd {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    returned: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quiet_ms: Option<u64>,
    /// In words: for people, and for versions that compare them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    faults: Vec<String>,
    /// The same faults. A version that knows words alone drops all of them, and adds its own words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fault_ids: Vec<FaultId>,
}

impl From<Past> for PastInEtcd {
    fn from(past: Past) -> Self {
        Self {
            returned: past.returned,
            quiet_ms: past.quiet_ms,
            faults: past.faults.iter().map(ToString::to_string).collect(),
            fault_ids: past.faults,
        }
    }
}

impl From<PastInEtcd> for Past {
    fn from(past: PastInEtcd) -> Self {
        let of_old = || past.faults.iter().map(|words| FaultId::of_old(words)).collect();
        Self {
            returned: past.returned,
            quiet_ms: past.quiet_ms,
            faults: if past.fault_ids.is_empty() {
                of_old()
            } else {
                past.fault_ids
            },
        }
    }
}

impl Past {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Record {
    /// Why it was released, by its word, or by the sentence where an earlier version wrote it.
    #[must_use]
    pub fn release_cause(&self) -> ReleaseCause {
        self.cause.unwrap_or_else(|| ReleaseCause::of_old(&self.reason))
    }

    /// How long observers who never saw the holder's beat must wait at least.
    #[must_use]
    pub fn promise(&self) -> Duration {
        Duration::from_millis(self.promise_ms.unwrap_or(0))
    }
}

/// What all nodes must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterConfig {
    /// +1 with every `leasehold accept`.
    pub generation: u64,
    pub ttl_ms: u64,
    /// While the ttl changes, in milliseconds: the longest that a beat may have promised which nobody saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_ms: Option<u64>,
    /// With promises, in milliseconds: how long a holder may run on after its last landed beat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promises_ms: Option<u64>,
    /// With promises: under which nodes speak to each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promises_secret: Option<Secret>,
}

impl ClusterConfig {
    /// With `longest` where it is more than the ttl.
    #[must_use]
    pub fn new(generation: u64, ttl: Duration, longest: Duration) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            generation,
            ttl_ms: millis(ttl),
            longest_ms: (longest > ttl).then(|| millis(longest)),
            promises_ms: None,
            promises_secret: None,
        }
    }

    /// What every beat promises from now on.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    /// The longest that an ordinary beat may promise or have promised.
    #[must_use]
    pub fn longest(&self) -> Duration {
        Duration::from_millis(self.longest_ms.unwrap_or(0).max(self.ttl_ms))
    }
}

/// A node's readiness for one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    pub ready: bool,
    /// In a sentence, when it is not, or when it is but could not campaign at once.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
    /// What is in the image: its digest differs between image stores, and with how it came to the host.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content: String,
    /// What must be the same on every host, by its name in the compose file, with a fingerprint of its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub file: BTreeMap<String, String>,
    /// The epoch of a claim on the storage that is above the record's, once a tether of this node met it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<u64>,
    /// Of the holder alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
    /// Of the holder: what runs is not what the file and the image say now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// Of a deleted group: the container on this node that uses its storage now, without a lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    /// Of the holder: the run that serves, where standbys may ask it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serves: Option<Run>,
    /// Of a standby that asked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opinion: Option<Opinion>,
    /// Of a standby: the certificates that its host has for itself were good when it looked last, and are now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub certified: bool,
}

impl Readiness {
    /// Whether it would run the same image, as far as both nodes know theirs.
    #[must_use]
    pub fn is_same_image(&self, other: &Self) -> bool {
        self.image_id().is_same(&other.image_id())
    }

    /// Its image.
    #[must_use]
    pub fn image_id(&self) -> ImageId {
        ImageId {
            digest: self.image.clone(),
            content: self.content.clone(),
        }
    }
}

/// What a standby finds at the group's first virtual address. It says nothing of when: whoever reads it times it for himself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opinion {
    pub of: Run,
    /// What it does not reach, in a sentence without its full stop; empty when it reaches everything.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fault: String,
    /// It does not reach it, and yet somebody answers for the address there, as a neighbour does.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answers: bool,
    /// From which address it asked in vain.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
}

/// Why a group that is held does not serve as it should: what only its holder can know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    pub state: TroubleState,
    /// In a sentence.
    pub why: String,
}

/// In what a run differs from what would be started now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// In a sentence without its full stop.
    pub what: String,
    /// Why a new start could not take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<String>,
}

/// What a node publishes for others to read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    pub version: String,
    pub address: String,
    pub priority: u32,
    /// The smallest ttl that would do on this node, in milliseconds; none from a version that can't change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest_ttl_ms: Option<u64>,
    pub groups: BTreeMap<String, Readiness>,
    /// Why the rate of its clocks is in doubt; empty when it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub clock: String,
    /// What is wrong with its endpoints; empty when nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub endpoints: String,
    /// It was told to end, and will leave in order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ending: bool,
    /// It has a vote, and takes part in promises once they are turned on; not from a version without them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub votes: bool,
    /// It goes by what is set at run time; not from a version before that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub heeds_policy: bool,
    /// The hardware address of the interface with its virtual addresses; empty from a version that did not tell it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mac: String,
}

impl NodeStatus {
    /// Whether it said that it will leave.
    #[must_use]
    pub fn leaves(&self) -> bool {
        self.ending || self.groups.values().any(|ready| ready.why == text::old::NODE_ENDING)
    }
}

/// A node that takes part, or did and was not removed. For people: no rule of the election reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownNode {
    pub version: String,
    pub address: String,
    /// When it was here last, to a minute: seconds since 1970 by its own wall clock.
    pub seen: i64,
}

/// What an operator wants of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "want", rename_all = "lowercase")]
pub enum Intent {
    Switchover {
        to: Option<String>,
        by: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        why: String,
        /// Written by the holder before it stops: the mod revision of the request. From here on it can't be withdrawn.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        begun: Option<i64>,
    },
    /// Its holder starts it again in place, with what the file and the image say now.
    Apply {
        by: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        why: String,
    },
    /// What the holder answered to the request of that mod revision. It is there for the asker to read, for a while.
    Refused { of: i64, why: String },
}

/// An operator's order that holds until it is taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingOrder {
    /// Who gave it, such as `root on a`.
    pub by: String,
    /// When, for people.
    pub at: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// When it ends by itself, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl From<Origin> for StandingOrder {
    fn from(origin: Origin) -> Self {
        let Origin { by, at, why, until } = origin;
        Self { by, at, why, until }
    }
}

/// What `leasehold init` wrote into the group's storage: mount target -> id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreIds {
    pub id: String,
    pub mounts: Vec<String>,
}

/// Which etcd this node trusts; kept on disk across boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    pub cluster_id: u64,
    pub generation: u64,
    pub revision: i64,
    /// The longest that an ordinary beat may promise, in milliseconds, as last known: a restored etcd may know less.
    #[serde(default)]
    pub longest_ms: u64,
    /// The bound of promises: a restored etcd may know nothing of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promises_ms: Option<u64>,
    /// Their secret: a voter that starts while etcd is away needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promises_secret: Option<Secret>,
}

/// What a restarted sidecar needs to adopt its running containers; kept in a boot-scoped file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub boot: String,
    pub lease: i64,
    pub groups: BTreeMap<String, SavedRun>,
}

impl Saved {
    /// Whether containers of it may run, in this boot.
    #[must_use]
    pub fn may_run(&self, boot: &str) -> bool {
        self.boot == boot && !self.groups.is_empty()
    }
}

/// The run that may be alive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRun {
    pub epoch: u64,
    pub n: u32,
    /// Its stop has begun: it must never be taken for active again.
    pub latched: bool,
    /// What must be known to stop it, should it have left the file by then; empty from a version that did not write it.
    #[serde(default)]
    pub parts: Parts,
}

/// A node's key as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeKey {
    pub lease: i64,
    pub mod_revision: i64,
    /// `None`: unreadable, which counts as a beat that promises nothing we know.
    pub beat: Option<Beat>,
}

/// A group's keys as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupKeys {
    /// 0: there is none.
    pub record_mod: i64,
    /// `None` with a `record_mod` above 0: unreadable, never acted upon.
    pub record: Option<Record>,
    pub intent: Option<(Intent, i64)>,
    /// 0: there is none. Above 0 without an `intent`: unreadable, which may be overwritten.
    pub intent_mod: i64,
    /// With the key's mod revision, as the next.
    pub stopped: Option<(StandingOrder, i64)>,
    pub paused: Option<(StandingOrder, i64)>,
    pub deleted: Option<(StandingOrder, i64)>,
    /// Nodes that never take it.
    pub excluded: BTreeMap<String, (StandingOrder, i64)>,
    pub store: Option<StoreIds>,
    /// What is set at run time; nothing where that can't be read: then the files count. And its mod revision.
    pub policy: Policy,
    pub policy_mod: i64,
    /// The key that tells people who leads hangs on no lease.
    pub immortal_leader: bool,
}

/// One consistent read of the cluster's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub cluster_id: u64,
    pub revision: i64,
    pub config: Option<ClusterConfig>,
    pub config_mod: i64,
    pub nodes: BTreeMap<String, NodeKey>,
    pub statuses: BTreeMap<String, NodeStatus>,
    pub groups: BTreeMap<String, GroupKeys>,
    /// Nodes that shall hold nothing, with the key's mod revision.
    pub drained: BTreeMap<String, (StandingOrder, i64)>,
    /// Every node that took part and was not removed.
    pub known: BTreeMap<String, KnownNode>,
    /// Each node's vote.
    pub voters: BTreeMap<String, VoterKey>,
    /// Keys whose value could not be read, and why.
    pub unreadable: BTreeMap<String, Fault>,
    /// Of all keys that were read.
    pub bytes: usize,
    /// The longest of them, with its length.
    pub largest: Option<(String, usize)>,
}

impl View {
    /// Sorts an answer's keys into their places.
    #[must_use]
    pub fn read(keys: &Keys, answer: &Answer) -> Self {
        let mut view = Self {
            cluster_id: answer.cluster_id,
            revision: answer.revision,
            ..Self::default()
        };
        for kv in &answer.keys {
            view.weigh(kv);
            if let Some(fault) = keys.parts(&kv.key).and_then(|parts| view.take(&parts, kv)) {
                view.unreadable.insert(kv.key.clone(), fault);
            }
        }
        view
    }

    fn weigh(&mut self, kv: &KeyValue) {
        let bytes = kv.key.len() + kv.value.len();
        self.bytes += bytes;
        if self.largest.as_ref().is_none_or(|(_, largest)| bytes > *largest) {
            self.largest = Some((kv.key.clone(), bytes));
        }
    }

    /// Puts one key into its place; why it can't be read.
    fn take(&mut self, parts: &[&str], kv: &KeyValue) -> Option<Fault> {
        match parts {
            ["config"] => {
                self.config_mod = kv.mod_revision;
                keep(&kv.value, &mut self.config)
            }
            ["nodes", node] => {
                let mut beat = None;
                let fault = keep(&kv.value, &mut beat);
                let key = NodeKey {
                    lease: kv.lease,
                    mod_revision: kv.mod_revision,
                    beat,
                };
                self.nodes.insert((*node).to_owned(), key);
                fault
            }
            ["status", node] => keep_of(&kv.value, node, &mut self.statuses),
            ["status", node, "drained"] => {
                let (order, fault) = bounds::read_order(&kv.value);
                self.drained.insert((*node).to_owned(), (order, kv.mod_revision));
                fault
            }
            ["status", node, "known"] => {
                let mut known = None;
                let fault = keep(&kv.value, &mut known);
                // That it took part, the key alone says.
                self.known.insert((*node).to_owned(), known.unwrap_or_default());
                fault
            }
            ["status", node, "voter"] => keep_of(&kv.value, node, &mut self.voters),
            ["groups", group, leaf] => {
                let group = self.groups.entry((*group).to_owned()).or_default();
                group.immortal_leader |= *leaf == "leader" && kv.lease == 0;
                group.read(leaf, &kv.value, kv.mod_revision)
            }
            ["groups", group, "without", node] => {
                let group = self.groups.entry((*group).to_owned()).or_default();
                let (order, fault) = bounds::read_order(&kv.value);
                group.excluded.insert((*node).to_owned(), (order, kv.mod_revision));
                fault
            }
            _ => None,
        }
    }

    /// A group's keys; those of an unknown group are empty.
    #[must_use]
    pub fn group(&self, name: &str) -> &GroupKeys {
        static NONE: LazyLock<GroupKeys> = LazyLock::new(GroupKeys::default);
        self.groups.get(name).unwrap_or(&NONE)
    }

    /// The lease on a node's key, 0 when it is absent.
    #[must_use]
    pub fn lease_of(&self, node: &str) -> i64 {
        self.nodes.get(node).map_or(0, |key| key.lease)
    }
}

impl GroupKeys {
    fn read(&mut self, leaf: &str, value: &str, mod_revision: i64) -> Option<Fault> {
        let order = |place: &mut Option<(StandingOrder, i64)>| {
            let (order, fault) = bounds::read_order(value);
            *place = Some((order, mod_revision));
            fault
        };
        match leaf {
            "record" => {
                self.record_mod = mod_revision;
                keep(value, &mut self.record)
            }
            "intent" => {
                self.intent_mod = mod_revision;
                let mut intent = None;
                let fault = keep(value, &mut intent);
                self.intent = intent.map(|intent| (intent, mod_revision));
                fault
            }
            "stopped" => order(&mut self.stopped),
            "paused" => order(&mut self.paused),
            "deleted" => order(&mut self.deleted),
            "store" => keep(value, &mut self.store),
            "policy" => {
                self.policy_mod = mod_revision;
                bounds::read(value).map(|policy| self.policy = policy).err()
            }
            _ => None,
        }
    }

    /// What an operator wants of the group, as a sentence.
    #[must_use]
    pub fn intent_text(&self) -> Option<String> {
        match &self.intent.as_ref()?.0 {
            Intent::Switchover { to, by, why, begun } => {
                Some(text::switchover::wanted(to.as_deref(), by, why, begun.is_some()))
            }
            Intent::Apply { by, why } => Some(text::switchover::apply::wanted(by, why)),
            Intent::Refused { .. } => None,
        }
    }

    /// Why the last request was refused.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        match self.intent.as_ref()? {
            (Intent::Refused { why, .. }, _) => Some(why.clone()),
            (Intent::Switchover { .. } | Intent::Apply { .. }, _) => None,
        }
    }

    /// Whether a record is there that cannot be read: nothing may be concluded from it.
    #[must_use]
    pub fn unreadable(&self) -> bool {
        self.record_mod != 0 && self.record.is_none()
    }

    /// The record if it names a holder that may run.
    #[must_use]
    pub fn active(&self) -> Option<&Record> {
        self.record
            .as_ref()
            .filter(|record| record.state == RecordState::Active)
    }
}

/// Keeps what can be read, or says why it can't be.
fn keep<T: DeserializeOwned + Bounded>(text: &str, place: &mut Option<T>) -> Option<Fault> {
    bounds::read(text).map(|value| *place = Some(value)).err()
}

/// The same of a node's own value.
fn keep_of<T: DeserializeOwned + Bounded>(text: &str, node: &str, place: &mut BTreeMap<String, T>) -> Option<Fault> {
    let mut value = None;
    let fault = keep(text, &mut value);
    place.extend(value.map(|value| (node.to_owned(), value)));
    fault
}

/// A value as it is written to etcd.
#[must_use]
pub fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
