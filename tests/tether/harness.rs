//! Real tethers in namespaces of their own, which end with the test whatever happens to it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use leasehold::base::clock;
use leasehold::base::epoch::Run;
use leasehold::base::page::{Order, Page};
use leasehold::base::time::Time;
use leasehold::sidecar::adapters::tether::{TetherEvent, TetherHost};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

pub(crate) const RUN: Run = Run { epoch: 7, n: 2 };

/// Longer than anything here takes; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const FORM: [&str; 9] = [
    "--service",
    "mail",
    "--group",
    "g",
    "--node",
    "n1",
    "--cluster",
    "c",
    "--",
];

/// A directory with the binary under the name `tether`, a home for the page and room for what containers write.
pub(crate) struct Place {
    root: PathBuf,
}

static PLACES: AtomicU32 = AtomicU32::new(0);

impl Place {
    pub(crate) fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "these tests make namespaces: run them as root"
        );
        let number = PLACES.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("leasehold-tether-{}-{number}", std::process::id()));
        for directory in ["g/home", "out"] {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(root.join("out"), fs::Permissions::from_mode(0o777)).unwrap();
        symlink(binary(), root.join("tether")).unwrap();
        Self { root }
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.root.join("g/home")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// What the container wrote into a file of `$OUT`.
    pub(crate) fn out(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.root.join("out").join(name)).ok()
    }

    pub(crate) fn await_out(&self, name: &str) -> String {
        let whole = || self.out(name).filter(|text| text.ends_with('\n'));
        await_that(name, || whole().is_some());
        whole().unwrap()
    }

    /// A tether with the arguments of the sidecar and this shell script as its service.
    pub(crate) fn service(&self, script: &str) -> Container {
        self.tether(&[&FORM[..], &["sh", "-c", script]].concat())
    }

    pub(crate) fn tether(&self, args: &[&str]) -> Container {
        self.start(&Setup::default(), args)
    }

    pub(crate) fn start(&self, setup: &Setup, args: &[&str]) -> Container {
        let bind = "mkdir /run/leasehold && mount --bind \"$HOST_HOME\" /run/leasehold && \
             mount -o remount,bind,ro /run/leasehold";
        let script = format!(
            "mount -t tmpfs none /run && {} && {} exec {} \"$@\"",
            if setup.no_home { "true" } else { bind },
            setup.before,
            setup.init.unwrap_or("\"$TETHER\""),
        );
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if setup.terminal {
            command.args(["setsid", "--ctty"]);
        }
        command.args(["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]);
        command
            .args(setup.unshare)
            .args(["--", "sh", "-c", &script, "sh"])
            .args(args);
        command
            .env("HOST_HOME", self.home())
            .env("TETHER", self.path("tether"))
            .env("OUT", self.path("out"));
        let file = |name| fs::File::create(self.path(name)).unwrap();
        command.stdout(file("stdout")).stderr(file("stderr"));
        match &setup.stdin {
            Some(stdin) => command.stdin(Stdio::from(stdin.try_clone().unwrap())),
            None => command.stdin(Stdio::null()),
        };
        Container {
            process: command.spawn().unwrap(),
        }
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap()
    }
}

/// The binary under test: a copy, because another build may replace the original while the tests run.
pub(crate) fn binary() -> &'static Path {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    COPY.get_or_init(|| {
        let original = Path::new(env!("CARGO_BIN_EXE_leasehold-tether"));
        let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tether-under-test");
        let written = |path: &Path| fs::metadata(path).and_then(|file| file.modified());
        let is_fresh = written(&copy).is_ok_and(|copied| written(original).is_ok_and(|built| copied >= built));
        if !is_fresh {
            // Each test may be a process of its own, so several may copy at once.
            let new = copy.with_extension(std::process::id().to_string());
            fs::copy(original, &new).unwrap();
            fs::rename(new, &copy).unwrap();
        }
        copy
    })
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// How a container differs from the usual one.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// Nothing is mounted at the home.
    pub(crate) no_home: bool,
    /// More arguments for `unshare`.
    pub(crate) unshare: &'a [&'a str],
    /// Shell words before the `exec`, with their `&&`.
    pub(crate) before: &'a str,
    /// Another init than the tether, in shell words.
    pub(crate) init: Option<&'a str>,
    /// Standard input, and the controlling terminal if `terminal`.
    pub(crate) stdin: Option<std::os::fd::OwnedFd>,
    pub(crate) terminal: bool,
}

/// The `unshare` around a tether; its end is the end of the namespace.
pub(crate) struct Container {
    process: Child,
}

impl Container {
    /// Waits for the end; 128 + n for a signal.
    pub(crate) fn wait(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        await_that("the container ends", || self.process.try_wait().unwrap().is_some());
        let status = self.process.wait().unwrap();
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
    }

    pub(crate) fn running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// The `unshare` itself, the parent of PID 1.
    pub(crate) fn parent(&self) -> u32 {
        self.process.id()
    }

    /// The PID of PID 1, as the host sees it.
    pub(crate) fn pid(&self) -> u32 {
        let unshare = self.process.id();
        let path = format!("/proc/{unshare}/task/{unshare}/children");
        let read = || fs::read_to_string(&path).unwrap_or_default().trim().parse().ok();
        await_that("a child of unshare", || read().is_some());
        read().unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Every process of this PID namespace that is not dead; PIDs of the host.
///
/// PID 1 is a zombie between its end, which is the proof, and the moment its parent reaps it.
pub(crate) fn members(namespace: u64) -> Vec<u32> {
    let dead = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ")
            .next()
            .is_none_or(|state| state.is_empty() || state.starts_with(['Z', 'X']))
    };
    let of = |pid: &u32| fs::metadata(format!("/proc/{pid}/ns/pid")).is_ok_and(|file| file.ino() == namespace);
    let pids = fs::read_dir("/proc").unwrap();
    let pids = pids.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(of).filter(|pid| !dead(pid)).collect()
}

/// The threads of these processes that hang in the kernel, where no signal reaches them.
pub(crate) fn hanging(pids: &[u32]) -> usize {
    let tasks = pids
        .iter()
        .filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
    let stats = tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
    stats
        .filter(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('D')))
        .count()
}

/// The keepers of claims among these processes.
pub(crate) fn keepers(pids: &[u32]) -> Vec<u32> {
    let is_keeper =
        |pid: &&u32| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| words.starts_with(b"tether\0claim\0"));
    pids.iter().filter(is_keeper).copied().collect()
}

pub(crate) fn namespace(pid: u32) -> u64 {
    fs::metadata(format!("/proc/{pid}/ns/pid")).unwrap().ino()
}

/// Polls until it is so.
pub(crate) fn await_that(what: &str, mut so: impl FnMut() -> bool) {
    let end = clock::now().plus(PATIENCE);
    while !so() {
        assert!(!clock::now().reached(end), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn after(ms: u64) -> Time {
    clock::now().plus(Duration::from_millis(ms))
}

pub(crate) fn page(order: Order, soft_ms: u64, hard_ms: u64) -> Page {
    static BOOT: OnceLock<[u8; 16]> = OnceLock::new();
    Page {
        boot_id: *BOOT.get_or_init(|| clock::boot_id().unwrap()),
        run: RUN,
        order,
        soft: after(soft_ms),
        hard: after(hard_ms),
        store: 0,
    }
}

/// The sidecar's end, with one worker so that it can be frozen.
pub(crate) struct Host {
    pub(crate) host: TetherHost,
    events: mpsc::Receiver<TetherEvent>,
    runtime: Runtime,
}

impl Host {
    pub(crate) fn open(directory: &Path, adopt: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (sender, events) = mpsc::channel(16);
        let notice = "leader: n2; use `leasehold start mail`";
        let _in_runtime = runtime.enter();
        let host = TetherHost::open(directory, 0, notice, adopt, sender).unwrap();
        drop(_in_runtime);
        Self { host, events, runtime }
    }

    pub(crate) fn event(&mut self) -> TetherEvent {
        let next = async { tokio::time::timeout(PATIENCE, Self::news(&mut self.events)).await };
        self.runtime.block_on(next).expect("an event in time").expect("a host")
    }

    /// The next event that is more than a word of how late the tether woke up.
    async fn news(events: &mut mpsc::Receiver<TetherEvent>) -> Option<TetherEvent> {
        loop {
            match events.recv().await {
                Some(TetherEvent::Woke { .. }) => {}
                other => return other,
            }
        }
    }

    /// How late the tether says that it woke up at the worst, when it says so next.
    pub(crate) fn woke(&mut self) -> Duration {
        let next = async { tokio::time::timeout(PATIENCE, self.events.recv()).await };
        match self.runtime.block_on(next) {
            Ok(Some(TetherEvent::Woke { late })) => late,
            other => panic!("{other:?}"),
        }
    }

    /// No event for as long as it takes to be sure.
    pub(crate) fn silent(&mut self, span: Duration) {
        let next = async { tokio::time::timeout(span, Self::news(&mut self.events)).await };
        assert!(self.runtime.block_on(next).is_err(), "an event where none was due");
    }

    /// Opens the page for one more start of the same run, which no sidecar does: the secret of a run is good for one.
    pub(crate) fn open_again(&self) {
        let open = page(Order::Open, 60_000, 60_000);
        let other = Run { n: RUN.n + 1, ..RUN };
        self.host.write_page(&Page { run: other, ..open }).unwrap();
        self.host.write_page(&open).unwrap();
    }

    /// Waits for the hello and lets it in; the tether's PID.
    pub(crate) fn admit(&mut self) -> u32 {
        match self.event() {
            TetherEvent::Hello {
                run,
                running: false,
                connection,
                pid,
                ..
            } => {
                assert_eq!(run, RUN);
                self.host.admit(connection).unwrap();
                pid.expect("this test sees every process")
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn await_gone(&mut self) {
        match self.event() {
            TetherEvent::Gone { run, .. } => assert_eq!(run, RUN),
            other => panic!("{other:?}"),
        }
    }

    /// Blocks the only worker until the returned end is dropped: a frozen sidecar.
    pub(crate) fn freeze(&self) -> std::sync::mpsc::Sender<()> {
        let (thaw, frozen) = std::sync::mpsc::channel::<()>();
        let (ready, is_ready) = std::sync::mpsc::channel::<()>();
        self.runtime.spawn(async move {
            ready.send(()).unwrap();
            let _ = frozen.recv();
        });
        is_ready.recv().unwrap();
        thaw
    }
}

/// A started and admitted service, which writes a line to `$OUT/up` when it is up.
pub(crate) fn up(place: &Place, soft_ms: u64, hard_ms: u64, script: &str) -> (Host, Container, u32) {
    let mut host = Host::open(&place.home(), false);
    host.host.write_page(&page(Order::Open, soft_ms, hard_ms)).unwrap();
    let container = place.service(script);
    let pid = host.admit();
    place.await_out("up");
    (host, container, pid)
}
