//! A standby's look at the storage, now and then: one of a group at a time, however long it hangs.

use std::time::Duration;

use tokio::time::timeout;

use super::Shared;
use crate::adapters::engine::{Engine, EngineError, Look};
use leasehold_core::event::{Event, ProbeFailure};

/// From the first call to the engine to the helper's end, which takes well below a second where all is well.
const LOOK_MAX: Duration = Duration::from_secs(30);
/// A call that hangs in the engine, as where it mounts what does not answer, is waited for so long before the next is made.
const CALL_MAX: Duration = Duration::from_secs(300);

/// What is told of a group whose last look has not ended.
pub(super) fn hangs(group: String, store: String) -> Event {
    let result = Err(ProbeFailure::silent(format!(
        "its storage does not answer: a look at it has not ended within {LOOK_MAX:?}"
    )));
    Event::StorageSeen { group, store, result }
}

impl Shared {
    /// Ends only with the look itself: while this one hangs, no second one is begun beside it.
    pub(super) async fn look_at_storage(&self, group: &str, store: &str) {
        let engine = self.engine.within(CALL_MAX);
        let mut look = std::pin::pin!(self.seen(&engine, group, store));
        let result = match timeout(LOOK_MAX, &mut look).await {
            Ok(result) => result,
            Err(_) => {
                self.report(hangs(group.to_owned(), store.to_owned())).await;
                look.await
            }
        };
        let (group, store) = (group.to_owned(), store.to_owned());
        self.report(Event::StorageSeen { group, store, result }).await;
    }

    async fn seen(&self, engine: &Engine, group: &str, store: &str) -> Result<(), ProbeFailure> {
        let project = self.project();
        let services = project.groups.get(group).into_iter().flat_map(|group| &group.services);
        for service in services {
            let look = Look {
                project: &project,
                service,
                node: &self.site.name,
                binary: &self.site.binary,
                store,
            };
            match engine.look(&look).await {
                Ok(None) => {}
                Ok(Some(fault)) => return Err(ProbeFailure::wrong(fault)),
                Err(error) => return Err(unasked(&error)),
            }
        }
        Ok(())
    }
}

fn unasked(error: &EngineError) -> ProbeFailure {
    tracing::debug!(%error, "look at the storage");
    ProbeFailure::unasked(error.to_string())
}
