//! What the console remembers of the history in etcd: pages are asked for every other second, and it is read seldom.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::look;
use crate::adapters::http::Shared;
use leasehold_base::clock;
use leasehold_base::time::Time;
use leasehold_core::history::{Before, Epoch, History};
use leasehold_core::snapshot::status::{GroupLine, Status};

/// How old it may be while nothing is open in it.
const AGE_MAX: Duration = Duration::from_secs(20);
/// The same while the last epoch has not been told to its end; so long etcd is left alone after a failure, too.
const AGE_OPEN_MAX: Duration = Duration::from_secs(2);
/// So long a page waits for it. What comes later is shown by the next one.
const PATIENCE: Duration = Duration::from_millis(500);

/// What is known of one group's history.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    /// As it was read last.
    pub(super) history: Option<Arc<History>>,
    /// Why it could not be read the last time.
    pub(super) fault: Option<String>,
    read: Option<Time>,
}

/// Of all groups that somebody looked at.
#[derive(Debug, Default)]
pub(super) struct Past {
    kept: Mutex<BTreeMap<String, Told>>,
    is_reading: AtomicBool,
}

impl Past {
    /// What is known of these groups; read anew where that is due.
    pub(super) async fn of(
        self: &Arc<Self>,
        shared: &Shared,
        status: &Status,
        groups: &[&str],
    ) -> BTreeMap<String, Told> {
        let due = self.due(status, groups);
        if !due.is_empty() && !self.is_reading.swap(true, Ordering::AcqRel) {
            let (past, archive) = (Arc::clone(self), Arc::clone(&shared.archive));
            let reading = tokio::spawn(async move {
                let past = Reading(past);
                // One after the other: etcd is for beats.
                for group in due {
                    let read = archive.history(&group).await;
                    past.0.keep(group, read);
                }
            });
            let _ = tokio::time::timeout(PATIENCE, reading).await;
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = groups
            .iter()
            .filter_map(|group| Some(((*group).to_owned(), kept.get(*group)?.clone())));
        known.collect()
    }

    /// The same of one group.
    pub(super) async fn of_one(self: &Arc<Self>, shared: &Shared, status: &Status, group: &str) -> Told {
        self.of(shared, status, &[group])
            .await
            .remove(group)
            .unwrap_or_default()
    }

    fn due(&self, status: &Status, groups: &[&str]) -> Vec<String> {
        let now = clock::now();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|group, _| status.groups.contains_key(group));
        let is_due = |group: &&&str| match (kept.get(**group), status.groups.get(**group)) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(told), Some(line)) => {
                let most = if told.is_complete(line) { AGE_MAX } else { AGE_OPEN_MAX };
                told.read.is_none_or(|read| now.since(read) >= most)
            }
        };
        groups.iter().filter(is_due).map(|group| (*group).to_owned()).collect()
    }

    fn keep(&self, group: String, read: Result<History, String>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let told = kept.entry(group).or_default();
        told.read = Some(clock::now());
        match read {
            Ok(history) => (told.history, told.fault) = (Some(Arc::new(history)), None),
            Err(why) => told.fault = Some(why),
        }
    }
}

/// While it goes on nobody else reads.
struct Reading(Arc<Past>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.is_reading.store(false, Ordering::Release);
    }
}

impl Told {
    #[cfg(test)]
    pub(super) fn of(history: History) -> Self {
        let history = Some(Arc::new(history));
        Self {
            history,
            ..Self::default()
        }
    }

    fn is_complete(&self, line: &GroupLine) -> bool {
        let last = self.last();
        self.fault.is_none() && last.is_some_and(|last| last.epoch >= line.epoch && last.served())
    }

    /// Oldest first.
    pub(super) fn epochs(&self) -> &[Epoch] {
        self.history.as_ref().map_or(&[], |history| history.epochs.as_slice())
    }

    pub(super) fn last(&self) -> Option<&Epoch> {
        self.epochs().last()
    }

    /// How long the last moves of this kind took, the newest first: those that somebody asked for, or those after a silence.
    fn outages(&self, before: Before) -> Vec<u64> {
        let of_kind = self.epochs().iter().rev().filter(|epoch| {
            let begun = epoch.begun.as_ref();
            begun.is_some_and(|begun| begun.before == before && begun.from.is_some())
        });
        of_kind.filter_map(|epoch| epoch.total_ms).take(5).collect()
    }

    /// What a move in order would cost, in a sentence.
    pub(super) fn move_takes(&self) -> String {
        match range(&self.outages(Before::Release)) {
            Some(range) => format!("The last moves in order were without service for {range}."),
            None => "How long it will be without service is not known: nothing was moved in order yet.".to_owned(),
        }
    }

    /// What a start takes, in a sentence: without what came before it.
    pub(super) fn start_takes(&self) -> String {
        let starts = self.epochs().iter().rev().filter_map(|epoch| epoch.begun.as_ref());
        let starts = starts.filter(|begun| begun.served).take(5);
        let last = |begun: &leasehold_core::history::Begun| {
            let phases = begun
                .phases
                .iter()
                .filter(|phase| phase.what != leasehold_core::history::PhaseKind::Silence);
            phases.fold(0_u64, |sum, phase| sum.saturating_add(phase.ms))
        };
        match range(&starts.map(last).collect::<Vec<u64>>()) {
            Some(range) => format!("The last starts took {range}."),
            None => "How long a start takes is not known yet.".to_owned(),
        }
    }

    /// What the death of a host cost, if one died.
    pub(super) fn failover_takes(&self) -> Option<String> {
        let range = range(&self.outages(Before::Silence))?;
        Some(format!(
            "The last take-overs after a silence were without service for {range}."
        ))
    }
}

/// Whether it is told to its end.
trait Served {
    fn served(&self) -> bool;
}

impl Served for Epoch {
    fn served(&self) -> bool {
        self.left.is_some() || self.begun.as_ref().is_some_and(|begun| begun.served)
    }
}

fn range(all: &[u64]) -> Option<String> {
    let (least, most) = (all.iter().min()?, all.iter().max()?);
    let (least, most) = (look::span(*least), look::span(*most));
    Some(if least == most {
        least
    } else {
        format!("{least} to {most}")
    })
}
