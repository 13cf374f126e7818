//! Where other nodes ask this one for promises: the address, and whether somebody else has its port.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use leasehold_core::promises::fits;
use leasehold_sidecar::adapters::promises::asked_at;
use leasehold_sidecar::node_args::NodeArgs;
use leasehold_sidecar::node_context::NodeContext;

/// What is found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) report: Vec<String>,
    pub(super) warnings: Vec<String>,
    pub(super) faults: Vec<String>,
}

/// Nothing where the file has no promises.
pub(super) fn look(facts: &NodeArgs, site: &NodeContext) -> Asked {
    let cluster = &site.project.cluster;
    let Some(bound) = cluster.promises else {
        return Asked::default();
    };
    let at = asked_at(facts.promises_listen.as_deref(), &cluster.etcd);
    // The sidecar of this host has it already, where one runs and promises are on.
    let mut asked = tell(bound, at, facts.socket().exists());
    asked
        .warnings
        .extend(too_many(&cluster.name, &site.name, site.project.groups.keys()));
    asked
}

/// One node may come to hold all of them.
fn too_many<'g>(
    cluster: &str,
    node: &str,
    groups: impl ExactSizeIterator<Item = &'g String> + Clone,
) -> Option<String> {
    let fit = fits(cluster, node, groups.clone().map(String::as_str));
    (!fit).then(|| {
        format!(
            "promises: a node that holds all {} groups could not name them in one question, and would stop without etcd as without \
             promises; spread them over the nodes",
            groups.len()
        )
    })
}

fn tell(bound: Duration, at: Result<SocketAddr, String>, sidecar: bool) -> Asked {
    let mut asked = Asked::default();
    let address = match at {
        Ok(address) => address,
        Err(why) => {
            asked.faults.push(format!("promises: {why}"));
            return asked;
        }
    };
    asked.report.push(format!(
        "promises: a holder runs on for {bound:?} without etcd; the other nodes ask this one at UDP {address}: let them through"
    ));
    if address.ip().is_loopback() {
        asked.warnings.push(format!(
            "promises: no other host can ask this one at {address}: set LEASEHOLD_PROMISES_LISTEN to this host's own address"
        ));
    }
    match UdpSocket::bind(address) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && sidecar => {}
        Err(error) => asked.faults.push(format!(
            "promises: UDP {address}: {error}: see who listens there (`ss -lnup`), or set LEASEHOLD_PROMISES_LISTEN"
        )),
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_groups_than_one_question_names_are_warned_of() {
        let named = |count: usize| (0..count).map(|at| format!("customer-{at:03}")).collect::<Vec<_>>();
        assert_eq!(too_many("mail", "a", named(40).iter()), None);
        let told = too_many("mail", "a", named(60).iter()).unwrap();
        assert!(told.contains("all 60 groups"), "{told}");
    }

    #[test]
    fn a_port_that_somebody_else_has_is_a_fault() {
        let hour = Duration::from_secs(3600);
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let asked = tell(hour, Ok(address), false);
        assert!(asked.faults[0].contains("ss -lnup"), "{asked:?}");
        assert!(asked.warnings[0].contains("no other host"), "{asked:?}");
        assert!(asked.report[0].contains(&format!("UDP {address}")), "{asked:?}");
        assert!(tell(hour, Ok(address), true).faults.is_empty(), "the sidecar's own");
        drop(taken);
        assert!(tell(hour, Ok(address), false).faults.is_empty());
        let none = tell(hour, Err("no address".to_owned()), false);
        assert_eq!(none.faults, ["promises: no address"]);
    }
}
