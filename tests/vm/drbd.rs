//! Within the machine: a disk that two hosts mirror. The kernel's own DRBD (8.4) plays both of them, each with a disk of its own,
//! over the loopback.

use std::process::Command;

use super::blocks::device;
use super::harness::await_that;
use super::server::sh;

const SETUP: &str = "drbdsetup-84";

/// The devices of the two hosts.
const HOSTS: [&str; 2] = ["/dev/drbd1", "/dev/drbd2"];

/// While the two see each other the second one is refused. Apart, both are taken: this DRBD knows no quorum.
pub(crate) fn two_hosts() {
    sh("mkdir -p /var/run/drbd /var/lock /var/lib/drbd /mnt/left /mnt/right && ip link set lo up");
    for (number, name) in [(1, "left"), (2, "right")] {
        sh(&format!(
            "truncate -s 32M /{name}.img && disk=$(losetup --find --show /{name}.img) && \
             drbdmeta --force {number} v08 $disk internal create-md && \
             {SETUP} new-resource {name} && {SETUP} new-minor {name} {number} 0 && \
             {SETUP} attach {number} $disk $disk internal && \
             {SETUP} connect {name} ipv4:127.0.0.1:700{number} ipv4:127.0.0.1:700{} --protocol=C",
            3 - number
        ));
    }
    let is = |words: &str| sh("cat /proc/drbd").matches(words).count() == 2;
    await_that("a connection", || is("cs:Connected"));
    // Both disks are blank: there is nothing to mirror at first, which would take half a minute.
    sh(&format!("{SETUP} new-current-uuid 1 --clear-bitmap"));
    await_that("the same on both", || is("ds:UpToDate/UpToDate"));
    assert!(turns("primary", 1));
    sh(&format!("mkfs.ext4 -q {}", HOSTS[0]));
    assert_eq!(device(&["kind"], HOSTS[0]), "ext");
    assert_eq!(held(HOSTS[0]), "free");
    assert!(mount(HOSTS[0], "left"));
    assert_eq!(held(HOSTS[0]), "held");
    // A secondary can't be mounted, and the one that is mounted can't become one.
    assert_eq!(held(HOSTS[1]), "free");
    assert!(!turns("secondary", 1), "a secondary that is mounted");
    assert!(!turns("primary", 2), "two primaries");
    assert!(!mount(HOSTS[1], "right"), "mounted twice");

    sh(&format!(
        "{SETUP} disconnect ipv4:127.0.0.1:7002 ipv4:127.0.0.1:7001 --force"
    ));
    assert!(
        turns("primary", 2) && mount(HOSTS[1], "right"),
        "it protects itself by now: tell people"
    );
    sh("umount /mnt/right; umount /mnt/left");
    assert_eq!(held(HOSTS[0]), "free");
}

fn held(disk: &str) -> String {
    device(&["held", "--wait", "0"], disk)
}

fn turns(role: &str, minor: u32) -> bool {
    let done = Command::new(SETUP).args([role, &minor.to_string()]).output();
    done.unwrap().status.success()
}

fn mount(disk: &str, at: &str) -> bool {
    let done = Command::new("mount").args([disk, &format!("/mnt/{at}")]).output();
    done.unwrap().status.success()
}
