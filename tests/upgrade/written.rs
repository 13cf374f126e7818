//! What is written now, with every field in use, as 84eb5cc reads it.

use std::collections::BTreeMap;

use leasehold::base::epoch::Run;
use leasehold::core::adoption::left::{Part, Parts};
use leasehold::core::history::{AuditEntry, Before, Begun, Left, Phase, PhaseKind};
use leasehold::core::protocol::records::{
    Beat, ClusterConfig, Drift, Intent, NodeStatus, Opinion, Past, Pin, Readiness, Record, RecordState, Saved,
    SavedRun, StandingOrder, StoreIds, Trouble,
};
use leasehold::core::protocol::{FaultId, ReleaseCause, TroubleState};
use leasehold::core::requests::exported::{Exported, ExportedGroup, FORMAT, FORMAT_PLAIN};
use leasehold::sidecar::adapters::cgroup::{Memory, Place};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::before;

/// Reads a value of now as it was read then. What then had no name for, and is left out, is `unknown`.
fn same<Then: DeserializeOwned + Serialize>(now: &impl Serialize, unknown: &[&str]) {
    let written = serde_json::to_string(now).unwrap();
    let read: Then = serde_json::from_str(&written).unwrap_or_else(|error| panic!("{error}: {written}"));
    let mut wanted: Value = serde_json::from_str(&written).unwrap();
    for name in unknown {
        assert!(take_out(&mut wanted, name), "{name} is not written: {written}");
    }
    assert_eq!(serde_json::to_value(read).unwrap(), wanted);
}

/// Takes a field out wherever it stands; whether it stood anywhere.
pub(crate) fn take_out(value: &mut Value, name: &str) -> bool {
    let mut found = false;
    match value {
        Value::Object(fields) => {
            found = fields.remove(name).is_some();
            for value in fields.values_mut() {
                found |= take_out(value, name);
            }
        }
        Value::Array(values) => {
            for value in values {
                found |= take_out(value, name);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    found
}

fn words(text: &str) -> String {
    text.to_owned()
}

#[test]
fn beats_and_the_configuration() {
    let beat = Beat {
        machine: words("m"),
        boot: words("b"),
        seq: 7,
        nonce: u64::MAX,
        ttl_ms: 5000,
    };
    same::<before::Beat>(&beat, &[]);
    let config = ClusterConfig {
        generation: 3,
        ttl_ms: 5000,
        longest_ms: Some(7000),
        promises_ms: None,
        promises_secret: None,
    };
    same::<before::ClusterConfig>(&config, &[]);
}

#[test]
fn records() {
    for state in [RecordState::Active, RecordState::Released] {
        let record = Record {
            epoch: 9,
            node: words("a"),
            incarnation: i64::MAX,
            state,
            reason: words("why"),
            successor: Some(words("b")),
            stuck: Some(words("it hangs")),
            promise_ms: Some(60_000),
            past: Past {
                returned: true,
                quiet_ms: Some(1000),
                faults: vec![FaultId::Probe(words("smtp"))],
            },
            cause: Some(ReleaseCause::Failed),
            kept: None,
        };
        same::<before::Record>(&record, &["cause", "fault_ids"]);
    }
}

/// A record with a list has another word: whoever knows nothing of promises reads nothing of it, and takes nothing.
#[test]
fn a_record_with_a_list_tells_an_earlier_version_nothing() {
    let text = r#"{"epoch":9,"node":"a","incarnation":7,"state":"kept","reason":"",
        "voters":["0000000000000000000000000000000a"],"bound_ms":60000}"#;
    assert!(serde_json::from_str::<Record>(text).is_ok());
    assert!(serde_json::from_str::<before::Record>(text).is_err());
}

#[test]
fn what_a_node_tells() {
    let run = Run { epoch: 9, n: 2 };
    let readiness = Readiness {
        ready: true,
        why: words("but not at once"),
        image: words("sha256:1"),
        content: words("c0ffee"),
        file: BTreeMap::from([(words("vips"), words("1"))]),
        claim: Some(11),
        trouble: Some(Trouble {
            state: TroubleState::Sick,
            why: words("smtp"),
        }),
        drift: Some(Drift {
            what: words("image"),
            obstacle: Some(words("none here")),
        }),
        used: Some(words("a container")),
        serves: Some(run),
        opinion: Some(Opinion {
            of: run,
            fault: words("smtp"),
            answers: false,
            from: String::new(),
        }),
        certified: true,
    };
    let status = NodeStatus {
        version: words("0.1.0"),
        address: words("10.0.0.1:9440"),
        priority: 10,
        smallest_ttl_ms: Some(3000),
        groups: BTreeMap::from([(words("mail"), readiness)]),
        clock: words("hpet"),
        endpoints: words("in use"),
        ending: true,
        votes: true,
        heeds_policy: true,
        mac: words("02:00:00:00:00:0b"),
    };
    same::<before::NodeStatus>(
        &status,
        &[
            "content",
            "file",
            "endpoints",
            "ending",
            "votes",
            "certified",
            "mac",
            "heeds_policy",
        ],
    );
}

#[test]
fn wishes_and_orders() {
    let (by, why) = (words("root on a"), words("a new disk"));
    let intents = [
        Intent::Switchover {
            to: Some(words("b")),
            by: by.clone(),
            why: why.clone(),
            begun: Some(17),
        },
        Intent::Apply {
            by: by.clone(),
            why: why.clone(),
        },
        Intent::Refused {
            of: 17,
            why: why.clone(),
        },
    ];
    intents.iter().for_each(|intent| same::<before::Intent>(intent, &[]));
    let order = StandingOrder {
        by,
        at: words("noon"),
        why,
        until: Some(words("night")),
    };
    same::<before::StandingOrder>(&order, &[]);
    let store = StoreIds {
        id: words("s1"),
        mounts: vec![words("/mail")],
    };
    same::<before::StoreIds>(&store, &[]);
}

#[test]
fn history() {
    let phases = vec![Phase {
        what: PhaseKind::Stop,
        ms: 12,
    }];
    for before in [Before::Nothing, Before::Release, Before::Silence] {
        let begun = Begun {
            epoch: 9,
            from: Some(words("a")),
            to: words("b"),
            cause: words("why"),
            at: words("noon"),
            before,
            phases: phases.clone(),
            served: true,
        };
        same::<before::Begun>(&begun, &[]);
    }
    let left = Left {
        epoch: 9,
        node: words("b"),
        cause: words("why"),
        at: words("noon"),
        phases,
        runs: 2,
    };
    same::<before::Left>(&left, &[]);
    let act = AuditEntry {
        at: words("noon"),
        by: words("root on a"),
        verb: words("drain"),
        group: Some(words("mail")),
        node: Some(words("a")),
        why: words("why"),
        accepted: true,
        answer: words("done"),
    };
    same::<before::Act>(&act, &[]);
}

/// The form has a number of its own: whoever adds a field gives it the next.
#[test]
fn exports() {
    let order = StandingOrder {
        by: words("root on a"),
        at: words("noon"),
        ..StandingOrder::default()
    };
    let orders = || BTreeMap::from([(words("a"), order.clone())]);
    let group = ExportedGroup {
        epoch: 9,
        node: words("a"),
        store: Some(StoreIds::default()),
        stopped: Some(order.clone()),
        deleted: Some(order.clone()),
        // Where something is set the form is the next one, which the version before refuses.
        set: BTreeMap::new(),
        excluded: orders(),
    };
    let exported = Exported {
        format: FORMAT_PLAIN,
        cluster: words("mail"),
        generation: 3,
        ttl_ms: 5000,
        longest_ms: Some(7000),
        groups: BTreeMap::from([(words("mail"), group)]),
        drained: orders(),
    };
    assert_eq!((FORMAT_PLAIN, FORMAT), (1, 2));
    same::<before::Exported>(&leasehold::api::exported::Exported::from(exported), &[]);
}

#[test]
fn files() {
    let parts = Parts {
        services: vec![Part {
            name: words("sams"),
            grace_ms: 10_000,
        }],
        vips: vec![words("10.0.0.100/24")],
        exclusive_mounts: true,
    };
    let run = SavedRun {
        epoch: 9,
        n: 2,
        latched: true,
        parts,
    };
    let saved = Saved {
        boot: words("b"),
        lease: 5,
        groups: BTreeMap::from([(words("mail"), run)]),
    };
    same::<before::Saved>(&saved, &["parts"]);
    let pin = Pin {
        cluster_id: u64::MAX,
        generation: 3,
        revision: 17,
        longest_ms: 7000,
        promises_ms: None,
        promises_secret: None,
    };
    same::<before::Pin>(&pin, &[]);
}

#[test]
fn containers_that_were_started() {
    let file = std::env::temp_dir().join(format!("leasehold-upgrade-{}", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let mut memory = Memory::open(&file, "b", false).unwrap();
    memory.will_start("mail/sams", "c1", &[words("/dev/vdb")]).unwrap();
    let place: Place = serde_json::from_str(r#"{"device":1,"top":2}"#).unwrap();
    memory.saw("c1", place).unwrap();
    let now: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    same::<before::Content>(&now, &["devices"]);
    std::fs::remove_file(&file).unwrap();
}
