//! A virtual machine without a disk: a kernel, and in memory a shell, two modules and this test program.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::TIMEOUT_S;

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
    let image = directory.join("image");
    fs::write(&image, memory(&place, &directory, script)).unwrap();
    let qemu = Command::new("qemu-system-x86_64")
        .args([
            "-accel", "tcg", "-m", "512", "-display", "none", "-monitor", "none", "-nic", "none",
        ])
        .args([
            "-no-reboot",
            "-serial",
            "stdio",
            "-append",
            "console=ttyS0 quiet panic=-1",
        ])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(image)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("qemu-system-x86_64: run docker/requirements vm target/vm");
    let mut machine = Machine { qemu, directory };
    let lines = BufReader::new(machine.qemu.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    let mut ended = Ended::Otherwise;
    // Ends with the machine; a test that hangs is ended by the runner.
    for line in lines.map_while(Result::ok) {
        match line.trim().split_once("vm says ") {
            Some((_, "over")) => ended = Ended::PoweredOff,
            Some((_, word)) => said.push(word.to_owned()),
            None if line.contains("softdog: Initiating system reboot") => ended = Ended::Reset,
            None if line.contains("panic") || line.contains("not found") => panic!("within the machine: {line}"),
            None => {}
        }
    }
    (said, ended)
}

fn init(script: &str) -> String {
    format!(
        "#!/bin/busybox sh\n\
         exec > /dev/console 2>&1\n\
         for tool in mount insmod sleep kill touch poweroff rm; do /bin/busybox ln -s busybox /bin/$tool; done\n\
         mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev\n\
         insmod /watchdog.ko || true; insmod /softdog.ko soft_margin={TIMEOUT_S}\n\
         say() {{ echo \"vm says $*\"; }}\n\
         start() {{\n\
         rm -f /fed; /feeder --exact feeder --ignored --nocapture & feeder=$!\n\
         while [ ! -e /fed ]; do sleep 0.1; done\n\
         }}\n\
         {script}\n\
         say over\n\
         poweroff -f\n"
    )
}

/// The machine's file system.
fn memory(place: &Path, directory: &Path, script: &str) -> Vec<u8> {
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "proc", "sys", "tmp"] {
        archive.directory(directory);
    }
    // The kernel opens it before there is a `/dev`.
    archive.entry("dev/console", 0o020_600, &[], (5, 1));
    archive.file("init", init(script).as_bytes());
    archive.file("bin/busybox", &fs::read("/bin/busybox").expect("a static busybox"));
    for module in ["watchdog.ko", "softdog.ko"] {
        archive.file(module, &fs::read(place.join(module)).unwrap());
    }
    let own = std::env::current_exe().unwrap();
    let bare = directory.join("feeder");
    let strip = Command::new("strip").arg("-o").arg(&bare).arg(&own).status();
    assert!(strip.unwrap().success(), "strip");
    archive.file("feeder", &fs::read(&bare).unwrap());
    for library in libraries(&own) {
        archive.file(&library[1..], &fs::read(&library).unwrap());
    }
    archive.end()
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

    fn file(&mut self, path: &str, content: &[u8]) {
        let above: Vec<&Path> = Path::new(path).ancestors().skip(1).collect();
        for directory in above.iter().rev().filter(|directory| !directory.as_os_str().is_empty()) {
            self.directory(&directory.to_string_lossy());
        }
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
