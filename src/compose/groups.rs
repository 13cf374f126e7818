//! Protected services become groups: what they say is put together, and what contradicts is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cursor::At;
use super::fault::Faults;
use super::leasehold::{Settings, Stated};
use super::model::{Check, Failback, Group, Mount, MountKind, OnFailure, Probe, SecondOpinion, Service, Vip};
use super::{depends, order, reach, refusals};

/// How long a start may take until the probes pass, unless the file says so: in doubt rather slow than never.
const START_DEFAULT: Duration = Duration::from_secs(60);
const LOOK_DEFAULT: Duration = Duration::from_secs(60);
const TRIAL_DEFAULT: Duration = Duration::from_secs(24 * 3600);

/// One protected service on its way into a group.
#[derive(Debug)]
pub(super) struct Member<'a> {
    pub(super) at: At<'a>,
    pub(super) service: Service,
    pub(super) settings: Settings<'a>,
}

/// All groups; members are in file order.
pub(super) fn build(mut members: Vec<Member<'_>>, faults: &mut Faults) -> BTreeMap<String, Group> {
    let homes: BTreeMap<String, String> = members
        .iter()
        .map(|member| (member.service.name.clone(), member.settings.group.clone()))
        .collect();
    for member in &mut members {
        depends::read(member, &homes, faults);
    }
    let mut sorted: BTreeMap<String, Vec<Member<'_>>> = BTreeMap::new();
    for member in members {
        sorted.entry(member.settings.group.clone()).or_default().push(member);
    }
    shared_addresses(&sorted, faults);
    shared_storage(&sorted, faults);
    sorted
        .into_iter()
        .map(|(name, members)| (name.clone(), group(name, members, faults)))
        .collect()
}

fn group(name: String, members: Vec<Member<'_>>, faults: &mut Faults) -> Group {
    let settings = || members.iter().map(|member| &member.settings);
    let vips: Vec<Vip> = agreed(settings().map(|s| &s.vips), faults).unwrap_or_default();
    let probes: Vec<Probe> = agreed(settings().map(|s| &s.probes), faults).unwrap_or_default();
    let start_timeout = agreed(settings().map(|s| &s.start_timeout), faults);
    let failback = agreed(settings().map(|s| &s.failback), faults).unwrap_or(Failback::Manual);
    let on_failure = agreed(settings().map(|s| &s.on_failure), faults).unwrap_or(OnFailure::Recover);
    let restarts = agreed(settings().map(|s| &s.restarts), faults).unwrap_or_default();
    let lease_loss_grace: Option<Duration> = agreed(settings().map(|s| &s.lease_loss_grace), faults);
    let on_stop_failure = agreed(settings().map(|s| &s.on_stop_failure), faults).unwrap_or_default();
    let on_conflict = agreed(settings().map(|s| &s.on_conflict), faults).unwrap_or_default();
    let failover = agreed(settings().map(|s| &s.failover), faults).unwrap_or_default();
    let storage_look = agreed(settings().map(|s| &s.storage_look), faults);
    let start_trial = agreed(settings().map(|s| &s.start_trial), faults);
    let second_opinion = settings().map(|s| &s.second_opinion);
    askable(second_opinion.clone(), &vips, &probes, faults);
    let second_opinion = agreed(second_opinion, faults).unwrap_or_default();
    let vip_first = agreed(settings().map(|s| &s.vip_first), faults).unwrap_or_default();
    let known: Vec<_> = members
        .iter()
        .map(|m| (m.at.clone(), &m.service, m.settings.probes.is_some()))
        .collect();
    refusals::open_relay(&known, &probes, faults);
    reach::look(&members, &vips, vip_first, faults);
    probed_services(&members, faults);
    let first = members.first().map(|member| member.at.clone());
    let services = order::sort(members.into_iter().map(|member| member.service).collect()).unwrap_or_else(|circle| {
        if let Some(at) = first {
            let message = format!(
                "the services of group {name} wait for each other: {}",
                circle.join(", ")
            );
            at.fault(faults, message, "take one depends_on out");
        }
        Vec::new()
    });
    Group {
        name,
        start_timeout: start_timeout.unwrap_or_else(|| start_period(&services).max(START_DEFAULT)),
        services,
        vips,
        vip_first,
        on_conflict,
        probes,
        failback,
        on_failure,
        restarts,
        lease_loss_grace,
        on_stop_failure,
        failover,
        second_opinion,
        storage_look: storage_look.unwrap_or(Some(LOOK_DEFAULT)),
        start_trial: start_trial.unwrap_or(Some(TRIAL_DEFAULT)),
    }
}

/// Whoever wants an act to follow from it should not wait for it in vain.
fn askable<'s, 'a: 's>(
    stated: impl Iterator<Item = &'s Stated<'a, SecondOpinion>>,
    vips: &[Vip],
    probes: &[Probe],
    faults: &mut Faults,
) {
    let missing = match (vips, probes.iter().any(Probe::is_asked_from_outside)) {
        ([], _) => "an address in vips",
        (_, false) => "a probe that others can make: tcp, smtp, imap, pop3 or http",
        (_, true) => return,
    };
    for (_, at) in stated.flatten().filter(|(value, _)| *value == SecondOpinion::Act) {
        let message = "has nothing to ask: no standby could give an opinion".to_owned();
        at.fault(faults, message, format!("add {missing}, or take it out"));
    }
}

/// The longest time that a health check leaves its service for its start.
fn start_period(services: &[Service]) -> Duration {
    let checks = services.iter().filter_map(|service| service.healthcheck.as_ref());
    checks.filter_map(|check| check.start_period).max().unwrap_or_default()
}

/// A probe looks into containers of its own group only.
fn probed_services(members: &[Member<'_>], faults: &mut Faults) {
    let ours: Vec<&str> = members.iter().map(|member| member.service.name.as_str()).collect();
    for (probes, at) in members.iter().filter_map(|member| member.settings.probes.as_ref()) {
        for probe in probes {
            let (Check::Exec { service, .. } | Check::Docker { service } | Check::Storage { service, .. }) =
                &probe.check
            else {
                continue;
            };
            let Some(member) = members.iter().find(|member| member.service.name == *service) else {
                let message = format!("looks into service {service}, which is not of this group");
                at.fault(faults, message, format!("name one of {}", ours.join(", ")));
                continue;
            };
            let is_storage = matches!(probe.check, Check::Storage { .. });
            if is_storage && !member.service.mounts.iter().any(Mount::is_protected) {
                let message = format!("writes to the storage of service {service}, which mounts none that is writable");
                at.fault(faults, message, "name a service with a volume, or take the probe out");
            }
        }
    }
}

/// The one value that the members of a group state.
fn agreed<'s, 'a: 's, T: Clone + PartialEq + 's>(
    stated: impl Iterator<Item = &'s Stated<'a, T>>,
    faults: &mut Faults,
) -> Option<T> {
    let mut first: Option<&(T, At<'a>)> = None;
    for next in stated.flatten() {
        match first {
            None => first = Some(next),
            Some((value, at)) if *value != next.0 => {
                let message = format!("contradicts {}", at.path);
                next.1
                    .fault(faults, message, "state it on one service of the group only");
            }
            Some(_) => {}
        }
    }
    first.map(|(value, _)| value.clone())
}

fn shared_addresses(groups: &BTreeMap<String, Vec<Member<'_>>>, faults: &mut Faults) {
    let mut seen: BTreeMap<std::net::IpAddr, &String> = BTreeMap::new();
    for (name, members) in groups {
        for (vips, at) in members.iter().filter_map(|member| member.settings.vips.as_ref()) {
            for vip in vips {
                let owner = *seen.entry(vip.address).or_insert(name);
                if owner != name {
                    at.fault(faults, format!("{} belongs to group {owner} already", vip.address), "");
                }
            }
        }
    }
}

/// Two groups may live on two nodes: storage that both write would be written twice.
fn shared_storage(groups: &BTreeMap<String, Vec<Member<'_>>>, faults: &mut Faults) {
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    for (name, members) in groups {
        for member in members {
            for mount in member.service.mounts.iter().filter(|mount| mount.is_protected()) {
                let source = match &mount.kind {
                    MountKind::Bind { source, .. } => source.display().to_string(),
                    MountKind::Volume { key, .. } => format!("the volume {key}"),
                    MountKind::Tmpfs { .. } | MountKind::File { .. } => continue,
                };
                let owner = *seen.entry(source.clone()).or_insert(name);
                if owner != name {
                    let message = format!("writes to {source}, as group {owner} does, which may live on another node");
                    member
                        .at
                        .fault(faults, message, "mount it read-only, or put both into one group");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Dependency, Project};
    use super::super::testing::{CLUSTER, LINES, assert_one, read_files, said};
    use super::*;

    /// Services given as (name, what is in `x-leasehold`, other keys in one line).
    fn text(services: &[(&str, &str, &str)]) -> String {
        let service = |(name, own, keys): &(&str, &str, &str)| {
            let lines: String = keys.lines().map(|line| format!("    {line}\n")).collect();
            let own = if *own == "-" {
                String::new()
            } else {
                format!("{LINES}    x-leasehold: {{{own}}}\n")
            };
            format!("  {name}:\n    image: i:1\n{own}{lines}")
        };
        let services: String = services.iter().map(service).collect();
        format!("{CLUSTER}services:\n{services}volumes: {{data: {{external: true}}}}\n")
    }

    fn project(services: &[(&str, &str, &str)]) -> Project {
        read_files(&[("compose.yaml", &text(services))]).unwrap_or_else(|faults| panic!("{faults:#?}"))
    }

    #[test]
    fn services_of_a_group_are_started_in_order() {
        let project = project(&[
            (
                "web",
                "group: app",
                "depends_on: {db: {condition: service_healthy}, cache: {condition: service_started}}",
            ),
            (
                "net",
                "group: app, vips: ['192.0.2.1/24']",
                "network_mode: 'service:web'",
            ),
            ("db", "group: app", ""),
            ("cache", "group: app, failback: auto", "depends_on: [db]"),
            (
                "alone",
                "",
                "depends_on: {plain: {condition: service_started, required: false}}",
            ),
            ("plain", "-", ""),
        ]);
        let names = |group: &str| {
            project.groups[group]
                .services
                .iter()
                .map(|s| s.name.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("app"), ["db", "cache", "web", "net"]);
        assert_eq!(names("alone"), ["alone"]);
        let web = &project.groups["app"].services[2];
        assert_eq!(web.depends_on["db"], Dependency::Healthy);
        assert_eq!(web.depends_on["cache"], Dependency::Started);
        assert_eq!(
            (project.groups["app"].vips.len(), project.groups["app"].failback),
            (
                1,
                Failback::Auto {
                    quiet: Duration::from_secs(300)
                }
            )
        );
        assert!(project.groups["alone"].services[0].depends_on.is_empty());
        assert!(
            project.warnings[0].contains("plain is not protected"),
            "{:?}",
            project.warnings
        );
    }

    type Case = (&'static [(&'static str, &'static str, &'static str)], [&'static str; 2]);
    const CASES: [Case; 13] = [
        (
            &[
                ("a", "group: g, failback: auto", ""),
                ("b", "group: g, failback: manual", ""),
            ],
            ["contradicts", "one service"],
        ),
        (
            &[
                ("a", "group: g, vip_first: true", ""),
                ("b", "group: g, vip_first: false", ""),
            ],
            ["contradicts", ""],
        ),
        (
            &[
                ("a", "group: g, vips: ['10.0.0.1/8']", ""),
                ("b", "group: g, vips: ['10.0.0.2/8']", ""),
            ],
            ["contradicts", ""],
        ),
        (
            &[
                ("a", "group: g, probes: [{tcp: 1}]", ""),
                ("b", "group: g, probes: [{tcp: 2}]", ""),
            ],
            ["contradicts", ""],
        ),
        (
            &[
                ("a", "group: g, lease_loss_grace: 1s", ""),
                ("b", "group: g, lease_loss_grace: 2s", ""),
            ],
            ["contradicts", ""],
        ),
        (
            &[("a", "vips: ['10.0.0.1/8']", ""), ("b", "vips: ['10.0.0.1/16']", "")],
            ["belongs to group a", ""],
        ),
        (
            &[("a", "", "volumes: ['data:/x']"), ("b", "", "volumes: ['data:/y']")],
            ["as group a does", "read-only"],
        ),
        (
            &[("a", "", "volumes: ['./d:/x']"), ("b", "", "volumes: ['./d/:/y']")],
            ["as group a does", "read-only"],
        ),
        (
            &[("a", "", ""), ("b", "", "depends_on: [a]")],
            ["another group, a", "one group"],
        ),
        (
            &[("a", "", ""), ("b", "", "network_mode: 'service:a'")],
            ["another group, a", "one group"],
        ),
        (
            &[("a", "", "depends_on: [p]"), ("p", "-", "")],
            ["p is not protected", "required: false"],
        ),
        (
            &[("a", "", "depends_on: {a: {condition: service_completed_successfully}}")],
            ["a is a step that ends", "service's own command"],
        ),
        (
            &[
                ("a", "group: g", "depends_on: [b]"),
                ("b", "group: g", "depends_on: [a]"),
            ],
            ["wait for each other: a, b", "take one"],
        ),
    ];

    #[test]
    fn of_a_group_the_one_that_publishes_smtp_is_warned_of() {
        let project = project(&[
            ("a", "group: g, probes: [{smtp: 25}]", "network_mode: host"),
            ("b", "group: g", "ports: ['25:25']"),
        ]);
        let warned: Vec<_> = project
            .warnings
            .iter()
            .filter(|warning| warning.contains("which a relay trusts"))
            .collect();
        assert_eq!(warned.len(), 1, "{warned:#?}");
        assert!(warned[0].contains("services.b: "), "{warned:#?}");
    }

    #[test]
    fn what_groups_cannot_agree_on_is_refused() {
        for (services, words) in CASES {
            let found = said(&text(services));
            let relevant: Vec<_> = found
                .iter()
                .filter(|fault| words.iter().all(|word| fault.contains(word)))
                .cloned()
                .collect();
            assert_one(&relevant, &words, &format!("{services:?}: {found:#?}"));
        }
    }

    #[test]
    fn what_groups_agree_on_is_accepted() {
        project(&[
            ("a", "group: g, failback: auto", ""),
            ("b", "group: g, failback: auto", ""),
        ]);
        project(&[("a", "", "volumes: ['data:/x']"), ("b", "", "volumes: ['data:/x:ro']")]);
        project(&[
            ("a", "group: g", "volumes: ['data:/x']"),
            ("b", "group: g", "volumes: ['data:/x']"),
        ]);
        project(&[
            ("a", "group: g, probes: [{smtp: 25}]", "network_mode: host"),
            ("b", "group: g", "ports: ['80:80']"),
        ]);
    }
}
