//! A standby's trial starts: one of a group at a time.

use super::certificates::{self, Seen};
use super::{Shared, gate};
use crate::adapters::engine::{EngineError, Tried};
use leasehold_base::clock;
use leasehold_core::event::{Event, ProbeFailure, ServiceKey};
use leasehold_core::group::made::Made;

impl Shared {
    pub(super) async fn try_start(&self, group: String, made: Vec<Made>) {
        let result = self.tried(&group, &made).await.map(Seen::good_for);
        self.report(Event::StartTried { group, made, result }).await;
    }

    async fn tried(&self, group: &str, made: &[Made]) -> Result<Seen, ProbeFailure> {
        let mut seen = Seen::default();
        for (service, made) in made.iter().enumerate() {
            let of = ServiceKey {
                group: group.to_owned(),
                service,
            };
            seen = seen.and(self.tried_one(&of, made).await?);
        }
        Ok(seen)
    }

    async fn tried_one(&self, of: &ServiceKey, made: &Made) -> Result<Seen, ProbeFailure> {
        let project = self.project();
        let unasked = |error: EngineError| {
            tracing::debug!(%error, "trial start");
            ProbeFailure::unasked(error.to_string())
        };
        let drawn = self.draw(&project, of, made.store.as_deref()).await.map_err(unasked)?;
        let name = drawn.service.name.as_str();
        let wanted = drawn.wanted(&project, of, &self.site.name);
        let why = match self.engine.try_start(&wanted, &made.fingerprint).await {
            Ok(Tried::Ended(outcome)) if outcome.exit_code == 0 => {
                let certificates = &drawn.service.certificates;
                return certificates::judge(name, certificates, &outcome.stdout, clock::wall_seconds());
            }
            Ok(Tried::Ended(outcome)) => {
                let lines: Vec<String> = outcome.stderr.lines().map(str::to_owned).collect();
                gate::ended(&of.group, outcome.exit_code, &lines).why
            }
            Ok(Tried::Refused(why)) => why,
            Ok(Tried::Other) => return Err(ProbeFailure::unasked("the file has changed meanwhile")),
            Err(error) => return Err(unasked(error)),
        };
        Err(ProbeFailure::wrong(format!(
            "a trial start of service {name} failed: {why}"
        )))
    }
}
