//! What each transaction compares and writes, in the order and the words of docs/protocol.md.

use super::{AsRead, Beside, FencedNode, Own, Release, ReleaseCause, TxnKind, Winner};
use crate::protocol::keys::Keys;
use crate::protocol::policy::{Change, Policy, Wanted};
use crate::protocol::records::{Beat, ClusterConfig, GroupKeys, Intent, Past, Record, StandingOrder, View};
use crate::requests::exported::ExportedGroup;
use crate::store::{Compare, Op, TXN_MAX, Txn};

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

fn keys() -> Keys {
    Keys::new("c")
}

fn short(key: &str) -> &str {
    key.trim_start_matches("/leasehold/c/")
}

/// The kind, what is compared, and what is written.
fn told(txn: &Txn) -> (TxnKind, Vec<String>, Vec<String>) {
    let compares = txn.compare.iter().map(|compare| match compare {
        Compare::Create { key, revision } => format!("create({}) == {revision}", short(key)),
        Compare::Mod { key, revision } => format!("mod({}) == {revision}", short(key)),
        Compare::Lease { key, lease } => format!("lease({}) == {lease}", short(key)),
        Compare::LeaseNot { key, lease } => format!("lease({}) != {lease}", short(key)),
    });
    let writes = txn.then.iter().map(|op| match op {
        Op::Put { key, lease: 0, .. } => format!("put {}", short(key)),
        Op::Put { key, lease, .. } => format!("put {} on {lease}", short(key)),
        Op::Delete { key } => format!("delete {}", short(key)),
        Op::DeletePrefix { prefix } => format!("delete {}*", short(prefix)),
    });
    (txn.kind, compares.collect(), writes.collect())
}

fn is(txn: &Txn, kind: TxnKind, compares: &[&str], writes: &[&str]) {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    assert_eq!(told(txn), (kind, owned(compares), owned(writes)));
}

fn record() -> Record {
    let json = r#"{"epoch":3,"node":"h","incarnation":7,"state":"active","reason":""}"#;
    serde_json::from_str(json).unwrap()
}

/// Holding by `h` under 7, in epoch 3, at revision 11; an intent at 12.
fn held() -> GroupKeys {
    let order = |revision| (StandingOrder::default(), revision);
    GroupKeys {
        record_mod: 11,
        record: Some(record()),
        intent_mod: 12,
        stopped: Some(order(13)),
        deleted: Some(order(14)),
        excluded: [("n".to_owned(), order(15))].into(),
        ..GroupKeys::default()
    }
}

fn winner(reason: &str) -> Winner<'_> {
    Winner {
        kept: None,
        node: "me",
        lease: 9,
        reason,
        past: Past::default(),
    }
}

/// The value that is written to a key.
fn written(txn: &Txn, key: &str) -> Record {
    let value = txn.then.iter().find_map(|op| match op {
        Op::Put { key: of, value, .. } if of == key => Some(value),
        Op::Put { .. } | Op::Delete { .. } | Op::DeletePrefix { .. } => None,
    });
    serde_json::from_str(value.unwrap()).unwrap()
}

#[test]
fn own_comes_before_everything_and_the_beat_is_written_first() {
    let beat = Beat {
        machine: String::new(),
        boot: String::new(),
        seq: 1,
        nonce: 2,
        ttl_ms: 5000,
    };
    let own = Own {
        node: "me",
        lease: 9,
        mod_revision: 5,
    };
    let txn = Txn::delete_intent(&keys(), "g", 4).with_own(&keys(), own);
    is(
        &txn.with_beat(&keys(), "me", 9, &beat),
        TxnKind::Intent,
        &[
            "lease(nodes/me) == 9",
            "mod(nodes/me) == 5",
            "mod(groups/g/intent) == 4",
        ],
        &["put nodes/me on 9", "delete groups/g/intent"],
    );
}

#[test]
fn the_nodes_own_key() {
    let config = ClusterConfig::new(1, SECOND, SECOND);
    is(
        &Txn::register(&keys(), "me"),
        TxnKind::Register,
        &["create(nodes/me) == 0"],
        &[],
    );
    is(
        &Txn::evict(&keys(), "me", 8),
        TxnKind::Evict,
        &["mod(nodes/me) == 8"],
        &["delete nodes/me"],
    );
    is(
        &Txn::configure(&keys(), config),
        TxnKind::Configure,
        &["create(config) == 0"],
        &["put config"],
    );
    let held = held();
    let of = AsRead {
        group: "g",
        keys: &held,
    };
    let (mut txn, left) = Txn::beat_with_records(&keys(), [(of, record())]);
    txn.and_status(&keys(), "me", 9, String::new());
    txn.and_config(&keys(), 2, config);
    is(
        &txn,
        TxnKind::Beat,
        &["mod(groups/g/record) == 11", "mod(config) == 2"],
        &["put groups/g/record", "put status/me on 9", "put config"],
    );
    assert_eq!(left, 0);
}

#[test]
fn whoever_takes_a_group_compares_its_record_and_counts_one_epoch_on() {
    let held = held();
    let of = AsRead {
        group: "g",
        keys: &held,
    };
    let (same, take) = (
        "mod(groups/g/record) == 11",
        [
            "put groups/g/record",
            "put groups/g/leader on 9",
            "delete groups/g/intent",
        ],
    );
    let free = Txn::take_free(&keys(), of, winner("free"));
    is(&free, TxnKind::TakeFree, &[same], &take);
    let won = written(&free, &keys().record("g"));
    assert_eq!((won.epoch, won.node.as_str(), won.incarnation), (4, "me", 9));
    let again = Txn::start_again(&keys(), of, winner("again"));
    is(&again, TxnKind::StartAgain, &[same], &take);
    let gone = Txn::take_gone(&keys(), of, winner("gone"), ("h", 7));
    is(&gone, TxnKind::TakeGone, &[same, "lease(nodes/h) != 7"], &take);
    // One that was never held begins with 1.
    let none = GroupKeys::default();
    let new = AsRead {
        group: "new",
        keys: &none,
    };
    let first = Txn::take_free(&keys(), new, winner("free"));
    assert_eq!(written(&first, &keys().record("new")).epoch, 1);
}

#[test]
fn a_silent_holder_ends_as_a_whole_and_what_silence_does_not_free_is_compared_all_the_same() {
    let (held, record) = (held(), record());
    let of = |group| AsRead { group, keys: &held };
    let beside = |group, freed| Beside {
        of: of(group),
        record: &record,
        freed,
    };
    let others = [beside("o", true), beside("s", false)];
    let txn = Txn::take_silent(&keys(), of("g"), winner("silent"), ("h", 8), others);
    is(
        &txn,
        TxnKind::TakeSilent,
        &[
            "mod(groups/g/record) == 11",
            "mod(nodes/h) == 8",
            "mod(groups/o/record) == 11",
            "mod(groups/s/record) == 11",
        ],
        &[
            "put groups/g/record",
            "put groups/g/leader on 9",
            "delete groups/g/intent",
            "delete nodes/h",
            "delete groups/o/leader",
            "put groups/o/record",
        ],
    );
    assert_eq!(written(&txn, &keys().record("o")).epoch, 3, "the same epoch");
    let many: Vec<String> = (0..TXN_MAX).map(|n| format!("g{n}")).collect();
    let many = many.iter().map(|group| beside(group, true));
    let txn = Txn::take_silent(&keys(), of("g"), winner("silent"), ("h", 8), many);
    assert!(txn.then.len() < TXN_MAX && txn.compare.len() < TXN_MAX);
}

#[test]
fn a_release_keeps_the_epoch() {
    let held = held();
    let of = AsRead {
        group: "g",
        keys: &held,
    };
    let (same, free) = (
        ["mod(groups/g/record) == 11"],
        [
            "put groups/g/record",
            "delete groups/g/leader",
            "delete groups/g/intent",
        ],
    );
    let release = Release {
        cause: ReleaseCause::Asked,
        reason: "asked".to_owned(),
        successor: Some("s".to_owned()),
        past: Past::default(),
    };
    let txn = Txn::release(&keys(), of, &record(), release);
    is(&txn, TxnKind::Release, &same, &free);
    let released = written(&txn, &keys().record("g"));
    assert_eq!((released.epoch, released.successor.as_deref()), (3, Some("s")));
    let txn = Txn::release_lost(&keys(), of, &record());
    is(&txn, TxnKind::ReleaseLost, &same, &free);
    let txn = Txn::mark_stuck(&keys(), of, &record(), "why".to_owned());
    is(&txn, TxnKind::MarkStuck, &same, &["put groups/g/record"]);
    assert_eq!(written(&txn, &keys().record("g")).stuck.as_deref(), Some("why"));
}

#[test]
fn what_was_fenced_is_freed_if_neither_record_nor_life_is_another() {
    let held = held();
    let of = AsRead {
        group: "g",
        keys: &held,
    };
    let (active, fenced) = (
        record(),
        FencedNode {
            node: "h",
            lease: 7,
            itself: false,
            whole: true,
        },
    );
    let (record, leader) = ("put groups/g/record", "delete groups/g/leader");
    let (txn, left) = Txn::free_fenced(&keys(), fenced, &[(of, &active)], "fenced");
    let compares = ["mod(groups/g/record) == 11", "lease(nodes/h) == 7"];
    is(
        &txn,
        TxnKind::FreeFenced,
        &compares,
        &[record, leader, "delete nodes/h"],
    );
    assert_eq!(left, 0);
    let itself = FencedNode {
        itself: true,
        whole: false,
        ..fenced
    };
    let (txn, _) = Txn::free_fenced(&keys(), itself, &[(of, &active)], "fenced");
    is(&txn, TxnKind::FreeFenced, &compares[..1], &[record, leader]);
}

#[test]
fn an_accepted_etcd_has_no_node_and_frees_only_what_is_as_it_was_read() {
    let (held, config) = (held(), ClusterConfig::new(2, SECOND, SECOND));
    let of = AsRead {
        group: "g",
        keys: &held,
    };
    let mut lifted = Txn::accept(&keys(), 5, config);
    assert!(lifted.and_lifted(&keys(), of, Some(&record())));
    let stuck = AsRead { group: "s", ..of };
    assert!(lifted.and_lifted(&keys(), stuck, None));
    is(
        &lifted,
        TxnKind::Accept,
        &[
            "mod(config) == 5",
            "mod(groups/g/record) == 11",
            "mod(groups/s/record) == 11",
        ],
        &[
            "put config",
            "delete nodes/*",
            "put groups/g/record",
            "delete groups/g/leader",
        ],
    );
    let mut full = Txn::accept(&keys(), 5, config);
    let taken = (0..TXN_MAX)
        .filter(|_| full.and_lifted(&keys(), of, Some(&record())))
        .count();
    assert_eq!(taken, 55);
    assert!(full.compare.len() <= TXN_MAX && full.then.len() <= TXN_MAX);
    let mut imported = Txn::accept(&keys(), 0, config);
    let order = StandingOrder::default;
    let group = ExportedGroup {
        stopped: Some(order()),
        excluded: [("n".to_owned(), order())].into(),
        ..ExportedGroup::default()
    };
    imported.and_imported(&keys(), "g", &record(), &group);
    imported.and_drained(&keys(), "d", &order());
    is(
        &imported,
        TxnKind::Accept,
        &["mod(config) == 0", "create(groups/g/record) == 0"],
        &[
            "put config",
            "delete nodes/*",
            "put groups/g/record",
            "put groups/g/stopped",
            "put groups/g/without/n",
            "put status/d/drained",
        ],
    );
}

#[test]
fn orders_compare_the_key_that_they_write() {
    let held = held();
    let of = AsRead {
        group: "g",
        keys: &held,
    };
    let order = StandingOrder::default();
    let config = ClusterConfig::new(1, SECOND, SECOND);
    is(
        &Txn::change_ttl(&keys(), 2, config),
        TxnKind::ChangeTtl,
        &["mod(config) == 2"],
        &["put config"],
    );
    is(
        &Txn::unextend(&keys(), of, "n", "rest", &order),
        TxnKind::Unextend,
        &[
            "mod(groups/g/without/n) == 15",
            "mod(groups/g/without/rest) == 0",
            "mod(groups/g/record) == 11",
        ],
        &["put groups/g/without/n"],
    );
    is(
        &Txn::delete(&keys(), of, &record(), &order),
        TxnKind::Delete,
        &[
            "mod(groups/g/record) == 11",
            "mod(groups/g/intent) == 12",
            "mod(groups/g/deleted) == 0",
            "mod(groups/g/stopped) == 13",
            "mod(groups/g/paused) == 0",
        ],
        &[
            "put groups/g/record",
            "put groups/g/deleted",
            "delete groups/g/store",
            "delete groups/g/stopped",
            "delete groups/g/paused",
            "delete groups/g/intent",
            "delete groups/g/leader",
            "delete groups/g/policy",
            "delete groups/g/without/n",
        ],
    );
    is(
        &Txn::create(&keys(), of),
        TxnKind::Create,
        &["mod(groups/g/deleted) == 14"],
        &["delete groups/g/deleted"],
    );
    let key = keys().paused("g");
    let compare = ["mod(groups/g/paused) == 3"];
    let give = Txn::give_order(key.clone(), 3, &order, 77);
    is(&give, TxnKind::Order, &compare, &["put groups/g/paused on 77"]);
    let back = Txn::withdraw_order(key, 3);
    is(&back, TxnKind::Order, &compare, &["delete groups/g/paused"]);
    let refused = Intent::Refused {
        of: 4,
        why: String::new(),
    };
    let refusal = Txn::write_intent(&keys(), "g", 4, &refused, 9);
    let compare = ["mod(groups/g/intent) == 4"];
    is(&refusal, TxnKind::Intent, &compare, &["put groups/g/intent on 9"]);
}

#[test]
fn a_node_is_removed_while_its_key_is_the_one_that_was_read() {
    let view = View {
        drained: [("n".to_owned(), (StandingOrder::default(), 6))].into(),
        groups: [("g".to_owned(), held())].into(),
        ..View::default()
    };
    let (txn, left) = Txn::remove(&keys(), &view, "n");
    is(
        &txn,
        TxnKind::Remove,
        &[
            "mod(nodes/n) == 0",
            "mod(status/n/drained) == 6",
            "mod(groups/g/without/n) == 15",
        ],
        &[
            "delete nodes/n",
            "delete status/n",
            "delete status/n/known",
            "delete status/n/drained",
            "delete groups/g/without/n",
        ],
    );
    assert_eq!(left, 0);
}

#[test]
fn what_is_set_is_compared_with_what_was_read_and_goes_with_its_node() {
    let set = |node: &str, value| {
        let node = node.to_owned();
        Change::Set(Wanted::Priority { node, value })
    };
    let mut of_group = GroupKeys {
        policy: Policy::default().changed(&[set("n", 7), set("m", 8)], &StandingOrder::default()),
        policy_mod: 21,
        ..GroupKeys::default()
    };
    let compare = ["mod(groups/g/policy) == 21", "mod(groups/g/deleted) == 0"];
    let of = AsRead {
        group: "g",
        keys: &of_group,
    };
    let some = Txn::set_policy(&keys(), of, &of_group.policy);
    is(&some, TxnKind::Policy, &compare, &["put groups/g/policy"]);
    let none = Txn::set_policy(&keys(), of, &Policy::default());
    is(&none, TxnKind::Policy, &compare, &["delete groups/g/policy"]);

    let removal = |of_group: &GroupKeys| {
        let view = View {
            groups: [("g".to_owned(), of_group.clone())].into(),
            ..View::default()
        };
        Txn::remove(&keys(), &view, "n").0
    };
    let compare = [
        "mod(nodes/n) == 0",
        "mod(status/n/drained) == 0",
        "mod(groups/g/policy) == 21",
    ];
    let gone = [
        "delete nodes/n",
        "delete status/n",
        "delete status/n/known",
        "delete status/n/drained",
    ];
    let with = |last| [&gone[..], &[last]].concat();
    is(
        &removal(&of_group),
        TxnKind::Remove,
        &compare,
        &with("put groups/g/policy"),
    );
    of_group.policy = Policy::default().changed(&[set("n", 7)], &StandingOrder::default());
    is(
        &removal(&of_group),
        TxnKind::Remove,
        &compare,
        &with("delete groups/g/policy"),
    );
}
