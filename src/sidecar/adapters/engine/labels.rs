//! The labels that Compose puts on what it creates, and Leasehold's own.

pub(super) const PROJECT: &str = "com.docker.compose.project";
pub(super) const SERVICE: &str = "com.docker.compose.service";
pub(super) const ONEOFF: &str = "com.docker.compose.oneoff";
pub(super) const NUMBER: &str = "com.docker.compose.container-number";
pub(super) const CONFIG_HASH: &str = "com.docker.compose.config-hash";
pub(super) const CONFIG_FILES: &str = "com.docker.compose.project.config_files";
pub(super) const WORKING_DIR: &str = "com.docker.compose.project.working_dir";
pub(super) const IMAGE: &str = "com.docker.compose.image";
pub(super) const DEPENDS_ON: &str = "com.docker.compose.depends_on";
pub(super) const VERSION: &str = "com.docker.compose.version";
pub(super) const VOLUME: &str = "com.docker.compose.volume";
pub(super) const NETWORK: &str = "com.docker.compose.network";

pub(super) const CLUSTER: &str = "leasehold.cluster";
pub(super) const GROUP: &str = "leasehold.group";
pub(super) const NODE: &str = "leasehold.node";
pub(super) const ROLE: &str = "leasehold.role";
/// Fingerprint of the request that made the container: anything that differs makes it anew.
pub(super) const FINGERPRINT: &str = "leasehold.fingerprint";

/// [`ROLE`] of the one-off containers of `leasehold init` and of a standby's look at the storage.
pub(super) const ROLE_INIT: &str = "init";

/// The Compose version whose label format is followed; Compose shows it and decides nothing by it.
pub(super) const COMPOSE_VERSION: &str = "2.40.3";
