//! A standby's look at the storage, through a helper container with the real program in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use leasehold::base::clock;
use leasehold::base::page::checksum;
use leasehold::base::watched::{self, Watched};
use leasehold::compose::model::Service;
use leasehold::sidecar::adapters::engine::{EngineError, Look};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bind;
use crate::storage_probe::shipped;
use crate::support::{Bed, NODE};

/// In place of the tether's binary, which is found by its name.
const STAND_IN: &str = "#!/bin/busybox sh\nexec /leasehold/real \"$@\"\n";
const MARK: &str = ".leasehold-store";

fn lay_out(bed: &Bed) {
    let bin = bed.directory.join("bin");
    fs::write(bin.join("tether"), STAND_IN).unwrap();
    fs::copy(shipped(), bin.join("real")).unwrap();
}

fn of<'a>(bed: &'a Bed, service: &'a Service) -> Look<'a> {
    Look {
        project: &bed.project,
        service,
        node: NODE,
        binary: &bed.tether.binary,
        store: "one",
    }
}

async fn look(bed: &Bed, service: &Service, within: Duration) -> Result<Option<String>, EngineError> {
    bed.engine.within(within).look(&of(bed, service)).await
}

/// Containers of looks, in whatever state.
fn helpers(bed: &Bed) -> usize {
    helpers_named(bed, "look")
}

fn helpers_named(bed: &Bed, name: &str) -> usize {
    let filter = format!("name={}-sams-{NODE}-{name}", bed.project.name);
    let listed = Command::new("docker")
        .args(["ps", "-aq", "--filter", &filter])
        .output()
        .unwrap();
    assert!(listed.status.success(), "{listed:?}");
    String::from_utf8_lossy(&listed.stdout).lines().count()
}

const PATIENCE: Duration = Duration::from_secs(30);
/// It takes well below a second on an idle host.
const LOOK_MAX: Duration = Duration::from_secs(5);

#[tokio::test]
async fn storage_is_found_missed_and_found_again() {
    let mut bed = Bed::new().await;
    lay_out(&bed);
    let store = bed.directory.join("store");
    fs::create_dir(&store).unwrap();
    let mut service = bed.service();
    // What another host may have mounted is left alone: this one could not even be.
    let disk = bed.volume("disk", &[("type", "ext4"), ("device", "/dev/absent")], "/disk");
    service.mounts = vec![bind(&store, "/store"), disk];
    bed.prepare(&service).await.unwrap();
    let says = async |words: &str| {
        let found = look(&bed, &service, PATIENCE).await.unwrap().unwrap_or_default();
        assert!(found.contains(words) && found.is_empty() == words.is_empty(), "{found}");
        assert_eq!(helpers(&bed), 0, "left behind");
    };
    says("storage at /store: it has no store id: not mounted").await;
    fs::write(store.join(MARK), "one\n").unwrap();
    let began = clock::now();
    says("").await;
    let took = clock::now().since(began);
    assert!(took < LOOK_MAX, "a look takes {took:?}");
    fs::write(store.join(MARK), "two\n").unwrap();
    says("it is store \"two\", not \"one\"").await;
    fs::write(store.join(MARK), "one\n").unwrap();
    says("").await;
    fs::rename(&store, bed.directory.join("away")).unwrap();
    says("storage is missing").await;
    let left: Vec<_> = fs::read_dir(bed.directory.join("away")).unwrap().collect();
    assert_eq!(left.len(), 1, "something is left behind");
}

/// A claim of another node, as its tether writes it.
fn claim(beat: u64, state: &str) -> Vec<u8> {
    let line = format!("leasehold-claim-1 c sams 7 1 n2 {} {beat} {state}", "ab".repeat(16));
    let sum = checksum(line.as_bytes());
    format!("{:511}\n", format!("{line} {sum:016x}")).into_bytes()
}

#[tokio::test]
async fn a_claim_that_stands_still_is_told_and_one_that_moves_or_was_released_is_not() {
    let bed = Bed::new().await;
    lay_out(&bed);
    let store = bed.directory.join("store");
    fs::create_dir(&store).unwrap();
    fs::write(store.join(MARK), "one\n").unwrap();
    let file = store.join(".leasehold-claim");
    let mut service = bed.service();
    service.mounts = vec![bind(&store, "/store")];
    bed.prepare(&service).await.unwrap();
    let watched = async || {
        let before = clock::now();
        let lines = bed.engine.watch_claims(&of(&bed, &service)).await.unwrap();
        assert_eq!(helpers_named(&bed, "watch"), 0, "left behind");
        let all: Vec<Watched> = watched::read(&lines).collect();
        assert!(all.iter().all(|one| one.since >= before.awake()), "{lines}");
        all.into_iter().map(|one| (one.path, one.sum)).collect::<Vec<_>>()
    };
    let still = claim(5, "held:sams");
    fs::write(&file, &still).unwrap();
    let seen = (PathBuf::from("/store/.leasehold-claim"), checksum(&still));
    assert_eq!(watched().await, [seen]);
    fs::write(&file, claim(6, "released")).unwrap();
    assert_eq!(watched().await, []);

    let beats = tokio::spawn(async move {
        for beat in 7_u64.. {
            fs::write(&file, claim(beat, "held:sams")).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert_eq!(watched().await, []);
    beats.abort();
}

/// A file system that hangs for everybody while its process is stopped.
struct Through(Child, PathBuf);

impl Through {
    fn new(from: &Path, at: &Path) -> Self {
        let child = Command::new("bindfs")
            .arg("-f")
            .args([from, at])
            .stdin(Stdio::null())
            .spawn();
        let through = Self(child.unwrap(), at.to_owned());
        let began = clock::now();
        let line = format!(" {} ", at.display());
        while !fs::read_to_string("/proc/self/mountinfo").unwrap().contains(&line) {
            assert!(clock::now().since(began) < PATIENCE, "not mounted");
            std::thread::yield_now();
        }
        through
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Through {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = Command::new("umount").arg("--lazy").arg(&self.1).output();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn storage_that_hangs_makes_no_pile_of_containers() {
    let bed = Bed::new().await;
    lay_out(&bed);
    let (store, at) = (bed.directory.join("store"), bed.directory.join("view"));
    for directory in [&store, &at] {
        fs::create_dir(directory).unwrap();
    }
    fs::write(store.join(MARK), "one\n").unwrap();
    let view = Through::new(&store, &at);
    let mut service = bed.service();
    service.mounts = vec![bind(&at, "/store")];
    bed.prepare(&service).await.unwrap();
    assert_eq!(look(&bed, &service, PATIENCE).await.unwrap(), None);
    view.signal(Signal::SIGSTOP);
    for _ in 0..3 {
        // The program's word, or the engine hangs where it looks for the directory itself.
        let found = look(&bed, &service, Duration::from_secs(8)).await;
        let hangs = match &found {
            Ok(Some(fault)) => fault.contains("no answer within 5s"),
            Err(EngineError::Unreachable(_)) => true,
            Ok(None) | Err(_) => false,
        };
        assert!(hangs, "{found:?}");
        assert!(helpers(&bed) <= 1, "a pile");
    }
    view.signal(Signal::SIGCONT);
    // A container that the engine made late may be in the way once: that says nothing of the storage.
    let began = clock::now();
    while let Err(error) = look(&bed, &service, PATIENCE)
        .await
        .map(|found| assert_eq!(found, None))
    {
        assert!(clock::now().since(began) < PATIENCE, "{error}");
    }
    assert_eq!(helpers(&bed), 0);
}

/// As when a host is taken out: what the sidecar made must not hold a volume after it.
#[tokio::test]
async fn no_look_outlives_the_program() {
    let bed = Bed::new().await;
    lay_out(&bed);
    let store = bed.directory.join("store");
    fs::create_dir(&store).unwrap();
    fs::write(store.join(MARK), "one\n").unwrap();
    // It would look for a minute.
    let slow = "#!/bin/busybox sh\nexec /bin/busybox sleep 60\n";
    fs::write(bed.directory.join("bin/tether"), slow).unwrap();
    let mut service = bed.service();
    service.mounts = vec![bind(&store, "/store")];
    bed.prepare(&service).await.unwrap();
    let ends = async {
        let began = clock::now();
        while helpers(&bed) == 0 {
            assert!(clock::now().since(began) < PATIENCE, "no look");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bed.engine.end_helpers(PATIENCE).await;
        helpers(&bed)
    };
    let (found, left) = tokio::join!(look(&bed, &service, PATIENCE), ends);
    let said = found.unwrap_err().to_string();
    assert!(said.contains("the program ends"), "{said}");
    assert_eq!(left, 0, "left behind");
    let said = look(&bed, &service, PATIENCE).await.unwrap_err().to_string();
    assert!(said.contains("the program ends"), "{said}");
    assert_eq!(helpers(&bed), 0, "made after the end");
}
