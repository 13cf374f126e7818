//! Safety rules taken out one by one, between the core and the world: each must turn a run red.

use leasehold_core::event::{Order, PageOrder};
use leasehold_core::protocol::keys::Keys;
use leasehold_core::protocol::records::{Beat, ClusterConfig};
use leasehold_core::store::{Answer, Compare, Op, Txn};
use leasehold_core::time::Time;
use std::time::Duration;

/// Which rule is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[allow(dead_code, reason = "the program plants none; some are for trials by hand")]
pub(crate) enum Mutant {
    #[default]
    None,
    /// OWN: a transaction no longer compares that it is the node's own last beat.
    NoOwn,
    /// A campaign no longer compares the record that was read.
    NoRecordInCampaign,
    /// Observers wait a fifth less than was promised.
    ShortPromise,
    /// Observers take every beat for an ordinary one: a hold counts for nothing.
    HoldUnseen,
    /// Observers wait for every beat with the ttl in force, whatever it promised.
    NewTtlForOldBeat,
    /// A page is never shortened.
    PageNeverShorter,
    /// Validity counts from the answer: up to one attempt later.
    FromReceipt,
    /// Validity is the whole promise: no kill budget.
    NoKillBudget,
    /// A container counts as stopped as soon as its stop was ordered.
    EarlyProof,
    /// A tether takes the claim of a higher epoch.
    ClaimTakesLowerEpoch,
    /// A tether takes a claim that was not released without watching it.
    ClaimUnwatched,
    /// A tether beats without reading the claim again.
    ClaimNotReadAgain,
    /// A container ends without a sync of its storage.
    NoSync,
    /// A container started late runs its service without a gate.
    Ungated,
    /// A tether counts its deadlines on a clock that stops in suspend.
    StoppedClock,
    /// Reads need no majority: a leader that was cut off answers them.
    StaleReads,
}

impl Mutant {
    pub(crate) fn txn(self, txn: &mut Txn, keys: &Keys, me: &str) {
        let own = keys.node(me);
        let record = |key: &str| key.ends_with("/record");
        let campaign = txn.then.iter().any(
            |op| matches!(op, Op::Put { key, value, .. } if key.ends_with("/record") && value.contains("\"active\"")),
        );
        txn.compare.retain(|compare| match (self, compare) {
            (Self::NoOwn, Compare::Lease { key, .. } | Compare::Mod { key, .. }) => {
                *key != own
                    || !txn
                        .then
                        .iter()
                        .any(|op| matches!(op, Op::Put { key, .. } if *key == own))
            }
            (Self::NoRecordInCampaign, Compare::Mod { key, .. }) => !(campaign && record(key)),
            _ => true,
        });
    }

    pub(crate) fn answer(self, answer: &mut Answer, keys: &Keys, me: &str) {
        let own = keys.node(me);
        let config = answer.keys.iter().find(|kv| kv.key == keys.config());
        let config = config.and_then(|kv| serde_json::from_str::<ClusterConfig>(&kv.value).ok());
        for kv in &mut answer.keys {
            if kv.key == own || !kv.key.starts_with(&keys.nodes()) {
                continue;
            }
            if let Ok(mut beat) = serde_json::from_str::<Beat>(&kv.value) {
                if self == Self::ShortPromise {
                    beat.ttl_ms = beat.ttl_ms * 4 / 5;
                } else if self == Self::HoldUnseen {
                    beat.ttl_ms = beat.ttl_ms.min(5000);
                } else if let (Self::NewTtlForOldBeat, Some(config)) = (self, config) {
                    beat.ttl_ms = config.ttl_ms;
                } else {
                    return;
                }
                kv.value = serde_json::to_string(&beat).unwrap_or_default();
            }
        }
    }

    /// What a tether takes for the time.
    pub(crate) fn tether_time(self, now: Time) -> Time {
        match self == Self::StoppedClock {
            true => Time {
                boot: now.boot.saturating_sub(now.slept),
                raw: now.awake(),
                ..now
            },
            false => now,
        }
    }

    pub(crate) fn page(self, before: Option<PageOrder>, mut page: PageOrder) -> PageOrder {
        let late = [(Self::FromReceipt, 500), (Self::NoKillBudget, 550)];
        let later = late
            .into_iter()
            .find(|(mutant, _)| *mutant == self)
            .map_or(0, |(_, ms)| ms);
        let later = Duration::from_millis(later);
        if page.order == Order::Open {
            page.soft = page.soft.plus(later);
            page.hard = page.hard.plus(later);
        }
        match before.filter(|before| self == Self::PageNeverShorter && before.run == page.run) {
            Some(before) if page.order == Order::Open && before.hard > page.hard => PageOrder {
                soft: before.soft,
                hard: before.hard,
                ..page
            },
            Some(_) | None => page,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Act;
    use crate::world::World;
    use std::io::Write as _;

    /// Bugs between the core and the world, and in the world's tethers; those inside the core are in `planted.rs`. Each
    /// with a seed that is known to see it: tried first, so that the whole table is quick.
    const PLANTED: [(Mutant, u64); 9] = [
        (Mutant::NoOwn, 30),
        (Mutant::NoRecordInCampaign, 275),
        (Mutant::ShortPromise, 27),
        (Mutant::HoldUnseen, 44),
        (Mutant::NewTtlForOldBeat, 21),
        (Mutant::PageNeverShorter, 21),
        (Mutant::FromReceipt, 227),
        (Mutant::NoKillBudget, 46),
        (Mutant::EarlyProof, 1),
    ];

    fn running(seed: u64, mutant: Mutant) -> World {
        let mut world = World::new(seed, 2, 1, mutant);
        for host in 0..2 {
            world.act(Act::StartSidecar(host));
        }
        world.run_for(11_000);
        world
    }

    /// A planned hand-over, from host to host.
    fn handed_over(seed: u64, mutant: Mutant) -> Option<String> {
        let mut world = running(seed, mutant);
        world.act(Act::Term(0));
        world.run_for(4000);
        world.failure
    }

    /// etcd goes back to the epoch before, and so does the host that held it then.
    fn restored(seed: u64, mutant: Mutant) -> Option<String> {
        let mut world = running(seed, mutant);
        world.act(Act::Snapshot);
        world.run_for(500);
        world.act(Act::Switchover(0, "mail".to_owned(), None));
        world.run_for(6000);
        world.act(Act::KillSidecar(0));
        world.act(Act::Restore { new_id: false });
        world.act(Act::StartSidecar(0));
        world.run_for(60_000);
        world.failure
    }

    #[test]
    fn bugs_of_the_tether_are_seen_by_directed_schedules() {
        type Story = fn(u64, Mutant) -> Option<String>;
        let stories: [(Mutant, Story); 2] = [(Mutant::NoSync, handed_over), (Mutant::ClaimTakesLowerEpoch, restored)];
        for (mutant, story) in stories {
            let red = (1..=40).find_map(|seed| story(seed, mutant).map(|why| (seed, why)));
            let healthy = (1..=40).find_map(|seed| story(seed, Mutant::None));
            assert!(healthy.is_none(), "without {mutant:?}: {healthy:?}");
            assert!(red.is_some(), "{mutant:?} is not seen");
            let _ = writeln!(std::io::stderr(), "{mutant:?}: {red:?}");
        }
    }

    #[test]
    fn every_planted_bug_is_seen() {
        let mut missed = Vec::new();
        for (mutant, known) in PLANTED {
            let red = std::iter::once(known)
                .chain(1..=1500)
                .find_map(|seed| crate::swarm::seed(seed, mutant, false).0.map(|why| (seed, why)));
            let _ = writeln!(std::io::stderr(), "{mutant:?}: {red:?}");
            if red.is_none() {
                missed.push(mutant);
            }
        }
        assert!(missed.is_empty(), "not seen: {missed:?}");
    }
}
