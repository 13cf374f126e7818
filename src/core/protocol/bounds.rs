//! What comes from outside (etcd, a claim on the storage, a file) is bounded here, where it is read: a number that Leasehold
//! never counted, or a value that it never wrote, is unreadable, and nothing is concluded from it.

use serde::de::DeserializeOwned;

pub use leasehold_base::bounds::{COUNTED_MAX, GIVEN_MAX};

use crate::protocol::kept::{BOUND_MAX_MS, BOUND_MIN_MS, VoterKey};
use crate::protocol::policy::Policy;
use crate::protocol::records::{
    Beat, ClusterConfig, Intent, KnownNode, NodeStatus, Pin, Record, Saved, StandingOrder, StoreIds,
};
use crate::protocol::sizing::HOLD_MAX;
use crate::text;

/// What the compose file lets a ttl be, in milliseconds.
const TTL_MIN_MS: u64 = 1000;
/// No promise is longer, that of a hold included.
pub const PROMISE_MAX_MS: u64 = HOLD_MAX.as_secs() * 1000;
/// Far above every quiet window.
const QUIET_MAX_MS: u64 = 31 * 86_400_000;
/// Far above every grace of a stop.
const GRACE_MAX_MS: u64 = 31 * 86_400_000;
/// Keys of the compose file that nodes compare, and letters of one: far above a group of twenty services.
const FILE_KEYS_MAX: u64 = 1024;
const FILE_KEY_MAX: u64 = 256;
/// The last second of the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;
/// Restarts within one epoch.
const RUNS_MAX: u64 = 1 << 31;
/// A longer value is none of ours: the largest, a status, takes about 2 KiB a group.
pub const VALUE_MAX: usize = 256 << 10;
/// The same for an order, which is shown as it is.
const ORDER_MAX: usize = 4 << 10;
const STORE_ID_MAX: usize = 128;

/// Why a value is unreadable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    TooLong(usize),
    /// Not what Leasehold writes there.
    NotOurs,
    Beyond {
        what: &'static str,
        value: u64,
    },
}

/// A value whose numbers have bounds.
pub trait Bounded {
    /// # Errors
    /// The first number that is out of them.
    fn bounded(&self) -> Result<(), Fault>;
}

/// Reads a value as Leasehold writes it.
///
/// # Errors
/// Why it is unreadable.
pub fn read<T: DeserializeOwned + Bounded>(text: &str) -> Result<T, Fault> {
    if text.len() > VALUE_MAX {
        return Err(Fault::TooLong(text.len()));
    }
    let value: T = serde_json::from_str(text).map_err(|_| Fault::NotOurs)?;
    value.bounded().map(|()| value)
}

/// An order holds by the presence of its key, whatever somebody wrote there; whether that can be read is told besides.
pub(crate) fn read_order(text: &str) -> (StandingOrder, Option<Fault>) {
    let order = match text.len() {
        bytes if bytes > ORDER_MAX => Err(Fault::TooLong(bytes)),
        _ => serde_json::from_str(text).map_err(|_| Fault::NotOurs),
    };
    match order {
        Ok(order) => (order, None),
        Err(fault) => {
            let order = StandingOrder {
                by: text::damage::BY_SOMEBODY.to_owned(),
                at: text::damage::AT_SOME_TIME.to_owned(),
                ..StandingOrder::default()
            };
            (order, Some(fault))
        }
    }
}

/// A claim's epoch that nobody can have counted: somebody wrote it there.
#[must_use]
pub fn is_damage(epoch: u64) -> bool {
    epoch > GIVEN_MAX
}

fn within(what: &'static str, value: u64, min: u64, max: u64) -> Result<(), Fault> {
    match (min..=max).contains(&value) {
        true => Ok(()),
        false => Err(Fault::Beyond { what, value }),
    }
}

impl Bounded for ClusterConfig {
    fn bounded(&self) -> Result<(), Fault> {
        within("generation", self.generation, 1, COUNTED_MAX)?;
        within("ttl_ms", self.ttl_ms, TTL_MIN_MS, PROMISE_MAX_MS)?;
        within("longest_ms", self.longest_ms.unwrap_or(0), 0, PROMISE_MAX_MS)?;
        let promises = self.promises_ms.unwrap_or(BOUND_MIN_MS);
        within("promises_ms", promises, BOUND_MIN_MS, BOUND_MAX_MS)
    }
}

impl Bounded for VoterKey {
    fn bounded(&self) -> Result<(), Fault> {
        within("generation", self.generation, 1, COUNTED_MAX)?;
        self.is_plain().then_some(()).ok_or(Fault::NotOurs)
    }
}

impl Bounded for Beat {
    fn bounded(&self) -> Result<(), Fault> {
        within("ttl_ms", self.ttl_ms, TTL_MIN_MS, PROMISE_MAX_MS)
    }
}

impl Bounded for Record {
    fn bounded(&self) -> Result<(), Fault> {
        within("epoch", self.epoch, 0, COUNTED_MAX)?;
        within("promise_ms", self.promise_ms.unwrap_or(0), 0, PROMISE_MAX_MS)?;
        within("past.quiet_ms", self.past.quiet_ms.unwrap_or(0), 0, QUIET_MAX_MS)
    }
}

impl Bounded for NodeStatus {
    fn bounded(&self) -> Result<(), Fault> {
        within("smallest_ttl_ms", self.smallest_ttl_ms.unwrap_or(0), 0, PROMISE_MAX_MS)?;
        self.groups.values().try_for_each(|ready| {
            let opinion = ready.opinion.as_ref().map(|opinion| opinion.of);
            let epochs = [ready.serves, opinion].into_iter().flatten().map(|run| run.epoch);
            let letters = ready.file.iter().map(|(key, print)| key.len().max(print.len())).max();
            within(
                "file",
                u64::try_from(ready.file.len()).unwrap_or(u64::MAX),
                0,
                FILE_KEYS_MAX,
            )?;
            within(
                "file",
                letters.map_or(0, |most| u64::try_from(most).unwrap_or(u64::MAX)),
                0,
                FILE_KEY_MAX,
            )?;
            within("claim", ready.claim.unwrap_or(0), 0, GIVEN_MAX)?;
            within("epoch", epochs.max().unwrap_or(0), 0, COUNTED_MAX)
        })
    }
}

impl Bounded for KnownNode {
    fn bounded(&self) -> Result<(), Fault> {
        let seen = u64::try_from(self.seen).map_err(|_| Fault::NotOurs)?;
        within("seen", seen, 0, SECONDS_MAX)
    }
}

impl Bounded for Intent {
    fn bounded(&self) -> Result<(), Fault> {
        Ok(())
    }
}

impl Bounded for Policy {
    /// Its values are, where they are read.
    fn bounded(&self) -> Result<(), Fault> {
        Ok(())
    }
}

impl Bounded for StoreIds {
    /// It becomes an argument of a tether, `ID=PATH`.
    fn bounded(&self) -> Result<(), Fault> {
        let plain = self.id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'=');
        match plain && !self.id.is_empty() && self.id.len() <= STORE_ID_MAX {
            true => Ok(()),
            false => Err(Fault::NotOurs),
        }
    }
}

impl Bounded for Saved {
    fn bounded(&self) -> Result<(), Fault> {
        self.groups.values().try_for_each(|run| {
            within("epoch", run.epoch, 0, COUNTED_MAX)?;
            within("n", u64::from(run.n), 0, RUNS_MAX)?;
            let mut services = run.parts.services.iter();
            services.try_for_each(|part| within("grace_ms", part.grace_ms, 0, GRACE_MAX_MS))
        })
    }
}

impl Pin {
    /// What is left of a pin that an earlier version took over from a damaged configuration: a generation that nobody counted
    /// is not known any more (0), the longest promise is the longest that there is; and what was wrong.
    #[must_use]
    pub fn repaired(self) -> (Self, Option<Fault>) {
        let generation = within("generation", self.generation, 0, COUNTED_MAX).err();
        let longest = within("longest_ms", self.longest_ms, 0, PROMISE_MAX_MS).err();
        let revision = (self.revision < 0).then_some(Fault::NotOurs);
        let sound = Self {
            generation: if generation.is_some() { 0 } else { self.generation },
            longest_ms: self.longest_ms.min(PROMISE_MAX_MS),
            revision: self.revision.max(0),
            promises_ms: self.promises_ms.map(|bound| bound.clamp(BOUND_MIN_MS, BOUND_MAX_MS)),
            ..self
        };
        (sound, generation.or(longest).or(revision))
    }
}
