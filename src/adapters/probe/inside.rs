//! Checks inside a container: a command, or the engine's own health check. The only file of the probes that asks the
//! engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::adapters::engine::{Engine, EngineError, Health};
use crate::core::event::ProbeFailure;

/// By convention of `sysexits.h`: something is configured wrongly. It would be as wrong on another host.
const EX_CONFIG: i64 = 78;

/// Looks into containers; clones share what is still under way.
#[derive(Clone, Debug)]
pub struct Inside {
    engine: Engine,
    /// Commands that have not ended, by container and place of the probe: none is started twice.
    unended: Arc<Mutex<BTreeMap<(String, usize), String>>>,
}

impl Inside {
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            unended: Arc::default(),
        }
    }

    /// Runs a command; `place` tells the probes of a container apart. Exit code 0 is good, 78 a fault that moves along.
    /// Whoever stops waiting leaves the command behind: it is remembered until it ends.
    pub(super) async fn command(&self, container: &str, place: usize, command: &[String]) -> Result<(), ProbeFailure> {
        let key = (container.to_owned(), place);
        let left = self.lock().get(&key).cloned();
        if let Some(exec) = left
            && self.engine.exec_goes_on(&exec).await.unwrap_or(true)
        {
            return Err(ProbeFailure::silent("the last check has not ended yet"));
        }
        let exec = self
            .engine
            .exec(container, command)
            .await
            .map_err(|error| refused(&error))?;
        self.lock().insert(key.clone(), exec.id.clone());
        let ended = self.engine.exec_outcome(exec).await;
        self.lock().remove(&key);
        let ended = ended.map_err(|error| refused(&error))?;
        let said = ended.output.trim();
        let said = if said.is_empty() {
            String::new()
        } else {
            format!(": {said}")
        };
        match ended.exit_code {
            0 => Ok(()),
            EX_CONFIG => Err(ProbeFailure::shared(format!(
                "exit code {EX_CONFIG}, a wrong configuration{said}"
            ))),
            code => Err(ProbeFailure::wrong(format!("exit code {code}{said}"))),
        }
    }

    /// What the engine's health check says.
    pub(super) async fn health(&self, container: &str) -> Result<(), ProbeFailure> {
        let state = self.engine.inspect(container).await;
        match state.map_err(|error| refused(&error))?.health {
            Health::Healthy => Ok(()),
            Health::Starting => Err(ProbeFailure::silent("the engine's health check is still starting")),
            Health::Unhealthy => Err(ProbeFailure::wrong("the engine's health check says unhealthy")),
            Health::None => Err(ProbeFailure::shared("neither image nor compose file has a healthcheck")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, usize), String>> {
        self.unended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An engine that does not answer says nothing about the service.
fn refused(error: &EngineError) -> ProbeFailure {
    if matches!(error, EngineError::Missing { .. } | EngineError::Invalid { .. }) {
        ProbeFailure::wrong(error.to_string())
    } else {
        ProbeFailure::silent(error.to_string())
    }
}
