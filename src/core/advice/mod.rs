//! What measurements say of a ttl: whether this cluster would carry it, and how often it would have stopped a service. Nothing
//! here decides who runs it.

mod spread;

use std::collections::BTreeMap;
use std::time::Duration;

pub use spread::{BINS, Spread};

use crate::protocol::sizing::{Timing, TooShort};
use crate::text;

/// The ttls that people ask for.
const CANDIDATES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(3),
    Duration::from_secs(5),
    Duration::from_secs(10),
];

/// What rates are told for.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// Less says nothing of the hours in which backups run: no rate is told that a status would warn of.
pub const LEAST: Duration = Duration::from_secs(3600);

/// Of fewer nobody knows how slow they usually are.
const ANSWERS_LEAST: u64 = 100;

/// What etcd's own guide asks of a disk.
pub(crate) const FSYNC_MAX: Duration = Duration::from_millis(10);
pub(crate) const COMMIT_MAX: Duration = Duration::from_millis(25);

/// What one node saw in the last day, at most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// How long it looked.
    pub time: Duration,
    /// From sending a request to its answer.
    pub answers: Spread,
    /// Requests without a good answer.
    pub failed: u64,
    /// Times in which etcd gave no answer.
    pub stalls: Spread,
    /// Times in which this host did not run what was ready to run.
    pub pauses: Spread,
    /// By the endpoint of its member.
    pub disks: BTreeMap<String, Disk>,
}

/// What a member of etcd says of its disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// It was asked, and has shown no figures.
    pub is_mute: bool,
    /// 99 of 100 writes of its log were on the disk within this.
    pub fsync: Option<Duration>,
    /// The same of commits of its file.
    pub commit: Option<Duration>,
}

/// What the measurements say of one ttl.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The sums refuse it here (rule 9).
    Refused(TooShort),
    /// One answer in twenty comes later than a call may take: several calls in a row would be given up.
    Slow { answer: Duration, attempt: Duration },
    /// How often in a day it would have stopped a service.
    Stops(f64),
    /// It would have stopped none.
    Carried,
}

/// Of every ttl that was asked for, and of the one that the cluster has.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    verdicts: BTreeMap<Duration, Verdict>,
    now: Duration,
    promises: bool,
}

/// What the measurements say of each ttl, and of `timing`'s own. With `promises` a holder runs on while etcd is away: only the
/// host's own pauses are left.
#[must_use]
pub fn judge(measured: &Measured, timing: &Timing, promises: bool) -> Advice {
    let ttls = CANDIDATES.into_iter().chain([timing.ttl]);
    let verdicts = ttls.map(|ttl| (ttl, verdict(measured, &timing.with_ttl(ttl), promises)));
    Advice {
        verdicts: verdicts.collect(),
        now: timing.ttl,
        promises,
    }
}

fn verdict(measured: &Measured, timing: &Timing, promises: bool) -> Verdict {
    if let Err(short) = timing.check() {
        return Verdict::Refused(short);
    }
    let attempt = timing.attempt;
    let answers = Some(&measured.answers).filter(|answers| answers.count() >= ANSWERS_LEAST);
    let slow = answers.and_then(|answers| answers.quantile(0.95));
    if let Some(answer) = slow.filter(|answer| *answer > attempt) {
        return Verdict::Slow { answer, attempt };
    }
    // As the sums are: tethers that wake up late are told of when they do.
    let timing = timing.with_prompt(true);
    let stops = |spread: &Spread| spread.sum(|length| timing.share_stopped(length));
    let etcds = if promises { 0.0 } else { stops(&measured.stalls) };
    let days = measured.time.as_secs_f64() / DAY.as_secs_f64();
    match etcds + stops(&measured.pauses) {
        stops if stops > 0.0 && days > 0.0 => Verdict::Stops(stops / days),
        _ => Verdict::Carried,
    }
}

impl Advice {
    /// What is said of the ttl that the cluster has.
    #[must_use]
    pub fn of_now(&self) -> Option<&Verdict> {
        self.verdicts.get(&self.now)
    }

    /// The smallest ttl that would have stopped nothing.
    #[must_use]
    pub fn smallest(&self) -> Option<Duration> {
        let carried = |(_, verdict): &(&Duration, &Verdict)| **verdict == Verdict::Carried;
        self.verdicts.iter().find(carried).map(|(ttl, _)| *ttl)
    }

    pub(crate) fn verdicts(&self) -> &BTreeMap<Duration, Verdict> {
        &self.verdicts
    }

    pub(crate) fn counts_on_promises(&self) -> bool {
        self.promises
    }

    /// All of it in lines for people.
    #[must_use]
    pub fn lines(&self, measured: &Measured) -> Vec<String> {
        text::advice::lines(measured, self)
    }
}

/// What is said where nothing was measured yet.
#[must_use]
pub fn nothing() -> String {
    text::advice::NOTHING.to_owned()
}

#[cfg(test)]
mod tests;
