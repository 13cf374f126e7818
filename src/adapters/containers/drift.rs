//! Whether what runs is what the file and the image say now. The file is read anew while the sidecar runs; what of it takes
//! no more than a new container is taken at the next start.

use std::sync::{Arc, PoisonError};

use super::{Errand, Shared};
use crate::adapters::engine::EngineError;
use crate::compose::{self, model::Project};
use crate::core::event::{Event, ServiceKey};
use crate::core::records::Drift;

/// What the file says now.
#[derive(Debug)]
pub(super) struct Reading {
    /// As it was last read and could be taken.
    pub(super) project: Arc<Project>,
    /// Why what stands there now can't be.
    misfit: Option<Drift>,
}

impl Reading {
    pub(super) fn new(project: Arc<Project>) -> Self {
        Self { project, misfit: None }
    }
}

impl Shared {
    /// The project as containers are made of it now.
    pub(super) fn project(&self) -> Arc<Project> {
        let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&reading.project)
    }

    /// Reads the file beside everything else: a disk that hangs must hold up nothing.
    pub(super) fn read_anew_soon(self: &Arc<Self>) {
        if let Some(flight) = self.flights.begin(Errand::Read) {
            let shared = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                let is_news = shared.read_anew();
                drop(flight);
                if is_news {
                    shared.look_around_soon();
                }
            });
        }
    }

    /// Whether anything is new.
    fn read_anew(&self) -> bool {
        let read = compose::read(&self.site.sources);
        let (project, misfit) = match read {
            Ok(project) => match compose::beyond_containers(&self.site.project, &project) {
                None => (Some(project), None),
                Some(what) => {
                    let what = format!("the file has changed since the sidecar was started: {what}");
                    let obstacle =
                        "it takes a new sidecar: `leasehold hold 120s`, then `docker compose up -d` it".to_owned();
                    (None, Some((what, obstacle)))
                }
            },
            Err(faults) => {
                let first = faults.first().map(ToString::to_string).unwrap_or_default();
                (
                    None,
                    Some((
                        "the compose file is not as `leasehold check` wants it".to_owned(),
                        first,
                    )),
                )
            }
        };
        let misfit = misfit.map(|(what, obstacle)| Drift {
            what,
            obstacle: Some(obstacle),
        });
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let project = project.filter(|project| *project != *reading.project);
        let is_news = project.is_some() || reading.misfit != misfit;
        if let Some(project) = project {
            tracing::info!(
                code = "file_read",
                "the compose file has changed: taken at the next start of its containers"
            );
            reading.project = Arc::new(project);
        }
        if let Some(Drift { what, obstacle }) = misfit.as_ref().filter(|_| reading.misfit != misfit) {
            let why = obstacle.as_deref().unwrap_or_default();
            tracing::warn!(code = "file_not_taken", why, "{what}");
        }
        reading.misfit = misfit;
        is_news
    }

    /// Asked for by an operator: the file first, then what runs.
    pub(super) async fn compare_anew(self: &Arc<Self>, group: &str) {
        let shared = Arc::clone(self);
        // It ends only with a panic, which would be told.
        let _ = tokio::task::spawn_blocking(move || shared.read_anew()).await;
        let drift = self.drift_of(group).await;
        let group = group.to_owned();
        let asked = true;
        self.report(Event::Compared { group, drift, asked }).await;
    }

    /// The same now and then; an engine that does not answer is no news.
    pub(super) async fn compare(&self, group: &str) {
        if self.runs(group).await {
            let drift = self.drift_of(group).await;
            let group = group.to_owned();
            let asked = false;
            self.report(Event::Compared { group, drift, asked }).await;
        }
    }

    /// Whether any container of the group runs; one that is not known may.
    async fn runs(&self, group: &str) -> bool {
        for of in self.services(group) {
            let Some(id) = self.id_of(&of) else { return true };
            if self.engine.inspect(&id).await.is_ok_and(|state| state.running) {
                return true;
            }
        }
        false
    }

    fn services(&self, group: &str) -> Vec<ServiceKey> {
        let count = self
            .site
            .project
            .groups
            .get(group)
            .map_or(0, |group| group.services.len());
        let key = |service| ServiceKey {
            group: group.to_owned(),
            service,
        };
        (0..count).map(key).collect()
    }

    /// In what the containers of a group differ. Where they do, and nothing stands in the way, their next start makes them anew.
    async fn drift_of(&self, group: &str) -> Option<Drift> {
        let misfit = {
            let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            reading.misfit.clone()
        };
        let mut said: Vec<Drift> = misfit.into_iter().collect();
        for of in self.services(group) {
            let before = self.id_of(&of);
            let drift = self.drift_of_one(&of).await;
            // What was started meanwhile is not what was looked at.
            let drift = drift.filter(|_| before.is_none() || self.id_of(&of) == before);
            self.set_stale(&of, drift.as_ref().is_some_and(|drift| drift.obstacle.is_none()));
            said.extend(drift);
        }
        let what: Vec<&str> = said.iter().map(|drift| drift.what.as_str()).collect();
        (!said.is_empty()).then(|| Drift {
            what: what.join("; "),
            obstacle: said.iter().find_map(|drift| drift.obstacle.clone()),
        })
    }

    async fn drift_of_one(&self, of: &ServiceKey) -> Option<Drift> {
        let _alone = self.preparing.lock().await;
        let project = self.project();
        let name = self.service(&project, of).ok()?.name.clone();
        match self.prepared(of).await {
            Ok(prepared) if !prepared.running || prepared.is_current => None,
            Ok(prepared) => Some(Drift {
                what: format!(
                    "the file has changed since {name} was started: {}",
                    prepared.differs.join(", ")
                ),
                obstacle: None,
            }),
            Err(EngineError::Unreachable(_)) => None,
            Err(error) => Some(Drift {
                what: format!("{name} could not be started again as the file says"),
                obstacle: Some(error.to_string()),
            }),
        }
    }

    pub(super) fn is_stale(&self, of: &ServiceKey) -> bool {
        let stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        stale.contains(of)
    }

    /// Makes the container anew for its next start, where a look found that it differs. What fails is told by the next look,
    /// and the earlier container starts: up to date counts less than up.
    pub(super) async fn renew(&self, of: &ServiceKey) {
        self.set_stale(of, false);
        let _alone = self.preparing.lock().await;
        if let Err(error) = self.prepared(of).await {
            tracing::warn!(code = "container_not_renewed", service = of.service, group = of.group, %error, "started as it was before");
        }
    }

    fn set_stale(&self, of: &ServiceKey, is_stale: bool) {
        let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        match is_stale {
            true => drop(stale.insert(of.clone())),
            false => drop(stale.remove(of)),
        }
    }
}
