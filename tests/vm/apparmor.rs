//! Within the machine: a container under the profile that Docker gives it, while the engine brings processes in. They are under
//! a profile of the runtime until their last exec, and the container's may not signal that one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

use leasehold::base::clock;
use leasehold::base::page::Order;

use super::harness::{Container, await_that, members, namespace, page};
use super::nfs::{KILLED, POLITE, took};
use super::node::Node;
use super::server::sh;

/// As Docker writes the first, and AppArmor 4 of Debian 13 and Ubuntu 24.04 the second, which allows all and has a name.
const PROFILES: &str = "@{PROC}=/proc/
profile docker-default flags=(attach_disconnected,mediate_deleted) {
  network,
  capability,
  file,
  umount,
  signal (receive) peer=unconfined,
  signal (receive) peer=runc,
  signal (send,receive) peer=docker-default,
  deny @{PROC}/* w,
  deny @{PROC}/{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}/** w,
  deny @{PROC}/sys/[^k]** w,
  deny @{PROC}/sys/kernel/{?,??,[^s][^h][^m]**} w,
  deny @{PROC}/sysrq-trigger rwklx,
  deny @{PROC}/kcore rwklx,
  deny mount,
  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
  ptrace (trace,read,tracedby,readby) peer=docker-default,
}
profile runc flags=(unconfined) {
}
";

/// How long one is on its way in.
const FLIGHT: Duration = Duration::from_secs(1);

/// Waits for all but what stays longer than any exec.
pub(crate) fn execs_in_flight() {
    load();
    let at = PathBuf::from("/confined");
    fs::create_dir_all(&at).unwrap();
    fs::write(at.join(".leasehold-store"), "s\n").unwrap();
    let mut node = Node::new("n1", &at);
    node.profile = Some("docker-default");

    let mut container = node.up(POLITE);
    assert_eq!(label(container.pid()), "docker-default (enforce)");
    let arrives = format!(
        "sleep {}; echo exec docker-default > /proc/self/attr/exec; exec",
        FLIGHT.as_secs()
    );
    let mut probe = bring_in(&node, &container, &format!("{arrives} $TETHER probe-storage 0 /run/a"));
    await_that("the probe", || probe.try_wait().unwrap().is_some());
    assert!(probe.wait().unwrap().success());
    assert_eq!(
        denied(),
        Denied {
            signals: 0,
            others: vec![]
        }
    );

    let flies = bring_in(&node, &container, &format!("{arrives} sleep 1000"));
    let asked = clock::now();
    assert_eq!(node.stop(&mut container), 7);
    let span = clock::now().since(asked);
    took(&format!(
        "order to the proof of a stop, with an exec that is in flight for {FLIGHT:?}: {span:?}"
    ));
    assert_eq!(claim(&at), "released", "{}", node.place.stderr());
    judge(flies);

    // One that does not arrive: no sync, so no release, but an end all the same.
    node.host.open_again();
    let mut container = node.up(POLITE);
    let space = namespace(container.pid());
    let flies = bring_in(&node, &container, "exec sleep 1000");
    let asked = clock::now();
    assert_eq!(node.stop(&mut container), 7);
    let span = clock::now().since(asked);
    took(&format!("the same, with one that does not arrive: {span:?}"));
    assert_eq!((claim(&at), members(space)), ("held:mail".to_owned(), vec![]));
    judge(flies);

    // The deadline waits for nobody.
    node.host.open_again();
    let mut container = node.up(POLITE);
    let space = namespace(container.pid());
    let flies = bring_in(&node, &container, "exec sleep 1000");
    let ordered = page(Order::Open, 200, 200);
    node.host.host.write_page(&ordered).unwrap();
    node.host.await_gone();
    let late = clock::now().since(ordered.hard);
    took(&format!("deadline to the proof, with an exec in flight: {late:?}"));
    assert!(late < Duration::from_secs(2), "{late:?}");
    assert_eq!((container.wait(), members(space)), (KILLED, vec![]));
    judge(flies);
}

fn load() {
    sh("mount -t securityfs none /sys/kernel/security && echo 0 > /proc/sys/kernel/printk_ratelimit");
    fs::write("/profiles", PROFILES).unwrap();
    sh("mkdir -p /etc/apparmor.d && apparmor_parser --base /etc/apparmor.d -K -r /profiles");
}

/// A process on its way into the container, as an engine starts one; it is there when this returns.
fn bring_in(node: &Node, container: &Container, script: &str) -> Child {
    let _ = fs::remove_file(node.place.path("out/in"));
    let script = format!(
        "echo exec runc > /proc/self/attr/exec && exec nsenter --target {} --mount --pid -- \
         sh -c 'echo in > $OUT/in; {script}'",
        container.pid()
    );
    let child = Command::new("sh")
        .args(["-c", &script])
        .env("OUT", node.place.path("out"))
        .env("TETHER", node.place.path("tether"))
        .spawn()
        .unwrap();
    node.place.await_out("in");
    child
}

/// The exec ended with its container, and the tether was kept from nothing but that.
fn judge(mut flies: Child) {
    await_that("the end of an exec", || flies.try_wait().unwrap().is_some());
    let denied = denied();
    assert!(denied.signals > 0, "nothing was kept from the tether");
    assert_eq!(denied.others, Vec::<String>::new());
}

fn label(process: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{process}/attr/current")).unwrap();
    text.trim().to_owned()
}

fn claim(at: &Path) -> String {
    let text = fs::read_to_string(at.join(".leasehold-claim")).unwrap();
    text.split_whitespace().nth(8).unwrap().to_owned()
}

/// What the kernel has kept from a tether since it was asked last.
#[derive(Debug, PartialEq, Eq)]
struct Denied {
    /// Signals to what is in flight.
    signals: usize,
    others: Vec<String>,
}

fn denied() -> Denied {
    // A thread of the kernel writes it.
    sleep(Duration::from_secs(1));
    let log = sh("dmesg -c");
    // The keeper of a claim has the other name.
    let of_tether = |line: &&str| {
        line.contains("DENIED")
            && ["tether", "exe"]
                .iter()
                .any(|name| line.contains(&format!("comm=\"{name}\"")))
    };
    let is_signal = |line: &&str| line.contains("operation=\"signal\"") && line.contains("peer=\"runc\"");
    let (signals, others): (Vec<&str>, Vec<&str>) = log.lines().filter(of_tether).partition(is_signal);
    let others = others.into_iter().map(str::to_owned).collect();
    Denied {
        signals: signals.len(),
        others,
    }
}
