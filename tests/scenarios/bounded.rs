//! Every number of every value has a bound: what stands in a key is kept within them, or named.

use leasehold::core::protocol::bounds::{COUNTED_MAX, Fault, GIVEN_MAX};
use leasehold::core::protocol::keys::Keys;
use leasehold::core::protocol::records::View;
use leasehold::core::store::{Answer, KeyValue};
use proptest::prelude::*;

const LEAVES: &[&str] = &[
    "config",
    "nodes/a",
    "status/a",
    "status/a/known",
    "status/a/voter",
    "status/a/drained",
    "groups/g/record",
    "groups/g/intent",
    "groups/g/store",
    "groups/g/stopped",
    "groups/g/paused",
    "groups/g/deleted",
    "groups/g/without/a",
];

fn read_view(leaf: &str, value: &str) -> View {
    let keys = Keys::new("mail");
    let kv = KeyValue {
        key: format!("{}{leaf}", keys.prefix()),
        value: value.to_owned(),
        create_revision: 1,
        mod_revision: 1,
        lease: 0,
    };
    let answer = Answer {
        succeeded: true,
        cluster_id: 1,
        revision: 1,
        keys: vec![kv],
    };
    View::read(&keys, &answer)
}

/// Every number that is left in what was read.
fn numbers(view: &View) -> Vec<u64> {
    let config = view.config.iter();
    let configs = config.flat_map(|config| {
        let [longest, promises] = [config.longest_ms, config.promises_ms].map(Option::unwrap_or_default);
        [config.generation, config.ttl_ms, longest, promises]
    });
    let voters = view.voters.values().map(|key| key.generation);
    let beats = view.nodes.values().filter_map(|key| Some(key.beat.as_ref()?.ttl_ms));
    let records = view.groups.values().filter_map(|keys| keys.record.as_ref());
    let records = records.flat_map(|record| {
        let [promise, quiet] = [record.promise_ms, record.past.quiet_ms].map(Option::unwrap_or_default);
        [record.epoch, promise, quiet]
    });
    let statuses = view.statuses.values().flat_map(|status| {
        let claims = status.groups.values().filter_map(|ready| ready.claim);
        claims.chain(status.smallest_ttl_ms)
    });
    let seen = view.known.values().map(|known| known.seen.unsigned_abs());
    configs
        .chain(beats)
        .chain(records)
        .chain(statuses)
        .chain(seen)
        .chain(voters)
        .collect()
}

fn json() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<u64>().prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        Just((GIVEN_MAX + 1).to_string()),
        (0..600_000_u64).prop_map(|number| number.to_string()),
    ];
    let fields = proptest::collection::vec(number, 11);
    fields.prop_map(|n| {
        format!(
            r#"{{"generation":{},"ttl_ms":{},"longest_ms":{},"machine":"","boot":"","seq":1,"nonce":1,"epoch":{},"node":"b",
            "incarnation":{},"state":"active","reason":"","promise_ms":{},"past":{{"quiet_ms":{}}},"version":"","address":"",
            "priority":1,"smallest_ttl_ms":{},"groups":{{"g":{{"ready":true,"claim":{}}}}},"id":"s","mounts":[],"seen":{},
            "voter":"{:032x}","promises_ms":{}}}"#,
            n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], 5, n[10]
        )
    })
}

proptest! {
    #[test]
    fn whatever_stands_in_a_key_is_bounded_or_named(
        leaf in proptest::sample::select(LEAVES),
        value in prop_oneof![any::<String>(), json(), "[\\[{\"0-9:,]{0,200}"],
    ) {
        let view = read_view(leaf, &value);
        let named = view.unreadable.len();
        prop_assert!(named <= 1);
        prop_assert!(numbers(&view).iter().all(|number| *number <= COUNTED_MAX), "{value}");
        let kept = view.config.is_some() || !view.statuses.is_empty() || !view.drained.is_empty() || !view.known.is_empty()
            || !view.voters.is_empty()
            || view.nodes.values().any(|key| key.beat.is_some())
            || view.groups.values().any(|keys| keys.record.is_some() || keys.intent.is_some() || keys.store.is_some()
                || keys.stopped.is_some() || keys.paused.is_some() || keys.deleted.is_some() || !keys.excluded.is_empty());
        prop_assert!(kept || named == 1, "{leaf} {value} is neither kept nor named");
    }
}

#[test]
fn each_number_has_its_bound_and_its_name() {
    let cases = [
        ("config", r#"{"generation":1,"ttl_ms":300001}"#, "ttl_ms"),
        ("config", r#"{"generation":1,"ttl_ms":999}"#, "ttl_ms"),
        (
            "config",
            r#"{"generation":562949953421313,"ttl_ms":5000}"#,
            "generation",
        ),
        (
            "config",
            r#"{"generation":1,"ttl_ms":5000,"longest_ms":300001}"#,
            "longest_ms",
        ),
        (
            "config",
            r#"{"generation":1,"ttl_ms":5000,"promises_ms":9999}"#,
            "promises_ms",
        ),
        (
            "status/a/voter",
            r#"{"voter":"000000000000000000000000000000ff","address":"h:1","generation":0}"#,
            "generation",
        ),
        (
            "nodes/a",
            r#"{"machine":"","boot":"","seq":1,"nonce":1,"ttl_ms":300001}"#,
            "ttl_ms",
        ),
        (
            "groups/g/record",
            r#"{"epoch":562949953421313,"node":"b","incarnation":1,"state":"active","reason":""}"#,
            "epoch",
        ),
        (
            "status/a/known",
            r#"{"version":"","address":"","seen":253402300800}"#,
            "seen",
        ),
        (
            "status/a",
            r#"{"version":"","address":"","priority":1,"groups":{"g":{"ready":true,"claim":281474976710657}}}"#,
            "claim",
        ),
    ];
    for (leaf, value, wanted) in cases {
        let view = read_view(leaf, value);
        let fault = view.unreadable.values().next();
        assert!(
            matches!(fault, Some(Fault::Beyond { what, .. }) if *what == wanted),
            "{leaf} {value}: {fault:?}"
        );
    }
    let long = format!(r#"{{"by":"{}","at":""}}"#, "x".repeat(4 << 10));
    let view = read_view("groups/g/stopped", &long);
    assert!(view.groups["g"].stopped.as_ref().unwrap().0.by == "somebody" && view.unreadable.len() == 1);
}
