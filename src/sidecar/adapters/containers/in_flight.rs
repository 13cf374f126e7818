//! Jobs under way, so that none is begun without bound while the engine hangs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::ContainerCommand;
use leasehold_core::event::ServiceKey;

/// What is under way at most once, or once and once more waiting.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Job {
    Prepare(String),
    Unmanage(String),
    Start(ServiceKey),
    /// Through the cgroups: never held up by an engine that hangs.
    End(ServiceKey),
    /// Through the engine.
    Kill(ServiceKey),
    KillForeign(String),
    Inspect(ServiceKey),
    Mounts(String),
    LookAround,
    /// Reading the file.
    Read,
    Compare(String),
    Look(String),
    Watch(String),
    Try(String),
    /// The watch over a start; the next start may come before it has noticed the end of the one before.
    Gate(ServiceKey),
    /// What the engine's health check says.
    Health(ServiceKey),
    /// What an ended container has written.
    LastLines(ServiceKey),
}

impl Job {
    pub(super) fn of(command: &ContainerCommand) -> Self {
        match command {
            ContainerCommand::Prepare { group, .. } => Self::Prepare(group.clone()),
            ContainerCommand::Unmanage { group } => Self::Unmanage(group.clone()),
            ContainerCommand::Start { of, .. } => Self::Start(of.clone()),
            ContainerCommand::Kill { of } => Self::End(of.clone()),
            ContainerCommand::KillForeign { id } => Self::KillForeign(id.clone()),
            ContainerCommand::Inspect { of, .. } => Self::Inspect(of.clone()),
            ContainerCommand::Compare { group, .. } => Self::Compare(group.clone()),
            ContainerCommand::Mounts { group, .. } => Self::Mounts(group.clone()),
            ContainerCommand::Look { group, .. } => Self::Look(group.clone()),
            ContainerCommand::Watch { group, .. } => Self::Watch(group.clone()),
            ContainerCommand::Try { group, .. } => Self::Try(group.clone()),
        }
    }

    /// One that is under way may have looked before the news that this one is about: it is done once more.
    fn limit(&self) -> usize {
        match self {
            Self::Prepare(_) | Self::LookAround | Self::Compare(_) | Self::Health(_) | Self::Gate(_) => 2,
            Self::Start(_)
            | Self::End(_)
            | Self::Kill(_)
            | Self::KillForeign(_)
            | Self::Inspect(_)
            | Self::Mounts(_)
            | Self::Unmanage(_)
            | Self::Read
            | Self::LastLines(_)
            | Self::Look(_)
            | Self::Watch(_)
            | Self::Try(_) => 1,
        }
    }
}

/// How many of each are under way.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlight {
    counts: Arc<Mutex<BTreeMap<Job, usize>>>,
}

/// One job; over when it is dropped.
#[derive(Debug)]
pub(super) struct Running {
    job: Job,
    of: InFlight,
}

impl InFlight {
    /// Counts it in; `None` when enough of its kind are under way.
    pub(super) fn begin(&self, job: Job) -> Option<Running> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(job.clone()).or_default();
        if *count >= job.limit() {
            return None;
        }
        *count += 1;
        Some(Running { job, of: self.clone() })
    }
}

impl InFlight {
    pub(super) fn is_under_way(&self, job: &Job) -> bool {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.contains_key(job)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut counts = self.of.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.job) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.job);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_job_is_not_begun_without_bound() {
        let in_flight = InFlight::default();
        let of = ServiceKey {
            group: "mail".to_owned(),
            service: 0,
        };
        let first = in_flight.begin(Job::Start(of.clone()));
        assert!(first.is_some());
        assert!(in_flight.begin(Job::Start(of.clone())).is_none());
        assert!(in_flight.begin(Job::Kill(of.clone())).is_some());
        drop(first);
        assert!(in_flight.begin(Job::Start(of)).is_some());
        let waiting = [(); 2].map(|()| in_flight.begin(Job::Prepare("mail".to_owned())));
        assert!(waiting.iter().all(Option::is_some));
        assert!(in_flight.begin(Job::Prepare("mail".to_owned())).is_none());
    }
}
