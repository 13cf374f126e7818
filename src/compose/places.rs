//! What a path of the host is: a service's data, or something that is the system's.

use std::path::Path;

use super::paths::Paths;

/// Below these nothing is kept that could move with a service: the system's state of this boot, its devices, its logs.
const SYSTEM: [&str; 7] = ["/dev", "/proc", "/sys", "/run", "/var/run", "/var/log", "/lib/modules"];
/// The same, but not what lies below.
const SYSTEM_ALONE: [&str; 10] = [
    "/tmp",
    "/var/tmp",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/machine-id",
];
/// These hold the data of many; what lies in them may be a service's own.
const PARENTS: [&str; 17] = [
    "/",
    "/bin",
    "/boot",
    "/etc",
    "/home",
    "/lib",
    "/media",
    "/mnt",
    "/opt",
    "/root",
    "/sbin",
    "/srv",
    "/usr",
    "/var",
    "/var/lib",
    "/var/lib/docker",
    "/var/lib/docker/volumes",
];

/// What a mounted path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The service's own: it must be there before anything starts, and nobody else may write to it.
    Data,
    /// A file, a socket, or a place of the system.
    System,
    /// More than one service's.
    Parent,
}

/// Known by its name, or where it lies in the project directory, by what is there. All hosts must come to the same answer, so
/// nothing else is looked at.
pub(super) fn of(source: &Path, paths: &Paths) -> Place {
    if PARENTS.iter().any(|parent| source == Path::new(parent)) {
        return Place::Parent;
    }
    let is_systems = SYSTEM.iter().any(|place| source.starts_with(place))
        || SYSTEM_ALONE.iter().any(|place| source == Path::new(place));
    let is_socket = source.extension().is_some_and(|end| end == "sock");
    let is_file = || {
        let seen = paths.local(source).and_then(|path| std::fs::metadata(path).ok());
        seen.is_some_and(|seen| !seen.is_dir())
    };
    match is_systems || is_socket || is_file() {
        true => Place::System,
        false => Place::Data,
    }
}
