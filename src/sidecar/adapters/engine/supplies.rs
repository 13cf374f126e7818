//! Volumes and networks of a protected service: made as Compose would make them, never changed once they exist.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect, Volume as EngineVolume, VolumeCreateRequest,
};
use bollard::query_parameters::{InspectNetworkOptions, ListNetworksOptionsBuilder};

use super::{Engine, EngineError, Result, body::hashed, labels};
use leasehold_compose::model::{MountKind, Network, Project, Service, Volume};

impl Engine {
    /// Makes sure that the volumes of a service exist and are the ones that the file describes. A volume is only
    /// entered into the engine's books: nothing is mounted before a container starts.
    pub(super) async fn ensure_volumes(&self, project: &Project, service: &Service) -> Result<()> {
        for mount in &service.mounts {
            if let MountKind::Volume { key, .. } = &mount.kind {
                let Some(volume) = project.volumes.get(key) else {
                    return Err(EngineError::invalid(format!(
                        "service {} mounts no known volume: {key}",
                        service.name
                    )));
                };
                self.ensure_volume(project, key, volume).await?;
            }
        }
        Ok(())
    }

    async fn ensure_volume(&self, project: &Project, key: &str, volume: &Volume) -> Result<()> {
        let docker = self.client().await?;
        match self.ask("inspect volume", docker.inspect_volume(&volume.name)).await {
            Ok(_) if volume.external => Ok(()),
            Ok(found) => same_volume(&found, volume),
            Err(EngineError::Missing { .. }) if volume.external => Err(EngineError::Missing {
                what: format!("volume {} (external: it is not created by itself)", volume.name),
            }),
            Err(EngineError::Missing { .. }) => {
                let request = VolumeCreateRequest {
                    name: Some(volume.name.clone()),
                    driver: volume.driver.clone(),
                    driver_opts: Some(hashed(&volume.driver_opts)),
                    labels: Some(made_for(project, labels::VOLUME, key, &volume.labels)),
                    ..VolumeCreateRequest::default()
                };
                self.ask("create volume", docker.create_volume(request)).await.map(drop)
            }
            Err(other) => Err(other),
        }
    }

    /// Makes sure that a network exists.
    pub(super) async fn ensure_network(&self, project: &Project, key: &str, network: &Network) -> Result<()> {
        if self.find_network(&network.name).await? {
            return Ok(());
        }
        if network.external {
            let what = format!("network {} (external: it is not created by itself)", network.name);
            return Err(EngineError::Missing { what });
        }
        let docker = self.client().await?;
        let request = network_request(project, key, network);
        let made = self.ask("create network", docker.create_network(request)).await?;
        self.remove_twins(project, &network.name, &made.id).await
    }

    async fn find_network(&self, name: &str) -> Result<bool> {
        let docker = self.client().await?;
        let found = docker.inspect_network(name, None::<InspectNetworkOptions>);
        match self.ask("inspect network", found).await {
            // The engine also takes the start of an id for a name.
            Ok(NetworkInspect { name: found, .. }) => Ok(found.as_deref() == Some(name)),
            Err(EngineError::Missing { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// The engine allows two networks of one name, which two sidecars on one engine can bring about. All but the
    /// first go, whoever made them: the engine shows a network only some time after its creation date, so the maker
    /// of the later one may not have seen the earlier. One that is in use stays, and ours goes in its place.
    async fn remove_twins(&self, project: &Project, name: &str, own_id: &str) -> Result<()> {
        let docker = self.client().await?;
        let filters = HashMap::from([("name", vec![name])]);
        let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
        let mut same = self.ask("list networks", docker.list_networks(Some(options))).await?;
        let is_of = |found: &HashMap<String, String>| found.get(labels::PROJECT) == Some(&project.name);
        same.retain(|network| network.name.as_deref() == Some(name) && network.labels.as_ref().is_some_and(is_of));
        same.sort_by_key(|network| (network.created.clone(), network.id.clone()));
        for twin in same.into_iter().skip(1).filter_map(|network| network.id) {
            match self.ask("remove network", docker.remove_network(&twin)).await {
                Ok(()) | Err(EngineError::Missing { .. }) => {}
                Err(EngineError::Refused { .. }) if twin != own_id => {
                    return self.ask("remove network", docker.remove_network(own_id)).await;
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }
}

/// A volume of this name that leads elsewhere than the file says must not be mounted in its place.
fn same_volume(found: &EngineVolume, wanted: &Volume) -> Result<()> {
    let driver = wanted.driver.as_deref().unwrap_or("local");
    if found.driver == driver && found.options == hashed(&wanted.driver_opts) {
        return Ok(());
    }
    Err(EngineError::invalid(format!(
        "volume {} exists with other settings than the file's (engine: driver {}, options {:?}): \
         give it another name, or remove it if its contents are not needed",
        wanted.name, found.driver, found.options
    )))
}

fn network_request(project: &Project, key: &str, network: &Network) -> NetworkCreateRequest {
    let subnet = |(subnet, gateway): &(String, Option<String>)| IpamConfig {
        subnet: Some(subnet.clone()),
        gateway: gateway.clone(),
        ip_range: network.ip_ranges.get(subnet).cloned(),
        auxiliary_addresses: network.aux_addresses.get(subnet).map(hashed),
    };
    let config: Vec<_> = network.subnets.iter().map(subnet).collect();
    NetworkCreateRequest {
        name: network.name.clone(),
        driver: network.driver.clone(),
        internal: Some(network.internal),
        enable_ipv6: Some(network.enable_ipv6),
        options: Some(hashed(&network.driver_opts)),
        ipam: Some(config).filter(|list| !list.is_empty()).map(|list| Ipam {
            config: Some(list),
            ..Ipam::default()
        }),
        labels: Some(made_for(project, labels::NETWORK, key, &network.labels)),
        ..NetworkCreateRequest::default()
    }
}

fn made_for(project: &Project, kind: &str, key: &str, own: &BTreeMap<String, String>) -> HashMap<String, String> {
    let mut all = hashed(own);
    let compose = [
        (labels::PROJECT, project.name.as_str()),
        (kind, key),
        (labels::VERSION, labels::COMPOSE_VERSION),
    ];
    all.extend(compose.map(|(key, value)| (key.to_owned(), value.to_owned())));
    all
}
