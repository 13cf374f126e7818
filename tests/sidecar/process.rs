//! One sidecar with a directory of its own; ended by its process id when dropped.

use std::fmt::Write;
use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_leasehold");
/// A condition that does not come about in so many tries will not.
const TRIES: u32 = 600;
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) struct Sidecar {
    pub(crate) dir: PathBuf,
    pub(crate) port: u16,
    environment: Vec<(&'static str, String)>,
    child: Option<Child>,
}

impl Sidecar {
    /// A node for these endpoints and with this ttl; `more` is further keys of the file's `x-leasehold`.
    pub(crate) fn new(endpoints: &[String], ttl: &str, more: &[(&str, String)]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("lhside{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&dir).unwrap();
        let more = more.iter().fold(String::new(), |mut text, (key, value)| {
            writeln!(text, "  {key}: {value}").unwrap();
            text
        });
        let file = format!(
            "name: {name}\nx-leasehold:\n  cluster: {name}\n  etcd: {endpoints:?}\n  ttl: {ttl}\n  \
             etcd_election_timeout: 500ms\n{more}services:\n  sams:\n    image: {name}/never:1\n    \
             profiles: [leasehold]\n    scale: 0\n    entrypoint: [\"/leasehold/tether\"]\n    \
             command: [\"/bin/false\"]\n    network_mode: none\n    x-leasehold:\n      group: mail\n"
        );
        std::fs::write(dir.join("compose.yaml"), file).unwrap();
        // Free a moment ago; the sidecar says so if it is not any more.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self {
            dir,
            port,
            environment: Vec::new(),
            child: None,
        }
    }

    /// One more setting of this node.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// The program with this node's settings.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(BINARY);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LEASEHOLD_") || name == "RUST_LOG") {
            command.env_remove(name);
        }
        command
            .env("LEASEHOLD_NODE", "a")
            .env("LEASEHOLD_INTERFACE", "lo")
            .env("LEASEHOLD_LISTEN", format!("127.0.0.1:{}", self.port))
            .env("LEASEHOLD_RUN_DIR", self.dir.join("run"))
            .env("LEASEHOLD_STATE_DIR", self.dir.join("state"))
            .env("LEASEHOLD_TETHER_DIR", self.dir.join("tether"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .arg("--file")
            .arg(self.dir.join("compose.yaml"));
        command
    }

    pub(crate) fn start(&mut self) {
        for part in ["run", "state", "tether"] {
            std::fs::create_dir_all(self.dir.join(part)).unwrap();
        }
        let log = File::create(self.dir.join("log")).unwrap();
        let mut command = self.command();
        command.arg("run").stdin(Stdio::null());
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.child = Some(child);
    }

    /// Ends it in order: what it holds is stopped first.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            child.wait().unwrap();
        }
    }

    /// Ends it as a crash does.
    pub(crate) fn crash(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Its process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// A command of the CLI, for this node.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// The same, while it goes on.
    pub(crate) fn cli_running(&self, arguments: &[&str]) -> Child {
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// None where no sidecar answers.
    pub(crate) fn status(&self) -> Option<Value> {
        let read: Option<Value> = serde_json::from_slice(&self.cli(&["status", "--json"]).stdout).ok();
        read.filter(|status| status["ok"].is_null())
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Waits until the status is as wanted.
    pub(crate) fn wait(&self, what: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..TRIES {
            if let Some(status) = self.status().filter(|status| is_wanted(status)) {
                return status;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("not {what}: {:?}\n{}", self.status(), self.log());
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
