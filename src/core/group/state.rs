//! Where a holding stands: its stage, its containers, its addresses; and what each container's page shall say.

use std::time::Duration;

use super::health::ProbeRun;
use super::unmount::MountState;
use super::{GroupSettings, StartCause};
use crate::epoch::Run;
use crate::event::{Order, PageOrder};
use crate::protocol::sizing::{Deadlines, KILL_BUDGET};
use crate::protocol::{FaultId, ReleaseCause};
use crate::time::Time;

/// Where a holding stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for the tethers of a run that an earlier sidecar started.
    Adopting,
    #[default]
    Starting,
    /// All containers run; probes or addresses are still awaited.
    Checking,
    Active,
    Stopping,
    /// All containers are proved stopped; the addresses go.
    Withdrawing,
    Stopped,
}

/// What follows a stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AfterStop {
    /// A new run of the same epoch.
    Restart,
    /// Give the group up, to `successor` if it is named.
    Release {
        cause: ReleaseCause,
        /// For people.
        reason: String,
        successor: Option<String>,
    },
    /// The lease ran out: start again (T6) or release (T7), whichever fits.
    RanOut,
    /// Its stop was under way when the sidecar before this one ended: as after a lease that ran out.
    Interrupted,
    /// The storage carries a claim of a later epoch: hold, and wait for an operator.
    Claimed,
    /// The incarnation is lost: release with T8.
    Lost,
    /// The record is no longer ours: nothing to write.
    Forget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopMode {
    /// In reverse order, each with its own grace.
    Drain,
    /// All at once, addresses first.
    Fence,
}

/// Where the container of one service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    Idle,
    /// Started, not yet at its gate: nothing of the application runs.
    Starting,
    /// Admitted through its gate, or reported running.
    Up,
    /// It may run: an earlier sidecar started it and its tether has not reported.
    Unknown,
    /// Proved not to run.
    Gone,
}

#[derive(Clone, Debug)]
pub(crate) struct ServiceRun {
    pub state: ServiceState,
    pub(super) since: Time,
    /// Set once its stop was ordered: the kill at the latest.
    pub stop_by: Option<Time>,
    pub(super) retry_at: Option<Time>,
    /// The connection of its tether: the one that was let in, or the first that reported it running. The end of any other
    /// process proves nothing.
    pub(super) tether: Option<u64>,
    /// Why its end is not proved, by the witness that was asked last.
    pub(super) doubt: Option<String>,
    /// The engine's health check, once it said anything of this run.
    pub healthy: Option<bool>,
    pub(super) page: Option<PageOrder>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VipStage {
    /// No addresses, or none asked for yet.
    Off,
    Probing,
    Conflict {
        retry_at: Time,
    },
    Free,
    Adding {
        retry_at: Time,
    },
    Held,
    Dropping {
        retry_at: Time,
    },
}

/// A held epoch.
#[derive(Clone, Debug)]
pub(crate) struct Holding {
    pub run: Run,
    pub lease: i64,
    pub deadlines: Deadlines,
    pub stage: Stage,
    /// How the run came about, for what is said of it.
    pub(super) start_cause: StartCause,
    pub latched: bool,
    /// The validity of this epoch ran out once: it needs contact to start again.
    pub soft_passed: bool,
    pub after: AfterStop,
    pub(super) way: StopMode,
    pub services: Vec<ServiceRun>,
    /// What only one host may have mounted.
    pub(super) mounts: MountState,
    pub vip: VipStage,
    /// Since when somebody else answers for an address of it.
    pub(super) answered_since: Option<Time>,
    pub since: Time,
    pub probes: Vec<ProbeRun>,
    /// All probes passed once.
    pub(super) probed: bool,
    /// Until when they must have, from when all containers are up.
    pub(super) start_limit: Duration,
    pub(super) not_before: Option<Time>,
    /// It is stopped only to be started again as the file says now.
    pub(super) anew: bool,
    /// Its stop failed: why, as the record in etcd says it.
    pub stuck: Option<String>,
    /// An earlier sidecar started it, and its lease may have ended long ago.
    pub inherited: bool,
    /// Why it leaves, for those who hold it next.
    pub departure: Departure,
}

/// Why a group is not handed over although it fails here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StayReason {
    OnPause,
    /// It would fail in the same way everywhere.
    SharedFault,
    /// By `on_failure: notify`.
    Notify,
    NoStandby,
    /// It came here because of the same fault.
    CameForThis,
    /// Clients get through that are no nodes.
    ServesOthers,
}

/// What a release says of the past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Departure {
    /// An operator, or something else that is over with it.
    #[default]
    Wanted,
    /// It failed here, by this fault, or its node did.
    Fault(Option<FaultId>),
    /// It goes back to a preferred node, after so long.
    Failback(Duration),
}

impl VipStage {
    pub(super) fn due(&self, now: Time) -> bool {
        self.retry_at().is_none_or(|at| now.reached(at))
    }

    pub(super) fn retry_at(&self) -> Option<Time> {
        match self {
            Self::Conflict { retry_at } | Self::Adding { retry_at } | Self::Dropping { retry_at } => Some(*retry_at),
            Self::Off | Self::Probing | Self::Free | Self::Held => None,
        }
    }
}

impl ServiceRun {
    pub(super) fn new(now: Time) -> Self {
        Self {
            state: ServiceState::Idle,
            since: now,
            stop_by: None,
            retry_at: None,
            tether: None,
            doubt: None,
            healthy: None,
            page: None,
        }
    }

    /// When its end should be proved, once its stop was ordered.
    pub(super) fn due(&self, hard: Time) -> Option<Time> {
        self.stop_by.map(|by| by.earlier(hard).plus(KILL_BUDGET))
    }

    pub(super) fn enter(&mut self, state: ServiceState, now: Time) {
        self.state = state;
        self.since = now;
    }
}

impl Holding {
    pub(super) fn new(run: Run, lease: i64, deadlines: Deadlines, now: Time, of: &GroupSettings) -> Self {
        Self {
            run,
            lease,
            deadlines,
            stage: Stage::Starting,
            start_cause: StartCause::default(),
            latched: false,
            soft_passed: false,
            after: AfterStop::Restart,
            way: StopMode::Drain,
            services: vec![ServiceRun::new(now); of.services.len()],
            mounts: MountState::new(of.exclusive_mounts),
            vip: VipStage::Off,
            answered_since: None,
            since: now,
            probes: vec![ProbeRun::default(); of.probes.len()],
            probed: false,
            start_limit: of.start_timeout,
            not_before: None,
            anew: false,
            stuck: None,
            inherited: false,
            departure: Departure::default(),
        }
    }

    /// Whether what is told of this run is about it; without a run: of what an earlier sidecar started.
    pub(super) fn is_of(&self, run: Option<Run>) -> bool {
        run.map_or(self.start_cause == StartCause::Adoption, |run| self.run == run)
    }

    pub(super) fn enter(&mut self, stage: Stage, now: Time) {
        self.stage = stage;
        self.since = now;
    }

    /// Whether every container is proved not to run, and to have left nothing mounted that the next holder mounts.
    pub(crate) fn proved_stopped(&self) -> bool {
        self.proved_ended() && self.mounts == MountState::Gone
    }

    /// Whether every container is proved not to run.
    pub(super) fn proved_ended(&self) -> bool {
        self.services.iter().all(|service| service.state == ServiceState::Gone)
    }

    pub(super) fn page(&self, place: usize, now: Time) -> PageOrder {
        let service = &self.services[place];
        let Deadlines { soft, hard, .. } = self.deadlines;
        let (order, soft, hard) = match service.state {
            ServiceState::Idle | ServiceState::Gone => (Order::Closed, Time::default(), Time::default()),
            ServiceState::Starting | ServiceState::Up | ServiceState::Unknown => match service.stop_by {
                None => (Order::Open, soft, hard),
                Some(by) if now.reached(by.earlier(hard)) => (Order::Kill, soft, by.earlier(hard)),
                Some(by) => (Order::Stop, soft, by.earlier(hard)),
            },
        };
        PageOrder {
            run: self.run,
            order,
            soft,
            hard,
        }
    }
}
