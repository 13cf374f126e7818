//! The shared storage: one file system a group, its claim, and what reaches it, by whom, in which epoch.
//!
//! The claim follows the shipped rules (`src/tether/claim.rs`, `beat.rs`): a higher epoch is refused, a foreign claim that
//! was not released is watched for two beats, the own one is read before each beat.

use std::time::Duration;

use leasehold_core::epoch::Run;

use crate::events::Ev;
use crate::host::MS;
use crate::mutants::Mutant;
use crate::world::World;

/// Between two beats of a claim.
pub(crate) const BEAT: u64 = 200 * MS;
/// How long a foreign claim must stand still.
pub(crate) const WATCH: u64 = 450 * MS;
/// Between taking a watched claim and reading it back.
pub(crate) const CONFIRM: u64 = 100 * MS;
/// What a helper saw longer ago counts for nothing.
const WATCHED_MAX: Duration = Duration::from_secs(30);
/// A killed writer's page cache reaches the storage within this.
const FLUSH: u64 = 400 * MS;

/// What is wrong with one host's way to the storage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fault {
    #[default]
    Fine,
    /// Nothing comes back: who writes hangs in the kernel and no kill ends it.
    Hangs,
    /// Full, read-only or a stale handle: an error at once.
    Refuses,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) host: usize,
    pub(crate) boot: u64,
    pub(crate) run: Run,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) owner: Owner,
    pub(crate) beat: u64,
    pub(crate) released: bool,
}

/// A claim as a helper of a standby saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    claim: Claim,
    /// The host's raw clock, awake, when it was seen first.
    since: Duration,
}

/// A look of a helper at the claim of a group.
#[derive(Clone, Debug)]
pub(crate) struct ClaimLook {
    host: usize,
    boot: u64,
    group: String,
    /// What it saw two beats ago.
    first: Option<Standing>,
}

impl Standing {
    /// Whether it has stood like this for two beats by now, and was seen not too long ago.
    fn shows(&self, claim: Option<&Claim>, now: Duration) -> bool {
        let stood = now.saturating_sub(self.since);
        claim == Some(&self.claim) && (Duration::from_nanos(WATCH)..=WATCHED_MAX).contains(&stood)
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Storage {
    pub(crate) claim: Option<Claim>,
    /// The highest epoch that wrote, and on which host.
    highest: Option<(u64, usize)>,
    /// Of whose services one was killed: it is named in the claim, which none of the others releases any more.
    killed: Option<Owner>,
}

/// What a tether makes of the claim that it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Take,
    Watch,
    Refuse,
}

impl Storage {
    pub(crate) fn judge(&self, me: &Owner, mutant: Mutant) -> Step {
        let Some(claim) = &self.claim else { return Step::Take };
        let other = &claim.owner;
        if other.run.epoch > me.run.epoch && mutant != Mutant::ClaimTakesLowerEpoch {
            Step::Refuse
        } else if claim.released || (other.host, other.boot) == (me.host, me.boot) || mutant == Mutant::ClaimUnwatched {
            Step::Take
        } else {
            Step::Watch
        }
    }

    pub(crate) fn write_claim(&mut self, owner: Owner) {
        let beat = self.claim.as_ref().map_or(0, |claim| claim.beat) + 1;
        self.claim = Some(Claim {
            owner,
            beat,
            released: false,
        });
    }

    /// A service of the owner was killed, and nothing of it synced.
    pub(crate) fn note_killed(&mut self, owner: Owner) {
        self.killed = Some(owner);
    }

    /// A claim that is another's by now stays as it is.
    pub(crate) fn release_claim(&mut self, owner: &Owner) {
        if self.killed.as_ref() == Some(owner) {
            return;
        }
        if let Some(claim) = self.claim.as_mut().filter(|claim| claim.owner == *owner) {
            claim.beat += 1;
            claim.released = true;
        }
    }
}

impl World {
    /// A helper is asked to watch the claim of a silent holder.
    pub(crate) fn watch_claims(&mut self, host: usize, group: String, soon: u64) {
        let manners = &self.hosts[host].manners;
        if manners.engine_hangs || manners.engine_refuses {
            return;
        }
        let boot = self.hosts[host].boot;
        let look = ClaimLook {
            host,
            boot,
            group,
            first: None,
        };
        self.push(soon * 5, Ev::Watched(look));
    }

    /// The helper has looked.
    pub(crate) fn claim_watched(&mut self, look: ClaimLook) {
        let ClaimLook {
            host: h,
            boot,
            group,
            first,
        } = look;
        let host = &self.hosts[h];
        if host.boot != boot || !host.awake() || host.manners.storage != Fault::Fine {
            return;
        }
        let now = host.clock.read(self.now).awake();
        let found = self.stores.get(&group).and_then(|store| store.claim.clone());
        let Some(claim) = found.filter(|claim| !claim.released) else {
            return;
        };
        match first {
            None => {
                let first = Some(Standing { claim, since: now });
                let again = ClaimLook {
                    host: h,
                    boot,
                    group,
                    first,
                };
                self.push(WATCH, Ev::Watched(again));
            }
            Some(standing) if standing.claim == claim => {
                self.hosts[h].watched.insert(group, standing);
            }
            Some(_) => self.count("a silent holder's claim moves"),
        }
    }

    /// Whether a helper has watched what the tether finds now.
    pub(crate) fn is_watched(&self, h: usize, group: &str) -> bool {
        let host = &self.hosts[h];
        let claim = self.stores.get(group).and_then(|store| store.claim.as_ref());
        let now = host.clock.read(self.now).awake();
        let mut seen = host.watched.get(group).into_iter();
        seen.any(|standing| standing.shows(claim, now))
    }

    /// S2, S11: what reaches the storage never goes back in epochs, across restores of etcd too, and an epoch has one
    /// writer. `known_open` names why this write may be late all the same: such ones are counted apart.
    pub(crate) fn reached(&mut self, group: &str, epoch: u64, host: usize, known_open: Option<&str>) {
        let store = self.stores.entry(group.to_owned()).or_default();
        let before = store.highest;
        // One host has one page cache: what it wrote itself it may write again.
        let stale = before.is_some_and(|(highest, by)| epoch <= highest && by != host);
        if !stale {
            store.highest = Some((epoch, host));
            return;
        }
        // `accept` counts from the restored record, not from the claim; a claim that was released lets the same number
        // pass once more.
        let repeated = self.restored && before.is_some_and(|(highest, _)| epoch == highest);
        let known_open = known_open.or(repeated.then_some("epoch repeated after a restore (known open)"));
        if repeated {
            store.highest = Some((epoch, host));
        }
        match known_open {
            Some(why) => self.count(why),
            None => {
                let name = &self.hosts[host].name;
                let why = format!("S2: {name} writes to {group} in epoch {epoch} after epoch and host {before:?}");
                self.fail(why);
            }
        }
    }

    /// The page cache of a container that was killed by force is written when the kernel gets to it.
    pub(crate) fn flush_later(&mut self, host: usize, group: &str, epoch: u64, known_open: Option<&'static str>) {
        let delay = self.rng.range(MS, FLUSH);
        let boot = self.hosts[host].boot;
        let group = group.to_owned();
        self.push(
            delay,
            Ev::Flush {
                host,
                boot,
                group,
                epoch,
                known_open,
            },
        );
    }

    pub(crate) fn flush(
        &mut self,
        h: usize,
        boot: u64,
        group: String,
        epoch: u64,
        mut known_open: Option<&'static str>,
    ) {
        let host = &self.hosts[h];
        if host.boot != boot || !host.powered {
            return; // What was in memory only is gone.
        }
        let fine = host.manners.storage == Fault::Fine;
        if host.awake() && fine {
            self.count("page cache written after a kill");
            return self.reached(&group, epoch, h, known_open);
        }
        known_open = known_open.or(Some(if fine {
            "late write after a pause (known open)"
        } else {
            "late write after a hang (known open)"
        }));
        self.push(
            20 * MS,
            Ev::Flush {
                host: h,
                boot,
                group,
                epoch,
                known_open,
            },
        );
    }
}
