//! What stood in etcd.

use std::fmt::Debug;
use std::time::Duration;

use leasehold::api::history::History;
use leasehold::api::status::Status;
use leasehold::api::words::Stage;
use leasehold::core::history::{self, AuditEntry, Begun, Left};
use leasehold::core::protocol::bounds::{self, Bounded};
use leasehold::core::protocol::records::{
    Beat, ClusterConfig, GroupKeys, Intent, NodeStatus, Record, RecordState, StandingOrder, StoreIds, View,
};
use leasehold::core::protocol::{FaultId, TroubleState};
use leasehold::core::requests::exported::Exported;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::before;
use crate::recorded::{held_at, keys, text, view_at, written};
use crate::written::take_out;

/// What is written now beside what was written then.
const BESIDE: &str = "fault_ids";

/// Each value, as `read` does it. What is read says the same when it is written again, now and by the program of then:
/// nothing is lost, renamed or filled in, and nothing but [`BESIDE`] is added.
fn all<T, Then>(read: fn(&str) -> T, is_it: fn(&[&str]) -> bool) -> Vec<T>
where
    T: Serialize + Debug,
    Then: Serialize + DeserializeOwned,
{
    let found: Vec<T> = written(is_it)
        .iter()
        .map(|kv| {
            let value = read(&kv.value);
            let wanted: Value = serde_json::from_str(&kv.value).unwrap();
            let again = serde_json::to_string(&value).unwrap();
            let mut now: Value = serde_json::from_str(&again).unwrap();
            take_out(&mut now, BESIDE);
            assert_eq!(now, wanted, "{}", kv.key);
            let then: Then = serde_json::from_str(&again).unwrap();
            assert_eq!(serde_json::to_value(then).unwrap(), wanted, "{}", kv.key);
            value
        })
        .collect();
    assert!(!found.is_empty(), "nothing of the kind was recorded");
    found
}

fn bounded<T: DeserializeOwned + Bounded>(text: &str) -> T {
    bounds::read(text).unwrap_or_else(|fault| panic!("{fault}: {text}"))
}

fn plain<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Nothing of what was recorded is damage.
fn sound(moment: &str) -> View {
    let view = view_at(moment);
    assert_eq!(view.unreadable.len(), 0, "{:?}", view.unreadable);
    view
}

fn group(moment: &str) -> GroupKeys {
    sound(moment).group("mail").clone()
}

fn record(moment: &str) -> Record {
    group(moment).record.unwrap()
}

#[test]
fn every_value_says_the_same() {
    all::<ClusterConfig, before::ClusterConfig>(bounded, |key| key == ["config"]);
    all::<Beat, before::Beat>(bounded, |key| matches!(key, ["nodes", _]));
    all::<NodeStatus, before::NodeStatus>(bounded, |key| matches!(key, ["status", _]));
    all::<Record, before::Record>(bounded, |key| matches!(key, ["groups", _, "record"]));
    all::<Intent, before::Intent>(bounded, |key| matches!(key, ["groups", _, "intent"]));
    all::<StoreIds, before::StoreIds>(bounded, |key| matches!(key, ["groups", _, "store"]));
    all::<StandingOrder, before::StandingOrder>(plain, |key| matches!(key, ["status", _, "drained"]));
    for order in [
        |key: &[&str]| matches!(key, ["groups", _, "stopped"]),
        |key: &[&str]| matches!(key, ["groups", _, "paused"]),
        |key: &[&str]| matches!(key, ["groups", _, "deleted"]),
        |key: &[&str]| matches!(key, ["groups", _, "without", _]),
    ] {
        all::<StandingOrder, before::StandingOrder>(plain, order);
    }
    all::<Begun, before::Begun>(plain, |key| matches!(key, ["history", _, _]));
    all::<Left, before::Left>(plain, |key| matches!(key, ["history", _, _, "left"]));
    all::<AuditEntry, before::Act>(plain, |key| matches!(key, ["acts", _]));
}

#[test]
fn a_cluster_that_serves() {
    let view = sound("serving");
    let config = view.config.unwrap();
    assert_eq!((config.generation, config.ttl()), (1, Duration::from_secs(5)));
    assert_eq!(config.longest(), Duration::from_secs(5));
    let keys = view.group("mail").clone();
    let record = keys.active().unwrap();
    assert_eq!((record.epoch, record.node.as_str()), (1, "h1"));
    assert_eq!(record.incarnation, view.lease_of("h1"));
    assert_eq!(record.promise(), Duration::ZERO);
    assert!(!keys.immortal_leader && record.stuck.is_none() && record.past.faults.is_empty());
    assert_eq!(keys.store.unwrap().mounts.len(), 6);
    let names: Vec<&str> = view.nodes.keys().map(String::as_str).collect();
    assert_eq!(names, ["h1", "h2", "h3"]);
    for (name, key) in &view.nodes {
        assert_eq!(key.beat.as_ref().unwrap().promise(), Duration::from_secs(5));
        let status = &view.statuses[name];
        let ready = &status.groups["mail"];
        assert!(ready.ready && ready.why.is_empty() && ready.image.starts_with("sha256:"));
        assert_eq!(status.smallest_ttl_ms, Some(3000));
        assert_eq!(ready.serves.is_some(), name == "h1");
        assert_eq!(status.endpoints, "");
    }
}

#[test]
fn a_hold_is_as_long_as_it_was_promised() {
    let (view, minute) = (sound("held"), Duration::from_secs(60));
    let record = view.group("mail").clone().record.unwrap();
    assert_eq!(record.promise(), minute);
    let beat = view.nodes[&record.node].beat.clone().unwrap();
    assert_eq!(beat.promise(), minute);
    assert_eq!(self::record("adopted").promise(), Duration::ZERO);
}

#[test]
fn wishes_in_every_state() {
    let intents = all::<Intent, before::Intent>(bounded, |key| matches!(key, ["groups", _, "intent"]));
    let has = |wanted: fn(&Intent) -> bool| assert!(intents.iter().any(wanted), "{intents:?}");
    has(
        |it| matches!(it, Intent::Switchover { to: Some(to), by, why, begun: None } if to == "h2" && by == "root on h1" && why == "a new cable"),
    );
    has(|it| matches!(it, Intent::Switchover { to: Some(_), begun: Some(revision), .. } if *revision > 0));
    has(|it| matches!(it, Intent::Switchover { to: None, .. }));
    has(|it| matches!(it, Intent::Apply { why, .. } if why == "nothing changed"));
    has(|it| matches!(it, Intent::Refused { of, why } if *of > 0 && why.contains("h3")));
}

#[test]
fn standing_orders_hold() {
    let view = sound("ordered");
    let keys = view.group("mail").clone();
    let (paused, _) = keys.paused.unwrap();
    assert_eq!(
        (paused.why.as_str(), paused.until.is_some()),
        ("a look at the disk", true)
    );
    let (drained, _) = &view.drained["h1"];
    assert_eq!(
        (drained.by.as_str(), drained.why.as_str()),
        ("root on h2", "a new disk")
    );
    assert!(drained.to_string().contains("by root on h2 at 2"), "{drained}");
    assert_eq!(keys.excluded.keys().collect::<Vec<_>>(), ["h1"]);
    let keys = group("stopped");
    assert_eq!(keys.stopped.as_ref().unwrap().0.why, "a snapshot of the storage");
    assert!(keys.active().is_none() && keys.excluded.is_empty() && keys.paused.is_none());
    let keys = group("deleted");
    assert!(keys.deleted.is_some() && keys.stopped.is_none() && keys.store.is_none());
    assert_eq!(keys.record.as_ref().unwrap().state, RecordState::Released);
    let keys = group("created");
    assert!(keys.deleted.is_none() && keys.store.is_some());
    assert_eq!(keys.active().unwrap().epoch, 3);
}

#[test]
fn a_ttl_that_shrinks_keeps_the_longer_one_beside_it() {
    let config = |moment| sound(moment).config.unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(config("TTL=7s").ttl(), seconds(7));
    assert_eq!(
        (config("TTL=5s").ttl(), config("TTL=5s").longest()),
        (seconds(5), seconds(7))
    );
    assert_eq!(config("moved for a fault").longest(), seconds(5));
}

#[test]
fn what_a_holder_told_of_its_trouble() {
    let moved = record("moved for a fault");
    assert_eq!(moved.past.faults, [FaultId::ServiceEnded("sams".to_owned())]);
    let statuses = all::<NodeStatus, before::NodeStatus>(bounded, |key| matches!(key, ["status", _]));
    let of = |status: &NodeStatus| status.groups["mail"].clone();
    let trouble = |wanted: TroubleState| {
        statuses
            .iter()
            .map(of)
            .any(|it| it.trouble.is_some_and(|it| it.state == wanted))
    };
    assert!(trouble(TroubleState::Restarting));
    let asked = |status: &NodeStatus| {
        of(status)
            .opinion
            .is_some_and(|it| it.of.epoch == 2 && it.fault.is_empty())
    };
    assert!(statuses.iter().any(asked));
    let differs = |status: &NodeStatus| {
        of(status)
            .drift
            .is_some_and(|it| it.what.contains("x-leasehold") && it.obstacle.is_some())
    };
    assert!(statuses.iter().any(differs));
}

/// Silence frees nothing of it.
#[test]
fn what_could_not_be_stopped_is_marked() {
    let stuck = record("stuck");
    assert_eq!(stuck.state, RecordState::Active);
    assert!(!stuck.stuck.unwrap().is_empty());
}

/// The program of then printed its own history and export.
#[test]
fn history_and_export_are_what_the_program_of_then_said() {
    let told: History = plain(&text("history.json"));
    let read = history::History::read(&keys(), "mail", &held_at("end"));
    assert_eq!(History::from(read.clone()), told);
    assert_eq!(
        read.epochs.first().unwrap().begun.as_ref().unwrap().cause,
        "first start"
    );
    assert!(read.epochs.iter().filter(|epoch| epoch.total_ms.is_some()).count() >= 4);
    for (moment, file) in [("ordered", "export-ordered.json"), ("end", "export.json")] {
        let told: leasehold::api::exported::Exported = plain(&text(file));
        assert_eq!(Exported::of("mail", &view_at(moment)).unwrap(), Exported::from(told));
    }
}

/// As the command line of one version reads the sidecar of the other.
#[test]
fn status_is_understood() {
    let status: Status = plain(&text("status-holder.json"));
    assert_eq!((status.ttl_ms, status.nodes.len()), (5000, 3));
    let held = status.groups["mail"].held.as_ref().unwrap();
    assert_eq!((held.run.as_str(), &held.stage), ("1.1", &Stage::Active));
    assert_eq!(
        serde_json::to_value(&status).unwrap(),
        plain::<Value>(&text("status-holder.json"))
    );
}
