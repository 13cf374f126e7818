//! Checks inside a container: a command, or the engine's own health check. The only file of the probes that asks the
//! engine.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

use crate::adapters::engine::{Engine, EngineError, ExecOutcome, Health};
use leasehold_base::storage_probe::{self, Verdict};
use leasehold_core::event::{FailureKind, ProbeFailure};

/// By convention of `sysexits.h`: something is configured wrongly. It would be as wrong on another host.
const EX_CONFIG: i64 = 78;

/// The tether, where every protected container finds it.
const TETHER: &str = "/leasehold/tether";

/// What the other mounts have for their answer once one has failed.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How much of a check's time the engine may take for one answer.
const ASKING: f64 = 0.9;

/// Looks into containers; clones share what is still under way.
#[derive(Clone, Debug)]
pub struct Inside {
    engine: Engine,
    /// Commands that have not ended, by container and what they look at: none is started twice.
    unended: Arc<Mutex<BTreeMap<(String, String), String>>>,
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
    pub(super) async fn command(
        &self,
        container: &str,
        place: usize,
        command: &[String],
        limit: Duration,
    ) -> Result<(), ProbeFailure> {
        let ended = self.run(container, place.to_string(), command, None, limit).await?;
        let said = match ended.output.trim() {
            "" => String::new(),
            said => format!(": {said}"),
        };
        match ended.exit_code {
            0 => Ok(()),
            EX_CONFIG => Err(ProbeFailure::shared(format!(
                "exit code {EX_CONFIG}, a wrong configuration{said}"
            ))),
            code => Err(ProbeFailure::wrong(format!("exit code {code}{said}"))),
        }
    }

    /// Writes onto each of these mounts and reads back, each in a process of the container's own. `floor` percent of each
    /// should be free.
    pub(super) async fn storage(
        &self,
        container: &str,
        mounts: &[String],
        floor: u8,
        limit: Duration,
    ) -> Result<(), ProbeFailure> {
        let each = mounts.iter().map(|mount| self.mount(container, mount, floor, limit));
        // One that hangs must not hide what another one says at once.
        let mut ended = each.collect::<FuturesUnordered<_>>();
        let mut warning = Ok(());
        while let Some(result) = ended.next().await {
            if result
                .as_ref()
                .is_err_and(|failure| failure.kind == FailureKind::Warning)
            {
                warning = result;
            } else if result.is_err() {
                // The others end as well, unless they hang; else they would lie in the way of the next check.
                let _ = timeout(limit.min(LAST_WORDS), ended.count()).await;
                return result;
            }
        }
        warning
    }

    async fn mount(&self, container: &str, mount: &str, floor: u8, limit: Duration) -> Result<(), ProbeFailure> {
        let command = [TETHER, storage_probe::FORM, &floor.to_string(), mount].map(str::to_owned);
        // The working directory may be on the storage that hangs.
        let ended = self
            .run(container, mount.to_owned(), &command, Some("/"), limit)
            .await?;
        let said = ended.output.trim();
        match Verdict::of(ended.exit_code) {
            Some(Verdict::Well) => Ok(()),
            Some(Verdict::Refused) => Err(ProbeFailure::wrong(said)),
            Some(Verdict::Tight) => Err(ProbeFailure::warning(said)),
            Some(Verdict::Unended) => Err(ProbeFailure::silent(said)),
            Some(Verdict::Shared) => Err(ProbeFailure::shared(said)),
            None => Err(ProbeFailure::wrong(format!(
                "{mount}: exit code {}: {said}",
                ended.exit_code
            ))),
        }
    }

    /// Runs a command to its end. Whoever stops waiting leaves it behind: it is remembered until it ends, and none is
    /// started beside it.
    async fn run(
        &self,
        container: &str,
        what: String,
        command: &[String],
        directory: Option<&str>,
        limit: Duration,
    ) -> Result<ExecOutcome, ProbeFailure> {
        // An engine that does not answer is to be told from a command that does not end.
        let engine = self.engine.within(limit.mul_f64(ASKING));
        let key = (container.to_owned(), what);
        let left = self.lock().get(&key).cloned();
        if let Some(exec) = left
            && engine.exec_goes_on(&exec).await.map_err(|error| refused(&error))?
        {
            return Err(ProbeFailure::silent("the last check has not ended yet"));
        }
        let exec = engine.exec(container, command, directory).await;
        let exec = exec.map_err(|error| refused(&error))?;
        self.lock().insert(key.clone(), exec.id.clone());
        let ended = engine.exec_outcome(exec).await.map_err(|error| refused(&error))?;
        self.lock().remove(&key);
        Ok(ended)
    }

    /// What the engine's health check says.
    pub(super) async fn health(&self, container: &str, limit: Duration) -> Result<(), ProbeFailure> {
        let state = self.engine.within(limit.mul_f64(ASKING)).inspect(container).await;
        match state.map_err(|error| refused(&error))?.health {
            Health::Healthy => Ok(()),
            Health::Starting => Err(ProbeFailure::silent("the engine's health check is still starting")),
            Health::Unhealthy => Err(ProbeFailure::wrong("the engine's health check says unhealthy")),
            Health::None => Err(ProbeFailure::shared("neither image nor compose file has a healthcheck")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, String), String>> {
        self.unended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An engine that does not answer says nothing about the service.
fn refused(error: &EngineError) -> ProbeFailure {
    let text = error.to_string();
    match error {
        EngineError::Missing { .. } | EngineError::Invalid { .. } => ProbeFailure::wrong(text),
        EngineError::Refused { .. } => ProbeFailure::silent(text),
        EngineError::Unreachable(_) => ProbeFailure::unasked(text),
    }
}
