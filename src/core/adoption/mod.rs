//! What an earlier sidecar of this boot left running, until it is adopted or disowned; and what this one leaves in the
//! boot-scoped file for the next.

pub mod left;

use std::collections::{BTreeMap, BTreeSet};

use crate::epoch::Run;
use crate::event::{Action, Order, PageOrder, ServiceKey};
use crate::group::Group;
use crate::protocol::records::{Saved, SavedRun};
use crate::protocol::sizing::{Deadlines, KILL_BUDGET_LEAST};
use crate::time::Time;

/// Runs of an earlier sidecar, and the memory on the disk.
#[derive(Clone, Debug)]
pub(crate) struct Adoption {
    /// From the disk; taken once this node's own key is read.
    saved: Option<Saved>,
    /// Its lease is still this node's: adopted with the first beat.
    runs: BTreeMap<String, SavedRun>,
    /// What the pages of those runs say.
    pages: BTreeMap<ServiceKey, PageOrder>,
    /// Groups whose addresses were dropped before their run was adopted.
    dropped: BTreeSet<String>,
    /// What is on the disk.
    written: Option<Saved>,
}

impl Adoption {
    /// `saved`: of this boot, with a lease.
    pub(crate) fn new(saved: Option<Saved>, pages: BTreeMap<ServiceKey, PageOrder>) -> Self {
        Self {
            written: saved.clone(),
            saved,
            runs: BTreeMap::new(),
            pages,
            dropped: BTreeSet::new(),
        }
    }

    /// Whether this node's own key has not been read yet.
    pub(crate) fn is_undecided(&self) -> bool {
        self.saved.is_some()
    }

    /// Whether anything may still be adopted.
    pub(crate) fn is_under_way(&self) -> bool {
        self.saved.is_some() || !self.runs.is_empty()
    }

    /// Whether the run of this group may still be adopted, once its lease was found.
    pub(crate) fn is_expected(&self, group: &str) -> bool {
        self.runs.contains_key(group)
    }

    /// Whether something of the group was left running, as far as the file says.
    pub(crate) fn was_left(&self, group: &str) -> bool {
        self.saved
            .as_ref()
            .is_some_and(|saved| saved.groups.contains_key(group))
    }

    /// Groups with a run that is neither adopted nor disowned.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        let saved = self.saved.as_ref().map(|saved| &saved.groups);
        saved.into_iter().chain([&self.runs]).flat_map(BTreeMap::keys)
    }

    /// The file's word is over: either its lease is this node's, then [`Self::take_runs`] follows, or not.
    pub(crate) fn decide(&mut self) -> Option<Saved> {
        self.saved.take()
    }

    pub(crate) fn expect(&mut self, runs: BTreeMap<String, SavedRun>) {
        self.runs = runs;
    }

    /// What was expected, to be adopted or disowned now.
    pub(crate) fn take_runs(&mut self) -> BTreeMap<String, SavedRun> {
        std::mem::take(&mut self.runs)
    }

    pub(crate) fn pages(&self) -> &BTreeMap<ServiceKey, PageOrder> {
        &self.pages
    }

    /// Pages of a group that let something run.
    fn open(&self, group: &str) -> impl Iterator<Item = &PageOrder> {
        let of_group = self.pages.iter().filter(move |(of, _)| of.group == group);
        of_group
            .map(|(_, page)| page)
            .filter(|page| page.order != Order::Closed)
    }

    /// The earliest soft deadline on the pages that an earlier sidecar left for the group; a closed page has none.
    pub(crate) fn soft(&self, group: &str) -> Option<Time> {
        self.open(group).map(|page| page.soft).reduce(Time::earlier)
    }

    /// The same for the hard one.
    pub(crate) fn hard(&self, group: &str) -> Option<Time> {
        self.open(group).map(|page| page.hard).reduce(Time::earlier)
    }

    /// The addresses of a group go; true for the first time.
    pub(crate) fn drop_addresses(&mut self, group: &str) -> bool {
        self.dropped.insert(group.to_owned())
    }

    /// Before a shorter promise is sent, the pages of what is not adopted yet come in: a hold of the earlier sidecar may have
    /// promised them far more.
    pub(crate) fn shorten(&mut self, group: &Group, deadlines: Deadlines, out: &mut Vec<Action>) {
        let name = &group.settings().name;
        let Some(saved) = self.runs.get(name) else { return };
        let mut end = deadlines.end;
        for (of, page) in self.pages.iter_mut().filter(|(of, _)| of.group == *name) {
            if page.order == Order::Closed {
                continue;
            }
            (page.soft, page.hard) = (page.soft.earlier(deadlines.soft), page.hard.earlier(deadlines.hard));
            end = end.earlier(page.hard.plus(KILL_BUDGET_LEAST));
            out.push(Action::Page {
                of: of.clone(),
                page: *page,
            });
        }
        if group.settings().vips > 0 && !saved.latched {
            out.push(Action::VipKeep {
                group: name.clone(),
                until: end,
                coarse: deadlines.coarse,
            });
        }
    }

    /// What the disk must hold now: what is not adopted yet, and what runs.
    pub(crate) fn memory(&self, boot: &str, lease: Option<i64>, groups: &BTreeMap<String, Group>) -> Saved {
        let lease = lease.unwrap_or_else(|| {
            let held = groups.values().find_map(|group| group.held());
            let written = self.written.as_ref().filter(|_| !self.runs.is_empty());
            held.map_or(written.map_or(0, |written| written.lease), |held| held.lease)
        });
        let mut runs = self.runs.clone();
        runs.extend(
            groups
                .iter()
                .filter_map(|(name, group)| Some((name.clone(), group.saved()?))),
        );
        Saved {
            boot: boot.to_owned(),
            lease,
            groups: runs,
        }
    }

    /// The write that must come before everything else of an event, if the disk does not say so yet. While the file is not
    /// decided on it stays as it is.
    pub(crate) fn write(&mut self, memory: Saved) -> Option<Saved> {
        if self.saved.is_some() || self.written.as_ref() == Some(&memory) {
            return None;
        }
        self.written = Some(memory.clone());
        Some(memory)
    }

    /// Whether the disk says so of a run that is held: an invariant.
    pub(crate) fn is_written(&self, group: &str, run: Run, latched: bool) -> bool {
        let written = self.written.as_ref().and_then(|written| written.groups.get(group));
        let same = |saved: &SavedRun| (saved.epoch, saved.n, saved.latched) == (run.epoch, run.n, latched);
        self.saved.is_some() || written.is_some_and(same)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adoption::left::Parts;
    use std::time::Duration;

    fn run(epoch: u64, latched: bool) -> SavedRun {
        SavedRun {
            epoch,
            n: 1,
            latched,
            parts: Parts::default(),
        }
    }

    fn saved(runs: &[(&str, SavedRun)]) -> Saved {
        Saved {
            boot: "b".to_owned(),
            lease: 7,
            groups: runs
                .iter()
                .map(|(name, run)| ((*name).to_owned(), run.clone()))
                .collect(),
        }
    }

    fn page(service: usize, order: Order, soft: u64) -> (ServiceKey, PageOrder) {
        let at = |seconds| Time::default().plus(Duration::from_secs(seconds));
        let of = ServiceKey {
            group: "mail".to_owned(),
            service,
        };
        let page = PageOrder {
            run: Run { epoch: 3, n: 1 },
            order,
            soft: at(soft),
            hard: at(soft + 1),
        };
        (of, page)
    }

    #[test]
    fn what_was_left_is_expected_once_its_lease_is_found_and_then_taken_once() {
        let mut adoption = Adoption::new(Some(saved(&[("mail", run(3, false))])), BTreeMap::new());
        assert!(adoption.is_undecided() && adoption.was_left("mail") && !adoption.is_expected("mail"));
        let decided = adoption.decide().unwrap();
        adoption.expect(decided.groups);
        assert!(!adoption.is_undecided() && adoption.is_under_way() && adoption.is_expected("mail"));
        assert_eq!(adoption.names().collect::<Vec<_>>(), ["mail"]);
        assert_eq!(adoption.take_runs().len(), 1);
        assert!(!adoption.is_under_way() && adoption.take_runs().is_empty());
    }

    #[test]
    fn the_earliest_open_page_counts_and_a_closed_one_does_not() {
        let pages = [
            page(0, Order::Open, 9),
            page(1, Order::Stop, 5),
            page(2, Order::Closed, 1),
        ];
        let adoption = Adoption::new(None, pages.into());
        let at = |seconds| Some(Time::default().plus(Duration::from_secs(seconds)));
        assert_eq!((adoption.soft("mail"), adoption.hard("mail")), (at(5), at(6)));
        assert_eq!(adoption.soft("web"), None);
    }

    #[test]
    fn the_disk_is_written_when_it_says_something_else_and_not_before_it_is_decided() {
        let before = saved(&[("mail", run(3, false))]);
        let mut adoption = Adoption::new(Some(before.clone()), BTreeMap::new());
        let latched = saved(&[("mail", run(3, true))]);
        assert_eq!(adoption.write(latched.clone()), None, "its word is not read yet");
        adoption.decide();
        assert_eq!(adoption.write(before), None, "the disk says so");
        let of = Run { epoch: 3, n: 1 };
        assert!(!adoption.is_written("mail", of, true));
        assert_eq!(adoption.write(latched.clone()), Some(latched));
        assert!(adoption.is_written("mail", of, true) && !adoption.is_written("web", of, true));
    }

    #[test]
    fn addresses_are_dropped_once() {
        let mut adoption = Adoption::new(None, BTreeMap::new());
        assert!(adoption.drop_addresses("mail") && !adoption.drop_addresses("mail"));
    }
}
