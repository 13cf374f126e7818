//! The two packet sockets on the interface: ARP, and neighbour discovery.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, eth};
use socket2::{SockFilter, SockRef};
use tokio::io::unix::AsyncFd;

use super::{Heard, Mac, VipError, arp, ndp};
use crate::adapters::descriptor::readable;

/// Frames of both protocols are far shorter; what doesn't fit is none of ours.
const FRAME_MAX: usize = 512;

/// Frames of other interfaces that can queue between opening and binding, read and thrown away.
const DRAIN_MAX: usize = 1024;

/// Understands the frames of one protocol.
type Parse = fn(&[u8]) -> Option<Heard>;

/// The sockets, bound to one interface.
pub(super) struct Wire {
    arp: AsyncFd<OwnedFd>,
    ndp: AsyncFd<OwnedFd>,
}

impl Wire {
    /// Opens and binds both sockets.
    pub(super) fn open(interface: &str) -> Result<Self, VipError> {
        let address = link_address(interface)?;
        let open = |protocol, filter: &[SockFilter]| {
            open(protocol, filter, &address).map_err(|error| refused(interface, &error))
        };
        Ok(Self {
            arp: open(eth::ARP, &[])?,
            ndp: open(eth::IPV6, &neighbour_filter())?,
        })
    }

    /// Asks who has the address.
    pub(super) fn probe(&self, mac: Mac, address: IpAddr) -> io::Result<()> {
        match address {
            IpAddr::V4(address) => send(&self.arp, &arp::probe(mac, address)),
            IpAddr::V6(address) => send(&self.ndp, &ndp::probe(mac, address)),
        }
    }

    /// Tells everyone that the address is here.
    pub(super) fn announce(&self, mac: Mac, address: IpAddr) -> io::Result<()> {
        match address {
            IpAddr::V4(address) => {
                let [request, reply] = arp::announcements(mac, address);
                send(&self.arp, &request)?;
                send(&self.arp, &reply)
            }
            IpAddr::V6(address) => send(&self.ndp, &ndp::announcement(mac, address)),
        }
    }

    /// The next frame, if it says anything. An error (the link went down) ends nothing: the socket works again later.
    pub(super) async fn hear(&self) -> Option<Heard> {
        let mut buffer = [0; FRAME_MAX];
        let (socket, parse): (_, Parse) = tokio::select! {
            _ = self.arp.readable() => (&self.arp, arp::parse),
            _ = self.ndp.readable() => (&self.ndp, ndp::parse),
        };
        let mut ready = socket.readable().await.ok()?;
        let received = ready.try_io(|fd| Ok(rustix::net::recv(fd.get_ref(), &mut buffer, RecvFlags::empty())?));
        let (_, length) = received.ok()?.ok()?;
        parse(buffer.get(..length)?)
    }
}

fn refused(interface: &str, error: &io::Error) -> VipError {
    let doing = format!("packet socket on {interface}");
    if error.kind() == io::ErrorKind::PermissionDenied {
        return VipError::Permission {
            doing,
            capability: "CAP_NET_RAW",
        };
    }
    let reason = error.to_string();
    VipError::Refused { doing, reason }
}

/// The interface as an address that a packet socket can be bound to.
fn link_address(interface: &str) -> Result<nix::sys::socket::LinkAddr, VipError> {
    let mut interfaces = nix::ifaddrs::getifaddrs().map_err(|errno| refused(interface, &errno.into()))?;
    let address = interfaces.find_map(|entry| {
        let address = entry.address?.as_link_addr().copied()?;
        (entry.interface_name == interface).then_some(address)
    });
    match address {
        Some(address) if address.halen() == size_of::<Mac>() => Ok(address),
        Some(_) | None => Err(VipError::NotEthernet {
            name: interface.to_owned(),
        }),
    }
}

fn open(
    protocol: Protocol,
    filter: &[SockFilter],
    address: &nix::sys::socket::LinkAddr,
) -> io::Result<AsyncFd<OwnedFd>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, Some(protocol))?;
    if !filter.is_empty() {
        SockRef::from(&fd).attach_filter(filter)?;
    }
    // The address names no protocol, so the socket keeps its own.
    nix::sys::socket::bind(fd.as_raw_fd(), address)?;
    let mut buffer = [0; FRAME_MAX];
    for _ in 0..DRAIN_MAX {
        if rustix::net::recv(&fd, &mut buffer, RecvFlags::empty()).is_err() {
            break;
        }
    }
    readable(fd)
}

fn send(socket: &AsyncFd<OwnedFd>, frame: &[u8]) -> io::Result<()> {
    rustix::net::send(socket.get_ref(), frame, SendFlags::empty())?;
    Ok(())
}

/// A socket filter that lets through neighbour solicitations and advertisements and nothing else: without it every
/// IPv6 packet of the host would be copied here.
fn neighbour_filter() -> [SockFilter; 7] {
    /// Load the byte at an offset of the frame.
    const LOAD: u16 = 0x30;
    /// Jump by comparison with the byte loaded.
    const EQUAL: u16 = 0x15;
    const ACCEPT_OR_DROP: u16 = 0x06;
    const NEXT_HEADER: u32 = 14 + 6;
    const ICMP_TYPE: u32 = 14 + 40;
    [
        SockFilter::new(LOAD, 0, 0, NEXT_HEADER),
        SockFilter::new(EQUAL, 0, 3, 58),
        SockFilter::new(LOAD, 0, 0, ICMP_TYPE),
        SockFilter::new(EQUAL, 2, 0, 135),
        SockFilter::new(EQUAL, 1, 0, 136),
        SockFilter::new(ACCEPT_OR_DROP, 0, 0, 0),
        SockFilter::new(ACCEPT_OR_DROP, 0, 0, u32::MAX),
    ]
}
