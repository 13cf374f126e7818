//! How a service is put on the network: a mode, or networks with aliases.

use std::collections::HashMap;

use bollard::models::{
    ContainerSummary, ContainerSummaryStateEnum, EndpointIpamConfig, EndpointSettings, NetworkConnectRequest,
};

use super::body::hashed;
use super::prepare::Wanted;
use super::{Engine, EngineError, Result, labels, names};
use leasehold_compose::model::{Attachment, Network, NetworkMode, Project, Service};

/// Compose's key of the network that a service without any joins.
const DEFAULT_NETWORK: &str = "default";

/// What the engine is told about the network of a container.
pub(super) struct Joined {
    /// The engine's `NetworkMode`.
    pub(super) mode: String,
    /// The network, and so the host name, belongs to another container.
    pub(super) is_shared: bool,
    /// The one network that the request itself may name: engines before 25 take no more.
    pub(super) first: HashMap<String, EndpointSettings>,
    /// To be connected after the container is made.
    pub(super) more: Vec<(String, EndpointSettings)>,
}

impl Joined {
    fn mode(mode: impl Into<String>, is_shared: bool) -> Self {
        Self {
            mode: mode.into(),
            is_shared,
            first: HashMap::new(),
            more: Vec::new(),
        }
    }

    /// Names of all networks.
    pub(super) fn networks(&self) -> impl Iterator<Item = &str> {
        self.first
            .keys()
            .chain(self.more.iter().map(|(name, _)| name))
            .map(String::as_str)
    }
}

impl Engine {
    /// Works out the network of a service, and makes the networks that are missing.
    pub(super) async fn join(&self, wanted: &Wanted<'_>) -> Result<Joined> {
        match &wanted.service.network_mode {
            Some(NetworkMode::Host) => Ok(Joined::mode("host", false)),
            Some(NetworkMode::None) => Ok(Joined::mode("none", false)),
            Some(NetworkMode::Bridge) => Ok(Joined::mode("bridge", false)),
            Some(NetworkMode::Container(name)) => Ok(Joined::mode(format!("container:{name}"), true)),
            Some(NetworkMode::Service(other)) => {
                let id = self.network_owner(wanted.project, other, wanted.node).await?;
                Ok(Joined::mode(format!("container:{id}"), true))
            }
            None => self.join_networks(wanted).await,
        }
    }

    /// Connects a new container to its further networks.
    pub(super) async fn connect_more(&self, container_id: &str, joined: &Joined) -> Result<()> {
        let docker = self.client().await?;
        for (network, endpoint) in &joined.more {
            let request = NetworkConnectRequest {
                container: container_id.to_owned(),
                endpoint_config: Some(endpoint.clone()),
            };
            self.ask("connect network", docker.connect_network(network, request))
                .await?;
        }
        Ok(())
    }

    async fn join_networks(&self, wanted: &Wanted<'_>) -> Result<Joined> {
        let mut endpoints = Vec::new();
        for (key, attachment) in attachments(wanted.service) {
            let network = network(wanted.project, &key)?;
            self.ensure_network(wanted.project, &key, &network).await?;
            let endpoint = endpoint(wanted.service, &attachment);
            endpoints.push((network.name, endpoint));
        }
        let mut endpoints = endpoints.into_iter();
        let first = endpoints.next();
        let mode = first
            .as_ref()
            .map_or_else(|| "none".to_owned(), |(name, _)| name.clone());
        Ok(Joined {
            mode,
            is_shared: false,
            first: first.into_iter().collect(),
            more: endpoints.collect(),
        })
    }

    /// The container of another service of the project, on this node where several share an engine.
    async fn network_owner(&self, project: &Project, service: &str, node: &str) -> Result<String> {
        let mut found = self.list_service(&project.name, service).await?;
        found.retain(|one| names::label(one, labels::NODE).is_none_or(|theirs| theirs == node));
        found.retain(|one| names::label(one, labels::ONEOFF) != Some("True"));
        let is_running = |one: &ContainerSummary| one.state == Some(ContainerSummaryStateEnum::RUNNING);
        let best = found.iter().find(|one| is_running(one)).or_else(|| found.first());
        best.map(|one| names::id(one).to_owned())
            .ok_or_else(|| EngineError::Missing {
                what: format!(
                    "the container of service {service} of project {}, whose network is shared",
                    project.name
                ),
            })
    }
}

fn attachments(service: &Service) -> Vec<(String, Attachment)> {
    if service.networks.is_empty() {
        return vec![(DEFAULT_NETWORK.to_owned(), Attachment::default())];
    }
    service
        .networks
        .iter()
        .map(|(key, attachment)| (key.clone(), attachment.clone()))
        .collect()
}

fn network(project: &Project, key: &str) -> Result<Network> {
    match project.networks.get(key) {
        Some(network) => Ok(network.clone()),
        // The file need not mention the default network.
        None if key == DEFAULT_NETWORK => Ok(Network {
            name: format!("{}_{DEFAULT_NETWORK}", project.name),
            ..Network::default()
        }),
        None => Err(EngineError::invalid(format!(
            "no network {key} in project {}",
            project.name
        ))),
    }
}

fn endpoint(service: &Service, attachment: &Attachment) -> EndpointSettings {
    let mut aliases = vec![service.name.clone()];
    aliases.extend(
        attachment
            .aliases
            .iter()
            .filter(|alias| **alias != service.name)
            .cloned(),
    );
    let local = Some(attachment.link_local_ips.clone()).filter(|list| !list.is_empty());
    let has_address = attachment.ipv4_address.is_some() || attachment.ipv6_address.is_some() || local.is_some();
    let addresses = || EndpointIpamConfig {
        ipv4_address: attachment.ipv4_address.clone(),
        ipv6_address: attachment.ipv6_address.clone(),
        link_local_ips: local.clone(),
    };
    EndpointSettings {
        aliases: Some(aliases),
        mac_address: attachment.mac_address.clone(),
        driver_opts: Some(hashed(&attachment.driver_opts)).filter(|options| !options.is_empty()),
        ipam_config: has_address.then(addresses),
        ..EndpointSettings::default()
    }
}
