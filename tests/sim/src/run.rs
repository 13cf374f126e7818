//! Many seeds on all processors; every seed is a world of its own, so the order does not matter.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::mutants::Mutant;
use crate::report::Outcome;
use crate::swarm;

pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs every seed of the range.
pub(crate) fn all(seeds: Range<u64>, threads: usize) -> Outcome {
    let next = AtomicU64::new(seeds.start);
    let found = Mutex::new(Outcome::new(seeds.end.saturating_sub(seeds.start)));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                let mut counts: BTreeMap<String, u64> = BTreeMap::new();
                let mut red = Vec::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let (failure, seen, _) = swarm::seed(seed, Mutant::None, false);
                    for (what, count) in seen {
                        *counts.entry(what).or_default() += count;
                    }
                    red.extend(failure.map(|why| (seed, why)));
                }
                if let Ok(mut found) = found.lock() {
                    found.add(counts, red);
                }
            });
        }
    });
    found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
