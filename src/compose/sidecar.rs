//! The sidecar as a service of the file: found by what it mounts, and whether it has the time to end in order.

use std::collections::BTreeMap;
use std::time::Duration;

use super::context::Context;
use super::cursor::At;
use super::fault::Faults;
use super::model::{END_BUDGET, Group};
use super::service;

/// What a sidecar mounts of its host, and nobody else does.
const RUN_DIR: &str = "/run/leasehold";
/// Time that a sidecar is given besides its services to end in order: what it needs, and a little.
pub(super) const MORE: Duration = Duration::from_secs(10);

/// The sidecar's service, if the project has one.
pub(super) fn find<'a>(context: &Context<'a>) -> Option<At<'a>> {
    let services = context.root.get("services")?.map(&mut Faults::default());
    services.into_iter().find(|at| {
        let volumes = at.get("volumes").map(|field| field.node.items()).unwrap_or_default();
        volumes.iter().any(|item| match item.scalar() {
            Some(text) => text.split(':').nth(1) == Some(RUN_DIR),
            None => item.get("target").and_then(|entry| entry.node.scalar()).as_deref() == Some(RUN_DIR),
        })
    })
}

/// How long the services of a group may take to stop, at most.
pub(super) fn longest_stop(groups: &BTreeMap<String, Group>) -> Option<Duration> {
    let services = groups.values().map(|group| group.services.iter());
    let sums = services.map(|services| services.map(|service| service.stop_grace_period).sum());
    sums.max()
}

/// Whether somebody would have a sidecar protected by itself: nothing is said of its time then.
pub(super) fn is_protected(name: &str, groups: &BTreeMap<String, Group>) -> bool {
    let mut services = groups.values().flat_map(|group| &group.services);
    services.any(|service| service.name == name)
}

/// It must have the time to stop what it runs: else the engine kills it on the way.
pub(super) fn short_grace(context: &Context<'_>, groups: &BTreeMap<String, Group>, faults: &mut Faults) {
    let (Some(longest), Some(at)) = (longest_stop(groups), find(context)) else {
        return;
    };
    let grace = service::read(&at, context, &mut Faults::default()).stop_grace_period;
    if grace >= longest + END_BUDGET || is_protected(at.name, groups) {
        return;
    }
    let mark = at.get("stop_grace_period").map_or(at.mark, |field| field.mark);
    faults.fault(
        mark,
        &format!("{}.stop_grace_period", at.path),
        format!("is {grace:?}, which is too short for services that may take {longest:?} to stop"),
        format!("write `stop_grace_period: {}s`", (longest + MORE).as_secs()),
    );
}

#[cfg(test)]
mod tests {
    use super::super::testing::{REST, assert_one, file, said};

    #[test]
    fn a_sidecar_without_time_for_its_services_is_a_fault() {
        let with = |grace: &str| {
            let sidecar =
                format!("  leasehold:\n    image: l:1\n    volumes: ['/run/leasehold:/run/leasehold']\n{grace}{REST}");
            said(&file("", "stop_grace_period: 20s", &sidecar))
        };
        for grace in ["", "    stop_grace_period: 24s\n"] {
            let words = [
                "services.leasehold.stop_grace_period",
                "may take 20s",
                "write `stop_grace_period: 30s`",
            ];
            assert_one(&with(grace), &words, grace);
        }
        assert!(with("    stop_grace_period: 25s\n").is_empty());
    }
}
