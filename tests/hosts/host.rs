//! One host: an interface, an engine, an etcd member, and the sidecar as a service of the host's compose project.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::rc::Rc;
use std::time::Duration;

use leasehold::api::status::Status;
use nix::sys::signal::Signal;

use crate::etcd::{election_ms, etcd_program};
use crate::lab::{Lab, NET4, NET6, VIP4, VIP6};
use crate::pace::Pace;
use crate::parts::{Part, signal};
use crate::scenarios::TTL;
use crate::shell::{sh, tail, until, words};
use crate::socket;

/// The file that all hosts share.
const COMPOSE: &str = include_str!("compose.yaml");
/// The shared storage, as the volumes of every host name it.
pub(crate) const STORAGE: [&str; 6] = [
    "mail-config",
    "md-config",
    "mail-store",
    "mail-mqueue",
    "mail-clientmqueue",
    "mail-ledger",
];
/// The service writes it there.
pub(crate) const LEDGER: &str = "mail-ledger/ledger";
/// What clients reach the service by.
pub(crate) const VIPS: [&str; 2] = [VIP4, VIP6];
const ENGINE_LIMIT: Duration = Duration::from_secs(60);
/// No command takes longer on an engine that works.
const DOCKER_S: &str = "60";
/// The sidecar's container, as Compose names it.
pub(crate) const SIDECAR: &str = "mail-leasehold-1";

pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) number: u8,
    pub(crate) lab: Rc<Lab>,
    pub(crate) engine: Option<Child>,
    pub(crate) etcd: Option<Child>,
    /// The process behind the host's view of the storage, where there is one.
    pub(crate) fuse: Option<Child>,
    /// Its sidecar can't answer, and asking would only cost time.
    pub(crate) frozen: bool,
    powered: bool,
}

impl Host {
    /// What must be there before any host is made.
    pub(crate) fn needs() {
        etcd_program("etcd");
    }

    /// A host without power.
    pub(crate) fn new(lab: &Rc<Lab>, name: &'static str, number: u8) -> Self {
        lab.plug_in(name, number);
        let host = Self {
            name,
            number,
            lab: Rc::clone(lab),
            engine: None,
            etcd: None,
            fuse: None,
            frozen: false,
            powered: false,
        };
        for place in ["data", "project"] {
            fs::create_dir_all(host.disk().join(place)).expect("the host's disk");
        }
        fs::write(host.disk().join("project/compose.yaml"), COMPOSE).expect("the compose file");
        host.write_settings(Pace::Usual);
        host.write_engine_settings(false);
        host
    }

    /// The host's `.env`; a sidecar that runs reads it at its next start.
    pub(crate) fn write_settings(&self, pace: Pace) {
        let settings = [
            ("NODE", self.name.to_owned()),
            ("PRIORITY", (u32::from(self.number) * 10).to_string()),
            ("NET4", NET4.to_owned()),
            ("NET6", NET6.to_owned()),
            ("RUN", self.run().display().to_string()),
            // An update has left its own names here.
            ("SAMS_IMAGE", self.image("sams")),
            ("LEASEHOLD_IMAGE", self.image("leasehold")),
            (
                "TTL",
                std::env::var("LEASEHOLD_HOSTS_TTL").unwrap_or_else(|_| format!("{}s", TTL.as_secs())),
            ),
            ("ELECTION", format!("{}ms", election_ms())),
            (
                "LOG",
                std::env::var("LEASEHOLD_LOG").unwrap_or_else(|_| "info".to_owned()),
            ),
        ];
        let paced = pace.settings().map(|(name, value)| (name, value.to_owned()));
        let lines = settings.into_iter().chain(paced);
        let text: String = lines.map(|(name, value)| format!("{name}={value}\n")).collect();
        fs::write(self.disk().join("project/.env"), text).expect(".env");
    }

    /// The image of the host's `.env`, `sams` or `leasehold`.
    pub(crate) fn image(&self, of: &str) -> String {
        let text = fs::read_to_string(self.disk().join("project/.env")).unwrap_or_default();
        let key = format!("{}_IMAGE=", of.to_uppercase());
        let found = text.lines().find_map(|line| line.strip_prefix(&key));
        found.map_or_else(|| format!("leasehold/{of}:{}", tag()), str::to_owned)
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.lab.disk().join(self.name)
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.lab.run().join(self.name)
    }

    pub(crate) fn address(&self) -> String {
        format!("{NET4}.{}", self.number)
    }

    pub(crate) fn mac(&self) -> String {
        format!("02:00:00:00:77:0{}", self.number)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.powered
    }

    /// Switches the host on: network, etcd, engine. What the engine restarts at boot, starts.
    pub(crate) fn boot(&mut self) {
        self.powered = true;
        // A reboot empties it. (The boot id is the machine's and stays: one kernel serves all hosts.)
        let _ = fs::remove_dir_all(self.run());
        fs::create_dir_all(self.run().join("leasehold")).expect("the host's run directory");
        self.inside("ip addr flush dev eth0");
        self.inside(&format!(
            "ip addr add {}/24 dev eth0; ip addr add {NET6}::{}/64 dev eth0 nodad",
            self.address(),
            self.number
        ));
        self.lab.port(self.name, true);
        self.lab.cable(self.name, true);
        self.lab.storage.show(self.name);
        self.start_etcd();
        self.start_engine();
    }

    pub(crate) fn start_engine(&mut self) {
        let log = self.log("dockerd.log");
        let (run, group) = (self.run(), format!("/{}", self.lab.host_name(self.name)));
        let child = self
            .command(Path::new("dockerd"))
            .env("PATH", self.engine_path())
            .arg("--config-file")
            .arg(self.engine_settings())
            .arg("--data-root")
            .arg(self.disk().join("data"))
            .arg("--exec-root")
            .arg(run.join("exec"))
            .arg("--pidfile")
            .arg(run.join("docker.pid"))
            .args(["-H", &self.socket(), "--cgroup-parent", &group])
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs"])
            .args([
                "--bridge",
                "none",
                "--iptables=false",
                "--ip6tables=false",
                "--log-level",
                "warn",
            ])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.engine = Some(child.expect("dockerd starts"));
    }

    /// Where the engine finds its programs: in a directory of this host before all others.
    fn engine_path(&self) -> String {
        let usual = std::env::var("PATH").expect("a PATH");
        format!("{}:{usual}", self.disk().join("bin").display())
    }

    /// What starts containers for the engine is broken, as after an update, or mended. What runs, runs on.
    pub(crate) fn break_runtime(&self, broken: bool) {
        let runc = self.disk().join("bin/runc");
        if !broken {
            return fs::remove_file(runc).expect("a broken program");
        }
        fs::create_dir_all(self.disk().join("bin")).expect("the host's disk");
        fs::write(&runc, "#!/bin/sh\necho broken by an update >&2\nexit 1\n").expect("a broken program");
        fs::set_permissions(&runc, Permissions::from_mode(0o755)).expect("its mode");
    }

    fn engine_settings(&self) -> PathBuf {
        self.disk().join("daemon.json")
    }

    fn write_engine_settings(&self, live_restore: bool) {
        let text = format!("{{\"live-restore\": {live_restore}}}\n");
        fs::write(self.engine_settings(), text).expect("the engine's settings");
    }

    /// Whether the containers live on without the engine.
    pub(crate) fn set_live_restore(&self, wanted: bool) {
        self.write_engine_settings(wanted);
        // Read again on this signal.
        signal(self.pid(Part::Engine), Signal::SIGHUP);
        until("the engine to take its settings", ENGINE_LIMIT, || {
            let output = self.docker(&["info", "--format", "{{.LiveRestoreEnabled}}"]);
            (String::from_utf8_lossy(&output.stdout).trim() == wanted.to_string()).then_some(())
        });
    }

    pub(crate) fn await_engine(&self) {
        until(&format!("the engine of {}", self.name), ENGINE_LIMIT, || {
            self.docker(&["version"]).status.success().then_some(())
        });
    }

    /// Ends everything on the host at once, as a power cut does: nobody on the network hears of it.
    pub(crate) fn power_off(&mut self) {
        self.lab.cable(self.name, false);
        self.lab.kill_host(self.name);
        (self.frozen, self.powered) = (false, false);
        for mut child in [self.engine.take(), self.etcd.take(), self.fuse.take()]
            .into_iter()
            .flatten()
        {
            child.wait().expect("a killed child");
        }
    }

    /// The image archive, and the volumes.
    pub(crate) fn install(&self, images: &Path) {
        let output = self.docker(&["load", "-q", "-i", &images.display().to_string()]);
        assert!(output.status.success(), "{}: {}", self.name, words(&output));
        self.make_volumes();
    }

    /// The shared storage under the names that the compose file knows.
    pub(crate) fn make_volumes(&self) {
        for volume in STORAGE {
            let device = format!("device={}", self.lab.storage.view(self.name).join(volume).display());
            let options = ["--opt", "type=none", "--opt", "o=bind", "--opt", &device];
            let output = self.docker(&[&["volume", "create"][..], &options, &[volume]].concat());
            assert!(output.status.success(), "{}: {}", self.name, words(&output));
        }
    }

    pub(crate) fn socket(&self) -> String {
        format!("unix://{}", self.run().join("docker.sock").display())
    }

    pub(crate) fn log(&self, name: &str) -> File {
        let file = self.disk().join(name);
        File::options()
            .append(true)
            .create(true)
            .open(file)
            .expect("a log file")
    }

    /// A command in the host's network.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        let space = Path::new("/run/netns").join(self.lab.host_name(self.name));
        command
            .arg(format!("--net={}", space.display()))
            .arg(program)
            .stdin(Stdio::null());
        command
    }

    /// Runs a shell command in the host's network.
    pub(crate) fn inside(&self, command: &str) -> String {
        sh(&format!(
            "nsenter --net=/run/netns/{} sh -c '{command}'",
            self.lab.host_name(self.name)
        ))
    }

    /// Whether any interface of the host carries the address.
    pub(crate) fn carries(&self, address: &str) -> bool {
        self.inside("ip -o addr show").contains(&format!(" {address}/"))
    }

    /// A command of somebody who works on this host.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Output {
        self.docker_command("TERM", DOCKER_S, arguments)
            .output()
            .expect("docker runs")
    }

    /// The same by somebody who presses Control-C after some seconds.
    pub(crate) fn patiently(&self, seconds: &str, arguments: &[&str]) -> Output {
        self.docker_command("INT", seconds, arguments)
            .output()
            .expect("timeout runs")
    }

    /// A client that is ended after some seconds: an engine may be frozen.
    fn docker_command(&self, signal: &str, seconds: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command
            .args(["-s", signal, "-k", seconds, seconds, "docker"])
            .args(arguments)
            .current_dir(self.disk().join("project"))
            .env("DOCKER_HOST", self.socket())
            .env_remove("LEASEHOLD_NODE")
            .stdin(Stdio::null());
        command
    }

    /// The same, of Compose, in the project's directory.
    pub(crate) fn compose(&self, arguments: &[&str]) -> Output {
        self.docker(&[&["compose"][..], arguments].concat())
    }

    /// `leasehold` in the sidecar's container.
    pub(crate) fn leasehold(&self, arguments: &[&str]) -> Output {
        self.compose(&[&["exec", "-T", "leasehold", "leasehold"][..], arguments].concat())
    }

    pub(crate) fn start_sidecar(&self) {
        let output = self.compose(&["up", "-d", "leasehold"]);
        assert!(output.status.success(), "{}: {}", self.name, words(&output));
    }

    /// A field of a container; empty when there is no such container.
    pub(crate) fn inspect(&self, container: &str, field: &str) -> String {
        let output = self.docker(&["inspect", "--type", "container", "--format", field, container]);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The running containers of the protected service, one-off ones too; not one that a restart policy keeps trying.
    pub(crate) fn serving(&self) -> Vec<String> {
        let of_sams = "label=com.docker.compose.service=sams";
        let output = self.docker(&[
            "ps",
            "-q",
            "--no-trunc",
            "--filter",
            "status=running",
            "--filter",
            of_sams,
        ]);
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// SIGKILL to the sidecar itself, so that the engine sees it crash.
    pub(crate) fn kill_sidecar(&self) {
        self.signal_sidecar(Signal::SIGKILL);
    }

    pub(crate) fn signal_sidecar(&self, wanted: Signal) {
        signal(self.pid(Part::Sidecar), wanted);
    }

    pub(crate) fn sidecar_pid(&self) -> Option<i32> {
        let pid = self.inspect(SIDECAR, "{{.State.Pid}}").parse().ok();
        pid.filter(|pid| *pid > 0)
    }

    /// The cluster as this host's sidecar sees it; none while it does not answer.
    pub(crate) fn status(&self) -> Option<Status> {
        let (_, body) = socket::ask(&self.operator_socket(), "GET", "/v1/status", "").ok()?;
        serde_json::from_str(&body).ok()
    }

    /// Whether its sidecar says so at this endpoint.
    fn says(&self, path: &str) -> bool {
        socket::ask(&self.operator_socket(), "GET", path, "").is_ok_and(|(code, _)| code == 200)
    }

    /// Where the sidecar hears operators of this host.
    pub(crate) fn operator_socket(&self) -> PathBuf {
        self.run().join("leasehold/leasehold.sock")
    }

    /// Whether this host serves, by its own word.
    pub(crate) fn leads(&self) -> bool {
        self.is_up() && !self.frozen && self.says("/leader?group=mail")
    }

    /// Whether this host's sidecar takes part and could take over (or serves).
    pub(crate) fn is_ready(&self) -> bool {
        !self.frozen && self.says("/readyz?group=mail")
    }

    /// What a person would look at first.
    pub(crate) fn describe(&self, lines: usize) -> String {
        if !self.is_up() {
            return format!("--- {}: off", self.name);
        }
        let state = words(&self.leasehold(&["status"]));
        let containers = words(&self.docker(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"]));
        let addresses = self.inside("ip -br addr show dev eth0");
        let count = lines.to_string();
        let log = words(&self.docker(&["logs", "--tail", &count, SIDECAR]));
        let mail = self
            .serving()
            .first()
            .map(|id| words(&self.docker(&["logs", "--tail", "10", id])));
        let engine = tail(&self.disk().join("dockerd.log"), 5);
        format!(
            "--- {}\n{state}\n{containers}\n{addresses}\n{log}\n-- sams: {}\n-- engine: {engine}",
            self.name,
            mail.unwrap_or_default()
        )
    }
}

/// The tag of the images under test.
pub(crate) fn tag() -> String {
    std::env::var("LEASEHOLD_TEST_TAG").unwrap_or_else(|_| "dev".to_owned())
}

/// What every host loads.
pub(crate) fn images() -> [String; 2] {
    ["sams", "leasehold"].map(|name| format!("leasehold/{name}:{}", tag()))
}

pub(crate) fn save_images(archive: &Path) {
    sh(&format!("docker save -o {} {}", archive.display(), images().join(" ")));
}
