//! Writes down what the program of [`crate::upgrade::BEFORE`] writes: into etcd, on the hosts' disks, beside the mail, over
//! its tethers' sockets. `tests/upgrade` reads it with the program of now.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::cluster::Cluster;
use crate::etcd::etcd_program;
use crate::host::{Host, STORAGE};
use crate::pace::Pace;
use crate::parts::{Part, signal};
use crate::scenarios::{RETURN_LIMIT, succeed};
use crate::shell::{now, say, sh, until, within};
use crate::socket;
use crate::upgrade::{Version, Versions, begin};

use nix::sys::signal::Signal;

/// What a tether says first, as strace shows it.
const HELLO: &str = r"\x6c\x68\x65\x6c\x6c\x6f\x30\x32";
const HELLO_BYTES: usize = 48;
/// A key of our own, beside the cluster's: what was written before it was true then.
const MOMENT: &str = "/moment";
/// Probes of the quick pace have counted a few times.
const SICK: Duration = Duration::from_secs(4);

struct Recorder {
    into: PathBuf,
    watch: Child,
    seen: PathBuf,
}

impl Recorder {
    fn new(cluster: &Cluster, into: &Path) -> Self {
        fs::create_dir_all(into).expect("the directory");
        let host = &cluster.hosts[0];
        let seen = cluster.lab.disk().join("watch.json");
        let watch = host
            .command(&etcd_program("etcdctl"))
            .args(["--endpoints", &format!("http://{}:2379", host.address())])
            .args(["watch", "--prefix", "/", "-w", "json"])
            .stdout(File::create(&seen).expect("a file"))
            .spawn()
            .expect("etcdctl");
        Self {
            into: into.to_owned(),
            watch,
            seen,
        }
    }

    fn moment(&self, cluster: &Cluster, name: &str) {
        say(&format!("    {name}"));
        cluster.hosts[0].etcdctl(&["put", MOMENT, name]);
    }

    fn keep(&self, name: &str, bytes: &[u8]) {
        let file = self.into.join(name);
        fs::create_dir_all(file.parent().expect("a directory")).expect("the directory");
        fs::write(file, bytes).expect("a file");
    }

    /// What lies in the directories that the sidecar of a host owns.
    fn keep_disk(&self, host: &Host, name: &str) {
        let state = host.disk().join("data/volumes/mail_leasehold-state/_data");
        for (from, to) in [(host.run().join("leasehold"), "run"), (state, "state")] {
            let files = sh(&format!("cd {} && find . -type f", from.display()));
            for file in files.lines().map(|file| file.trim_start_matches("./")) {
                let bytes = fs::read(from.join(file)).expect("a file");
                let text = String::from_utf8(bytes.clone());
                // Where the lab lies on this machine is nobody's business.
                let moved = text.map(|text| text.replace(&host.lab.disk().display().to_string(), "/srv"));
                self.keep(&format!("{name}/{to}/{file}"), &moved.map_or(bytes, String::into_bytes));
            }
        }
    }

    fn keep_storage(&self, cluster: &Cluster, name: &str) {
        for volume in STORAGE {
            let place = cluster.lab.storage.place().join(volume);
            for file in [".leasehold-store", ".leasehold-claim"] {
                if let Ok(bytes) = fs::read(place.join(file)) {
                    self.keep(&format!("{name}/{volume}/{file}"), &bytes);
                }
            }
        }
    }

    fn keep_said(&self, host: &Host, name: &str, verb: &[&str]) {
        let output = host.leasehold(verb);
        assert!(output.status.success(), "{verb:?}");
        self.keep(name, &output.stdout);
    }

    /// `KEY LEASE VALUE`, in the order in which it was written; `KEY deleted`; `# MOMENT`. Beats only where they promise
    /// something new.
    fn finish(mut self) {
        self.watch.kill().expect("etcdctl");
        self.watch.wait().expect("etcdctl");
        let text = fs::read_to_string(&self.seen).expect("what was seen");
        let mut out = String::new();
        let mut promised: BTreeMap<String, (u64, Value)> = BTreeMap::new();
        for line in text.lines() {
            let Ok(seen) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            for event in seen["Events"].as_array().into_iter().flatten() {
                let of = |field: &str| {
                    let bytes = STANDARD.decode(event["kv"][field].as_str().unwrap_or_default());
                    String::from_utf8(bytes.expect("base64")).expect("text")
                };
                let (key, value) = (of("key"), of("value"));
                let lease = event["kv"]["lease"].as_u64().unwrap_or(0);
                if event["type"] == 1 {
                    promised.remove(&key);
                    let _ = writeln!(out, "{key} deleted");
                    continue;
                }
                if key == MOMENT {
                    let _ = writeln!(out, "# {value}");
                    continue;
                }
                if key.contains("/nodes/") {
                    let beat: Value = serde_json::from_str(&value).expect("a beat");
                    let now = (lease, beat["ttl_ms"].clone());
                    if promised.insert(key.clone(), now.clone()) == Some(now) {
                        continue;
                    }
                }
                let _ = writeln!(out, "{key} {lease} {value}");
            }
        }
        self.keep("etcd.txt", out.as_bytes());
    }
}

/// Shows what a process says and hears while something is done; the first hello in it.
fn hello(pid: i32, file: &Path, act: impl FnOnce()) -> Vec<u8> {
    let _ = fs::remove_file(file);
    let mut strace = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-xx",
            "-s",
            "64",
            "-e",
            "trace=recvmsg,recvfrom,sendmsg,sendto",
            "-o",
        ])
        .arg(file)
        .args(["-p", &pid.to_string()])
        .stdin(Stdio::null())
        .spawn()
        .expect("strace");
    std::thread::sleep(Duration::from_secs(1));
    act();
    let text = within(RETURN_LIMIT, || {
        let text = fs::read_to_string(file).ok()?;
        text.contains(HELLO).then_some(text)
    });
    let _ = strace.kill();
    let _ = strace.wait();
    let text = text.expect("a hello");
    let said = text.split(HELLO).nth(1).expect("a hello");
    let said = format!("{HELLO}{}", said.split('"').next().unwrap_or_default());
    let bytes = said.split(r"\x").skip(1);
    let bytes: Vec<u8> = bytes.map(|hex| u8::from_str_radix(hex, 16).expect("hex")).collect();
    assert_eq!(bytes.len(), HELLO_BYTES);
    bytes
}

/// Everything in turn; each step leaves something of its own in etcd or on a disk.
pub(crate) fn run(cluster: &mut Cluster, into: &Path) {
    let versions = Versions::new(cluster);
    let recorder = Recorder::new(cluster, into);
    begin(cluster, &versions, Version::Before);
    recorder.moment(cluster, "serving");
    hold(cluster, &recorder);
    moves(cluster, &recorder);
    standing_orders(cluster, &recorder);
    ttl(cluster, &recorder);
    sick(cluster, &recorder);
    stuck(cluster, &recorder);
    cluster.await_successors();
    recorder.moment(cluster, "end");
    let host = &cluster.hosts[0];
    recorder.keep_said(host, "export.json", &["config", "export"]);
    recorder.keep_said(host, "history.json", &["history", "mail", "--json"]);
    recorder.finish();
    drop(versions);
}

fn hold(cluster: &Cluster, recorder: &Recorder) {
    let leader = cluster.await_leader();
    let host = &cluster.hosts[leader];
    recorder.keep_disk(host, "holder");
    recorder.keep_disk(&cluster.hosts[cluster.standby()], "standby");
    recorder.keep_storage(cluster, "storage");
    recorder.keep_said(host, "status-holder.json", &["status", "--json"]);
    host.does(&["hold", "60s"]);
    recorder.moment(cluster, "held");
    let said = hello(host.pid(Part::Tether), &cluster.lab.disk().join("strace"), || {
        succeed(host, &["compose", "up", "-d", "--force-recreate", "leasehold"]);
    });
    recorder.keep("hello-running", &said);
    cluster.settle();
    cluster.await_successors();
    recorder.moment(cluster, "adopted");
}

fn moves(cluster: &Cluster, recorder: &Recorder) {
    let (leader, to) = (cluster.await_leader(), cluster.standby());
    let (host, next) = (&cluster.hosts[leader], &cluster.hosts[to]);
    let said = hello(next.pid(Part::Sidecar), &cluster.lab.disk().join("strace"), || {
        host.does(&["switchover", "mail", "--to", next.name, "--why", "a new cable"]);
    });
    recorder.keep("hello-gate", &said);
    cluster.settle();
    cluster.await_successors();
    recorder.keep_disk(host, "left");
    recorder.moment(cluster, "moved");
    // Refused by whoever is asked: nobody is there.
    host.leasehold(&["switchover", "mail", "--to", "h9"]);
    host.leasehold(&["apply", "mail", "--why", "nothing changed"]);
    refused(cluster, recorder, to, leader);
}

/// The holder finds the request with the order that makes it impossible, and says so to whoever asked.
fn refused(cluster: &Cluster, recorder: &Recorder, holder: usize, asked: usize) {
    let (asked, wanted) = (&cluster.hosts[asked], &cluster.hosts[3 - holder - asked]);
    let (door, body) = (asked.operator_socket(), format!("{{\"to\":\"{}\"}}", wanted.name));
    cluster.hosts[holder].signal_sidecar(Signal::SIGSTOP);
    let asks = std::thread::spawn(move || socket::ask(&door, "POST", "/v1/groups/mail/switchover", &body));
    std::thread::sleep(Duration::from_millis(500));
    wanted.does(&["drain", wanted.name]);
    // It is not ready any more once it says so itself, with its next beat.
    std::thread::sleep(Duration::from_millis(1500));
    cluster.hosts[holder].signal_sidecar(Signal::SIGCONT);
    say(&format!("    {:?}", asks.join().expect("whoever asked")));
    recorder.moment(cluster, "refused");
    wanted.does(&["undrain", wanted.name]);
    cluster.settle();
    cluster.await_successors();
}

fn standing_orders(cluster: &Cluster, recorder: &Recorder) {
    let leader = cluster.await_leader();
    let host = &cluster.hosts[leader];
    let other = cluster.hosts[cluster.standby()].name;
    host.does(&["pause", "mail", "--for", "10m", "--why", "a look at the disk"]);
    host.does(&["drain", other, "--why", "a new disk"]);
    host.does(&["group", "unextend", "mail", other]);
    recorder.moment(cluster, "ordered");
    recorder.keep_said(host, "export-ordered.json", &["config", "export"]);
    host.does(&["group", "extend", "mail", other]);
    host.does(&["undrain", other]);
    host.does(&["resume", "mail"]);
    host.does(&["stop", "mail", "--why", "a snapshot of the storage"]);
    until("the service to be stopped", RETURN_LIMIT, || {
        host.serving().is_empty().then_some(())
    });
    recorder.moment(cluster, "stopped");
    recorder.keep_storage(cluster, "released");
    host.does(&["group", "delete", "mail", "--yes"]);
    recorder.moment(cluster, "deleted");
    host.does(&["group", "create", "mail", "--adopt"]);
    host.leasehold(&["start", "mail", "--no-wait"]);
    cluster.settle();
    cluster.await_successors();
    recorder.moment(cluster, "created");
}

/// Longer, and back: until every node has confirmed it the longer one stands beside it.
fn ttl(cluster: &Cluster, recorder: &Recorder) {
    let host = &cluster.hosts[cluster.await_leader()];
    let file = host.disk().join("project/.env");
    let text = fs::read_to_string(&file).expect(".env");
    for ttl in ["TTL=7s", "TTL=5s"] {
        fs::write(&file, text.replace("TTL=5s", ttl)).expect(".env");
        host.does(&["config", "apply"]);
        recorder.moment(cluster, ttl);
        let settled = now();
        until("the ttl to be everybody's", RETURN_LIMIT, || {
            (now() - settled > Duration::from_secs(15)).then_some(())
        });
    }
    fs::write(&file, text).expect(".env");
}

/// It fails more often than it is restarted in place.
fn sick(cluster: &mut Cluster, recorder: &Recorder) {
    let pace = |host: &Host, pace: Pace| {
        let mut text = String::new();
        let file = host.disk().join("project/.env");
        let quick = pace.settings();
        for line in fs::read_to_string(&file).expect(".env").lines() {
            let name = line.split('=').next().unwrap_or_default();
            match quick.iter().find(|(of, _)| *of == name) {
                Some((_, value)) => drop(writeln!(text, "{name}={value}")),
                None => drop(writeln!(text, "{line}")),
            }
        }
        fs::write(&file, text).expect(".env");
    };
    cluster.hosts.iter().for_each(|host| pace(host, Pace::Quick));
    cluster.renew_sidecars();
    let old = cluster.await_leader();
    for _ in 0..2 {
        let daemon = within(RETURN_LIMIT, || cluster.hosts[old].daemons("sendmail").first().copied());
        std::thread::sleep(SICK);
        signal(daemon.expect("a daemon"), Signal::SIGKILL);
        recorder.moment(cluster, "failed");
        std::thread::sleep(SICK);
    }
    cluster.settle();
    recorder.moment(cluster, "moved for a fault");
    cluster.hosts.iter().for_each(|host| pace(host, Pace::Usual));
    cluster.renew_sidecars();
}

/// What hangs in the kernel can't be killed: the record says so until it can.
fn stuck(cluster: &mut Cluster, recorder: &Recorder) {
    let leader = cluster.await_leader();
    cluster.lab.storage.hang();
    cluster.hosts[leader].leasehold(&["switchover", "mail", "--no-wait"]);
    let seen = within(RETURN_LIMIT, || {
        let record = cluster.hosts[leader].etcdctl(&["get", "/leasehold/mail/groups/mail/record"]);
        record.contains("\"stuck\"").then_some(())
    });
    recorder.moment(cluster, "stuck");
    cluster.lab.storage.mend();
    assert!(seen.is_some(), "nothing is stuck");
    cluster.settle();
}
