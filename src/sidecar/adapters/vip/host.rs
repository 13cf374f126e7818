//! What the host itself has to do with the virtual addresses, asked before anything runs.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::VipError;
use super::installed::Installed;
use super::netlink::{Netlink, names};
use leasehold_compose::model::Vip;

/// A virtual address that this host has without our doing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Own {
    /// The virtual address.
    pub address: IpAddr,
    /// With which prefix it is there.
    pub prefix: u8,
    /// Where it is.
    pub interface: String,
    /// It has a lifetime of somebody else's, such as a lease of DHCP.
    pub ends: bool,
}

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            address,
            prefix,
            interface,
            ends,
        } = self;
        let whose = match ends {
            true => "with a lifetime that Leasehold did not give it",
            false => "for good",
        };
        write!(
            f,
            "{address} is this host's own: {address}/{prefix} is on {interface} {whose}; it is neither taken nor removed: write \
             an address into vips that is nobody's; if somebody put it there for this service, take it out of the host's network \
             configuration and off with `ip addr del {address}/{prefix} dev {interface}`"
        )
    }
}

/// Which of these addresses the host has without our doing.
///
/// # Errors
/// The kernel refused, or did not answer in time.
pub async fn own(vips: &[Vip]) -> Result<Vec<Own>, VipError> {
    if vips.is_empty() {
        return Ok(Vec::new());
    }
    let (netlink, _changes) = Netlink::open()?;
    let addresses: Vec<IpAddr> = vips.iter().map(|vip| vip.address).collect();
    let found = netlink.find(&addresses).await?;
    let theirs: Vec<&Installed> = found.iter().filter(|it| (*it).clone().ours().is_none()).collect();
    if theirs.is_empty() {
        return Ok(Vec::new());
    }
    let links = netlink.links().await?;
    let names: BTreeMap<u32, String> = links.into_iter().map(|link| (link.index, link.name)).collect();
    let name = |it: &Installed| names.get(&it.index).cloned().unwrap_or_else(|| it.index.to_string());
    let mut own: Vec<Own> = theirs.into_iter().map(|it| it.own(&name(it))).collect();
    own.sort();
    Ok(own)
}

/// Which of these addresses lie in a network that the interface does not reach without a gateway. An address that fills its
/// whole prefix claims no network.
///
/// # Errors
/// There is no such interface; the kernel refused, or did not answer in time.
pub async fn unreached(interface: &str, vips: &[Vip]) -> Result<Vec<Vip>, VipError> {
    let (netlink, _changes) = Netlink::open()?;
    let links = netlink.links().await?;
    let Some(link) = links.iter().find(|link| link.name == interface) else {
        return Err(VipError::NoInterface {
            name: interface.to_owned(),
            existing: names(links.iter()),
        });
    };
    let mut networks = netlink.networks(link).await?;
    networks.extend(netlink.of_link(link).await?.iter().map(|it| (it.address, it.prefix)));
    let reached = |vip: &Vip| {
        networks
            .iter()
            .any(|(address, prefix)| *prefix > 0 && is_within(vip.address, *address, *prefix))
    };
    let mut left = vips.to_vec();
    left.retain(|vip| vip.prefix < width(vip.address) && !reached(vip));
    Ok(left)
}

/// The network of an address, in words.
#[must_use]
pub fn network(vip: Vip) -> String {
    let rest = u32::from(width(vip.address).saturating_sub(vip.prefix));
    let address = match vip.address {
        IpAddr::V4(it) => IpAddr::V4((it.to_bits() & u32::MAX.checked_shl(rest).unwrap_or(0)).into()),
        IpAddr::V6(it) => IpAddr::V6((it.to_bits() & u128::MAX.checked_shl(rest).unwrap_or(0)).into()),
    };
    format!("{address}/{}", vip.prefix)
}

/// The prefix that the address fills alone.
#[must_use]
pub fn whole(vip: Vip) -> u8 {
    width(vip.address)
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn is_within(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let same = |a: u128, b: u128| {
        let shift = u32::from(width(address).saturating_sub(prefix));
        a.checked_shr(shift) == b.checked_shr(shift)
    };
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into()),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits()),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vip(text: &str) -> Vip {
        let (address, prefix) = text.split_once('/').unwrap();
        Vip {
            address: address.parse().unwrap(),
            prefix: prefix.parse().unwrap(),
        }
    }

    #[test]
    fn networks_of_both_families() {
        for (text, wanted) in [
            ("192.0.2.10/24", "192.0.2.0/24"),
            ("10.1.2.3/0", "0.0.0.0/0"),
            ("10.1.2.3/32", "10.1.2.3/32"),
            ("2001:db8::10/64", "2001:db8::/64"),
            ("2001:db8::10/128", "2001:db8::10/128"),
        ] {
            assert_eq!(network(vip(text)), wanted);
        }
        let within = |address: &str, network: &str| {
            let network = vip(network);
            is_within(address.parse().unwrap(), network.address, network.prefix)
        };
        assert!(within("192.0.2.10", "192.0.2.200/24") && within("2001:db8::1", "2001:db8::/32"));
        assert!(!within("192.0.3.10", "192.0.2.0/24") && !within("2001:db9::1", "2001:db8::/32"));
        assert!(!within("192.0.2.10", "2001:db8::/0") && within("192.0.2.10", "0.0.0.0/0"));
    }
}
