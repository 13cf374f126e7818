//! Puts the tether where containers mount it from, without ever writing to a file that may be running.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Old versions that are left for a way back.
const OLD_MAX: usize = 3;

/// The tether's program, which is shipped beside the sidecar's.
const PROGRAM: &str = "leasehold-tether";

/// Installs the tether that belongs to this sidecar: see [`install_binary`].
///
/// # Errors
/// The disk's, or that there is no such tether, and what to do about it.
pub fn install(directory: &Path) -> io::Result<PathBuf> {
    install_binary(&shipped()?, directory)
}

fn shipped() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(PROGRAM);
    if path.is_file() {
        return Ok(path);
    }
    let text = format!(
        "{} is missing: install it together with leasehold, from the same image or build",
        path.display()
    );
    Err(io::Error::new(io::ErrorKind::NotFound, text))
}

/// Copies the tether to `<directory>/tether-<version>-<sha256>` and renames a link to it to `<directory>/tether`.
///
/// Blocks on the disk. Gives the path of the versioned file.
///
/// # Errors
/// The disk's.
pub fn install_binary(shipped: &Path, directory: &Path) -> io::Result<PathBuf> {
    let sum = sha256(shipped)?;
    let name = format!("tether-{}-{}", env!("CARGO_PKG_VERSION"), sum.get(..12).unwrap_or(&sum));
    let versioned = directory.join(&name);
    fs::create_dir_all(directory)?;
    let whole = File::open(directory)?;
    // Sidecars that share an engine may share the volume, too.
    rustix::fs::flock(&whole, rustix::fs::FlockOperation::LockExclusive)?;
    if !sha256(&versioned).is_ok_and(|there| there == sum) {
        copy(shipped, &versioned)?;
    }
    point_to(directory, &versioned)?;
    whole.sync_all()?;
    prune(directory, &versioned)?;
    Ok(versioned)
}

fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 64 * 1024];
    loop {
        match file.read(&mut block)? {
            0 => break,
            length => hash.update(&block[..length]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let new = to.with_file_name(".tether-copy.new");
    remove_if_there(&new)?;
    let mut target = OpenOptions::new().write(true).create_new(true).open(&new)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    target.flush()?;
    target.set_permissions(Permissions::from_mode(0o755))?;
    target.sync_all()?;
    fs::rename(new, to)
}

/// Renames a hard link into place. When it is the same file already a rename would do nothing and leave the link.
fn point_to(directory: &Path, versioned: &Path) -> io::Result<()> {
    let (current, new) = (directory.join("tether"), directory.join(".tether-link.new"));
    let inode = |path: &Path| fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()));
    if inode(&current).is_ok_and(|there| inode(versioned).is_ok_and(|wanted| there == wanted)) {
        return Ok(());
    }
    remove_if_there(&new)?;
    fs::hard_link(versioned, &new)?;
    fs::rename(new, current)
}

/// Removes old versions but the newest few. A container that runs one keeps its inode.
fn prune(directory: &Path, current: &Path) -> io::Result<()> {
    let mut old = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("tether-") && entry.path() != current {
            old.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    old.sort();
    let surplus = old.len().saturating_sub(OLD_MAX);
    for (_, path) in old.into_iter().take(surplus) {
        remove_if_there(&path)?;
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
