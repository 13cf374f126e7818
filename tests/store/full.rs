//! An etcd that fills up: told before, told when it is full, and mended by what `docs/runbooks.md` says.

use std::process::Command;
use std::time::Duration;

use etcd_client::Client;
use leasehold::core::event::Event;
use leasehold::core::observe::etcd::{EtcdMember, EtcdTrouble};
use leasehold::core::snapshot::status::Status;
use leasehold::core::store::StoreError;
use leasehold::sidecar::adapters::metrics::{Format, encode};
use leasehold::sidecar::adapters::store::{Settings, member, spawn_looks};
use leasehold::sidecar::counters::Counters;
use tokio::sync::mpsc;

use crate::adapter::{Adapter, always, put};
use crate::etcd::{Cluster, FAST, binary};

const PAGE: &str = include_str!("../../docs/runbooks.md");
const QUOTA: u64 = 16 << 20;
const TITLE: &str = "etcd is full";

/// Writes over one key, as whoever uses etcd a lot would, until it is so or etcd refuses. Gives the refusal.
async fn fill(settings: &Settings, mut enough: impl FnMut(&EtcdMember) -> bool) -> Option<String> {
    let url = &settings.endpoints[0];
    let mut client = Client::connect([url], None).await.unwrap();
    for _ in 0..200 {
        if enough(&member(settings, url).await.unwrap()) {
            return None;
        }
        if let Err(error) = client.put("somebody/else", vec![b'x'; 256 << 10], None).await {
            return Some(error.to_string());
        }
    }
    panic!("etcd takes whatever is written");
}

/// The commands of the page under its title, with etcdctl as it is here.
fn typed(settings: &Settings) -> Vec<String> {
    let section = PAGE.split(&format!("## {TITLE}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh member\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("```").next().unwrap().lines());
    let etcdctl = format!("{} --endpoints={}", binary("etcdctl").display(), settings.endpoints[0]);
    lines
        .map(|line| line.replace("docker compose exec etcd etcdctl", &etcdctl))
        .collect()
}

#[tokio::test]
async fn an_etcd_that_fills_up_is_told_of_and_mended() {
    let quota = QUOTA.to_string();
    let etcd = Cluster::start(1, &[&FAST[..], &["--quota-backend-bytes", &quota]].concat()).await;
    let settings = etcd.settings();
    let mut adapter = Adapter::new(settings.clone());
    let url = settings.endpoints[0].clone();
    assert_eq!(member(&settings, &url).await.unwrap().troubles(), []);

    let told = fill(&settings, |member| !member.troubles().is_empty()).await;
    assert_eq!(told, None, "it was told before it was full");
    let troubles = member(&settings, &url).await.unwrap().troubles();
    assert!(
        matches!(
            troubles[..],
            [EtcdTrouble::Filling {
                percent: 80..100,
                quota: QUOTA
            }]
        ),
        "{troubles:?}"
    );
    let beat = || always(vec![put(settings.keys.node("a"), "1", 0)]);
    adapter.txn(beat()).await.unwrap();

    let refusal = fill(&settings, |_| false).await.unwrap();
    assert!(refusal.contains("database space exceeded"), "{refusal}");
    let troubles = member(&settings, &url).await.unwrap().troubles();
    assert_eq!(troubles, [EtcdTrouble::Full]);
    let (events, mut told) = mpsc::channel(1);
    let counters = Counters::default();
    spawn_looks(settings.clone(), events, counters.timings.clone());
    let event = tokio::time::timeout(Duration::from_secs(10), told.recv())
        .await
        .unwrap();
    let url = url.clone();
    assert_eq!(
        event,
        Some(Event::EtcdMember { url, troubles }),
        "the loop is told by itself"
    );
    is_measured(&settings.endpoints[0], &counters);
    let refused = adapter.txn(beat()).await;
    assert!(
        matches!(refused, Err(StoreError::Refused(_) | StoreError::Unknown(_))),
        "{refused:?}"
    );

    for line in typed(&settings) {
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        assert!(
            output.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        if line.ends_with("alarm list") {
            assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{line}");
        }
    }
    assert_eq!(member(&settings, &settings.endpoints[0]).await.unwrap().troubles(), []);
    let landed = tokio::time::timeout(Duration::from_secs(10), async {
        while adapter.txn(beat()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    landed.await.unwrap();
}

/// What the looks found stands in the metrics.
fn is_measured(url: &str, counters: &Counters) {
    let metrics = encode(&Status::default(), counters, Format::Plain).unwrap();
    for (name, value) in [("member_up", 1), ("member_leads", 1), ("quota_bytes", QUOTA)] {
        let line = format!("leasehold_etcd_{name}{{endpoint=\"{url}\"}} {value}");
        assert!(
            metrics.lines().any(|one| one == line),
            "{line} is missing in\n{metrics}"
        );
    }
}
