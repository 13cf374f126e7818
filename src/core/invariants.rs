//! What must hold after every event, in release builds too: a breach ends the process, and the tethers fence.
//!
//! Each has a sentence, which is the message of the panic.

use std::collections::BTreeMap;

use crate::event::{Action, Order, PageOrder};
use crate::group::{Group, Holding, Stage};
use crate::node::Node;
use crate::time::Time;

/// What holds, and whether it does.
type Check = (bool, &'static str);

impl Node {
    /// Asserts every invariant. `actions`: those of this event.
    pub(super) fn assert_invariants(&self, now: Time, actions: &[Action]) {
        if let Some(broken) = self.breach(now, actions) {
            panic!("a breach of an invariant: {broken}");
        }
    }

    fn breach(&self, now: Time, actions: &[Action]) -> Option<&'static str> {
        let node = self.checks_of_node(now, actions);
        let groups = self.groups.values().flat_map(|group| {
            let held = group.held();
            let run = held.map(|held| self.checks_of_run(now, group, held, actions));
            checks_of_group(group, actions)
                .into_iter()
                .chain(run.into_iter().flatten())
        });
        let mut all = node.into_iter().chain(groups);
        all.find(|(holds, _)| !holds).map(|(_, broken)| broken)
    }

    fn checks_of_node(&self, now: Time, actions: &[Action]) -> [Check; 8] {
        let asks = |action: &&Action| matches!(action, Action::Txn { .. } | Action::Read { .. });
        let asked = actions.iter().filter(asks).count();
        let exits = actions.iter().position(|action| matches!(action, Action::Exit { .. }));
        let save = actions.iter().position(|action| matches!(action, Action::Save(_)));
        let first = actions.iter().position(depends_on_the_file);
        let frozen = self.membership.is_frozen();
        [
            (asked <= 1, "one request at a time goes to etcd"),
            (
                asked == 0 || self.membership.exchange().is_pending(),
                "a request that is sent is waited for",
            ),
            (
                self.membership.exchange().is_in_order(),
                "the beats that may still land are few, and younger than the proof",
            ),
            (
                save.is_none_or(|save| first.is_none_or(|first| save < first)),
                "the boot-scoped file is written before what depends on it",
            ),
            (
                !frozen || !actions.iter().any(lets_run),
                "nothing starts while this etcd is not trusted",
            ),
            (
                exits.is_none() || self.membership.ending().is_over(),
                "an exit is the end of every decision",
            ),
            (
                last_of_watchdog(actions).is_none_or(|armed| armed == self.host.watchdog().is_armed()),
                "the watchdog is asleep when nobody means to feed it",
            ),
            (
                self.deadline().is_none_or(|wake| !now.reached(wake)),
                "the next look lies ahead, so that nothing spins",
            ),
        ]
    }

    fn checks_of_run(&self, now: Time, group: &Group, held: &Holding, actions: &[Action]) -> [Check; 11] {
        let name = &group.settings().name;
        let starts = actions.iter().any(|action| starts(action, name));
        let watched = self.facts.timing().watchdog.is_none() || self.host.watchdog().is_armed();
        let last = last_pages(name, actions);
        let open = || last.values().filter(|page| page.order == Order::Open);
        let deadlines = held.deadlines;
        let ordered = |earlier: Time, later: Time| earlier.boot <= later.boot && earlier.raw <= later.raw;
        let ours = self.membership.lease() == Some(held.lease) || self.membership.is_frozen();
        [
            (
                self.adoption.is_written(name, held.run, held.latched),
                "the boot-scoped file says what runs, and whether its stop has begun",
            ),
            (
                !held.soft_passed || held.latched,
                "a run whose lease ran out is latched",
            ),
            (
                !held.latched || held.stage != Stage::Active,
                "a latched run is never active",
            ),
            (!starts || watched, "nothing starts before the watchdog is armed"),
            (
                !(starts && now.reached(deadlines.soft)),
                "nothing starts at or after the soft deadline",
            ),
            (
                ordered(deadlines.soft, deadlines.hard) && ordered(deadlines.hard, deadlines.end),
                "the stop comes before the kill, and the kill before the end",
            ),
            (
                open().all(|page| page.run == held.run),
                "a page lets no other run go on than the one that is held",
            ),
            (
                !now.reached(deadlines.soft) || open().next().is_none(),
                "no page lets a run go on whose lease runs out",
            ),
            (
                open().all(|page| ordered(page.soft, deadlines.soft) && ordered(page.hard, deadlines.hard)),
                "a page promises no more than the lease gives",
            ),
            (
                held.stage != Stage::Active || ours,
                "what is active is held under this node's own lease",
            ),
            (
                held.stuck.is_none() || held.stage != Stage::Active,
                "what can't be stopped is never active",
            ),
        ]
    }
}

fn checks_of_group(group: &Group, actions: &[Action]) -> [Check; 3] {
    let name = &group.settings().name;
    let others =
        |action: &Action| matches!(action, Action::Start { of, made, .. } if of.group == *name && !group.fits(made));
    let starts = actions.iter().any(|action| starts(action, name));
    [
        (
            !actions.iter().any(others),
            "what starts was made for the store that is asked for",
        ),
        (!starts || group.is_held(), "nothing of a group starts that is not held"),
        (
            !starts || !group.settings().gone,
            "nothing starts of a group that left the file",
        ),
    ]
}

/// What each page of a group says at the end of an event: it may be written more than once.
fn last_pages(group: &str, actions: &[Action]) -> BTreeMap<usize, PageOrder> {
    let pages = actions.iter().filter_map(|action| {
        let Action::Page { of, page } = action else { return None };
        (of.group == group).then_some((of.service, *page))
    });
    pages.collect()
}

/// Whether the watchdog is armed after these; none where nothing is done to it.
fn last_of_watchdog(actions: &[Action]) -> Option<bool> {
    let fed = |action: &Action| matches!(action, Action::Feed { .. });
    let mut done = actions.iter().rev();
    let last = done.find(|action| fed(action) || matches!(action, Action::Disarm));
    last.map(fed)
}

/// Something of this group comes to life by it.
fn starts(action: &Action, group: &str) -> bool {
    matches!(action, Action::Start { of, .. } | Action::Admit { of, .. } if of.group == group)
        || matches!(action, Action::VipHold { group: of, announce: true, .. } if of == group)
}

/// Something comes to life by it.
fn lets_run(action: &Action) -> bool {
    matches!(action, Action::Start { .. } | Action::Admit { .. })
}

/// A later sidecar must know of it, should this one end right after.
fn depends_on_the_file(action: &Action) -> bool {
    let page_opens = matches!(action, Action::Page { page, .. } if page.order != Order::Closed);
    lets_run(action) || page_opens || matches!(action, Action::Kill { .. })
}
