//! Mounts of a container, in a form by which creating it neither mounts nor writes anything.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use bollard::models::{
    Mount as EngineMount, MountBindOptions, MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType,
    MountVolumeOptions,
};

use super::{EngineError, Result};
use leasehold_compose::model::{Mount, MountKind, Project, Service};

/// Where the tether's binary is found in a protected container.
pub(super) const TETHER_DIRECTORY: &str = "/leasehold";
/// Where the tether finds its page, lock and socket.
pub(super) const STATE_DIRECTORY: &str = "/run/leasehold";

/// Where a mount comes from, in the engine's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A volume by its name.
    Volume(String),
    /// A path of the Docker host.
    Path(PathBuf),
}

/// What every protected container gets besides its own mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TetherMounts {
    /// Holds the tether's binary; appears read-only as `/leasehold`.
    pub binary: MountSource,
    /// The host's directory of this service's page; appears read-only as `/run/leasehold`.
    pub state: PathBuf,
}

impl TetherMounts {
    pub(super) fn mounts(&self) -> Vec<EngineMount> {
        vec![binary(&self.binary), bind(&self.state, STATE_DIRECTORY, true)]
    }
}

/// The read-only mount of the tether's binary.
pub(super) fn binary(source: &MountSource) -> EngineMount {
    match source {
        MountSource::Volume(name) => volume(name, TETHER_DIRECTORY, true, None),
        MountSource::Path(path) => bind(path, TETHER_DIRECTORY, true),
    }
}

/// The service's own mounts.
pub(super) fn of_service(project: &Project, service: &Service) -> Result<Vec<EngineMount>> {
    service
        .mounts
        .iter()
        .map(|mount| one(project, service, mount))
        .collect()
}

fn one(project: &Project, service: &Service, mount: &Mount) -> Result<EngineMount> {
    match &mount.kind {
        MountKind::Bind { source, propagation } => {
            let mut made = bind(source, &mount.target, mount.read_only);
            if let Some(word) = propagation {
                made.bind_options = Some(propagated(word)?);
            }
            Ok(made)
        }
        MountKind::Volume { key, subpath } => {
            let Some(found) = project.volumes.get(key) else {
                return Err(EngineError::invalid(format!(
                    "service {} mounts no known volume: {key}",
                    service.name
                )));
            };
            Ok(volume(&found.name, &mount.target, mount.read_only, subpath.clone()))
        }
        MountKind::Tmpfs { size, mode } => Ok(EngineMount {
            typ: Some(MountType::TMPFS),
            target: Some(mount.target.clone()),
            read_only: Some(mount.read_only),
            tmpfs_options: Some(MountTmpfsOptions {
                size_bytes: *size,
                mode: mode.map(i64::from),
                ..MountTmpfsOptions::default()
            }),
            ..EngineMount::default()
        }),
        MountKind::File { source } => Ok(bind(source, &mount.target, true)),
    }
}

/// `nocopy`: with the engine's default, creating the container would mount the volume and fill it from the image.
fn volume(name: &str, target: &str, read_only: bool, subpath: Option<String>) -> EngineMount {
    EngineMount {
        typ: Some(MountType::VOLUME),
        source: Some(name.to_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(true),
            subpath,
            ..MountVolumeOptions::default()
        }),
        ..EngineMount::default()
    }
}

/// In this form the engine refuses an absent source; in the older `binds` form it would create an empty directory.
fn bind(source: &Path, target: &str, read_only: bool) -> EngineMount {
    EngineMount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..EngineMount::default()
    }
}

fn propagated(word: &str) -> Result<MountBindOptions> {
    let propagation = MountBindOptionsPropagationEnum::from_str(word)
        .map_err(|_| EngineError::invalid(format!("{word:?} is no mount propagation")))?;
    Ok(MountBindOptions {
        propagation: Some(propagation),
        ..MountBindOptions::default()
    })
}
