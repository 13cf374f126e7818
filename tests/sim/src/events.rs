//! Everything that happens in the simulated world: calls under way, what machines do next, faults and operators.

use std::rc::Rc;
use std::time::Duration;

use leasehold_core::epoch::Run;
use leasehold_core::event::{Event, OrderKind, ServiceKey};
use leasehold_core::promises::Message;
use leasehold_core::store::{Grant, RequestId, Txn};

use crate::gate::Gate;
use crate::members::State;
use crate::storage::{ClaimLook, Fault};
use crate::tether::End;

/// What stands in the way of a call.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Txn(RequestId, Rc<Txn>),
    Read(RequestId),
    Grant(Grant),
    KeepAlive(i64),
    Revoke(i64),
}

/// Faults, repairs and operators.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    PowerOff(usize),
    PowerOn(usize),
    KillSidecar(usize),
    /// Crash in the middle of the next event's actions, after so many of them.
    CrashAfter(usize, usize),
    StartSidecar(usize),
    StopSignal(usize),
    ContinueSignal(usize),
    Freeze {
        host: usize,
        sleep: bool,
    },
    Thaw(usize),
    /// The way between a host and all of etcd, or one member.
    Network {
        host: usize,
        to: bool,
        from: bool,
    },
    Endpoint {
        host: usize,
        member: usize,
        to: bool,
        from: bool,
    },
    Member(usize, State),
    /// Whichever member leads.
    Leader(State),
    /// All members are well again.
    Members,
    Storage {
        host: usize,
        fault: Fault,
    },
    EtcdDown,
    EtcdUp,
    DeleteNodeKey(usize),
    /// By hand: the lease of a node, with its keys.
    RevokeLease(usize),
    /// By hand: the same value once more, or for a while one that nobody can read.
    EditRecord {
        group: String,
        garbage: bool,
    },
    RepairRecord(String),
    /// The endpoints lead to another, empty etcd, and back.
    Swap,
    SwapBack,
    CrashApp(usize, String),
    Engine {
        host: usize,
        hangs: bool,
        refuses: bool,
        lies: bool,
    },
    Calls {
        host: usize,
        lose: u64,
        lose_answer: u64,
        late: u64,
        duplicate: u64,
        latency: u64,
    },
    SlowTether {
        host: usize,
        tether: u64,
        die: u64,
        ignores_term: bool,
    },
    Term(usize),
    Switchover(usize, String, Option<String>),
    /// An operator on the host wants the group started again as the file says.
    Apply(usize, String),
    Hold(usize, Duration),
    /// An operator on the host gives the cluster another ttl.
    ChangeTtl(usize, Duration),
    /// An operator on the host orders something of a group.
    Order(usize, OrderKind),
    Accept(usize),
    /// An operator on `host` says that `node` was powered off.
    Fenced {
        host: usize,
        node: usize,
    },
    /// The fence agent has done its work on whoever bears the name.
    FenceHits(String),
    /// Nobody reaches the host's addresses, or does again.
    Veil(usize, bool),
    /// The host reaches nobody's addresses, or does again.
    Blind(usize, bool),
    /// The host's own certificate runs out, or is renewed.
    Expire(usize, bool),
    /// A switch answers for addresses that nobody has, by this hardware address, or does so no more.
    Proxy(Option<String>),
    /// An operator keeps a copy of the cluster's keys; etcd is lost for good; the copy is put back.
    Export,
    LoseEtcd,
    Import(usize),
    /// The host's compose file has the group no more, or has it again; its sidecar is made anew.
    ChangeFile {
        host: usize,
        group: String,
        dropped: bool,
    },
    /// What one host says to another directly arrives, or does no more.
    Direct {
        from: usize,
        to: usize,
        open: bool,
    },
    /// Of what hosts say to each other directly so much is lost or late, in 1000.
    Chatter {
        lose: u64,
        late: u64,
    },
    /// The state directory of a host is new: another vote, and nothing is pinned.
    LoseDisk(usize),
    Snapshot,
    Restore {
        new_id: bool,
    },
    Heal,
}

#[derive(Clone, Debug)]
pub(crate) enum Ev {
    ToEtcd {
        host: usize,
        life: u64,
        member: usize,
        call: Call,
        back: Option<u64>,
        sent: u64,
    },
    Inbox {
        host: usize,
        life: u64,
        event: Event,
    },
    Timeout {
        host: usize,
        life: u64,
        member: usize,
        call: Call,
    },
    Wake {
        host: usize,
        life: u64,
        token: u64,
    },
    Tether {
        host: usize,
        key: ServiceKey,
        instance: u64,
    },
    Started {
        host: usize,
        boot: u64,
        life: u64,
        key: ServiceKey,
        run: Run,
    },
    Admit {
        host: usize,
        key: ServiceKey,
        instance: u64,
        refuse: bool,
    },
    Exit {
        host: usize,
        key: ServiceKey,
        instance: u64,
        end: End,
    },
    /// A step of a tether at its gate.
    Gate {
        host: usize,
        key: ServiceKey,
        instance: u64,
        gate: Gate,
    },
    /// A standby's helper looks at the claim: for the first time, or after two beats.
    Watched(ClaimLook),
    /// A beat of the claim.
    Beat {
        host: usize,
        key: ServiceKey,
        instance: u64,
    },
    /// Dirty pages of a container that is no more.
    Flush {
        host: usize,
        boot: u64,
        group: String,
        epoch: u64,
        known_open: Option<&'static str>,
    },
    /// The engine unmounts what a container had mounted.
    Unmount {
        host: usize,
        boot: u64,
        group: String,
    },
    Election {
        term: u64,
    },
    Gone {
        host: usize,
        key: ServiceKey,
        instance: u64,
    },
    LeaseEnd {
        lease: i64,
    },
    /// A message between two hosts arrives.
    Direct {
        from: usize,
        to: usize,
        message: Message,
    },
    Act(Act),
}

pub(crate) struct Entry {
    pub(crate) at: u64,
    pub(crate) order: u64,
    /// Boxed: the queue moves its entries all the time.
    pub(crate) ev: Box<Ev>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}
