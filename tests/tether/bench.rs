//! Figures: `cargo test --release --test tether_engine -- --ignored --nocapture --test-threads 1 bench`.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use leasehold::base::clock;
use leasehold::base::page::Order;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::docker::shipped;
use crate::harness::{FORM, Host, Place, Setup, await_that, keepers, members, namespace, page, up};

const TRIALS: usize = 200;
const ENGINE_TRIALS: usize = 200;
const STARTS: usize = 40;

/// How long the cost of the beats is counted.
const COUNTED: Duration = Duration::from_secs(10);

const STUBBORN: &str = "trap '' TERM INT HUP; \
    for i in 1 2 3 4 5; do (setsid sh -c 'trap \"\" TERM; while :; do sleep 0.2; done' &) & done; wait; \
    echo up > $OUT/up; while :; do sleep 0.2; done";

/// With the binary that is shipped.
fn place() -> Place {
    let place = Place::new();
    fs::remove_file(place.path("tether")).unwrap();
    symlink(shipped(), place.path("tether")).unwrap();
    place
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
    let worst = ms(times[times.len() - 1]);
    println!(
        "{what}, {} trials: p50 {}, p99 {}, worst {worst}",
        times.len(),
        ms(at(50)),
        ms(at(99))
    );
}

fn pidfd(pid: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(i32::try_from(pid).unwrap())?, PidfdFlags::empty()).ok()
}

/// From the deadline to the death of the last process but PID 1, and to the proof at the sidecar.
fn kill(host: &mut Host, tether: u32) -> [Duration; 2] {
    let others = members(namespace(tether)).into_iter().filter(|other| *other != tether);
    let others: Vec<OwnedFd> = others.filter_map(pidfd).collect();
    let ordered = page(Order::Open, 120, 120);
    host.host.write_page(&ordered).unwrap();
    for other in &others {
        poll(&mut [PollFd::new(other, PollFlags::IN)], None).unwrap();
    }
    let dead = clock::now().boot.saturating_sub(ordered.hard.boot);
    host.await_gone();
    [dead, clock::now().boot.saturating_sub(ordered.hard.boot)]
}

fn kills(what: &str, trials: usize, mut trial: impl FnMut() -> [Duration; 2]) {
    let all: Vec<[Duration; 2]> = (0..trials).map(|_| trial()).collect();
    print(
        &format!("{what}: deadline to the last process dead"),
        &mut all.iter().map(|one| one[0]).collect::<Vec<_>>(),
    );
    print(
        &format!("{what}: deadline to the proof at the sidecar"),
        &mut all.iter().map(|one| one[1]).collect::<Vec<_>>(),
    );
}

fn in_a_namespace() -> [Duration; 2] {
    let place = place();
    let (mut host, _container, tether) = up(&place, 60_000, 60_000, STUBBORN);
    kill(&mut host, tether)
}

struct Killed(Vec<Child>);

impl Drop for Killed {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
#[ignore = "bench"]
fn bench_kill() {
    kills("seven processes", TRIALS, in_a_namespace);
}

#[test]
#[ignore = "bench"]
fn bench_kill_under_load() {
    let cores = std::thread::available_parallelism().unwrap().get();
    let busy = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    let _load = Killed((0..4 * cores).map(|_| busy()).collect());
    kills(
        &format!("{} busy loops on {cores} cores", 4 * cores),
        TRIALS,
        in_a_namespace,
    );
}

/// An engine of its own, to be frozen.
struct Engine {
    child: Child,
    place: Place,
}

impl Engine {
    fn start() -> Self {
        let place = Place::new();
        let at = |name: &str| place.path(name).display().to_string();
        let mut command = Command::new("dockerd");
        command.args([
            "--data-root",
            &at("data"),
            "--exec-root",
            &at("exec"),
            "--pidfile",
            &at("docker.pid"),
        ]);
        command.args([
            "-H",
            &format!("unix://{}", at("docker.sock")),
            "--bridge",
            "none",
            "--log-level",
            "error",
        ]);
        command.args([
            "--iptables=false",
            "--ip6tables=false",
            "--exec-opt",
            "native.cgroupdriver=cgroupfs",
        ]);
        let log = fs::File::create(place.path("dockerd.log")).unwrap();
        let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let engine = Self { child, place };
        await_that("the engine", || engine.docker("version").0);
        let import = "tar -C / -c bin/busybox | docker -H unix://$0 import - bench";
        let socket = engine.place.path("docker.sock");
        assert!(
            Command::new("sh")
                .args(["-c", import])
                .arg(socket)
                .stdout(Stdio::null())
                .status()
                .unwrap()
                .success()
        );
        engine
    }

    fn docker(&self, line: &str) -> (bool, String) {
        let mut command = Command::new("docker");
        command.args(["-H", &format!("unix://{}", self.place.path("docker.sock").display())]);
        let output = command
            .args(line.split(' ').filter(|word| !word.is_empty()))
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap(), signal).unwrap();
    }

    fn trial(&self) -> [Duration; 2] {
        let place = place();
        let mut host = Host::open(&place.home(), false);
        host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
        let line = format!(
            "run --detach --rm --network none --volume {}:/run/leasehold:ro --volume {}:/leasehold/tether:ro \
             --entrypoint /leasehold/tether bench --service mail --group g --node n1 -- /bin/busybox sleep 1000",
            place.home().display(),
            shipped().display()
        );
        let (started, said) = self.docker(&line);
        assert!(started, "{said}");
        let tether = host.admit();
        await_that("the service", || members(namespace(tether)).len() == 2);
        self.signal(Signal::STOP);
        let times = kill(&mut host, tether);
        self.signal(Signal::CONT);
        times
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        self.signal(Signal::TERM);
        let _ = self.child.wait();
        for mount in ["data/overlay2", "data", "exec"] {
            let _ = Command::new("umount")
                .arg("--lazy")
                .arg(self.place.path(mount))
                .stderr(Stdio::null())
                .status();
        }
    }
}

#[test]
#[ignore = "bench"]
fn bench_kill_with_a_frozen_engine() {
    let engine = Engine::start();
    kills("dockerd stopped", ENGINE_TRIALS, || engine.trial());
}

/// Stores in the container: `a` on the machine's disk, `c` in memory.
const MOUNTS: &str = "mkdir /run/a /run/c && mount --bind $OUT/a /run/a && mount -t tmpfs none /run/c && \
    echo s > /run/c/.leasehold-store &&";

fn with_stores(place: &Place, stores: &[&str]) -> crate::harness::Container {
    let _ = fs::create_dir(place.path("out/a"));
    fs::write(place.path("out/a/.leasehold-store"), "s\n").unwrap();
    let setup = Setup {
        before: MOUNTS,
        ..Setup::default()
    };
    let words = stores.iter().flat_map(|store| ["--store", store]);
    let script = "echo up > $OUT/up; exec sleep 1000";
    place.start(
        &setup,
        &words.chain(FORM).chain(["sh", "-c", script]).collect::<Vec<_>>(),
    )
}

const STORES: [(&str, &[&str]); 3] = [
    ("no claim", &[]),
    ("one file system", &["s=/run/a"]),
    ("two file systems", &["s=/run/a", "s=/run/c"]),
];

#[test]
#[ignore = "bench"]
fn bench_claim_start() {
    for (what, stores) in STORES {
        let mut times = Vec::new();
        for _ in 0..STARTS {
            let place = place();
            let mut host = Host::open(&place.home(), false);
            host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
            let since = clock::now();
            let _container = with_stores(&place, stores);
            host.admit();
            times.push(clock::now().since(since));
        }
        print(&format!("start to hello, {what}"), &mut times);
    }
}

#[test]
#[ignore = "bench"]
fn bench_claim_writes() {
    for (what, stores) in &STORES[1..] {
        let place = place();
        let mut host = Host::open(&place.home(), false);
        host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
        let _container = with_stores(&place, stores);
        let tether = host.admit();
        place.await_out("up");
        let all = keepers(&members(namespace(tether)));
        assert_eq!(all.len(), stores.len());
        let read = |pid: u32| {
            let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
            let field = |name: &str| -> u64 {
                io.lines()
                    .find_map(|line| line.strip_prefix(name))
                    .unwrap()
                    .trim()
                    .parse()
                    .unwrap()
            };
            [
                field("syscw:"),
                field("wchar:"),
                field("write_bytes:"),
                field("syscr:"),
                ticks(pid),
            ]
        };
        let before: Vec<_> = all.iter().map(|pid| read(*pid)).collect();
        let until = clock::now().plus(COUNTED);
        await_that("the end of the count", || {
            std::thread::sleep(Duration::from_millis(100));
            clock::now().reached(until)
        });
        let sum = |index: usize| -> u64 {
            all.iter()
                .zip(&before)
                .map(|(pid, before)| read(*pid)[index] - before[index])
                .sum()
        };
        let seconds = COUNTED.as_secs_f64();
        let per_second = |index: usize| f64::from(u32::try_from(sum(index)).unwrap()) / seconds;
        println!(
            "beats, {what}: {:.1} writes/s, {:.0} B/s written, {:.0} B/s to a disk, {:.1} reads/s, {:.2} % of a core",
            per_second(0),
            per_second(1),
            per_second(2),
            per_second(3),
            per_second(4)
        );
    }
}

/// Hundredths of a second of processor time.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
