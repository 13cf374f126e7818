//! Addresses and links through rtnetlink; every call has a deadline.
//!
//! Requests on one socket reach the kernel in the order in which they were made, also those that were given up: a
//! removal always acts after an addition that timed out before it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};
use tokio::task::JoinSet;

use super::installed::{Installed, Ours, marks};
use super::{Mac, Until, VipError, installed_prefix};
use leasehold_base::clock::now;
use leasehold_base::time::Time;
use leasehold_compose::model::Vip;

/// The longest wait for the kernel's answer to one call.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_millis(500);

/// The kernel removes an expired address up to this much late (measured).
const REMOVAL_LAG: Duration = Duration::from_millis(300);

/// Tries of an addition whose answer took so long that its lifetime would end too late.
const PUT_TRIES: usize = 3;

const EPERM: i32 = 1;
const EACCES: i32 = 13;
const ENODEV: i32 = 19;
const EADDRNOTAVAIL: i32 = 99;

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
        let mut all = self.addresses().await?;
        all.retain(|it| addresses.contains(&it.address));
        Ok(all)
    }

    async fn addresses(&self) -> Result<Vec<Installed>, VipError> {
        let mut stream = self.handle.address().get().execute().boxed();
        let all = async {
            let mut found = Vec::new();
            while let Some(message) = stream.next().await {
                found.extend(Installed::read(&message?));
            }
            Ok(found)
        };
        timed("listing the addresses", all).await
    }

    /// Adds the address, or renews it, so that the kernel takes it away before `until`. `there` is what stands in its place.
    /// Returns the lifetime in seconds, or `None` where less than a second is left and nothing was done.
    pub(super) async fn put(
        &self,
        link: &Link,
        vip: Vip,
        until: Until,
        there: Option<&Installed>,
    ) -> Result<Option<u32>, VipError> {
        let Some(mut valid) = lifetime(now(), until) else {
            return Ok(None);
        };
        // What is there already is renewed where it is ours; somebody else's is not given an end. Who adds it between that
        // look and this addition gets it: the kernel then refuses ours.
        let mut replace = match there {
            None => false,
            Some(it) if it.clone().ours().is_some() => true,
            Some(it) => return Err(VipError::Occupied(it.own(&link.name))),
        };
        for _ in 0..PUT_TRIES {
            self.add(link, vip, valid, replace).await?;
            replace = true;
            // The lifetime began somewhere between the question and the answer: count from the answer.
            match lifetime(now(), until) {
                Some(left) if left >= valid => return Ok(Some(valid)),
                Some(left) => valid = left,
                None => break,
            }
        }
        let address = vip.address;
        tracing::warn!(code = "address_too_late", %address, "the kernel is too slow for what is left of the lease: taken off again");
        self.remove(&Ours::added(link.index, &link.name, vip, valid)).await?;
        Ok(None)
    }

    async fn add(&self, link: &Link, vip: Vip, valid: u32, replace: bool) -> Result<(), VipError> {
        let prefix = installed_prefix(vip);
        let mut request = self.handle.address().add(link.index, vip.address, prefix);
        if replace {
            request = request.replace();
        }
        request.message_mut().attributes.extend(marks(vip, &link.name, valid));
        let doing = format!("adding {}/{prefix} to {}", vip.address, link.name);
        timed(&doing, request.execute()).await
    }

    /// Removes an address of ours; that it is not there, or its interface is gone, is a success.
    pub(super) async fn remove(&self, ours: &Ours) -> Result<(), VipError> {
        let it = ours.it();
        // The builder of additions makes the very message that a removal needs.
        let mut request = self.handle.address().add(it.index, it.address, it.prefix);
        // The kernel compares the label, so that what took its place meanwhile stays.
        let label = it.label.clone().map(AddressAttribute::Label);
        request.message_mut().attributes.extend(label);
        let message = request.message_mut().clone();
        let doing = format!("removing {}/{}", it.address, it.prefix);
        let request = async {
            match self.handle.address().del(message).execute().await {
                Err(error) if [ENODEV, EADDRNOTAVAIL].contains(&code(&error)) => Ok(()),
                result => result,
            }
        };
        timed(&doing, request).await
    }

    /// Whether somebody has answered for the address as a neighbour of this host, and nothing says that he does no more.
    pub(super) async fn is_neighbour(&self, wanted: IpAddr) -> Result<bool, VipError> {
        let mut stream = self.handle.neighbours().get().execute().boxed();
        let all = async {
            let mut found = false;
            while let Some(message) = stream.next().await {
                found |= answers_for(&message?, wanted);
            }
            Ok(found)
        };
        timed("listing the neighbours", all).await
    }

    /// Every address of the interface.
    pub(super) async fn of_link(&self, link: &Link) -> Result<Vec<Installed>, VipError> {
        let all = self.addresses().await?;
        Ok(all.into_iter().filter(|it| it.index == link.index).collect())
    }

    /// The networks that an interface reaches without a gateway, by its routes: none of them is the default route.
    pub(super) async fn networks(&self, link: &Link) -> Result<Vec<(IpAddr, u8)>, VipError> {
        let mut found = Vec::new();
        for every in [
            RouteMessageBuilder::<Ipv4Addr>::new().build(),
            RouteMessageBuilder::<Ipv6Addr>::new().build(),
        ] {
            let mut stream = self.handle.route().get(every).execute().boxed();
            let all = async {
                while let Some(message) = stream.next().await {
                    found.extend(network(&message?, link.index));
                }
                Ok(())
            };
            timed("listing the routes", all).await?;
        }
        Ok(found)
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

/// The whole seconds for which an address may still be given out; `None` below one. Of a coarse end they are rounded up.
pub(super) fn lifetime(now: Time, until: Until) -> Option<u32> {
    let left = now.until(until.end);
    let left = if until.coarse {
        left.as_secs() + u64::from(left.subsec_nanos() > 0)
    } else {
        left.saturating_sub(REMOVAL_LAG).as_secs()
    };
    // The largest number means for ever.
    let left = u32::try_from(left).unwrap_or(u32::MAX).min(u32::MAX - 1);
    (left > 0).then_some(left)
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
            Installed::read(&message).map(Change::Added)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(message)) => {
            Installed::read(&message).map(Change::Removed)
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => link(&message).map(Change::Link),
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message)) => {
            link(&message).map(|link| Change::LinkGone(link.index))
        }
        NetlinkPayload::Overrun(_) => Some(Change::Missed),
        _ => None,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enums are open")]
fn answers_for(message: &NeighbourMessage, wanted: IpAddr) -> bool {
    let is_it = message.attributes.iter().any(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => IpAddr::V4(*address) == wanted,
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => IpAddr::V6(*address) == wanted,
        _ => false,
    });
    let answers = matches!(
        message.header.state,
        NeighbourState::Reachable | NeighbourState::Stale | NeighbourState::Delay | NeighbourState::Probe
    );
    is_it && answers
}

/// Where a route of the main table leads through this interface and no gateway.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library's enum is open")]
fn network(message: &RouteMessage, index: u32) -> Option<(IpAddr, u8)> {
    let (mut to, mut through) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => to = Some(IpAddr::V4(*address)),
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => to = Some(IpAddr::V6(*address)),
            RouteAttribute::Oif(index) => through = Some(*index),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => return None,
            _ => (),
        }
    }
    let is_main = message.header.table == RouteHeader::RT_TABLE_MAIN;
    (is_main && through == Some(index)).then_some((to?, message.header.destination_prefix_length))
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

    fn to(ms: u64, coarse: bool) -> Until {
        let end = Time::default().plus(Duration::from_millis(ms));
        Until { end, coarse }
    }

    #[test]
    fn lifetimes_of_a_short_lease_are_rounded_up_and_end_with_it_at_the_latest_second() {
        let until = |ms| lifetime(Time::default(), to(ms, true));
        assert_eq!(until(0), None);
        assert_eq!(until(1), Some(1));
        assert_eq!(until(990), Some(1));
        assert_eq!(until(1001), Some(2));
        assert_eq!(until(u64::MAX), Some(u32::MAX - 1));
    }

    #[test]
    fn lifetimes_are_rounded_down_and_end_before_the_deadline() {
        let until = |ms| lifetime(Time::default(), to(ms, false));
        assert_eq!(until(0), None);
        assert_eq!(until(1299), None);
        assert_eq!(until(1300), Some(1));
        assert_eq!(until(5000), Some(4));
        assert_eq!(until(5299), Some(4));
        assert_eq!(until(5300), Some(5));
        assert_eq!(until(u64::MAX), Some(u32::MAX - 1), "never for ever");
    }
}
