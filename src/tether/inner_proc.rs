//! A `/proc` for the inner namespace. The one that the engine mounted numbers processes as PID 1 of the container sees them:
//! a program down there that looks for another one by name would signal a wrong one.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};

use leasehold_base::small_file;

const PROC: &str = "/proc";
/// A container has some dozens of mounts.
const MOUNTS_MAX: u64 = 1024 * 1024;

/// Mounts it, in a mount namespace of this process's own; false where a security module does not let it.
///
/// An engine covers what of `/proc` is the whole host's: some of it is hidden, some can't be written. The new one is covered
/// by the same mounts, or nothing starts: else the service could write the host's `sysrq-trigger`.
pub(super) fn show() -> io::Result<bool> {
    let mounts = small_file::read_text(Path::new("/proc/self/mountinfo"), MOUNTS_MAX)?;
    let covers = covers(&mounts).ok_or_else(|| io::Error::other("a mount below /proc has a strange name"))?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    // By descriptor: their paths are below the new mount in a moment.
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let held = covers
        .into_iter()
        .map(|path| openat(CWD, &path, flags, Mode::empty()).map(|held| (path, held)))
        .collect::<Result<Vec<_>, _>>()?;
    // Nothing of it goes back to the container's own namespace.
    let tried = mount_change(PROC, MountPropagationFlags::PRIVATE).and_then(|()| {
        mount(
            "proc",
            PROC,
            "proc",
            MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
            None,
        )
    });
    match tried {
        Ok(()) => {}
        Err(Errno::ACCESS | Errno::PERM) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    for (path, held) in &held {
        mount_bind(format!("/proc/self/fd/{}", held.as_raw_fd()), path)
            .map_err(|error| io::Error::other(format!("{} can't be covered again: {error}", path.display())))?;
    }
    Ok(true)
}

/// The places below `/proc` that other mounts cover, the lower ones of each first. None for one that can't be read.
fn covers(mounts: &str) -> Option<Vec<PathBuf>> {
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let below = places.filter(|place| place.starts_with("/proc/"));
    let plain = |place: &str| (!place.contains('\\')).then(|| PathBuf::from(place));
    let mut all = below.map(plain).collect::<Option<Vec<_>>>()?;
    all.sort();
    all.dedup();
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_covers_is_known() {
        let mounts = "22 28 0:21 / /proc rw,nosuid - proc proc rw\n\
                      30 22 0:21 /sys /proc/sys ro,nosuid - proc proc rw\n\
                      31 22 0:5 /null /proc/kcore rw - devtmpfs dev rw\n\
                      32 31 0:5 /null /proc/kcore rw - devtmpfs dev rw\n\
                      33 28 0:9 / /procession rw - tmpfs x rw\n";
        let found = covers(mounts).unwrap();
        assert_eq!(found, [Path::new("/proc/kcore"), Path::new("/proc/sys")]);
        assert_eq!(covers("1 2 0:1 / /proc/a\\040b rw - tmpfs x rw"), None);
        assert_eq!(covers(""), Some(Vec::new()));
    }
}
