//! A trial start: a one-off container as the service's would be, with the tether at a gate that opens to nothing. What the
//! engine or the tether refuses here, it would refuse to a true start.
//!
//! It goes without what could harm the true one: protected storage, published ports, a network but the host's (its addresses
//! and names belong to the service), the service's own labels and its health check. All its mounts are read-only.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HealthConfig, Mount};

use super::helper::{HelperOutcome, Output};
use super::names::container_name;
use super::prepare::{Wanted, fingerprint};
use super::{Engine, EngineError, Image, Result, body, labels};
use leasehold_base::trial::{ABSENT, CERTIFICATE, FORM};
use leasehold_compose::model::MountKind;

/// From its start to its end, which takes well below a second where all is well.
const TRIAL_MAX: Duration = Duration::from_secs(60);
/// The end of the container's name.
const NAME: &str = "trial";
/// The network that all services share with the host.
const HOST: &str = "host";

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It ended: with 0 where a start would come to its gate.
    Ended(HelperOutcome),
    /// The engine would not make or start it.
    Refused(String),
    /// The file asks for another container than the one that is to be tried.
    Other,
}

impl Engine {
    /// Tries the container of a service. `print`: of the request that made the true one.
    ///
    /// # Errors
    /// It could not be tried, which says nothing of it.
    pub async fn try_start(&self, wanted: &Wanted<'_>, print: &str) -> Result<Tried> {
        let image = self.image(&wanted.service.image).await?;
        let joined = self.join(wanted).await?;
        let request = body::protected(wanted, &image, &joined)?;
        if fingerprint(&request)? != print {
            return Ok(Tried::Other);
        }
        let mut absent = Vec::new();
        for mount in &wanted.service.mounts {
            let is_left_out = match mount.kind {
                MountKind::File { .. } | MountKind::Tmpfs { .. } => false,
                MountKind::Bind { .. } | MountKind::Volume { .. } => {
                    mount.is_protected() || !self.may_mount(wanted.project, mount).await?
                }
            };
            absent.extend(is_left_out.then(|| mount.target.clone()));
        }
        let name = format!("{}-{NAME}", container_name(wanted.project, wanted.service, wanted.node));
        let request = trial(request, wanted, &image, &absent);
        match self.run_one_off(&name, request, TRIAL_MAX, Output::IfRead).await {
            Ok(outcome) => Ok(Tried::Ended(outcome)),
            // One that the engine made late has the name: the next trial clears it away.
            Err(error) if error.is_conflict() => Err(error),
            Err(error @ (EngineError::Refused { .. } | EngineError::Missing { .. })) => {
                Ok(Tried::Refused(error.to_string()))
            }
            Err(error @ (EngineError::Unreachable(_) | EngineError::Invalid { .. })) => Err(error),
        }
    }
}

/// The request, turned into one that can harm nothing.
fn trial(request: ContainerCreateBody, wanted: &Wanted<'_>, image: &Image, absent: &[String]) -> ContainerCreateBody {
    let mut host = request.host_config.unwrap_or_default();
    let mut mounts = host.mounts.take().unwrap_or_default();
    mounts.retain(|mount| mount.target.as_ref().is_none_or(|target| !absent.contains(target)));
    mounts.iter_mut().for_each(|mount| mount.read_only = Some(true));
    let mut in_memory = host.tmpfs.take().unwrap_or_default();
    cover(&mut in_memory, &mounts, image);
    let is_host = host.network_mode.as_deref() == Some(HOST);
    if !is_host {
        host.network_mode = Some("none".to_owned());
        (host.sysctls, host.extra_hosts, host.links) = (None, None, None);
        (host.dns, host.dns_search, host.dns_options) = (None, None, None);
    }
    (host.mounts, host.tmpfs, host.port_bindings) = (Some(mounts), Some(in_memory), None);
    let own = [
        (labels::ROLE, labels::ROLE_INIT),
        (labels::CLUSTER, &wanted.project.cluster.name),
        (labels::NODE, wanted.node),
    ];
    let absent = absent.iter().flat_map(|target| [ABSENT.to_owned(), target.clone()]);
    let certificates = &wanted.service.certificates;
    let certificates = certificates
        .iter()
        .flat_map(|path| [CERTIFICATE.to_owned(), path.clone()]);
    let asked = [FORM.to_owned()].into_iter().chain(absent).chain(certificates);
    ContainerCreateBody {
        cmd: Some(asked.chain(request.cmd.into_iter().flatten()).collect()),
        labels: Some(own.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        exposed_ports: None,
        networking_config: None,
        tty: Some(false),
        open_stdin: Some(false),
        host_config: Some(host),
        ..request
    }
}

/// A volume that the image declares, and that nothing covers, would be made and filled for nothing.
fn cover(in_memory: &mut HashMap<String, String>, mounts: &[Mount], image: &Image) {
    for path in &image.volumes {
        let is_covered = mounts.iter().any(|mount| mount.target.as_ref() == Some(path));
        if !is_covered {
            in_memory.entry(path.clone()).or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::MountType;

    use super::*;

    fn mount(target: &str) -> Mount {
        Mount {
            typ: Some(MountType::VOLUME),
            target: Some(target.to_owned()),
            ..Mount::default()
        }
    }

    #[test]
    fn what_the_image_declares_is_in_memory_unless_it_is_covered() {
        let image = Image {
            volumes: vec!["/data".to_owned(), "/cache".to_owned(), "/tmp".to_owned()],
            ..Image::default()
        };
        let mut in_memory = HashMap::from([("/tmp".to_owned(), "size=1m".to_owned())]);
        cover(&mut in_memory, &[mount("/cache")], &image);
        let mut found: Vec<_> = in_memory.into_iter().collect();
        found.sort();
        assert_eq!(
            found,
            [
                ("/data".to_owned(), String::new()),
                ("/tmp".to_owned(), "size=1m".to_owned())
            ]
        );
    }
}
