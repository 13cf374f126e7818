//! The probe of the storage, against a file system of its own in a real container: full, read-only, and hanging in the
//! kernel, which neither the engine nor the sidecar may wait for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use leasehold::base::storage_probe::FORM;
use leasehold::compose::model::{Cadence, Check, Probe};
use leasehold::core::event::{FailureKind, ProbeFailure};
use leasehold::sidecar::adapters::engine::Engine;
use leasehold::sidecar::adapters::probe::{Inside, Prober, Target};

use crate::bind;
use crate::support::{Bed, SOCKET};

/// In place of the tether: its probe alone is the real one.
const STAND_IN: &str = "#!/bin/busybox sh\n\
    if [ \"$1\" = probe-storage ]; then exec /leasehold/real \"$@\"; fi\n\
    while [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n";

const PATIENCE: Duration = Duration::from_secs(20);

fn sh(script: &str) {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
}

/// The static binary: an image may hold no C library.
pub(crate) fn shipped() -> PathBuf {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let beside = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let beside = beside.join(&target).join("release/leasehold-tether");
    let path = std::env::var_os("LEASEHOLD_BINARY").map_or(beside, |sidecar| {
        PathBuf::from(sidecar).with_file_name("leasehold-tether")
    });
    let remedy = format!("cargo build --release --target {target}");
    assert!(path.exists(), "{} is missing: {remedy}", path.display());
    path
}

/// A small file system on a loop device; whoever writes to it while it is frozen hangs in the kernel.
struct Disk(PathBuf);

impl Disk {
    fn new(directory: &Path) -> Self {
        let (image, at) = (directory.join("disk.img"), directory.join("disk"));
        let (image, path) = (image.display(), at.display());
        sh(&format!(
            "truncate -s 16M {image} && mkfs.ext4 -q {image} && mkdir {path} && mount -o loop {image} {path}"
        ));
        Self(at)
    }

    fn does(&self, verb: &str) {
        sh(&format!("{verb} {}", self.0.display()));
    }

    fn fill(&self) {
        let fill = self.0.join("fill");
        // It ends because there is no room left.
        let script = format!("dd if=/dev/zero of={} bs=1k status=none", fill.display());
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("No space left"), "not full: {said}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let path = self.0.display();
        let script = format!("fsfreeze --unfreeze {path}; umount --lazy {path}");
        let _ = Command::new("sh").args(["-c", &script]).output();
    }
}

/// A sidecar's end of it.
struct Asking {
    prober: Prober,
    container: String,
}

impl Asking {
    /// How much is free where the test itself lies is nobody's business.
    async fn ask(&self, limit: Duration) -> Result<(), ProbeFailure> {
        self.ask_of(&["/calm", "/store"], 0, limit).await
    }

    async fn ask_of(&self, mounts: &[&str], floor: u8, limit: Duration) -> Result<(), ProbeFailure> {
        let cadence = Cadence {
            interval: limit,
            timeout: limit,
            rise: 1,
            fall: 3,
            fall_timeout: 6,
        };
        let check = Check::Storage {
            service: "sams".to_owned(),
            floor,
        };
        let target = Target {
            address: [127, 0, 0, 1].into(),
            container: Some(self.container.clone()),
            mounts: mounts.iter().map(|mount| (*mount).to_owned()).collect(),
            place: 0,
        };
        self.prober.check(&Probe { check, cadence }, &target).await
    }

    /// The engine may say for a moment yet that the check before goes on.
    async fn passes(&self) {
        let mut waited = Duration::ZERO;
        while let Err(failure) = self.ask(PATIENCE).await {
            let unended = failure.kind == FailureKind::Silent && waited < PATIENCE;
            assert!(unended, "{failure:?}");
            let pause = Duration::from_millis(50);
            waited += pause;
            tokio::time::sleep(pause).await;
        }
    }

    async fn fails(&self, limit: Duration, kind: FailureKind, words: &str) {
        let failure = self.ask(limit).await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.text.as_str()),
            (kind, format!("storage of sams: {words}").as_str())
        );
    }
}

/// Processes of the probe in this container that look at the mount. Other tests make theirs at the same time.
fn under_way(container: &str, mount: &str) -> usize {
    let ending = format!("\0{FORM}\00\0{mount}\0");
    let is_one = |process: &Path| {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let group = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        line.ends_with(ending.as_bytes()) && group.contains(container)
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter(|entry| is_one(&entry.path())).count()
}

async fn asked(bed: &Bed, disk: &Disk) -> Asking {
    let bin = bed.directory.join("bin");
    fs::write(bin.join("tether"), STAND_IN).unwrap();
    fs::copy(shipped(), bin.join("real")).unwrap();
    let calm = bed.directory.join("calm");
    fs::create_dir(&calm).unwrap();
    let mut service = bed.service();
    service.mounts = vec![bind(&calm, "/calm"), bind(&disk.0, "/store")];
    // A start of the probe must not touch the storage by itself.
    service.working_dir = Some("/store".to_owned());
    let prepared = bed.prepare(&service).await.unwrap();
    bed.engine.start(&prepared.container_id).await.unwrap();
    Asking {
        prober: Prober::new(Inside::new(bed.engine.clone())),
        container: prepared.container_id,
    }
}

#[tokio::test]
async fn storage_that_refuses_says_why() {
    let bed = Bed::new().await;
    let disk = Disk::new(&bed.directory);
    let asking = asked(&bed, &disk).await;
    asking.passes().await;
    let left = fs::read_dir(&disk.0).unwrap().flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["lost+found"], "something is left behind");

    disk.fill();
    asking
        .fails(PATIENCE, FailureKind::Shared, "the storage at /store is full")
        .await;
    fs::remove_file(disk.0.join("fill")).unwrap();
    asking.passes().await;

    disk.does("mount -o remount,ro");
    asking
        .fails(PATIENCE, FailureKind::Wrong, "the storage at /store is read-only")
        .await;
    disk.does("mount -o remount,rw");
    asking.passes().await;
}

/// Bytes and inodes alike; a mailbox of many small messages runs out of the second.
#[tokio::test]
async fn storage_that_fills_up_is_told_before_it_is_full() {
    let bed = Bed::new().await;
    let disk = Disk::new(&bed.directory);
    let asking = asked(&bed, &disk).await;
    asking.passes().await;
    let path = disk.0.display();
    let bytes = format!("cd {path}; fallocate -l $(($(stat -f -c '(%a - %b * 5 / 100) * %S' .))) fill");
    let inodes = format!("cd {path}; seq $(($(stat -f -c '%d - %c * 5 / 100' .))) | xargs touch");
    for (fill, words) in [(bytes, "% of the storage"), (inodes, "% of the inodes of the storage")] {
        sh(&fill);
        let failure = asking.ask_of(&["/store"], 10, PATIENCE).await.unwrap_err();
        let ending = format!(" {words} at /store is free");
        assert!(
            failure.kind == FailureKind::Warning && failure.text.ends_with(&ending),
            "{failure:?}"
        );
        sh(&format!("cd {path}; ls | grep -v lost+found | xargs rm"));
        asking.ask_of(&["/store"], 10, PATIENCE).await.unwrap();
    }
}

#[tokio::test]
async fn storage_that_hangs_holds_up_one_process_and_nobody_else() {
    let bed = Bed::new().await;
    let disk = Disk::new(&bed.directory);
    let asking = asked(&bed, &disk).await;
    asking.passes().await;

    disk.does("fsfreeze --freeze");
    let limit = Duration::from_secs(3);
    asking.fails(limit, FailureKind::Silent, "no answer within 3s").await;
    assert_eq!(under_way(&asking.container, "/store"), 1, "does it hang at all?");
    let unended = "the last check has not ended yet";
    for _ in 0..3 {
        asking.fails(limit, FailureKind::Silent, unended).await;
    }
    // A restarted sidecar remembers nothing of it.
    let engine = Engine::connect(Path::new(SOCKET));
    let anew = Asking {
        prober: Prober::new(Inside::new(engine)),
        container: asking.container.clone(),
    };
    anew.fails(PATIENCE, FailureKind::Silent, unended).await;
    assert_eq!(under_way(&asking.container, "/store"), 1);
    assert_eq!(under_way(&asking.container, "/calm"), 0);

    disk.does("fsfreeze --unfreeze");
    asking.passes().await;
    assert_eq!(under_way(&asking.container, "/store"), 0);
}
