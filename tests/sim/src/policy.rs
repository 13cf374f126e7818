//! What the compose file of a world says of its groups and hosts: who decides on a failover, what moves by itself, whether
//! a fence agent is there. Drawn from a source of its own, so that the schedules without it stay what they were.

use std::collections::BTreeMap;
use std::time::Duration;

use leasehold_core::group::{GroupSettings, OnConflict, OnStandby, SecondOpinion};
use leasehold_core::takeover::confirm::Failover;
use leasehold_core::takeover::fencing::FenceSettings;

use crate::engine::settings;
use crate::rng::Rng;
use crate::world::World;

/// Up to here, and for every seed that is kept, nothing of this file is drawn: the table of planted bugs names such seeds.
const PLAIN: u64 = 300;

/// Of one group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) confirm: bool,
    /// The quiet window before it goes back by itself.
    pub(crate) failback: Option<Duration>,
    pub(crate) act: bool,
    /// An address is taken although somebody answers for it.
    pub(crate) take: bool,
    pub(crate) look: Option<Duration>,
}

/// Of the whole file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policies {
    /// Whether anything of this is on: what is told to each sidecar is then followed, and judged.
    pub(crate) watched: bool,
    pub(crate) groups: BTreeMap<String, Policy>,
    /// Values are set at run time.
    pub(crate) sets: bool,
    pub(crate) fence: bool,
    /// Every try of the agent fails.
    pub(crate) agent_refuses: bool,
}

/// One try of the agent, and the tries in a row.
pub(crate) const FENCE_TIMEOUT: Duration = Duration::from_secs(4);
const FENCE_TRIES: u32 = 2;

/// Whether the seed's schedule is one of before: one that found something once, or that a planted bug is known to turn red.
pub(crate) fn plain(seed: u64) -> bool {
    seed <= PLAIN || kept().any(|kept| kept == seed)
}

/// The seeds of `seeds.txt`.
pub(crate) fn kept() -> impl Iterator<Item = u64> {
    let lines = include_str!("../seeds.txt").lines();
    lines.filter_map(|line| line.split('#').next()?.trim().parse().ok())
}

impl Policies {
    /// Two in three worlds have something of it.
    pub(crate) fn draw(groups: &[String], seed: u64) -> Self {
        let mut rng = Rng(seed ^ 0x706f_6c69);
        if plain(seed) || rng.chance(333) {
            return Self::default();
        }
        let of_group = |rng: &mut Rng| Policy {
            confirm: rng.chance(250),
            failback: rng.chance(350).then(|| Duration::from_secs(rng.range(4, 12))),
            act: rng.chance(300),
            take: rng.chance(500),
            look: rng.chance(400).then(|| Duration::from_secs(rng.range(3, 10))),
        };
        let groups = groups.iter().map(|name| (name.clone(), of_group(&mut rng))).collect();
        Self {
            watched: true,
            groups,
            sets: false,
            fence: rng.chance(250),
            agent_refuses: false,
        }
    }
}

impl World {
    /// The same in every sidecar's file.
    pub(crate) fn settings(&self, group: &str) -> GroupSettings {
        let mut settings = settings(group);
        let Some(policy) = self.policies.groups.get(group) else {
            return settings;
        };
        if policy.confirm {
            settings.failover = Failover::Confirm;
        }
        settings.failback = policy.failback;
        if policy.take {
            settings.on_conflict = OnConflict::Take;
        }
        settings.storage_look = policy.look;
        settings.start_trial = policy.look.map(|every| every * 4);
        if policy.act {
            settings.second_opinion = SecondOpinion::Act;
            for probe in &mut settings.probes {
                probe.on_standby = OnStandby::Asks;
                (probe.fall, probe.fall_timeout) = (2, 2);
            }
        }
        settings
    }

    pub(crate) fn fence_settings(&self) -> Option<FenceSettings> {
        self.policies.fence.then(|| FenceSettings {
            agent: "agent".to_owned(),
            timeout: FENCE_TIMEOUT,
            tries: FENCE_TRIES,
        })
    }

    /// Whether a group may move although nothing is wrong.
    pub(crate) fn moves_by_itself(&self) -> bool {
        self.policies
            .groups
            .values()
            .any(|policy| policy.failback.is_some() || policy.act)
            || self.policies.sets
    }
}
