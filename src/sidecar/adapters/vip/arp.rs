//! ARP frames: pure bytes.

use std::net::{IpAddr, Ipv4Addr};

use etherparse::{ArpEthIpv4Packet, ArpOperation, ArpPacketSlice, EtherType, Ethernet2Header};

use super::{Heard, Mac, Says};

const BROADCAST: [u8; 6] = [0xff; 6];

/// Shortest Ethernet frame without its checksum.
const FRAME_MIN: usize = 60;

/// Asks who has `address` without claiming it (RFC 5227): the sender's address is 0.0.0.0.
pub(super) fn probe(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    frame(mac, ArpOperation::REQUEST, Ipv4Addr::UNSPECIFIED, [0; 6], address)
}

/// Tells everyone that `address` is at `mac`, as a request and as a reply: some systems heed only one of the two.
pub(super) fn announcements(mac: Mac, address: Ipv4Addr) -> [Vec<u8>; 2] {
    [
        frame(mac, ArpOperation::REQUEST, address, [0; 6], address),
        frame(mac, ArpOperation::REPLY, address, BROADCAST, address),
    ]
}

/// What an Ethernet frame with ARP says. A probe counts only when it was sent to everyone: switches that track their
/// devices probe the last known holder of an address directly, and own nothing.
pub(super) fn parse(frame: &[u8]) -> Option<Heard> {
    let (ethernet, rest) = Ethernet2Header::from_slice(frame).ok()?;
    if ethernet.ether_type != EtherType::ARP {
        return None;
    }
    let packet = ArpPacketSlice::from_slice(rest).ok()?.to_packet().try_eth_ipv4().ok()?;
    let mac = Mac(packet.sender_mac);
    let sender = packet.sender_ipv4_addr();
    let (address, says) = if !sender.is_unspecified() {
        (sender, Says::Mine)
    } else if packet.operation == ArpOperation::REQUEST && ethernet.destination == BROADCAST {
        (packet.target_ipv4_addr(), Says::Asking)
    } else {
        return None;
    };
    let address = IpAddr::V4(address);
    Some(Heard { address, mac, says })
}

fn frame(mac: Mac, operation: ArpOperation, sender: Ipv4Addr, target_mac: [u8; 6], target: Ipv4Addr) -> Vec<u8> {
    let ethernet = Ethernet2Header {
        source: mac.0,
        destination: BROADCAST,
        ether_type: EtherType::ARP,
    };
    let packet = ArpEthIpv4Packet {
        operation,
        sender_mac: mac.0,
        sender_ipv4: sender.octets(),
        target_mac,
        target_ipv4: target.octets(),
    };
    let mut frame = ethernet.to_bytes().to_vec();
    frame.extend(packet.to_bytes());
    frame.resize(FRAME_MIN, 0);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

    #[test]
    fn probe_byte_by_byte() {
        let mut want = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 7, 0x08, 0x06];
        want.extend([0, 1, 8, 0, 6, 4, 0, 1]);
        want.extend([2, 0, 0, 0, 0, 7, 0, 0, 0, 0]);
        want.extend([0, 0, 0, 0, 0, 0, 192, 0, 2, 10]);
        want.resize(60, 0);
        assert_eq!(probe(MAC, ADDRESS), want);
    }

    #[test]
    fn announcements_byte_by_byte() {
        let mut request = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 7, 0x08, 0x06];
        request.extend([0, 1, 8, 0, 6, 4, 0, 1]);
        request.extend([2, 0, 0, 0, 0, 7, 192, 0, 2, 10]);
        let mut reply = request.clone();
        reply[21] = 2;
        request.extend([0, 0, 0, 0, 0, 0, 192, 0, 2, 10]);
        reply.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 192, 0, 2, 10]);
        request.resize(60, 0);
        reply.resize(60, 0);
        assert_eq!(announcements(MAC, ADDRESS), [request, reply]);
    }

    #[test]
    fn own_frames_are_understood() {
        let heard = |says| Heard {
            address: IpAddr::V4(ADDRESS),
            mac: MAC,
            says,
        };
        assert_eq!(parse(&probe(MAC, ADDRESS)), Some(heard(Says::Asking)));
        for frame in announcements(MAC, ADDRESS) {
            assert_eq!(parse(&frame), Some(heard(Says::Mine)));
        }
    }

    #[test]
    fn a_probe_sent_to_one_host_is_a_switch_tracking_its_devices() {
        let mut frame = probe(MAC, ADDRESS);
        frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        assert_eq!(parse(&frame), None);
    }

    #[test]
    fn no_length_of_garbage_is_understood() {
        let frame = probe(MAC, ADDRESS);
        for length in 0..42 {
            assert_eq!(parse(&frame[..length]), None);
        }
        let mut other = frame;
        other[12] = 0x86;
        assert_eq!(parse(&other), None);
    }
}
