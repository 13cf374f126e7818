//! A standby's look at the storage, now and then: one of a group at a time, however long it hangs.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::Shared;
use crate::adapters::engine::{Engine, EngineError, Look};
use leasehold_base::watched;
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

    /// Watches the claims of a holder that has fallen silent, and lays down for the tethers which stand still. What can't be
    /// watched is watched by the start itself, and what comes late does no harm. As a look it ends with its helpers.
    pub(super) async fn watch_claims(&self, group: &str, store: &str) {
        let engine = self.engine.within(CALL_MAX);
        let project = self.project();
        let services = project.groups.get(group).into_iter().flat_map(|group| &group.services);
        let watches = services.map(|service| async {
            let look = Look {
                project: &project,
                service,
                node: &self.site.name,
                binary: &self.site.binary,
                store,
            };
            let lines = match engine.watch_claims(&look).await {
                Ok(lines) => lines,
                Err(error) => return tracing::debug!(%error, "watch of the claims"),
            };
            if let Err(error) = lay_down(&self.site.page_dir(group, &service.name), &lines) {
                tracing::debug!(%error, "watched claims");
            }
        });
        join_all(watches).await;
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

/// Renamed into place: a tether reads all of it, or what was there before.
fn lay_down(directory: &Path, lines: &str) -> io::Result<()> {
    let new = directory.join("watched.new");
    fs::write(&new, lines)?;
    fs::set_permissions(&new, Permissions::from_mode(0o644))?;
    fs::rename(new, directory.join(watched::FILE))
}

fn unasked(error: &EngineError) -> ProbeFailure {
    tracing::debug!(%error, "look at the storage");
    ProbeFailure::unasked(error.to_string())
}
