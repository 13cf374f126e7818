//! Leases, and what `check` asks of etcd.

use std::time::Duration;

use leasehold::core::store::StoreError;
use leasehold::sidecar::adapters::store::{StoreCommand, floor_probe, member, member_count};

use crate::adapter::{Adapter, always, put};
use crate::etcd::{Cluster, FAST};

const LEASE: i64 = 0x7fff_ffff_ffff_fff1;

#[tokio::test]
async fn a_lease_under_a_chosen_id_is_granted_renewed_and_revoked() {
    let etcd = Cluster::start(1, &FAST).await;
    let settings = etcd.settings();
    let keys = settings.keys.clone();
    let mut adapter = Adapter::new(settings);
    let granted = adapter.grant(LEASE, Duration::from_millis(1500)).await.unwrap();
    assert_eq!(granted, Duration::from_secs(2), "rounded up");
    let twice = adapter.grant(LEASE, Duration::from_secs(2)).await;
    assert!(matches!(twice, Err(StoreError::Refused(_))), "{twice:?}");

    let answer = adapter
        .txn(always(vec![put(keys.node("a"), "1", LEASE)]))
        .await
        .unwrap();
    assert_eq!(answer.keys[0].lease, LEASE);
    // Renewed past its ttl.
    for _ in 0..8 {
        adapter.send(StoreCommand::KeepAlive { lease: LEASE }).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert_eq!(adapter.read().await.unwrap().keys.len(), 1);

    adapter.send(StoreCommand::Revoke { lease: LEASE }).await;
    let vanished = async {
        while !adapter.read().await.unwrap().keys.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), vanished).await.unwrap();

    // Renewing or revoking what is gone is no fault of the endpoint.
    adapter.send(StoreCommand::KeepAlive { lease: LEASE }).await;
    adapter.send(StoreCommand::Revoke { lease: LEASE }).await;
    adapter.read().await.unwrap();
    let events = adapter.all_within(Duration::from_millis(200)).await;
    let unhealthy = events
        .iter()
        .any(|event| format!("{event:?}").contains("healthy: false"));
    assert!(!unhealthy, "{events:?}");
}

#[tokio::test]
async fn the_floor_of_an_untuned_and_a_tuned_etcd() {
    let stock = Cluster::start(1, &[]).await;
    assert_eq!(floor_probe(&stock.settings()).await.unwrap(), Duration::from_secs(2));
    let tuned = Cluster::start(1, &FAST).await;
    assert_eq!(floor_probe(&tuned.settings()).await.unwrap(), Duration::from_secs(1));
    let slow = ["--heartbeat-interval", "300", "--election-timeout", "3000"];
    let slow = Cluster::start(1, &slow).await;
    assert_eq!(floor_probe(&slow.settings()).await.unwrap(), Duration::from_secs(5));
}

#[tokio::test]
async fn version_and_members() {
    let etcd = Cluster::start(3, &FAST).await;
    let settings = etcd.settings();
    assert_eq!(member_count(&settings).await.unwrap(), 3);
    let one = member(&settings, &etcd.url(1)).await.unwrap();
    assert!(
        one.version.as_ref().is_some_and(|version| version.starts_with("3.")),
        "{one:?}"
    );
    assert_eq!(one.troubles(), [], "{one:?}");
    let dead = member(&settings, "http://127.0.0.1:1").await;
    assert!(matches!(dead, Err(StoreError::Unknown(_))), "{dead:?}");
}
