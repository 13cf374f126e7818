//! Virtual IPs through netlink, ARP and neighbour discovery.
//!
//! One task owns the addresses of one interface. An address is only ever on it with a kernel lifetime that ends before
//! the deadline of the last [`VipCommand::Hold`], so it goes by itself when this process is killed, frozen or hung.
//! The task puts back and announces what it holds, and never extends it: only a `Hold` does.
//!
//! An address that does not bear our marks is somebody else's: it is told, and neither removed nor given an end, whatever its
//! address is (see `installed.rs`).
//!
//! IPv4 addresses are installed as `/32` whatever prefix is configured. With a wider one the kernel ties the addresses
//! of a subnet together: the first is primary, and its removal takes the others along, so an expiring virtual IP could
//! take the host's own address with it, or go with it. No prefix route is made either way.
//! What is left of that: a point-to-point address whose *peer* is the virtual IP, added on the same interface after ours; with
//! `promote_secondaries` off the kernel ends it with ours.
//!
//! A netlink request runs inside the send: while another process holds the kernel's rtnl lock, the thread waits. Run
//! the task on a thread of its own where other work must not wait with it.

mod announce;
mod arp;
mod host;
mod installed;
mod keep;
mod ndp;
mod near;
mod netlink;
mod task;
mod theirs;
mod wire;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use tokio::sync::mpsc;

use leasehold_base::time::Time;
use leasehold_compose::model::Vip;

pub use host::{Own, network, own, unreached, whole};
pub use near::vantage;
pub use netlink::{interface_exists, list};

/// When an address must be gone by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Until {
    pub end: Time,
    /// The kernel counts in whole seconds, which is too coarse for this lease: a host whose sidecar is gone may keep the address
    /// for up to 1.5 s longer. Without it the address is gone before the end.
    pub coarse: bool,
}

/// What the task is told to do; the group's name comes back in every answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VipCommand {
    /// Ask the network whether somebody has these addresses, but for those that an earlier sidecar left here; answered by `Free`, `Conflict`, `Occupied` or `Failed`.
    Probe { group: String, vips: Vec<Vip> },
    /// Have these addresses on the interface, and no others of the group, for no longer than `until`. A deadline and
    /// not a duration, so that time spent in the queue counts. `announce` starts the announcements, once for a group
    /// that is held; without it (an address taken over from a previous run of the sidecar) only the periodic ones go out.
    Hold {
        group: String,
        vips: Vec<Vip>,
        until: Until,
        announce: bool,
    },
    /// As `Hold` of those that an earlier sidecar left on the interface, and nothing where it left none.
    Keep {
        group: String,
        vips: Vec<Vip>,
        until: Until,
    },
    /// Take the addresses that we added, and what else the group holds, off every interface; answered by `Dropped` or `Failed`.
    Drop { group: String, vips: Vec<Vip> },
    /// The addresses are nobody's business here any more. Those that are held stay held.
    Forget { vips: Vec<Vip> },
}

/// What the task reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VipEvent {
    /// Nobody answered the probe of any of the group's addresses.
    Free { group: String },
    /// Somebody answered the probe: the previous holder is not fenced. Ends the group's probe.
    Conflict { group: String, vip: Vip, mac: Mac },
    /// Every address of the group is on the interface; said for the first `Hold` that brought it there, and for each
    /// that asks for announcements.
    Held { group: String },
    /// A command did not succeed for this address.
    Failed { group: String, vip: Vip, error: VipError },
    /// This host has an address of the group without our doing, in these words; none: no more. Said when it changes, and in
    /// answer to each `Probe` that it ends.
    Occupied { group: String, by: Option<String> },
    /// A `Drop` is done: no interface has any of the addresses of ours, whether or not one had.
    Dropped { group: String },
    /// The deadline of the last `Hold` passed, or was moved back to less than a second: the addresses are taken off
    /// and no longer kept.
    Expired { group: String },
    /// Another machine uses an address that is probed or held here; at most once a second for each address.
    Foreign { group: String, vip: Vip, mac: Mac },
    /// The interface can carry traffic, or can't; the first one tells the state at the start.
    /// With its Ethernet address, as far as it has ever been known; another one is told, too.
    Link { up: bool, mac: Option<Mac> },
    /// Somebody removed an address that is held; it was put back for the time that it had left.
    Lost { group: String, vip: Vip },
}

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Why a command did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VipError {
    /// The kernel said EPERM.
    #[error("{doing}: {capability} is missing; add `cap_add: [NET_ADMIN, NET_RAW]` to the sidecar's service")]
    Permission { doing: String, capability: &'static str },
    /// There is no interface of that name.
    #[error("no interface {name}; this host has {}", .existing.join(", "))]
    NoInterface { name: String, existing: Vec<String> },
    /// The interface is there but can't carry traffic, so nobody could be asked.
    #[error("interface {name} is down or has no carrier")]
    LinkDown { name: String },
    /// The interface has no Ethernet address: there is nothing to announce there.
    #[error("interface {name} is no Ethernet interface")]
    NotEthernet { name: String },
    /// The host itself has the address.
    #[error("{0}")]
    Occupied(Own),
    /// The kernel did not answer in time.
    #[error("{doing}: no answer from the kernel within {} ms", netlink::CALL_TIMEOUT.as_millis())]
    Timeout { doing: String },
    /// Any other refusal.
    #[error("{doing}: {reason}")]
    Refused { doing: String, reason: String },
}

/// What a frame says about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    address: IpAddr,
    mac: Mac,
    says: Says,
}

/// Whether the sender has the address or asks for it before taking it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    Mine,
    Asking,
}

/// Starts the task that looks after the virtual IPs of `interface`. It ends when the sender of `commands` or the
/// receiver of `events` is gone, and then leaves the addresses to their lifetimes. Must be called inside a runtime.
pub fn spawn(
    interface: String,
    commands: mpsc::Receiver<VipCommand>,
    events: mpsc::Sender<VipEvent>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(task::run(interface, commands, events))
}

/// The prefix length with which the address is installed; see the module's introduction.
fn installed_prefix(vip: Vip) -> u8 {
    match vip.address {
        IpAddr::V4(_) => Ipv4Addr::BITS as u8,
        IpAddr::V6(_) => vip.prefix,
    }
}
