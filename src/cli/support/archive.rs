//! The archive: a plain tar, which every host can unpack. No crate of the program compresses.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use tar::{Builder, Header};

use leasehold_base::clock;

/// All files lie in it.
const FOLDER: &str = "leasehold-support";

/// Files that are put together in memory.
pub(super) struct Archive {
    builder: Builder<Vec<u8>>,
    at: u64,
}

impl Archive {
    pub(super) fn new() -> Self {
        let at = u64::try_from(clock::wall_seconds()).unwrap_or(0);
        let builder = Builder::new(Vec::new());
        Self { builder, at }
    }

    /// One more file, by its name below the archive's folder.
    ///
    /// # Errors
    /// The name is too long for the format.
    pub(super) fn add(&mut self, name: &str, text: &str) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(self.at);
        self.builder
            .append_data(&mut header, format!("{FOLDER}/{name}"), text.as_bytes())
    }

    /// The whole of it.
    ///
    /// # Errors
    /// Never in practice: it is in memory.
    pub(super) fn end(self) -> io::Result<Vec<u8>> {
        self.builder.into_inner()
    }
}

/// Replaces the file whole; only its owner may read it.
///
/// # Errors
/// The disk's.
pub(super) fn to_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = Path::new(&next);
    // What an earlier one left; where it can't be removed the next line says so.
    let _ = std::fs::remove_file(next);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(next)?;
    file.write_all(bytes)?;
    std::fs::rename(next, path)
}

/// As it is.
///
/// # Errors
/// Nobody reads it.
pub(super) fn to_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
