//! The sidecar's end: restarts, strangers at the socket, and the binary it installs.

use std::fs;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::time::Duration;

use leasehold::base::epoch::Run;
use leasehold::base::exit::Code;
use leasehold::base::hello::{HELLO_BYTES, Hello, Phase};
use leasehold::base::page::{Order, Page};
use leasehold::sidecar::adapters::tether::{TetherEvent, install_binary};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, sendmsg, socket_with,
};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

use crate::harness::{Host, Place, RUN, binary, page, up};

const SERVICE: &str = "echo up > $OUT/up; exec sleep 1000";

#[test]
fn a_restarted_sidecar_hears_of_the_running_service() {
    let place = Place::new();
    let (host, mut container, pid) = up(&place, 60_000, 60_000, SERVICE);
    drop(host);
    for _ in 0..2 {
        let mut host = Host::open(&place.home(), true);
        assert_eq!(host.host.read_page().unwrap().unwrap().run, RUN);
        match host.event() {
            TetherEvent::Hello {
                run: RUN,
                running: true,
                pid: Some(found),
                ..
            } => assert_eq!(found, pid),
            other => {
                panic!("{other:?}")
            }
        }
    }
    let mut host = Host::open(&place.home(), true);
    assert!(matches!(host.event(), TetherEvent::Hello { running: true, .. }));
    host.host.write_page(&page(Order::Kill, 60_000, 60_000)).unwrap();
    host.await_gone();
    assert_eq!(container.wait(), i32::from(Code::Killed.number()));
}

#[test]
fn a_sidecar_that_does_not_adopt_ends_the_service() {
    let place = Place::new();
    let (host, mut container, _) = up(&place, 60_000, 60_000, SERVICE);
    drop(host);
    let _host = Host::open(&place.home(), false);
    assert_eq!(container.wait(), i32::from(Code::Killed.number()));
}

/// Says hello with this descriptor, as an application in the container could.
fn feign(place: &Place, descriptor: Option<&OwnedFd>) -> OwnedFd {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    connect(&socket, &SocketAddrUnix::new(place.home().join("socket")).unwrap()).unwrap();
    let hello = Hello {
        run: RUN,
        phase: Phase::Running,
        secret: [0; 16],
    }
    .encode();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let rights: Vec<_> = descriptor.iter().map(|descriptor| descriptor.as_fd()).collect();
    if !rights.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&rights)));
    }
    sendmsg(&socket, &[IoSlice::new(&hello)], &mut control, SendFlags::NOSIGNAL).unwrap();
    socket
}

#[test]
fn a_hello_without_the_right_pidfd_is_not_heard() {
    let place = Place::new();
    let mut host = Host::open(&place.home(), false);
    let own = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let child_pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let of_child = pidfd_open(child_pid, PidfdFlags::empty()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let file: OwnedFd = fs::File::open("/dev/null").unwrap().into();
    // More than the host follows at once: the places of those it dropped are free again.
    for _ in 0..5 {
        for descriptor in [None, Some(&own), Some(&of_child), Some(&file)] {
            drop(feign(&place, descriptor));
        }
    }
    host.silent(Duration::from_millis(300));
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let mut container = place.service("exit 3");
    host.admit();
    assert_eq!(container.wait(), 3);
}

/// PID 1 of a namespace of its own making, with its own pidfd: all that the kernel can tell of it is as with a tether.
const HOSTILE: &str = r#"
import array, os, socket, struct, sys
secret = open("/run/leasehold/secret", "rb").read(16)
assert os.getpid() == 1, os.getpid()
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.connect("/run/leasehold/socket")
hello = b"lhello02" + struct.pack("<QIIQ", 7, 2, int(sys.argv[1]), 0) + secret
assert len(hello) == int(sys.argv[2])
fds = array.array("i", [os.pidfd_open(os.getpid())])
s.sendmsg([hello], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
s.settimeout(1)
try:
    print("answer", s.recv(1))
except TimeoutError:
    print("silence")
"#;

#[test]
fn a_service_cannot_feign_the_hello_of_its_tether() {
    let place = Place::new();
    fs::write(place.path("out/hostile.py"), HOSTILE).unwrap();
    let script = "for phase in 0 1; do \
        unshare --pid --fork --mount-proc python3 $OUT/hostile.py $phase BYTES >> $OUT/result 2>&1; done; \
        echo up > $OUT/up; exec sleep 1000";
    let script = &script.replace("BYTES", &HELLO_BYTES.to_string());
    for adopted in [false, true] {
        let (host, mut container, _) = up(&place, 60_000, 60_000, script);
        let mut host = if adopted {
            drop(host);
            let mut host = Host::open(&place.home(), true);
            assert!(matches!(host.event(), TetherEvent::Hello { running: true, .. }));
            host
        } else {
            host
        };
        host.silent(Duration::from_millis(200));
        // Refused by the closed connection.
        assert_eq!(place.out("result").unwrap(), "answer b''\nanswer b''\n");
        assert!(container.running());
        host.host.write_page(&page(Order::Kill, 60_000, 60_000)).unwrap();
        host.await_gone();
        container.wait();
        for file in ["result", "up"] {
            fs::remove_file(place.path("out").join(file)).unwrap();
        }
    }
}

/// What any user of the host could try before the start, as often as it takes: read the secret, and say that it is the
/// tether, as PID 1 of a namespace of its own making. It leaves at once: its end would be the proof.
const FORGER: &str = r#"
import array, os, socket, struct, sys
home = sys.argv[1]
for what in [lambda: os.listdir(home), lambda: open(home + "/secret", "rb").read(16),
             lambda: open(os.path.dirname(home) + "/.home.secret", "rb"), lambda: open(home + "/lock")]:
    try:
        print("had", what())
    except PermissionError:
        print("refused")
try:
    secret = open(home + "/secret", "rb").read(16)
    for phase in [0, 1]:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.connect(home + "/socket")
        hello = b"lhello02" + struct.pack("<QIIQ", 7, 2, phase, 0) + secret
        s.sendmsg([hello], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [os.pidfd_open(os.getpid())]))])
    print("said")
except OSError as error:
    print(error.strerror)
"#;

#[test]
fn an_ordinary_user_of_the_host_proves_nothing() {
    let place = Place::new();
    fs::write(place.path("out/forger.py"), FORGER).unwrap();
    // As an earlier version left it.
    for (path, mode) in [("g", 0o755), ("g/home", 0o755)] {
        fs::set_permissions(place.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let before = place.home().join("secret");
    fs::write(&before, [0; 16]).unwrap();
    let opened = fs::File::open(&before).unwrap();
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, 60_000, 60_000)).unwrap();
    let forger = std::process::Command::new("setpriv")
        .args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "unshare",
            "--user",
            "--map-root-user",
        ])
        .args(["--pid", "--fork", "python3"])
        .arg(place.path("out/forger.py"))
        .arg(place.home())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&forger.stdout);
    assert_eq!(
        said, "refused\nrefused\nrefused\nrefused\nPermission denied\n",
        "{forger:?}"
    );
    let mut secret = [1; 16];
    opened.read_exact_at(&mut secret, 0).unwrap();
    assert_eq!(
        secret, [0; 16],
        "who opened the file of an earlier version has the old one"
    );
    host.silent(Duration::from_millis(100));
    let mut container = place.service("exit 3");
    host.admit();
    host.await_gone();
    assert_eq!(container.wait(), 3);
}

#[test]
fn the_secret_is_new_for_every_run_and_gone_when_the_service_starts() {
    let place = Place::new();
    let file = place.home().join("secret");
    let mut host = Host::open(&place.home(), false);
    let mut seen = Vec::new();
    for n in [1, 2] {
        let open = page(Order::Open, 60_000, 60_000);
        let run = Run { n, ..open.run };
        host.host.write_page(&Page { run, ..open }).unwrap();
        seen.push(fs::read(&file).unwrap());
        host.host.write_page(&Page { run, ..open }).unwrap();
        assert_eq!(fs::read(&file).unwrap(), seen[seen.len() - 1], "the same run keeps it");
    }
    assert!(
        seen[0] != seen[1]
            && seen
                .iter()
                .all(|one| one.len() == 16 && one.iter().any(|byte| *byte != 0))
    );
    let mut container = place.service("od -An -tx1 /run/leasehold/secret > $OUT/up; exit 3");
    match host.event() {
        TetherEvent::Hello { connection, .. } => host.host.admit(connection).unwrap(),
        other => panic!("{other:?}"),
    }
    assert_eq!(container.wait(), 3);
    assert_eq!(
        place.out("up").unwrap().split_whitespace().collect::<Vec<_>>(),
        ["00"; 16]
    );
}

#[test]
fn an_installed_binary_is_never_overwritten() {
    let place = Place::new();
    let directory = place.path("bin");
    fs::create_dir(&directory).unwrap();
    for old in 0..6 {
        fs::write(directory.join(format!("tether-0.0.{old}-0123")), "old").unwrap();
    }
    fs::write(directory.join("tether"), "old").unwrap();
    let running = fs::File::open(directory.join("tether")).unwrap();
    let versioned = install_binary(binary(), &directory).unwrap();
    assert_eq!(install_binary(binary(), &directory).unwrap(), versioned);
    assert_eq!(std::io::read_to_string(running).unwrap(), "old");
    let own = fs::read(binary()).unwrap();
    assert!(fs::read(directory.join("tether")).unwrap() == own && fs::read(&versioned).unwrap() == own);
    let mut names: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names.len(), 5, "{names:?}");
}
