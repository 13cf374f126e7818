//! One host: a Debian tree whose own systemd is PID 1, with Debian's engine, and `compose/node` on it as its comments say.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::rc::Rc;
use std::time::Duration;

use leasehold::api::status::Status;

use crate::lab::{Lab, NET4, VIP4};
use crate::pace::Pace;
use crate::shell::{sh, tail, try_sh, until, words};
use crate::socket;

/// What makes a tree a host.
const BOOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/platform/boot");
/// What clients reach the service by, as `compose/node` has it: one address.
pub(crate) const VIPS: [&str; 1] = [VIP4];
/// The directories on the shared storage, one for each volume of `./volumes`.
pub(crate) const STORAGE: [&str; 5] = [
    "mail-config",
    "md-config",
    "mail-store",
    "mail-mqueue",
    "mail-clientmqueue",
];
/// Among the mailboxes: `compose/node` has no volume for it.
pub(crate) const LEDGER: &str = "mail-store/ledger";
/// The mail server as it is, with a mailbox for the clients, and writing the ledger.
pub(crate) const WATCHED: &str = "leasehold/sams:watched";
const SETTINGS: [&str; 4] = [
    "LEDGER_FILE=/var/md/store/ledger",
    "MAIL_DEMO_USER=alice",
    "MAIL_DEMO_PASSWORD=secret",
    "MAIL_QUEUE_INTERVAL=5",
];
/// The sidecar's container, as Compose names it.
pub(crate) const SIDECAR: &str = "mail-leasehold-1";
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// No command takes longer on a host that works.
const COMMAND_S: &str = "60";

/// How the sidecar is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `leasehold.service`, of `compose/node` or of the package.
    Unit,
    /// The service `leasehold` of `compose.yaml`.
    Container,
}

pub(crate) struct Host {
    pub(crate) name: &'static str,
    pub(crate) number: u8,
    pub(crate) form: Form,
    pub(crate) lab: Rc<Lab>,
    /// The process whose child is the host's systemd.
    machine: Option<Child>,
}

impl Host {
    /// What must be there before any host is made.
    pub(crate) fn needs() {
        tree();
        programs();
        package();
    }

    /// A host without power: the second has the image store of containerd, the third runs its sidecar and all its containers
    /// in a time namespace.
    pub(crate) fn new(lab: &Rc<Lab>, name: &'static str, number: u8) -> Self {
        lab.plug_in(name, number);
        let host = Self {
            name,
            number,
            form: if number == 3 { Form::Container } else { Form::Unit },
            lab: Rc::clone(lab),
            machine: None,
        };
        host.write("etc/hostname", &format!("{name}\n"));
        // One that has none is set up anew by systemd, which asks questions.
        host.write("etc/machine-id", &format!("{:032x}\n", 0x1ea5_e000 + u32::from(number)));
        host.write("etc/docker/daemon.json", &host.engine_settings(false));
        let containerd = match host.form {
            // What it starts inherits it, as with an engine that asks for it.
            Form::Container => "ExecStart=\nExecStart=/usr/bin/unshare --time /usr/bin/containerd".to_owned(),
            // The runtime takes the root of all cgroups for its systemd's; here it is a group below, and a restarted containerd
            // would find no process in its containers. (A sidecar in a container would see this part alone.)
            Form::Unit => format!("BindPaths=/sys/fs/cgroup/{}:/sys/fs/cgroup", lab.host_name(name)),
        };
        host.write(
            "etc/systemd/system/containerd.service.d/host.conf",
            &format!("[Service]\n{containerd}\n"),
        );
        host
    }

    /// Onto the host's disk, while it is off.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let file = self.disk().join("upper").join(file);
        fs::create_dir_all(file.parent().expect("a directory")).expect("the host's disk");
        fs::write(file, text).expect("a file on the host's disk");
    }

    /// The second host has the image store of containerd.
    fn engine_settings(&self, live_restore: bool) -> String {
        let store = self.number == 2;
        format!("{{\"live-restore\": {live_restore}, \"features\": {{\"containerd-snapshotter\": {store}}}}}\n")
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.lab.disk().join(self.name)
    }

    /// Whether the unit came with the package.
    pub(crate) fn is_packaged(&self) -> bool {
        self.number == 2
    }

    pub(crate) fn address(&self) -> String {
        format!("{NET4}.{}", self.number)
    }

    pub(crate) fn mac(&self) -> String {
        format!("02:00:00:00:77:0{}", self.number)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.machine.is_some()
    }

    /// Switches the host on. What comes then is its systemd's to say.
    pub(crate) fn boot(&mut self) {
        let name = self.lab.host_name(self.name);
        let space = format!("nsenter --net=/run/netns/{name}");
        // The network is there before its systemd, as with a static configuration.
        sh(&format!(
            "{space} ip addr flush dev eth0; {space} ip addr add {}/24 dev eth0",
            self.address()
        ));
        self.lab.port(self.name, true);
        self.lab.cable(self.name, true);
        self.lab.storage.show(self.name);
        let cgroup = unified().join(&name);
        fs::create_dir_all(&cgroup).expect("a cgroup");
        fs::create_dir_all(self.disk()).expect("the host's disk");
        let log = File::create(self.disk().join("boot.log")).expect("a log file");
        let child = Command::new("nsenter")
            .arg(format!("--net=/run/netns/{name}"))
            .args([
                "unshare",
                "--mount",
                "--pid",
                "--uts",
                "--ipc",
                "--fork",
                "--kill-child",
                BOOT,
            ])
            .arg(self.name)
            .arg(tree())
            .arg(self.disk())
            .arg(self.lab.storage.view(self.name))
            .arg(cgroup)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn();
        self.machine = Some(child.expect("the host starts"));
        let log = self.disk().join("boot.log");
        until(&format!("the systemd of {}", self.name), BOOT_LIMIT, || {
            let machine = self.machine.as_mut().expect("just started");
            let ended = machine.try_wait().expect("a child");
            assert!(ended.is_none(), "{} has no systemd: {}", self.name, tail(&log, 5));
            let said = self.try_inside("systemctl is-system-running");
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            ["starting", "running", "degraded"].contains(&said.trim()).then_some(())
        });
    }

    /// The host's PID 1, by its number outside.
    fn init(&self) -> Option<u32> {
        let parent = self.machine.as_ref()?.id();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// Waits until the host has ended by itself, as after `systemctl reboot`.
    pub(crate) fn await_off(&mut self) {
        let machine = self.machine.as_mut().expect("a host that is on");
        until(&format!("the end of {}", self.name), BOOT_LIMIT, || {
            machine.try_wait().expect("a child").map(drop)
        });
        self.power_off();
    }

    /// Ends everything on the host at once, as a power cut does: nobody on the network hears of it.
    pub(crate) fn power_off(&mut self) {
        self.lab.cable(self.name, false);
        if let Some(init) = self.init() {
            // With its PID 1 the kernel ends the whole namespace.
            try_sh(&format!("kill -9 {init}"));
        }
        self.lab.kill_host(self.name);
        if let Some(mut machine) = self.machine.take() {
            machine.wait().expect("a killed child");
        }
    }

    /// A command on the host, ended after a while.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let init = self.init().unwrap_or_else(|| panic!("{} is off", self.name));
        let mut command = Command::new("timeout");
        command
            .args(["-k", "5", COMMAND_S, "nsenter", "-m", "-p", "-u", "-i", "-n", "-t"])
            .arg(init.to_string())
            .args(["env", "-i", "HOME=/root", "LANG=C.UTF-8"])
            .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// What somebody types on the host; it may fail.
    pub(crate) fn try_inside(&self, line: &str) -> Output {
        if self.init().is_none() {
            // It is just going down.
            return Command::new("false").output().expect("false runs");
        }
        self.command(&["bash", "-euc", line]).output().expect("nsenter runs")
    }

    /// What somebody types on the host; its output.
    pub(crate) fn inside(&self, line: &str) -> String {
        let output = self.try_inside(line);
        assert!(output.status.success(), "{}: {line}: {}", self.name, words(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The same, not waited for.
    pub(crate) fn begin(&self, line: &str) -> Child {
        let mut command = self.command(&["bash", "-euc", line]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("nsenter runs")
    }

    pub(crate) fn finish(&self, begun: Child) {
        let output = begun.wait_with_output().expect("an end");
        assert!(output.status.success(), "{}: {}", self.name, words(&output));
    }

    /// Whether any interface of the host carries the address.
    pub(crate) fn carries(&self, address: &str) -> bool {
        self.inside("ip -o addr show").contains(&format!(" {address}/"))
    }

    pub(crate) fn await_engine(&self) {
        until(&format!("the engine of {}", self.name), BOOT_LIMIT, || {
            self.try_inside("docker version").status.success().then_some(())
        });
    }

    /// The images, and what the comments of `compose/node` say up to the sidecar's start.
    pub(crate) fn install(&self, images: &Path) {
        let archive = File::open(images).expect("the images");
        let output = self.command(&["docker", "load", "-q"]).stdin(archive).output();
        let output = output.expect("docker load");
        assert!(output.status.success(), "{}: {}", self.name, words(&output));
        self.follow_comments();
    }

    /// Whether the host is what its rows stand for; its containers run.
    pub(crate) fn verify_platform(&self) {
        let engine = self.inside("docker info -f '{{.CgroupDriver}} {{.CgroupVersion}}'");
        assert_eq!(engine, "systemd 2", "{}", self.name);
        let store = self
            .inside("docker info -f '{{.DriverStatus}}'")
            .contains("io.containerd.snapshotter");
        assert_eq!(store, self.number == 2, "the image store of {}", self.name);
        let own = self.inside("readlink /proc/1/ns/time");
        let pid = self.inside("docker inspect -f '{{.State.Pid}}' mail-etcd-1");
        let of_container = self.inside(&format!("readlink /proc/{pid}/ns/time"));
        assert_eq!(
            own != of_container,
            self.number == 3,
            "the time namespace of {}",
            self.name
        );
        assert_eq!(self.inside("stat -f -c %T /sys/fs/cgroup"), "cgroup2fs");
        let unit = match self.form {
            Form::Unit if self.is_packaged() => "/usr/lib/systemd/system/leasehold.service",
            Form::Unit => "/etc/systemd/system/leasehold.service",
            Form::Container => "",
        };
        let found = self.inside("systemctl show -P FragmentPath leasehold");
        assert_eq!(found, unit, "{}", self.name);
    }

    /// `leasehold` where the sidecar is.
    pub(crate) fn leasehold(&self, arguments: &[&str]) -> Output {
        let before = match self.form {
            Form::Unit => "leasehold",
            Form::Container => "cd /srv/mail && docker compose exec -T leasehold leasehold",
        };
        self.try_inside(&format!("{before} {}", arguments.join(" ")))
    }

    pub(crate) fn start_sidecar(&self) {
        match self.form {
            Form::Unit => self.inside("systemctl start leasehold"),
            Form::Container => self.inside("cd /srv/mail && docker compose up -d leasehold"),
        };
    }

    /// The running containers of the protected service, one-off ones too.
    pub(crate) fn serving(&self) -> Vec<String> {
        let said = self.try_inside(
            "docker ps -q --no-trunc --filter status=running --filter label=com.docker.compose.service=sams",
        );
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        said.lines().map(str::to_owned).collect()
    }

    /// The sidecar's process, by its number on the host.
    pub(crate) fn sidecar_pid(&self) -> String {
        self.inside(&match self.form {
            Form::Unit => "systemctl show -P MainPID leasehold".to_owned(),
            Form::Container => format!("docker inspect -f '{{{{.State.Pid}}}}' {SIDECAR}"),
        })
    }

    /// PID 1 of the service's container, by its number on the host.
    pub(crate) fn tether_pid(&self) -> String {
        let serving = self.serving();
        let id = serving.first().expect("a container that runs");
        self.inside(&format!("docker inspect -f '{{{{.State.Pid}}}}' {id}"))
    }

    pub(crate) fn kill_tether(&self) {
        self.inside(&format!("kill -9 {}", self.tether_pid()));
    }

    /// Whether the containers live on without the engine.
    pub(crate) fn set_live_restore(&self, wanted: bool) {
        let text = self.engine_settings(wanted);
        self.inside(&format!(
            "echo '{text}' > /etc/docker/daemon.json; systemctl reload docker"
        ));
        until("the engine to take its settings", BOOT_LIMIT, || {
            let said = self.inside("docker info -f '{{.LiveRestoreEnabled}}'");
            (said == wanted.to_string()).then_some(())
        });
    }

    /// The cluster as this host's sidecar sees it; none while it does not answer.
    pub(crate) fn status(&self) -> Option<Status> {
        let (_, body) = socket::ask(&self.operator_socket()?, "GET", "/v1/status", "").ok()?;
        serde_json::from_str(&body).ok()
    }

    fn says(&self, path: &str) -> bool {
        let asked = |socket: PathBuf| socket::ask(&socket, "GET", path, "").is_ok_and(|(code, _)| code == 200);
        self.operator_socket().is_some_and(asked)
    }

    /// Where the sidecar hears operators of this host, in the host's own `/run`.
    fn operator_socket(&self) -> Option<PathBuf> {
        Some(PathBuf::from(format!(
            "/proc/{}/root/run/leasehold/leasehold.sock",
            self.init()?
        )))
    }

    /// Whether this host serves, by its own word.
    pub(crate) fn leads(&self) -> bool {
        self.says("/leader?group=mail")
    }

    /// Whether this host's sidecar takes part and could take over (or serves).
    pub(crate) fn is_ready(&self) -> bool {
        self.says("/readyz?group=mail")
    }

    /// What the sidecar has said since the host's boot.
    pub(crate) fn sidecar_log(&self, lines: usize) -> String {
        let line = match self.form {
            Form::Unit => format!("journalctl -b -u leasehold -o cat --no-pager -n {lines}"),
            Form::Container => format!("docker logs --tail {lines} {SIDECAR}"),
        };
        words(&self.try_inside(&line))
    }

    /// What a person would look at first.
    pub(crate) fn describe(&self, lines: usize) -> String {
        if self.init().is_none() {
            let log = tail(&self.disk().join("boot.log"), 5);
            return format!("--- {}: off\n{log}", self.name);
        }
        let seen = self.try_inside(
            "systemctl --failed --no-legend --no-pager; docker ps -a --format '{{.Names}} {{.Status}}'; \
             ip -br addr show dev eth0; journalctl -b -u docker -u containerd -p warning -o cat --no-pager -n 5",
        );
        format!(
            "--- {}\n{}\n{}\n{}",
            self.name,
            words(&self.leasehold(&["status"])),
            words(&seen),
            self.sidecar_log(lines)
        )
    }

    /// A machine keeps no pace of its own here.
    pub(crate) fn write_settings(&self, _: Pace) {}
}

/// Saves the images that every host loads.
pub(crate) fn save_images(archive: &Path) {
    let changes: Vec<String> = SETTINGS.iter().map(|it| format!("--change 'ENV {it}'")).collect();
    let (changes, sams) = (changes.join(" "), image("sams"));
    sh(&format!(
        "made=$(docker create {sams}) && docker commit {changes} $made {WATCHED} && docker rm $made && \
         docker save -o {} {WATCHED} {} {} && docker rmi {WATCHED}",
        archive.display(),
        image("leasehold"),
        image("etcd")
    ));
}

/// What `docker/build` makes.
pub(crate) fn images() -> Vec<String> {
    ["sams", "leasehold", "etcd"].map(image).to_vec()
}

pub(crate) fn image(name: &str) -> String {
    let tag = std::env::var("LEASEHOLD_TEST_TAG").unwrap_or_else(|_| "dev".to_owned());
    format!("leasehold/{name}:{tag}")
}

/// Where `docker/requirements platform DIR` has put it; without it these tests fail.
fn tree() -> PathBuf {
    let missing = "run `docker/requirements platform DIR`, and name DIR in LEASEHOLD_PLATFORM_DIR";
    let place = PathBuf::from(std::env::var_os("LEASEHOLD_PLATFORM_DIR").expect(missing));
    assert!(place.join("made").exists(), "no tree in {}: {missing}", place.display());
    place.join("root")
}

/// The Debian package of the programs under test.
pub(crate) fn package() -> PathBuf {
    let missing = "run `docker/build release DIR`, and name DIR in LEASEHOLD_PACKAGES";
    let place = PathBuf::from(std::env::var_os("LEASEHOLD_PACKAGES").expect(missing));
    let files = place.read_dir().unwrap_or_else(|error| panic!("{error}: {missing}"));
    let mut files = files.map(|entry| entry.expect("an entry").path());
    let found = files.find(|path| path.extension().is_some_and(|end| end == "deb"));
    found.unwrap_or_else(|| panic!("no package in {}: {missing}", place.display()))
}

/// The directory with the static programs under test.
pub(crate) fn programs() -> PathBuf {
    let missing = "build the program, and name it in LEASEHOLD_BINARY";
    let program = PathBuf::from(std::env::var_os("LEASEHOLD_BINARY").expect(missing));
    assert!(program.exists(), "no {}: {missing}", program.display());
    program.parent().expect("a directory").to_owned()
}

/// The machine's hierarchy of version 2, whatever else it has.
fn unified() -> PathBuf {
    let top = Path::new("/sys/fs/cgroup");
    let beside = top.join("unified");
    let found = if beside.is_dir() { beside } else { top.to_owned() };
    assert!(
        found.join("cgroup.procs").exists(),
        "this machine has no cgroups of version 2"
    );
    found
}
