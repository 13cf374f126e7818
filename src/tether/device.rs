//! `tether device held --wait MS PATH...` and `tether device kind PATH...`: what becomes of block devices, told by the kernel
//! in a helper container that sees the devices and nothing else. Neither mounts or writes anything.
//!
//! A file system holds its device exclusively for as long as it is mounted anywhere on the host, in whatever namespace, and
//! lets go of it only after its last write. So an exclusive open that fails says that it is mounted, and one that succeeds
//! that it is not. `kind` opens without that: beside a mount that is about to be made an exclusive one would be in its way.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use leasehold_base::device::{Hold, Kind};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

/// Between two looks while a device is held.
const PAUSE: Duration = Duration::from_millis(20);

const USAGE: &str = "usage: tether device held --wait MS PATH... | tether device kind PATH...";

/// The form, from the words behind [`FORM`]: a line for each device, in their order.
pub(super) fn main(args: &[OsString]) -> ExitCode {
    let millis = |word: &OsString| word.to_str()?.parse().ok().map(Duration::from_millis);
    let lines: Vec<String> = match args.split_first() {
        Some((form, [flag, wait, paths @ ..])) if form == "held" && flag == "--wait" && !paths.is_empty() => {
            match millis(wait) {
                Some(wait) => held(paths, wait).iter().map(Hold::to_string).collect(),
                None => return fail(USAGE),
            }
        }
        Some((form, paths)) if form == "kind" && !paths.is_empty() => {
            paths.iter().map(|path| kind(path).to_string()).collect()
        }
        Some(_) | None => return fail(USAGE),
    };
    // A reason is one line, whatever it quotes.
    let text: String = lines.iter().map(|line| line.replace('\n', " ") + "\n").collect();
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error.to_string()),
    }
}

fn fail(why: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "leasehold: {why}");
    ExitCode::FAILURE
}

/// Waits until none is held any more, but not for longer than that.
fn held(paths: &[OsString], wait: Duration) -> Vec<Hold> {
    let mut waited = Duration::ZERO;
    loop {
        let found: Vec<Hold> = paths.iter().map(hold).collect();
        if !found.contains(&Hold::Held) || waited >= wait {
            return found;
        }
        thread::sleep(PAUSE);
        waited += PAUSE;
    }
}

fn hold(path: &OsString) -> Hold {
    match open_device(path, OFlags::EXCL) {
        Ok(_) => Hold::Free,
        Err(Fault::Errno(Errno::BUSY)) => Hold::Held,
        // DRBD's word for a device that is secondary here: it lets nobody mount it, nor become so while it is mounted.
        Err(Fault::Errno(Errno::MEDIUMTYPE)) => Hold::Free,
        Err(fault) => Hold::Hidden(fault.to_string()),
    }
}

/// Why a device can't be opened.
enum Fault {
    Errno(Errno),
    NoDevice,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errno(errno) => write!(f, "{errno}"),
            Self::NoDevice => f.write_str("it is no block device"),
        }
    }
}

fn open_device(path: &OsString, more: OFlags) -> Result<File, Fault> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | more;
    let file = File::from(open(path, flags, Mode::empty()).map_err(Fault::Errno)?);
    let is_device = file.metadata().is_ok_and(|found| found.file_type().is_block_device());
    is_device.then_some(file).ok_or(Fault::NoDevice)
}

fn kind(path: &OsString) -> Kind {
    match open_device(path, OFlags::empty()) {
        Ok(file) => kind_of(&file),
        Err(fault) => Kind::Hidden(fault.to_string()),
    }
}

/// Where the superblocks lie, and what is looked at of them.
const EXT_SUPERBLOCK: u64 = 1024;
const EXT_MAGIC: u64 = EXT_SUPERBLOCK + 0x38;
const EXT_INCOMPAT: u64 = EXT_SUPERBLOCK + 0x60;
const EXT_INCOMPAT_MMP: u32 = 0x100;
const EXT_MMP_INTERVAL: u64 = EXT_SUPERBLOCK + 0x166;
const BTRFS_MAGIC: u64 = 0x1_0040;

fn kind_of(file: &File) -> Kind {
    if let Err(error) = read::<2>(file, EXT_MAGIC) {
        return Kind::Hidden(error.to_string());
    }
    if read(file, EXT_MAGIC).is_ok_and(|magic| magic == [0x53, 0xef]) {
        let features = read(file, EXT_INCOMPAT).map_or(0, u32::from_le_bytes);
        let interval = read(file, EXT_MMP_INTERVAL).map_or(0, u16::from_le_bytes);
        let mmp = (features & EXT_INCOMPAT_MMP != 0).then(|| mmp_wait(u64::from(interval)));
        return Kind::Ext { mmp };
    }
    if read(file, 0).is_ok_and(|magic| magic == *b"XFSB") {
        return Kind::Xfs;
    }
    if read(file, BTRFS_MAGIC).is_ok_and(|magic| magic == *b"_BHRfS_M") {
        return Kind::Btrfs;
    }
    Kind::Other
}

fn read<const N: usize>(file: &File, at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// What the kernel waits before it mounts such a file system that was not unmounted: twice, each time two check intervals and
/// a second; a check interval is two update intervals, and 5 s at least.
fn mmp_wait(update: u64) -> Duration {
    let update = if update == 0 { 5 } else { update };
    let check = (update * 2).max(5);
    Duration::from_secs((check * 2 + 1).min(check + 60) * 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_as_it_was_written() {
        for hold in [Hold::Free, Hold::Held, Hold::Hidden("no such device".to_owned())] {
            assert_eq!(hold.to_string().parse(), Ok(hold));
        }
        let mmp = Some(Duration::from_secs(42));
        for kind in [
            Kind::Ext { mmp: None },
            Kind::Ext { mmp },
            Kind::Xfs,
            Kind::Btrfs,
            Kind::Other,
            Kind::Hidden("it is no block device".to_owned()),
        ] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("freed".parse::<Hold>().is_err() && "ext-mmp soon".parse::<Kind>().is_err());
    }

    #[test]
    fn what_is_no_device_proves_nothing() {
        let file = std::env::temp_dir().join(format!("lhdevice{}", std::process::id()));
        std::fs::write(&file, "x").unwrap();
        let path = OsString::from(&file);
        assert!(matches!(hold(&path), Hold::Hidden(why) if why.contains("no block device")));
        assert!(matches!(kind(&path), Kind::Hidden(_)));
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(hold(&path), Hold::Hidden(_)));
    }

    #[test]
    fn superblocks_are_told_apart() {
        let path = std::env::temp_dir().join(format!("lhsuperblock{}", std::process::id()));
        let of = |parts: &[(u64, &[u8])]| {
            let mut image = vec![0; 128 * 1024];
            for (at, bytes) in parts {
                let at = usize::try_from(*at).unwrap();
                image[at..at + bytes.len()].copy_from_slice(bytes);
            }
            std::fs::write(&path, image).unwrap();
            kind_of(&File::open(&path).unwrap())
        };
        let ext: (u64, &[u8]) = (EXT_MAGIC, &[0x53, 0xef]);
        assert_eq!(of(&[]), Kind::Other);
        assert_eq!(of(&[ext, (EXT_INCOMPAT, &[0xc2, 0, 0, 0])]), Kind::Ext { mmp: None });
        let mmp = |seconds| Kind::Ext {
            mmp: Some(Duration::from_secs(seconds)),
        };
        // As measured: 22 s and 45 s.
        assert_eq!(
            of(&[ext, (EXT_INCOMPAT, &[0xc2, 1, 0, 0]), (EXT_MMP_INTERVAL, &[1, 0])]),
            mmp(22)
        );
        assert_eq!(
            of(&[ext, (EXT_INCOMPAT, &[0xc2, 1, 0, 0]), (EXT_MMP_INTERVAL, &[5, 0])]),
            mmp(42)
        );
        assert_eq!(of(&[(0, b"XFSB")]), Kind::Xfs);
        assert_eq!(of(&[(BTRFS_MAGIC, b"_BHRfS_M")]), Kind::Btrfs);
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(kind_of(&File::open(&path).unwrap()), Kind::Hidden(_)));
        std::fs::remove_file(&path).unwrap();
    }
}
