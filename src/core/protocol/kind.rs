//! What a transaction is for, said by whoever builds it: nobody guesses it from the shape.

/// Writes the enum and its tables from one list, so that none can miss an entry.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal;)+) => {
        /// What a transaction is for, by its place in `docs/protocol.md`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum TxnKind {
            $($(#[doc = $doc])+ $name,)+
        }

        impl TxnKind {
            /// All of them, in the order of the protocol.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its number in the protocol, or a word for those that have none.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }
        }
    };
}

kinds! {
    /// A node that has no key writes its first beat (docs/protocol.md, T1).
    Register = "T1";
    /// A member beats, with whatever else it has to say; a hold is one with a long promise (docs/protocol.md, T2).
    Beat = "T2";
    /// A group that nobody holds is taken (docs/protocol.md, T3).
    TakeFree = "T3";
    /// A group is taken from a holder whose key is there and silent; its key goes (docs/protocol.md, T4).
    TakeSilent = "T4";
    /// A group is taken from an incarnation whose key is gone (docs/protocol.md, T5).
    TakeGone = "T5";
    /// Its holder starts a group again, in a new epoch, after a stop (docs/protocol.md, T6).
    StartAgain = "T6";
    /// Its holder releases a group that it has stopped (docs/protocol.md, T7).
    Release = "T7";
    /// The same once the holder has lost its place, without a beat (docs/protocol.md, T8).
    ReleaseLost = "T8";
    /// A silent namesake's key is deleted, for T1 to follow (docs/protocol.md, T9).
    Evict = "T9";
    /// What a fenced node held is freed (docs/protocol.md, T10).
    FreeFenced = "T10";
    /// A strange etcd is accepted, or an export is imported into an empty one (docs/protocol.md, T11).
    Accept = "T11";
    /// The cluster gets another ttl (docs/protocol.md, T12).
    ChangeTtl = "T12";
    /// A node is taken out of a group (docs/protocol.md, T13).
    Unextend = "T13";
    /// A group is deleted (docs/protocol.md, T14).
    Delete = "T14";
    /// A deleted group is there again (docs/protocol.md, T15).
    Create = "T15";
    /// Something is set for a group at run time, or not any more (docs/protocol.md, T16).
    Policy = "T16";
    /// The first configuration of a cluster (docs/protocol.md, transactions without a number).
    Configure = "configure";
    /// A record is marked: its run can't be stopped (docs/protocol.md, transactions without a number).
    MarkStuck = "mark";
    /// A request to move or to apply, its beginning, refusal or withdrawal (docs/protocol.md, transactions without a number).
    Intent = "intent";
    /// A standing order, or its end (docs/protocol.md, transactions without a number).
    Order = "order";
    /// What a node that is gone for good left behind is deleted (docs/protocol.md, transactions without a number).
    Remove = "removal";
    /// `leasehold init` writes what it wrote into a group's storage (docs/protocol.md, transactions without a number).
    InitStore = "init";
    /// Nothing is compared or written: only the ranges are read, as at the end of each transaction (docs/protocol.md, OWN).
    Read = "read";
}

#[cfg(test)]
mod tests {
    use super::TxnKind;

    #[test]
    fn no_two_kinds_have_one_word() {
        let mut words: Vec<&str> = TxnKind::ALL.iter().map(|kind| kind.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), TxnKind::ALL.len());
    }
}
