//! Images: only what is on this host; nothing is ever pulled.

use bollard::models::{HealthConfig, ImageInspect};

use super::{Engine, EngineError, Result};

/// What Leasehold needs to know of an image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// The engine's id, equal on every host that holds the same image.
    pub id: String,
    /// The registry's digest where the image came from one, else the id.
    pub digest: String,
    /// `None` where the image sets none.
    pub entrypoint: Option<Vec<String>>,
    /// `None` where the image sets none.
    pub cmd: Option<Vec<String>>,
    pub user: Option<String>,
    pub stop_signal: Option<String>,
    /// The check's command as the engine keeps it, such as `["CMD-SHELL", "..."]`.
    pub healthcheck: Option<Vec<String>>,
    /// Paths that the image declares as volumes: one that no mount covers gets a nameless local volume.
    pub volumes: Vec<String>,
    /// The TCP ports that it says it listens on.
    pub exposed: Vec<u16>,
}

impl Engine {
    /// Looks an image up on this host.
    pub async fn image(&self, reference: &str) -> Result<Image> {
        let docker = self.client().await?;
        match self.ask("inspect image", docker.inspect_image(reference)).await {
            Ok(found) => Ok(read(found, reference)),
            Err(EngineError::Missing { .. }) => Err(EngineError::Missing {
                what: format!(
                    "image {reference} is not on this host and is never pulled by itself: \
                     run `docker pull {reference}` (or `docker load`) here"
                ),
            }),
            Err(other) => Err(other),
        }
    }
}

fn read(found: ImageInspect, reference: &str) -> Image {
    let id = found.id.unwrap_or_default();
    let config = found.config.unwrap_or_default();
    let digest = digest(&found.repo_digests.unwrap_or_default(), reference).unwrap_or_else(|| id.clone());
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    Image {
        id,
        digest,
        entrypoint: config.entrypoint.filter(|words| !words.is_empty()),
        cmd: config.cmd.filter(|words| !words.is_empty()),
        user: given(config.user),
        stop_signal: given(config.stop_signal),
        healthcheck: config.healthcheck.and_then(|check: HealthConfig| check.test),
        volumes: config.volumes.unwrap_or_default(),
        exposed: exposed(&config.exposed_ports.unwrap_or_default()),
    }
}

/// `25/tcp` and the like, in order.
fn exposed(ports: &[String]) -> Vec<u16> {
    let tcp = ports.iter().filter_map(|port| port.strip_suffix("/tcp")?.parse().ok());
    let mut all: Vec<u16> = tcp.collect();
    all.sort_unstable();
    all
}

/// The digest under the repository that was asked for; an image may carry those of several.
fn digest(repo_digests: &[String], reference: &str) -> Option<String> {
    let repository = repository(reference);
    let parts = || repo_digests.iter().filter_map(|entry| entry.split_once('@'));
    let same = parts().find(|(name, _)| *name == repository);
    same.or_else(|| parts().next()).map(|(_, digest)| digest.to_owned())
}

/// `host:5000/a/b:tag@digest` without tag and digest.
fn repository(reference: &str) -> &str {
    let name = reference.split('@').next().unwrap_or(reference);
    match name.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        Some(_) | None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repository_leaves_a_registry_port_alone() {
        assert_eq!(repository("sams:1.4.2"), "sams");
        assert_eq!(repository("reg:5000/a/sams"), "reg:5000/a/sams");
        assert_eq!(repository("reg:5000/a/sams:1@sha256:ab"), "reg:5000/a/sams");
    }

    #[test]
    fn ports_of_tcp_are_told_in_order() {
        let all = ["25/tcp", "110/tcp", "53/udp", "x"].map(str::to_owned);
        assert_eq!(exposed(&all), [25, 110]);
    }

    #[test]
    fn digest_of_the_repository_asked_for() {
        let all = ["other@sha256:1".to_owned(), "sams@sha256:2".to_owned()];
        assert_eq!(digest(&all, "sams:1").as_deref(), Some("sha256:2"));
        assert_eq!(digest(&all, "mine:1").as_deref(), Some("sha256:1"));
        assert_eq!(digest(&[], "sams"), None);
    }
}
