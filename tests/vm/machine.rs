//! A virtual machine without a disk: a kernel, and in memory a shell, modules and this test program.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::TIMEOUT_S;

/// Lines kept of what a machine writes, for whoever looks why it failed.
const TAIL: usize = 60;

/// In the order in which they are loaded.
const STORAGE: [&str; 18] = [
    "loop.ko",
    "veth.ko",
    "libcrc32c.ko",
    "lru_cache.ko",
    "drbd.ko usermode_helper=disabled",
    "xfs.ko",
    "sunrpc.ko",
    "grace.ko",
    "lockd.ko nlm_tcpport=32803 nlm_udpport=32803 nlm_grace_period=1",
    "nfs_acl.ko",
    "auth_rpcgss.ko",
    "netfs.ko",
    "fscache.ko",
    "dns_resolver.ko",
    "nfs.ko",
    "nfsv3.ko",
    "nfsv4.ko",
    "nfsd.ko",
];

/// Of this machine, with their libraries; the shell's own are too small for it.
const PROGRAMS: [&str; 11] = [
    "flock",
    "unshare",
    "setpriv",
    "nsenter",
    "mount",
    "losetup",
    "ip",
    "mkfs.ext4",
    "mkfs.xfs",
    "xfs_io",
    "tune2fs",
];

/// Beside the kernel, of packages that would change this machine.
const OF_DEBIAN: [&str; 3] = ["apparmor_parser", "drbdmeta", "drbdsetup-84"];

/// In the environment: scenes whose names have one of these words, with commas between them; all without it.
pub(crate) const ONLY: &str = "LEASEHOLD_VM";

static MACHINES: AtomicU32 = AtomicU32::new(0);

/// How a machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By its watchdog.
    Reset,
    PoweredOff,
    Otherwise,
}

/// Ends with the test, however it ends.
struct Machine {
    qemu: Child,
    directory: PathBuf,
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.qemu.kill().ok();
        self.qemu.wait().ok();
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// Boots a machine, runs a script in it, and gives what it `say`s and how it ended: the script's end is a power-off.
pub(crate) fn run(script: &str) -> (Vec<String>, Ended) {
    let softdog = format!("softdog.ko soft_margin={TIMEOUT_S}");
    let modules = ["watchdog.ko", &softdog];
    boot(|place, directory| memory(place, directory, &modules, script), "512")
}

/// The same for an ignored test of this program, which is run in a machine with what storage needs, and with the tether.
pub(crate) fn run_test(name: &str) -> (Vec<String>, Ended) {
    boot(|place, directory| storage(place, directory, name), "1536")
}

fn boot(image: impl FnOnce(&Path, &Path) -> Archive, megabytes: &str) -> (Vec<String>, Ended) {
    let place = std::env::var_os("LEASEHOLD_VM_DIR").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("vm"),
        PathBuf::from,
    );
    let kernel = place.join("vmlinuz");
    assert!(
        kernel.exists(),
        "{} is missing: run docker/requirements vm target/vm",
        kernel.display()
    );
    let number = MACHINES.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("leasehold-vm-{}-{number}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("image");
    fs::write(&file, image(&place, &directory).end()).unwrap();
    let qemu = Command::new("qemu-system-x86_64")
        .args([
            "-accel", "tcg", "-m", megabytes, "-display", "none", "-monitor", "none", "-nic", "none",
        ])
        .args([
            "-no-reboot",
            "-serial",
            "stdio",
            "-append",
            // On a busy machine the kernel would find that its emulated timer does not tick, and panic.
            // What AppArmor denies is read from the log, all of it.
            "console=ttyS0 quiet panic=-1 no_timer_check apparmor=1 security=apparmor log_buf_len=4M audit_backlog_limit=8192",
        ])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("qemu-system-x86_64: run docker/requirements vm target/vm");
    let mut machine = Machine { qemu, directory };
    let lines = BufReader::new(machine.qemu.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    let mut ended = Ended::Otherwise;
    let (mut tail, mut failed) = (VecDeque::new(), false);
    let aloud = std::env::var_os(ONLY).is_some();
    // Ends with the machine; a test that hangs is ended by the runner.
    for line in lines.map_while(Result::ok) {
        if aloud {
            println!("{line}");
        }
        match line.trim().split_once("vm says ") {
            Some((_, "over")) => ended = Ended::PoweredOff,
            Some((_, word)) => said.push(word.to_owned()),
            None if line.contains("softdog: Initiating system reboot") => ended = Ended::Reset,
            None => failed |= line.contains("panic") || line.contains("not found"),
        }
        tail.push_back(line);
        if tail.len() > TAIL {
            tail.pop_front();
        }
    }
    let tail: Vec<String> = tail.into();
    assert!(!failed, "within the machine, after {said:?}:\n{}", tail.join("\n"));
    (said, ended)
}

fn init(modules: &[&str], script: &str) -> String {
    let load: String = modules
        .iter()
        .map(|words| format!("insmod /modules/{words}\n"))
        .collect();
    format!(
        "#!/bin/busybox sh\n\
         exec > /dev/console 2>&1\n\
         /bin/busybox --install -s /bin\n\
         export PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
         mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev\n\
         {load}\
         say() {{ echo \"vm says $*\"; }}\n\
         start() {{\n\
         rm -f /fed; /feeder --exact feeder --ignored --nocapture & feeder=$!\n\
         while [ ! -e /fed ]; do sleep 0.1; done\n\
         }}\n\
         {script}\n\
         say over\n\
         : a sync would wait for a server that is gone\n\
         poweroff -nf\n"
    )
}

/// The machine's file system: the modules as they are given to `insmod`, and a script.
fn memory(place: &Path, directory: &Path, modules: &[&str], script: &str) -> Archive {
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "proc", "run", "sys", "tmp"] {
        archive.directory(directory);
    }
    // The kernel opens it before there is a `/dev`.
    archive.entry("dev/console", 0o020_600, &[], (5, 1));
    archive.file("init", init(modules, script).as_bytes());
    archive.file("bin/busybox", &fs::read("/bin/busybox").expect("a static busybox"));
    for words in modules {
        let name = words.split(' ').next().unwrap();
        let file = fs::read(place.join(name));
        let file = file.unwrap_or_else(|_| panic!("{name} is missing: run docker/requirements vm target/vm"));
        archive.file(&format!("modules/{name}"), &file);
    }
    archive.program(&std::env::current_exe().unwrap(), "feeder", directory);
    archive
}

/// The same with programs of this machine, and the tether where the tests look for it.
fn storage(place: &Path, directory: &Path, test: &str) -> Archive {
    let only = std::env::var(ONLY).unwrap_or_default();
    let script = format!("{ONLY}='{only}' /feeder --exact {test} --ignored --nocapture");
    let mut archive = memory(place, directory, &STORAGE, &script);
    for name in OF_DEBIAN {
        let program = place.join(name);
        assert!(
            program.exists(),
            "{} is missing: run docker/requirements vm target/vm",
            program.display()
        );
        archive.program(&program, &format!("usr/bin/{name}"), directory);
    }
    let tether = env!("CARGO_BIN_EXE_leasehold-tether");
    archive.program(Path::new(tether), &tether[1..], directory);
    archive.directories_of(concat!(env!("CARGO_TARGET_TMPDIR"), "/x"));
    // The shell in busybox takes its own programs before these.
    archive.program(Path::new("/bin/sh"), "usr/bin/sh", directory);
    for name in PROGRAMS {
        let found = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(|at| Path::new(at).join(name));
        let program = found.iter().find(|path| path.exists());
        let program = program.unwrap_or_else(|| panic!("{name} is missing: run docker/requirements vm target/vm"));
        archive.program(program, &format!("usr/bin/{name}"), directory);
    }
    archive
}

/// What a program is linked to, by path.
fn libraries(program: &Path) -> Vec<String> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
    paths.map(str::to_owned).collect()
}

/// An archive as the kernel unpacks it (`cpio`, format newc).
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    made: Vec<String>,
}

impl Archive {
    fn directory(&mut self, path: &str) {
        if !self.made.iter().any(|made| made == path) {
            self.made.push(path.to_owned());
            self.entry(path, 0o040_755, &[], (0, 0));
        }
    }

    fn directories_of(&mut self, path: &str) {
        let above: Vec<&Path> = Path::new(path.trim_start_matches('/')).ancestors().skip(1).collect();
        for directory in above.iter().rev().filter(|directory| !directory.as_os_str().is_empty()) {
            self.directory(&directory.to_string_lossy());
        }
    }

    /// Without what only a debugger reads, and with its libraries.
    fn program(&mut self, from: &Path, to: &str, directory: &Path) {
        let bare = directory.join("bare");
        let strip = Command::new("strip").arg("-o").arg(&bare).arg(from).status();
        assert!(strip.unwrap().success(), "strip");
        self.file(to, &fs::read(&bare).unwrap());
        for library in libraries(from) {
            self.file(&library[1..], &fs::read(&library).unwrap());
        }
    }

    fn file(&mut self, path: &str, content: &[u8]) {
        if self.made.iter().any(|made| made == path) {
            return;
        }
        self.made.push(path.to_owned());
        self.directories_of(path);
        self.entry(path, 0o100_755, content, (0, 0));
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8], device: (u32, u32)) {
        let (size, name) = (
            u32::try_from(content.len()).unwrap(),
            u32::try_from(path.len() + 1).unwrap(),
        );
        let fields = [0, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }
}
