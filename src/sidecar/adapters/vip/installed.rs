//! What the kernel says of an address, and whether it is one that we added.
//!
//! An address of ours has an end, and marks that nobody else gives it: for IPv4 the label and the full prefix, for IPv6, which
//! has no labels, that it is deprecated from the start and makes neither a route nor a question for duplicates. Whatever
//! else is on this host is somebody else's, whoever it is: it is never removed, and never given an end. Every version so
//! far puts these marks, so what an older sidecar left is known, too.

use std::net::{IpAddr, Ipv4Addr};

use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};

use super::{Own, installed_prefix};
use leasehold_compose::model::Vip;

/// The kernel keeps 15 characters of a label.
const LABEL_MAX: usize = 15;
const LABEL_SUFFIX: &str = ":lh";

/// Seconds of an address that has no end.
const FOR_EVER: u32 = u32::MAX;

/// An address as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Installed {
    pub(super) index: u32,
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
    /// Seconds that it was given.
    pub(super) valid: u32,
    /// Seconds in which it may be the source of new connections.
    preferred: u32,
    flags: AddressFlags,
    /// IPv4 only.
    pub(super) label: Option<String>,
}

/// An address that we added: the only kind that may be removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ours(Installed);

impl Ours {
    /// What the kernel has just taken from us.
    pub(super) fn added(index: u32, interface: &str, vip: Vip, valid: u32) -> Self {
        Self(Installed {
            index,
            address: vip.address,
            prefix: installed_prefix(vip),
            valid,
            preferred: 0,
            flags: v6_flags(),
            label: vip.address.is_ipv4().then(|| label(interface)),
        })
    }

    pub(super) fn it(&self) -> &Installed {
        &self.0
    }
}

impl Installed {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum is open")]
    pub(super) fn read(message: &AddressMessage) -> Option<Self> {
        let (mut address, mut local, mut label) = (None, None, None);
        let (mut valid, mut preferred) = (FOR_EVER, FOR_EVER);
        let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Address(it) => address = Some(*it),
                AddressAttribute::Local(it) => local = Some(*it),
                AddressAttribute::Label(it) => label = Some(it.clone()),
                AddressAttribute::CacheInfo(cache) => (valid, preferred) = (cache.ifa_valid, cache.ifa_preferred),
                // All of them; the header has room for the first eight.
                AddressAttribute::Flags(it) => flags = *it,
                _ => (),
            }
        }
        Some(Self {
            index: message.header.index,
            // On a point-to-point link the other attribute is the peer's.
            address: local.or(address)?,
            prefix: message.header.prefix_len,
            valid,
            preferred,
            flags,
            label,
        })
    }

    /// The address, if it is one that we added.
    pub(super) fn ours(self) -> Option<Ours> {
        let is_marked = match self.address {
            IpAddr::V4(_) => {
                let label = self.label.as_deref().unwrap_or_default();
                u32::from(self.prefix) == Ipv4Addr::BITS && label.ends_with(LABEL_SUFFIX)
            }
            IpAddr::V6(_) => self.preferred == 0 && self.flags.contains(v6_flags()),
        };
        let ends = self.valid != FOR_EVER && !self.flags.contains(AddressFlags::Permanent);
        (is_marked && ends).then_some(Ours(self))
    }

    /// Whether the kernel would take this address of the interface and that virtual one for the same.
    pub(super) fn is_at(&self, index: u32, vip: Vip) -> bool {
        let same_prefix = vip.address.is_ipv6() || self.prefix == installed_prefix(vip);
        self.index == index && self.address == vip.address && same_prefix
    }

    pub(super) fn own(&self, interface: &str) -> Own {
        Own {
            address: self.address,
            prefix: self.prefix,
            interface: interface.to_owned(),
            ends: self.valid != FOR_EVER,
        }
    }
}

/// What an address of ours is added with.
pub(super) fn marks(vip: Vip, interface: &str, valid: u32) -> Vec<AddressAttribute> {
    let mut cache = CacheInfo::default();
    cache.ifa_valid = valid;
    if vip.address.is_ipv4() {
        cache.ifa_preferred = valid;
        return vec![
            AddressAttribute::Label(label(interface)),
            AddressAttribute::Flags(AddressFlags::Noprefixroute),
            AddressAttribute::CacheInfo(cache),
        ];
    }
    // Deprecated from the start: never the source of a connection that did not ask for it.
    cache.ifa_preferred = 0;
    vec![AddressAttribute::Flags(v6_flags()), AddressAttribute::CacheInfo(cache)]
}

fn v6_flags() -> AddressFlags {
    AddressFlags::Noprefixroute | AddressFlags::Nodad
}

fn label(interface: &str) -> String {
    let mut label = interface.to_owned();
    label.truncate(LABEL_MAX - LABEL_SUFFIX.len());
    label + LABEL_SUFFIX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vip(address: &str) -> Vip {
        let address: IpAddr = address.parse().unwrap();
        let prefix = if address.is_ipv4() { 24 } else { 64 };
        Vip { address, prefix }
    }

    /// What the kernel shows of what we add.
    fn added(address: &str, valid: u32) -> Installed {
        let vip = vip(address);
        let mut message = AddressMessage::default();
        message.header.index = 2;
        message.header.prefix_len = installed_prefix(vip);
        message.attributes = marks(vip, "eth0", valid);
        message.attributes.push(AddressAttribute::Address(vip.address));
        Installed::read(&message).unwrap()
    }

    #[test]
    fn labels_fit_and_keep_their_mark() {
        assert_eq!(label("eth0"), "eth0:lh");
        assert_eq!(label("enp0s31f6np0"), "enp0s31f6np0:lh");
        assert_eq!(label("a-long-name-15c"), "a-long-name-:lh");
    }

    #[test]
    fn what_we_add_is_ours_and_what_lacks_a_mark_is_not() {
        let (v4, v6) = (added("192.0.2.10", 4), added("2001:db8::10", 4));
        assert!(v4.clone().ours().is_some() && v6.clone().ours().is_some());
        let foreign = [
            Installed {
                valid: FOR_EVER,
                ..v4.clone()
            },
            Installed {
                prefix: 24,
                ..v4.clone()
            },
            Installed {
                label: Some("eth0".to_owned()),
                ..v4.clone()
            },
            Installed { label: None, ..v4 },
            Installed {
                valid: FOR_EVER,
                ..v6.clone()
            },
            Installed {
                preferred: 4,
                ..v6.clone()
            },
            Installed {
                flags: AddressFlags::Noprefixroute,
                ..v6.clone()
            },
            Installed {
                flags: AddressFlags::Nodad,
                ..v6.clone()
            },
            Installed {
                flags: v6_flags() | AddressFlags::Permanent,
                ..v6
            },
        ];
        for it in foreign {
            assert!(it.clone().ours().is_none(), "{it:?}");
        }
    }
}
