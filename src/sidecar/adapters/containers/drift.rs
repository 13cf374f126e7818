//! Whether what runs is what the file and the image say now. The file is read anew while the sidecar runs; what of it takes
//! no more than a new container is taken at the next start.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use super::{Job, Shared};
use crate::adapters::engine::EngineError;
use leasehold_compose::Misfit;
use leasehold_compose::model::{Group, Project};
use leasehold_core::event::{Event, ServiceKey};
use leasehold_core::group::drift::{Looked, summed};
use leasehold_core::protocol::records::Drift;

/// What the file says now.
#[derive(Debug)]
pub(super) struct Reading {
    /// As it was last read and could be taken.
    pub(super) project: Arc<Project>,
    /// Why what stands there now can't be.
    misfit: Option<Drift>,
    /// What was told of each group.
    told: BTreeMap<String, BTreeMap<String, String>>,
}

impl Reading {
    pub(super) fn new(project: Arc<Project>) -> Self {
        Self {
            project,
            misfit: None,
            told: BTreeMap::new(),
        }
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
        if let Some(running) = self.in_flight.begin(Job::Read) {
            let shared = Arc::clone(self);
            tokio::task::spawn_blocking(move || {
                let is_news = shared.read_anew();
                drop(running);
                if is_news {
                    shared.look_around_soon();
                }
            });
        }
    }

    /// Whether anything is new.
    fn read_anew(&self) -> bool {
        let (project, misfit) =
            match leasehold_compose::takeable(&self.site.project, leasehold_compose::read(&self.site.sources)) {
                Ok(project) => (Some(project), None),
                Err(Misfit { what, obstacle }) => {
                    let obstacle = Some(obstacle);
                    (None, Some(Drift { what, obstacle }))
                }
            };
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let project = project.filter(|project| *project != *reading.project);
        let is_news = project.is_some() || reading.misfit != misfit;
        if let Some(project) = project {
            tracing::info!(
                code = "file_read",
                "the compose file has changed: taken at the next start of its containers"
            );
            self.site.remember(&project);
            reading.project = Arc::new(project);
        }
        if let Some(Drift { what, obstacle }) = misfit.as_ref().filter(|_| reading.misfit != misfit) {
            let why = obstacle.as_deref().unwrap_or_default();
            tracing::warn!(code = "file_not_taken", why, "{what}");
        }
        reading.misfit = misfit;
        is_news
    }

    /// Tells what the file says of a group, where that is news.
    pub(super) async fn tell_file(&self, name: &str, project: &Project, group: &Group) {
        let keys = leasehold_compose::alike::fingerprints(project, group);
        let is_news = {
            let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            reading.told.insert(name.to_owned(), keys.clone()) != Some(keys.clone())
        };
        if is_news {
            let group = name.to_owned();
            self.report(Event::FileRead { group, keys }).await;
        }
    }

    /// Asked for by an operator: the file first, then what runs.
    pub(super) async fn compare_anew(self: &Arc<Self>, group: &str, intent: i64) {
        let shared = Arc::clone(self);
        // It ends only with a panic, which would be told.
        let _ = tokio::task::spawn_blocking(move || shared.read_anew()).await;
        let drift = self.drift_of(group).await;
        let group = group.to_owned();
        let intent = Some(intent);
        self.report(Event::Compared { group, intent, drift }).await;
    }

    /// The same now and then; an engine that does not answer is no news.
    pub(super) async fn compare(&self, group: &str) {
        if self.runs(group).await {
            let drift = self.drift_of(group).await;
            let group = group.to_owned();
            let intent = None;
            self.report(Event::Compared { group, intent, drift }).await;
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

    /// Those of a group in the file.
    pub(super) fn services(&self, group: &str) -> Vec<ServiceKey> {
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
        let mut all = Vec::new();
        for of in self.services(group) {
            let before = self.id_of(&of);
            let looked = self.look_for_drift(&of).await;
            let looked = looked.of_the_same(before.as_deref(), self.id_of(&of).as_deref());
            self.set_stale(&of, looked.is_stale());
            all.push(looked);
        }
        summed(misfit, &all)
    }

    async fn look_for_drift(&self, of: &ServiceKey) -> Looked {
        let _alone = self.preparing.lock().await;
        let project = self.project();
        let Ok(service) = self.service(&project, of) else {
            return Looked::Unseen;
        };
        let service = service.name.clone();
        match self.prepared(of, self.store_of(&of.group).as_deref()).await {
            Ok((prepared, _)) if !prepared.running || prepared.is_current => Looked::Current,
            Ok((prepared, _)) => Looked::Differs {
                service,
                keys: prepared.differs,
            },
            Err(EngineError::Unreachable(_)) => Looked::Unseen,
            Err(error @ (EngineError::Missing { .. } | EngineError::Refused { .. } | EngineError::Invalid { .. })) => {
                let why = error.to_string();
                Looked::Impossible { service, why }
            }
        }
    }

    pub(super) fn is_stale(&self, of: &ServiceKey) -> bool {
        let stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        stale.contains(of)
    }

    /// Makes the container anew for its next start, where a look found that it differs, and gives its fingerprint. What fails
    /// is told by the next look, and the earlier container starts: up to date counts less than up.
    pub(super) async fn renew(&self, of: &ServiceKey) -> Option<String> {
        self.set_stale(of, false);
        match self.remake(of).await {
            Ok(print) => Some(print),
            Err(error) => {
                tracing::warn!(code = "container_not_renewed", service = of.service, group = of.group, %error, "started as it was before");
                None
            }
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
