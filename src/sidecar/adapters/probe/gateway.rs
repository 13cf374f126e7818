//! An echo request (RFC 792) to an address outside: whether the way to the clients is there.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use etherparse::{IcmpEchoHeader, Icmpv4Header, Icmpv4Type};
use socket2::{Domain, Protocol, Socket, Type};

use leasehold_core::event::ProbeFailure;

/// Echo requests of one check; one answer is enough.
const TRIES: u16 = 3;
/// How long each is waited for.
const WAIT: Duration = Duration::from_millis(700);

/// Whether the address answers.
pub(super) async fn answers(address: Ipv4Addr) -> Result<(), ProbeFailure> {
    // In a thread of its own: the socket blocks, three waits at most.
    tokio::task::spawn_blocking(move || ask(address))
        .await
        .map_err(|error| ProbeFailure::wrong(error.to_string()))?
}

fn ask(address: Ipv4Addr) -> Result<(), ProbeFailure> {
    let failed = |error: std::io::Error| ProbeFailure::wrong(format!("echo request: {error}"));
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).map_err(failed)?;
    socket.connect(&SocketAddrV4::new(address, 0).into()).map_err(failed)?;
    socket.set_read_timeout(Some(WAIT)).map_err(failed)?;
    let id = u16::try_from(std::process::id() & 0xffff).unwrap_or_default();
    for seq in 1..=TRIES {
        let header = Icmpv4Header::with_checksum(Icmpv4Type::EchoRequest(IcmpEchoHeader { id, seq }), &[]);
        socket.send(&header.to_bytes()).map_err(failed)?;
        if hears_reply(&socket, id) {
            return Ok(());
        }
    }
    Err(ProbeFailure::silent(format!("{TRIES} echo requests without an answer")))
}

/// Whether an echo reply to `id` comes within [`WAIT`] of silence. The socket is connected: others are not heard.
fn hears_reply(socket: &Socket, id: u16) -> bool {
    let (mut socket, mut buffer) = (socket, [0; 256]);
    for _ in 0..16 {
        let Ok(count) = socket.read(&mut buffer) else {
            return false;
        };
        let Ok(parsed) = etherparse::SlicedPacket::from_ip(&buffer[..count]) else {
            continue;
        };
        let Some(etherparse::TransportSlice::Icmpv4(icmp)) = parsed.transport else {
            continue;
        };
        if matches!(icmp.icmp_type(), Icmpv4Type::EchoReply(echo) if echo.id == id) {
            return true;
        }
    }
    false
}
