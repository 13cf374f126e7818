//! The status and the counters as Prometheus metrics, names and units by its conventions.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::counters::Counters;
use crate::process;
use leasehold_core::group::Stage;
use leasehold_core::snapshot::health::Health;
use leasehold_core::snapshot::status::{GroupLine, MemberState, NodeState, Status};

/// How the metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// What Prometheus asks for.
    OpenMetrics,
    /// The older text format, for everything else.
    Plain,
}

impl Format {
    /// What the client wants, by its `Accept`.
    #[must_use]
    pub fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Plain
        }
    }

    /// Its `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Plain => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    group: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    group: String,
    service: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProbeLabels {
    group: String,
    probe: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NodeLabels {
    peer: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: String,
    cluster: String,
    node: String,
}

type Of<T> = Family<T, Gauge>;
type PerGroup = Family<Labels, Gauge<f64, AtomicU64>>;

/// Writes all metrics of a status.
///
/// # Errors
/// Never in practice: writing into a string.
pub fn encode(status: &Status, counters: &Counters, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    // Under the names that all programs have in common.
    process::register(&mut registry);
    let own = registry.sub_registry_with_prefix("leasehold");
    about_node(status, own);
    about_groups(status, own);
    about_runs(status, own);
    counters.register(own);
    let mut text = String::new();
    encode_text(&mut text, &registry)?;
    Ok(match format {
        Format::OpenMetrics => text,
        Format::Plain => plain(&text),
    })
}

fn about_node(status: &Status, registry: &mut Registry) {
    let build: Of<BuildLabels> = Family::default();
    let labels = BuildLabels {
        version: status.version.clone(),
        cluster: status.cluster.clone(),
        node: status.node.clone(),
    };
    build.get_or_create(&labels).set(1);
    registry.register(
        "build_info",
        "Always 1: the version, the cluster and this node's name",
        build,
    );
    let joined: Gauge = Gauge::default();
    joined.set(i64::from(status.member == MemberState::Joined));
    registry.register("joined", "Whether this node is a member of the cluster", joined);
    let health: Of<StateLabels> = Family::default();
    for one in [Health::Normal, Health::Warning, Health::Failed, Health::Unknown] {
        let state = one.word();
        let is = i64::from(status.overall.health == one);
        health.get_or_create(&StateLabels { state }).set(is);
    }
    registry.register(
        "health",
        "The cluster's health as this node sees it: 1 for the state it is in",
        health,
    );
    let troubles: Gauge = Gauge::default();
    troubles.set(i64::try_from(status.overall.sentences.len()).unwrap_or(i64::MAX));
    registry.register(
        "troubles",
        "Sentences behind the health: what is wrong and what would hurt next",
        troubles,
    );
    let alive: Of<NodeLabels> = Family::default();
    for (peer, line) in &status.nodes {
        let peer = peer.clone();
        alive
            .get_or_create(&NodeLabels { peer })
            .set(i64::from(line.state == NodeState::Alive));
    }
    registry.register("node_alive", "Whether the node beats, as this one sees it", alive);
    let well: Of<NodeLabels> = Family::default();
    for (peer, line) in &status.nodes {
        let peer = peer.clone();
        well.get_or_create(&NodeLabels { peer })
            .set(i64::from(line.endpoints.is_empty()));
    }
    let help = "Whether the node's endpoints are open and as configured, by its own word";
    registry.register("endpoints_well", help, well);
    let ttl: Gauge<f64, AtomicU64> = Gauge::default();
    ttl.set(seconds(status.ttl_ms));
    registry.register("ttl_seconds", "What a beat promises", ttl);
    if let Some(promises) = &status.promises {
        let gauge: Gauge<f64, AtomicU64> = Gauge::default();
        gauge.set(promises.left_ms.map_or(0.0, seconds));
        registry.register(
            "promises_seconds",
            "How long this node would run on without etcd; 0 where it holds nothing, or a promise is missing",
            gauge,
        );
    }
    if let Some(age) = status.etcd_age_ms {
        let gauge: Gauge<f64, AtomicU64> = Gauge::default();
        gauge.set(seconds(age));
        registry.register(
            "etcd_read_age_seconds",
            "Time since the last good read of etcd was sent",
            gauge,
        );
    }
}

/// One gauge a group: its name, its help, its value.
type GroupGauge = (&'static str, &'static str, fn(&Status, &str, &GroupLine) -> f64);

const OF_GROUPS: &[GroupGauge] = &[
    ("leader", "Whether this node serves the group", |_, _, line| {
        truth(line.held.as_ref().is_some_and(|held| held.stage == Stage::Active))
    }),
    (
        "held",
        "Whether this node holds the group, in whatever stage",
        |_, _, line| truth(line.held.is_some()),
    ),
    ("ready", "Whether this node could take the group over", |_, _, line| {
        truth(line.unready.is_empty())
    }),
    (
        "ready_standbys",
        "Nodes besides the holder that could take the group over",
        |status, name, _| status.ready_standbys(name) as f64,
    ),
    (
        "unreached_by",
        "Standbys that can't reach the group at its first virtual address, by their own word",
        |_, _, line| line.opinions.values().filter(|fault| !fault.is_empty()).count() as f64,
    ),
    ("epoch", "The group's epoch", |_, _, line| line.epoch as f64),
    (
        "validity_seconds",
        "Time until the stop signal, were no further beat answered; 0 where the group is not held",
        |_, _, line| line.held.as_ref().map_or(0.0, |held| seconds(held.valid_ms)),
    ),
    (
        "address_held",
        "Whether the group's virtual addresses are on this node",
        |_, _, line| truth(line.held.as_ref().is_some_and(|held| held.address_held)),
    ),
    (
        "stuck",
        "Whether the group could not be stopped, here or on the node that holds it: only a fence frees it",
        |_, _, line| truth(line.stuck.is_some()),
    ),
    ("paused", "Whether the group is on pause", |_, _, line| {
        truth(line.paused.is_some())
    }),
    (
        "stopped",
        "Whether an operator stopped or deleted the group",
        |_, _, line| truth(line.stopped.is_some() || line.deleted.is_some()),
    ),
];

fn about_groups(status: &Status, registry: &mut Registry) {
    for (name, help, value) in OF_GROUPS {
        let family = PerGroup::default();
        for (group, line) in &status.groups {
            let labels = Labels { group: group.clone() };
            family.get_or_create(&labels).set(value(status, group, line));
        }
        registry.register(*name, *help, family);
    }
}

/// Of what runs here alone: the containers' health checks and the probes, once they said something.
fn about_runs(status: &Status, registry: &mut Registry) {
    let healthy: Of<ServiceLabels> = Family::default();
    let up: Of<ProbeLabels> = Family::default();
    for (name, line) in &status.groups {
        let group = || name.clone();
        for (service, state) in line.held.iter().flat_map(|held| &held.services) {
            let Some(is_healthy) = state.healthy else {
                continue;
            };
            let (group, service) = (group(), service.clone());
            let labels = ServiceLabels { group, service };
            healthy.get_or_create(&labels).set(i64::from(is_healthy));
        }
        for (probe, passes) in line.held.iter().flat_map(|held| &held.probes) {
            let (group, probe) = (group(), probe.clone());
            up.get_or_create(&ProbeLabels { group, probe }).set(i64::from(*passes));
        }
    }
    let help = "Whether the engine's health check of the container passes";
    registry.register("service_healthy", help, healthy);
    registry.register(
        "probe_up",
        "Whether the probe passes, on the node that serves the group",
        up,
    );
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// The same in the older format: a counter's head has the name of its samples, and the text just ends.
fn plain(text: &str) -> String {
    let counter = |line: &str| {
        let name = line.strip_prefix("# TYPE ")?.strip_suffix(" counter")?;
        Some(name.to_owned())
    };
    let counters: Vec<String> = text.lines().filter_map(counter).collect();
    let lines = text.lines().filter(|line| *line != "# EOF").map(|line| {
        let head = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE "));
        let name = head.and_then(|head| head.split(' ').next()).unwrap_or_default();
        match counters.iter().any(|counter| counter == name) {
            true => line.replacen(name, &format!("{name}_total"), 1) + "\n",
            false => format!("{line}\n"),
        }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::event::Decision;
    use leasehold_core::group::ServiceState;
    use leasehold_core::snapshot::code::Code;
    use leasehold_core::snapshot::status::{HeldLine, NodeLine, ServiceLine};

    fn serving() -> Status {
        let held = HeldLine {
            stage: Stage::Active,
            valid_ms: 1500,
            services: [(
                "sams".to_owned(),
                ServiceLine {
                    state: ServiceState::Up,
                    healthy: Some(true),
                },
            )]
            .into(),
            probes: [("smtp 25".to_owned(), true), ("imap 143".to_owned(), false)].into(),
            ..HeldLine::default()
        };
        let line = GroupLine {
            epoch: 3,
            holder: Some("a".into()),
            stuck: Some("stuck on a".into()),
            opinions: [
                ("b".to_owned(), "smtp 25: refused".to_owned()),
                ("c".to_owned(), String::new()),
            ]
            .into(),
            held: Some(held),
            ..GroupLine::default()
        };
        let node = NodeLine {
            state: NodeState::Alive,
            groups: [("mail".to_owned(), String::new())].into(),
            ..NodeLine::default()
        };
        Status {
            node: "a".into(),
            version: "1".into(),
            cluster: "c".into(),
            member: MemberState::Joined,
            groups: [("mail".to_owned(), line)].into(),
            nodes: [("a".to_owned(), node.clone()), ("b".to_owned(), node)].into(),
            ..Status::default()
        }
    }

    #[test]
    fn a_leader_is_seen_as_one() {
        let counters = Counters::default();
        counters.begin("mail", ["smtp 25".to_owned()]);
        counters.decided(&Decision {
            code: Code::FailoverDone,
            group: Some("mail".to_owned()),
            epoch: Some(3),
            text: String::new(),
        });
        for format in [Format::Plain, Format::OpenMetrics] {
            let text = encode(&serving(), &counters, format).unwrap();
            for line in [
                "leasehold_build_info{version=\"1\",cluster=\"c\",node=\"a\"} 1",
                "leasehold_joined 1",
                "leasehold_health{state=\"normal\"} 1",
                "leasehold_health{state=\"failed\"} 0",
                "leasehold_node_alive{peer=\"b\"} 1",
                "leasehold_stuck{group=\"mail\"} 1.0",
                "leasehold_leader{group=\"mail\"} 1.0",
                "leasehold_ready_standbys{group=\"mail\"} 1.0",
                "leasehold_unreached_by{group=\"mail\"} 1.0",
                "leasehold_service_healthy{group=\"mail\",service=\"sams\"} 1",
                "leasehold_probe_up{group=\"mail\",probe=\"imap 143\"} 0",
                "leasehold_validity_seconds{group=\"mail\"} 1.5",
                "leasehold_decisions_total{code=\"failover_done\",level=\"info\",group=\"mail\"} 1",
                "leasehold_moves_total{group=\"mail\",kind=\"failover\"} 1",
                "leasehold_moves_total{group=\"mail\",kind=\"switchover\"} 0",
                "leasehold_restarts_total{group=\"mail\"} 0",
                "leasehold_probe_failures_total{group=\"mail\",probe=\"smtp 25\"} 0",
                "leasehold_beats_failed_total 0",
            ] {
                assert!(text.lines().any(|one| one == line), "{line} is missing in\n{text}");
            }
        }
    }

    /// The alert that a node is away rests on this line: it stays until somebody removes the node.
    #[test]
    fn a_node_whose_keys_are_gone_is_told_as_not_alive_and_does_not_vanish() {
        let mut status = serving();
        let away = NodeLine {
            state: NodeState::Away,
            ..NodeLine::default()
        };
        status.nodes.insert("c".to_owned(), away);
        let text = encode(&status, &Counters::default(), Format::Plain).unwrap();
        let line = "leasehold_node_alive{peer=\"c\"} 0";
        assert!(text.lines().any(|one| one == line), "{text}");
    }

    #[test]
    fn the_older_format_names_a_counter_as_its_samples() {
        let text = encode(&serving(), &Counters::default(), Format::Plain).unwrap();
        assert!(text.contains("# TYPE leasehold_beats_failed_total counter\n"), "{text}");
        assert!(!text.contains("# EOF") && text.ends_with('\n'), "{text}");
        let open = encode(&serving(), &Counters::default(), Format::OpenMetrics).unwrap();
        assert!(open.contains("# TYPE leasehold_beats_failed counter\n") && open.ends_with("# EOF\n"));
        assert_eq!(
            Format::of("application/openmetrics-text;version=1.0.0"),
            Format::OpenMetrics
        );
        assert_eq!(Format::of("*/*"), Format::Plain);
    }
}
