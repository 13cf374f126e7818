//! What a run of many seeds found, and whether it proves anything.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::mutants::Mutant;
use crate::swarm;

/// Fewer seeds than this may miss a branch by chance.
const ENOUGH: u64 = 2000;

/// Every transaction and every fault must have been there, or the run proves nothing.
pub(crate) const SOMETIMES: [&str; 70] = [
    "T1",
    "T2",
    "T3",
    "T4",
    "T4 frees a second group",
    "T5",
    "T6",
    "T7",
    "T8",
    "T9",
    "T11",
    "T12",
    "compare failed",
    "request lost",
    "answer lost",
    "request late",
    "request duplicated",
    "woke past its deadline",
    "tether left at its gate",
    "start completed late",
    "engine refused",
    "crash within an event",
    "adopted",
    "act PowerOff",
    "act KillSidecar",
    "act StopSignal",
    "act Freeze",
    "act Network",
    "act EtcdDown",
    "act DeleteNodeKey",
    "act CrashApp",
    "act Term",
    "act Switchover",
    "act Hold",
    "act Restore",
    "act ChangeTtl",
    "act Order",
    "a group deleted",
    "a group created",
    "a node left out",
    "order Pause",
    "order Resume",
    "order Drain",
    "order Undrain",
    "order Withdraw",
    "order Remove",
    "act Apply",
    "applied in place",
    "act Veil",
    "act Blind",
    "act Expire",
    "act Proxy",
    "said address_taken",
    "moved to a good certificate",
    "moved for a second opinion",
    "went back by itself",
    "looked at the storage",
    "fence",
    "act FenceHits",
    "taken after a fence",
    "taken at a person's word, or after a fence",
    "said failover_waits",
    "act LoseEtcd",
    "act Import",
    "imported",
    "act ChangeFile",
    "said left_file",
    "promised",
    "not promised",
    "told that it runs",
];

/// The sum over all seeds.
#[derive(Debug)]
pub(crate) struct Outcome {
    seeds: u64,
    counts: BTreeMap<String, u64>,
    red: Vec<(u64, String)>,
}

impl Outcome {
    pub(crate) fn new(seeds: u64) -> Self {
        Self {
            seeds,
            counts: BTreeMap::new(),
            red: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, counts: BTreeMap<String, u64>, red: Vec<(u64, String)>) {
        for (what, count) in counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.red.extend(red);
        self.red.sort();
    }

    /// The "sometimes" table: how often each transaction, fault and branch was met.
    pub(crate) fn table(&self) -> String {
        let faults = self.counts.keys().filter(|what| what.starts_with("act ")).count();
        let mut text = format!(
            "{} seeds, {faults} kinds of faults, repairs and commands:\n",
            self.seeds
        );
        for (what, count) in &self.counts {
            let _ = writeln!(text, "{count:>12}  {what}");
        }
        for what in self.missing() {
            let _ = writeln!(text, "{:>12}  {what}", "NEVER");
        }
        text
    }

    fn missing(&self) -> Vec<&'static str> {
        let never = |what: &&str| !self.counts.contains_key(*what);
        SOMETIMES.into_iter().filter(never).collect()
    }

    /// Red seeds, each with the command that replays it, and what was never met.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        let mut text = String::new();
        if let Some((seed, why)) = self.red.first() {
            let _ = writeln!(text, "{}", story(*seed, why));
        }
        for (seed, why) in &self.red {
            let _ = writeln!(text, "seed {seed}: {why}\n    {}", replay(*seed));
        }
        let missing = self.missing();
        if self.seeds >= ENOUGH && !missing.is_empty() {
            let _ = writeln!(text, "never seen, so this run proves nothing of it: {missing:?}");
        }
        if text.is_empty() {
            return Ok(());
        }
        let _ = writeln!(text, "{} of {} seeds are red", self.red.len(), self.seeds);
        Err(text)
    }
}

fn replay(seed: u64) -> String {
    format!("cargo run -p leasehold-sim -- --seed {seed} --log")
}

/// The last lines of the log of a red seed.
pub(crate) fn story(seed: u64, why: &str) -> String {
    let (_, _, log) = swarm::seed(seed, Mutant::None, true);
    let from = log.len().saturating_sub(120);
    format!("{}\nseed {seed}: {why}", log[from..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::kept;
    use crate::run;

    fn from_environment(name: &str, otherwise: u64) -> u64 {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    }

    #[test]
    fn kept_seeds_stay_green() {
        for number in kept() {
            let (failure, ..) = swarm::seed(number, Mutant::None, false);
            assert!(failure.is_none(), "{}", story(number, &failure.unwrap_or_default()));
        }
    }

    #[test]
    fn a_swarm_of_random_schedules_keeps_every_rule() {
        let first = from_environment("LEASEHOLD_SIM_FIRST", 1);
        let seeds = from_environment("LEASEHOLD_SIM_SEEDS", 2000);
        let outcome = run::all(first..first + seeds, run::processors());
        let verdict = outcome.verdict();
        assert!(verdict.is_ok(), "{}\n{}", outcome.table(), verdict.unwrap_err());
    }
}
