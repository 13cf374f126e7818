//! A service whose volume is an ext4 on a block device, which one host alone may mount: the release waits for the unmount,
//! an engine that hangs keeps the group, and multi mount protection keeps another host out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::etcd::{Cluster, FAST};
use crate::own::{Own, text, until};
use crate::process::{BINARY, Sidecar};

/// A file that both engines see as a disk, each through a loop device of its own, as two hosts see one of a storage network.
struct Disk {
    file: PathBuf,
    devices: Vec<String>,
}

impl Disk {
    fn new(file: PathBuf) -> Self {
        run("truncate", &["-s", "64M", &text(&file)]);
        let with = ["-q", "-F", "-O", "mmp", "-E", "mmp_update_interval=1"];
        run("mkfs.ext4", &[&with[..], &[&text(&file)]].concat());
        Self {
            file,
            devices: Vec::new(),
        }
    }

    fn attach(&mut self) -> String {
        let device = run("losetup", &["--find", "--show", &text(&self.file)]);
        self.devices.push(device.clone());
        device
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        for device in &self.devices {
            Command::new("losetup").args(["-d", device]).output().ok();
        }
        fs::remove_file(&self.file).ok();
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).output().unwrap();
    assert!(out.status.success(), "{program} {arguments:?}: {out:?}");
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

fn is_mounted(device: &str) -> bool {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').next() == Some(device))
}

fn volume(engine: &Own, device: &str) {
    let device = format!("device={device}");
    let made = engine.docker(&["volume", "create", "-o", "type=ext4", "-o", &device, "store"]);
    made.expect("a volume");
}

/// The machine's static busybox, and what the tether of a debug build is linked with.
fn image(engine: &Own, place: &Path) {
    let root = place.join("root");
    let mut files = vec!["/bin/busybox".to_owned()];
    let linked = run("ldd", &[BINARY]);
    files.extend(
        linked
            .split_whitespace()
            .filter(|word| word.starts_with('/'))
            .map(str::to_owned),
    );
    for file in files {
        let target = root.join(file.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&file, target).unwrap();
    }
    let archive = text(&place.join("root.tar"));
    run("tar", &["-C", &text(&root), "-cf", &archive, "."]);
    engine.docker(&["import", &archive, "sams:1"]).expect("an image");
}

fn write(node: &Sidecar) {
    let file = node.dir.join("compose.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let (head, _) = text.split_once("    image:").unwrap();
    let service = "    image: sams:1\n    profiles: [leasehold]\n    scale: 0\n    entrypoint: [\"/leasehold/tether\"]\n    \
         command: [/bin/busybox, sleep, \"6000\"]\n    network_mode: none\n    stop_grace_period: 1s\n    \
         x-leasehold: {group: mail}\n    volumes: [\"store:/store\"]\nvolumes:\n  store: {external: true, name: store}\n";
    fs::write(file, format!("{head}{service}")).unwrap();
}

fn wait(node: &Sidecar, what: &str, is_wanted: impl Fn(&Value) -> bool) {
    node.wait(what, |status| is_wanted(&status["groups"]["mail"]));
}

fn said(node: &Sidecar, arguments: &[&str]) -> String {
    let out = node.cli(arguments);
    let both = [out.stdout.as_slice(), &out.stderr].concat();
    let both = String::from_utf8_lossy(&both).into_owned();
    assert!(out.status.success(), "{arguments:?}: {both}");
    both
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_device_is_unmounted_before_the_group_is_given_up() {
    let etcd = Cluster::start(1, &FAST).await;
    let (engine, other) = (Own::start(), Own::start());
    let mut disk = Disk::new(engine.directory.join("disk"));
    let (device, theirs) = (disk.attach(), disk.attach());
    volume(&engine, &device);
    volume(&other, &theirs);
    image(&engine, &engine.directory);
    let node = Sidecar::new(&[etcd.url(0)], "3s", &[]);
    let mut node = node.with("LEASEHOLD_ENGINE", text(&engine.socket()));
    write(&node);
    let checked = said(&node, &["check"]);
    let told = format!("lies on {device}, an ext4 with multi mount protection");
    assert!(checked.contains(&told) && checked.contains("takes 22 s"), "{checked}");
    // There is a lost+found in it.
    said(&node, &["init", "mail", "--adopt"]);
    node.start();
    let active = |line: &Value| line["held"]["stage"] == "active";
    wait(&node, "active", active);
    assert!(is_mounted(&device));
    let crashed = engine.directory.join("crashed");
    run("sync", &[]);
    fs::copy(&disk.file, &crashed).unwrap();

    // Another host that starts it all the same, as a colleague would: the kernel refuses the mount.
    let plain = [
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        "store:/store",
        "box",
        "/bin/busybox",
        "true",
    ];
    assert_eq!(other.docker(&plain), None, "a second mount beside the first");
    wait(&node, "still active", active);

    said(&node, &["stop", "mail"]);
    wait(&node, "given up", |line| line["held"].is_null());
    assert!(!is_mounted(&device), "given up while it is mounted");
    assert!(other.docker(&plain).is_some(), "free for another host");

    // As a host leaves it that dies with it mounted: the next mount waits for 22 s, longer than a start may hang.
    let (from, to) = (format!("if={}", text(&crashed)), format!("of={}", text(&disk.file)));
    run("dd", &[&from, &to, "bs=1M", "conv=notrunc,fsync", "status=none"]);
    said(&node, &["start", "mail"]);
    wait(&node, "active after a crash", active);
    let log = node.log();
    assert!(!log.contains("did not start") && !log.contains("its gate"), "{log}");
    hangs(&node, &engine, &device);
}

/// Every process ends, and the mount stays: nobody gets the group before the engine goes on.
fn hangs(node: &Sidecar, engine: &Own, device: &str) {
    engine.signal(Signal::SIGSTOP);
    said(node, &["stop", "mail", "--no-wait"]);
    wait(node, "marked stuck", |line| line["state"] == "stuck");
    assert!(is_mounted(device), "the mount of an engine that hangs has gone");
    let why = said(node, &["why", "mail"]);
    assert!(why.contains("could not be unmounted"), "{why}");
    engine.signal(Signal::SIGCONT);
    until("unmount", || (!is_mounted(device)).then_some(()));
    wait(node, "given up after all", |line| line["held"].is_null());
    let log = node.log();
    assert!(log.contains("is not proved unmounted"), "{log}");
}
