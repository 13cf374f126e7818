//! Within the machine: the programs that the kernel asks where version 3 of NFS is in use, as far as it asks them. They are the
//! port mapper, the mount daemon, and the monitor (statd), which notes whose locks are free after a restart.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use socket2::{Domain, Socket, Type};

use super::server::{Export, NFSD, RPC, sh};

pub(crate) const MAPPER_PORT: u16 = 111;
pub(crate) const MOUNTD_PORT: u16 = 20048;
pub(crate) const MONITOR_PORT: u16 = 20024;
/// With which `lockd` is loaded.
const LOCKS_PORT: u16 = 32803;

const MAPPER: u32 = 100_000;
const MOUNTD: u32 = 100_005;
const LOCKS: u32 = 100_021;
const MONITOR: u32 = 100_024;

/// Only root may have such a port, which is how the kernel knows the monitor.
const PRIVILEGED: u16 = 700;

/// Whom a kernel wants to hear of, and how it is told.
struct Monitored {
    host: Vec<u8>,
    version: u32,
    cookie: Vec<u8>,
}

static MONITORED: Mutex<Vec<Monitored>> = Mutex::new(Vec::new());

/// Answers there, in the network of this process if it is another.
pub(crate) fn listen(port: u16, of: Option<u32>) {
    let bound = thread::spawn(move || {
        if let Some(process) = of {
            let network = fs::File::open(format!("/proc/{process}/ns/net")).unwrap();
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        }
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap()
    });
    let listener = bound.join().unwrap();
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
        let mut reply = bytes(&[words[0], 1, 0, 0, 0, 0]);
        // Behind two proofs of who asks, each with a kind and a length.
        let own = 8 + words[7].div_ceil(4) as usize;
        let arguments = own + 2 + words[own + 1].div_ceil(4) as usize;
        reply.extend(answer(words[3], words[5], &body[arguments * 4..], &host));
        send(&mut stream, &reply)?;
    }
}

fn send(stream: &mut TcpStream, message: &[u8]) -> Option<()> {
    let length = u32::try_from(message.len()).unwrap() | 0x8000_0000;
    stream.write_all(&length.to_be_bytes()).ok()?;
    stream.write_all(message).ok()
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().copied().flat_map(u32::to_be_bytes).collect()
}

fn answer(program: u32, procedure: u32, arguments: &[u8], host: &str) -> Vec<u8> {
    match (program, procedure) {
        // A port is noted, or taken out.
        (MAPPER, 1 | 2) => bytes(&[1]),
        // The port of a program.
        (MAPPER, 3) => {
            let wanted = u32::from_be_bytes(arguments[..4].try_into().unwrap());
            let port = match wanted {
                LOCKS => LOCKS_PORT,
                MONITOR => MONITOR_PORT,
                _ => 0,
            };
            bytes(&[u32::from(port)])
        }
        // The handle of the only export that this host has, and the one way to say who one is.
        (MOUNTD, 1) => {
            let handle = handle(host);
            let mut reply = bytes(&[0, u32::try_from(handle.len()).unwrap()]);
            reply.extend(handle);
            reply.resize(reply.len().next_multiple_of(4), 0);
            reply.extend(bytes(&[1, 1]));
            reply
        }
        // Noted, in the first state of this host.
        (MONITOR, 2) => {
            let (host, rest) = text(arguments);
            let (_, rest) = text(rest);
            MONITORED.lock().unwrap().push(Monitored {
                host: host.to_vec(),
                version: u32::from_be_bytes(rest[4..8].try_into().unwrap()),
                cookie: rest[12..28].to_vec(),
            });
            bytes(&[0, 1])
        }
        (MONITOR, 3) => bytes(&[1]),
        _ => Vec::new(),
    }
}

/// The first of these arguments, and the others.
fn text(arguments: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = arguments.split_first_chunk().unwrap();
    let length = u32::from_be_bytes(*length) as usize;
    (&rest[..length], &rest[length.next_multiple_of(4)..])
}

/// The monitor hears that a host has restarted, and passes it on to the kernel.
pub(crate) fn restarted(host: &str) {
    let monitored = MONITORED.lock().unwrap();
    let of = monitored
        .iter()
        .find(|one| one.host == host.as_bytes())
        .unwrap_or_else(|| panic!("{host} is not monitored"));
    let local = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into();
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&local(PRIVILEGED)).unwrap();
    socket.connect(&local(LOCKS_PORT)).unwrap();
    let mut stream = TcpStream::from(socket);
    let mut call = bytes(&[7, 0, 2, LOCKS, of.version, 16, 0, 0, 0, 0]);
    call.extend(bytes(&[u32::try_from(of.host.len()).unwrap()]));
    call.extend(&of.host);
    call.resize(call.len().next_multiple_of(4), 0);
    call.extend(bytes(&[3]));
    call.extend(&of.cookie);
    send(&mut stream, &call).unwrap();
    let mut reply = [0; 28];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(reply[24..], [0; 4], "{reply:?}");
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
