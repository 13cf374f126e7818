//! The last day in parts of half an hour, and its file.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::disks::{self, PartDisk};
use crate::adapters::files::{self, Outlives};
use leasehold_base::small_file;
use leasehold_core::advice::{Measured, Spread};

const FILE: &str = "measured.json";
/// A part has some 20 KiB where everything in it is full.
const FILE_MAX: u64 = small_file::MAX;
const PART_S: u64 = 1800;
/// A day.
const PARTS_MAX: usize = 48;

/// What was seen in half an hour.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Half hours since 1970.
    pub(super) number: u64,
    /// How long somebody looked.
    looked_us: u64,
    pub(super) answers: Spread,
    pub(super) failed: u64,
    pub(super) stalls: Spread,
    pub(super) pauses: Spread,
    pub(super) disks: BTreeMap<String, PartDisk>,
}

impl Part {
    pub(super) fn add_time(&mut self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.looked_us = self.looked_us.saturating_add(us);
    }

    fn is_sound(&self) -> bool {
        let spreads = [&self.answers, &self.stalls, &self.pauses];
        spreads.into_iter().all(Spread::is_sound) && disks::are_sound(&self.disks)
    }
}

/// The parts of the last day, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Day {
    parts: VecDeque<Part>,
}

impl Day {
    /// The part of now, by the wall clock. One that was set back for long has nothing to do with what was before.
    pub(super) fn part(&mut self, wall: u64) -> &mut Part {
        let number = wall / PART_S;
        let newest = self.parts.back().map_or(0, |part| part.number);
        if number + 1 < newest {
            self.parts.clear();
        }
        let oldest = number.saturating_sub(PARTS_MAX as u64 - 1);
        self.parts.retain(|part| part.number >= oldest);
        if self.parts.back().is_none_or(|part| part.number < number) {
            self.parts.push_back(Part {
                number,
                ..Part::default()
            });
        }
        let last = self.parts.len() - 1;
        &mut self.parts[last]
    }

    /// A silence was none of etcd's after all.
    pub(super) fn take_back(&mut self, number: u64, stall: Duration) {
        if let Some(part) = self.parts.iter_mut().find(|part| part.number == number) {
            part.stalls.take_back(stall);
        }
    }

    /// All of it.
    pub(super) fn sum(&self) -> Measured {
        let mut measured = Measured::default();
        for part in &self.parts {
            measured.time += Duration::from_micros(part.looked_us);
            measured.answers.join(&part.answers);
            measured.failed = measured.failed.saturating_add(part.failed);
            measured.stalls.join(&part.stalls);
            measured.pauses.join(&part.pauses);
        }
        measured.disks = disks::sum(self.parts.iter().map(|part| &part.disks));
        measured
    }
}

/// What the sidecar of this host has measured in the last day; none: nothing.
///
/// # Errors
/// The file can't be read, or is none of ours.
pub fn read(state_dir: &Path, wall: u64) -> io::Result<Option<Measured>> {
    let Some(mut day) = load(state_dir)? else {
        return Ok(None);
    };
    // What is older than a day goes.
    day.part(wall);
    Ok(Some(day.sum()).filter(|sum| !sum.time.is_zero()))
}

pub(super) fn load(state_dir: &Path) -> io::Result<Option<Day>> {
    let path = state_dir.join(FILE);
    load_from(&path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn load_from(path: &Path) -> io::Result<Option<Day>> {
    let text = match small_file::read_text(path, FILE_MAX) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let day: Day = serde_json::from_str(&text)?;
    let in_order = day.parts.iter().zip(day.parts.iter().skip(1));
    let in_order = in_order.into_iter().all(|(one, next)| one.number < next.number);
    if day.parts.len() > PARTS_MAX || !in_order || !day.parts.iter().all(Part::is_sound) {
        return Err(io::Error::new(ErrorKind::InvalidData, "no sidecar has written this"));
    }
    Ok(Some(day))
}

/// Without a sync: what it would cost etcd on the same disk is worth more than the last minutes before a power cut.
pub(super) fn save(state_dir: &Path, day: &Day) -> io::Result<()> {
    files::replace(&state_dir.join(FILE), day, Outlives::Process)
}
