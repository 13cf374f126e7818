//! Neighbour discovery frames (RFC 4861, RFC 4862): pure bytes.

use std::net::{IpAddr, Ipv6Addr};

use etherparse::{EtherType, Ethernet2Header, IpNumber, Ipv6FlowLabel, Ipv6Header};

use super::{Heard, Mac, Says};

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const OVERRIDE: u8 = 0x20;
const OPTION_SOURCE: u8 = 1;
const OPTION_TARGET: u8 = 2;
/// Neighbour discovery is never routed: whatever arrives with less came from elsewhere.
const HOP_LIMIT: u8 = 255;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// Type, code, checksum, flags and the address that it is about.
const MESSAGE_MIN: usize = 24;

/// Asks who has `address` without claiming it, as duplicate address detection does: the source is `::`.
pub(super) fn probe(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    let message = message(SOLICITATION, 0, address, None);
    frame(mac, Ipv6Addr::UNSPECIFIED, solicited_node(address), message)
}

/// Tells everyone that `address` is at `mac`.
pub(super) fn announcement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    let message = message(ADVERTISEMENT, OVERRIDE, address, Some(mac));
    frame(mac, address, ALL_NODES, message)
}

/// What an Ethernet frame with a neighbour solicitation or advertisement says.
pub(super) fn parse(frame: &[u8]) -> Option<Heard> {
    let (ethernet, rest) = Ethernet2Header::from_slice(frame).ok()?;
    if ethernet.ether_type != EtherType::IPV6 {
        return None;
    }
    let (ip, rest) = Ipv6Header::from_slice(rest).ok()?;
    if ip.next_header != IpNumber::IPV6_ICMP || ip.hop_limit != HOP_LIMIT {
        return None;
    }
    // The frame may be padded: the header says where the message ends.
    let message = rest.get(..usize::from(ip.payload_length))?;
    let (fixed, options) = message.split_at_checked(MESSAGE_MIN)?;
    if checksum(ip.source_addr(), ip.destination_addr(), message) != 0 {
        return None;
    }
    let target = Ipv6Addr::from(<[u8; 16]>::try_from(&fixed[8..]).ok()?);
    let source = ip.source_addr();
    let (address, says, option) = match fixed[0] {
        ADVERTISEMENT => (target, Says::Mine, OPTION_TARGET),
        SOLICITATION if source.is_unspecified() => (target, Says::Asking, OPTION_SOURCE),
        SOLICITATION => (source, Says::Mine, OPTION_SOURCE),
        _ => return None,
    };
    let mac = link_address(options, option).unwrap_or(Mac(ethernet.source));
    let address = IpAddr::V6(address);
    Some(Heard { address, mac, says })
}

fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

fn message(kind: u8, flags: u8, address: Ipv6Addr, target: Option<Mac>) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    message.extend(address.octets());
    if let Some(mac) = target {
        // Length in units of eight octets.
        message.extend([OPTION_TARGET, 1]);
        message.extend(mac.0);
    }
    message
}

fn frame(mac: Mac, source: Ipv6Addr, group: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let [.., a, b, c, d] = group.octets();
    let ethernet = Ethernet2Header {
        source: mac.0,
        destination: [0x33, 0x33, a, b, c, d],
        ether_type: EtherType::IPV6,
    };
    let ip = Ipv6Header {
        traffic_class: 0,
        flow_label: Ipv6FlowLabel::ZERO,
        payload_length: message.len() as u16,
        next_header: IpNumber::IPV6_ICMP,
        hop_limit: HOP_LIMIT,
        source: source.octets(),
        destination: group.octets(),
    };
    let sum = checksum(source, group, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = ethernet.to_bytes().to_vec();
    frame.extend(ip.to_bytes());
    frame.append(&mut message);
    frame
}

/// The Internet checksum over the pseudo header and the message; zero over a message that carries a right one.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    let mut sum: u64 = message.len() as u64 + u64::from(IpNumber::IPV6_ICMP.0);
    for part in [&source.octets()[..], &destination.octets()[..], message] {
        sum += part.chunks(2).map(word).sum::<u64>();
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn link_address(mut options: &[u8], wanted: u8) -> Option<Mac> {
    while let [kind, units, ..] = *options {
        let option = options.get(..usize::from(units) * 8)?;
        // A length of zero would never end.
        let value = option.get(2..)?;
        if kind == wanted {
            return value.get(..6)?.try_into().ok().map(Mac);
        }
        options = &options[option.len()..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);
    const ADDRESS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0xab, 0xcdef);

    fn heard(says: Says) -> Heard {
        Heard {
            address: IpAddr::V6(ADDRESS),
            mac: MAC,
            says,
        }
    }

    #[test]
    fn probe_byte_by_byte() {
        let mut want = vec![0x33, 0x33, 0xff, 0xab, 0xcd, 0xef, 2, 0, 0, 0, 0, 7, 0x86, 0xdd];
        want.extend([0x60, 0, 0, 0, 0, 24, 58, 255]);
        want.extend([0; 16]);
        want.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xab, 0xcd, 0xef]);
        want.extend([135, 0, 0xaf, 0xb9, 0, 0, 0, 0]);
        want.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd, 0xef]);
        assert_eq!(probe(MAC, ADDRESS), want);
    }

    #[test]
    fn announcement_byte_by_byte() {
        let mut want = vec![0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 7, 0x86, 0xdd];
        want.extend([0x60, 0, 0, 0, 0, 32, 58, 255]);
        want.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd, 0xef]);
        want.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        want.extend([136, 0, 0x5b, 0xf1, 0x20, 0, 0, 0]);
        want.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd, 0xef]);
        want.extend([2, 1, 2, 0, 0, 0, 0, 7]);
        assert_eq!(announcement(MAC, ADDRESS), want);
    }

    #[test]
    fn own_frames_are_understood_padded_or_not() {
        let mut frame = probe(MAC, ADDRESS);
        assert_eq!(parse(&frame), Some(heard(Says::Asking)));
        frame.extend([0; 10]);
        assert_eq!(parse(&frame), Some(heard(Says::Asking)));
        assert_eq!(parse(&announcement(MAC, ADDRESS)), Some(heard(Says::Mine)));
    }

    #[test]
    fn an_owner_that_asks_for_somebody_else_gives_itself_away() {
        let other = Ipv6Addr::LOCALHOST;
        let frame = frame(
            MAC,
            ADDRESS,
            solicited_node(other),
            message(SOLICITATION, 0, other, None),
        );
        assert_eq!(parse(&frame), Some(heard(Says::Mine)));
    }

    #[test]
    fn damage_and_garbage_are_dropped() {
        let good = announcement(MAC, ADDRESS);
        for length in 0..good.len() {
            assert_eq!(parse(&good[..length]), None, "cut to {length}");
        }
        for position in 54..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 0x10;
            assert_eq!(parse(&bad), None, "flipped at {position}");
        }
        let mut routed = good;
        routed[21] = 254;
        assert_eq!(parse(&routed), None);
    }

    #[test]
    fn an_option_without_length_ends_the_search() {
        assert_eq!(link_address(&[9, 0, 0, 0, 0, 0, 0, 0], OPTION_TARGET), None);
        assert_eq!(
            link_address(&[9, 1, 0, 0, 0, 0, 0, 0, 2, 1, 1, 2, 3, 4, 5, 6], OPTION_TARGET),
            Some(Mac([1, 2, 3, 4, 5, 6]))
        );
    }
}
