//! The files of one protected service on the host's tmpfs.
//!
//! Page and lock are written in place and never replaced: a running container has them open.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

use leasehold_base::epoch::Run;
use leasehold_base::hello::Secret;
use leasehold_base::page::{Order, PAGE_BYTES, Page};
use leasehold_base::small_file;
use leasehold_base::time::Time;

/// What a tether at its gate reads, and nobody after it.
const SECRET: &str = "secret";

/// Run and secret.
const OWN_COPY_MAX: u64 = 64;

/// Connections that the kernel keeps for us between two accepts.
const BACKLOG: i32 = 16;

/// The open page, and where the notice goes.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
    page: File,
}

impl Files {
    /// Creates what is missing. Without `adopt`, or when the page is damaged or of another boot, it says closed afterwards.
    pub(super) fn open(directory: &Path, boot_id: [u8; 16], adopt: bool) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        // Before anything is laid out: the container sees the directory itself, as any user; the host's users pass no
        // directory above it.
        if let Some(above) = directory.parent() {
            fs::set_permissions(above, Permissions::from_mode(0o700))?;
        }
        fs::set_permissions(directory, Permissions::from_mode(0o755))?;
        // Anew: who opened the file while it could be reached (earlier versions let everybody) has the old one.
        match fs::remove_file(directory.join(SECRET)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        keep(&directory.join("lock"))?;
        let files = Self {
            directory: directory.to_owned(),
            page: keep(&directory.join("page"))?,
        };
        let usable = |page: Page| page.boot_id == boot_id;
        files.take_away()?;
        if !adopt || !files.read_page()?.is_some_and(usable) {
            files.write_page(&closed(boot_id))?;
        }
        Ok(files)
    }

    pub(super) fn read_page(&self) -> io::Result<Option<Page>> {
        let mut bytes = [0; PAGE_BYTES];
        let length = self.page.read_at(&mut bytes, 0)?;
        Ok(bytes.get(..length).and_then(Page::decode))
    }

    pub(super) fn write_page(&self, page: &Page) -> io::Result<()> {
        let length = self.page.write_at(&page.encode(), 0)?;
        if length == PAGE_BYTES {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Lays out a new secret for a run, for its tether to read at the gate. A copy that no container can see outlives
    /// this process.
    pub(super) fn lay_out(&self, run: Run) -> io::Result<Secret> {
        let mut secret = Secret::default();
        getrandom::fill(&mut secret).map_err(io::Error::other)?;
        let own = self.own_copy();
        let new = own.with_extension("secret-new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&[&run.epoch.to_le_bytes()[..], &run.n.to_le_bytes(), &secret].concat())?;
        fs::rename(new, own)?;
        keep(&self.directory.join(SECRET))?.write_all_at(&secret, 0)?;
        Ok(secret)
    }

    /// The secret of a run that an earlier process laid out.
    pub(super) fn secret_of(&self, run: Run) -> Option<Secret> {
        let bytes = small_file::read(&self.own_copy(), OWN_COPY_MAX).ok()?;
        let run = [&run.epoch.to_le_bytes()[..], &run.n.to_le_bytes()].concat();
        bytes.strip_prefix(&run[..])?.try_into().ok()
    }

    /// Overwrites what was laid out: from here on nobody else learns it.
    pub(super) fn take_away(&self) -> io::Result<()> {
        keep(&self.directory.join(SECRET))?.write_all_at(&Secret::default(), 0)
    }

    /// Beside the directory, which the container sees.
    fn own_copy(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.directory.file_name().unwrap_or_default());
        name.push(".secret");
        self.directory.with_file_name(name)
    }

    /// Renamed into place: a reader sees the old line or the new one.
    pub(super) fn write_notice(&self, line: &str) -> io::Result<()> {
        let new = self.directory.join("notice.new");
        fs::write(&new, format!("{line}\n"))?;
        fs::set_permissions(&new, Permissions::from_mode(0o644))?;
        fs::rename(new, self.directory.join("notice"))
    }

    /// A listening socket, renamed over that of an earlier sidecar.
    pub(super) fn listen(&self) -> io::Result<OwnedFd> {
        let new = self.directory.join("socket.new");
        match fs::remove_file(&new) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        // By descriptor: the path of the directory may be longer than a socket's name may be.
        let directory = File::open(&self.directory)?;
        let name = format!("/proc/self/fd/{}/socket.new", directory.as_raw_fd());
        bind(&socket, &SocketAddrUnix::new(name)?)?;
        fs::set_permissions(&new, Permissions::from_mode(0o666))?;
        listen(&socket, BACKLOG)?;
        fs::rename(new, self.directory.join("socket"))?;
        Ok(socket)
    }
}

/// A page that lets nothing run.
fn closed(boot_id: [u8; 16]) -> Page {
    let never = Time::default();
    Page {
        boot_id,
        run: Run::default(),
        order: Order::Closed,
        soft: never,
        hard: never,
        store: 0,
    }
}

/// Opens a file, created if it is missing, with its content as it is.
fn keep(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o644))?;
    Ok(file)
}
