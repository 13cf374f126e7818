//! The watch.

use std::time::Duration;

use leasehold::core::store::{Hint, Op};
use leasehold::sidecar::adapters::store::{StoreCommand, StoreEvent, once};

use crate::adapter::{Adapter, always, put};
use crate::etcd::{Cluster, FAST};

const LEASE: i64 = 0x7002;

#[tokio::test]
async fn changes_of_groups_and_vanished_nodes_are_hinted() {
    let etcd = Cluster::start(1, &FAST).await;
    let settings = etcd.settings();
    let keys = settings.keys.clone();
    let mut adapter = Adapter::new(settings.clone());
    adapter.hint(&Hint::Changed).await;

    // Beats are not hinted, a group's change is.
    for beat in ["1", "2"] {
        once(&settings, &always(vec![put(keys.node("a"), beat, 0)]))
            .await
            .unwrap();
    }
    assert_eq!(adapter.all_within(Duration::from_millis(200)).await, []);
    once(&settings, &always(vec![put(keys.record("g"), "r", 0)]))
        .await
        .unwrap();
    adapter.hint(&Hint::Changed).await;

    // Deleted by hand.
    let last = once(&settings, &always(vec![put(keys.node("a"), "3", 0)]))
        .await
        .unwrap();
    once(&settings, &always(vec![Op::Delete { key: keys.node("a") }]))
        .await
        .unwrap();
    let gone = Hint::NodeGone {
        node: "a".to_owned(),
        lease: 0,
        last_mod_revision: last.revision,
    };
    adapter.hint(&gone).await;

    // Gone with its lease.
    adapter.grant(LEASE, Duration::from_secs(60)).await.unwrap();
    let last = adapter
        .txn(always(vec![put(keys.node("b"), "1", LEASE)]))
        .await
        .unwrap();
    adapter.send(StoreCommand::Revoke { lease: LEASE }).await;
    let gone = Hint::NodeGone {
        node: "b".to_owned(),
        lease: LEASE,
        last_mod_revision: last.revision,
    };
    adapter.hint(&gone).await;
}

#[tokio::test]
async fn a_burst_is_few_hints() {
    let etcd = Cluster::start(1, &FAST).await;
    let settings = etcd.settings();
    let keys = settings.keys.clone();
    let mut adapter = Adapter::new(settings.clone());
    adapter.hint(&Hint::Changed).await;
    let groups = (0..50)
        .map(|number| put(keys.record(&number.to_string()), "r", 0))
        .collect();
    once(&settings, &always(groups)).await.unwrap();
    let events = adapter.all_within(Duration::from_millis(300)).await;
    assert_eq!(events, [StoreEvent::Hint(Hint::Changed)]);
}

#[tokio::test]
async fn a_lost_watch_is_opened_at_the_next_member() {
    let mut etcd = Cluster::start(3, &FAST).await;
    let settings = etcd.settings();
    let keys = settings.keys.clone();
    let mut adapter = Adapter::new(settings.clone());
    adapter.hint(&Hint::Changed).await;
    etcd.kill(0);
    adapter.hint(&Hint::Changed).await;
    let mut rest = settings;
    rest.endpoints.remove(0);
    rest.attempt = Duration::from_secs(4);
    let last = once(&rest, &always(vec![put(keys.node("a"), "1", 0)])).await.unwrap();
    once(&rest, &always(vec![Op::Delete { key: keys.node("a") }]))
        .await
        .unwrap();
    let gone = Hint::NodeGone {
        node: "a".to_owned(),
        lease: 0,
        last_mod_revision: last.revision,
    };
    adapter.hint(&gone).await;
}

#[tokio::test]
async fn the_watch_leaves_a_frozen_member_with_the_commands() {
    let etcd = Cluster::start(3, &FAST).await;
    let mut settings = etcd.settings();
    settings.attempt = Duration::from_millis(500);
    let mut adapter = Adapter::new(settings);
    adapter.hint(&Hint::Changed).await;
    adapter.read().await.unwrap();
    etcd.freeze(0);
    assert!(adapter.read().await.is_err());
    // Long before a ping would have found out.
    let moved = tokio::time::timeout(Duration::from_secs(5), adapter.hint(&Hint::Changed)).await;
    assert!(moved.is_ok());
    etcd.thaw(0);
}
