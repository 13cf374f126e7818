//! Addresses and links through rtnetlink; every call has a deadline.
//!
//! Requests on one socket reach the kernel in the order in which they were made, also those that were given up: a
//! removal always acts after an addition that timed out before it.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, MulticastGroup};
use tokio::task::JoinSet;

use super::{Mac, VipError, installed_prefix};
use crate::clock::now;
use crate::compose::model::Vip;
use crate::core::time::Time;

/// The longest wait for the kernel's answer to one call.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_millis(500);

/// The kernel removes an expired address up to this much late (measured).
const REMOVAL_LAG: Duration = Duration::from_millis(300);

/// Tries of an addition whose answer took so long that its lifetime would end too late.
const PUT_TRIES: usize = 3;

/// The kernel keeps 15 characters of a label.
const LABEL_MAX: usize = 15;
const LABEL_SUFFIX: &str = ":lh";

const EPERM: i32 = 1;
const EACCES: i32 = 13;
const ENODEV: i32 = 19;
const EADDRNOTAVAIL: i32 = 99;

/// An address as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Installed {
    pub(super) index: u32,
    pub(super) address: IpAddr,
    pub(super) prefix: u8,
    /// Seconds that it was given; `u32::MAX` is for ever.
    pub(super) valid: u32,
}

/// An interface as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    /// None where the interface is not an Ethernet one.
    pub(super) mac: Option<Mac>,
    /// Up, with a carrier.
    pub(super) up: bool,
}

/// What the kernel reported unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Added(Installed),
    Removed(Installed),
    Link(Link),
    LinkGone(u32),
    /// Reports were lost: everything has to be read again.
    Missed,
}

/// The kernel's reports.
pub(super) type Changes = BoxStream<'static, Change>;

/// The socket for requests; reports come by another, so that a flood of them can't drown an answer.
pub(super) struct Netlink {
    handle: Handle,
    /// Drives both sockets; ends with this.
    _drivers: JoinSet<()>,
}

impl Netlink {
    pub(super) fn open() -> Result<(Self, Changes), VipError> {
        let failed = |error: std::io::Error| VipError::Refused {
            doing: "opening netlink".to_owned(),
            reason: error.to_string(),
        };
        let mut drivers = JoinSet::new();
        let (connection, handle, _) = rtnetlink::new_connection().map_err(failed)?;
        drivers.spawn(connection);
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
        ];
        let (connection, _, reports) = rtnetlink::new_multicast_connection(&groups).map_err(failed)?;
        drivers.spawn(connection);
        let changes = reports.filter_map(|(message, _)| std::future::ready(understand(message.payload)));
        let netlink = Self {
            handle,
            _drivers: drivers,
        };
        Ok((netlink, changes.boxed()))
    }

    /// Every interface of the host.
    pub(super) async fn links(&self) -> Result<Vec<Link>, VipError> {
        let doing = "listing the interfaces";
        let mut stream = self.handle.link().get().execute().boxed();
        let all = async {
            let mut links = Vec::new();
            while let Some(message) = stream.next().await {
                links.extend(link(&message?));
            }
            Ok(links)
        };
        timed(doing, all).await
    }

    /// Every place that has one of the addresses, whatever the interface and prefix.
    pub(super) async fn find(&self, addresses: &[IpAddr]) -> Result<Vec<Installed>, VipError> {
        let doing = "listing the addresses";
        let mut stream = self.handle.address().get().execute().boxed();
        let all = async {
            let mut found = Vec::new();
            while let Some(message) = stream.next().await {
                found.extend(installed(&message?).filter(|it| addresses.contains(&it.address)));
            }
            Ok(found)
        };
        timed(doing, all).await
    }

    /// Adds the address, or renews it, so that the kernel takes it away before `until`. Returns the lifetime in
    /// seconds, or `None` where less than a second is left and nothing was done.
    pub(super) async fn put(&self, link: &Link, vip: Vip, until: Time) -> Result<Option<u32>, VipError> {
        let Some(mut valid) = lifetime(now(), until) else {
            return Ok(None);
        };
        for _ in 0..PUT_TRIES {
            self.add(link, vip, valid).await?;
            // The lifetime began somewhere between the question and the answer: count from the answer.
            match lifetime(now(), until) {
                Some(left) if left >= valid => return Ok(Some(valid)),
                Some(left) => valid = left,
                None => break,
            }
        }
        let (index, prefix) = (link.index, installed_prefix(vip));
        let address = vip.address;
        tracing::warn!(code = "address_too_late", %address, "the kernel is too slow for what is left of the lease: taken off again");
        let it = Installed {
            index,
            address,
            prefix,
            valid,
        };
        self.remove(it).await?;
        Ok(None)
    }

    async fn add(&self, link: &Link, vip: Vip, valid: u32) -> Result<(), VipError> {
        let prefix = installed_prefix(vip);
        let mut request = self.handle.address().add(link.index, vip.address, prefix).replace();
        let mut cache = CacheInfo::default();
        cache.ifa_valid = valid;
        let attributes = &mut request.message_mut().attributes;
        if vip.address.is_ipv4() {
            cache.ifa_preferred = valid;
            attributes.push(AddressAttribute::Label(label(&link.name)));
            attributes.push(AddressAttribute::Flags(AddressFlags::Noprefixroute));
        } else {
            // Deprecated from the start: never the source of a connection that did not ask for it.
            cache.ifa_preferred = 0;
            let flags = AddressFlags::Noprefixroute | AddressFlags::Nodad;
            attributes.push(AddressAttribute::Flags(flags));
        }
        attributes.push(AddressAttribute::CacheInfo(cache));
        let doing = format!("adding {}/{prefix} to {}", vip.address, link.name);
        timed(&doing, request.execute()).await
    }

    /// Removes an address; that it is not there, or its interface is gone, is a success.
    pub(super) async fn remove(&self, it: Installed) -> Result<(), VipError> {
        // The builder of additions makes the very message that a removal needs.
        let message = self
            .handle
            .address()
            .add(it.index, it.address, it.prefix)
            .message_mut()
            .clone();
        let doing = format!("removing {}/{}", it.address, it.prefix);
        let request = async {
            match self.handle.address().del(message).execute().await {
                Err(error) if [ENODEV, EADDRNOTAVAIL].contains(&code(&error)) => Ok(()),
                result => result,
            }
        };
        timed(&doing, request).await
    }
}

/// Whether this host has an interface of that name.
///
/// # Errors
/// The kernel refused, or did not answer in time.
pub async fn interface_exists(name: &str) -> Result<bool, VipError> {
    Ok(list().await?.iter().any(|existing| existing == name))
}

/// The names of this host's interfaces, in alphabetical order.
///
/// # Errors
/// The kernel refused, or did not answer in time.
pub async fn list() -> Result<Vec<String>, VipError> {
    let (netlink, _changes) = Netlink::open()?;
    let links = netlink.links().await?;
    Ok(names(links.iter()))
}

pub(super) fn names<'a>(links: impl Iterator<Item = &'a Link>) -> Vec<String> {
    let mut names: Vec<String> = links.map(|link| link.name.clone()).collect();
    names.sort();
    names
}

/// The whole seconds for which an address may still be given out; `None` below one.
pub(super) fn lifetime(now: Time, until: Time) -> Option<u32> {
    let left = now.until(until).saturating_sub(REMOVAL_LAG).as_secs();
    // The largest number means for ever.
    let left = u32::try_from(left).unwrap_or(u32::MAX).min(u32::MAX - 1);
    (left > 0).then_some(left)
}

fn label(interface: &str) -> String {
    let mut label = interface.to_owned();
    label.truncate(LABEL_MAX - LABEL_SUFFIX.len());
    label + LABEL_SUFFIX
}

async fn timed<T>(doing: &str, call: impl Future<Output = Result<T, rtnetlink::Error>>) -> Result<T, VipError> {
    let doing = doing.to_owned();
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) if code(&error) == EPERM => Err(VipError::Permission {
            doing,
            capability: "CAP_NET_ADMIN",
        }),
        Ok(Err(error)) => Err(VipError::Refused {
            doing,
            reason: reason(&error),
        }),
        Err(_) => Err(VipError::Timeout { doing }),
    }
}

/// The errno of the kernel's refusal; zero for anything else.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum is open")]
fn code(error: &rtnetlink::Error) -> i32 {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.raw_code().abs(),
        _ => 0,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum is open")]
fn reason(error: &rtnetlink::Error) -> String {
    match error {
        // The kernel's only use of it for an address; a missing capability is EPERM.
        _ if code(error) == EACCES => "IPv6 is disabled there".to_owned(),
        rtnetlink::Error::NetlinkError(message) => message.to_io().to_string(),
        other => other.to_string(),
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enums are open")]
fn understand(payload: NetlinkPayload<RouteNetlinkMessage>) -> Option<Change> {
    match payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(message)) => {
            installed(&message).map(Change::Added)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(message)) => {
            installed(&message).map(Change::Removed)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => link(&message).map(Change::Link),
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message)) => {
            link(&message).map(|link| Change::LinkGone(link.index))
        }
        NetlinkPayload::Overrun(_) => Some(Change::Missed),
        _ => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum is open")]
fn installed(message: &AddressMessage) -> Option<Installed> {
    let mut address = None;
    let mut local = None;
    let mut valid = u32::MAX;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(it) => address = Some(*it),
            AddressAttribute::Local(it) => local = Some(*it),
            AddressAttribute::CacheInfo(cache) => valid = cache.ifa_valid,
            _ => (),
        }
    }
    Some(Installed {
        index: message.header.index,
        // On a point-to-point link the other attribute is the peer's.
        address: local.or(address)?,
        prefix: message.header.prefix_len,
        valid,
    })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum is open")]
fn link(message: &LinkMessage) -> Option<Link> {
    // A bridge reports its ports in messages of its own family: a port that leaves looks like an interface that goes.
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let mut name = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(it) => name = Some(it.clone()),
            LinkAttribute::Address(it) => mac = <[u8; 6]>::try_from(&it[..]).ok().map(Mac),
            _ => (),
        }
    }
    Some(Link {
        index: message.header.index,
        name: name?,
        mac,
        up: message.header.flags.contains(LinkFlags::Up | LinkFlags::Running),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_rounded_down_and_end_before_the_deadline() {
        let until = |ms| lifetime(Time::default(), Time::default().plus(Duration::from_millis(ms)));
        assert_eq!(until(0), None);
        assert_eq!(until(1299), None);
        assert_eq!(until(1300), Some(1));
        assert_eq!(until(5000), Some(4));
        assert_eq!(until(5299), Some(4));
        assert_eq!(until(5300), Some(5));
        assert_eq!(until(u64::MAX), Some(u32::MAX - 1), "never for ever");
    }

    #[test]
    fn labels_fit_and_keep_their_mark() {
        assert_eq!(label("eth0"), "eth0:lh");
        assert_eq!(label("enp0s31f6np0"), "enp0s31f6np0:lh");
        assert_eq!(label("a-long-name-15c"), "a-long-name-:lh");
    }
}
