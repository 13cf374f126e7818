//! What a host that does not reach a service at its address can say all the same: whether the address answers here at all.

use std::net::{IpAddr, SocketAddr};

use tokio::net::UdpSocket;

use super::netlink::Netlink;
use leasehold_core::event::Vantage;

/// The discard port; nothing is sent there.
const NO_PORT: u16 = 9;

/// From which address this host asks, and whether the kernel has an answer of ARP or of neighbour discovery for the other one.
/// None where it has no way there.
pub async fn vantage(address: IpAddr) -> Option<Vantage> {
    let any = match address {
        IpAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        IpAddr::V6(_) => SocketAddr::from(([0u16; 8], 0)),
    };
    let socket = UdpSocket::bind(any).await.ok()?;
    socket.connect((address, NO_PORT)).await.ok()?;
    let from = socket.local_addr().ok()?.ip().to_canonical().to_string();
    let (netlink, _changes) = Netlink::open().ok()?;
    let answers = netlink.is_neighbour(address).await.unwrap_or(false);
    Some(Vantage { answers, from })
}
