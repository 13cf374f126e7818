//! Within the machine: the kernel's own NFS server, and hosts that are its clients, each with a network and a name of its own.
//!
//! The programs around that server are stood in for by what it needs of them: exports are written into its caches, and threads
//! answer as those that version 3 asks.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Mutex;

use super::rpc::{MAPPER_PORT, MONITOR_PORT, MOUNTD_PORT, listen};

pub(crate) const RPC: &str = "/proc/net/rpc";
pub(crate) const NFSD: &str = "/proc/fs/nfsd";

/// Flags of an export: any port, no check of subtrees, a number of its own; root is nobody.
const PLAIN: u32 = 0x2402;
const SQUASH: u32 = PLAIN | 4;

/// Runs a script and gives what it says.
pub(crate) fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn put(path: &str, text: &str) {
    fs::write(path, format!("{text}\n")).unwrap_or_else(|error| panic!("{path} {text}: {error}"));
}

/// What was told to the caches; the server forgets a part of it when it is stopped.
static TOLD: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

fn tell(cache: &str, line: String) {
    let path = format!("{RPC}/{cache}/channel");
    put(&path, &line);
    TOLD.lock().unwrap().push((path, line));
}

/// What a host sees as the root of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Export {
    Plain,
    /// Root is nobody there.
    Squash,
    /// The file system keeps times to a second.
    Coarse,
}

impl Export {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Squash => "squash",
            Self::Coarse => "coarse",
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Plain | Self::Squash => "/export/plain",
            Self::Coarse => "/export/coarse",
        }
    }

    fn enter(self) {
        let (name, path) = (self.name(), self.path());
        let flags = if self == Self::Squash { SQUASH } else { PLAIN };
        tell("nfsd.export", format!("{name} {path} 2147483647 {flags} 65534 65534 0"));
        tell("nfsd.fh", format!("{name} 1 \\x00000000 2147483647 {path}"));
    }
}

/// Starts it, with leases and grace as short as it takes.
pub(crate) fn start() {
    for (name, inode) in [("plain", 256), ("coarse", 128)] {
        sh(&format!(
            "mkdir -p /export/{name} && truncate -s 64M /{name}.img && mkfs.ext4 -q -I {inode} /{name}.img && \
             mount -o loop /{name}.img /export/{name} && chmod 755 /export/{name}"
        ));
    }
    sh("ip link set lo up; mkdir -p /var/lib/nfs/v4recovery; mount -t nfsd nfsd /proc/fs/nfsd");
    for port in [MAPPER_PORT, MONITOR_PORT, MOUNTD_PORT] {
        listen(port, None);
    }
    put(&format!("{NFSD}/nfsv4leasetime"), "10");
    put(&format!("{NFSD}/nfsv4gracetime"), "10");
    threads(4);
    put(&format!("{NFSD}/v4_end_grace"), "Y");
}

/// Nobody answers at its port any more.
pub(crate) fn stop() {
    threads(0);
}

pub(crate) fn start_again() {
    for (path, line) in TOLD.lock().unwrap().iter() {
        put(path, line);
    }
    threads(4);
}

fn threads(count: u32) {
    put(&format!("{NFSD}/threads"), &count.to_string());
}

/// A host: the namespaces of network and name, kept by a process that sleeps.
pub(crate) struct Client {
    keeper: Child,
    number: u32,
    export: Export,
}

impl Client {
    pub(crate) fn new(number: u32, export: Export) -> Self {
        let keeper = Command::new("unshare")
            .args(["--net", "--uts", "sh", "-c", "hostname host$0 && exec sleep 100000"])
            .arg(number.to_string())
            .process_group(0)
            .spawn()
            .unwrap();
        let process = keeper.id();
        let inside = format!("nsenter --net --uts --target {process}");
        sh(&format!(
            "until [ \"$({inside} hostname)\" = host{number} ]; do sleep 0.01; done; \
             ip link add s{number} type veth peer name c{number} && ip link set c{number} netns {process} && \
             ip addr add 10.0.{number}.1/24 dev s{number} && ip link set s{number} up && \
             {inside} ip addr add 10.0.{number}.2/24 dev c{number} && {inside} ip link set c{number} up && \
             {inside} ip link set lo up"
        ));
        tell(
            "auth.unix.ip",
            format!("nfsd 10.0.{number}.2 2147483647 {}", export.name()),
        );
        // The server knows the name of an export by its hosts.
        export.enter();
        Self { keeper, number, export }
    }

    /// Mounts the server with these options beside what every mount here has.
    pub(crate) fn mount(&self, options: &str) -> PathBuf {
        let number = self.number;
        let at = PathBuf::from(format!("/mnt/host{number}"));
        fs::create_dir_all(&at).unwrap();
        let server = format!("10.0.{number}.1");
        let (kind, path, more) = if options.contains("vers=3") {
            let mount = format!("mountaddr={server},mountport={MOUNTD_PORT},mountproto=tcp");
            // With locks the kernel asks the host's own programs.
            let locks = if options.contains(",lock") {
                for port in [MAPPER_PORT, MONITOR_PORT] {
                    listen(port, Some(self.keeper.id()));
                }
                ""
            } else {
                "nolock,"
            };
            ("nfs", self.export.path(), format!("port=2049,{locks}{mount}"))
        } else {
            ("nfs4", "/", format!("clientaddr=10.0.{number}.2"))
        };
        sh(&format!(
            "nsenter --net --uts --target {} mount -i -t {kind} -o \
             addr={server},proto=tcp,nosharecache,{more},{options} {server}:{path} {}",
            self.keeper.id(),
            at.display()
        ));
        at
    }

    /// The address as the server knows it.
    pub(crate) fn address(&self) -> String {
        format!("10.0.{}.2", self.number)
    }

    /// The cable, out or in.
    pub(crate) fn cable(&self, state: &str) {
        sh(&format!("ip link set s{} {state}", self.number));
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .args(["-l", &format!("/mnt/host{}", self.number)])
            .status();
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
