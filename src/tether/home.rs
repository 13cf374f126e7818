//! What the sidecar shares with this container: page, lock, socket and notice in one read-only directory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{FlockOperation, flock, fstat};
use rustix::io::pread;

use leasehold_base::hello::Secret;
use leasehold_base::page::{PAGE_BYTES, Page};
use leasehold_base::small_file;
use leasehold_base::watched::{self, Watched};

/// The socket in it, as the container sees it.
pub(super) const SOCKET: &str = "/run/leasehold/socket";

const PAGE: &str = "/run/leasehold/page";
const LOCK: &str = "/run/leasehold/lock";
const SECRET: &str = "/run/leasehold/secret";
const NOTICE: &str = "/run/leasehold/notice";

const WATCHED: &str = "/run/leasehold/watched";

/// A notice is cut off here.
const NOTICE_BYTES_MAX: u64 = 400;

/// The page, kept open: a later read needs neither a path nor a free descriptor.
#[derive(Debug)]
pub(super) struct PageFile(File);

/// What one read of the page gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Page(Page),
    /// A write was under way, or the read failed: what was known before still holds.
    Torn,
    /// The file was deleted.
    Missing,
}

impl PageFile {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self(small_file::open(Path::new(PAGE))?))
    }

    /// Reads the page; allocates nothing.
    pub(super) fn read(&self) -> Reading {
        // Nobody renames a page into place, so a page without a name is a directory that was cleared away.
        if fstat(&self.0).is_ok_and(|stat| stat.st_nlink == 0) {
            return Reading::Missing;
        }
        let mut bytes = [0; PAGE_BYTES];
        match pread(&self.0, &mut bytes, 0) {
            Ok(length) => bytes
                .get(..length)
                .and_then(Page::decode)
                .map_or(Reading::Torn, Reading::Page),
            Err(_) => Reading::Torn,
        }
    }
}

/// Takes the lock that one container of the service holds at a time; `None` when it is taken.
///
/// It is opened for reading because the mount is read-only and the user may have no rights.
pub(super) fn lock() -> io::Result<Option<File>> {
    let lock = small_file::open(Path::new(LOCK))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(lock)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What proves to the sidecar that it was this process which stood at the gate; zeros when it is not laid out.
pub(super) fn secret() -> Secret {
    let mut secret = Secret::default();
    let read = small_file::open(Path::new(SECRET)).and_then(|mut file| file.read_exact(&mut secret));
    read.map_or(Secret::default(), |()| secret)
}

/// The claims that this host has watched; none where nothing is laid out.
pub(super) fn watched() -> Vec<Watched> {
    let text = small_file::read_text(Path::new(WATCHED), watched::BYTES_MAX);
    text.map_or_else(|_| Vec::new(), |text| watched::read(&text).collect())
}

/// The line that names the leader and the command to use.
pub(super) fn notice() -> Option<String> {
    let mut bytes = Vec::new();
    small_file::open(Path::new(NOTICE))
        .ok()?
        .take(NOTICE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line: String = text
        .lines()
        .next()?
        .chars()
        .filter(|letter| !letter.is_control())
        .collect();
    (!line.is_empty()).then_some(line)
}
