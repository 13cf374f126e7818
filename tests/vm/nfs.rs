//! Storage on the kernel's own NFS server, with hosts that are clients of it: what the claim, the store id, the probe and the
//! end of a service do there.

use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, sleep};
use std::time::Duration;

use leasehold::base::clock;
use leasehold::base::exit::Code;
use leasehold::base::page::Order;
use leasehold::base::storage_probe::Verdict;

use super::blocks;
use super::harness::{Container, Host, Place, Setup, await_that, page};
use super::machine::{Ended, run_test};
use super::server::{self, Client, Export, sh};

const REFUSED: i32 = Code::Environment.number() as i32;
const KILLED: i32 = Code::Killed.number() as i32;
/// Of the server, as short as it can be.
const LEASE: Duration = Duration::from_secs(10);
const AWAY: Duration = Duration::from_secs(30);
const POLITE: &str = "trap 'exit 7' TERM; echo up > $OUT/up; sleep 1000 & wait";

/// The scenes, in the order in which they are told.
const SCENES: [(&str, fn()); 8] = [
    ("a claim, v4.2", || claims(1, Export::Plain, "vers=4.2")),
    ("a claim, v3 from a server with coarse times", || {
        claims(3, Export::Coarse, "vers=3,actimeo=0");
    }),
    ("a claim, v3 without close-to-open", || {
        claims(4, Export::Coarse, "vers=3,nocto,actimeo=60");
    }),
    ("locks of a dead host", locks),
    ("root is nobody", squashed),
    ("stale handles", stale),
    ("what a killed host still writes", late),
    ("a server that is away", away),
];

const BESIDE: &str = "file systems of one host alone";

/// Begins a line that is not compared.
const TOOK: &str = "took ";

#[test]
fn storage_on_nfs() {
    let (said, ended) = run_test("nfs::scenes");
    let (took, said): (Vec<String>, Vec<String>) = said.into_iter().partition(|line| line.starts_with(TOOK));
    println!("{}", took.join("\n"));
    let mut names = SCENES.map(|(name, _)| name.to_owned()).to_vec();
    names.push(BESIDE.to_owned());
    assert_eq!((said, ended), (names, Ended::PoweredOff));
}

/// Within the machine.
#[test]
#[ignore = "runs within the virtual machine of the test above"]
fn scenes() {
    server::start();
    // It waits for most of its time, and needs no server.
    let beside = thread::spawn(blocks::one_host_alone);
    for (name, scene) in SCENES {
        let since = clock::now();
        scene();
        println!("vm says {TOOK}{:?}: {name}", clock::now().since(since));
        println!("vm says {name}");
    }
    beside.join().unwrap();
    println!("vm says {BESIDE}");
}

/// One that beats is not taken, whatever the client of the second host remembers; one that is overwritten ends its holder; one
/// that was released, and one whose holder is gone, are taken. None of the options is right for mail: it holds in spite of them.
fn claims(scene: u32, export: Export, options: &str) {
    let (hosts, [mut first, mut second]) = pair(scene, export, options);
    // The client of the second host remembers that there is no claim.
    let claim = second.at.join(".leasehold-claim");
    assert!(!claim.exists());
    first.init();
    sh(&format!("rm {}/.leasehold-claim", first.at.display()));
    let mut container = first.up(POLITE);
    // And then what stood in it.
    for _ in 0..2 {
        assert!(
            second.refused().contains("another host writes to it now"),
            "{}",
            second.place.stderr()
        );
    }
    assert!(container.running(), "{}", first.place.stderr());
    overwritten(export, &claim, &mut container);
    first.host.await_gone();
    // The claim is of nobody who beats by now.
    let container = second.up(POLITE);
    drop(container);
    first.host.open_again();
    let mut container = first.up(POLITE);
    assert_eq!(first.stop(&mut container), 7);
    let text = fs::read_to_string(Path::new(export.path()).join(".leasehold-claim"));
    assert!(text.unwrap().contains(" released "));
    drop(hosts);
}

/// As another tether does it, which beats.
fn overwritten(export: Export, claim: &Path, holder: &mut Container) {
    let text = fs::read_to_string(Path::new(export.path()).join(".leasehold-claim")).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    let file = fs::OpenOptions::new().write(true).open(claim).unwrap();
    for beat in 0..20 {
        let body = format!("{} n9 {} {beat} {}", words[..5].join(" "), words[6], words[8]);
        file.write_all_at(line_of(&body).as_bytes(), 0).unwrap();
        file.sync_data().unwrap();
        if !holder.running() {
            assert_eq!(holder.wait(), KILLED);
            return;
        }
        sleep(Duration::from_millis(200));
    }
    panic!("a holder beside a foreign claim");
}

/// They are free once the lease of the server ran out, and not before: as long as a start may have to wait.
fn locks() {
    let (hosts, [first, second]) = pair(6, Export::Plain, "vers=4.2");
    let held = format!("flock -x {}/lock -c 'echo held; exec sleep 1000'", second.at.display());
    let mut holder = Command::new("sh")
        .args(["-c", &held])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = [0; 5];
    holder.stdout.take().unwrap().read_exact(&mut line).unwrap();
    hosts[1].cable("down");
    let since = clock::now();
    sh(&format!("flock -x {}/lock true", first.at.display()));
    let span = clock::now().since(since);
    println!("a lock of a dead host, with a lease of {LEASE:?}: {span:?}");
    assert!(span > LEASE / 2 && span < LEASE * 4, "{span:?}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    hosts[1].cable("up");
}

/// What the server refuses to root is told as that.
fn squashed() {
    let (_hosts, [first, mut second]) = pair(7, Export::Squash, "vers=4.2");
    let (code, said) = first.tether(&["store", "init", "--id", "s"]);
    assert!(code == 1 && said.contains("root_squash"), "{code}: {said}");
    // The server's own root may.
    sh("echo s > /export/plain/.leasehold-store");
    let said = second.refused();
    assert!(said.contains("root_squash"), "{said}");
    sh("chmod 777 /export/plain");
    let mut container = second.up(POLITE);
    assert_eq!(second.stop(&mut container), 7);
    sh("chmod 755 /export/plain; rm -f /export/plain/.leasehold*");
}

/// The directory was made anew on the server.
fn stale() {
    let (_hosts, [mut first, mut second]) = pair(8, Export::Plain, "vers=4.2");
    sh("mkdir /export/plain/sub");
    for node in [&mut first, &mut second] {
        node.at = node.at.join("sub");
    }
    sh("echo s > /export/plain/sub/.leasehold-store");
    let mut container = first.up(POLITE);
    // A beat may put the claim back before its directory is gone.
    await_that("the end of the directory", || {
        sh("rm -rf /export/plain/sub 2> /dev/null || true");
        !Path::new("/export/plain/sub").exists()
    });
    let (code, said) = first.exec(&container, &["probe-storage", "0", "/run/a"]);
    assert!(code == 1 && said.contains("Stale file handle"), "{code}: {said}");
    // The lease counts, not the claim.
    first.host.silent(Duration::from_secs(1));
    assert_eq!(first.stop(&mut container), 7);
    sh("mkdir /export/plain/sub; echo s > /export/plain/sub/.leasehold-store");
    let mut container = second.up(POLITE);
    assert_eq!(second.stop(&mut container), 7);
    sh("rm -r /export/plain/sub");
}

/// Not guaranteed: what a killed service had written to a server out of reach is still in its kernel's memory, and comes back with
/// the cable.
fn late() {
    let (hosts, [mut first, mut second]) = pair(9, Export::Plain, "vers=4.2");
    first.init();
    let script = "exec 3> /run/a/mail; echo of the first >&3; sync; echo up > $OUT/up; \
        until [ -e $OUT/go ]; do sleep 0.1; done; echo LATE >&3; exec sleep 1000";
    let mut container = first.up(script);
    hosts[0].cable("down");
    fs::write(first.place.path("out/go"), "").unwrap();
    sleep(Duration::from_secs(2));
    first.host.host.write_page(&page(Order::Open, 100, 200)).unwrap();
    let mut next = second.up(POLITE);
    fs::write(second.at.join("mail"), "of the second, and longer\n").unwrap();
    hosts[0].cable("up");
    await_that("what was in memory", || {
        fs::read_to_string("/export/plain/mail").unwrap().contains("LATE")
    });
    first.host.await_gone();
    assert_eq!(container.wait(), KILLED);
    assert_eq!(second.stop(&mut next), 7);
    sh("rm /export/plain/mail");
}

/// Hard mounts wait for it; what has a deadline does not.
fn away() {
    let (hosts, [mut first, mut second]) = pair(11, Export::Plain, "vers=4.2");
    let third = Client::new(40, Export::Plain);
    let mut third = Node::new("n3", &third.mount("vers=4.2"));
    for (node, sub) in [(&mut first, "a"), (&mut second, "b"), (&mut third, "c")] {
        sh(&format!(
            "mkdir -p /export/plain/{sub}; echo s > /export/plain/{sub}/.leasehold-store"
        ));
        node.at = node.at.join(sub);
    }
    let mut waits = first.up(POLITE);
    let mut ends = second.up("trap '' TERM; echo up > $OUT/up; sleep 1000 & wait");
    let mut stops = third.up(POLITE);
    let before = first.beat();
    server::stop();
    let since = clock::now();
    sleep(Duration::from_secs(1));
    let (code, said) = first.tether(&["store", "look", "--id", "s"]);
    assert!(code == 1 && said.contains("no answer within 5s"), "{code}: {said}");
    let mut probe = first.probe(&waits);
    sleep(Duration::from_secs(1));
    let (code, said) = first.exec(&waits, &["probe-storage", "0", "/run/a"]);
    assert_eq!(code, Verdict::Unended as i32, "{said}");

    let ordered = page(Order::Open, 500, 1000);
    second.host.host.write_page(&ordered).unwrap();
    second.host.await_gone();
    let late = clock::now().since(ordered.hard);
    println!("deadline to the proof, the server away: {late:?}");
    assert!(late < Duration::from_secs(2), "{late:?}");
    assert_eq!(ends.wait(), KILLED);

    let asked = clock::now();
    assert_eq!(third.stop(&mut stops), 7);
    let span = clock::now().since(asked);
    println!("order to the proof of a stop, the server away: {span:?}");
    assert!(span < Duration::from_secs(5), "{span:?}");

    while clock::now().since(since) < AWAY {
        sleep(Duration::from_millis(100));
    }
    assert!(waits.running(), "{}", first.place.stderr());
    server::start_again();
    await_that("the end of the probe", || probe.try_wait().unwrap().is_some());
    await_that("beats", || first.beat() > before + 1);
    assert_eq!(first.stop(&mut waits), 7);
    drop(hosts);
}

/// Two hosts with a node each.
fn pair(scene: u32, export: Export, options: &str) -> ([Client; 2], [Node; 2]) {
    let hosts = [0, 1].map(|one| Client::new(scene * 2 + one, export));
    sh("rm -rf /export/*/.leasehold*");
    let [first, second] = hosts.each_ref().map(|host| host.mount(options));
    let nodes = [Node::new("n1", &first), Node::new("n2", &second)];
    (hosts, nodes)
}

/// A node of the group with its sidecar's end of the tether.
struct Node {
    place: Place,
    host: Host,
    name: &'static str,
    at: PathBuf,
}

impl Node {
    fn new(name: &'static str, at: &Path) -> Self {
        let place = Place::new();
        let host = Host::open(&place.home(), false);
        host.host.write_page(&page(Order::Open, 600_000, 600_000)).unwrap();
        let at = at.to_owned();
        Self { place, host, name, at }
    }

    fn start(&self, script: &str) -> Container {
        let setup = Setup {
            before: &format!("mkdir /run/a && mount --bind {} /run/a &&", self.at.display()),
            ..Setup::default()
        };
        let args = [
            "--service",
            "mail",
            "--group",
            "g",
            "--node",
            self.name,
            "--cluster",
            "c",
            "--store",
            "s=/run/a",
            "--",
            "sh",
            "-c",
            script,
        ];
        self.place.start(&setup, &args)
    }

    fn up(&mut self, script: &str) -> Container {
        let _ = fs::remove_file(self.place.path("out/up"));
        let container = self.start(script);
        self.host.admit();
        self.place.await_out("up");
        container
    }

    /// Refused at the gate; the line that says why.
    fn refused(&self) -> String {
        let mut container = self.start(POLITE);
        assert_eq!(container.wait(), REFUSED, "{}", self.place.stderr());
        self.place.stderr()
    }

    fn stop(&mut self, container: &mut Container) -> i32 {
        self.host.host.write_page(&page(Order::Stop, 600_000, 600_000)).unwrap();
        self.host.await_gone();
        container.wait()
    }

    fn tether(&self, words: &[&str]) -> (i32, String) {
        let mut command = Command::new(self.place.path("tether"));
        let output = command.args(words).arg(&self.at).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        (output.status.code().unwrap_or(-1), said)
    }

    fn init(&self) {
        assert_eq!(self.tether(&["store", "init", "--id", "s"]), (0, String::new()));
    }

    /// As the engine starts one beside the service.
    fn inside(&self, container: &Container, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        let process = container.pid().to_string();
        command.args(["--target", &process, "--mount", "--pid", "--"]);
        command.arg(self.place.path("tether")).args(words);
        command
    }

    fn exec(&self, container: &Container, words: &[&str]) -> (i32, String) {
        let output = self.inside(container, words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code().unwrap_or(-1), said)
    }

    fn probe(&self, container: &Container) -> Child {
        self.inside(container, &["probe-storage", "0", "/run/a"])
            .spawn()
            .unwrap()
    }

    fn beat(&self) -> u64 {
        let text = fs::read_to_string(self.at.join(".leasehold-claim")).unwrap_or_default();
        let word = text.split_whitespace().nth(7).and_then(|word| word.parse().ok());
        word.unwrap_or(0)
    }
}

fn line_of(body: &str) -> String {
    let sum = body.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{:511}\n", format!("{body} {sum:016x}"))
}
