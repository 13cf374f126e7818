//! An engine of its own for one test, beside the machine's, which must not be stopped under the other tests.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};

pub(crate) const TRIES: u32 = 1500;
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

static ENGINES: AtomicU32 = AtomicU32::new(0);

pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    for _ in 0..TRIES {
        if let Some(found) = found() {
            return found;
        }
        thread::sleep(PAUSE);
    }
    panic!("no {what} after {TRIES} looks");
}

/// An engine with a place of its own, and a directory that its containers see with what is mounted there later.
pub(crate) struct Own {
    pub(crate) directory: PathBuf,
    pub(crate) name: String,
    engine: Child,
}

impl Own {
    pub(crate) fn start() -> Self {
        let name = format!(
            "lhwitness{}x{}",
            std::process::id(),
            ENGINES.fetch_add(1, Ordering::Relaxed)
        );
        let directory = Path::new("/tmp").join(&name);
        let shared = directory.join("shared");
        fs::create_dir_all(shared.join("hang")).unwrap();
        mount_bind(&shared, &shared).unwrap();
        mount_change(&shared, MountPropagationFlags::SHARED).unwrap();
        let log = File::create(directory.join("dockerd.log")).unwrap();
        // In a network of its own: with `--bridge none` an engine deletes docker0, which is the machine's engine's.
        let engine = Command::new("unshare")
            .args(["--net", "dockerd"])
            .args(["--data-root", &text(&directory.join("data"))])
            .args(["--exec-root", &text(&directory.join("exec"))])
            .args(["--pidfile", &text(&directory.join("pid"))])
            .args(["-H", &format!("unix://{}", text(&directory.join("socket")))])
            .args(["--cgroup-parent", &format!("/{name}/inner")])
            .args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--bridge", "none"])
            .args(["--iptables=false", "--ip6tables=false", "--log-level", "warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let own = Self {
            directory,
            name,
            engine,
        };
        until("engine", || own.docker(&["version"]));
        let image = own.directory.join("image");
        fs::create_dir_all(image.join("bin")).unwrap();
        fs::copy("/bin/busybox", image.join("bin/busybox")).unwrap();
        let archive = own.directory.join("image.tar");
        let tar = Command::new("tar")
            .arg("-C")
            .arg(&image)
            .arg("-cf")
            .arg(&archive)
            .arg(".")
            .status();
        assert!(tar.unwrap().success(), "tar");
        own.docker(&["import", &text(&archive), "box"]).unwrap();
        own
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// Its answer, if it succeeds.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new("docker")
            .args(["-H", &format!("unix://{}", text(&self.socket()))])
            .args(arguments)
            .output()
            .unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    pub(crate) fn run(&self, script: &str) -> String {
        let volume = format!("{}:/shared:rslave", text(&self.directory.join("shared")));
        let options = ["run", "-d", "--network", "none", "-v", &volume, "box"];
        let command = ["/bin/busybox", "sh", "-c", script];
        self.docker(&[&options[..], &command].concat()).expect("a container")
    }

    /// The engine and its containerd, as a frozen host service would have them.
    pub(crate) fn signal(&self, signal: Signal) {
        let containerd = fs::read_to_string(self.directory.join("exec/containerd/containerd.pid")).unwrap();
        for pid in [
            i32::try_from(self.engine.id()).unwrap(),
            containerd.trim().parse().unwrap(),
        ] {
            kill(Pid::from_raw(pid), signal).unwrap();
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.signal(Signal::SIGCONT);
        let hang = self.directory.join("shared/hang");
        unmount(&hang, UnmountFlags::FORCE).ok();
        unmount(&hang, UnmountFlags::DETACH).ok();
        for id in self.docker(&["ps", "-aq"]).unwrap_or_default().lines() {
            self.docker(&["unpause", id]);
            self.docker(&["rm", "-f", id]);
        }
        kill(Pid::from_raw(i32::try_from(self.engine.id()).unwrap()), Signal::SIGTERM).ok();
        self.engine.wait().ok();
        unmount(self.directory.join("shared"), UnmountFlags::DETACH).ok();
        fs::remove_dir_all(&self.directory).ok();
        let find = [
            "/sys/fs/cgroup",
            "-depth",
            "-path",
            &format!("*/{}*", self.name),
            "-type",
            "d",
        ];
        Command::new("find")
            .args(find)
            .args(["-exec", "rmdir", "{}", ";"])
            .output()
            .ok();
    }
}

pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
