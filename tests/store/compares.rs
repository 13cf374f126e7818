//! What the core writes as data means the same to etcd.

use std::time::Duration;

use leasehold::core::store::{Compare, Op, StoreError, Txn};

use crate::adapter::{Adapter, always, names, put, when};
use crate::etcd::{Cluster, FAST};

const LEASE: i64 = 0x7001;

#[tokio::test]
async fn every_compare_on_present_and_absent_keys() {
    let etcd = Cluster::start(1, &FAST).await;
    let settings = etcd.settings();
    let keys = settings.keys.clone();
    let mut adapter = Adapter::new(settings);
    adapter.grant(LEASE, Duration::from_secs(60)).await.unwrap();
    let (leased, plain, absent) = (keys.node("leased"), keys.node("plain"), keys.node("absent"));
    let first = always(vec![put(leased.clone(), "1", LEASE), put(plain.clone(), "1", 0)]);
    let created = adapter.txn(first).await.unwrap().revision;
    let again = always(vec![put(leased.clone(), "2", LEASE)]);
    let modified = adapter.txn(again).await.unwrap().revision;
    assert!(modified > created);

    let create = |key: &String, revision| Compare::Create {
        key: key.clone(),
        revision,
    };
    let modify = |key: &String, revision| Compare::Mod {
        key: key.clone(),
        revision,
    };
    let lease = |key: &String, lease| Compare::Lease {
        key: key.clone(),
        lease,
    };
    let lease_not = |key: &String, lease| Compare::LeaseNot {
        key: key.clone(),
        lease,
    };
    let table = [
        (create(&leased, created), true),
        (create(&leased, modified), false),
        (create(&leased, 0), false),
        (create(&absent, 0), true),
        (create(&absent, created), false),
        (modify(&leased, modified), true),
        (modify(&leased, created), false),
        (modify(&leased, 0), false),
        (modify(&absent, 0), true),
        (modify(&absent, modified), false),
        (lease(&leased, LEASE), true),
        (lease(&leased, LEASE + 1), false),
        (lease(&leased, 0), false),
        (lease(&plain, 0), true),
        (lease(&plain, LEASE), false),
        (lease(&absent, 0), true),
        (lease(&absent, LEASE), false),
        (lease_not(&leased, LEASE), false),
        (lease_not(&leased, LEASE + 1), true),
        (lease_not(&leased, 0), true),
        (lease_not(&plain, LEASE), true),
        (lease_not(&absent, LEASE), true),
        (lease_not(&absent, 0), false),
    ];
    for (compare, holds) in table {
        let answer = adapter.txn(when(vec![compare.clone()], Vec::new())).await.unwrap();
        assert_eq!(answer.succeeded, holds, "{compare:?}");
        // All must hold, not any.
        let both = vec![create(&absent, 0), compare.clone()];
        let answer = adapter.txn(when(both, Vec::new())).await.unwrap();
        assert_eq!(answer.succeeded, holds, "with another: {compare:?}");
    }
}

#[tokio::test]
async fn both_branches_return_the_ranges_and_the_branch_that_writes_shows_its_writes() {
    let etcd = Cluster::start(1, &FAST).await;
    let settings = etcd.settings();
    let keys = settings.keys.clone();
    let mut adapter = Adapter::new(settings);
    let foreign = put("/leasehold/mail2/config".to_owned(), "x", 0);
    let before = always(vec![
        foreign,
        put(keys.config(), "c", 0),
        put(keys.record("g"), "r", 0),
        put(keys.status("a"), "s", 0),
    ]);
    let first = adapter.txn(before).await.unwrap();
    let all = [keys.config(), keys.status("a"), keys.record("g")];
    assert_eq!(names(&first), all);
    assert!(first.succeeded);
    assert_ne!(first.cluster_id, 0);

    let attempt = |revision| {
        when(
            vec![Compare::Mod {
                key: keys.record("g"),
                revision,
            }],
            vec![put(keys.record("g"), "r2", 0), put(keys.node("a"), "beat", 0)],
        )
    };
    let lost = adapter.txn(attempt(0)).await.unwrap();
    assert!(!lost.succeeded);
    assert_eq!(names(&lost), all, "nothing was written");
    assert_eq!(lost.revision, first.revision);

    let won = adapter.txn(attempt(first.revision)).await.unwrap();
    assert!(won.succeeded);
    assert_eq!(
        names(&won),
        [keys.config(), keys.node("a"), keys.status("a"), keys.record("g")]
    );
    let record = won.keys.iter().find(|kv| kv.key == keys.record("g")).unwrap();
    assert_eq!((record.value.as_str(), record.lease), ("r2", 0));
    assert_eq!(record.mod_revision, won.revision);
    assert_eq!(record.create_revision, first.revision);

    let read = adapter.read().await.unwrap();
    assert!(read.succeeded);
    assert_eq!((&read.keys, read.cluster_id), (&won.keys, won.cluster_id));
}

#[tokio::test]
async fn deletes_of_a_key_and_of_a_prefix() {
    let etcd = Cluster::start(1, &FAST).await;
    let settings = etcd.settings();
    let keys = settings.keys.clone();
    let mut adapter = Adapter::new(settings);
    let fill = ["a", "b", "c"].map(|node| put(keys.node(node), "beat", 0));
    let mut fill = fill.to_vec();
    fill.push(put(keys.leader("g"), "a", 0));
    adapter.txn(always(fill)).await.unwrap();
    let one = always(vec![
        Op::Delete { key: keys.node("b") },
        Op::Delete {
            key: keys.node("absent"),
        },
    ]);
    let answer = adapter.txn(one).await.unwrap();
    assert_eq!(names(&answer), [keys.node("a"), keys.node("c"), keys.leader("g")]);
    let all = always(vec![
        Op::DeletePrefix { prefix: keys.nodes() },
        put(keys.config(), "generation 2", 0),
        Op::Delete { key: keys.leader("g") },
    ]);
    let answer = adapter.txn(all).await.unwrap();
    assert_eq!(names(&answer), [keys.config()]);
}

#[tokio::test]
async fn what_etcd_refuses_is_refused_and_leaves_nothing_behind() {
    let etcd = Cluster::start(1, &FAST).await;
    let settings = etcd.settings();
    let keys = settings.keys.clone();
    let mut adapter = Adapter::new(settings);
    let crowd = (0..128)
        .map(|number| put(keys.node(&number.to_string()), "x", 0))
        .collect();
    let table = [
        (
            always(vec![put(keys.config(), "1", 0), put(keys.config(), "2", 0)]),
            "duplicate key",
        ),
        (
            always(vec![
                put(keys.node("a"), "1", 0),
                Op::DeletePrefix { prefix: keys.nodes() },
            ]),
            "duplicate key",
        ),
        (
            always(vec![put(keys.config(), "1", 0), put(keys.node("a"), "1", 99)]),
            "lease not found",
        ),
        (always(crowd), "too many operations"),
        (always(vec![put(String::new(), "1", 0)]), "key is not provided"),
    ];
    for (txn, reason) in table {
        match adapter.txn(txn).await {
            Err(StoreError::Refused(text)) => assert!(text.contains(reason), "{text}"),
            other => panic!("{reason}: {other:?}"),
        }
        assert_eq!(adapter.read().await.unwrap().keys, []);
    }
    assert!(adapter.txn(Txn::read()).await.unwrap().succeeded);
}
