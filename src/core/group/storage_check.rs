//! A standby's look at the storage, now and then: what a start would not find there, nobody should hand over to. When the
//! group is vacant it comes last, and looks once more at once.

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
}

impl Look {
    pub(super) fn wakes(&self) -> Option<Time> {
        self.at
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
