//! Within the machine: the kernel's own NFS server, and hosts that are its clients, each with a network and a name of its own.
//!
//! The programs around that server are stood in for by what it needs of them: exports are written into its caches, and one
//! thread answers as the port mapper and the mount daemon, which version 3 asks.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;
use std::thread;

const RPC: &str = "/proc/net/rpc";
const NFSD: &str = "/proc/fs/nfsd";
const MOUNTD_PORT: u32 = 20048;

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
    listen(111);
    listen(MOUNTD_PORT);
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
            ("nfs", self.export.path(), format!("port=2049,nolock,{mount}"))
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

fn listen(port: u32) {
    let listener = TcpListener::bind(("0.0.0.0", u16::try_from(port).unwrap())).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || converse(stream));
        }
    });
}

/// One call after the other, each in one piece: a length, then words of four bytes.
fn converse(mut stream: TcpStream) -> Option<()> {
    loop {
        let mut head = [0; 4];
        stream.read_exact(&mut head).ok()?;
        let mut body = vec![0; (u32::from_be_bytes(head) & 0x7fff_ffff) as usize];
        stream.read_exact(&mut body).ok()?;
        let words: Vec<u32> = body
            .chunks_exact(4)
            .map(|word| u32::from_be_bytes(word.try_into().unwrap()))
            .collect();
        let host = stream.peer_addr().ok()?.ip().to_string();
        // xid, reply, accepted, a verifier of no kind and length, success.
        let mut reply: Vec<u8> = [words[0], 1, 0, 0, 0, 0]
            .into_iter()
            .flat_map(u32::to_be_bytes)
            .collect();
        reply.extend(answer(words[3], words[5], &host));
        let length = u32::try_from(reply.len()).unwrap() | 0x8000_0000;
        stream.write_all(&length.to_be_bytes()).ok()?;
        stream.write_all(&reply).ok()?;
    }
}

fn answer(program: u32, procedure: u32, host: &str) -> Vec<u8> {
    match (program, procedure) {
        // The port mapper: a port is noted, or taken out.
        (100_000, 1 | 2) => 1_u32.to_be_bytes().to_vec(),
        // The mount daemon: the handle of the only export that this host has, and the one way to say who one is.
        (100_005, 1) => {
            let handle = handle(host);
            let length = u32::try_from(handle.len()).unwrap();
            let mut reply = [0, length].into_iter().flat_map(u32::to_be_bytes).collect::<Vec<u8>>();
            reply.extend(handle);
            reply.resize(reply.len().next_multiple_of(4), 0);
            reply.extend([1_u32, 1].into_iter().flat_map(u32::to_be_bytes));
            reply
        }
        _ => Vec::new(),
    }
}

/// As the server makes it.
fn handle(host: &str) -> Vec<u8> {
    let of_host = sh(&format!("cat {RPC}/auth.unix.ip/content"));
    let found = of_host.lines().find(|line| line.split(' ').nth(1) == Some(host));
    let domain = found
        .and_then(|line| line.split(' ').nth(2))
        .expect("a host with an export");
    let path = if domain == "coarse" {
        Export::Coarse.path()
    } else {
        Export::Plain.path()
    };
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(Path::new(NFSD).join("filehandle"));
    let mut file = file.unwrap();
    file.write_all(format!("{domain} {path} 64\n").as_bytes()).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    let digits = text.trim().trim_start_matches("\\x").as_bytes();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
