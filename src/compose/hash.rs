//! The fingerprint of a service, for the label by which Compose knows its own containers.

use sha2::{Digest, Sha256};

use super::model::{MountKind, Project, Service};

/// SHA-256, in hexadecimal, over the service and the networks and volumes it uses. It changes when, and only when, a
/// container made from the service would change; values that merely stand elsewhere in the file leave it as it is.
#[must_use]
pub fn config_hash(service: &Service, project: &Project) -> String {
    let networks: Vec<_> = service
        .networks
        .keys()
        .map(|key| (key, project.networks.get(key)))
        .collect();
    let volumes: Vec<_> = service
        .mounts
        .iter()
        .filter_map(|mount| match &mount.kind {
            MountKind::Volume { key, .. } => Some((key, project.volumes.get(key))),
            MountKind::Bind { .. } | MountKind::Tmpfs { .. } | MountKind::File { .. } => None,
        })
        .collect();
    // Maps are sorted and no key is anything but a string, so the text is stable; serialising plain data cannot fail.
    let text = serde_json::to_string(&(service, networks, volumes)).unwrap_or_default();
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
