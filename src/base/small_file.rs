//! Reads small files that people or services put where they are. Something else may stand there: a FIFO is not waited for, a
//! device is not opened, and what has no end is not read to its end.

use std::fs::{File, FileType};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};

/// Enough for whatever a person writes, and for certificates.
pub const MAX: u64 = 1024 * 1024;

/// With these an open waits for nobody.
pub const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// Opens a regular file for reading.
///
/// # Errors
/// The disk's, or that it is something else, and what.
pub fn open(path: &Path) -> io::Result<File> {
    // A device can take notice of being opened; what is put there in between may, too.
    if let Some(what) = other(std::fs::metadata(path)?.file_type()) {
        return Err(not_regular(what));
    }
    regular(File::from(openat(CWD, path, FLAGS, Mode::empty())?))
}

/// Opens a directory.
///
/// # Errors
/// The disk's, or that it is none.
pub fn directory(path: &Path) -> io::Result<File> {
    Ok(File::from(openat(CWD, path, FLAGS | OFlags::DIRECTORY, Mode::empty())?))
}

/// The same file, if it is a regular one.
///
/// # Errors
/// That it is something else, and what.
pub fn regular(file: File) -> io::Result<File> {
    match other(file.metadata()?.file_type()) {
        Some(what) => Err(not_regular(what)),
        None => Ok(file),
    }
}

/// All of it.
///
/// # Errors
/// As [`open`], or that there is more than `max`.
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    whole(open(path)?, max)
}

fn whole(file: File, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // Not by the size that the file states: that may be wrong, and grow.
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let text = format!("it is larger than {max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

/// The same as text.
///
/// # Errors
/// As [`read`], or that it is no UTF-8.
pub fn read_text(path: &Path, max: u64) -> io::Result<String> {
    text(open(path)?, max)
}

/// What is left of a file that is open, as text.
///
/// # Errors
/// The disk's, that there is more than `max`, or that it is no UTF-8.
pub fn text(file: File, max: u64) -> io::Result<String> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8");
    String::from_utf8(whole(file, max)?).map_err(not_text)
}

fn other(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        return None;
    }
    Some(match kind {
        kind if kind.is_dir() => "directory",
        kind if kind.is_fifo() => "FIFO",
        kind if kind.is_socket() => "socket",
        kind if kind.is_char_device() || kind.is_block_device() => "device",
        _ => "thing of another kind",
    })
}

fn not_regular(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("it is a {what}, not a regular file"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_small_regular_files_are_read() {
        let at = std::env::temp_dir().join(format!("leasehold-small-{}", std::process::id()));
        std::fs::create_dir_all(&at).unwrap();
        let file = |name: &str| at.join(name);
        std::fs::write(file("four"), "four").unwrap();
        assert_eq!(read_text(&file("four"), 4).unwrap(), "four");
        std::os::unix::fs::symlink(file("four"), file("link")).unwrap();
        assert_eq!(read(&file("link"), 4).unwrap(), b"four");
        std::fs::write(file("bytes"), [0xff]).unwrap();
        File::create(file("endless")).unwrap().set_len(1 << 40).unwrap();
        rustix::fs::mkfifoat(CWD, file("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(file("socket")).unwrap();
        for (name, word) in [
            ("fifo", "a FIFO"),
            ("socket", "a socket"),
            ("endless", "larger than 1048576"),
            ("bytes", "UTF-8"),
            ("none", "No such file"),
            (".", "a directory"),
            ("/dev/zero", "a device"),
        ] {
            let said = read_text(&file(name), MAX).unwrap_err().to_string();
            assert!(said.contains(word), "{name}: {said}");
        }
        assert!(
            read(&file("four"), 3)
                .unwrap_err()
                .to_string()
                .contains("larger than 3")
        );
        std::fs::remove_dir_all(&at).unwrap();
    }
}
