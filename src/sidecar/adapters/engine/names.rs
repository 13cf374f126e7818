//! What containers are called and how they are found again.

use std::collections::HashMap;

use bollard::models::ContainerSummary;
use bollard::query_parameters::ListContainersOptionsBuilder;

use super::{ContainerState, Engine, Result, labels, lenient};
use leasehold_compose::model::{Project, Service};

/// The name of the protected container of a service on a node.
#[must_use]
pub fn container_name(project: &Project, service: &Service, node: &str) -> String {
    let made = || format!("{}-{}-{node}", project.name, service.name);
    service.container_name.clone().unwrap_or_else(made)
}

/// One label of a listed container.
pub(super) fn label<'a>(summary: &'a ContainerSummary, key: &str) -> Option<&'a str> {
    summary.labels.as_ref()?.get(key).map(String::as_str)
}

/// The id of a listed container.
pub(super) fn id(summary: &ContainerSummary) -> &str {
    summary.id.as_deref().unwrap_or_default()
}

/// The name of a listed container, without the engine's leading slash.
pub(super) fn name(summary: &ContainerSummary) -> String {
    let first = summary.names.as_ref().and_then(|names| names.first());
    first
        .map(|name| name.trim_start_matches('/').to_owned())
        .unwrap_or_default()
}

impl Engine {
    /// Every container, stopped ones too, that carries all these labels (`key` or `key=value`).
    pub(super) async fn list(&self, with_labels: &[String]) -> Result<Vec<ContainerSummary>> {
        let filters = HashMap::from([("label", with_labels.iter().map(String::as_str).collect::<Vec<_>>())]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let docker = self.client().await?;
        let call = docker.list_containers(Some(options));
        self.ask("list containers", lenient::list(call)).await
    }

    /// Leasehold's own containers of a service on this node, as (id, state): to adopt or stop one without preparing it.
    pub async fn containers(&self, project: &str, service: &str, node: &str) -> Result<Vec<(String, ContainerState)>> {
        let mut all = Vec::new();
        for one in self.list_service(project, service).await? {
            if label(&one, labels::NODE) == Some(node) && label(&one, labels::ROLE).is_none() {
                all.push((id(&one).to_owned(), self.inspect(id(&one)).await?));
            }
        }
        all.retain(|(_, state)| state.exists);
        Ok(all)
    }

    /// The containers of one service of a project.
    pub(super) async fn list_service(&self, project: &str, service: &str) -> Result<Vec<ContainerSummary>> {
        self.list(&[
            format!("{}={project}", labels::PROJECT),
            format!("{}={service}", labels::SERVICE),
        ])
        .await
    }
}
