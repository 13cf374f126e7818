//! Breadth first over every state, so that the counterexample found is a shortest one. A library would do for the first
//! half; that an active holder can be reached from everywhere needs the edges, too.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use super::rules::Bounds;
use super::state::World;
use super::step::{self, Step, Steps};

/// Multiply and rotate: the states are ours, nobody attacks the table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }
}

/// What a search found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) states: usize,
    /// Every state was seen.
    pub(crate) whole: bool,
    /// What went wrong, and the steps that lead there.
    pub(crate) broken: Option<(String, Vec<Step>)>,
    /// States from which no active holder can be reached, with the steps to the first.
    pub(crate) stuck: Option<(usize, Vec<Step>)>,
}

type Table = HashMap<u64, u32, BuildHasherDefault<Mix>>;

fn fingerprint<const N: usize, const G: usize>(world: &World<N, G>) -> u64 {
    let mut mix = Mix::default();
    world.hash(&mut mix);
    mix.finish()
}

pub(crate) fn search<const N: usize, const G: usize>(bounds: &Bounds, liveness: bool) -> Found {
    let mut table = Table::default();
    let mut worlds = vec![World::<N, G>::new(bounds)];
    let mut parents: Vec<(u32, Step)> = vec![(0, (N, "start"))];
    let mut edges: Vec<(u32, u32)> = Vec::new();
    table.insert(fingerprint(&worlds[0]), 0);
    let mut at = 0;
    let mut broken = None;
    let mut steps = Steps {
        next: Vec::new(),
        fell: None,
    };
    while at < worlds.len() && worlds.len() < bounds.states {
        step::all(&worlds[at].clone(), bounds, &mut steps);
        if let Some(step) = steps.fell {
            let mut trace = trace(&parents, at);
            trace.push(step);
            broken = Some(("an epoch did not rise".to_owned(), trace));
            break;
        }
        for (step, mut world) in steps.next.drain(..) {
            world.normalise(bounds);
            let new = worlds.len() as u32;
            let to = *table.entry(fingerprint(&world)).or_insert(new);
            if liveness {
                edges.push((to, at as u32));
            }
            if to == new {
                let two = world.two_writers();
                worlds.push(world);
                parents.push((at as u32, step));
                if two {
                    broken = Some(("two write".to_owned(), trace(&parents, to as usize)));
                }
            }
        }
        if broken.is_some() {
            break;
        }
        at += 1;
    }
    let whole = at == worlds.len() && broken.is_none();
    let stuck = (liveness && whole).then(|| stuck(&worlds, edges)).flatten();
    Found {
        states: worlds.len(),
        whole,
        broken,
        stuck: stuck.map(|(count, first)| (count, trace(&parents, first))),
    }
}

/// Backwards from every state that serves: what is never met can't get there.
fn stuck<const N: usize, const G: usize>(worlds: &[World<N, G>], mut edges: Vec<(u32, u32)>) -> Option<(usize, usize)> {
    edges.sort_unstable();
    let mut first = vec![0_u32; worlds.len() + 1];
    for (to, _) in &edges {
        first[*to as usize + 1] += 1;
    }
    for at in 0..worlds.len() {
        first[at + 1] += first[at];
    }
    let mut met: Vec<bool> = worlds.iter().map(World::served).collect();
    let mut waiting: Vec<usize> = (0..worlds.len()).filter(|at| met[*at]).collect();
    while let Some(at) = waiting.pop() {
        for (_, from) in &edges[first[at] as usize..first[at + 1] as usize] {
            if !std::mem::replace(&mut met[*from as usize], true) {
                waiting.push(*from as usize);
            }
        }
    }
    let count = met.iter().filter(|met| !**met).count();
    met.iter().position(|met| !met).map(|first| (count, first))
}

fn trace(parents: &[(u32, Step)], mut at: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    while at != 0 {
        let (parent, step) = parents[at];
        steps.push(step);
        at = parent as usize;
    }
    steps.reverse();
    steps
}

pub(crate) fn tell(steps: &[Step]) -> String {
    let who = |at: usize| ["a", "b", "c"].get(at).copied().unwrap_or("-");
    let lines = steps.iter().map(|(at, what)| format!("  {} {what}", who(*at)));
    lines.collect::<Vec<_>>().join("\n")
}
