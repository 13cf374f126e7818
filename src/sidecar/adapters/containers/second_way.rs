//! The second way out: what ends a container whose tether does not.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Shared;
use super::in_flight::Job;
use crate::adapters::cgroup::{End, Verdict};
use leasehold_core::event::ServiceKey;

/// A tether that can do its work has ended everything by then; what follows still comes before the lease ends.
const OWN_WAY: Duration = Duration::from_millis(100);
/// Between two looks meanwhile.
const OWN_WAY_PAUSE: Duration = Duration::from_millis(20);

impl Shared {
    /// The kill was due: sees to it that nothing of the service goes on, whatever its PID 1 does.
    pub(super) async fn end(self: &Arc<Self>, of: ServiceKey) {
        if timeout(OWN_WAY, self.is_over(&of)).await.is_ok() {
            return;
        }
        let ids: Vec<String> = self.containers_of(&of);
        let cgroups = self.cgroups.clone();
        let ending = tokio::task::spawn_blocking(move || {
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            cgroups.end(&ids)
        });
        let end = ending.await.unwrap_or_else(|error| End::Unable {
            why: error.to_string(),
            unified: true,
        });
        let ids = self.may_run(&of);
        if end == End::Frozen {
            return ids.iter().for_each(|id| frozen(id));
        }
        // Apart from the way through the cgroups: the engine may hang in the one before.
        let Some(running) = self.in_flight.begin(Job::Kill(of)) else {
            return;
        };
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            for id in ids {
                shared.end_by_engine(&id, &end).await;
            }
            drop(running);
        });
    }

    /// The engine signals PID 1 alone, which dies of it when it gets a processor. What keeps that from it is frozen first.
    async fn end_by_engine(&self, id: &str, end: &End) {
        if let End::Unable { why, unified } = end {
            match self.engine.pause(id).await {
                // In version 1 the engine thaws what it is to kill.
                Ok(()) if !unified => return frozen(id),
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(code = "no_second_way", %id, %error, why, "what still runs in the container can't be frozen");
                }
            }
        }
        self.kill(id).await;
    }

    /// Returns when the kernel shows nothing of it any more.
    async fn is_over(&self, of: &ServiceKey) {
        let known = self.name_in_memory(of).and_then(|name| self.memory().of(&name));
        let Some(started) = known.filter(|started| !started.is_empty()) else {
            return std::future::pending().await;
        };
        while self.look(started.clone()).await != Verdict::Nothing {
            sleep(OWN_WAY_PAUSE).await;
        }
    }

    /// All that may run: an engine that hung may have started an earlier one late.
    fn containers_of(&self, of: &ServiceKey) -> Vec<String> {
        let known = self.name_in_memory(of).and_then(|name| self.memory().of(&name));
        let mut ids: Vec<String> = known.into_iter().flatten().map(|one| one.id).collect();
        ids.extend(self.id_of(of).filter(|id| !ids.contains(id)));
        ids
    }
}

fn frozen(id: &str) {
    tracing::warn!(
        code = "container_frozen",
        %id,
        alarm = true,
        "what still ran in the container after its kill was due is frozen and writes nothing: reset this host, then confirm it with `leasehold fenced`"
    );
}
