//! Why the core refuses a command, in words for people.

use std::fmt;

use crate::requests::refusal::Refusal;

/// A sentence for each reason; the compiler misses none.
macro_rules! sentences {
    ($($name:ident $({ $($field:ident),+ })? => $sentence:literal $(, $value:expr)*;)+) => {
        impl fmt::Display for Refusal {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name $({ $($field),+ })? => write!(out, $sentence $(, $value)*),)+
                }
            }
        }
    };
}

sentences! {
    // What is named and not known.
    NoGroup { group, known } =>
        "no group {group}: the compose file has {known}";
    NoGroupAnywhere { group, known } =>
        "no group {group} is known, only: {known}";
    NoNode { node } =>
        "no node {node}: see `leasehold status`";
    NoNodeListed { node } =>
        "no node {node}: see `leasehold node list`";
    NoNodeAnywhere { node, known } =>
        "no node {node} is known, only: {known}";

    // Values.
    HoldTooLong { length, most } =>
        "{} s is longer than the {} s that may be held", length.as_secs(), most.as_secs();
    HoldTooShort { ttl } =>
        "hold must be at least {} s (4 x ttl)", ttl.as_secs() * 4;
    PauseLength { least } =>
        "a pause lasts between {least:?} and 7 days: after that it ends by itself";
    EpochTooHigh { most } =>
        "no epoch is above {most}: look at the claim again";
    ExportFormat { format, known } =>
        "nothing is imported: its format is {format}, this version reads {known}: import it with the version that wrote it";
    ExportName { name } =>
        "nothing is imported: {name:?} is no name of a group or node";
    ExportGroups { most } =>
        "nothing is imported: it has more than {most} groups or drained nodes";
    ExportKeys { most } =>
        "nothing is imported: it has more than {most} keys, which is more than one transaction holds";
    ExportNumber =>
        "nothing is imported: it has a number that Leasehold never wrote";
    ExportCluster { theirs, own } =>
        "nothing is imported: it was exported by the cluster {theirs}, this one is {own}";

    // This node's part in the cluster.
    NotMember =>
        "this node is not a member now: ask another one, or see `leasehold status`";
    NotMemberForFence =>
        "this node is not a member now: say it on another one";
    LostPlace =>
        "this node lost its place in the cluster: ask another one";
    Frozen =>
        "this node takes no part now: see `leasehold status`";
    Ending =>
        "the sidecar is ending";
    NoConfiguration =>
        "the cluster has no configuration yet: try again";

    // What waits already.
    TooManyOrders =>
        "too many orders wait: try again";
    OtherHold =>
        "another hold is asked for: try again";
    OtherIntent =>
        "another request is being written: try again";
    OtherAccept =>
        "another accept is under way";
    AcceptFirst =>
        "an accept is under way";
    OtherFenced =>
        "another node is being freed: try again";

    // etcd.
    Faster =>
        "conflict: another operator changed this first; see `leasehold status` and try again";
    FreedChanged =>
        "something changed meanwhile: look at `leasehold status` and say it again";
    AcceptedChanged =>
        "a record or the configuration changed meanwhile: look at `leasehold status` and try again";
    HoldRefused =>
        "the long beat was refused, nothing is held: look at `leasehold status` and try again";
    OutcomeUnknown =>
        "etcd did not answer in time: the outcome is not known";
    NotWritten =>
        "timed out writing to etcd; request cancelled: see `leasehold status`, and ask again";
    EtcdRefused { why } =>
        "{why}";
    NoLease { why } =>
        "etcd gave no lease for the pause: {why}";
    HoldTooLarge { left } =>
        "{left} groups of this node would not fit into one transaction: move them first";

    // Orders that stand, and moves under way. `why` is the order with what takes it back.
    Deleted { group, why } =>
        "{group} is {why}";
    Stopped { group, why } =>
        "{group} is {why}";
    Paused { group, why } =>
        "{group} is {why}";
    MoveWanted { group, to, by } =>
        "{group} is being moved already, to {to}, asked by {by}: see `leasehold status`, and `leasehold switchover --withdraw \
         {group}` to take that back";
    MoveBegun { group, to, by } =>
        "{group} is being moved already, to {to}, asked by {by}: see `leasehold status`";
    ApplyWanted { group, by } =>
        "{group} is about to be started again with what the file says, asked by {by}: see `leasehold status`";

    // Moves and applies.
    NothingToMove { group } =>
        "group {group} is not active anywhere: there is nothing to move";
    NothingToApply { group } =>
        "group {group} is not active anywhere: its next start takes the file and the image as they are then";
    StuckNoMove { group, node } =>
        "{group} is stuck on {node} and can't be moved: power {node} off or cut it from the storage, then run `leasehold fenced \
         {node}`";
    StuckNoApply { group, node } =>
        "{group} is stuck on {node} and can't be started again: see `leasehold status`";
    HoldsAlready { group, node } =>
        "{node} holds {group} already";
    NotReady { group, node, why } =>
        "{node} is not ready for {group}: {why}";
    NoStandby { group } =>
        "no standby is ready for {group}: see `leasehold status`";
    NoNodeReady { group } =>
        "no node is ready for {group}: see `leasehold status`";
    HolderRefuses { node, why } =>
        "{node} refuses: {why}";
    Withdrawn { group, node } =>
        "{group} stays on {node}: the request was withdrawn";
    NotThatIntent { group } =>
        "that request to move {group} does not stand any more: see `leasehold status`";
    BegunAlready { group } =>
        "{group} is being stopped already, to be moved: it can't be withdrawn; see `leasehold status`";
    ApplyNotMove { group } =>
        "nobody wants to move {group}: it is about to be started again";

    // Accept and import.
    Needless =>
        "nothing is strange about this etcd, and accept would stop every group of the cluster: look at `leasehold status`; if you \
         mean it, `leasehold accept --force`";
    StuckHere { group } =>
        "{group} can't be stopped on this node: power it off, then accept on another node";
    HeldElsewhere { node } =>
        "{node} is under a hold, so its containers may run on: wait for its end, or fence it";
    EtcdNotEmpty { group } =>
        "nothing is imported: this etcd knows the group {group} already, and an import is for an etcd that was lost for good and \
         starts empty; after a restore it is `leasehold accept`";

    // Fenced.
    UnderHold =>
        "this node is under a hold, which this would end: say it on another one";
    NothingToFree =>
        "there is nothing to free";
    HeldByNobody { group } =>
        "{group} is held by nobody: there is nothing to free";
    HoldsNothing { node } =>
        "{node} holds no group: there is nothing to free";
    HeldHere { group } =>
        "{group} is held by this node itself, and not proved stopped: power it off, then say it on another one";
    FencedBeats { node, off_for, group } =>
        "{node} beats, or did so less than {off_for:?} ago: power it off and say it again. If only the storage of a stuck group \
         was cut from it: `leasehold fenced --group {group}`";
    NotStuckThere { group, node } =>
        "{node} is alive and {group} is not stuck there: `leasehold switchover {group}` moves it";

    // A node that is removed.
    ThisNode { node } =>
        "{node} is this node: end its sidecar, then ask another one";
    RemovedBeats { node, ttl } =>
        "{node} beats, or did a moment ago: end its sidecar there (`leasehold drain {node}` empties it first), and try again {} s \
         later", ttl.as_secs_f64().ceil();
    NamedHolder { group, node } =>
        "the record of {group} names {node} as its holder: a ready node takes it over; if none can, power {node} off and run \
         `leasehold fenced {node}`";
    RecordUnreadable { group, whom } =>
        "the record of {group} can't be read, and may name {whom}: see the key in etcd";

    // On which nodes a group runs, and whether it is there.
    NodeSilent { node } =>
        "{node} does not beat: start its sidecar, and try again; see `leasehold node list`";
    NotInFile { group, node } =>
        "the compose file of {node} has no group {group}: put it there, restart its sidecar, and try again";
    HoldsMoveFirst { group, node } =>
        "{node} holds {group}: `leasehold switchover {group}` moves it first";
    HoldsStopFirst { group, node } =>
        "{node} holds {group}: `leasehold group delete {group} --stop` stops it first";
    Stuck { group, why } =>
        "{group} is {why}";
    LastNode { group, node } =>
        "{group} is extended to no node but {node}: first `leasehold group extend {group} NODE`, or `leasehold group delete \
         {group}` if nobody wants it any more";
    StillStopping { group } =>
        "{group} is still being stopped here: wait until `leasehold status` shows it as free";
    ClaimAbove { why } =>
        "{why}";
    MayRunOn { group, left } =>
        "the node that held {group} before may run on for the rest of its lease, for all that this node knows: try again {} s later",
        left.as_secs_f64().ceil().max(1.0);
    KeyUnreadable { why } =>
        "{why}";
    NotInitialised { group } =>
        "the storage of {group} is not initialised: run `leasehold init {group}` first";
    StorageInUse { group, node, by } =>
        "container {by} on {node} uses the storage of {group} without a lease: take it down there, and try again 10 s later";

    // The cluster's ttl. `why` is the sum that does not fit.
    ImportedTtl { why } =>
        "nothing is imported: {why}";
    TtlTooShort { why, stays } =>
        "{why}; the cluster's ttl stays {stays:?}";
    TtlTooShortFor { node, ttl, least, stays } =>
        "ttl {ttl:?} is too short for {node}, which needs {least:?} at least: see `leasehold check` there; the cluster's ttl \
         stays {stays:?}";
    TtlNotTold { node } =>
        "{node} does not tell which ttl it could keep: run the same version there (`leasehold node list`), and try again";
}
