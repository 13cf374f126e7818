//! The file of a claim on the storage.
//!
//! Every read opens it again and goes past the cache of pages: an NFS client keeps a page for as long as times and size of the
//! file look the same to it, and with `nocto` or a server whose times are coarse they do while another host beats.
//!
//! Every write goes in place, within one sector: a rename would need the right to write to the directory, make five new inodes a
//! second, and leave `.nfs` files behind; a torn read is found by the checksum.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, Mode, NFS_SUPER_MAGIC, OFlags, fadvise, fstatfs, openat};

use super::claim::{CLAIM_BYTES, Claim, Found};
use leasehold_base::small_file;

/// Its name in the root of a protected mount.
pub(super) const CLAIM_FILE: &str = ".leasehold-claim";

const WRITE: OFlags = OFlags::WRONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK);
const MODE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP).union(Mode::ROTH);

/// The claim in the root of one mount.
#[derive(Debug)]
pub(super) struct ClaimFile {
    directory: File,
    path: PathBuf,
    /// More flags for a read: NFS takes any buffer for a direct one, which no cache answers.
    direct: OFlags,
}

impl ClaimFile {
    /// In this open directory, which people know as `store`.
    pub(super) fn new(directory: File, store: &Path) -> Self {
        let path = store.join(CLAIM_FILE);
        let on_nfs = fstatfs(&directory).is_ok_and(|found| found.f_type == NFS_SUPER_MAGIC);
        let direct = if on_nfs { OFlags::DIRECT } else { OFlags::empty() };
        Self {
            directory,
            path,
            direct,
        }
    }

    /// For people.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What stands there now.
    pub(super) fn read(&self) -> io::Result<Found> {
        let flags = small_file::FLAGS | OFlags::NOFOLLOW | self.direct;
        let file = match openat(&self.directory, CLAIM_FILE, flags, Mode::empty()) {
            Ok(file) => small_file::regular(File::from(file))?,
            Err(rustix::io::Errno::NOENT) => return Ok(Found::Missing),
            Err(error) => return Err(error.into()),
        };
        // Other file systems may keep it in memory as well.
        let _ = fadvise(&file, 0, None, Advice::DontNeed);
        let mut bytes = Vec::with_capacity(CLAIM_BYTES + 1);
        file.take(CLAIM_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Found::of(&bytes))
    }

    /// Writes it, on to the disk.
    pub(super) fn write(&self, claim: &Claim) -> io::Result<()> {
        self.put(&encoded(claim)?)
    }

    /// Makes it with this claim; false if it is there by now, or was all the time: a client of NFS remembers for a minute that
    /// there was none.
    pub(super) fn create(&self, claim: &Claim) -> io::Result<bool> {
        let bytes = encoded(claim)?;
        match openat(&self.directory, CLAIM_FILE, WRITE | OFlags::CREATE | OFlags::EXCL, MODE) {
            Ok(file) => self.fill(file, &bytes, true).map(|()| true),
            Err(rustix::io::Errno::EXIST) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes it, or overwrites it, with nothing: its place on the disk is then taken, and its owner is whoever did that.
    pub(super) fn blank(&self) -> io::Result<()> {
        self.put(&[0; CLAIM_BYTES])
    }

    fn put(&self, bytes: &[u8; CLAIM_BYTES]) -> io::Result<()> {
        let (file, new) = self.open()?;
        self.fill(file, bytes, new)
    }

    fn fill(&self, file: OwnedFd, bytes: &[u8; CLAIM_BYTES], new: bool) -> io::Result<()> {
        let file = small_file::regular(File::from(file))?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()?;
        if new { self.directory.sync_all() } else { Ok(()) }
    }

    fn open(&self) -> io::Result<(OwnedFd, bool)> {
        // Not with CREATE at once: the kernel refuses that for another's file in a sticky directory.
        match openat(&self.directory, CLAIM_FILE, WRITE, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => {
                Ok((openat(&self.directory, CLAIM_FILE, WRITE | OFlags::CREATE, MODE)?, true))
            }
            other => Ok((other?, false)),
        }
    }
}

fn encoded(claim: &Claim) -> io::Result<[u8; CLAIM_BYTES]> {
    claim.encode().ok_or_else(|| {
        let why = "the names of cluster, group, node and services are too long for a claim";
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })
}
