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

        /// Each by its name, as it is worded.
        #[cfg(test)]
        const WORDED: &[(&str, &str)] = &[$((stringify!($name), $sentence),)+];
    };
}

sentences! {
    // What is named and not known.
    NoGroup { group, known } =>
        "no group {group}: the compose file has {known}; see `leasehold group list`";
    NoGroupAnywhere { group, known } =>
        "no group {group} is known, only: {known}; see `leasehold group list`";
    NoNode { node } =>
        "no node {node}: see `leasehold status`";
    NoNodeListed { node } =>
        "no node {node}: see `leasehold node list`";
    NoNodeAnywhere { node, known } =>
        "no node {node} is known, only: {known}; see `leasehold node list`";

    // Values.
    HoldTooLong { length, most } =>
        "{} s is longer than may be held: `leasehold hold {}s` is the longest", length.as_secs(), most.as_secs();
    HoldTooShort { ttl } =>
        "hold must be at least 4 x ttl: `leasehold hold {}s` is the shortest", ttl.as_secs() * 4;
    PauseLength { least } =>
        "a pause lasts between {least:?} and 7 days, and then ends by itself: say a length such as `--for 1h`";
    EpochTooHigh { most } =>
        "no epoch is above {most}: look at the claim again";
    ExportFormat { format, known } =>
        "nothing is imported: its format is {format}, this version reads {known}: import it with the version that wrote it";
    ExportName { name } =>
        "nothing is imported: {name:?} is no name of a group or node: take the file that `leasehold config export` printed";
    ExportGroups { most } =>
        "nothing is imported: it has more than {most} groups or drained nodes: take the file that `leasehold config export` printed";
    ExportKeys { most } =>
        "nothing is imported: it has more than {most} keys, which is more than one transaction holds: take the file that `leasehold config export` printed";
    ExportNumber =>
        "nothing is imported: it has a number that Leasehold never wrote: take the file that `leasehold config export` printed";
    ExportSet { group } =>
        "nothing is imported: what it sets for {group} is nothing that can be set: take the file that `leasehold config export` printed";
    ExportCluster { theirs, own } =>
        "nothing is imported: it was exported by the cluster {theirs}, this one is {own}: take what `leasehold config export` printed \
         here";

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
        "the sidecar is ending: ask another node";
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
        "another accept is under way: see `leasehold status`, and try again";
    AcceptFirst =>
        "an accept is under way: see `leasehold status`, and try again";
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
        "etcd did not answer in time: the outcome is not known: see `leasehold status` before you ask again";
    NotWritten =>
        "timed out writing to etcd; request cancelled: see `leasehold status`, and ask again";
    EtcdRefused { why } =>
        "{why}: see `leasehold check`";
    NoLease { why } =>
        "etcd gave no lease for the pause: {why}: see `leasehold check`";
    HoldTooLarge { left } =>
        "{left} groups of this node would not fit into one transaction: move some of them first, with `leasehold switchover`";

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
        "group {group} is not active anywhere: there is nothing to move; see `leasehold why {group}`";
    NothingToApply { group } =>
        "group {group} is not active anywhere: its next start takes the file and the image as they are then; \
         see `leasehold why {group}`";
    StuckNoMove { group, node } =>
        "{group} is stuck on {node} and can't be moved: power {node} off or cut it from the storage, then run `leasehold fenced \
         {node}`";
    StuckNoApply { group, node } =>
        "{group} is stuck on {node} and can't be started again: see `leasehold status`";
    HoldsAlready { group, node } =>
        "{node} holds {group} already: see `leasehold why {group}`";
    NotReady { group, node, why } =>
        "{node} is not ready for {group}: {why}; `leasehold node list` shows who is";
    NoStandby { group } =>
        "no standby is ready for {group}: see `leasehold status`";
    NoNodeReady { group } =>
        "no node is ready for {group}: see `leasehold status`";
    HolderRefuses { node, why } =>
        "{node} refuses: {why}";
    Withdrawn { group, node } =>
        "{group} stays on {node}: the request was withdrawn; `leasehold switchover {group}` asks anew";
    NotThatIntent { group } =>
        "that request to move {group} does not stand any more: see `leasehold status`";
    BegunAlready { group } =>
        "{group} is being stopped already, to be moved: it can't be withdrawn; see `leasehold status`";
    ApplyNotMove { group } =>
        "nobody wants to move {group}: it is about to be started again; see `leasehold status`";

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
        "there is nothing to free; see `leasehold status`";
    HeldByNobody { group } =>
        "{group} is held by nobody: there is nothing to free; see `leasehold status`";
    HoldsNothing { node } =>
        "{node} holds no group: there is nothing to free; see `leasehold status`";
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
        "the record of {group} can't be read, and may name {whom}: `leasehold status` names the key, and what to do about it";

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
        "nothing is imported: {why}: see `leasehold check`";
    TtlTooShort { why, stays } =>
        "{why}; the cluster's ttl stays {stays:?}: give the file a longer one, then `leasehold config apply`";
    TtlTooShortFor { node, ttl, least, stays } =>
        "ttl {ttl:?} is too short for {node}, which needs {least:?} at least: see `leasehold check` there; the cluster's ttl \
         stays {stays:?}";
    TtlNotTold { node } =>
        "{node} does not tell which ttl it could keep: run the same version there (`leasehold node list`), and try again";

    // What is set at run time.
    SettingUnknown { name, known } =>
        "no setting {name:?}: at run time can be set {known}, and priority.NODE; see `leasehold config diff`";
    SettingFixed { name, why } =>
        "{name} can't be set at run time: {why}; `leasehold config set --help` has what can";
    SettingValue { setting, value } =>
        "{} can't be {value:?}: it is {}; see `leasehold config diff`", setting.name(), super::policy::fits(setting);
    SettingTwice { setting } =>
        "{} stands there twice: name it once, see `leasehold config diff`", setting.name();
    SettingsNone =>
        "nothing is named that shall be set or taken back: name one, such as failback=manual, see `leasehold config diff`";
    SettingsTooMany { most } =>
        "a group has at most {most} values that are set: take some back, see `leasehold config diff`";
    FallAboveTimeout { fall, fall_timeout } =>
        "probes.fall is {fall}, and probes.fall_timeout can't be {fall_timeout}: slowness would count for more than a refusal; set both, \
         see `leasehold config diff`";
    PriorityTaken { group, node, other, value, told } =>
        "no two nodes of {group} have one priority: {other} has {value}, {told}; set both at once, such as \
         `leasehold config set {group} priority.{node}={value} priority.{other}=N`";
    SetNotKnown { node, version } =>
        "{node} runs version {version}, which knows nothing of what is set at run time and would go by its file: bring it to this \
         version first, see `leasehold node list`";
    SetChanged { group } =>
        "conflict: somebody else set something of {group} first, or deleted it: look at `leasehold config diff`, then say it again";

    // Promises.
    PromisesNotKnown { node } =>
        "{node} does not say that it knows promises: run this version there and restart its sidecar, or take a node that is gone \
         for good out with `leasehold node remove {node}`; nothing is changed";
    PromisesTooMany { most } =>
        "promises work among {most} nodes at most (`leasehold node list`): take them out of the file; nothing is changed";
}

#[cfg(test)]
mod tests {
    use super::WORDED;
    use crate::protocol::records::StandingOrder;
    use crate::text::{orders, stuck};

    /// What a sentence tells to do where no command of Leasehold does it.
    const BY_HAND: [&str; 8] = [
        "try again",
        "ask another",
        "say it on another",
        "power it off",
        "say a length",
        "wait for its end",
        "look at the claim",
        "import it with",
    ];
    /// They are the words of whoever knows more, which lead on by themselves.
    const WORDS_OF_OTHERS: [&str; 7] = [
        "Deleted",
        "Stopped",
        "Paused",
        "HolderRefuses",
        "Stuck",
        "ClaimAbove",
        "KeyUnreadable",
    ];

    fn leads_on(sentence: &str) -> bool {
        sentence.contains("`leasehold ") || BY_HAND.iter().any(|words| sentence.contains(words))
    }

    #[test]
    fn every_refusal_says_what_to_do_next() {
        let silent: Vec<_> = WORDED.iter().filter(|(_, sentence)| !leads_on(sentence)).collect();
        let names: Vec<&str> = silent.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, WORDS_OF_OTHERS, "{silent:?}");
        assert!(!leads_on("b holds mail already"));
    }

    #[test]
    fn so_do_the_words_of_others() {
        let order = StandingOrder {
            by: "ann on a".to_owned(),
            at: "noon".to_owned(),
            ..StandingOrder::default()
        };
        for sentence in [
            orders::standing::stopped_until(&order, "mail"),
            orders::standing::paused_until(&order, "mail"),
            orders::standing::deleted_until(&order, "mail"),
            stuck::on("b", "a process hangs"),
        ] {
            assert!(leads_on(&sentence), "{sentence}");
        }
    }
}
