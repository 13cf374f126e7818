//! The file of a claim on the storage.
//!
//! Every read opens it again, because NFS shows an open file its cached attributes. Every write goes in place, within one
//! sector: a rename would need the right to write to the directory, make five new inodes a second, and leave `.nfs` files
//! behind; a torn read is found by the checksum.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};

use super::claim::{CLAIM_BYTES, Claim, Found};
use leasehold_base::small_file;

/// Its name in the root of a protected mount.
pub(super) const CLAIM_FILE: &str = ".leasehold-claim";

/// The claim in the root of one mount.
#[derive(Debug)]
pub(super) struct ClaimFile {
    directory: File,
    path: PathBuf,
}

impl ClaimFile {
    /// In this open directory, which people know as `store`.
    pub(super) fn new(directory: File, store: &Path) -> Self {
        let path = store.join(CLAIM_FILE);
        Self { directory, path }
    }

    /// For people.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What stands there now.
    pub(super) fn read(&self) -> io::Result<Found> {
        let flags = small_file::FLAGS | OFlags::NOFOLLOW;
        let file = match openat(&self.directory, CLAIM_FILE, flags, Mode::empty()) {
            Ok(file) => small_file::regular(File::from(file))?,
            Err(rustix::io::Errno::NOENT) => return Ok(Found::Missing),
            Err(error) => return Err(error.into()),
        };
        let mut bytes = Vec::with_capacity(CLAIM_BYTES + 1);
        file.take(CLAIM_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Found::of(&bytes))
    }

    /// Writes it, on to the disk.
    pub(super) fn write(&self, claim: &Claim) -> io::Result<()> {
        let bytes = claim.encode().ok_or_else(|| {
            let why = "the names of cluster, group, node and services are too long for a claim";
            io::Error::new(io::ErrorKind::InvalidInput, why)
        })?;
        self.put(&bytes)
    }

    /// Makes it, or overwrites it, with nothing: its place on the disk is then taken, and its owner is whoever did that.
    pub(super) fn blank(&self) -> io::Result<()> {
        self.put(&[0; CLAIM_BYTES])
    }

    fn put(&self, bytes: &[u8; CLAIM_BYTES]) -> io::Result<()> {
        let (file, new) = self.open()?;
        let file = small_file::regular(File::from(file))?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()?;
        if new { self.directory.sync_all() } else { Ok(()) }
    }

    fn open(&self) -> io::Result<(OwnedFd, bool)> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        // Not with CREATE at once: the kernel refuses that for another's file in a sticky directory.
        match openat(&self.directory, CLAIM_FILE, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => {
                let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH;
                Ok((openat(&self.directory, CLAIM_FILE, flags | OFlags::CREATE, mode)?, true))
            }
            other => Ok((other?, false)),
        }
    }
}
