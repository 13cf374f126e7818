//! The engine's seccomp profile, capabilities, users, mounts and `docker exec`, on images of every base.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use leasehold::base::exit::Code;
use leasehold::base::page::Order;

use crate::harness::{Host, Place, await_that, keepers, members, namespace, page};

const FORM: [&str; 11] = [
    "--service",
    "mail",
    "--group",
    "g",
    "--node",
    "n1",
    "--cluster",
    "c",
    "--store",
    "s=/store",
    "--",
];

/// What the file asks of a container that trusts nobody.
const HARDENED: [&str; 4] = [
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--pids-limit=20",
];

/// A service that needs no shell: `polite` ends at SIGTERM, `stubborn` does not, and neither does its child. With `init` it must be
/// PID 1, with `within` beside that one; then nothing that was lent is left, and the host's switches can't be written. With a word
/// more it sees the tether, and can't kill it.
const SERVICE: &str = r#"
#define _GNU_SOURCE
#define PIDFD_SEND_SIGNAL 424
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
static void end(int signal) { _exit(12); }
static int lent(int own) { return prctl(PR_CAPBSET_READ, own) == 1; }
int main(int count, char **words) {
    int init = count > 3 && !strcmp(words[3], "init"), within = count > 3 && !strcmp(words[3], "within");
    if (init != (getpid() == 1)) return 3;
    if ((init || within) && lent(21)) return 4;
    if ((init || within) && open("/proc/sys/kernel/core_pattern", O_WRONLY) >= 0) return 5;
    if (within) return kill(1, 0) ? 6 : 33;
    if (count > 4 && syscall(PIDFD_SEND_SIGNAL, open("/proc/1", O_RDONLY | O_DIRECTORY), SIGKILL, 0, 0) == 0) return 7;
    int polite = !strcmp(words[1], "polite");
    signal(SIGTERM, polite ? end : SIG_IGN);
    if (!polite && !fork()) setsid();
    int file = open(words[2], O_WRONLY | O_CREAT, 0666);
    if (file < 0 || write(file, "up\n", 3) != 3) return 1;
    for (;;) pause();
}
"#;

/// Where a program finds its C library.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Base {
    Glibc,
    Musl,
    /// Nothing: the program brings it along.
    Scratch,
}

struct Named(String);

impl Drop for Named {
    fn drop(&mut self) {
        docker(&["rm", "--force", "--volumes", &self.0]);
        docker(&["rmi", "--force", &self.0]);
    }
}

fn docker(args: &[&str]) -> Output {
    Command::new("docker").args(args).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The static binary, as it is shipped.
pub(crate) fn shipped() -> PathBuf {
    let target = format!("{}-unknown-linux-musl/release/leasehold-tether", std::env::consts::ARCH);
    let beside = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join(target);
    let path = std::env::var_os("LEASEHOLD_BINARY").map_or(beside, |sidecar| {
        PathBuf::from(sidecar).with_file_name("leasehold-tether")
    });
    assert!(
        path.exists(),
        "{} is missing: cargo build --release --target {}-unknown-linux-musl",
        path.display(),
        std::env::consts::ARCH
    );
    path
}

impl Base {
    const ALL: [Self; 3] = [Self::Glibc, Self::Musl, Self::Scratch];

    /// The image of this base; one that no registry has is made, under the name of the container.
    fn image(self, name: &str) -> String {
        let loader = format!("lib/ld-musl-{}.so.1", std::env::consts::ARCH);
        let content = match self {
            Self::Glibc => {
                let image = "debian:trixie-slim";
                let there = docker(&["image", "inspect", image]).status.success();
                assert!(there, "no image {image}: run docker/build");
                return image.to_owned();
            }
            Self::Musl => &loader,
            Self::Scratch => "--files-from=/dev/null",
        };
        let import = format!("tar --dereference -C / -c {content} | docker import - {name}");
        let output = Command::new("sh").args(["-c", &import]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        name.to_owned()
    }

    /// Compiles the service for it.
    fn service(self, place: &Place) -> PathBuf {
        let (source, program) = (place.path("service.c"), place.path("service"));
        fs::write(&source, SERVICE).unwrap();
        let compiler: &[&str] = match self {
            Self::Glibc => &["gcc"],
            Self::Musl => &["musl-gcc"],
            Self::Scratch => &["musl-gcc", "-static"],
        };
        let mut command = Command::new(compiler[0]);
        command.args(&compiler[1..]).arg("-o").arg(&program).arg(&source);
        assert!(command.status().unwrap().success(), "{compiler:?}");
        program
    }
}

struct Case<'a> {
    place: &'a Place,
    base: Base,
    user: &'a str,
    options: &'a [&'a str],
}

impl Case<'_> {
    fn store(&self) -> PathBuf {
        self.place.path("store")
    }

    fn claim(&self) -> String {
        let claim = fs::read_to_string(self.store().join(".leasehold-claim")).unwrap_or_default();
        claim.split_whitespace().nth(8).unwrap_or_default().to_owned()
    }

    /// Starts a container with the tether as its entrypoint, as the sidecar makes it.
    fn run(&self, args: &[&str]) -> Named {
        let place = self.place;
        let name = Named(place.path("").file_name().unwrap().to_string_lossy().into_owned());
        let volumes = [
            format!("{}:/run/leasehold:ro", place.home().display()),
            format!("{}:/leasehold/tether:ro", shipped().display()),
            format!("{}:/service:ro", self.base.service(place).display()),
            format!("{}:/out", place.path("out").display()),
            format!("{}:/store", self.store().display()),
        ];
        let volumes = volumes.iter().flat_map(|volume| ["--volume", volume]);
        let fixed = [
            "run",
            "--detach",
            "--name",
            &name.0,
            "--user",
            self.user,
            "--network",
            "none",
        ];
        let image = self.base.image(&name.0);
        let image = ["--entrypoint", "/leasehold/tether", &image];
        let words: Vec<&str> = fixed.into_iter().chain(volumes).collect();
        let output = docker(&[&words, self.options, &image, args].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        name
    }
}

/// A place with an initialised store that any user may write to, and a page that lets run.
fn prepared() -> (Place, Host) {
    let place = Place::new();
    let store = place.path("store");
    fs::create_dir(&store).unwrap();
    fs::set_permissions(&store, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(store.join(".leasehold-store"), "s\n").unwrap();
    let host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    (place, host)
}

fn exit_code(name: &Named) -> i32 {
    text(&docker(&["wait", &name.0])).parse().unwrap()
}

/// Without the line on locked memory: what limit there is, is the engine's affair.
fn stderr(name: &Named) -> String {
    let text = all_stderr(name);
    let others = text.lines().filter(|line| !line.contains("ulimits.memlock"));
    others.collect::<Vec<_>>().join("\n")
}

fn all_stderr(name: &Named) -> String {
    String::from_utf8_lossy(&docker(&["logs", &name.0]).stderr).into_owned()
}

fn locked_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmLck")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// At the deadline all is dead, with what `docker exec` brought in; and the memory was locked.
fn is_killed(base: Base, user: &str, options: &[&str]) {
    let (place, mut host) = prepared();
    let case = Case {
        place: &place,
        base,
        user,
        options,
    };
    let what = format!("{base:?}, user {user}, {options:?}");
    let name = case.run(&[&FORM[..], &["/service", "stubborn", "/out/up"]].concat());
    let pid = host.admit();
    assert_eq!(
        text(&docker(&["inspect", "--format", "{{.State.Pid}}", &name.0])),
        pid.to_string()
    );
    place.await_out("up");
    let said = all_stderr(&name).contains("ulimits.memlock");
    assert_eq!(locked_kb(pid) == 0, said, "locked, or said: {what}");
    let namespace = namespace(pid);
    await_that("keeper, service and its child", || members(namespace).len() == 4);
    assert_eq!(keepers(&members(namespace)).len(), 1);
    assert_eq!(case.claim(), "held:mail", "{what}");
    let exec = docker(&["exec", "--detach", &name.0, "/service", "stubborn", "/out/exec"]);
    assert!(exec.status.success(), "{what}");
    place.await_out("exec");
    assert!(members(namespace).len() >= 6, "{what}");
    host.host.write_page(&page(Order::Open, 0, 100)).unwrap();
    host.await_gone();
    assert!(members(namespace).is_empty(), "{what}");
    assert_eq!(exit_code(&name), i32::from(Code::Killed.number()), "{what}");
    assert_eq!(case.claim(), "held:mail", "{what}");
    assert_eq!(stderr(&name), "", "{what}");
}

/// `docker stop` reaches the service, and its end is orderly.
fn is_stopped(base: Base, user: &str, options: &[&str]) {
    let (place, mut host) = prepared();
    let case = Case {
        place: &place,
        base,
        user,
        options,
    };
    let what = format!("{base:?}, user {user}, {options:?}");
    let name = case.run(&[&FORM[..], &["/service", "polite", "/out/up"]].concat());
    ends_in_order(&case, &mut host, &name, &what);
}

fn ends_in_order(case: &Case<'_>, host: &mut Host, name: &Named, what: &str) {
    host.admit();
    case.place.await_out("up");
    docker(&["stop", "--time", "10", &name.0]);
    host.await_gone();
    assert_eq!(exit_code(name), 12, "{what}");
    assert_eq!(case.claim(), "released", "{what}");
    assert_eq!(stderr(name), "", "{what}");
}

fn on(base: Base) {
    for user in ["0", "65534:65534"] {
        for options in [&[][..], &HARDENED] {
            is_killed(base, user, options);
            is_stopped(base, user, options);
        }
    }
}

#[test]
fn on_an_image_with_glibc() {
    on(Base::Glibc);
}

#[test]
fn on_an_image_with_musl() {
    on(Base::Musl);
}

#[test]
fn on_an_empty_image() {
    on(Base::Scratch);
}

#[test]
fn a_container_made_by_hand_meets_the_gate() {
    for base in Base::ALL {
        let place = Place::new();
        fs::create_dir(place.path("store")).unwrap();
        let host = Host::open(&place.home(), false);
        let case = Case {
            place: &place,
            base,
            user: "0",
            options: &[],
        };
        let name = case.run(&["/service", "polite", "/out/up"]);
        assert_eq!(exit_code(&name), i32::from(Code::NotOurs.number()));
        drop(name);
        let name = case.run(&[&FORM[..], &["/service", "polite", "/out/up"]].concat());
        assert_eq!(exit_code(&name), i32::from(Code::Closed.number()));
        assert!(stderr(&name).contains("leasehold start mail"), "{}", stderr(&name));
        assert_eq!(place.out("up"), None);
        drop(host);
    }
}

/// The storage was not mounted, so the engine made an empty directory in its place.
#[test]
fn a_directory_that_the_engine_made_is_no_storage() {
    let (place, mut host) = prepared();
    fs::remove_dir_all(place.path("store")).unwrap();
    let case = Case {
        place: &place,
        base: Base::Scratch,
        user: "0",
        options: &[],
    };
    let name = case.run(&[&FORM[..], &["/service", "polite", "/out/up"]].concat());
    assert_eq!(exit_code(&name), i32::from(Code::Environment.number()));
    let said = stderr(&name);
    assert!(said.contains("/store") && said.contains("no store id"), "{said}");
    assert!(place.path("store").exists(), "the engine made it");
    host.silent(std::time::Duration::from_millis(20));
}

/// The kernel's default of 8 MiB holds all of it, so a kill waits for no page. The tether would not fit with a runtime in it.
#[test]
fn the_default_limit_on_locked_memory_is_enough() {
    let (place, mut host) = prepared();
    let case = Case {
        place: &place,
        base: Base::Scratch,
        user: "65534",
        options: &["--ulimit", "memlock=8388608:8388608"],
    };
    let name = case.run(&[&FORM[..], &["/service", "polite", "/out/up"]].concat());
    let pid = host.admit();
    place.await_out("up");
    let locked = locked_kb(pid);
    println!("locked: {locked} KiB of 8192");
    assert!((1..=4096).contains(&locked), "{locked} KiB");
    docker(&["stop", &name.0]);
    assert_eq!(exit_code(&name), 12);
    assert!(!all_stderr(&name).contains("ulimits.memlock"), "{}", all_stderr(&name));
}

/// What every protected container carries stays small.
#[test]
fn the_tether_is_at_most_two_megabytes() {
    let bytes = fs::metadata(shipped()).unwrap().len();
    assert!(bytes <= 2 << 20, "{bytes} bytes");
}

/// A limit of the file that locks nothing is said, once, and before the start.
#[test]
fn a_limit_on_locked_memory_that_is_too_small_is_said() {
    let (place, mut host) = prepared();
    let case = Case {
        place: &place,
        base: Base::Scratch,
        user: "65534",
        options: &["--ulimit", "memlock=65536"],
    };
    let name = case.run(&[&FORM[..], &["/service", "polite", "/out/up"]].concat());
    let pid = host.admit();
    place.await_out("up");
    assert_eq!(locked_kb(pid), 0);
    docker(&["stop", &name.0]);
    assert_eq!(exit_code(&name), 12);
    assert!(all_stderr(&name).contains("ulimits.memlock"), "{}", all_stderr(&name));
}

/// The arguments of the sidecar where the file has `own_init`, around the service with these words.
fn as_init<'a>(lent: &'a str, service: &[&'a str]) -> Vec<&'a str> {
    let (dashes, form) = FORM.split_last().unwrap();
    [form, &["--own-init", lent, dashes, "/service"], service].concat()
}

/// Dropped to nothing but what is lent: all of it is needed, and none of it is left.
#[test]
fn an_init_of_the_images_own_is_pid_1_without_what_was_lent() {
    let lent = "SYS_ADMIN,SETPCAP,SYS_CHROOT";
    let added = ["--cap-add=SYS_ADMIN", "--cap-add=SETPCAP", "--cap-add=SYS_CHROOT"];
    let (place, mut host) = prepared();
    let case = Case {
        place: &place,
        base: Base::Scratch,
        user: "0",
        options: &[&HARDENED[..], &added].concat(),
    };
    let name = case.run(&as_init(lent, &["stubborn", "/out/up", "init"]));
    let pid = host.admit();
    place.await_out("up");
    let outer = namespace(pid);
    await_that("tether and keeper are above it", || members(outer).len() == 2);
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let of = |pid: &str| namespace(pid.parse().unwrap());
    let inner = children.split_whitespace().map(of).find(|one| *one != outer).unwrap();
    let led = ["exec", &name.0, "/leasehold/tether", "within", lent, "--", "/service"];
    let check = docker(&[&led[..], &["polite", "/out/within", "within"]].concat());
    let said = String::from_utf8_lossy(&check.stderr);
    assert_eq!(check.status.code(), Some(33), "{said}");
    let exec = docker(&["exec", "--detach", &name.0, "/service", "stubborn", "/out/exec"]);
    assert!(exec.status.success());
    place.await_out("exec");
    host.host.write_page(&page(Order::Open, 0, 100)).unwrap();
    host.await_gone();
    assert!(members(outer).is_empty() && members(inner).is_empty());
    assert_eq!(exit_code(&name), i32::from(Code::Killed.number()));
    assert_eq!(stderr(&name), "");
}

#[test]
fn an_init_of_the_images_own_is_stopped_in_order() {
    let (place, mut host) = prepared();
    let case = Case {
        place: &place,
        base: Base::Glibc,
        user: "0",
        options: &["--cap-add=SYS_ADMIN"],
    };
    let name = case.run(&as_init("SYS_ADMIN", &["polite", "/out/up", "init"]));
    ends_in_order(&case, &mut host, &name, "an init");
}

/// As AppArmor has it, too: the container's `/proc` stays, so the tether is seen there.
#[test]
fn where_no_proc_can_be_mounted_the_init_runs_and_it_is_said() {
    let (place, mut host) = prepared();
    let rule = r#"{"names":["mount"],"action":"SCMP_ACT_ERRNO","errnoRet":1}"#;
    let profile = format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#);
    let file = place.path("seccomp.json");
    fs::write(&file, profile).unwrap();
    let case = Case {
        place: &place,
        base: Base::Scratch,
        user: "0",
        options: &[
            "--cap-add=SYS_ADMIN",
            &format!("--security-opt=seccomp={}", file.display()),
        ],
    };
    let name = case.run(&as_init("SYS_ADMIN", &["polite", "/out/up", "init", "seen"]));
    host.admit();
    place.await_out("up");
    let said = stderr(&name);
    assert!(said.contains("mount no /proc") && said.lines().count() == 1, "{said}");
    docker(&["stop", "--time", "10", &name.0]);
    host.await_gone();
    assert_eq!(exit_code(&name), 12);
}

/// The engine gives it to root alone.
#[test]
fn another_user_than_root_starts_no_init() {
    let (place, host) = prepared();
    let case = Case {
        place: &place,
        base: Base::Scratch,
        user: "65534",
        options: &["--cap-add=SYS_ADMIN"],
    };
    let name = case.run(&as_init("SYS_ADMIN", &["polite", "/out/up", "init"]));
    assert_eq!(exit_code(&name), i32::from(Code::Environment.number()));
    assert!(stderr(&name).contains("no CAP_SYS_ADMIN"), "{}", stderr(&name));
    assert_eq!(place.out("up"), None);
    drop(host);
}
