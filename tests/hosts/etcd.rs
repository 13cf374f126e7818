//! The etcd members of the hosts: outside their engines, so that each can be killed, frozen and restored alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cluster::Cluster;
use crate::host::Host;
use crate::lab::NET4;
use crate::shell::{sh, until, words};

const LIMIT: Duration = Duration::from_secs(60);

/// etcd's election timeout in milliseconds.
pub(crate) fn election_ms() -> u32 {
    let stated = std::env::var("LEASEHOLD_HOSTS_ELECTION_MS").ok();
    stated.map_or(500, |ms| ms.parse().expect("LEASEHOLD_HOSTS_ELECTION_MS is a number"))
}

impl Host {
    fn peer(&self) -> String {
        format!("http://{}:2380", self.address())
    }

    fn client(&self) -> String {
        format!("http://{}:2379", self.address())
    }

    /// A power cut does not lose what was written, and a memory disk is as fast as a good real one.
    pub(crate) fn etcd_data(&self) -> PathBuf {
        self.lab.run().join(format!("etcd-{}", self.name))
    }

    pub(crate) fn start_etcd(&mut self) {
        self.start_etcd_as("new");
    }

    /// `new` or `existing`; either counts only where there is no data yet.
    pub(crate) fn start_etcd_as(&mut self, state: &str) {
        let log = self.log("etcd.log");
        let (client, peer) = (self.client(), self.peer());
        let child = self
            .command(&etcd_program("etcd"))
            .args(["--name", self.name, "--initial-cluster", &members()])
            .args(["--initial-cluster-state", state])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--heartbeat-interval", &(election_ms() / 10).to_string()])
            .args(["--election-timeout", &election_ms().to_string()])
            .args(["--log-level", "warn"])
            .arg("--data-dir")
            .arg(self.etcd_data())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.etcd = Some(child.expect("etcd starts"));
    }

    pub(crate) fn kill_etcd(&mut self) {
        if let Some(mut child) = self.etcd.take() {
            child.kill().expect("a signal to etcd");
            child.wait().expect("a killed child");
        }
    }

    /// Starts the member where it is not running, or has ended by itself.
    pub(crate) fn revive_etcd(&mut self) {
        let ended = self
            .etcd
            .as_mut()
            .is_none_or(|child| child.try_wait().is_ok_and(|code| code.is_some()));
        if ended {
            self.etcd = None;
            self.start_etcd();
        }
    }

    pub(crate) fn etcdctl(&self, arguments: &[&str]) -> String {
        let output = self
            .command(&etcd_program("etcdctl"))
            .args(["--endpoints", &self.client(), "--command-timeout", "1s"])
            .args(arguments)
            .output();
        String::from_utf8_lossy(&output.expect("etcdctl").stdout).into_owned()
    }

    fn etcd_status(&self) -> Option<serde_json::Value> {
        let shown = self.etcdctl(&["endpoint", "status", "-w", "json"]);
        serde_json::from_str(&shown).ok()
    }

    /// Puts what was saved in the place of the member's data, as the manual says; the member does not run.
    pub(crate) fn restore_etcd(&self, snapshot: &Path) {
        self.restore_etcd_as(snapshot, &members(), &[]);
    }

    /// Makes the member the only one of its cluster, out of its own data; it does not run.
    pub(crate) fn restore_etcd_alone(&self) {
        let kept = self.lab.run().join("etcd.kept");
        fs::copy(self.etcd_data().join("member/snap/db"), &kept).expect("the member's data");
        let alone = format!("{}={}", self.name, self.peer());
        self.restore_etcd_as(&kept, &alone, &["--skip-hash-check"]);
    }

    fn restore_etcd_as(&self, snapshot: &Path, members: &str, more: &[&str]) {
        let data = self.etcd_data();
        let _ = fs::remove_dir_all(&data);
        let output = Command::new(etcd_program("etcdutl"))
            .args(["snapshot", "restore"])
            .arg(snapshot)
            .args(["--name", self.name, "--initial-cluster", members])
            .args(["--initial-advertise-peer-urls", &self.peer()])
            .args(more)
            .arg("--data-dir")
            .arg(&data)
            .output()
            .expect("etcdutl");
        assert!(output.status.success(), "{}: {}", self.name, words(&output));
    }
}

impl Cluster {
    /// The host whose etcd member leads.
    pub(crate) fn etcd_leader(&self) -> Option<usize> {
        self.hosts.iter().position(|host| {
            let shown = (host.is_up() && host.etcd.is_some())
                .then(|| host.etcd_status())
                .flatten();
            shown.is_some_and(|shown| {
                let status = &shown[0]["Status"];
                status["leader"].is_u64() && status["leader"] == status["header"]["member_id"]
            })
        })
    }

    pub(crate) fn await_etcd_leader(&self) -> usize {
        until("etcd to elect its leader", LIMIT, || self.etcd_leader())
    }

    /// Makes a host's etcd member the leader.
    pub(crate) fn lead_etcd(&self, wanted: usize) {
        until("etcd's leadership to move", LIMIT, || {
            let leader = self.etcd_leader()?;
            if leader == wanted {
                return Some(());
            }
            let member = self.member_id(wanted)?;
            self.hosts[leader].etcdctl(&["move-leader", &member]);
            None
        });
    }

    fn member_id(&self, place: usize) -> Option<String> {
        let shown = self.hosts[place].etcd_status()?;
        Some(format!("{:x}", shown[0]["Status"]["header"]["member_id"].as_u64()?))
    }

    /// Saves what etcd holds now.
    pub(crate) fn save_etcd(&self) -> PathBuf {
        let file = self.lab.run().join("etcd.snapshot");
        let _ = fs::remove_file(&file);
        let leader = self.await_etcd_leader();
        self.hosts[leader].etcdctl(&["snapshot", "save", &file.display().to_string()]);
        assert!(file.exists(), "etcd was not saved");
        file
    }

    /// All members end and come back with what was saved before.
    pub(crate) fn restore_all_etcd(&mut self, snapshot: &Path) {
        self.hosts.iter_mut().for_each(Host::kill_etcd);
        self.hosts.iter().for_each(|host| host.restore_etcd(snapshot));
        self.hosts.iter_mut().for_each(Host::start_etcd);
        self.await_etcd_leader();
    }

    /// A member whose data can't be used is taken out and put in anew, as the manual says.
    pub(crate) fn replace_etcd(&mut self, place: usize) {
        self.hosts[place].kill_etcd();
        let leader = self.await_etcd_leader();
        let name = self.hosts[place].name;
        let shown = self.hosts[leader].etcdctl(&["member", "list", "-w", "json"]);
        let shown: serde_json::Value = serde_json::from_str(&shown).expect("the members");
        let members = shown["members"].as_array().expect("the members");
        let id = members
            .iter()
            .find(|member| member["name"] == name)
            .and_then(|member| member["ID"].as_u64())
            .map(|id| format!("{id:x}"));
        let id = id.expect("the member");
        let peer = format!("--peer-urls={}", self.hosts[place].peer());
        until("the member to be taken out and in", LIMIT, || {
            self.hosts[leader].etcdctl(&["member", "remove", &id]);
            let added = self.hosts[leader].etcdctl(&["member", "add", name, &peer]);
            added.contains("added to cluster").then_some(())
        });
        sh(&format!("rm -rf {}", self.hosts[place].etcd_data().display()));
        self.hosts[place].start_etcd_as("existing");
    }

    /// A member that does not follow the leader that another one follows.
    pub(crate) fn etcd_odd_one_out(&self) -> Option<usize> {
        let leader = |host: &Host| {
            host.etcd_status()
                .and_then(|shown| shown[0]["Status"]["leader"].as_u64())
        };
        let leaders: Vec<_> = self.hosts.iter().map(leader).collect();
        let known = leaders.iter().flatten().find(|leader| **leader > 0).copied();
        leaders.iter().position(|leader| leader.is_none() || *leader != known)
    }
}

fn members() -> String {
    let members = (1..=3).map(|number| format!("h{number}=http://{NET4}.{number}:2380"));
    members.collect::<Vec<_>>().join(",")
}

/// A program of etcd, from `LEASEHOLD_ETCD_DIR` or the build's directory.
pub(crate) fn etcd_program(name: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("etcd");
    let place = std::env::var_os("LEASEHOLD_ETCD_DIR").map_or(beside, PathBuf::from);
    let program = place.join(name);
    assert!(
        program.exists(),
        "{} is missing: run docker/requirements etcd target/etcd",
        program.display()
    );
    program
}
