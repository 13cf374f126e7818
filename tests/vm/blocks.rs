//! Within the machine: file systems on a block device that two hosts could mount. Two loop devices on one file are two hosts'
//! views of one disk: each has a cache of its own.

use std::process::Command;
use std::time::Duration;

use leasehold::base::clock;

use super::harness::binary;
use super::server::sh;

/// What a mount after a crash takes, with the shortest interval: twice five seconds twice, and a second each.
const AFTER_A_CRASH: Duration = Duration::from_secs(22);

pub(crate) fn one_host_alone() {
    sh("mkdir -p /mnt/one /mnt/two /mnt/later");
    for (kind, make, options) in [
        ("ext", "mkfs.ext4 -q", "rw"),
        // In one kernel the same file system would be seen by its UUID; between two hosts nothing looks.
        ("xfs", "mkfs.xfs -q", "nouuid"),
    ] {
        let [one, two] = disks(kind, make);
        assert_eq!(device(&["kind"], &one), kind);
        assert_eq!(device(&["held", "--wait", "0"], &one), "free");
        assert!(mount(options, &one, "one"));
        assert_eq!(device(&["held", "--wait", "0"], &one), "held");
        assert!(
            mount(options, &two, "two"),
            "{kind} protects itself by now: tell people"
        );
        sh("umount /mnt/two; umount /mnt/one");
    }
    let [one, two] = disks("mmp", "mkfs.ext4 -q -O mmp -E mmp_update_interval=1");
    assert_eq!(device(&["kind"], &one), format!("ext-mmp {}", AFTER_A_CRASH.as_secs()));
    let span = timed(|| assert!(mount("rw", &one, "one")));
    assert!(span < AFTER_A_CRASH / 2, "a clean one waits: {span:?}");
    assert!(!mount("rw", &two, "two"), "mounted twice");
    // The disk as a host leaves it that loses its power.
    sh("sync -f /mnt/one && cp /mmp.img /crashed.img");
    let crashed = sh("losetup --find --show /crashed.img");
    let span = timed(|| assert!(mount("rw", &crashed, "later")));
    println!("a mount after a crash: {span:?}");
    assert!(span > AFTER_A_CRASH / 2 && span < AFTER_A_CRASH * 2, "{span:?}");
    sh("umount /mnt/later; umount /mnt/one");
}

fn disks(name: &str, make: &str) -> [String; 2] {
    sh(&format!("truncate -s 320M /{name}.img && {make} /{name}.img"));
    [0, 1].map(|_| sh(&format!("losetup --find --show /{name}.img")))
}

fn mount(options: &str, disk: &str, at: &str) -> bool {
    let at = format!("/mnt/{at}");
    let done = Command::new("mount").args(["-o", options, disk, &at]).output();
    done.unwrap().status.success()
}

/// What a helper container says of it.
pub(crate) fn device(words: &[&str], disk: &str) -> String {
    let output = Command::new(binary())
        .arg("device")
        .args(words)
        .arg(disk)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn timed(work: impl FnOnce()) -> Duration {
    let since = clock::now();
    work();
    clock::now().since(since)
}
