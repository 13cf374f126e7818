//! What the way from a verdict to the end of PID 1 may not do: allocate, write, fault a page in, wait for a pipe; and the
//! order of an orderly end.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use leasehold::base::clock;
use leasehold::base::exit::Code;
use leasehold::base::page::{Order, Page};
use rustix::process::{Pid, Signal, kill_process};

use crate::claim::Scene;
use crate::harness::{Host, Place, await_that, page, up};

const KILLED: i32 = Code::Killed.number() as i32;

const STUBBORN: &str = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; while :; do sleep 0.2; done' &); \
    echo up > $OUT/up; while :; do sleep 0.2; done";

/// Counts what PID 1 asks of its allocator, into a file that outlives it.
const COUNTER: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
extern void *__libc_malloc(size_t); extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t); extern void __libc_free(void *);
extern void *__libc_memalign(size_t, size_t);
static volatile unsigned long none, *count = &none;
__attribute__((constructor)) static void begin(void) {
    if (getpid() != 1) return;
    int file = open(getenv("COUNT"), O_RDWR);
    void *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED) { count = page; *count += 1; }
}
void *malloc(size_t n) { ++*count; return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { ++*count; return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { ++*count; return __libc_realloc(p, n); }
void free(void *p) { ++*count; __libc_free(p); }
void *memalign(size_t a, size_t n) { ++*count; return __libc_memalign(a, n); }
void *aligned_alloc(size_t a, size_t n) { ++*count; return __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n) { ++*count; *p = __libc_memalign(a, n); return *p ? 0 : 12; }
"#;

/// Compiles it; the path of the library.
fn counter(place: &Place) -> PathBuf {
    let (source, library) = (place.path("count.c"), place.path("count.so"));
    fs::write(&source, COUNTER).unwrap();
    let mut gcc = Command::new("gcc");
    let made = gcc
        .args(["-shared", "-fPIC", "-O1", "-fno-builtin", "-o"])
        .arg(&library)
        .arg(&source);
    assert!(made.status().unwrap().success(), "gcc");
    library
}

#[test]
fn from_the_verdict_on_nothing_is_allocated_or_freed() {
    for order in [Order::Kill, Order::Open] {
        let scene = Scene::new(60_000, 60_000);
        let library = counter(&scene.place);
        let count = scene.place.path("out/count");
        fs::write(&count, [0; 4096]).unwrap();
        let read = || u64::from_ne_bytes(fs::read(&count).unwrap()[..8].try_into().unwrap());
        let init = format!(
            "env LD_PRELOAD={} COUNT={} \"$TETHER\"",
            library.display(),
            count.display()
        );
        let mut scene = scene;
        let mut container = scene.start(&["a"], "", Some(&init), STUBBORN);
        scene.host.admit();
        scene.place.await_out("up");
        // The loop itself is quiet, too: it may be in the middle of a round when the verdict comes.
        let steady = std::cell::Cell::new((0, clock::now()));
        await_that("a loop that allocates nothing", || {
            let (last, since) = steady.get();
            if read() != last {
                steady.set((read(), clock::now()));
            }
            clock::now().since(since) > Duration::from_millis(300)
        });
        let before = read();
        assert!(before > 10, "the counter counts: {before}");
        scene.host.host.write_page(&page(order, 0, 100)).unwrap();
        scene.host.await_gone();
        assert_eq!(container.wait(), KILLED);
        assert_eq!(read(), before, "{order:?}");
    }
}

/// The parent is stopped, so that PID 1 stays to be looked at after its end.
fn faults(init: Option<&str>) -> [(i64, i64); 2] {
    let mut scene = Scene::new(60_000, 60_000);
    Command::new("chmod")
        .arg("777")
        .arg(scene.place.path("out/a"))
        .status()
        .unwrap();
    let mut container = scene.start(&["a"], "", init, STUBBORN);
    let tether = scene.host.admit();
    scene.place.await_out("up");
    scene.host.silent(Duration::from_millis(300));
    let read = || {
        let stat = fs::read_to_string(format!("/proc/{tether}/stat")).unwrap();
        let fields: Vec<i64> = stat
            .rsplit(") ")
            .next()
            .unwrap()
            .split(' ')
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        // From the parent's PID on: minor, then major faults are the seventh and the ninth.
        (fields[6], fields[8])
    };
    let parent = Pid::from_raw(i32::try_from(container.parent()).unwrap()).unwrap();
    kill_process(parent, Signal::STOP).unwrap();
    let before = read();
    scene.host.host.write_page(&page(Order::Kill, 0, 60_000)).unwrap();
    scene.host.await_gone();
    let after = read();
    kill_process(parent, Signal::CONT).unwrap();
    assert_eq!(container.wait(), KILLED);
    [before, after]
}

#[test]
fn from_the_verdict_on_no_page_is_missing() {
    let [before, after] = faults(None);
    assert_eq!(before, after, "locked into memory");
    // A limit that locks nothing: all is brought in, and still there when the host has memory.
    let poor = "setpriv --reuid 61235 --regid 61235 --clear-groups --inh-caps=-all --bounding-set=-all \
        prlimit --memlock=65536 \"$TETHER\"";
    let [before, after] = faults(Some(poor));
    assert_eq!(before, after, "brought in");
}

/// Every system call of PID 1 from now on.
struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    fn of(place: &Place, tether: u32) -> Self {
        Self::with(place, tether, &[])
    }

    fn with(place: &Place, tether: u32, more: &[&str]) -> Self {
        let file = place.path("trace");
        let mut command = Command::new("strace");
        command
            .args(["-qq", "-f", "-o"])
            .arg(&file)
            .args(more)
            .args(["-p", &tether.to_string()]);
        let strace = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let strace = strace.expect("strace: apt-get install strace");
        await_that("strace sees the loop", || {
            fs::read_to_string(&file).is_ok_and(|text| text.lines().count() > 20)
        });
        Self { strace, file }
    }

    /// The calls in their order, without the PIDs before them.
    fn calls(mut self) -> Vec<String> {
        self.strace.wait().unwrap();
        let text = fs::read_to_string(&self.file).unwrap();
        let lines = text
            .lines()
            .filter_map(|line| line.split_once(' ').map(|(_, call)| call.trim().to_owned()));
        lines.collect()
    }
}

fn name(call: &str) -> &str {
    call.split('(').next().unwrap_or_default()
}

#[test]
fn the_kill_path_makes_no_call_that_can_wait() {
    let mut scene = Scene::new(60_000, 60_000);
    let (mut container, tether) = scene.up(STUBBORN);
    let trace = Trace::of(&scene.place, tether);
    scene.host.host.write_page(&page(Order::Kill, 0, 60_000)).unwrap();
    scene.host.await_gone();
    assert_eq!(container.wait(), KILLED);
    let calls = trace.calls();
    let first = calls
        .iter()
        .position(|call| call.starts_with("kill(-1, SIGKILL"))
        .expect("it kills");
    // The round before it began with the last wait for something to happen.
    let verdict = calls[..first].iter().rposition(|call| call.contains("poll")).unwrap();
    let allowed = [
        "clock_gettime",
        "fstat",
        "newfstatat",
        "pread64",
        "getpid",
        "kill",
        "wait4",
        "waitid",
        "nanosleep",
        "clock_nanosleep",
        "sigaltstack",
        "exit_group",
        "+++ exited with 209 +++",
        "--- SIGCHLD {si_signo=SIGCHLD",
        "rt_sigreturn",
        "sendto",
        "munmap",
        "restart_syscall",
    ];
    for call in &calls[verdict + 1..] {
        let known = allowed
            .iter()
            .any(|good| call.starts_with(good) || call.contains(&format!("<... {good} resumed")));
        assert!(known, "{call}\n{}", calls[verdict..].join("\n"));
        // The handler's own note to the loop, never a pipe: it does not wait.
        assert!(name(call) != "sendto" || call.contains("MSG_DONTWAIT"), "{call}");
    }
    assert!(
        calls
            .iter()
            .all(|call| !call.starts_with("write(1,") && !call.starts_with("write(2,"))
    );
}

#[test]
fn an_orderly_end_kills_syncs_releases_and_leaves_in_this_order() {
    let script = "(setsid sh -c 'trap \"\" TERM; while :; do sleep 0.2; done' &); \
        trap 'exit 7' TERM; echo up > $OUT/up; while :; do sleep 0.01; done";
    syncs_and_releases(script, page(Order::Stop, 60_000, 60_000), 7, &[]);
}

/// AppArmor 4 keeps a container from a process that `docker exec` is still bringing in: the kernel says EACCES for as
/// long as that takes.
#[test]
fn an_end_waits_for_what_a_security_module_keeps_from_it() {
    let script = "trap 'exit 7' TERM; echo up > $OUT/up; while :; do sleep 0.01; done";
    for (error, rounds) in [("EACCES", 540), ("EPERM", 4)] {
        let inject = format!("inject=kill:error={error}:when=2..{rounds}");
        let order = page(Order::Stop, 60_000, 60_000);
        syncs_and_releases(script, order, 7, &["-e", &inject]);
    }
}

/// The deadline waits for nobody: the exit of PID 1 ends what it may not signal.
#[test]
fn a_kill_at_the_deadline_waits_for_nothing_that_it_may_not_signal() {
    let mut scene = Scene::new(60_000, 60_000);
    let (mut container, tether) = scene.up(STUBBORN);
    let trace = Trace::with(&scene.place, tether, &["-e", "inject=kill:error=EACCES:when=1+"]);
    scene.host.host.write_page(&page(Order::Kill, 0, 60_000)).unwrap();
    scene.host.await_gone();
    assert_eq!(container.wait(), KILLED);
    let calls = trace.calls();
    let kills = calls.iter().filter(|call| call.starts_with("kill(-1, SIGKILL"));
    assert_eq!(kills.count(), 1, "{}", calls.join("\n"));
}

/// Nobody else may write while the lease lives: there is time for what the service did not sync itself.
#[test]
fn an_end_by_force_under_a_living_lease_syncs_and_releases_as_well() {
    syncs_and_releases(STUBBORN, page(Order::Kill, 60_000, 60_000), KILLED, &[]);
    // A sidecar that died meanwhile orders nothing: the grace ends by the page alone.
    syncs_and_releases(STUBBORN, page(Order::Stop, 60_000, 400), KILLED, &[]);
}

fn syncs_and_releases(script: &str, order: Page, code: i32, strace: &[&str]) {
    let mut scene = Scene::new(60_000, 60_000);
    let (mut container, tether) = scene.up(script);
    let trace = Trace::with(&scene.place, tether, strace);
    scene.host.host.write_page(&order).unwrap();
    scene.host.await_gone();
    assert_eq!(container.wait(), code);
    let calls = trace.calls();
    let at = |what: &str, call: &dyn Fn(&str) -> bool| {
        let found = calls.iter().position(|line| call(line));
        found.unwrap_or_else(|| panic!("no {what} in\n{}", calls.join("\n")))
    };
    let order = [
        at("kill", &|call| call.starts_with("kill(-1, SIGKILL")),
        at("proof that all are dead", &|call| {
            call.starts_with("kill(-1, SIGKILL") && call.contains("ESRCH")
        }),
        at("sync", &|call| call.starts_with("syncfs(")),
        at("release", &|call| {
            call.starts_with("pwrite64(") && call.contains("leasehold-claim-1")
        }),
        at("release on the disk", &|call| call.starts_with("fdatasync(")),
        at("exit", &|call| call.starts_with(&format!("exit_group({code})"))),
    ];
    assert!(order.is_sorted(), "{order:?}\n{}", calls.join("\n"));
    assert_eq!(scene.read().unwrap().state, "released");
}

/// A frozen engine empties neither pipe; here nobody ever reads them, and the service waits on both.
#[test]
fn full_pipes_do_not_hold_up_the_kill() {
    let place = Place::new();
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let setup = crate::harness::Setup {
        stdin: Some(writer.into()),
        before: "exec >&0 2>&0 &&",
        ..Default::default()
    };
    let script = "echo up > $OUT/up; trap '' TERM; (while :; do echo 0123456789012345678901234567890 >&2; done) & \
        while :; do echo 0123456789012345678901234567890; done";
    let mut container = place.start(&setup, &[&crate::harness::FORM[..], &["sh", "-c", script]].concat());
    let tether = host.admit();
    let full = || {
        let pids = crate::harness::members(crate::harness::namespace(tether));
        let waits =
            |pid: &u32| fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok_and(|at| at.contains("pipe_write"));
        pids.iter().filter(|pid| waits(pid)).count() >= 2
    };
    await_that("both writers wait for the pipe", full);
    let ordered = page(Order::Open, 100, 200);
    host.host.write_page(&ordered).unwrap();
    host.await_gone();
    let late = clock::now().boot.saturating_sub(ordered.hard.boot);
    println!("deadline to proof of stop, pipes full: {late:?}");
    assert!(late < Duration::from_millis(500), "{late:?}");
    assert_eq!(container.wait(), KILLED);
    drop(reader);
}

/// Orders and deadlines reach a tether whose clocks of the page are all that it has: no network, no engine.
#[test]
fn a_tether_needs_no_network() {
    let place = Place::new();
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let setup = crate::harness::Setup {
        unshare: &["--net"],
        ..Default::default()
    };
    let mut container = place.start(&setup, &[&crate::harness::FORM[..], &["sh", "-c", STUBBORN]].concat());
    host.admit();
    place.await_out("up");
    host.host.write_page(&page(Order::Open, 50, 100)).unwrap();
    host.await_gone();
    assert_eq!(container.wait(), KILLED);
}

#[test]
fn what_the_tether_knows_is_not_for_the_service() {
    let place = Place::new();
    let script = "cat /proc/1/environ > $OUT/result 2>&1; cat /proc/1/mem >> $OUT/result 2>&1; echo > $OUT/up; exit 0";
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let setup = crate::harness::Setup {
        init: Some(
            "setpriv --reuid 61236 --regid 61236 --clear-groups --inh-caps=-all --bounding-set=-all \"$TETHER\"",
        ),
        ..Default::default()
    };
    let mut container = place.start(&setup, &[&crate::harness::FORM[..], &["sh", "-c", script]].concat());
    host.admit();
    assert_eq!(container.wait(), 0);
    let said = place.out("result").unwrap();
    assert_eq!(said.matches("Permission denied").count(), 2, "{said}");
}

#[test]
fn an_up_service_still_has_its_own_memory_to_itself() {
    // The service is as it would be without a tether: it may be looked at by its own user.
    let place = Place::new();
    let (mut host, mut container, _) = up(
        &place,
        60_000,
        60_000,
        "cat /proc/self/environ > /dev/null && echo up > $OUT/up; exit 3",
    );
    host.await_gone();
    assert_eq!(container.wait(), 3);
}
