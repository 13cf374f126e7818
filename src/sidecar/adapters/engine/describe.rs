//! What the engine says of itself, for a bug report: only what is known to hold no secret. Proxies and registries may.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Engine, EngineError, Result};

/// Of `docker version`.
const OF_VERSION: [&str; 8] = [
    "Version",
    "ApiVersion",
    "MinAPIVersion",
    "GitCommit",
    "GoVersion",
    "Os",
    "Arch",
    "KernelVersion",
];
/// Of `docker info`.
const OF_INFO: [&str; 24] = [
    "Architecture",
    "CgroupDriver",
    "CgroupVersion",
    "Containers",
    "ContainersPaused",
    "ContainersRunning",
    "ContainersStopped",
    "DefaultRuntime",
    "Driver",
    "DriverStatus",
    "FirewallBackend",
    "Images",
    "KernelVersion",
    "LiveRestoreEnabled",
    "LoggingDriver",
    "MemTotal",
    "NCPU",
    "OSType",
    "OSVersion",
    "OperatingSystem",
    "SecurityOptions",
    "ServerVersion",
    "SystemTime",
    "Warnings",
];

impl Engine {
    /// Version and settings, as `docker version` and `docker info` have them, without what may hold a secret.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn describe(&self) -> Result<Value> {
        let docker = self.client().await?;
        let version = self.ask("version", docker.version()).await?;
        let info = self.ask("info", docker.info()).await?;
        let (version, info) = (chosen(&version, &OF_VERSION)?, chosen(&info, &OF_INFO)?);
        Ok(serde_json::json!({ "version": version, "info": info }))
    }
}

/// The named fields alone.
fn chosen(said: &impl Serialize, fields: &[&str]) -> Result<Map<String, Value>> {
    let said = serde_json::to_value(said).map_err(|error| EngineError::Unreachable(error.to_string()))?;
    let named = fields
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), said.get(name)?.clone())));
    Ok(named.filter(|(_, value)| !value.is_null()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_hold_a_secret_is_left_out() {
        let said = serde_json::json!({ "ServerVersion": "29.0", "HttpProxy": "http://u:hunter2@proxy", "NCPU": null });
        let kept = chosen(&said, &OF_INFO).unwrap();
        assert_eq!(Value::Object(kept), serde_json::json!({ "ServerVersion": "29.0" }));
    }
}
