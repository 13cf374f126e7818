//! What is left of a service's containers, by the kernel's word; the engine's only where nobody started anything.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Shared;
use crate::adapters::cgroup::{Look, Started, Verdict};
use crate::adapters::engine::EngineError;
use leasehold_core::event::{ServiceKey, Trace};

/// How long a question waits for the end of what is being killed before it is answered.
const END_WAIT: Duration = Duration::from_millis(1500);
/// Between two looks meanwhile.
const END_PAUSE: Duration = Duration::from_millis(50);
/// One look: the kernel may hold it up while it removes a cgroup.
const LOOK_DEADLINE: Duration = Duration::from_secs(5);

impl Shared {
    /// The answer to [`leasehold_core::event::Action::Inspect`].
    pub(super) async fn witness(&self, of: &ServiceKey) -> Trace {
        let Some(name) = self.name_in_memory(of) else {
            return Trace::Hidden {
                why: "the compose file no longer has this service".to_owned(),
            };
        };
        let Some(started) = self.memory().of(&name) else {
            let why =
                "what an earlier sidecar of this boot started is not remembered; a reboot of this host makes sure";
            return Trace::Hidden { why: why.to_owned() };
        };
        if started.is_empty() {
            return Trace::NeverStarted;
        }
        let mut waited = Duration::ZERO;
        loop {
            let verdict = self.look(started.clone()).await;
            match verdict {
                Verdict::Nothing => {
                    let current = self.id_of(of);
                    if let Err(error) = self.memory().over(&name, current.as_deref()) {
                        tracing::warn!(code = "memory_unwritable", %error, "the memory of started containers");
                    }
                    return Trace::Nothing;
                }
                Verdict::Left { .. } | Verdict::Hidden { .. } if waited < END_WAIT => {
                    sleep(END_PAUSE).await;
                    waited += END_PAUSE;
                }
                Verdict::Left { id } => {
                    let what = format!("the cgroup of container {id:.12} still holds processes");
                    return Trace::Left { what };
                }
                Verdict::Hidden { why } => return self.ask_engine(&started, why).await,
            }
        }
    }

    /// Where the kernel's word can't be had, the engine's counts for containers that nobody ever started.
    async fn ask_engine(&self, started: &[Started], why: String) -> Trace {
        for one in started {
            match self.engine.inspect(&one.id).await {
                Ok(state) if state.never_started && one.seen.is_empty() => {}
                Ok(_) | Err(_) => return Trace::Hidden { why },
            }
        }
        Trace::NeverStarted
    }

    /// Whether the kernel shows processes of a container that was started for the service.
    pub(super) async fn has_leftover(&self, of: &ServiceKey) -> bool {
        let known = self.name_in_memory(of).and_then(|name| self.memory().of(&name));
        match known {
            Some(started) if !started.is_empty() => matches!(self.look(started).await, Verdict::Left { .. }),
            Some(_) | None => false,
        }
    }

    /// What was started for the service in this boot; none where that is not known.
    pub(super) fn started(&self, of: &ServiceKey) -> Option<Vec<Started>> {
        self.memory().of(&self.name_in_memory(of)?)
    }

    /// The containers of a service that may run: its own, or what was started before the file lost it.
    pub(super) fn may_run(&self, of: &ServiceKey) -> Vec<String> {
        if let Some(id) = self.id_of(of) {
            return vec![id];
        }
        let name = self.name_in_memory(of);
        let started = name.and_then(|name| self.memory().of(&name)).unwrap_or_default();
        started.into_iter().map(|one| one.id).collect()
    }

    /// Before a start: from now on this container is looked for.
    pub(super) fn remember(&self, of: &ServiceKey, id: &str, devices: &[String]) -> Result<(), EngineError> {
        let name = self.name_in_memory(of).unwrap_or_default();
        let written = self.memory().will_start(&name, id, devices);
        written.map_err(|error| EngineError::Invalid {
            message: format!("not started, because it could not be noted down: {error}"),
        })
    }

    /// Notes where the containers of this node are seen alive, so that later their absence there means something.
    pub(super) async fn note_living(&self) {
        let mut all = Vec::new();
        for group in self.site.groups() {
            for service in 0..self.site.services(group).len() {
                let group = group.to_owned();
                let name = self.name_in_memory(&ServiceKey { group, service });
                all.extend(name.and_then(|name| self.memory().of(&name)).unwrap_or_default());
            }
        }
        for one in all.into_iter().filter(|one| one.seen.is_empty()) {
            self.look(vec![one]).await;
        }
    }

    pub(super) async fn look(&self, started: Vec<Started>) -> Verdict {
        let late = || Verdict::Hidden {
            why: format!("the kernel does not show its cgroups within {LOOK_DEADLINE:?}"),
        };
        // The permit goes with the look: one that hangs keeps it.
        let Ok(alone) = timeout(LOOK_DEADLINE, Arc::clone(&self.looking).lock_owned()).await else {
            return late();
        };
        let cgroups = self.cgroups.clone();
        let looking = tokio::task::spawn_blocking(move || {
            let look = cgroups.look(&started);
            drop(alone);
            look
        });
        let Ok(Ok(Look { verdict, seen })) = timeout(LOOK_DEADLINE, looking).await else {
            return late();
        };
        for (id, place) in seen {
            if let Err(error) = self.memory().saw(&id, place) {
                tracing::warn!(code = "memory_unwritable", %error, "the memory of started containers");
            }
        }
        verdict
    }

    pub(super) fn memory(&self) -> std::sync::MutexGuard<'_, crate::adapters::cgroup::Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By name, because a changed compose file may count its services anew.
    pub(super) fn name_in_memory(&self, of: &ServiceKey) -> Option<String> {
        let services = self.site.services(&of.group);
        Some(format!("{}/{}", of.group, services.get(of.service)?))
    }
}
