//! The stable code of every decision: what an operator greps for, and what a receiver of events matches on.
//!
//! A code is a word in LifeKeeper's vocabulary, not a number: it says what happened without the catalogue
//! (`docs/messages.md`), which has the cause and the remedy. One code has one meaning and one level; a code is never
//! given another meaning, and its word never changes.

use crate::event::Level;

/// Writes the enum and its tables from one list, so that none can miss an entry.
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal, $level:ident, $kind:literal;)+) => {
        /// What a decision is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// All of them, in the order of the catalogue.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable word.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }

            /// How loud it is.
            #[must_use]
            pub fn level(self) -> Level {
                match self {
                    $(Self::$name => Level::$level,)+
                }
            }

            /// What it is about: a name for all codes of one kind.
            #[must_use]
            pub fn kind(self) -> &'static str {
                match self {
                    $(Self::$name => $kind,)+
                }
            }
        }
    };
}

codes! {
    /// A group that nobody held starts here.
    StartStarted = "start_started", Info, "start";
    /// It serves.
    StartDone = "start_done", Info, "start";
    /// It starts with another image than the one that served last.
    UpdateStarted = "update_started", Info, "start";
    /// Its first run did not come up.
    StartFailed = "start_failed", Alarm, "start";

    /// A group is taken over from a node that did not hand it over.
    FailoverStarted = "failover_started", Info, "failover";
    /// A silent holder's group waits for a person's word.
    FailoverWaits = "failover_waits", Alarm, "failover";
    /// It serves.
    FailoverDone = "failover_done", Info, "failover";
    /// Its first run here did not come up.
    FailoverFailed = "failover_failed", Alarm, "failover";

    /// The holder stops, to hand over in order.
    SwitchoverStarted = "switchover_started", Info, "switchover";
    /// The next holder has the group and starts it.
    SwitchoverTaken = "switchover_taken", Info, "switchover";
    /// It serves.
    SwitchoverDone = "switchover_done", Info, "switchover";
    /// Its first run here did not come up.
    SwitchoverFailed = "switchover_failed", Alarm, "switchover";
    /// A node that is preferred is ready: the group goes back there once that has lasted.
    FailbackAwaited = "failback_awaited", Info, "switchover";
    /// Nobody is ready for what an operator wanted.
    SwitchoverRefused = "switchover_refused", Alarm, "switchover";

    /// The service ended, or its probes failed.
    ServiceFailed = "service_failed", Alarm, "recovery";
    /// A run failed: what the container wrote last.
    ServiceOutput = "service_output", Info, "recovery";
    /// The engine ends it, without us.
    EndedFromOutside = "ended_from_outside", Alarm, "recovery";
    /// The engine freezes it, without us.
    PausedFromOutside = "paused_from_outside", Alarm, "recovery";
    /// It starts again in place.
    RecoveryStarted = "recovery_started", Info, "recovery";
    /// It serves again.
    RecoveryDone = "recovery_done", Info, "recovery";
    /// It did not come up again.
    RecoveryFailed = "recovery_failed", Alarm, "recovery";
    /// The restarts are spent and the group stays, or its engine is away: tried again after a pause.
    RecoveryDelayed = "recovery_delayed", Alarm, "recovery";
    /// The restarts are spent: another host's turn.
    RecoveryGivenUp = "recovery_given_up", Alarm, "recovery";
    /// It ended while nothing may be done about it.
    RecoveryPaused = "recovery_paused", Alarm, "recovery";

    /// It is started again in place, because an operator wants it as the file and the image say now.
    ApplyStarted = "apply_started", Info, "apply";
    /// It serves.
    ApplyDone = "apply_done", Info, "apply";
    /// It did not come up.
    ApplyFailed = "apply_failed", Alarm, "apply";
    /// It can't be, or may not be, started again.
    ApplyRefused = "apply_refused", Alarm, "apply";
    /// It runs as the file and the image say.
    ApplyNeedless = "apply_needless", Info, "apply";

    /// A probe fails for a reason that moves along.
    ProbeFaultShared = "probe_fault_shared", Alarm, "probe";
    /// A probe fails on pause.
    ProbeFaultOnPause = "probe_fault_on_pause", Alarm, "probe";
    /// A probe fails and `on_failure` is `notify`.
    ProbeFaultNotify = "probe_fault_notify", Alarm, "probe";
    /// A canary message did not come through; the other probes pass or not, it changes nothing for them.
    CanaryFailed = "canary_failed", Alarm, "probe";
    /// A probe passes, and saw what will make it fail before long.
    ProbeWarns = "probe_warns", Alarm, "probe";
    /// A probe passes again.
    ProbePasses = "probe_passes", Info, "probe";
    /// Standbys can't reach at its address what its holder's own probes find well.
    Unreached = "unreached", Alarm, "probe";
    /// None of them says so any more.
    UnreachedOver = "unreached_over", Info, "probe";
    /// No standby has reached it for long: another host's turn.
    UnreachedMoved = "unreached_moved", Alarm, "probe";
    /// The same, and it stays.
    UnreachedStays = "unreached_stays", Alarm, "probe";

    /// A restarted sidecar takes up the run that it finds.
    AdoptionStarted = "adoption_started", Info, "adoption";
    /// It serves as before.
    AdoptionDone = "adoption_done", Info, "adoption";
    /// Nothing is left of it that could go on.
    AdoptionFailed = "adoption_failed", Alarm, "adoption";
    /// A run that an earlier sidecar left is no longer this node's.
    RunDisowned = "run_disowned", Alarm, "adoption";
    /// An earlier sidecar had begun to stop it.
    StopResumed = "stop_resumed", Info, "adoption";
    /// An earlier sidecar left it running, and the compose file has it no more.
    LeftFile = "left_file", Info, "adoption";
    /// The sidecar leaves under a hold.
    LeftUnderHold = "left_under_hold", Info, "adoption";

    /// Stopped here and free for the next holder.
    Released = "released", Info, "election";
    /// Another node took it first.
    CampaignLost = "campaign_lost", Info, "election";
    /// An operator's order was written to etcd.
    OrderGiven = "order_given", Info, "order";
    /// A value was set at run time, or taken back, and the holder goes by it.
    SettingChanged = "setting_changed", Info, "order";
    /// An operator said that a node can't write any more.
    FencedByHand = "fenced_by_hand", Info, "order";
    /// An operator took a strange etcd as the true one.
    EtcdAccepted = "etcd_accepted", Info, "order";
    /// The sidecar may be replaced.
    HoldStarted = "hold_started", Info, "order";
    /// An operator's order stops the group.
    StopOrdered = "stop_ordered", Info, "order";
    /// The node is drained, and nobody could take the group.
    DrainWaits = "drain_waits", Alarm, "order";
    /// The group is not extended to the node that holds it, and nobody could take it.
    UnextendWaits = "unextend_waits", Alarm, "order";
    /// The node ends, and nobody could take the group.
    StopWithoutSuccessor = "stop_without_successor", Info, "order";

    /// Another node is silent or gone.
    NodeFailed = "node_failed", Alarm, "node";
    /// It is back.
    NodeReturned = "node_returned", Info, "node";
    /// It said so before.
    NodeLeft = "node_left", Info, "node";
    /// A group that is active here has no ready standby.
    Jeopardy = "jeopardy", Alarm, "jeopardy";
    /// It has one again.
    JeopardyOver = "jeopardy_over", Info, "jeopardy";
    /// The rate of this host's clocks is in doubt.
    ClockDoubtful = "clock_doubtful", Alarm, "jeopardy";
    /// The tethers of this host wake up too late for the time that a short ttl leaves for a kill.
    TetherLate = "tether_late", Info, "jeopardy";
    /// This node is no member any more.
    PlaceLost = "place_lost", Alarm, "node";
    /// etcd does not answer this node.
    CommunicationLost = "communication_lost", Alarm, "communication";
    /// It does again.
    CommunicationRestored = "communication_restored", Info, "communication";
    /// The engine was replaced, and this sidecar can't reach the new one.
    EngineOrphaned = "engine_orphaned", Alarm, "communication";
    /// The lease was not renewed in time.
    LeaseRanOut = "lease_ran_out", Alarm, "communication";
    /// The interface has no carrier.
    LinkLost = "link_lost", Alarm, "communication";
    /// It has one again.
    LinkRestored = "link_restored", Info, "communication";
    /// It has been without one for a while, and what is held here is handed over.
    LinkMoved = "link_moved", Alarm, "communication";
    /// The same, and it stays.
    LinkStays = "link_stays", Alarm, "communication";
    /// The endpoints of this node are closed, or can't be used as they are configured.
    EndpointsFaulty = "endpoints_faulty", Alarm, "endpoints";
    /// They are as configured.
    EndpointsRestored = "endpoints_restored", Info, "endpoints";

    /// etcd is not the one that was trusted.
    EtcdStrange = "etcd_strange", Alarm, "etcd";
    /// etcd fills up or is damaged, and will refuse beats before long.
    EtcdEndangered = "etcd_endangered", Alarm, "etcd";
    /// It is well again.
    EtcdSound = "etcd_sound", Info, "etcd";
    /// etcd refuses what this node asks for by itself, and it is put off.
    EtcdRefuses = "etcd_refuses", Alarm, "etcd";
    /// The ttl in etcd can't be kept on this node.
    TtlUnusable = "ttl_unusable", Alarm, "etcd";
    /// It can be.
    TtlUsable = "ttl_usable", Info, "etcd";
    /// The compose file says another ttl than etcd.
    TtlDiffers = "ttl_differs", Alarm, "etcd";
    /// The cluster has another ttl than before.
    TtlChanged = "ttl_changed", Info, "etcd";
    /// Every node beats with it, and the earlier one counts for nothing.
    TtlConfirmed = "ttl_confirmed", Info, "etcd";
    /// The compose file says something else of promises than etcd.
    PromisesDiffer = "promises_differ", Alarm, "etcd";
    /// The cluster has promises from here on, others, or none.
    PromisesChanged = "promises_changed", Info, "etcd";
    /// The record of a group is unreadable.
    RecordUnreadable = "record_unreadable", Alarm, "etcd";
    /// The record of a held group names another holder.
    RecordTaken = "record_taken", Alarm, "etcd";
    /// A key holds what can't be read.
    KeyUnreadable = "key_unreadable", Alarm, "etcd";
    /// It does not any more.
    KeyMended = "key_mended", Info, "etcd";
    /// Beats read more than they should.
    EtcdCrowded = "etcd_crowded", Alarm, "etcd";
    /// They do not any more.
    EtcdCrowdedOver = "etcd_crowded_over", Info, "etcd";
    /// What this node trusts could not be written to its disk.
    PinUnwritten = "pin_unwritten", Alarm, "etcd";
    /// A key will not end by itself.
    KeyNeverEnds = "key_never_ends", Alarm, "etcd";

    /// Somebody answers for an address before it is taken.
    AddressConflict = "address_conflict", Alarm, "address";
    /// Somebody goes on answering for it, and it is taken all the same.
    AddressTaken = "address_taken", Alarm, "address";
    /// This host has an address of a group by itself.
    AddressOccupied = "address_occupied", Alarm, "address";
    /// Somebody else uses an address of a group that is held here.
    AddressContested = "address_contested", Alarm, "address";
    /// An address is used elsewhere while this node has no right to it.
    AddressDropped = "address_dropped", Alarm, "address";
    /// The kernel took an address not.
    AddressFailed = "address_failed", Alarm, "address";
    /// An address was removed and is put back.
    AddressRestored = "address_restored", Alarm, "address";

    /// A container may not run here, and does not.
    IntruderCreated = "intruder_created", Info, "storage";
    /// A container may not run here.
    IntruderKilled = "intruder_killed", Alarm, "storage";
    /// The storage carries a claim of a later epoch.
    ClaimAbove = "claim_above", Alarm, "storage";

    /// A stop is not proved when it should be.
    StopUnproved = "stop_unproved", Alarm, "stuck";
    /// A group can't be stopped and is held.
    Stuck = "stuck", Alarm, "stuck";
    /// Everybody knows it now.
    StuckMarked = "stuck_marked", Alarm, "stuck";
    /// Healthy groups leave a host that can't stop another one.
    GivenAway = "given_away", Alarm, "stuck";
    /// This host is reset.
    HostReset = "host_reset", Alarm, "stuck";
    /// It could not be reset.
    HostResetFailed = "host_reset_failed", Alarm, "stuck";

    /// The watchdog will reset this host.
    WatchdogStarves = "watchdog_starves", Alarm, "watchdog";
    /// It will not, after all.
    WatchdogFed = "watchdog_fed", Info, "watchdog";

    /// A node is fenced before what it held is taken.
    FenceStarted = "fence_started", Alarm, "fence";
    /// The agent says that it is done.
    FenceDone = "fence_done", Info, "fence";
    /// The agent failed and is tried again.
    FenceFailed = "fence_failed", Alarm, "fence";
    /// It failed as often as it is tried in a row.
    FenceGivenUp = "fence_given_up", Alarm, "fence";
    /// The node that was fenced was alive.
    FenceHitLiving = "fence_hit_living", Alarm, "fence";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Code;

    #[test]
    fn a_word_stands_for_one_code_and_for_no_kind_of_another() {
        let words: BTreeSet<&str> = Code::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        for code in Code::ALL {
            let plain = |letter: char| letter.is_ascii_lowercase() || letter == '_';
            assert!(code.word().chars().all(plain), "{}", code.word());
            let others = Code::ALL.iter().filter(|other| other.word() == code.kind());
            for other in others {
                assert_eq!(other.kind(), code.kind(), "{}", other.word());
            }
        }
    }
}
