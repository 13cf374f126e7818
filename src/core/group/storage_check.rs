//! A standby's look at the storage, now and then: what a start would not find there, nobody should hand over to. When the
//! group is vacant it comes last, and looks once more at once.

use std::time::Duration;

use super::Group;
use crate::event::{Action, FailureKind, ProbeFailure};
use crate::time::Time;

/// Where it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    /// When the next is due; none before the first, and while one is under way.
    at: Option<Time>,
    /// The store of the one under way.
    under_way: Option<String>,
    /// What the storage must carry now.
    store: Option<String>,
    /// What the last one found.
    fault: Option<String>,
    /// The vacancy, by the record's mod revision, for which it was repeated at once.
    repeated: Option<i64>,
    /// When the claims of the holder are watched, unless it is heard of before.
    watch_at: Option<Time>,
    /// The silence for which that was ordered.
    watched: Option<Silence>,
}

/// A holder that has not been heard of since a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Silence {
    /// The record's mod revision.
    pub record: i64,
    /// The beat's; none where its key is gone.
    pub beat: Option<i64>,
}

/// Before a holder is ripe its claims are watched for this long: a helper starts, and looks at them for two beats.
const WATCH_LEAD: Duration = Duration::from_millis(1500);

impl Look {
    pub(super) fn wakes(&self) -> impl Iterator<Item = Time> {
        self.at.into_iter().chain(self.watch_at)
    }

    /// Why the group could not be started here.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.clone()
    }
}

impl Group {
    /// Looks when it is due. `store`: the id that the storage must carry; none while this node may not look, or need not.
    /// `vacant`: the record that anybody may take over now; then what a look did not find is looked for once more at once.
    pub(crate) fn step_look(&mut self, now: Time, store: Option<String>, vacant: Option<i64>, out: &mut Vec<Action>) {
        let (Some(every), None) = (self.settings.storage_look, &self.held) else {
            // The holder's run has found it, and its own probes look on.
            self.look.fault = None;
            self.look.at = self.settings.storage_look.map(|every| now.plus(every));
            return;
        };
        self.look.store.clone_from(&store);
        let Some(store) = store.filter(|_| self.look.under_way.is_none()) else {
            return;
        };
        let again = self.look.fault.is_some() && vacant.is_some() && vacant != self.look.repeated;
        self.look.repeated = vacant.filter(|_| again || self.look.repeated == vacant);
        if again || self.look.at.is_none_or(|at| now.reached(at)) {
            self.look.under_way = Some(store.clone());
            self.look.at = Some(now.plus(every));
            let group = self.settings.name.clone();
            out.push(Action::LookAtStorage { group, store });
        }
    }

    /// Has the claims of a silent holder watched, once for each silence, so early that the start need not. `ripe`: when it may be
    /// taken from.
    pub(crate) fn step_watch(
        &mut self,
        now: Time,
        store: Option<String>,
        silent: Option<(Silence, Time)>,
        ttl: Duration,
        out: &mut Vec<Action>,
    ) {
        let lead = WATCH_LEAD.min(ttl / 4 * 3);
        let silent = silent.filter(|_| self.held.is_none() && self.settings.storage_look.is_some());
        let due = store.zip(silent.filter(|(silence, _)| self.look.watched != Some(*silence)));
        self.look.watch_at = due.as_ref().map(|(_, (_, ripe))| ripe.minus(lead));
        if let (Some((store, (silence, _))), Some(at)) = (due, self.look.watch_at)
            && now.reached(at)
        {
            self.look.watched = Some(silence);
            self.look.watch_at = None;
            let group = self.settings.name.clone();
            out.push(Action::WatchClaims { group, store });
        }
    }

    /// What a look found. One that could not be made says nothing, and what was found out before stays.
    /// One at another store, which the group had before, says nothing either.
    pub(crate) fn storage_seen(&mut self, now: Time, store: &str, result: Result<(), ProbeFailure>) {
        if self.look.under_way.as_deref() == Some(store) {
            self.look.under_way = None;
        }
        if self.look.store.as_deref() != Some(store) {
            return;
        }
        self.look.at = self.settings.storage_look.map(|every| now.plus(every));
        match result {
            Ok(()) => self.look.fault = None,
            Err(failure) if failure.kind == FailureKind::Unasked => {}
            Err(failure) => self.look.fault = Some(failure.text).filter(|_| self.held.is_none()),
        }
    }
}
