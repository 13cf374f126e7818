//! Images: only what is on this host; nothing is ever pulled.

use bollard::models::{HealthConfig, ImageConfig, ImageInspect};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Engine, EngineError, Result};

/// Of the hash of an image's content: it is published with every beat.
const CONTENT_BYTES: usize = 16;

/// What Leasehold needs to know of an image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Image {
    /// The engine's id, equal on every host that holds the same image.
    pub id: String,
    /// The registry's digest where the image came from one, else the id.
    pub digest: String,
    /// Of its layers and its configuration: the same in every image store, and however it came here. Empty where the
    /// engine does not tell the layers.
    pub content: String,
    /// `None` where the image sets none.
    pub entrypoint: Option<Vec<String>>,
    /// `None` where the image sets none.
    pub cmd: Option<Vec<String>>,
    /// `NAME=value`.
    pub env: Vec<String>,
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
    let content = content(&found);
    let id = found.id.unwrap_or_default();
    let config = found.config.unwrap_or_default();
    let digest = digest(&found.repo_digests.unwrap_or_default(), reference).unwrap_or_else(|| id.clone());
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    Image {
        id,
        digest,
        content,
        entrypoint: config.entrypoint.filter(|words| !words.is_empty()),
        cmd: config.cmd.filter(|words| !words.is_empty()),
        env: config.env.unwrap_or_default(),
        user: given(config.user),
        stop_signal: given(config.stop_signal),
        healthcheck: config.healthcheck.and_then(|check: HealthConfig| check.test),
        volumes: config.volumes.unwrap_or_default(),
        exposed: exposed(&config.exposed_ports.unwrap_or_default()),
    }
}

/// A hash of what decides how a container of it runs. Engines differ in which empty keys they tell.
fn content(found: &ImageInspect) -> String {
    let layers = found.root_fs.as_ref().and_then(|root| root.layers.as_ref());
    let Some(layers) = layers.filter(|layers| !layers.is_empty()) else {
        return String::new();
    };
    let none = ImageConfig::default();
    let config = found.config.as_ref().unwrap_or(&none);
    let sorted = |list: &Option<Vec<String>>| {
        let mut list = list.clone().unwrap_or_default();
        list.sort_unstable();
        list
    };
    let mut parts = json!({
        "layers": layers,
        "platform": [&found.os, &found.architecture],
        "user": config.user,
        "env": config.env,
        "entrypoint": config.entrypoint,
        "cmd": config.cmd,
        "shell": config.shell,
        "healthcheck": config.healthcheck,
        "working_dir": config.working_dir,
        "stop_signal": config.stop_signal,
        "labels": config.labels,
        "volumes": sorted(&config.volumes),
        "exposed": sorted(&config.exposed_ports),
    });
    drop_empty(&mut parts);
    let sum = Sha256::digest(parts.to_string());
    sum.iter()
        .take(CONTENT_BYTES)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn drop_empty(value: &mut Value) {
    let Value::Object(map) = value else { return };
    map.values_mut().for_each(drop_empty);
    map.retain(|_, value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    });
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
    fn the_same_image_is_known_in_another_image_store() {
        let inspected = |id: &str, digests: &[&str], layer: &str, config: Value| {
            let found = json!({
                "Id": id, "RepoDigests": digests, "Os": "linux", "Architecture": "amd64", "Config": config,
                "RootFS": {"Type": "layers", "Layers": [layer]},
            });
            read(serde_json::from_value(found).unwrap(), "sams:1")
        };
        let (a, b) = ("sha256:a", "sha256:b");
        let config =
            |cmd: &str| json!({"Cmd": [cmd], "Env": ["A=1"], "Volumes": {"/x": {}, "/y": {}}, "Labels": {"k": "v"}});
        // The older store, which also tells what is empty.
        let mut old = config("run");
        for (key, value) in [
            ("User", json!("")),
            ("Entrypoint", Value::Null),
            ("OnBuild", Value::Null),
        ] {
            old[key] = value;
        }
        let old = inspected(a, &[], "sha256:1", old);
        let new = inspected(b, &["sams@sha256:b"], "sha256:1", config("run"));
        assert_ne!(old.digest, new.digest);
        assert_eq!(old.content, new.content);
        assert_eq!(old.content.len(), 2 * CONTENT_BYTES);
        for other in [
            inspected(a, &[], "sha256:2", config("run")),
            inspected(a, &[], "sha256:1", config("walk")),
        ] {
            assert_ne!(other.content, new.content);
        }
        let untold = read(ImageInspect::default(), "sams:1");
        assert_eq!(untold.content, "");
    }

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
