//! Why the core refuses a command: a stable word for programs, a class for the status of HTTP. The sentences for people are in
//! `text/refusal.rs`.
//!
//! Several reasons share a word where a caller can do the same about them. A word never gets another meaning or another
//! class. No rule reads a sentence. `docs/endpoints.md` has what to do about each word.

use std::time::Duration;

use crate::protocol::policy::{Fixed, Setting, Told};

/// What kind of refusal it is: whether asking again helps, and whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The request itself names a value that no cluster takes, whatever its state.
    Invalid,
    /// It names a group or a node that is not known.
    Unknown,
    /// The state of the cluster forbids it.
    Refused,
    /// Somebody else changed the same thing first. Look, then ask again.
    Conflict,
    /// Others wait already. Ask again in a moment.
    Full,
    /// This node can do nothing for anybody now. Ask another one.
    Unavailable,
    /// etcd did not take it in time.
    TimedOut,
}

/// Writes the enum and its tables from one list, so that none can miss an entry.
macro_rules! refusals {
    ($($name:ident $({ $($field:ident: $kind:ty),+ })? = $word:literal, $class:ident;)+) => {
        /// Why a command is refused. The sentence is its `Display`.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Refusal {
            $($name $({ $($field: $kind),+ })?,)+
        }

        impl Refusal {
            /// Every stable word with its class, in the order of the list; a word may come more than once.
            pub const WORDS: &[(&'static str, Class)] = &[$(($word, Class::$class),)+];

            /// The stable word.
            #[must_use]
            pub fn code(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $word,)+
                }
            }

            /// What kind of refusal it is.
            #[must_use]
            pub fn class(&self) -> Class {
                match self {
                    $(Self::$name { .. } => Class::$class,)+
                }
            }
        }
    };
}

refusals! {
    // What is named and not known.
    NoGroup { group: String, known: String } = "group_unknown", Unknown;
    NoGroupAnywhere { group: String, known: String } = "group_unknown", Unknown;
    NoNode { node: String } = "node_unknown", Unknown;
    NoNodeListed { node: String } = "node_unknown", Unknown;
    NoNodeAnywhere { node: String, known: String } = "node_unknown", Unknown;

    // Values.
    HoldTooLong { length: Duration, most: Duration } = "hold_too_long", Invalid;
    HoldTooShort { ttl: Duration } = "hold_too_short", Refused;
    PauseLength { least: Duration } = "pause_length", Invalid;
    EpochTooHigh { most: u64 } = "epoch_too_high", Invalid;
    ExportFormat { format: u32, known: u32 } = "export_unfit", Refused;
    ExportName { name: String } = "export_unfit", Refused;
    ExportGroups { most: usize } = "export_unfit", Refused;
    ExportKeys { most: usize } = "export_unfit", Refused;
    ExportNumber = "export_unfit", Refused;
    ExportSet { group: String } = "export_unfit", Refused;
    ExportCluster { theirs: String, own: String } = "export_unfit", Refused;

    // This node's part in the cluster.
    NotMember = "not_member", Unavailable;
    NotMemberForFence = "not_member", Unavailable;
    LostPlace = "not_member", Unavailable;
    Frozen = "frozen", Unavailable;
    Ending = "ending", Unavailable;
    NoConfiguration = "no_configuration", Unavailable;

    // What waits already.
    TooManyOrders = "busy", Full;
    OtherHold = "busy", Full;
    OtherIntent = "busy", Full;
    OtherAccept = "busy", Full;
    AcceptFirst = "busy", Full;
    OtherFenced = "busy", Full;

    // etcd.
    Faster = "conflict", Conflict;
    FreedChanged = "conflict", Conflict;
    AcceptedChanged = "conflict", Conflict;
    HoldRefused = "conflict", Conflict;
    OutcomeUnknown = "outcome_unknown", TimedOut;
    NotWritten = "not_written", TimedOut;
    EtcdRefused { why: String } = "etcd_refused", Unavailable;
    NoLease { why: String } = "etcd_refused", Unavailable;
    HoldTooLarge { left: usize } = "too_large", Refused;

    // Orders that stand, and moves under way. `why` is the order with what takes it back.
    Deleted { group: String, why: String } = "deleted", Refused;
    Stopped { group: String, why: String } = "stopped", Refused;
    Paused { group: String, why: String } = "paused", Refused;
    MoveWanted { group: String, to: String, by: String } = "move_under_way", Refused;
    MoveBegun { group: String, to: String, by: String } = "move_under_way", Refused;
    ApplyWanted { group: String, by: String } = "apply_under_way", Refused;

    // Moves and applies.
    NothingToMove { group: String } = "not_active", Refused;
    NothingToApply { group: String } = "not_active", Refused;
    StuckNoMove { group: String, node: String } = "stuck", Refused;
    StuckNoApply { group: String, node: String } = "stuck", Refused;
    HoldsAlready { group: String, node: String } = "holds_already", Refused;
    NotReady { group: String, node: String, why: String } = "not_ready", Refused;
    NoStandby { group: String } = "no_standby", Refused;
    NoNodeReady { group: String } = "no_standby", Refused;
    HolderRefuses { node: String, why: String } = "holder_refused", Refused;
    Withdrawn { group: String, node: String } = "withdrawn", Conflict;
    NotThatIntent { group: String } = "not_that_wish", Conflict;
    BegunAlready { group: String } = "move_begun", Refused;
    ApplyNotMove { group: String } = "apply_under_way", Refused;

    // Accept and import.
    Needless = "nothing_strange", Refused;
    StuckHere { group: String } = "stuck", Refused;
    HeldElsewhere { node: String } = "under_hold", Refused;
    EtcdNotEmpty { group: String } = "etcd_not_empty", Refused;

    // Fenced.
    UnderHold = "under_hold", Refused;
    NothingToFree = "nothing_to_free", Refused;
    HeldByNobody { group: String } = "nothing_to_free", Refused;
    HoldsNothing { node: String } = "nothing_to_free", Refused;
    HeldHere { group: String } = "held_here", Refused;
    FencedBeats { node: String, off_for: Duration, group: String } = "node_alive", Refused;
    NotStuckThere { group: String, node: String } = "not_stuck", Refused;

    // A node that is removed.
    ThisNode { node: String } = "this_node", Refused;
    RemovedBeats { node: String, ttl: Duration } = "node_alive", Refused;
    NamedHolder { group: String, node: String } = "holder", Refused;
    RecordUnreadable { group: String, whom: String } = "record_unreadable", Refused;

    // On which nodes a group runs, and whether it is there.
    NodeSilent { node: String } = "node_silent", Refused;
    NotInFile { group: String, node: String } = "not_in_file", Refused;
    HoldsMoveFirst { group: String, node: String } = "holder", Refused;
    HoldsStopFirst { group: String, node: String } = "holder", Refused;
    Stuck { group: String, why: String } = "stuck", Refused;
    LastNode { group: String, node: String } = "last_node", Refused;
    StillStopping { group: String } = "still_stopping", Refused;
    ClaimAbove { why: String } = "claim_above", Refused;
    MayRunOn { group: String, left: Duration } = "may_run_on", Refused;
    KeyUnreadable { why: String } = "key_unreadable", Refused;
    NotInitialised { group: String } = "not_initialised", Refused;
    StorageInUse { group: String, node: String, by: String } = "storage_in_use", Refused;

    // The cluster's ttl. `why` is the sum that does not fit.
    ImportedTtl { why: String } = "ttl_too_short", Refused;
    TtlTooShort { why: String, stays: Duration } = "ttl_too_short", Refused;
    TtlTooShortFor { node: String, ttl: Duration, least: Duration, stays: Duration } = "ttl_too_short", Refused;
    TtlNotTold { node: String } = "ttl_not_told", Refused;

    // What is set at run time.
    SettingUnknown { name: String, known: String } = "setting_unknown", Refused;
    SettingFixed { name: String, why: Fixed } = "setting_fixed", Refused;
    SettingValue { setting: Setting, value: String } = "setting_value", Refused;
    SettingTwice { setting: Setting } = "setting_value", Refused;
    SettingsNone = "settings_none", Refused;
    SettingsTooMany { most: usize } = "settings_too_many", Refused;
    FallAboveTimeout { fall: u32, fall_timeout: u32 } = "settings_disagree", Refused;
    PriorityTaken { group: String, node: String, other: String, value: u32, told: Told } = "priority_taken", Refused;
    SetNotKnown { node: String, version: String } = "set_not_known", Refused;
    SetChanged { group: String } = "conflict", Conflict;

    // Promises.
    PromisesNotKnown { node: String } = "promises_not_known", Refused;
    PromisesTooMany { most: usize } = "promises_too_many", Refused;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Refusal;

    #[test]
    fn a_word_is_plain_and_has_one_class() {
        let mut classes = BTreeMap::new();
        for (word, class) in Refusal::WORDS {
            let plain = |letter: char| letter.is_ascii_lowercase() || letter == '_';
            assert!(word.chars().all(plain), "{word}");
            assert_eq!(*classes.entry(word).or_insert(class), class, "{word}");
        }
    }
}
