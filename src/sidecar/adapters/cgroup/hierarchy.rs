//! The hierarchies of cgroups that are mounted somewhere, and the containers' directories in them.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Place;

/// Cgroups that one look goes through at most; more is a host that this was not made for.
const CGROUPS_MAX: usize = 50_000;

/// Podman keeps one process beside each container, in a cgroup of this name with the container's id: it writes the log, and
/// tells Podman of the end. It is no part of the container, and outlives it.
const MONITOR: &str = "libpod-conmon-";

/// `CGROUP_SUPER_MAGIC` and `CGROUP2_SUPER_MAGIC` of the kernel.
const MAGIC_1: u64 = 0x0027_e0eb;
const MAGIC_2: u64 = 0x6367_7270;

/// The version of a hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    V1,
    V2,
}

/// One mounted hierarchy.
#[derive(Clone, Debug)]
pub(super) struct Hierarchy {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) place: Place,
    /// What is seen is the hierarchy's own root, not a part that some namespace or mount shows.
    pub(super) whole: bool,
}

/// What the kernel has mounted there.
pub(super) fn kind(path: &Path) -> Option<Kind> {
    let magic = rustix::fs::statfs(path).ok()?.f_type;
    match u64::try_from(magic) {
        Ok(MAGIC_1) => Some(Kind::V1),
        Ok(MAGIC_2) => Some(Kind::V2),
        Ok(_) | Err(_) => None,
    }
}

/// The hierarchies at `top` (version 2) or in the directories there (version 1, and both side by side).
pub(super) fn below(top: &Path, kind: fn(&Path) -> Option<Kind>) -> io::Result<Vec<Hierarchy>> {
    if let Some(at_top) = kind(top) {
        return Ok(vec![Hierarchy::new(top, at_top)?]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(top)? {
        let entry = entry?;
        // `cpu` may be a link to `cpu,cpuacct`: the same hierarchy again.
        if entry.file_type()?.is_dir()
            && let Some(kind) = kind(&entry.path())
        {
            found.push(Hierarchy::new(&entry.path(), kind)?);
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

impl Hierarchy {
    fn new(path: &Path, kind: Kind) -> io::Result<Self> {
        let top = fs::metadata(path)?;
        let has = |name: &str| path.join(name).exists();
        // The kernel puts these files into every cgroup but the root, or into the root alone.
        let whole = match kind {
            Kind::V1 => has("release_agent"),
            Kind::V2 => has("cgroup.procs") && !has("cgroup.type") && !has("cgroup.events"),
        };
        Ok(Self {
            path: path.to_owned(),
            kind,
            place: Place {
                device: top.dev(),
                top: top.ino(),
            },
            whole,
        })
    }

    /// Whether a cgroup of this hierarchy can say that it is empty: of version 1 only the controller `pids` counts
    /// processes that the reader's PID namespace does not contain.
    pub(super) fn tells_emptiness(&self, sees_all_processes: bool) -> bool {
        self.kind == Kind::V2 || sees_all_processes || self.path.file_name().is_some_and(|name| name == "pids")
    }

    /// Every directory whose name contains one of the ids, with that id. One that vanishes meanwhile is not there.
    pub(super) fn find(&self, ids: &[&str]) -> io::Result<Vec<(String, PathBuf)>> {
        let mut found = Vec::new();
        let mut open = vec![self.path.clone()];
        let mut passed = 0;
        while let Some(directory) = open.pop() {
            for below in directories(&directory)? {
                passed += 1;
                if passed > CGROUPS_MAX {
                    return Err(io::Error::other(format!("more than {CGROUPS_MAX} cgroups")));
                }
                let name = below.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with(MONITOR) {
                    continue;
                }
                match ids.iter().find(|id| !id.is_empty() && name.contains(**id)) {
                    Some(id) => found.push(((*id).to_owned(), below.clone())),
                    None => open.push(below),
                }
            }
        }
        Ok(found)
    }
}

/// The cgroups directly below one; none once it has been removed.
pub(super) fn directories(of: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(of) {
        Ok(entries) => entries,
        Err(error) if is_removed(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut below = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) if entry.file_type()?.is_dir() => below.push(entry.path()),
            Ok(_) => {}
            Err(error) if is_removed(&error) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
    }
    Ok(below)
}

/// What the kernel says of a cgroup that was removed while it was looked at.
pub(super) fn is_removed(error: &io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}
