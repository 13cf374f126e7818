//! The status as Prometheus metrics, names and units by its conventions.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode as encode_text;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::core::status::Status;

/// OpenMetrics, which Prometheus reads.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    group: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    group: String,
    service: String,
}

type PerService = Family<ServiceLabels, Gauge>;
type PerGroup = Family<Labels, Gauge<f64, AtomicU64>>;

/// Writes all metrics of a status.
///
/// # Errors
/// Never in practice: writing into a string.
pub fn encode(status: &Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("leasehold");
    let joined: Gauge = Gauge::default();
    joined.set(i64::from(status.member == "joined"));
    registry.register("joined", "Whether this node is a member of the cluster", joined);
    if let Some(age) = status.etcd_age_ms {
        let gauge: Gauge<f64, AtomicU64> = Gauge::default();
        gauge.set(seconds(age));
        registry.register(
            "etcd_read_age_seconds",
            "Time since the last good read of etcd was sent",
            gauge,
        );
    }
    let families: [PerGroup; 6] = std::array::from_fn(|_| PerGroup::default());
    for (name, line) in &status.groups {
        let labels = Labels { group: name.clone() };
        let held = line.held.as_ref();
        let truth = |is: bool| f64::from(u8::from(is));
        let values = [
            truth(held.is_some_and(|held| held.stage == "active")),
            truth(line.unready.is_empty()),
            line.epoch as f64,
            held.map_or(0.0, |held| seconds(held.valid_ms)),
            truth(held.is_some_and(|held| held.address_held)),
            truth(line.stuck.is_some()),
        ];
        for (family, value) in families.iter().zip(values) {
            family.get_or_create(&labels).set(value);
        }
    }
    let names = [
        ("leader", "Whether this node serves the group"),
        ("ready", "Whether this node could take the group over"),
        ("epoch", "The group's epoch"),
        (
            "validity_seconds",
            "Time until the stop signal, were no further beat answered",
        ),
        ("address_held", "Whether the group's virtual addresses are on this node"),
        (
            "stuck",
            "Whether the group could not be stopped, here or on the node that holds it: only a fence frees it",
        ),
    ];
    for (family, (name, help)) in families.into_iter().zip(names) {
        registry.register(name, help, family);
    }
    registry.register(
        "service_healthy",
        "Whether the engine's health check of the container passes",
        health(status),
    );
    let mut text = String::new();
    encode_text(&mut text, &registry)?;
    Ok(text)
}

/// Only of containers that run here and whose health check said something.
fn health(status: &Status) -> PerService {
    let family = PerService::default();
    for (group, line) in &status.groups {
        for (service, state) in line.held.iter().flat_map(|held| &held.services) {
            let Some((_, health)) = state.split_once(", ") else {
                continue;
            };
            let labels = ServiceLabels {
                group: group.clone(),
                service: service.clone(),
            };
            family.get_or_create(&labels).set(i64::from(health == "healthy"));
        }
    }
    family
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::status::{GroupLine, HeldLine};

    #[test]
    fn a_leader_is_seen_as_one() {
        let held = HeldLine {
            stage: "active".into(),
            valid_ms: 1500,
            services: [("sams".to_owned(), "up, healthy".to_owned())].into(),
            ..HeldLine::default()
        };
        let line = GroupLine {
            epoch: 3,
            stuck: Some("stuck on a".into()),
            held: Some(held),
            ..GroupLine::default()
        };
        let status = Status {
            member: "joined".into(),
            groups: [("mail".to_owned(), line)].into(),
            ..Status::default()
        };
        let text = encode(&status).unwrap();
        for line in [
            "leasehold_joined 1",
            "leasehold_stuck{group=\"mail\"} 1",
            "leasehold_leader{group=\"mail\"} 1",
            "leasehold_service_healthy{group=\"mail\",service=\"sams\"} 1",
            "leasehold_validity_seconds{group=\"mail\"} 1.5",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
    }
}
