//! Small files of the sidecar: the boot-scoped state and the compose file as it was taken in the run directory, the pin in the
//! state directory; and the host-wide lock.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::FlockOperation;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use leasehold_base::small_file;
use leasehold_compose::model::Project;
use leasehold_core::protocol::bounds::{Bounded, Fault};
use leasehold_core::protocol::records::{Pin, Saved};

/// Of a file that this program wrote itself.
const KEPT_MAX: u64 = 64 * 1024 * 1024;

/// etcd itself refuses more.
const ELECTION_MAX: Duration = Duration::from_secs(50);

/// Where they lie.
#[derive(Clone, Debug)]
pub struct Files {
    state: PathBuf,
    pin: PathBuf,
    /// The same with a later revision, in a file of its own: it is written beside the loop, and must never replace a pin that
    /// the loop has written meanwhile.
    later: PathBuf,
    /// What etcd takes to elect a leader, as learned last.
    election: PathBuf,
    /// That is under way.
    is_pinning: Arc<AtomicBool>,
    /// Which containers were started; see [`super::cgroup::Memory`].
    pub containers: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Election {
    timeout_ms: u64,
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
            later: state_dir.join("trusted-etcd-later.json"),
            election: state_dir.join("election.json"),
            is_pinning: Arc::default(),
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
        let saved: Option<Saved> = read(&self.state)?;
        match saved.as_ref().map(Bounded::bounded) {
            Some(Err(fault)) => Err(damaged(&self.state, &fault)),
            Some(Ok(())) | None => Ok(saved),
        }
    }

    /// Which etcd this node trusts, and what in the file was damaged and counts for nothing.
    ///
    /// # Errors
    /// The file is there and can't be read: it must not be taken for absent.
    pub fn pin(&self) -> io::Result<Option<(Pin, Option<String>)>> {
        let Some(pin) = read::<Pin>(&self.pin)? else {
            return Ok(None);
        };
        let (pin, fault) = pin.repaired();
        // Without this one a little less of a restored etcd is noticed, as before it was written.
        let later: Option<Pin> = read(&self.later).ok().flatten();
        let sound = later.map(Pin::repaired).filter(|(_, fault)| fault.is_none());
        let pin = sound.map_or(pin, |(later, _)| pin.or_later(later));
        Ok(Some((pin, fault.map(|fault| damaged(&self.pin, &fault).to_string()))))
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

    /// With promises: what etcd takes to elect a leader, for a sidecar that starts while etcd is away.
    ///
    /// # Errors
    /// The disk's.
    pub fn save_election(&self, timeout: Duration) -> io::Result<()> {
        let timeout_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        write(&self.election, &Election { timeout_ms })
    }

    /// The same as it was learned last; none where nobody wrote it, or it can't be read: then etcd is waited for.
    #[must_use]
    pub fn election(&self) -> Option<Duration> {
        let kept: Option<Election> = read(&self.election).ok().flatten();
        let timeout = Duration::from_millis(kept?.timeout_ms);
        (!timeout.is_zero() && timeout <= ELECTION_MAX).then_some(timeout)
    }

    /// Writes a later pin in a thread of its own, one at a time: a disk that hangs holds up nothing else, the end of this
    /// process included. `failed` hears why it could not be written.
    pub fn pin_later(&self, pin: Pin, failed: impl FnOnce(io::Error) + Clone + Send + 'static) {
        if self.is_pinning.swap(true, Ordering::Relaxed) {
            let still = io::Error::new(io::ErrorKind::TimedOut, "the disk has not answered since the last time");
            return failed(named(&self.later, &still));
        }
        let (files, otherwise) = (self.clone(), failed.clone());
        let body = move || {
            let written = write(&files.later, &pin);
            files.is_pinning.store(false, Ordering::Relaxed);
            if let Err(error) = written {
                failed(error);
            }
        };
        if let Err(error) = std::thread::Builder::new().name("pin".to_owned()).spawn(body) {
            self.is_pinning.store(false, Ordering::Relaxed);
            otherwise(error);
        }
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

/// What a file must outlive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlives {
    PowerCut,
    /// After a power cut it may be empty, or an earlier one.
    Process,
}

pub(super) fn write<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    replace(path, value, Outlives::PowerCut)
}

/// In one step: whoever reads it finds the value before or this one.
pub(crate) fn replace<T: Serialize>(path: &Path, value: &T, what: Outlives) -> io::Result<()> {
    let next = path.with_extension("next");
    let file = File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&next);
    let mut file = file.map_err(|error| named(&next, &error))?;
    let written = file.write_all(serde_json::to_string(value)?.as_bytes());
    let written = written.and_then(|()| match what {
        Outlives::PowerCut => file.sync_data(),
        Outlives::Process => Ok(()),
    });
    written.map_err(|error| named(&next, &error))?;
    std::fs::rename(&next, path).map_err(|error| named(path, &error))
}

fn damaged(path: &Path, fault: &Fault) -> io::Error {
    let text = format!("{}: {fault}", path.display());
    io::Error::new(io::ErrorKind::InvalidData, text)
}

pub(super) fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::adoption::left::Parts;
    use leasehold_core::protocol::bounds::PROMISE_MAX_MS;
    use leasehold_core::protocol::records::SavedRun;
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc::channel;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("leasehold-files-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            Self(path)
        }

        fn files(&self) -> Files {
            Files::open(&self.0.join("run"), &self.0.join("state")).unwrap()
        }

        fn pin(&self) -> PathBuf {
            self.0.join("state/trusted-etcd.json")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn pin(revision: i64) -> Pin {
        Pin {
            cluster_id: 0xc1,
            generation: 3,
            revision,
            longest_ms: 10_000,
            promises_ms: None,
            promises_secret: None,
        }
    }

    fn later(files: &Files, pin: Pin) -> Option<io::Error> {
        let (failed, heard) = channel();
        files.pin_later(pin, move |error| drop(failed.send(error)));
        heard.recv_timeout(Duration::from_secs(10)).ok()
    }

    #[test]
    fn a_later_pin_never_replaces_one_of_another_generation() {
        let place = Place::new("later");
        let files = place.files();
        assert_eq!(files.pin().unwrap(), None);
        files.save_pin(&pin(10)).unwrap();
        assert!(later(&files, pin(20_000)).is_none());
        assert_eq!(files.pin().unwrap(), Some((pin(20_000), None)));
        // Accepted: whatever is still under way beside the loop says nothing about the new generation.
        let accepted = Pin {
            generation: 4,
            ..pin(15)
        };
        files.save_pin(&accepted).unwrap();
        assert_eq!(files.pin().unwrap(), Some((accepted, None)));
        // And what can't be read there is as if it had not been written.
        std::fs::write(place.0.join("state/trusted-etcd-later.json"), "spoiled").unwrap();
        assert_eq!(files.pin().unwrap(), Some((accepted, None)));
    }

    #[test]
    fn a_later_pin_that_can_not_be_written_is_only_told() {
        let place = Place::new("full");
        let files = place.files();
        files.save_pin(&pin(10)).unwrap();
        // In the place of the file beside it: root writes into directories that are read-only.
        std::fs::create_dir(place.0.join("state/trusted-etcd-later.next")).unwrap();
        let why = later(&files, pin(20_000)).unwrap().to_string();
        assert!(why.contains("trusted-etcd-later.next"), "{why}");
        assert_eq!(files.pin().unwrap(), Some((pin(10), None)));
        let mode = std::fs::metadata(place.pin()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    /// As an earlier version took them over from a damaged configuration.
    #[test]
    fn a_poisoned_pin_is_told_and_the_rest_of_it_counts() {
        let place = Place::new("poisoned");
        let files = place.files();
        let huge = u64::MAX;
        let text = format!(r#"{{"cluster_id":{huge},"generation":{huge},"revision":7,"longest_ms":{huge}}}"#);
        std::fs::write(place.pin(), text).unwrap();
        let (pin, fault) = files.pin().unwrap().unwrap();
        let sound = Pin {
            cluster_id: huge,
            generation: 0,
            revision: 7,
            longest_ms: PROMISE_MAX_MS,
            promises_ms: None,
            promises_secret: None,
        };
        assert_eq!(pin, sound);
        let fault = fault.unwrap();
        assert!(
            fault.contains("trusted-etcd.json") && fault.contains("generation"),
            "{fault}"
        );
        std::fs::write(place.pin(), "{").unwrap();
        let why = files.pin().unwrap_err().to_string();
        assert!(
            why.contains("trusted-etcd.json") && why.contains("remove the file"),
            "{why}"
        );
    }

    #[test]
    fn a_saved_run_that_nobody_counted_is_not_adopted() {
        let place = Place::new("saved");
        let files = place.files();
        let run = |epoch| SavedRun {
            epoch,
            n: 1,
            latched: false,
            parts: Parts::default(),
        };
        let saved = |epoch| Saved {
            boot: "b".to_owned(),
            lease: 1,
            groups: BTreeMap::from([("mail".to_owned(), run(epoch))]),
        };
        files.save(&saved(7)).unwrap();
        assert_eq!(files.saved().unwrap(), Some(saved(7)));
        files.save(&saved(u64::MAX)).unwrap();
        let why = files.saved().unwrap_err().to_string();
        assert!(why.contains("epoch 18446744073709551615"), "{why}");
    }
}
