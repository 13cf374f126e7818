//! The disks of etcd's members, by the histograms on their pages of metrics.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::day::Part;
use leasehold_core::advice::Disk;

/// etcd has 14 of them.
const BOUNDS_MAX: usize = 24;
/// Members whose disks are kept, and letters of an endpoint.
const MEMBERS_MAX: usize = 9;
const ENDPOINT_MAX: usize = 260;

const FSYNC: &str = "etcd_disk_wal_fsync_duration_seconds_bucket";
const COMMIT: &str = "etcd_disk_backend_commit_duration_seconds_bucket";

/// By the upper bound in microseconds: how many took no longer.
type Counts = BTreeMap<u64, u64>;

/// What a member shows: since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskCounts {
    fsync: Counts,
    commit: Counts,
}

impl DiskCounts {
    /// None: the page says nothing of a disk.
    #[must_use]
    pub fn of_metrics(text: &str) -> Option<Self> {
        let counts = Self {
            fsync: counts(text, FSYNC),
            commit: counts(text, COMMIT),
        };
        (!counts.fsync.is_empty() || !counts.commit.is_empty()).then_some(counts)
    }

    /// What came in between; a member that has begun anew counts from nothing.
    fn since(&self, before: &Self) -> Self {
        Self {
            fsync: since(&self.fsync, &before.fsync),
            commit: since(&self.commit, &before.commit),
        }
    }

    fn join(&mut self, other: &Self) {
        join(&mut self.fsync, &other.fsync);
        join(&mut self.commit, &other.commit);
    }
}

fn counts(text: &str, name: &str) -> Counts {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name));
    let found = lines.filter_map(|rest| {
        let (bound, count) = rest.strip_prefix("{le=\"")?.split_once("\"} ")?;
        // What is longer than the last bound is no shorter than it.
        let bound = f64::from_str(bound)
            .ok()
            .filter(|bound| (0.0..=3600.0).contains(bound))?;
        let count = f64::from_str(count).ok().filter(|count| (0.0..=9e15).contains(count))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "both are bounded in the lines above"
        )]
        let found = ((bound * 1e6).round() as u64, count as u64);
        Some(found)
    });
    found.take(BOUNDS_MAX).collect()
}

fn since(now: &Counts, before: &Counts) -> Counts {
    let came = |(bound, count): (&u64, &u64)| {
        let before = before.get(bound).copied().unwrap_or(0);
        count.checked_sub(before).map(|came| (*bound, came))
    };
    let came: Option<Counts> = now.iter().map(came).collect();
    came.unwrap_or_else(|| now.clone())
}

fn join(all: &mut Counts, more: &Counts) {
    for (bound, count) in more {
        let known = all.entry(*bound).or_default();
        *known = known.saturating_add(*count);
    }
}

/// What 99 of 100 did not exceed: the bound that they lie below.
fn slowest(counts: &Counts) -> Option<Duration> {
    let all = *counts.last_key_value()?.1;
    let enough = |(_, count): &(&u64, &u64)| u128::from(**count) * 100 >= u128::from(all) * 99;
    let (bound, _) = counts.iter().find(enough).filter(|_| all > 0)?;
    Some(Duration::from_micros(*bound))
}

/// One member in one part of the day.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartDisk {
    /// It has shown its figures at least once.
    is_shown: bool,
    counts: DiskCounts,
}

/// As each member showed them last.
#[derive(Clone, Debug, Default)]
pub(super) struct Disks(BTreeMap<String, DiskCounts>);

impl Disks {
    pub(super) fn note(&mut self, part: &mut Part, endpoint: &str, counts: Option<&DiskCounts>) {
        let is_new = !part.disks.contains_key(endpoint);
        if endpoint.len() > ENDPOINT_MAX || (is_new && part.disks.len() >= MEMBERS_MAX) {
            return;
        }
        let known = part.disks.entry(endpoint.to_owned()).or_default();
        let Some(counts) = counts else { return };
        known.is_shown = true;
        // What it did before it was looked at for the first time may be of last year.
        if let Some(before) = self.0.get(endpoint) {
            known.counts.join(&counts.since(before));
        }
        if self.0.contains_key(endpoint) || self.0.len() < MEMBERS_MAX {
            self.0.insert(endpoint.to_owned(), counts.clone());
        }
    }
}

pub(super) fn are_sound(disks: &BTreeMap<String, PartDisk>) -> bool {
    let few = |disk: &PartDisk| disk.counts.fsync.len() <= BOUNDS_MAX && disk.counts.commit.len() <= BOUNDS_MAX;
    let short = |endpoint: &String| endpoint.len() <= ENDPOINT_MAX;
    disks.len() <= MEMBERS_MAX && disks.values().all(few) && disks.keys().all(short)
}

/// Of all parts.
pub(super) fn sum<'p>(parts: impl Iterator<Item = &'p BTreeMap<String, PartDisk>>) -> BTreeMap<String, Disk> {
    let mut all: BTreeMap<&str, PartDisk> = BTreeMap::new();
    for (endpoint, disk) in parts.flatten() {
        let known = all.entry(endpoint).or_default();
        known.is_shown |= disk.is_shown;
        known.counts.join(&disk.counts);
    }
    let told = all.into_iter().map(|(endpoint, disk)| {
        let told = Disk {
            is_mute: !disk.is_shown,
            fsync: slowest(&disk.counts.fsync),
            commit: slowest(&disk.counts.commit),
        };
        (endpoint.to_owned(), told)
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(counts: [u64; 3]) -> String {
        let [fast, slow, all] = counts;
        format!(
            "# TYPE etcd_disk_wal_fsync_duration_seconds histogram\n\
             etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"0.001\"}} {fast}\n\
             etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"0.016\"}} {slow}\n\
             etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"8.192\"}} {all}\n\
             etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"+Inf\"}} {all}\n\
             etcd_disk_wal_fsync_duration_seconds_bucket{{le=\"nonsense\"}} 7\n\
             etcd_disk_wal_fsync_duration_seconds_sum 1.5\n"
        )
    }

    fn fsync(disks: &Disks, part: &Part) -> Option<Duration> {
        assert!(disks.0.len() <= MEMBERS_MAX);
        sum([&part.disks].into_iter())
            .get("http://a")
            .and_then(|disk| disk.fsync)
    }

    #[test]
    fn what_came_since_the_last_look_counts_and_a_new_start_from_nothing() {
        let (mut disks, mut part) = (Disks::default(), Part::default());
        let look = |counts, part: &mut Part, disks: &mut Disks| {
            let counts = DiskCounts::of_metrics(&page(counts)).unwrap();
            disks.note(part, "http://a", Some(&counts));
        };
        look([0, 0, 5000], &mut part, &mut disks);
        assert_eq!(fsync(&disks, &part), None, "what was before nobody has seen");
        look([990, 1000, 6000], &mut part, &mut disks);
        assert_eq!(fsync(&disks, &part), Some(Duration::from_millis(1)), "99 of 100");
        look([990, 1010, 6010], &mut part, &mut disks);
        assert_eq!(fsync(&disks, &part), Some(Duration::from_millis(16)));
        look([0, 0, 400], &mut part, &mut disks);
        assert_eq!(
            fsync(&disks, &part),
            Some(Duration::from_micros(8_192_000)),
            "it was started anew"
        );
        let disk = &sum([&part.disks].into_iter())["http://a"];
        assert_eq!((disk.is_mute, disk.commit), (false, None));
    }

    #[test]
    fn who_shows_nothing_is_named_and_all_is_bounded() {
        let (mut disks, mut part) = (Disks::default(), Part::default());
        disks.note(&mut part, "http://a", None);
        assert!(sum([&part.disks].into_iter())["http://a"].is_mute);
        assert_eq!(DiskCounts::of_metrics("etcd_server_is_leader 1\n"), None);
        let many: String = (0..1000)
            .map(|bound| format!("{FSYNC}{{le=\"0.{bound:04}\"}} 1\n"))
            .collect();
        let counts = DiskCounts::of_metrics(&many).unwrap();
        assert_eq!(counts.fsync.len(), BOUNDS_MAX);
        for number in 0..100 {
            disks.note(&mut part, &format!("http://{number}"), Some(&counts));
        }
        disks.note(&mut part, &"x".repeat(300), Some(&counts));
        assert_eq!((part.disks.len(), disks.0.len()), (MEMBERS_MAX, MEMBERS_MAX - 1));
        assert!(are_sound(&part.disks));
    }
}
