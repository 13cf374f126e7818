//! The virtual addresses and this host: whether one is its own, and whether a route leads to its network.

use super::Findings;
use leasehold_compose::model::{Project, Vip};
use leasehold_sidecar::adapters::vip::{self, VipError};
use leasehold_sidecar::node_context;

pub(super) async fn look(project: &Project, interface: &str) -> Findings {
    let mut found = Findings::default();
    match node_context::own_addresses(project).await {
        Ok(own) => found.faults = own,
        Err(error) => found
            .warnings
            .push(format!("this host's addresses can't be looked at: {error}")),
    }
    let vips: Vec<Vip> = project.groups.values().flat_map(|group| group.vips.clone()).collect();
    if vips.is_empty() {
        return found;
    }
    match vip::unreached(interface, &vips).await {
        Ok(vips) => found.warnings.extend(vips.iter().map(|vip| no_route(interface, *vip))),
        Err(error @ VipError::NoInterface { .. }) => found.warnings.push(format!(
            "the virtual addresses have no place: {error}; name it in LEASEHOLD_INTERFACE"
        )),
        Err(error) => found
            .warnings
            .push(format!("this host's routes can't be looked at: {error}")),
    }
    found
}

fn no_route(interface: &str, vip: Vip) -> String {
    let network = vip::network(vip);
    let command = match vip.address.is_ipv4() {
        true => "ip route add",
        false => "ip -6 route add",
    };
    let (address, prefix) = (vip.address, vip.prefix);
    let whole = vip::whole(vip);
    format!(
        "{address}/{prefix} is in a network that {interface} has no address in and no route to, so answers to its neighbours there \
         go to the gateway: `{command} {network} dev {interface}` on every host, and in its network configuration; or, if the \
         address is routed to the hosts, write {address}/{whole} into vips"
    )
}
