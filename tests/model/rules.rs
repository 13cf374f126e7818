//! What each transaction compares, and the rules beside them: each can be taken out.

/// The transactions of the protocol that take part in the election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    T1,
    T2,
    T3,
    T4,
    T5,
    T6,
    T7,
    T8,
    T9,
}

/// One condition of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Compare {
    /// There is no key of this node's name.
    OwnAbsent,
    /// The node's key hangs on its own lease.
    OwnLease,
    /// The node's key is its last beat.
    OwnMod,
    /// The group's record is the one that was read.
    RecordMod,
    /// The holder's key is the beat that was observed.
    HolderMod,
    /// The holder's key belongs to another incarnation, or is gone.
    HolderLeaseNot,
    /// Every other active record of the holder is the one that was read.
    OtherRecordMod,
    /// The key of this node's name, somebody else's, is the beat that was observed.
    NamesakeMod,
}

pub(crate) const ALL: [Kind; 9] = [
    Kind::T1,
    Kind::T2,
    Kind::T3,
    Kind::T4,
    Kind::T5,
    Kind::T6,
    Kind::T7,
    Kind::T8,
    Kind::T9,
];

impl Kind {
    pub(crate) fn compares(self) -> &'static [Compare] {
        use Compare::{HolderLeaseNot, HolderMod, NamesakeMod, OtherRecordMod, OwnAbsent, OwnLease, OwnMod, RecordMod};
        match self {
            Self::T1 => &[OwnAbsent],
            Self::T2 => &[OwnLease, OwnMod],
            Self::T3 | Self::T6 | Self::T7 => &[OwnLease, OwnMod, RecordMod],
            Self::T4 => &[OwnLease, OwnMod, RecordMod, HolderMod, OtherRecordMod],
            Self::T5 => &[OwnLease, OwnMod, RecordMod, HolderLeaseNot],
            Self::T8 => &[RecordMod],
            Self::T9 => &[NamesakeMod],
        }
    }

    /// Whether it writes the node's own key.
    pub(crate) fn beats(self) -> bool {
        !matches!(self, Self::T8 | Self::T9)
    }
}

/// What can be taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Compare(Kind, Compare),
    /// One compare of every transaction that has it.
    Everywhere(Compare),
    /// A new beat is a new time; here the first one counts.
    NewBeatNewTime,
    /// Observers wait for the whole promise.
    Ripe,
    /// A campaign needs a full ttl of contact.
    Contact,
    /// A run that began to stop never becomes active again.
    Latch,
    /// A release needs the proof of stop.
    Proof,
    /// A holder trusts a share of the promise only.
    ClockMargin,
    /// Validity counts from the stamp.
    Stamp,
    /// A record belongs to an incarnation, not to a name.
    Incarnation,
    /// A key that vanished unseen is timed anew.
    GoneAnew,
    /// What is adopted is what the file, the key and the record say alike.
    Adoption,
}

/// How large a world is searched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Ticks that an observer waits: the ttl.
    pub(crate) wait: u8,
    /// Ticks that a holder trusts: ttl without the margin of its clock.
    pub(crate) valid: u8,
    /// Ticks between two good reads that still count as contact.
    pub(crate) gap: u8,
    /// How far two clocks may be apart, in ticks.
    pub(crate) skew: u8,
    pub(crate) unknowns: u8,
    pub(crate) crashes: u8,
    pub(crate) reboots: u8,
    pub(crate) deletes: u8,
    pub(crate) stops: u8,
    pub(crate) restores: u8,
    /// More states than this end the search: part of a check that must see all of them.
    pub(crate) states: usize,
    pub(crate) without: Option<Rule>,
}

impl Bounds {
    pub(crate) fn has(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    pub(crate) fn compares(&self, kind: Kind, compare: Compare) -> bool {
        kind.compares().contains(&compare)
            && self.without != Some(Rule::Compare(kind, compare))
            && self.without != Some(Rule::Everywhere(compare))
    }

    pub(crate) fn trusted(&self) -> u8 {
        if self.has(Rule::ClockMargin) {
            self.valid
        } else {
            self.wait
        }
    }
}
