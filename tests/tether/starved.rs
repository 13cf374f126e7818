//! A service that is against its tether: it may do to PID 1 whatever the user of the container may do.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leasehold::base::clock;
use leasehold::base::exit::Code;
use leasehold::base::page::Order;
use leasehold::sidecar::adapters::cgroup::{Cgroups, End};
use rustix::process::{Pid, Signal, kill_process};

use crate::claim::Scene;
use crate::harness::{FORM, Host, Place, Setup, await_that, keepers, members, namespace, page, up};

const TAMPERED: i32 = Code::Tampered.number() as i32;

/// What the sidecar waits before it takes the second way.
const OWN_WAY: Duration = Duration::from_millis(100);

/// From the kill to the end of the lease.
const KILL_BUDGET: Duration = Duration::from_millis(500);

/// Root in a container with the engine's usual capabilities, none of which this needs: processes that write
/// down the time as long as they can, and a PID 1 that runs when nobody else wants to.
const HOSTILE: &str = r#"
import mmap, os, struct, time
out = os.environ["OUT"]
wait, go = os.pipe()
file = os.open(out + "/last", os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 8 * 120)
# Not by system calls: those would wait for each other.
storage = mmap.mmap(file, 8 * 120)
for number in range(120):
    if os.fork() == 0:
        os.setsid()
        os.close(go)
        os.read(wait, 1)
        while True: struct.pack_into("<Q", storage, 8 * number, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
os.close(go)
time.sleep(0.2)
os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))
open(out + "/lowered", "w").write("lowered\n")
while True: time.sleep(1)
"#;

#[test]
fn a_pid_1_that_is_lowered_ends_its_service() {
    for lowering in ["renice -n 1 -p 1", "chrt --idle --pid 0 1", "chrt --batch --pid 0 1"] {
        let place = Place::new();
        let script = format!("echo up > $OUT/up; sleep 0.2; {lowering} > $OUT/said 2>&1; exec sleep 1000");
        let (mut host, mut container, _) = up(&place, 60_000, 60_000, &script);
        host.await_gone();
        assert_eq!(container.wait(), TAMPERED, "{lowering}: {:?}", place.out("said"));
    }
}

/// Without the capability for it nothing above the service can be had, and nothing is missed.
#[test]
fn a_pid_1_runs_above_the_service_where_it_may() {
    let nice = |stat: &str| stat.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap().to_owned();
    let own = nice(&fs::read_to_string("/proc/self/stat").unwrap());
    let without = "setpriv --bounding-set=-sys_nice --inh-caps=-sys_nice";
    for (may, expected) in [("", "-20"), (without, own.as_str())] {
        let place = Place::new();
        let mut host = Host::open(&place.home(), false);
        host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
        let init = format!("{may} \"$TETHER\"");
        let setup = Setup {
            init: Some(&init),
            ..Setup::default()
        };
        let script = "sleep 0.3; cat /proc/1/stat /proc/self/stat | cut -d' ' -f19 | xargs echo > $OUT/up; exit 3";
        let mut container = place.start(&setup, &[&FORM[..], &["sh", "-c", script]].concat());
        host.admit();
        assert_eq!(container.wait(), 3, "{}", place.stderr());
        assert_eq!(place.out("up").unwrap().trim(), format!("{expected} {own}"));
    }
}

#[test]
fn a_keeper_that_is_stopped_ends_the_service() {
    let mut scene = Scene::new(60_000, 60_000);
    let (mut container, tether) = scene.up("echo up > $OUT/up; exec sleep 1000");
    let keeper = keepers(&members(namespace(tether)))[0];
    signal(keeper, Signal::STOP);
    scene.host.await_gone();
    assert_eq!(container.wait(), TAMPERED);
}

/// Frozen together, both know nothing of the time meanwhile.
#[test]
fn what_was_frozen_together_goes_on() {
    let mut scene = Scene::new(60_000, 60_000);
    let (mut container, tether) = scene.up("echo up > $OUT/up; exec sleep 1000");
    let all = members(namespace(tether));
    all.iter().for_each(|pid| signal(*pid, Signal::STOP));
    scene.host.silent(Duration::from_millis(4500));
    all.iter().for_each(|pid| signal(*pid, Signal::CONT));
    scene.host.silent(Duration::from_millis(1000));
    assert!(container.running());
}

/// The tether alone is stopped, and no sidecar is there.
#[test]
fn a_pid_1_that_stands_still_is_outlived_by_nobody() {
    let mut scene = Scene::new(60_000, 60_000);
    let (_container, tether) = scene.up("echo up > $OUT/up; exec sleep 1000");
    let namespace = namespace(tether);
    signal(tether, Signal::STOP);
    await_that("nobody but PID 1", || members(namespace) == [tether]);
    signal(tether, Signal::CONT);
    scene.host.await_gone();
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Cgroups of a container, as an engine makes them; gone with this.
struct Cgroup {
    id: String,
    directories: Vec<PathBuf>,
}

impl Cgroup {
    /// In these hierarchies, and in that of the processor's time, so that what spins does not starve the test; `None` on a
    /// host without the first.
    fn new(hierarchies: &[&str]) -> Option<Self> {
        let top = Path::new("/sys/fs/cgroup");
        let id = format!("{:064x}", std::process::id());
        let mut directories = Vec::new();
        for name in hierarchies.iter().chain(&["cpu"]) {
            let hierarchy = top.join(name);
            if !hierarchy.join("cgroup.procs").exists() {
                match directories.is_empty() {
                    true => return None,
                    false => continue,
                }
            }
            directories.push(hierarchy.join(&id));
        }
        directories.iter().for_each(|path| fs::create_dir(path).unwrap());
        // One of the machine's processors is left to others.
        let _ = fs::write(top.join("cpu").join(&id).join("cpu.cfs_quota_us"), "100000");
        Some(Self { id, directories })
    }

    /// Shell words that put this process there.
    fn enter(&self) -> String {
        let enter = |path: &PathBuf| format!("echo 0 > {}/cgroup.procs && ", path.display());
        self.directories.iter().map(enter).collect()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for path in &self.directories {
            let _ = fs::write(path.join("cgroup.kill"), "1");
            let _ = fs::write(path.join("freezer.state"), "THAWED");
            for _ in 0..100 {
                if fs::remove_dir(path).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// How long after the kill was due the hostile service wrote for the last time, with what is done about it so long after.
fn last_write(hierarchies: &[&str], second_way: bool) -> Option<Duration> {
    let cgroup = Cgroup::new(hierarchies)?;
    let place = Place::new();
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let before = cgroup.enter();
    let setup = Setup {
        before: &before,
        ..Setup::default()
    };
    let mut container = place.start(&setup, &[&FORM[..], &["/usr/bin/python3", "-c", HOSTILE]].concat());
    let tether = host.admit();
    // PID 1 may see it and end everything before this is written.
    await_that("lowered", || place.out("lowered").is_some() || !container.running());
    let ordered = page(Order::Open, 0, 500);
    host.host.write_page(&ordered).unwrap();
    // Its own watch may be quicker than the deadline: then there is nothing left to do.
    await_that("the second way's turn", || {
        clock::now().reached(ordered.hard.plus(OWN_WAY))
    });
    let was_starved = fs::metadata(format!("/proc/{tether}")).is_ok_and(|file| file.ino() > 0) && container.running();
    let waited = ordered.hard.plus(Duration::from_secs(15));
    while !second_way && container.running() && !clock::now().reached(waited) {
        std::thread::sleep(Duration::from_millis(50));
    }
    if container.running() {
        let end = Cgroups::new(Path::new("/sys/fs/cgroup"), None).end(&[&cgroup.id]);
        // What was killed may not be gone yet; it uses no processor any more.
        assert!(matches!(end, End::Killed | End::Idle), "{end:?}");
    }
    host.await_gone();
    let code = container.wait();
    let written = fs::read(place.path("out/last")).unwrap();
    let times = written
        .chunks(8)
        .map(|time| u64::from_le_bytes(time.try_into().unwrap()));
    let last = Duration::from_nanos(times.max().unwrap());
    let late = last.saturating_sub(ordered.hard.boot);
    println!(
        "{hierarchies:?}, second way {second_way}: starved at the deadline: {was_starved}, code {code}; last write {late:?} after it"
    );
    Some(late)
}

const SECOND: [&str; 1] = ["unified"];
const FIRST: [&str; 2] = ["freezer", "cpuacct"];

#[test]
fn the_second_way_needs_no_pid_1() {
    for hierarchies in [&[""][..], &SECOND, &FIRST] {
        if let Some(late) = last_write(hierarchies, true) {
            assert!(late < KILL_BUDGET, "{hierarchies:?}: {late:?}");
        }
    }
}

/// `cargo test --test tether -- --ignored --nocapture without_the_second_way`: how long it writes without it, 15 s at most.
#[test]
#[ignore = "a figure, not a rule"]
fn without_the_second_way() {
    for hierarchies in [&[""][..], &SECOND] {
        for second_way in [true, false, true, false, true, false] {
            last_write(hierarchies, second_way);
        }
    }
}
