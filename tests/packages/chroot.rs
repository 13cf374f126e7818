//! A Debian in which packages are tried: a tree that stays as it is, under a layer that takes what is changed.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::words;

/// No step takes longer.
const STEP_S: &str = "120";
/// In new namespaces: nothing that is mounted is seen outside, and nothing that a step starts outlives it.
const ENTER: &str = r#"
set -eu
tree=$1 disk=$2 booted=$3 line=$4 root=$2/root
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$disk/upper,workdir=$disk/work" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mount --rbind /dev "$root/dev"
mount --bind "$disk/outside" "$root/mnt"
if [ "$booted" = yes ]; then
    mkdir -p "$root/run/systemd/system"
    mount --bind "$disk/outside/systemctl" "$root/usr/bin/systemctl"
fi
exec chroot "$root" env -i HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -euc "$line"
"#;
/// The systemd of a host that is up, with a sidecar that runs: it writes down what it is asked.
const SYSTEMCTL: &str = r#"#!/bin/sh
program=
if [ "$1" = stop ] && [ -x /usr/bin/leasehold ]; then program=', with its program'; fi
echo "$*$program" >> /mnt/asked
if [ "$1" = show ]; then cat /mnt/unit; fi
"#;

/// What a step meets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Host<'a> {
    /// A tree in which nothing runs.
    Still,
    /// A host of systemd, whose `leasehold.service` is the file at `unit`.
    Booted { unit: &'a str },
}

pub(crate) struct Chroot {
    tree: PathBuf,
    disk: PathBuf,
}

impl Chroot {
    /// `disk` takes what is changed; it must not lie on an overlay itself.
    pub(crate) fn new(tree: &Path, disk: &Path) -> Self {
        for name in ["upper", "work", "root", "outside"] {
            fs::create_dir(disk.join(name)).unwrap();
        }
        let fake = disk.join("outside/systemctl");
        fs::write(&fake, SYSTEMCTL).unwrap();
        fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(
            tree.join("usr/bin/systemctl").exists(),
            "{} has no systemd",
            tree.display()
        );
        Self {
            tree: tree.to_owned(),
            disk: disk.to_owned(),
        }
    }

    /// Hands a file in, as `/mnt/NAME`.
    pub(crate) fn bring(&self, file: &Path, name: &str) {
        fs::copy(file, self.disk.join("outside").join(name)).unwrap();
    }

    /// What somebody types there as root; what it said, which must have gone well.
    pub(crate) fn run(&self, host: Host<'_>, line: &str) -> String {
        let outside = self.disk.join("outside");
        let booted = match host {
            Host::Still => "no",
            Host::Booted { unit } => {
                fs::write(outside.join("unit"), format!("{unit}\n")).unwrap();
                fs::write(outside.join("asked"), "").unwrap();
                "yes"
            }
        };
        let mut command = Command::new("timeout");
        command.args([
            "-k",
            "5",
            STEP_S,
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
        ]);
        command
            .args(["bash", "-c", ENTER, "enter"])
            .arg(&self.tree)
            .arg(&self.disk)
            .args([booted, line]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", words(&output));
        words(&output)
    }

    /// What the last step on a host of systemd asked of it.
    pub(crate) fn asked_of_systemd(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.disk.join("outside/asked")).unwrap();
        asked.lines().map(str::to_owned).collect()
    }

    /// Whether the tree brings this file.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.tree.join(path.trim_start_matches('/')).exists()
    }

    pub(crate) fn is_of(&self, suite: &str) -> bool {
        fs::read_to_string(self.tree.join("etc/os-release"))
            .unwrap()
            .contains(suite)
    }

    /// Everything that is not as the tree has it; of directories only those that it does not have.
    pub(crate) fn changed(&self) -> Vec<String> {
        let upper = self.disk.join("upper");
        let (mut found, mut folders) = (Vec::new(), vec![upper.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
                let path = entry.path();
                let inside = path.strip_prefix(&upper).unwrap();
                let kind = entry.file_type().unwrap();
                let text = format!("/{}", inside.display());
                if kind.is_dir() {
                    folders.push(path.clone());
                }
                if kind.is_char_device() {
                    found.push(format!("{text}, which was deleted"));
                } else if !kind.is_dir() || !self.tree.join(inside).is_dir() {
                    found.push(text);
                }
            }
        }
        found.sort_unstable();
        found
    }
}
