//! The shared storage: one small file system on a loop device, and each host's view of it, which is the thing itself or
//! the same through a FUSE process of that host. So it can be full, fail for all hosts, or hang for one or for all.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::shell::{sh, try_sh, until};

const SIZE: &str = "1G";
/// No message finds room in less.
const FULL_KIB: u32 = 64;
const FUSE_LIMIT: Duration = Duration::from_secs(5);

/// Mounted below the lab's memory disk, and unmounted with it.
pub(crate) struct Storage {
    place: PathBuf,
    image: PathBuf,
    views: PathBuf,
}

impl Storage {
    pub(crate) fn new(run: &Path) -> Self {
        let storage = Self {
            place: run.join("storage"),
            image: run.join("storage.img"),
            views: run.join("views"),
        };
        let image = storage.image.display();
        sh(&format!(
            "truncate -s {SIZE} {image} && mkfs.ext4 -q -m 0 -E lazy_itable_init=0,lazy_journal_init=0 {image}"
        ));
        storage.mount();
        storage
    }

    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Where a host finds it.
    pub(crate) fn view(&self, host: &str) -> PathBuf {
        self.views.join(host)
    }

    fn mount(&self) {
        let (image, place) = (self.image.display(), self.place.display());
        sh(&format!(
            "mkdir -p {place} && mount -o loop,errors=remount-ro {image} {place}"
        ));
    }

    /// The host sees the storage itself.
    pub(crate) fn show(&self, host: &str) {
        let view = self.view(host);
        self.hide(host);
        sh(&format!("mount --bind {} {}", self.place.display(), view.display()));
    }

    /// Takes a host's view away, whatever it is.
    pub(crate) fn hide(&self, host: &str) {
        let view = self.view(host).display().to_string();
        sh(&format!(
            "mkdir -p {view} && while mountpoint -q {view}; do umount -l {view} || exit 1; done"
        ));
    }

    /// The host sees the storage through a process, which the command given starts on it.
    pub(crate) fn show_through(&self, host: &str, mut bindfs: Command) -> Child {
        self.hide(host);
        let view = self.view(host);
        let child = bindfs
            // One host's write must be another's read.
            .args(["-f", "-o", "attr_timeout=0,entry_timeout=0,negative_timeout=0"])
            .args([&self.place, &view])
            .stdin(Stdio::null())
            .spawn()
            .expect("bindfs starts");
        until("the FUSE file system", FUSE_LIMIT, || {
            let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
            let line = format!(" {} ", view.display());
            table.contains(&line).then_some(())
        });
        child
    }

    /// Takes every byte that is left.
    pub(crate) fn fill(&self) {
        let file = self.place.join("fill");
        // It ends with "no space left", which is the purpose.
        try_sh(&format!(
            "dd if=/dev/zero of={} bs=1M 2>/dev/null; sync -f {0}; dd if=/dev/zero of={0} bs=4k oflag=append conv=notrunc 2>/dev/null",
            file.display()
        ));
        let free = sh(&format!("df --output=avail {} | tail -n 1", self.place.display()));
        // Whoever writes there takes and gives back a block at any time.
        let free: u32 = free.trim().parse().expect("free space");
        assert!(free < FULL_KIB, "{free} KiB are free: the storage is not full");
    }

    /// Writes hang in the kernel, for every host, and nothing can kill them.
    pub(crate) fn hang(&self) {
        sh(&format!("fsfreeze -f {}", self.place.display()));
    }

    /// An error of the file system itself, after which the kernel lets nobody write.
    pub(crate) fn fail(&self) {
        let device = sh(&format!("findmnt -n -o SOURCE {}", self.place.display()));
        let name = device.trim().trim_start_matches("/dev/");
        std::fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), "a fault of the tests")
            .expect("the file system's error");
        assert!(self.has_failed(), "the storage can still be written");
    }

    pub(crate) fn has_failed(&self) -> bool {
        std::fs::write(self.place.join(".probe"), "").is_err()
    }

    /// Undoes what can be undone while hosts use it.
    pub(crate) fn mend(&self) {
        release(&self.place);
        let _ = std::fs::remove_file(self.place.join("fill"));
    }

    /// Checks and mounts it again, when no host uses it any more.
    pub(crate) fn repair(&self, hosts: &[&str]) {
        hosts.iter().for_each(|host| self.hide(host));
        let (image, place) = (self.image.display(), self.place.display());
        sh(&format!("umount {place}"));
        until("the loop device to be free", FUSE_LIMIT, || {
            sh(&format!("losetup -j {image}")).trim().is_empty().then_some(())
        });
        // Its exit code says that it has mended something.
        try_sh(&format!("e2fsck -fy {image} > /dev/null 2>&1"));
        self.mount();
    }
}

/// Lets a file system that hangs go on; one that does not hang says so, and that is all.
pub(crate) fn release(place: &Path) {
    try_sh(&format!("fsfreeze -u {} 2> /dev/null", place.display()));
}

/// Stops or continues a FUSE process.
pub(crate) fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).expect("a process id");
    // One that has ended has nothing to hang.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal);
}
