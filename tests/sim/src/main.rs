//! The simulator: N cores of the shipped code in a simulated world, faults, invariants after every event.
//!
//! usage: leasehold-sim --seeds A..B [--threads N]     every seed from A to before B, on all processors
//!        leasehold-sim --seed S [--log]               one seed, with one line per transition
//!
//! Exit: 0 when every seed is green and, from 2000 seeds on, every fault and every branch was met; 1 otherwise.

#[macro_use]
mod log;
mod actions;
#[cfg(test)]
mod acts;
#[cfg(test)]
mod calm;
mod checks;
mod classify;
#[cfg(test)]
mod directed;
#[cfg(test)]
mod directed_compares;
#[cfg(test)]
mod directed_policies;
mod disturb;
mod engine;
mod etcd;
mod events;
mod faults;
mod features;
mod gate;
mod host;
mod members;
mod mounts;
mod mutants;
mod network;
mod plan;
#[cfg(test)]
mod planted;
mod policy;
mod promises;
#[cfg(test)]
mod promises_directed;
mod report;
mod rng;
mod run;
mod set;
mod sidecar;
mod storage;
mod surroundings;
mod swarm;
mod taken;
mod tether;
#[cfg(test)]
mod tight;
mod told;
#[cfg(test)]
mod ttl;
mod world;

use std::io::Write as _;
use std::ops::Range;
use std::process::ExitCode;

/// A quarter of a seed's time went into the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What the command line asks for.
struct Wish {
    seeds: Range<u64>,
    threads: usize,
    log: bool,
}

fn wish(mut words: impl Iterator<Item = String>) -> Option<Wish> {
    let mut wish = Wish {
        seeds: 1..20_001,
        threads: run::processors(),
        log: false,
    };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seeds" => {
                let text = words.next()?;
                let (from, to) = text.split_once("..")?;
                wish.seeds = from.parse().ok()?..to.parse().ok()?;
            }
            "--seed" => {
                let seed: u64 = words.next()?.parse().ok()?;
                wish.seeds = seed..seed + 1;
            }
            "--threads" => wish.threads = words.next()?.parse().ok()?,
            "--log" => wish.log = true,
            _ => return None,
        }
    }
    Some(wish)
}

fn main() -> ExitCode {
    let Some(wish) = wish(std::env::args().skip(1)) else {
        let _ = writeln!(
            std::io::stderr(),
            "usage: leasehold-sim --seeds A..B [--threads N]\n       leasehold-sim --seed S [--log]"
        );
        return ExitCode::from(2);
    };
    let mut out = std::io::stdout();
    if wish.log {
        let (failure, _, log) = swarm::seed(wish.seeds.start, mutants::Mutant::None, true);
        let _ = writeln!(out, "{}", log.join("\n"));
        let _ = writeln!(out, "{}", failure.as_deref().unwrap_or("green"));
        return ExitCode::from(u8::from(failure.is_some()));
    }
    let outcome = run::all(wish.seeds, wish.threads);
    let _ = writeln!(out, "{}", outcome.table());
    match outcome.verdict() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(out, "{why}");
            ExitCode::FAILURE
        }
    }
}
