//! Within the machine: a node of a group, as its sidecar sees it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use leasehold::base::page::Order;

use super::harness::{Container, Host, Place, Setup, page};
use super::nfs::{POLITE, REFUSED};
use super::server::{Client, Export, sh};

/// Two hosts with a node each.
pub(crate) fn pair(scene: u32, export: Export, options: &str) -> ([Client; 2], [Node; 2]) {
    let hosts = [0, 1].map(|one| Client::new(scene * 2 + one, export));
    sh("rm -rf /export/*/.leasehold*");
    let [first, second] = hosts.each_ref().map(|host| host.mount(options));
    let nodes = [Node::new("n1", &first), Node::new("n2", &second)];
    (hosts, nodes)
}

/// A node of the group with its sidecar's end of the tether.
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) host: Host,
    name: &'static str,
    pub(crate) at: PathBuf,
    /// Of AppArmor, for its containers.
    pub(crate) profile: Option<&'static str>,
}

impl Node {
    pub(crate) fn new(name: &'static str, at: &Path) -> Self {
        let place = Place::new();
        let host = Host::open(&place.home(), false);
        host.host.write_page(&page(Order::Open, 600_000, 600_000)).unwrap();
        let at = at.to_owned();
        Self {
            place,
            host,
            name,
            at,
            profile: None,
        }
    }

    fn start(&self, script: &str) -> Container {
        let confined = self
            .profile
            .map(|name| format!("echo exec {name} > /proc/self/attr/exec &&"));
        let setup = Setup {
            before: &format!(
                "mkdir /run/a && mount --bind {} /run/a && {}",
                self.at.display(),
                confined.unwrap_or_default()
            ),
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

    pub(crate) fn up(&mut self, script: &str) -> Container {
        let _ = fs::remove_file(self.place.path("out/up"));
        let container = self.start(script);
        self.host.admit();
        self.place.await_out("up");
        container
    }

    /// Refused at the gate; the line that says why.
    pub(crate) fn refused(&self) -> String {
        let mut container = self.start(POLITE);
        assert_eq!(container.wait(), REFUSED, "{}", self.place.stderr());
        self.place.stderr()
    }

    pub(crate) fn stop(&mut self, container: &mut Container) -> i32 {
        self.host.host.write_page(&page(Order::Stop, 600_000, 600_000)).unwrap();
        self.host.await_gone();
        container.wait()
    }

    pub(crate) fn tether(&self, words: &[&str]) -> (i32, String) {
        let mut command = Command::new(self.place.path("tether"));
        let output = command.args(words).arg(&self.at).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        (output.status.code().unwrap_or(-1), said)
    }

    pub(crate) fn init(&self) {
        assert_eq!(self.tether(&["store", "init", "--id", "s"]), (0, String::new()));
    }

    /// As the engine starts one beside the service.
    pub(crate) fn inside(&self, container: &Container, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        let process = container.pid().to_string();
        command.args(["--target", &process, "--mount", "--pid", "--"]);
        command.arg(self.place.path("tether")).args(words);
        command
    }

    pub(crate) fn exec(&self, container: &Container, words: &[&str]) -> (i32, String) {
        let output = self.inside(container, words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code().unwrap_or(-1), said)
    }

    pub(crate) fn probe(&self, container: &Container) -> Child {
        self.inside(container, &["probe-storage", "0", "/run/a"])
            .spawn()
            .unwrap()
    }

    pub(crate) fn beat(&self) -> u64 {
        let text = fs::read_to_string(self.at.join(".leasehold-claim")).unwrap_or_default();
        let word = text.split_whitespace().nth(7).and_then(|word| word.parse().ok());
        word.unwrap_or(0)
    }
}
