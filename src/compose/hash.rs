//! The fingerprint of a service, for the label by which Compose knows its own containers.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::model::{MountKind, Project, Service};

/// SHA-256, in hexadecimal, over the service and the networks and volumes it uses. It changes when, and only when, a
/// container made from the service would change; values that merely stand elsewhere in the file leave it as it is.
#[must_use]
pub fn config_hash(service: &Service, project: &Project) -> String {
    // The order of starting is no property of the container.
    let service = Service {
        depends_on: BTreeMap::new(),
        ..service.clone()
    };
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
    let text = serde_json::to_string(&(&service, networks, volumes)).unwrap_or_default();
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{REST, file, read_files};
    use super::*;

    fn hash(keys: &str, rest: &str) -> String {
        let project = read_files(&[("compose.yaml", &file("", keys, rest))]).unwrap();
        config_hash(&project.groups["s"].services[0], &project)
    }

    #[test]
    fn the_hash_follows_the_meaning_and_not_the_spelling() {
        let first = hash("environment: {A: 1, B: 2}\nvolumes: ['data:/x']", REST);
        assert_eq!(first.len(), 64);
        let other_file = format!("  more: {{image: m}}\n{REST}");
        assert_eq!(
            first,
            hash(
                "volumes: [{type: volume, source: data, target: /x}]\nenvironment: [B=2, A=1]",
                &other_file
            )
        );
        assert_ne!(first, hash("environment: {A: 1, B: 3}\nvolumes: ['data:/x']", REST));
        let renamed = REST.replace("data: {external: true}", "data: {external: true, name: other}");
        assert_ne!(first, hash("environment: {A: 1, B: 2}\nvolumes: ['data:/x']", &renamed));
    }
}
