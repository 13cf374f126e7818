//! A start: what is there is looked at, waited for or made anew, and then started.

use std::sync::PoisonError;
use std::time::Duration;

use tokio::time::sleep;

use super::{Shared, other_store, protects};
use crate::adapters::engine::{ContainerState, EngineError};
use leasehold_base::epoch::Run;
use leasehold_core::event::ServiceKey;
use leasehold_core::group::drift::{Step, step};
use leasehold_core::group::made::{Made, is_for};

/// How long a start waits for the end of the run before it, which the engine learns a little after the kernel.
const LEFTOVER_WAIT: Duration = Duration::from_secs(10);
/// Between two looks at a container that is still ending.
const LEFTOVER_PAUSE: Duration = Duration::from_millis(20);
/// Refusals that a new container would meet as well.
const OUTSIDE: [&str; 7] = [
    "mounting volume",
    "failed to mount",
    "bind source path does not exist",
    "port is already allocated",
    "address already in use",
    "No chain/target/match by that name",
    "apparmor",
];

impl Shared {
    /// Starts what was made for this run, and gives its id. A container never changes what it was made for, so what is looked
    /// at here is what starts: one that is for another store, or that nobody told the core of, is made anew first, and not
    /// started if that does not mend it.
    pub(super) async fn start(&self, of: &ServiceKey, run: Run, made: Made) -> Result<String, EngineError> {
        let mut waited = Duration::ZERO;
        let mut prints = vec![made.fingerprint];
        let (mut remade, mut replaced) = (false, false);
        let protects = self.service(&self.project(), of).is_ok_and(protects);
        let devices = self.devices_of(of).await?;
        loop {
            let Some(id) = self.id_of(of) else {
                prints.push(self.remake(of).await?);
                continue;
            };
            let state = self.engine.inspect(&id).await?;
            let leftover = state.exists && !state.running && self.has_leftover(of).await;
            match step(state.exists, state.running, leftover, self.is_stale(of)) {
                Step::Replace => drop(self.lock().remove(of)),
                Step::Renew => prints.extend(self.renew(of).await),
                Step::Wait => wait(&mut waited, &id).await?,
                Step::Start if !is_meant(&state, &made.store, protects, &prints) => {
                    if std::mem::replace(&mut remade, true) {
                        return Err(other_store(&id));
                    }
                    prints.push(self.remake(of).await?);
                }
                Step::Start => {
                    self.remember(of, &id, &devices)?;
                    self.note_run(of, run);
                    match self.start_mounting(of, run, &id, &devices).await {
                        Ok(()) => {
                            self.note_living().await;
                            return Ok(id);
                        }
                        Err(error) if replaced || !may_be_stale(&error) => return Err(error),
                        Err(error) => {
                            replaced = true;
                            self.drop_stale(of, &id, &error).await?;
                        }
                    }
                }
            }
        }
    }

    /// What the engine keeps of a container may be spoilt: a directory of its last run, a network that was made anew under
    /// its name. Nothing of it runs, or the engine refuses to remove it; the next round makes another.
    async fn drop_stale(&self, of: &ServiceKey, id: &str, error: &EngineError) -> Result<(), EngineError> {
        tracing::warn!(code = "container_noted", service = of.service, group = of.group, %id, %error, "it did not start and is made anew");
        self.engine.remove(id).await.map_err(|_| error.clone())?;
        self.lock().remove(of);
        Ok(())
    }

    fn note_run(&self, of: &ServiceKey, run: Run) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.insert(of.clone(), run);
    }
}

/// For this storage, and by a request that the core was told of.
fn is_meant(state: &ContainerState, store: &Option<String>, protects: bool, prints: &[String]) -> bool {
    let is_known = prints.iter().any(|print| print == state.fingerprint());
    is_known && is_for(&state.stores, store.as_deref(), protects)
}

async fn wait(waited: &mut Duration, id: &str) -> Result<(), EngineError> {
    if *waited >= LEFTOVER_WAIT {
        let message = format!("container {id} of an earlier run is still there after {LEFTOVER_WAIT:?}");
        return Err(EngineError::Invalid { message });
    }
    sleep(LEFTOVER_PAUSE).await;
    *waited += LEFTOVER_PAUSE;
    Ok(())
}

/// Whether a container made anew may start where this one did not.
fn may_be_stale(error: &EngineError) -> bool {
    let words = match error {
        EngineError::Refused { status: 500.., message } => message,
        EngineError::Missing { what } => what,
        EngineError::Refused { .. } | EngineError::Unreachable(_) | EngineError::Invalid { .. } => return false,
    };
    !OUTSIDE.iter().any(|outside| words.contains(outside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_new_container_would_meet_as_well_is_no_reason_for_one() {
        let refused = |status, message: &str| {
            let message = message.to_owned();
            may_be_stale(&EngineError::Refused { status, message })
        };
        assert!(refused(500, "start: failed to create task: mkdir: file exists"));
        assert!(!refused(400, "start: exec: no such file"));
        assert!(!refused(500, "start: error while mounting volume '/x': no such device"));
        let missing = |what: &str| may_be_stale(&EngineError::Missing { what: what.to_owned() });
        assert!(missing("start: network 1f2e not found"));
        assert!(!missing("start: bind source path does not exist: /srv"));
        assert!(!may_be_stale(&EngineError::Unreachable("late".to_owned())));
    }
}
