//! Protected mounts: marked by `tether store show|init` in a helper container, looked at by `tether store look` on standbys,
//! checked before every start, synced at the end.

use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::fs::{Access, FsWord, NFS_SUPER_MAGIC, access, fstatfs};

use super::args;
use super::beat::LOOK;
use super::claim::{Found, Place, State, by_file_system};
use super::claim_file::{CLAIM_FILE, ClaimFile};
use super::storage_probe::PROBE_FILE;
use leasehold_base::clock;
use leasehold_base::small_file;
use leasehold_base::watched::{WATCH, Watched};

/// The file in the root of a protected mount that holds its store id.
const STORE_FILE: &str = ".leasehold-store";

/// Names shown of each mount, and entries counted.
const NAMES_MAX: usize = 5;
const ENTRIES_MAX: usize = 10_000;

/// A store id is no longer than this.
const ID_BYTES_MAX: u64 = 128;

/// A claim that stands still for this long has no host that beats on it: five beats.
const CLAIM_WATCH: Duration = Duration::from_secs(1);

/// Storage that takes longer for one file does not answer.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// File systems of servers, by the numbers of `linux/magic.h`: NFS, CIFS, SMB 2, Ceph, FUSE, 9P, AFS.
const REMOTE: [FsWord; 7] = [
    NFS_SUPER_MAGIC,
    0xFF53_4D42,
    0xFE53_4D42,
    0x00C3_6400,
    0x6573_5546,
    0x0102_1997,
    0x5346_414F,
];

/// What is refused to root on storage that is not read-only.
pub(super) const SQUASHED: &str =
    "root is nobody there: export it with `no_root_squash`, or let the service run as a user who owns the directory";

const USAGE: &str = "usage: tether store show PATH... | tether store init --id ID [--adopt] PATH... | tether store look --id ID PATH... | tether store watch --id ID PATH...";

/// The sub-form, from the words after `store`. Never kills anything.
pub(super) fn main(args: &[OsString]) -> ExitCode {
    let result = match args.split_first() {
        Some((form, paths)) if form == "show" && !paths.is_empty() => {
            paths.iter().try_for_each(|path| show(path.as_ref()))
        }
        Some((form, [flag, id, paths @ ..])) if form == "look" && flag == "--id" && !paths.is_empty() => {
            look(paths, &id.to_string_lossy(), LOOK_MAX)
        }
        Some((form, [flag, id, paths @ ..])) if form == "watch" && flag == "--id" && !paths.is_empty() => {
            watch(paths, &id.to_string_lossy())
        }
        Some((form, rest)) if form == "init" => match rest {
            [flag, id, adopt, paths @ ..] if flag == "--id" && adopt == "--adopt" && !paths.is_empty() => {
                init_all(paths, id.as_bytes(), true)
            }
            [flag, id, paths @ ..] if flag == "--id" && !paths.is_empty() => init_all(paths, id.as_bytes(), false),
            _ => Err(io::Error::other(USAGE)),
        },
        Some(_) | None => Err(io::Error::other(USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let squashed = error.kind() == io::ErrorKind::PermissionDenied && rustix::process::geteuid().is_root();
            let remedy = if squashed {
                format!("; {SQUASHED}")
            } else {
                String::new()
            };
            let _ = writeln!(io::stderr(), "leasehold: {error}{remedy}");
            ExitCode::FAILURE
        }
    }
}

/// Opens the mount of a store, if it has the id that it must have; else says what is wrong.
///
/// An empty directory that Docker made because the real storage was not there has none.
pub(super) fn open(store: &args::Store) -> Result<File, String> {
    let fault = |what: &dyn fmt::Display| format!("storage at {}: {what}", store.path.display());
    match store_id(&store.path) {
        Ok(Some(id)) if id == store.id => small_file::directory(&store.path).map_err(|error| fault(&error)),
        Ok(Some(id)) => Err(fault(&format_args!("it is store {id:?}, not {:?}", store.id))),
        Ok(None) => Err(fault(&"it has no store id: not mounted, or never initialised")),
        Err(error) => Err(fault(&error)),
    }
}

/// Those that another host may write to meanwhile, while this one's kernel still has something to write: an end of the lease
/// waits for them. A disk of this host alone is proved by its unmount, and a cluster's file system keeps its hosts in order.
pub(super) fn remote(stores: &[File]) -> io::Result<Vec<File>> {
    let mut remote = Vec::new();
    for store in stores {
        if REMOTE.contains(&fstatfs(store)?.f_type) {
            remote.push(store.try_clone()?);
        }
    }
    Ok(remote)
}

/// One line of `/proc/self/mountinfo`, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    root: String,
    source: String,
    fstype: String,
}

fn show(path: &Path) -> io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        let what =
            "is a file or a socket, and only a directory can be storage: mount it read-only, or mount its directory";
        return Err(io::Error::other(format!("{} {what}", path.display())));
    }
    let mount = find_mount(&fs::read("/proc/self/mountinfo")?, &fs::canonicalize(path)?);
    let (names, count) = entries(path)?;
    let mut line = String::from("{\"path\":");
    push_text(&mut line, &path.to_string_lossy());
    let _ = write!(line, ",\"mounted\":{}", mount.is_some());
    push_field(&mut line, "source", mount.as_ref().map(|mount| mount.source.as_str()));
    push_field(&mut line, "root", mount.as_ref().map(|mount| mount.root.as_str()));
    push_field(&mut line, "fstype", mount.as_ref().map(|mount| mount.fstype.as_str()));
    line.push_str(",\"entries\":[");
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            line.push(',');
        }
        push_text(&mut line, name);
    }
    let _ = write!(line, "],\"count\":{count}");
    push_field(&mut line, "store_id", store_id(path)?.as_deref());
    let (claim, held) = match ClaimFile::new(small_file::directory(path)?, path).read()? {
        Found::Claim(claim) => (Some(claim.owner.describe()), claim.state != State::Released),
        Found::Damaged(_) => (Some("damaged".to_owned()), true),
        Found::Missing | Found::Blank => (None, false),
    };
    push_field(&mut line, "claim", claim.as_deref());
    let _ = write!(line, ",\"held\":{held}");
    let _ = write!(line, ",\"writable\":{}", access(path, Access::WRITE_OK).is_ok());
    line.push_str("}\n");
    io::stdout().write_all(line.as_bytes())
}

/// Whether each path carries the store id. One that hangs is told, and left to end with this process.
fn look(paths: &[OsString], id: &str, limit: Duration) -> io::Result<()> {
    for path in paths {
        let store = args::Store {
            id: id.to_owned(),
            path: path.into(),
        };
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(open(&store).map(drop)));
        match told.recv_timeout(limit) {
            Ok(found) => found.map_err(io::Error::other)?,
            Err(_) => {
                let path = path.to_string_lossy();
                return Err(io::Error::other(format!(
                    "storage at {path}: no answer within {limit:?}"
                )));
            }
        }
    }
    Ok(())
}

/// Tells which claims stand still for two beats, and since when. A mount that is not what it must be tells nothing: the start
/// itself says what is wrong with it.
fn watch(paths: &[OsString], id: &str) -> io::Result<()> {
    let mut standing = Vec::new();
    for path in paths.iter().map(Path::new) {
        let store = args::Store {
            id: id.to_owned(),
            path: path.to_owned(),
        };
        let Ok(directory) = open(&store) else { continue };
        let file = ClaimFile::new(directory, path);
        let sum = file.read().ok().and_then(|found| found.sum());
        // Not before it was read: it may have been written up to then.
        let since = clock::now();
        standing.extend(sum.map(|sum| (file, sum, since)));
    }
    let last = clock::now();
    while !standing.is_empty() && clock::now().waited(last) < WATCH {
        thread::sleep(LOOK);
        standing.retain(|(file, sum, _)| file.read().is_ok_and(|found| found.sum() == Some(*sum)));
    }
    for (file, sum, since) in standing {
        let path = file.path().to_owned();
        let since = since.awake();
        io::stdout().write_all(Watched { path, sum, since }.line().as_bytes())?;
    }
    Ok(())
}

fn init_all(paths: &[OsString], id: &[u8], adopt: bool) -> io::Result<()> {
    let paths: Vec<&Path> = paths.iter().map(Path::new).collect();
    // First of all: where another host writes nothing may be changed.
    let files = claim_files(&paths)?;
    if adopt {
        files.iter().flatten().try_for_each(clear)?;
    }
    paths.iter().try_for_each(|path| init(path, id))?;
    // Made here, by the user of the service, the first beat of its life needs neither space nor the right to write to
    // the directory.
    for file in files.iter().filter_map(|mounts| mounts.first()) {
        if file.read()? == Found::Missing {
            file.blank()?;
        }
    }
    Ok(())
}

/// For each file system the places where a claim may be, that of the claim first.
fn claim_files(paths: &[&Path]) -> io::Result<Vec<Vec<ClaimFile>>> {
    let places = paths
        .iter()
        .map(|path| fs::metadata(path).map(|found| (found.dev(), found.ino())));
    let places: Vec<Place> = places.collect::<Result<_, _>>()?;
    let open = |index: &usize| {
        paths
            .get(*index)
            .map(|path| Ok(ClaimFile::new(small_file::directory(path)?, path)))
    };
    let mounts = by_file_system(&places);
    mounts
        .iter()
        .map(|mounts| mounts.iter().filter_map(open).collect())
        .collect()
}

/// Blanks an old claim, unless a host beats on it. A holder that wakes up later finds the next one's, and kills itself.
fn clear(file: &ClaimFile) -> io::Result<()> {
    let found = file.read()?;
    if matches!(found, Found::Missing | Found::Blank) {
        return Ok(());
    }
    thread::sleep(CLAIM_WATCH);
    match file.read()? {
        now if now == found => file.blank(),
        Found::Claim(claim) => Err(io::Error::other(format!(
            "{}: {} writes to it now: stop it there first",
            file.path().display(),
            claim.owner.describe()
        ))),
        Found::Missing | Found::Blank | Found::Damaged(_) => Err(io::Error::other(format!(
            "{}: a host writes to it now: stop it there first",
            file.path().display()
        ))),
    }
}

fn init(path: &Path, id: &[u8]) -> io::Result<()> {
    let fault = |what: String| io::Error::other(format!("{}: {what}", path.display()));
    let id = std::str::from_utf8(id).map_err(|_| fault("the id is not text".to_owned()))?;
    if id.is_empty()
        || id.len() as u64 >= ID_BYTES_MAX
        || id
            .chars()
            .any(|letter| letter.is_control() || [' ', '='].contains(&letter))
    {
        return Err(fault("the id must be one short word".to_owned()));
    }
    if find_mount(&fs::read("/proc/self/mountinfo")?, &fs::canonicalize(path)?).is_none() {
        return Err(fault(
            "not a mount point: what is written here would be lost with the container".to_owned(),
        ));
    }
    let name = path.join(STORE_FILE);
    match OpenOptions::new().write(true).create_new(true).open(&name) {
        Ok(mut file) => {
            file.write_all(format!("{id}\n").as_bytes())?;
            file.sync_all()?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = store_id(path)?.unwrap_or_default();
            if found != id {
                return Err(fault(format!("already initialised as store {found:?}")));
            }
            small_file::open(&name)?.sync_all()?;
        }
        Err(error) => return Err(io::Error::new(error.kind(), fault(error.to_string()))),
    }
    small_file::directory(path)?.sync_all()
}

/// The store id in a mount; `None` without one.
fn store_id(path: &Path) -> io::Result<Option<String>> {
    match small_file::read_text(&path.join(STORE_FILE), ID_BYTES_MAX) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(error.kind(), format!("{STORE_FILE}: {error}"))),
    }
}

/// The first names, sorted, and the count of all entries but our own.
fn entries(path: &Path) -> io::Result<(Vec<String>, usize)> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)?.take(ENTRIES_MAX) {
        let name = entry?.file_name();
        if name != STORE_FILE && name != CLAIM_FILE && name != PROBE_FILE {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    let count = names.len();
    names.sort();
    names.truncate(NAMES_MAX);
    Ok((names, count))
}

/// The topmost mount at exactly this path.
fn find_mount(mountinfo: &[u8], path: &Path) -> Option<Mount> {
    let lines = mountinfo.split(|byte| *byte == b'\n').rev();
    lines
        .filter_map(parse_mount)
        .find(|(at, _)| at == path)
        .map(|(_, mount)| mount)
}

/// `36 35 98:0 /root /at rw,noatime master:1 - ext3 /dev/root rw`, with any count of fields before the dash.
fn parse_mount(line: &[u8]) -> Option<(PathBuf, Mount)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = fields.nth(3)?;
    let at = fields.next()?;
    let mut after = fields.skip_while(|field| *field != b"-").skip(1);
    let text = |field: &[u8]| String::from_utf8_lossy(&unescape(field)).into_owned();
    let fstype = text(after.next()?);
    let source = text(after.next()?);
    let mount = Mount {
        root: text(root),
        source,
        fstype,
    };
    Some((PathBuf::from(OsString::from_vec(unescape(at))), mount))
}

/// The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        match octal {
            Some(byte) if *first == b'\\' => {
                plain.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            Some(_) | None => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

fn push_field(line: &mut String, name: &str, value: Option<&str>) {
    let _ = write!(line, ",\"{name}\":");
    match value {
        Some(value) => push_text(line, value),
        None => line.push_str("null"),
    }
}

/// A JSON string.
fn push_text(line: &mut String, text: &str) {
    line.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => line.extend(['\\', letter]),
            letter if u32::from(letter) < 0x20 => {
                let _ = write!(line, "\\u{:04x}", u32::from(letter));
            }
            letter => line.push(letter),
        }
    }
    line.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &[u8] = b"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        30 21 0:40 / /var/md\\040store rw,relatime shared:1 master:2 - nfs4 nas:/mail rw,vers=4.2\n\
        31 21 0:41 /sub /etc/md rw - xfs /dev/sdb rw\n\
        32 21 0:42 / /etc/md rw - tmpfs none rw\n";

    #[test]
    fn a_mount_is_found_by_its_exact_path() {
        let mount = find_mount(MOUNTINFO, Path::new("/var/md store")).unwrap();
        assert_eq!((mount.source.as_str(), mount.fstype.as_str()), ("nas:/mail", "nfs4"));
        assert_eq!(find_mount(MOUNTINFO, Path::new("/etc/md")).unwrap().fstype, "tmpfs");
        assert_eq!(find_mount(MOUNTINFO, Path::new("/etc")), None);
        assert_eq!(find_mount(b"garbage\n\n", Path::new("/etc")), None);
    }

    #[test]
    fn text_is_quoted_for_json() {
        let mut line = String::new();
        push_text(&mut line, "a\"b\\c\nd\u{e9}");
        assert_eq!(line, "\"a\\\"b\\\\c\\u000ad\u{e9}\"");
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), "a\"b\\c\nd\u{e9}");
    }
}
