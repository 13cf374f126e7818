//! This node's place in the cluster: its incarnation, its beats, and what each answer of etcd proves.
//!
//! Every transaction of a node is also its beat (docs/protocol.md, OWN). One is in flight at a time. Whatever comes back is
//! read the same way: the node's own key tells which of the attempts has landed, and the youngest that did is the proof.

mod answer;
pub(crate) mod ending;
mod exchange;
mod keep;
mod known;
mod place;
mod refused;
mod send;
mod trust;

use ending::Ending;
use exchange::Exchange;
use refused::Refusals;
pub(crate) use refused::WriteKind;

use std::time::Duration;

use crate::random::Random;
use crate::snapshot::publication::Publication;
use crate::store::RequestId;
use crate::time::Time;

/// The node's place, and what keeps it. It is changed by the files of this folder, and nowhere else: everybody else reads it, and
/// says what has happened.
#[derive(Debug)]
pub(crate) struct Membership {
    member: Member,
    exchange: Exchange,
    refusals: Refusals,
    /// Until when nobody beats: a hold has promised more.
    holding_until: Option<Time>,
    /// What it says of itself, on its lease.
    publication: Publication,
    /// How far the end of the sidecar has come.
    ending: Ending,
    /// Lease ids and nonces.
    random: Random,
}

impl Membership {
    /// No member yet. `seed`: for lease ids and nonces.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            member: Member::default(),
            exchange: Exchange::default(),
            refusals: Refusals::default(),
            holding_until: None,
            publication: Publication::default(),
            ending: Ending::default(),
            random: Random::new(seed),
        }
    }

    /// How far the end of the sidecar has come.
    pub(crate) fn ending(&self) -> Ending {
        self.ending
    }

    /// A lease id that nobody has had.
    pub(crate) fn new_lease(&mut self) -> i64 {
        self.random.lease()
    }

    /// Where the node stands.
    pub(crate) fn place(&self) -> &Member {
        &self.member
    }

    pub(crate) fn is_joined(&self) -> bool {
        matches!(self.member, Member::Joined { .. })
    }

    pub(crate) fn is_frozen(&self) -> bool {
        matches!(self.member, Member::Frozen { .. })
    }

    /// The incarnation whose key this node has, had, or takes over.
    pub(crate) fn lease(&self) -> Option<i64> {
        self.member.lease()
    }

    /// The requests, to be looked at.
    pub(crate) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Whether etcd has refused this of late.
    pub(crate) fn put_off(&self, now: Time, asked: &WriteKind) -> bool {
        self.refusals.put_off(now, asked)
    }

    /// The sidecar begins: the first request does not wait.
    pub(crate) fn begin(&mut self, now: Time) {
        self.exchange.sent(now);
    }

    /// Something has changed in etcd: do not wait for the next beat.
    pub(crate) fn hint(&mut self) {
        self.exchange.hint();
    }

    /// A hold has landed.
    pub(crate) fn hold_until(&mut self, until: Time) {
        self.holding_until = Some(until);
    }

    pub(crate) fn holding_until(&self) -> Option<Time> {
        self.holding_until
    }

    pub(crate) fn is_under_hold(&self, now: Time) -> bool {
        self.holding_until.is_some_and(|until| !now.reached(until))
    }

    /// The sidecar ends, and nothing of it is left to be found.
    pub(crate) fn leave(&mut self) {
        self.member = Member::Left;
    }

    /// Goes on from where it stood, if it froze for want of a configuration; false if it did not.
    pub(crate) fn thaw(&mut self) -> bool {
        let Member::Frozen {
            before: Some(before), ..
        } = &mut self.member
        else {
            return false;
        };
        // The answer to a request for a lease was not waited for, and an id is never used twice.
        let granting = matches!(**before, Member::Granting { .. });
        let before = std::mem::take(&mut **before);
        self.member = if granting { Member::Arriving } else { before };
        true
    }

    /// Whether this status must be written; then it is under way.
    pub(crate) fn offer_status(&mut self, value: &str) -> bool {
        self.publication.offer(value)
    }

    /// The beat that carried it was answered.
    pub(crate) fn status_landed(&mut self, succeeded: bool) {
        self.publication.landed(succeeded);
    }

    /// What became of the one under way is not known.
    pub(crate) fn status_unknown(&mut self) {
        self.publication.unknown();
    }

    /// What must stand in etcd, unless another one is under way.
    pub(crate) fn settled_status(&self) -> Option<&str> {
        self.publication.settled()
    }

    /// Somebody else wrote there.
    pub(crate) fn forget_status(&mut self) {
        self.publication.forget();
    }
}

/// Where the node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Member {
    /// Nothing has been read yet, or everything was dropped.
    #[default]
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
    /// The beat to follow, while an earlier sidecar's incarnation is taken over, is another.
    fn follow(&mut self, revision: i64, tried: u32) {
        if let Self::Adopting {
            mod_revision, tries, ..
        } = self
        {
            (*mod_revision, *tries) = (revision, tried);
        }
    }

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
    /// What the holder answers to an operator's request, or that it is fulfilled.
    IntentAnswer {
        group: String,
    },
    /// An operator's request written to etcd; the reply follows the answer.
    Request {
        reply: u64,
        /// What to answer once it is written.
        done: String,
    },
    /// T16, with what to answer once it is written.
    Set {
        reply: u64,
        group: String,
        done: String,
    },
    /// A request to move a group, which its holder answers.
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
