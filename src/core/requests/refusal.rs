//! Why the core refuses a command: a stable word for programs, a class for the status of HTTP, a sentence for people.
//!
//! Several reasons share a word where a caller can do the same about them. A word never gets another meaning or another
//! class. No rule reads a sentence. `docs/endpoints.md` has what to do about each word.

use std::fmt;
use std::time::Duration;

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
    ($($name:ident $({ $($field:ident: $kind:ty),+ })? = $word:literal, $class:ident, $sentence:literal $(, $value:expr)*;)+) => {
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

        impl fmt::Display for Refusal {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name $({ $($field),+ })? => write!(out, $sentence $(, $value)*),)+
                }
            }
        }
    };
}

refusals! {
    // What is named and not known.
    NoGroup { group: String, known: String } = "group_unknown", Unknown,
        "no group {group}: the compose file has {known}";
    NoGroupAnywhere { group: String, known: String } = "group_unknown", Unknown,
        "no group {group} is known, only: {known}";
    NoNode { node: String } = "node_unknown", Unknown,
        "no node {node}: see `leasehold status`";
    NoNodeListed { node: String } = "node_unknown", Unknown,
        "no node {node}: see `leasehold node list`";
    NoNodeAnywhere { node: String, known: String } = "node_unknown", Unknown,
        "no node {node} is known, only: {known}";

    // Values.
    HoldTooLong { length: Duration, most: Duration } = "hold_too_long", Invalid,
        "{} s is longer than the {} s that may be held", length.as_secs(), most.as_secs();
    HoldTooShort { ttl: Duration } = "hold_too_short", Refused,
        "a hold is worth its while from {} s on (4 ttl)", ttl.as_secs() * 4;
    PauseLength { least: Duration } = "pause_length", Invalid,
        "a pause lasts between {least:?} and 7 days: after that it ends by itself";
    EpochTooHigh { most: u64 } = "epoch_too_high", Invalid,
        "no epoch is above {most}: look at the claim again";
    ExportFormat { format: u32, known: u32 } = "export_unfit", Refused,
        "nothing is imported: its format is {format}, this version reads {known}: import it with the version that wrote it";
    ExportName { name: String } = "export_unfit", Refused,
        "nothing is imported: {name:?} is no name of a group or node";
    ExportGroups { most: usize } = "export_unfit", Refused,
        "nothing is imported: it has more than {most} groups or drained nodes";
    ExportKeys { most: usize } = "export_unfit", Refused,
        "nothing is imported: it has more than {most} keys, which is more than one transaction holds";
    ExportNumber = "export_unfit", Refused,
        "nothing is imported: it has a number that Leasehold never wrote";
    ExportCluster { theirs: String, own: String } = "export_unfit", Refused,
        "nothing is imported: it was exported by the cluster {theirs}, this one is {own}";

    // This node's part in the cluster.
    NotMember = "not_member", Unavailable,
        "this node is not a member now: ask another one, or see `leasehold status`";
    NotMemberForFence = "not_member", Unavailable,
        "this node is not a member now: say it on another one";
    LostPlace = "not_member", Unavailable,
        "this node lost its place in the cluster: ask another one";
    Frozen = "frozen", Unavailable,
        "this node takes no part now: see `leasehold status`";
    Ending = "ending", Unavailable,
        "the sidecar is ending";
    NoConfiguration = "no_configuration", Unavailable,
        "the cluster has no configuration yet: try again";

    // What waits already.
    TooManyOrders = "busy", Full,
        "too many orders wait: try again";
    OtherHold = "busy", Full,
        "another hold is asked for: try again";
    OtherWish = "busy", Full,
        "another wish is being written: try again";
    OtherAccept = "busy", Full,
        "another accept is under way";
    AcceptFirst = "busy", Full,
        "an accept is under way";
    OtherFenced = "busy", Full,
        "another node is being freed: try again";

    // etcd.
    Faster = "conflict", Conflict,
        "somebody else was faster: look at `leasehold status` and try again";
    FreedChanged = "conflict", Conflict,
        "something changed meanwhile: look at `leasehold status` and say it again";
    AcceptedChanged = "conflict", Conflict,
        "a record or the configuration changed meanwhile: look at `leasehold status` and try again";
    HoldRefused = "conflict", Conflict,
        "the long beat was refused, nothing is held: look at `leasehold status` and try again";
    OutcomeUnknown = "outcome_unknown", TimedOut,
        "etcd did not answer in time: the outcome is not known";
    NotWritten = "not_written", TimedOut,
        "it could not be written to etcd in time, and is given up: see `leasehold status`, and ask again";
    EtcdRefused { why: String } = "etcd_refused", Unavailable,
        "{why}";
    NoLease { why: String } = "etcd_refused", Unavailable,
        "etcd gave no lease for the pause: {why}";
    HoldTooLarge { left: usize } = "too_large", Refused,
        "{left} groups of this node would not fit into one transaction: move them first";

    // Orders that stand, and moves under way. `why` is the order with what takes it back.
    Deleted { group: String, why: String } = "deleted", Refused,
        "{group} is {why}";
    Stopped { group: String, why: String } = "stopped", Refused,
        "{group} is {why}";
    Paused { group: String, why: String } = "paused", Refused,
        "{group} is {why}";
    MoveWanted { group: String, to: String, by: String } = "move_under_way", Refused,
        "{group} is being moved already, to {to}, asked by {by}: see `leasehold status`, and `leasehold switchover --withdraw \
         {group}` to take that back";
    MoveBegun { group: String, to: String, by: String } = "move_under_way", Refused,
        "{group} is being moved already, to {to}, asked by {by}: see `leasehold status`";
    ApplyWanted { group: String, by: String } = "apply_under_way", Refused,
        "{group} is about to be started again with what the file says, asked by {by}: see `leasehold status`";

    // Moves and applies.
    NothingToMove { group: String } = "not_active", Refused,
        "group {group} is not active anywhere: there is nothing to move";
    NothingToApply { group: String } = "not_active", Refused,
        "group {group} is not active anywhere: its next start takes the file and the image as they are then";
    StuckNoMove { group: String, node: String } = "stuck", Refused,
        "{group} is stuck on {node} and can't be moved: power {node} off or cut it from the storage, then run `leasehold fenced \
         {node}`";
    StuckNoApply { group: String, node: String } = "stuck", Refused,
        "{group} is stuck on {node} and can't be started again: see `leasehold status`";
    HoldsAlready { group: String, node: String } = "holds_already", Refused,
        "{node} holds {group} already";
    NotReady { group: String, node: String, why: String } = "not_ready", Refused,
        "{node} is not ready for {group}: {why}";
    NoStandby { group: String } = "no_standby", Refused,
        "no standby is ready for {group}: see `leasehold status`";
    NoNodeReady { group: String } = "no_standby", Refused,
        "no node is ready for {group}: see `leasehold status`";
    HolderRefuses { node: String, why: String } = "holder_refused", Refused,
        "{node} refuses: {why}";
    Withdrawn { group: String, node: String } = "withdrawn", Conflict,
        "{group} stays on {node}: the wish was withdrawn";
    NotThatWish { group: String } = "not_that_wish", Conflict,
        "that wish to move {group} does not stand any more: see `leasehold status`";
    BegunAlready { group: String } = "move_begun", Refused,
        "{group} is being stopped already, to be moved: it can't be withdrawn; see `leasehold status`";
    ApplyNotMove { group: String } = "apply_under_way", Refused,
        "nobody wants to move {group}: it is about to be started again";

    // Accept and import.
    Needless = "nothing_strange", Refused,
        "nothing is strange about this etcd, and accept would stop every group of the cluster: look at `leasehold status`; if you \
         mean it, `leasehold accept --force`";
    StuckHere { group: String } = "stuck", Refused,
        "{group} can't be stopped on this node: power it off, then accept on another node";
    HeldElsewhere { node: String } = "under_hold", Refused,
        "{node} is under a hold, so its containers may run on: wait for its end, or fence it";
    EtcdNotEmpty { group: String } = "etcd_not_empty", Refused,
        "nothing is imported: this etcd knows the group {group} already, and an import is for an etcd that was lost for good and \
         starts empty; after a restore it is `leasehold accept`";

    // Fenced.
    UnderHold = "under_hold", Refused,
        "this node is under a hold, which this would end: say it on another one";
    NothingToFree = "nothing_to_free", Refused,
        "there is nothing to free";
    HeldByNobody { group: String } = "nothing_to_free", Refused,
        "{group} is held by nobody: there is nothing to free";
    HoldsNothing { node: String } = "nothing_to_free", Refused,
        "{node} holds no group: there is nothing to free";
    HeldHere { group: String } = "held_here", Refused,
        "{group} is held by this node itself, and not proved stopped: power it off, then say it on another one";
    FencedBeats { node: String, off_for: Duration, group: String } = "node_alive", Refused,
        "{node} beats, or did so less than {off_for:?} ago: power it off and say it again. If only the storage of a stuck group \
         was cut from it: `leasehold fenced --group {group}`";
    NotStuckThere { group: String, node: String } = "not_stuck", Refused,
        "{node} is alive and {group} is not stuck there: `leasehold switchover {group}` moves it";

    // A node that is removed.
    ThisNode { node: String } = "this_node", Refused,
        "{node} is this node: end its sidecar, then ask another one";
    RemovedBeats { node: String, ttl: Duration } = "node_alive", Refused,
        "{node} beats, or did a moment ago: end its sidecar there (`leasehold drain {node}` empties it first), and try again {} s \
         later", ttl.as_secs_f64().ceil();
    NamedHolder { group: String, node: String } = "holder", Refused,
        "the record of {group} names {node} as its holder: a ready node takes it over; if none can, power {node} off and run \
         `leasehold fenced {node}`";
    RecordUnreadable { group: String, whom: String } = "record_unreadable", Refused,
        "the record of {group} can't be read, and may name {whom}: see the key in etcd";

    // On which nodes a group runs, and whether it is there.
    NodeSilent { node: String } = "node_silent", Refused,
        "{node} does not beat: start its sidecar, and try again; see `leasehold node list`";
    NotInFile { group: String, node: String } = "not_in_file", Refused,
        "the compose file of {node} has no group {group}: put it there, start its sidecar anew, and try again";
    HoldsMoveFirst { group: String, node: String } = "holder", Refused,
        "{node} holds {group}: `leasehold switchover {group}` moves it first";
    HoldsStopFirst { group: String, node: String } = "holder", Refused,
        "{node} holds {group}: `leasehold group delete {group} --stop` stops it first";
    Stuck { group: String, why: String } = "stuck", Refused,
        "{group} is {why}";
    LastNode { group: String, node: String } = "last_node", Refused,
        "{group} is extended to no node but {node}: first `leasehold group extend {group} NODE`, or `leasehold group delete \
         {group}` if nobody wants it any more";
    StillStopping { group: String } = "still_stopping", Refused,
        "{group} is still being stopped here: wait until `leasehold status` shows it as free";
    ClaimAbove { why: String } = "claim_above", Refused,
        "{why}";
    MayRunOn { group: String, left: Duration } = "may_run_on", Refused,
        "whoever held {group} before may run on for the rest of its lease, for all that this node knows: try again {} s later",
        left.as_secs_f64().ceil().max(1.0);
    KeyUnreadable { why: String } = "key_unreadable", Refused,
        "{why}";
    NotInitialised { group: String } = "not_initialised", Refused,
        "the storage of {group} is not initialised: run `leasehold init {group}` first";
    StorageInUse { group: String, node: String, by: String } = "storage_in_use", Refused,
        "container {by} on {node} uses the storage of {group} without a lease: take it down there, and try again 10 s later";

    // The cluster's ttl. `why` is the sum that does not fit.
    ImportedTtl { why: String } = "ttl_too_short", Refused,
        "nothing is imported: {why}";
    TtlTooShort { why: String, stays: Duration } = "ttl_too_short", Refused,
        "{why}; the cluster's ttl stays {stays:?}";
    TtlTooShortFor { node: String, ttl: Duration, least: Duration, stays: Duration } = "ttl_too_short", Refused,
        "ttl {ttl:?} is too short for {node}, which needs {least:?} at least: see `leasehold check` there; the cluster's ttl \
         stays {stays:?}";
    TtlNotTold { node: String } = "ttl_not_told", Refused,
        "{node} does not tell which ttl it could keep: run the same version there (`leasehold node list`), and try again";
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
