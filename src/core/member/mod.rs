//! This node's place in the cluster: its incarnation, its beats, and what each answer of etcd proves.
//!
//! Every transaction of a node is also its beat (docs/protocol.md, OWN). One is in flight at a time. Whatever comes back is
//! read the same way: the node's own key tells which of the attempts has landed, and the youngest that did is the proof.

mod answer;
mod exchange;
mod keep;
mod refused;
mod send;
mod trust;

pub(crate) use exchange::Exchange;
pub(crate) use refused::{Asked, Refusals};

use std::time::Duration;

use super::store::RequestId;
use super::time::Time;

/// Where the node stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    /// Nothing has been read yet, or everything was dropped.
    Arriving,
    /// Our name's key belongs to somebody who may be alive.
    Waiting,
    /// A lease is asked for; `asked` is cleared to ask again.
    Granting {
        lease: i64,
        asked: bool,
    },
    Registering {
        lease: i64,
    },
    /// Taking over the incarnation of an earlier sidecar of this boot.
    Adopting {
        lease: i64,
        mod_revision: i64,
        tries: u32,
    },
    Joined {
        lease: i64,
        mod_revision: i64,
    },
    /// The key is gone or somebody else's: all groups stop, are released by T8, then we arrive anew.
    Lost {
        lease: i64,
    },
    /// etcd is not the one we trusted: nothing starts until an operator accepts. Or it holds a ttl that can't be kept here:
    /// then `before` is where this node goes on once it can.
    Frozen {
        why: String,
        before: Option<Box<Self>>,
    },
    Left,
}

impl Member {
    /// The incarnation whose key this node has, had, or takes over.
    pub(crate) fn lease(&self) -> Option<i64> {
        match self {
            Self::Joined { lease, .. } | Self::Adopting { lease, .. } | Self::Lost { lease } => Some(*lease),
            Self::Arriving
            | Self::Waiting
            | Self::Granting { .. }
            | Self::Registering { .. }
            | Self::Frozen { .. }
            | Self::Left => None,
        }
    }
}

/// What a request was for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Read,
    Configure,
    Register,
    /// T9: the key of the namesake's incarnation, and the beat that it compares.
    Evict(LastBeat),
    /// With whatever else this node has to say.
    Beat,
    /// The same with nothing else, so that etcd has nothing to refuse.
    BareBeat,
    /// What the holder answers to an operator's wish, or that it is fulfilled.
    Wish {
        group: String,
    },
    /// An operator's wish written to etcd; the reply follows the answer.
    Intent {
        reply: u64,
        /// What to answer once it is written.
        done: String,
    },
    /// A wish to move a group, which its holder answers.
    Switchover {
        reply: u64,
        group: String,
    },
    Hold {
        reply: u64,
        length: Duration,
    },
    Campaign {
        group: String,
        /// A T4 deletes that key.
        ends: Option<LastBeat>,
    },
    Release {
        group: String,
    },
    ReleaseLost {
        group: String,
    },
    /// A record whose run can't be stopped.
    Mark {
        group: String,
    },
    /// T10 at an operator's word.
    Fenced {
        reply: u64,
        /// Groups that did not fit in.
        left: usize,
    },
    /// T10 after a fence agent.
    Free {
        group: String,
    },
    Accept {
        reply: u64,
        /// What to answer once it is written.
        done: String,
    },
}

/// The last beat of an incarnation, by the mod revision of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastBeat {
    pub node: String,
    pub lease: i64,
    pub revision: i64,
}

impl Purpose {
    /// T3, T5 or T6, which end no other incarnation.
    pub(crate) fn campaign(group: String) -> Self {
        Self::Campaign { group, ends: None }
    }
}

/// The request in flight.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub id: RequestId,
    pub stamp: Time,
    pub purpose: Purpose,
}

/// A beat that was sent and not yet superseded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub nonce: u64,
    pub stamp: Time,
    pub promise: Duration,
}
