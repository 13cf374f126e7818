//! Small files of the sidecar: the boot-scoped state and the compose file as it was taken in the run directory, the pin in the
//! state directory; and the host-wide lock.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::compose::model::Project;
use crate::core::records::{Pin, Saved};
use crate::small_file;

/// Of a file that this program wrote itself.
const KEPT_MAX: u64 = 64 * 1024 * 1024;

/// Where they lie.
#[derive(Clone, Debug)]
pub struct Files {
    state: PathBuf,
    pin: PathBuf,
    /// Which containers were started; see [`super::cgroup::Memory`].
    pub containers: PathBuf,
}

/// Held as long as the process lives: one sidecar per host.
#[derive(Debug)]
pub struct HostLock {
    _file: File,
}

impl Files {
    /// Makes both directories.
    ///
    /// # Errors
    /// With the path that could not be made.
    pub fn open(run_dir: &Path, state_dir: &Path) -> io::Result<Self> {
        for directory in [run_dir, state_dir] {
            std::fs::create_dir_all(directory).map_err(|error| named(directory, &error))?;
        }
        Ok(Self {
            state: run_dir.join("state.json"),
            containers: run_dir.join("containers.json"),
            pin: state_dir.join("trusted-etcd.json"),
        })
    }

    /// Takes the host-wide lock.
    ///
    /// # Errors
    /// `WouldBlock` when another sidecar of this host holds it.
    pub fn lock(run_dir: &Path) -> io::Result<HostLock> {
        let path = run_dir.join("leasehold.lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path);
        let file = file.map_err(|error| named(&path, &error))?;
        // Whoever can open it can hold it, and nothing would start here any more.
        file.set_permissions(Permissions::from_mode(0o600))?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(HostLock { _file: file })
    }

    /// What an earlier sidecar of this host left running, if its file is whole.
    ///
    /// # Errors
    /// The file is there and can't be read.
    pub fn saved(&self) -> io::Result<Option<Saved>> {
        read(&self.state)
    }

    /// Which etcd this node trusts.
    ///
    /// # Errors
    /// The file is there and can't be read: it must not be taken for absent.
    pub fn pin(&self) -> io::Result<Option<Pin>> {
        read(&self.pin)
    }

    /// Replaces the state whole.
    ///
    /// # Errors
    /// The disk's.
    pub fn save(&self, saved: &Saved) -> io::Result<()> {
        write(&self.state, saved)
    }

    /// Replaces the pin whole.
    ///
    /// # Errors
    /// The disk's.
    pub fn save_pin(&self, pin: &Pin) -> io::Result<()> {
        write(&self.pin, pin)
    }
}

/// The compose file as the sidecar last took it. One that crashed goes on with that, whatever an editor made of the file
/// meanwhile; one that was told to end has forgotten it. It holds what `docker inspect` shows, and is root's alone.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Taken {
    pub boot: String,
    /// The sidecar's own container: another one was made to take the file as it is.
    pub own_id: Option<String>,
    pub project: Project,
}

impl Taken {
    fn path(run_dir: &Path) -> PathBuf {
        run_dir.join("project.json")
    }

    /// What a sidecar of this boot left behind, if this version can read it: else the file counts.
    #[must_use]
    pub fn read(run_dir: &Path, boot: &str) -> Option<Self> {
        let found: Option<Self> = read(&Self::path(run_dir)).ok()?;
        found.filter(|taken| taken.boot == boot)
    }

    /// Replaces it whole.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&self, run_dir: &Path) -> io::Result<()> {
        write(&Self::path(run_dir), self)
    }

    /// Told to end: whoever comes next reads the file.
    pub fn forget(run_dir: &Path) {
        // One that can't be removed can't have been written either.
        let _ = std::fs::remove_file(Self::path(run_dir));
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match small_file::read_text(path, KEPT_MAX) {
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| {
            let text = format!("{}: {error}; remove the file if it was damaged", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(named(path, &error)),
    }
}

fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let next = path.with_extension("next");
    let file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&next);
    let mut file = file.map_err(|error| named(&next, &error))?;
    file.write_all(serde_json::to_string(value)?.as_bytes())?;
    file.sync_data()?;
    std::fs::rename(&next, path).map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
