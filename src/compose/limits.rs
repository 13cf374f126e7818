//! `ulimits` and the limits under `deploy`.

use std::collections::BTreeMap;

use super::cursor::At;
use super::fault::Faults;
use super::gpus;
use super::model::Service;
use super::scalar;
use super::yaml::Value;

/// `ulimits`: name -> (soft, hard).
pub(super) fn ulimits(at: &At<'_>, faults: &mut Faults) -> BTreeMap<String, (i64, i64)> {
    let fields = at.map(faults);
    let limit = |field: At<'_>| Some((field.name.to_owned(), ulimit(&field, faults)?));
    fields.into_iter().filter_map(limit).collect()
}

fn ulimit(at: &At<'_>, faults: &mut Faults) -> Option<(i64, i64)> {
    if !matches!(at.node.value, Value::Map(_)) {
        return at.int(faults).map(|both| (both, both));
    }
    let (mut soft, mut hard) = (None, None);
    for field in at.map_of(faults, &["soft", "hard"]) {
        match field.name {
            "soft" => soft = field.int(faults),
            _ => hard = field.int(faults),
        }
    }
    if soft.is_none() || hard.is_none() {
        at.fault(faults, "needs both soft and hard", "");
    }
    soft.zip(hard)
}

/// `deploy`: the limits count, what only a swarm reads is said once.
pub(super) fn deploy(at: &At<'_>, service: &mut Service, faults: &mut Faults) {
    let swarm = [
        "mode",
        "placement",
        "update_config",
        "rollback_config",
        "endpoint_mode",
        "labels",
    ];
    let known = [swarm.as_slice(), &["resources", "replicas", "restart_policy"]].concat();
    for field in at.map_of(faults, &known) {
        match field.name {
            "resources" => resources(&field, service, faults),
            "replicas" => {
                if field.int(faults).is_some_and(|count| count != 0) {
                    field.fault(
                        faults,
                        "a protected service runs once in the whole cluster",
                        "remove it, `scale: 0` is enough",
                    );
                }
            }
            "restart_policy" => {
                let none = field
                    .get("condition")
                    .and_then(|at| at.node.scalar())
                    .is_some_and(|text| text == "none");
                if !none {
                    let remedy = "remove it: Leasehold starts the container again, while it holds the lease";
                    field.fault(
                        faults,
                        "the engine must not start a protected container by itself",
                        remedy,
                    );
                }
            }
            _ => field.warn(faults, "is not carried out: only a swarm reads it", ""),
        }
    }
}

fn resources(at: &At<'_>, service: &mut Service, faults: &mut Faults) {
    for part in at.map_of(faults, &["limits", "reservations"]) {
        let known: &[&str] = match part.name {
            "limits" => &["cpus", "memory", "pids"],
            _ => &["cpus", "memory", "devices"],
        };
        for field in part.map_of(faults, known) {
            match (part.name, field.name) {
                (_, "devices") => service.device_requests.extend(gpus::devices(&field, faults)),
                ("limits", "cpus") => {
                    let value = cpus(&field, faults);
                    set(&mut service.nano_cpus, value, &field, "cpus", faults);
                }
                ("limits", "memory") => {
                    let value = field.bytes(faults);
                    set(&mut service.mem_limit, value, &field, "mem_limit", faults);
                }
                ("limits", _) => {
                    let value = field.int(faults);
                    set(&mut service.pids_limit, value, &field, "pids_limit", faults);
                }
                (_, "memory") => {
                    let value = field.bytes(faults);
                    set(&mut service.mem_reservation, value, &field, "mem_reservation", faults);
                }
                _ => field.warn(faults, "is not carried out: only a swarm reads it", ""),
            }
        }
    }
}

pub(super) fn cpus(at: &At<'_>, faults: &mut Faults) -> Option<i64> {
    at.parsed(faults, "a number of processors such as 0.5", scalar::nano_cpus)
}

/// Both ways to state a limit must agree.
fn set(slot: &mut Option<i64>, value: Option<i64>, at: &At<'_>, other: &str, faults: &mut Faults) {
    match (*slot, value) {
        (Some(old), Some(new)) if old != new => {
            at.fault(faults, format!("contradicts {other}"), "keep one of the two");
        }
        (Some(_) | None, Some(_)) => *slot = value,
        (Some(_) | None, None) => {}
    }
}
