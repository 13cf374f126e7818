//! Everything that comes into the core and everything that goes out of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use leasehold_base::order::Order;

pub use crate::failure::{FailureKind, ProbeFailure};

use crate::epoch::Run;
use crate::group::made::Made;
use crate::observe::etcd::EtcdTrouble;
use crate::promises::Message;
use crate::protocol::policy::Change;
use crate::protocol::records::{Drift, Pin, Saved};
use crate::protocol::secret::Secret;
use crate::requests::exported::Exported;
use crate::requests::fenced::Fenced;
use crate::requests::refusal::Refusal;
use crate::snapshot::code::Code;
use crate::store::{Answer, Grant, Hint, RequestId, StoreError, Txn};
use crate::time::Time;

/// A service of a group, by its place in the start order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceKey {
    pub group: String,
    pub service: usize,
}

/// A check of a group, by its place in the group's settings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProbeKey {
    pub group: String,
    pub probe: usize,
}

/// What happened. A failed operation is an event like any other.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Time has passed: `deadline()` was reached.
    Tick,
    /// etcd answered a transaction or a read, or did not.
    Answer {
        id: RequestId,
        result: Result<Answer, StoreError>,
    },
    /// [`Action::PinLater`] did not reach the disk.
    PinUnwritten { why: String },
    /// The lease was granted, or not.
    Granted { lease: i64, result: Result<(), StoreError> },
    /// A watch's news.
    Hint(Hint),
    /// A container stands ready with its gate closed, or why it does not. `store`: the id that it was asked for.
    Prepared {
        of: ServiceKey,
        store: Option<String>,
        result: Result<Made, String>,
    },
    /// The engine took the start command, or did not.
    StartAnswered {
        of: ServiceKey,
        run: Run,
        result: Result<(), NotStarted>,
    },
    /// The engine is alive, and still at the start: it mounts what takes its time.
    Mounting { of: ServiceKey, run: Run },
    /// A tether reported: at its gate, or `running` after a restart of this sidecar.
    TetherHello {
        of: ServiceKey,
        run: Run,
        running: bool,
        connection: u64,
    },
    /// A tether that runs tells by how much it woke up too late at the worst, since it told that last.
    TetherWoke { late: Duration },
    /// A tether started nothing, because the storage carries a claim of this later epoch.
    ClaimAbove {
        of: ServiceKey,
        run: Run,
        epoch: u64,
        connection: u64,
    },
    /// The pidfd that came with this connection became readable: nothing of that process's namespace is left.
    TetherGone { of: ServiceKey, run: Run, connection: u64 },
    /// What somebody other than its tether knows of a container, asked for by [`Action::Inspect`].
    Inspected { of: ServiceKey, run: Run, trace: Trace },
    /// What is left of the mounts of a run whose processes have ended; the answer to [`Action::LookAtMounts`].
    MountsSeen { group: String, run: Run, mounts: Mounts },
    /// A container has ended, by the engine's word: what it ended with, and the last lines that it wrote, for people. No proof of
    /// its end. Without a run: one that was started before this sidecar.
    Ended {
        of: ServiceKey,
        run: Option<Run>,
        code: Option<i64>,
        lines: Vec<String>,
    },
    /// The engine did something to a container that the service feels. Without a run: to one that was started before this
    /// sidecar. It may have been our order.
    Signalled {
        of: ServiceKey,
        run: Option<Run>,
        what: Outside,
    },
    /// The engine's health check changed. Without a run: of one that was started before this sidecar.
    Health {
        of: ServiceKey,
        run: Option<Run>,
        healthy: bool,
    },
    /// The engine answers, or does not.
    Engine { result: Result<(), String> },
    /// It does not, and never will to this sidecar: its socket was removed from the host, and this container keeps the old one.
    /// Told again and again.
    EngineOrphaned,
    /// Whether this host could run the group, as far as its ports and its disk go; why it could not.
    Fitness { group: String, unfit: Option<String> },
    /// Whether the storage is as it must be, as far as a standby may look; the answer to [`Action::LookAtStorage`].
    StorageSeen {
        group: String,
        store: String,
        result: Result<(), ProbeFailure>,
    },
    /// Whether a start of these containers would come to its gate on this host; the answer to [`Action::TryStart`].
    StartTried {
        group: String,
        made: Vec<Made>,
        /// For how long from now on all certificates are good that this host has for itself; none where it could not show them.
        result: Result<Option<Duration>, ProbeFailure>,
    },
    /// In what the run of the group differs from what the file and the image say now; the answer to [`Action::Compare`], and
    /// told by itself, without a request, now and then.
    Compared {
        group: String,
        intent: Option<i64>,
        drift: Option<Drift>,
    },
    /// What the compose file of this node says of the group now: fingerprints of what must be the same on every host.
    FileRead {
        group: String,
        keys: BTreeMap<String, String>,
    },
    /// Why the rate of this host's clocks is in doubt, if it is. `wall`: the wall time in seconds since 1970, for people: no
    /// decision rests on it.
    Clock { doubt: Option<String>, wall: Option<i64> },
    /// Where the endpoints of this node listen, if anywhere, and what is wrong with them.
    Endpoints { address: String, fault: Option<String> },
    /// What one member of etcd says of itself, now and then; nothing is wrong with it where there are no troubles.
    EtcdMember { url: String, troubles: Vec<EtcdTrouble> },
    /// A container that this node may not run was seen: it is of the group, or could touch its storage.
    Intruder { group: String, seen: Intruder },
    /// The container that uses the storage of a group which was let go, if there is one.
    Used { group: String, by: Option<String> },
    /// A check of the service ended.
    Probed {
        of: ProbeKey,
        run: Run,
        result: Result<(), ProbeFailure>,
    },
    /// A standby's question to the holder's service ended; of one that failed, where it was asked from.
    HolderAsked {
        of: ProbeKey,
        run: Run,
        result: Result<(), ProbeFailure>,
        vantage: Option<Vantage>,
    },
    /// The clients that the service has let in, by address and port, as far as this host can see them; the answer to
    /// [`Action::LookForClients`].
    ClientsSeen {
        group: String,
        clients: BTreeSet<(String, u16)>,
    },
    /// News of the virtual addresses.
    Vip(VipNews),
    /// The host could not be reset, or goes on all the same.
    ResetFailed { why: String },
    /// One try of [`Action::Fence`] has ended; `Ok` says that the node can't write any more.
    FenceEnded {
        node: String,
        incarnation: i64,
        result: Result<String, String>,
    },
    /// Where other nodes ask this one's vote, if anywhere, and what is wrong with it.
    Reachable { address: String, fault: Option<String> },
    /// Another node says something directly; `from`: where an answer reaches it.
    Heard { from: String, message: Message },
    /// The daemon shall end: hand over first.
    Terminate,
    /// An operator's request; `reply` names whom to answer.
    Request { reply: u64, request: Request },
}

/// Where a standby stands that asked in vain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vantage {
    /// Somebody answers for the service's address there, as a neighbour does.
    pub answers: bool,
    /// The address from which it asked.
    pub from: String,
}

/// What the engine does to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// It sends a signal that ends it.
    Ends,
    /// It freezes all its processes, until somebody has it thaw them.
    Pauses,
}

/// Why a container did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotStarted {
    /// In a sentence.
    pub why: String,
    pub blame: Blame,
}

/// Whose fault it is that a container did not start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Blame {
    /// The service's or the host's, and the next try may do better.
    #[default]
    Unknown,
    /// The engine's, which is away or can't run anything now: no verdict on the service.
    Engine,
    /// The host's, and the same at each try until somebody mends it.
    Lasting,
    /// The host's too: its own certificate is out of date, and another host's is good.
    Certificate,
}

impl From<String> for NotStarted {
    fn from(why: String) -> Self {
        let blame = Blame::Unknown;
        Self { why, blame }
    }
}

/// What is left of a container, by whatever can still tell once its tether is silent. The engine's word that it is down is
/// none of these: an engine may be mistaken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trace {
    /// The kernel's word: no process of any container that was started for the service is left.
    Nothing,
    /// The kernel's word: something is left, be it frozen or hanging; `what` without figures that change.
    Left { what: String },
    /// The engine's word that nobody ever started it, where the kernel's can't be had.
    NeverStarted,
    /// Nobody can tell, and why.
    Hidden { why: String },
}

/// What a run has left mounted that one host alone may mount: a file system on a block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mounts {
    /// The kernel's word: nothing of it is mounted on this host any more, and nothing will be by a start that was ordered.
    Gone,
    /// The kernel's word: `what` is still mounted.
    Left { what: String },
    /// Nobody can tell, and why.
    Hidden { why: String },
}

/// What the address adapter reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VipNews {
    /// Nobody answered for the group's addresses.
    Free { group: String },
    /// Somebody else answered before they were added.
    Conflict { group: String, vip: String, mac: String },
    /// All addresses are on the interface.
    Held { group: String },
    /// An address could not be added.
    Failed { group: String, error: String },
    /// This host has an address of the group by itself, in these words; none: no more.
    Occupied { group: String, by: Option<String> },
    /// No address of the group that we added is on this host.
    Dropped { group: String },
    /// Somebody else uses the address while the group runs.
    Foreign { group: String, vip: String, mac: String },
    /// Removed by hand and put back.
    Lost { group: String, vip: String },
    /// Carrier came or went.
    Link {
        up: bool,
        /// Its hardware address; empty where it has none.
        mac: String,
    },
}

/// A container that a node may not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intruder {
    pub id: String,
    pub name: String,
    pub why: String,
    /// False of one that was made and not started yet.
    pub runs: bool,
}

/// What an operator can ask of the local sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Promise one long beat, so that the sidecar can be replaced.
    Hold { length: Duration },
    /// Move the group, to `to` if it is named.
    Switchover {
        group: String,
        to: Option<String>,
        origin: Origin,
    },
    /// Move the group to the node that is preferred for it, unless that one holds it.
    Failback { group: String, origin: Origin },
    /// Start the group again in place with what the file and the image say now, if it runs with anything else.
    Apply { group: String, origin: Origin },
    /// Free what somebody has made sure can't be written to (T10); `by` says who, and when.
    Fenced { what: Fenced, by: String },
    /// Take a strange etcd as the true one, after a restore, and lift every epoch above what is known and above `epoch`
    /// (T11). `force`: although nothing is strange.
    Accept { force: bool, epoch: Option<u64> },
    /// Put back what was exported, into an etcd that knows no group.
    Import { exported: Box<Exported> },
    /// Give or take back a standing order.
    Order { order: OrderKind, origin: Origin },
}

/// A standing order, or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderKind {
    /// The group stops and stays stopped.
    Stop {
        group: String,
    },
    Start {
        group: String,
    },
    /// Nothing is started, restarted or moved automatically; deadlines stay armed.
    Pause {
        group: String,
        length: Duration,
    },
    Resume {
        group: String,
    },
    /// A switchover that has not begun does not take place; `id`: this one alone.
    Withdraw {
        group: String,
        id: Option<i64>,
    },
    /// The node gives its groups away and takes none.
    Drain {
        node: String,
    },
    Undrain {
        node: String,
    },
    /// What a node that is gone for good left behind is deleted.
    Remove {
        node: String,
    },
    /// The node may take the group again.
    Extend {
        group: String,
        node: String,
    },
    /// The node never takes the group, until it is extended to it again.
    Unextend {
        group: String,
        node: String,
    },
    /// A group that was deleted is looked after again.
    Create {
        group: String,
    },
    /// The group is no more; its record and its storage stay.
    Delete {
        group: String,
    },
    /// Values of the group change in the place of the files', on every node and while it runs.
    Set {
        group: String,
        changes: Vec<Change>,
    },
    /// The cluster's ttl changes, on every node and while it runs, and promises; without a word about these they stay.
    Configure {
        ttl: Duration,
        promises: Option<PromisesWanted>,
    },
}

/// What is wanted of promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromisesWanted {
    /// How long a holder may run on without etcd; none: they are off.
    pub bound: Option<Duration>,
    /// Freshly drawn, for a cluster that has none.
    pub secret: Secret,
}

/// What is told to an operator whose command is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What happens now, or what was so before, in one sentence.
    pub text: String,
    /// The request that is written for the group's holder, to be carried out by it.
    pub intent: Option<IntentRef>,
}

/// A request to move a group, as it stands in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentRef {
    /// It withdraws this request and no other one.
    pub id: i64,
    /// The node that was named or chosen; none: the best standby when the holder begins.
    pub to: Option<String>,
}

impl From<String> for Done {
    fn from(text: String) -> Self {
        Self { text, intent: None }
    }
}

/// Who wants something, when and why: for people, never read by a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    pub by: String,
    pub at: String,
    pub why: String,
    /// When it ends by itself.
    pub until: Option<String>,
}

/// What the adapters shall do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Txn {
        id: RequestId,
        txn: Txn,
    },
    Read {
        id: RequestId,
    },
    Grant(Grant),
    KeepAlive {
        lease: i64,
    },
    /// From now on a call to etcd may take so long.
    Attempt(Duration),
    Revoke {
        lease: i64,
    },
    /// Written before anything that follows it.
    Page {
        of: ServiceKey,
        page: PageOrder,
    },
    /// Written before anything that follows it.
    Save(Saved),
    /// Written before anything that follows it.
    Pin(Pin),
    /// Written beside everything else; that it could not be is [`Event::PinUnwritten`].
    PinLater(Pin),
    /// Make sure that the container exists, stopped, as configured.
    /// `store` is the id that its storage must carry, once it is initialised.
    Prepare {
        group: String,
        store: Option<String>,
    },
    /// The group is deleted: its containers are neither made nor watched any more, and whoever uses its storage or its
    /// addresses is let alone, until the next [`Action::Prepare`].
    Unmanage {
        group: String,
    },
    /// Start what was made for this run, and nothing else.
    Start {
        of: ServiceKey,
        run: Run,
        made: Made,
    },
    /// Let the tether behind its gate start the service.
    Admit {
        of: ServiceKey,
        connection: u64,
    },
    Refuse {
        of: ServiceKey,
        connection: u64,
    },
    /// The second way to end a container, beside the page.
    Kill {
        of: ServiceKey,
    },
    KillForeign {
        id: String,
        why: String,
    },
    Inspect {
        of: ServiceKey,
        run: Run,
    },
    /// Look whether anything is still mounted that the run, whose processes have ended, had mounted for itself alone.
    LookAtMounts {
        group: String,
        run: Run,
    },
    /// Look, without harm to whoever writes there, whether the storage carries this store id.
    LookAtStorage {
        group: String,
        store: String,
    },
    /// See which claims on the storage stand still, and lay that down for a start: their holder has fallen silent. Nothing answers.
    WatchClaims {
        group: String,
        store: String,
    },
    /// See whether these containers would come to their gate here, without their storage, and without the service itself.
    TryStart {
        group: String,
        made: Vec<Made>,
    },
    /// Make one check; `at_vip`: where clients connect, else on this host's own address.
    Probe {
        of: ProbeKey,
        run: Run,
        at_vip: bool,
    },
    /// Make one check of a run that another node serves, at the first virtual address and without a login.
    AskHolder {
        of: ProbeKey,
        run: Run,
    },
    /// See which clients are connected at the ports that standbys ask.
    LookForClients {
        group: String,
    },
    VipProbe {
        group: String,
    },
    /// Add or renew the addresses; they end by themselves at `until`, however late this is carried out. `coarse`: at the end of a
    /// second that has begun by then, because the lease is too short for a kernel that counts in seconds.
    VipHold {
        group: String,
        until: Time,
        coarse: bool,
        announce: bool,
    },
    /// What an earlier sidecar left of the addresses ends at `until`. Nothing is added.
    VipKeep {
        group: String,
        until: Time,
        coarse: bool,
    },
    VipDrop {
        group: String,
    },
    /// Feed the hardware watchdog, armed by the first feed; never at or after `until`. Carried out before what follows.
    Feed {
        until: Time,
    },
    /// Look at the file and the image, and tell in what the run differs: [`Event::Compared`]. `request`: the revision of the
    /// operator's request that asks.
    Compare {
        group: String,
        intent: i64,
    },
    /// Put it to sleep: nothing runs here that it guards.
    Disarm,
    /// A decision, for the log, `status` and `why`.
    Say(Decision),
    Reply {
        reply: u64,
        result: Result<Done, Refusal>,
    },
    /// Reset the host now, without a sync; where that can't be done: [`Event::ResetFailed`].
    Reset {
        why: String,
    },
    /// Tell another node something directly; what can't be sent is lost.
    Send {
        to: String,
        message: Message,
    },
    /// Make sure that the node can't write, with the fence agent; one at a time for a node.
    Fence {
        node: String,
        incarnation: i64,
    },
    /// Everything is done: the process ends.
    Exit {
        detached: bool,
    },
}

/// What the page of one service shall say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageOrder {
    pub run: Run,
    pub order: Order,
    pub soft: Time,
    pub hard: Time,
}

/// How loud a decision is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Info,
    /// Somebody should look, even at 3 a.m.
    Alarm,
}

impl Level {
    /// In a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Alarm => "alarm",
        }
    }
}

/// One decision in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub code: Code,
    pub group: Option<String>,
    /// Of the group on this node, while it holds one.
    pub epoch: Option<u64>,
    pub text: String,
}
