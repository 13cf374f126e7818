//! `tether probe-storage FLOOR PATH`: writes a small file onto a mount of the service, reads it back, takes it away again,
//! and looks whether less than FLOOR percent of the storage is free.
//!
//! The sidecar starts it in the container, as `docker exec` would, so that with storage that hangs nobody hangs but this
//! process. It takes no claim and kills nothing. Its exit code is a [`Verdict`], its output the sentence to it.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use leasehold_base::storage_probe::{FORM, Verdict};
use rustix::fs::{Advice, AtFlags, Mode, OFlags, fadvise, fstatvfs, openat, unlinkat};
use rustix::io::Errno;

use leasehold_base::small_file;

/// Its name in the root of the mount, while it is there.
pub(super) const PROBE_FILE: &str = ".leasehold-probe";

/// As large as a small message. It is made anew each time: one that keeps its place would not notice a full disk.
const PROBE_BYTES: usize = 64 * 1024;

/// The form, from the words behind [`FORM`].
pub(super) fn main(args: &[OsString]) -> ExitCode {
    let floor = |word: &OsString| word.to_str()?.parse().ok();
    let wanted = match args {
        [percent, path] if Path::new(path).is_absolute() => floor(percent).map(|floor: u64| (floor, path)),
        _ => None,
    };
    let (verdict, said) = match wanted {
        Some((floor, path)) => {
            if is_under_way(Path::new("/proc"), path) {
                let why = "the last check has not ended yet".to_owned();
                (Verdict::Unended, why)
            } else {
                let path = Path::new(path);
                let done = check(path).and_then(|()| little_left(path, floor));
                match done {
                    Ok(None) => (Verdict::Well, String::new()),
                    Ok(Some(left)) => (Verdict::Tight, left),
                    Err(error) => judge(path, &error),
                }
            }
        }
        None => (Verdict::Refused, format!("usage: tether {FORM} FLOOR PATH")),
    };
    // Whoever does not listen any more has stopped waiting.
    let _ = io::stdout().write_all(said.as_bytes());
    ExitCode::from(verdict as u8)
}

/// Whether another process of this form is at the same mount. The sidecar remembers the one that it started, but not
/// beyond its own restart.
fn is_under_way(proc: &Path, path: &OsStr) -> bool {
    let own = std::process::id();
    let is_same = |line: &[u8]| {
        let mut words = line.strip_suffix(b"\0").unwrap_or(line).rsplit(|byte| *byte == 0);
        words.next() == Some(path.as_bytes()) && words.nth(1) == Some(FORM.as_bytes())
    };
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    let numbered = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbered
        .filter(|process| *process != own)
        .filter_map(|process| fs::read(proc.join(process.to_string()).join("cmdline")).ok())
        .any(|line| is_same(&line))
}

fn check(path: &Path) -> io::Result<()> {
    let directory = small_file::directory(path)?;
    // What a process that was killed left behind.
    let _ = unlinkat(&directory, PROBE_FILE, AtFlags::empty());
    let done = write_and_read(&directory);
    // Where it failed, its place on the disk is needed by others all the more.
    let removed = unlinkat(&directory, PROBE_FILE, AtFlags::empty());
    done.and(removed.map_err(io::Error::from))
}

fn write_and_read(directory: &File) -> io::Result<()> {
    let mut written = vec![0; PROBE_BYTES];
    getrandom::fill(&mut written).map_err(io::Error::other)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, PROBE_FILE, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(&written)?;
    file.sync_all()?;
    // Otherwise it would be read back from memory.
    let _ = fadvise(&file, 0, None, Advice::DontNeed);
    drop(file);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(openat(directory, PROBE_FILE, flags, Mode::empty())?);
    let mut read = Vec::with_capacity(PROBE_BYTES);
    file.take(PROBE_BYTES as u64 + 1).read_to_end(&mut read)?;
    if read == written {
        Ok(())
    } else {
        Err(io::Error::other("other bytes come back than were written"))
    }
}

/// What to say where less than `floor` percent of the space or of the inodes is free. A file system that counts no inodes
/// has enough of them.
fn little_left(path: &Path, floor: u64) -> io::Result<Option<String>> {
    let room = fstatvfs(small_file::directory(path)?)?;
    let kinds = [
        ("", room.f_bavail, room.f_blocks),
        ("the inodes of ", room.f_favail, room.f_files),
    ];
    let percents = kinds.map(|(of, free, all)| (of, free.saturating_mul(100).checked_div(all)));
    let tight = percents
        .into_iter()
        .find_map(|(of, percent)| Some((of, percent.filter(|percent| *percent < floor)?)));
    Ok(tight.map(|(of, percent)| format!("{percent} % of {of}the storage at {} is free", path.display())))
}

fn judge(path: &Path, error: &io::Error) -> (Verdict, String) {
    let at = format!("the storage at {}", path.display());
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => (Verdict::Shared, format!("{at} is full")),
        Some(Errno::ACCESS | Errno::PERM) => (
            Verdict::Shared,
            format!("{at} may not be written by the user of the container"),
        ),
        Some(Errno::ROFS) => (Verdict::Refused, format!("{at} is read-only")),
        Some(_) | None => (Verdict::Refused, format!("{at}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("leasehold-probe-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn what_was_written_is_gone_afterwards_and_so_is_what_was_left() {
        let at = place("good");
        fs::write(at.join(PROBE_FILE), "of one that was killed").unwrap();
        check(&at).unwrap();
        assert_eq!(fs::read_dir(&at).unwrap().count(), 0);
        fs::remove_dir(&at).unwrap();
        let error = check(&at).unwrap_err();
        let (verdict, said) = judge(&at, &error);
        assert_eq!(verdict, Verdict::Refused);
        assert!(said.contains("No such file"), "{said}");
    }

    #[test]
    fn what_every_host_would_meet_is_told_apart() {
        for (errno, verdict, words) in [
            (Errno::NOSPC, Verdict::Shared, "the storage at /mail is full"),
            (Errno::DQUOT, Verdict::Shared, "the storage at /mail is full"),
            (Errno::ACCESS, Verdict::Shared, "by the user of the container"),
            (Errno::ROFS, Verdict::Refused, "the storage at /mail is read-only"),
            (Errno::IO, Verdict::Refused, "the storage at /mail: Input/output error"),
        ] {
            let (judged, said) = judge(Path::new("/mail"), &errno.into());
            assert!(judged == verdict && said.contains(words), "{judged:?}: {said}");
        }
        for verdict in [
            Verdict::Well,
            Verdict::Refused,
            Verdict::Tight,
            Verdict::Unended,
            Verdict::Shared,
        ] {
            assert_eq!(Verdict::of(verdict as i64), Some(verdict));
        }
        assert_eq!(Verdict::of(200), None);
    }

    #[test]
    fn little_room_is_told_before_there_is_none() {
        let at = place("room");
        assert_eq!(little_left(&at, 0).unwrap(), None);
        let said = little_left(&at, 101).unwrap().unwrap();
        let words = format!(" % of the storage at {} is free", at.display());
        assert!(said.ends_with(&words), "{said}");
        fs::remove_dir(&at).unwrap();
    }

    #[test]
    fn another_one_at_the_same_mount_is_seen() {
        let proc = place("proc");
        let of = |process: &str, line: &str| {
            fs::create_dir_all(proc.join(process)).unwrap();
            fs::write(proc.join(process).join("cmdline"), line).unwrap();
        };
        let seen = |path: &str| is_under_way(&proc, OsStr::new(path));
        of("1", "/leasehold/tether\0--service\0s\0");
        of(
            &std::process::id().to_string(),
            "/leasehold/tether\0probe-storage\x0010\0/a\0",
        );
        of("self", "/leasehold/tether\0probe-storage\x0010\0/a\0");
        assert!(!seen("/a"));
        of("7", "/leasehold/tether\0probe-storage\x0010\0/a\0");
        assert!(seen("/a") && !seen("/b") && !seen("/"));
        fs::remove_dir_all(&proc).unwrap();
    }
}
