//! What will happen, in plain words and with the figures of this configuration: the end of `leasehold check`.

use std::time::Duration;

use leasehold_compose::model::{Check, Failback, Failover, Group, OnFailure, OnStopFailure, Project};
use leasehold_core::protocol::sizing::Timing;

/// What a new holder waits for on a storage whose last claim was not released, the watch of it included.
const CLAIM: Duration = Duration::from_millis(650);

/// The whole paragraph. `voters`: etcd's members, where they could be counted.
pub(super) fn tell(project: &Project, timing: &Timing, voters: Option<usize>) -> String {
    let mut sentences = vec![dead_host(project, timing)];
    sentences.push(format!(
        "If etcd stops, or this host can't reach it, everything here stops {} after the last answered beat{}.",
        words(timing.soft_after()),
        voters.map_or(String::new(), majority)
    ));
    sentences.push(
        "If the sidecar alone dies or is replaced, the service goes on as long as that, and the next sidecar takes it up."
            .to_owned(),
    );
    sentences.extend(project.groups.values().filter_map(confirm));
    sentences.extend(project.groups.values().map(sick));
    sentences.extend(project.groups.values().map(stop));
    sentences.extend(project.groups.values().filter_map(failback));
    sentences.push(unsafe_against(project, timing));
    format!("In plain words:\n  {}", sentences.join("\n  "))
}

/// Between a host that dies just after and one that dies just before its next beat.
fn dead_host(project: &Project, timing: &Timing) -> String {
    let first = timing.ttl.saturating_sub(timing.beat);
    let last = timing.ttl + timing.attempt + CLAIM;
    let fence = project.cluster.fence.as_ref().map_or_else(String::new, |fence| {
        format!(
            ", after {} has fenced it (up to {} more; if it can't, nothing starts until `leasehold fenced`)",
            fence.agent.display(),
            words(fence.timeout)
        )
    });
    format!(
        "If the host that serves dies, the best ready standby starts the service {} to {} later{fence}; then the service \
         takes its own time to start.",
        words(first),
        words(last)
    )
}

fn confirm(group: &Group) -> Option<String> {
    let name = &group.name;
    match group.failover {
        Failover::Auto => None,
        Failover::Confirm => Some(format!(
            "Not so {name}: when its host dies, it stays down until you have made sure that this host can't write any more, and said              `leasehold fenced HOST` (failover: confirm)."
        )),
    }
}

fn majority(voters: usize) -> String {
    match voters.saturating_sub(1) / 2 {
        0 => format!("; its {} can't lose one", count(voters, "member")),
        spare => format!("; its {} can lose {spare}", count(voters, "member")),
    }
}

fn sick(group: &Group) -> String {
    let name = &group.name;
    // What a canary finds is only told.
    let deciding = || {
        group
            .probes
            .iter()
            .filter(|probe| !matches!(probe.check, Check::Canary(_)))
    };
    if deciding().next().is_none() {
        return format!(
            "If the service of {name} hangs, nobody notices: it has no probes. If it ends, it is started again."
        );
    }
    let noticed = |count: fn(&leasehold_compose::model::Cadence) -> u32| {
        let all = deciding().map(|probe| probe.cadence);
        let slowest = all.map(|cadence| (cadence.interval + cadence.timeout) * count(&cadence));
        words(slowest.max().unwrap_or_default())
    };
    let refused = noticed(|cadence| cadence.fall);
    let silent = noticed(|cadence| cadence.fall_timeout);
    let seen = format!(
        "If a probe of {name} is refused, it counts as sick within {refused}; if it is not answered, within {silent}"
    );
    match group.on_failure {
        OnFailure::Notify => format!("{seen}: you are told, and nothing else happens (on_failure: notify)."),
        OnFailure::Recover => format!(
            "{seen}: it is restarted in place, up to {} in {}, then moved to a ready standby, if there is one. A start whose probes \
             have not passed within {} (start_timeout) counts as failed, too. \
             With another image than before it may take ten times as long.",
            count(group.restarts.count as usize, "time"),
            words(group.restarts.window),
            words(group.start_timeout)
        ),
    }
}

fn stop(group: &Group) -> String {
    let grace: Duration = group.services.iter().map(|service| service.stop_grace_period).sum();
    let name = &group.name;
    let then = match group.on_stop_failure {
        OnStopFailure::Hold => "the group stays down, marked stuck, until its host is fenced",
        OnStopFailure::Reboot => "its host is reset, without a sync",
    };
    format!(
        "A switchover of {name} takes as long as its containers take to stop, at most {} before they are killed, and to start. \
         If it can't be killed, {then}.",
        words(grace)
    )
}

fn failback(group: &Group) -> Option<String> {
    match group.failback {
        Failback::Manual => None,
        Failback::Auto { quiet } => Some(format!(
            "{} goes back by itself to a node that is preferred, once that has been ready for {}.",
            group.name,
            words(quiet)
        )),
    }
}

fn unsafe_against(project: &Project, timing: &Timing) -> String {
    let mut dangers = vec!["a container that somebody starts on this storage without the tether".to_owned()];
    if project.cluster.fence.is_none() {
        dangers.insert(
            0,
            "a host that is paused as a whole past its deadline and goes on (no fence is configured)".to_owned(),
        );
    }
    dangers.push(format!(
        "clocks whose rates differ by more than {:.1} %",
        timing.clock_margin * 100.0
    ));
    dangers.push("storage that one host writes long after its processes are gone".to_owned());
    if timing.watchdog.is_none() && project.cluster.fence.is_none() {
        dangers.push("a host that can't stop the service and loses etcd in the same moment (no watchdog)".to_owned());
    }
    format!("Nothing here is safe against {}.", dangers.join("; "))
}

fn count(number: usize, of: &str) -> String {
    match number {
        1 => format!("one {of}"),
        more => format!("{more} {of}s"),
    }
}

/// Seconds with one digit, or minutes where they are whole.
fn words(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds >= 120.0 && time.as_secs().is_multiple_of(60) {
        return format!("{} min", time.as_secs() / 60);
    }
    let text = format!("{seconds:.1}");
    format!("{} s", text.trim_end_matches(".0"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::project;
    use super::*;

    fn timing() -> Timing {
        Timing::new(Duration::from_secs(10), 0.01, None, Duration::from_secs(1))
    }

    #[test]
    fn the_figures_are_those_of_the_configuration() {
        let told = tell(&project("", ", probes: [{smtp: 25}]", ""), &timing(), Some(3));
        for part in [
            "starts the service 9.2 s to 11.7 s later; then",
            "stops 8.4 s after the last answered beat; its 3 members can lose 1.",
            "If a probe of mail is refused, it counts as sick within 24 s; if it is not answered, within 48 s",
            "up to 3 times in 10 min, then moved",
            "at most 20 s before they are killed",
            "marked stuck",
            "paused as a whole",
            "more than 1.0 %",
        ] {
            assert!(told.contains(part), "{part:?} is not in\n{told}");
        }
        assert!(!told.contains("goes back") && !told.contains("confirm"));
    }

    #[test]
    fn what_is_configured_is_said() {
        let fence = ", fence: {agent: /usr/sbin/fence_ipmilan, timeout: 60s, action: off}";
        let group =
            ", failover: confirm, on_stop_failure: reboot, failback: auto, on_failure: notify, probes: [{tcp: 25}]";
        let told = tell(&project(fence, group, ""), &timing(), Some(2));
        for part in [
            "after /usr/sbin/fence_ipmilan has fenced it (up to 60 s more",
            "its 2 members can't lose one",
            "you are told, and nothing else happens",
            "its host is reset",
            "Not so mail: when its host dies, it stays down",
            "goes back by itself",
        ] {
            assert!(told.contains(part), "{part:?} is not in\n{told}");
        }
        assert!(!told.contains("paused as a whole"));
        assert!(tell(&project("", "", ""), &timing(), None).contains("it has no probes"));
    }
}
