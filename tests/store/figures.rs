//! Measures and prints; proves nothing.

use std::time::{Duration, Instant};

use crate::adapter::{Adapter, put, when};
use crate::etcd::Cluster;
use leasehold::core::store::Compare;

#[tokio::test]
#[ignore = "measures for half a minute: latency of a beat with 3 members, processor time while idle and beating"]
async fn beats_and_idle_cost() {
    let etcd = Cluster::start(3, &[]).await;
    let settings = etcd.settings();
    let key = settings.keys.node("a");
    let mut adapter = Adapter::new(settings);
    adapter.grant(1, Duration::from_secs(60)).await.unwrap();
    let mut revision = 0;
    let mut times = Vec::new();
    for number in 0..500 {
        let compare = vec![Compare::Mod {
            key: key.clone(),
            revision,
        }];
        let beat = when(compare, vec![put(key.clone(), &number.to_string(), 1)]);
        let start = now();
        let answer = adapter.txn(beat).await.unwrap();
        times.push(start.elapsed());
        assert!(answer.succeeded);
        revision = answer.revision;
    }
    times.sort();
    let before = cpu();
    tokio::time::sleep(Duration::from_secs(10)).await;
    let idle = cpu() - before;
    let before = cpu();
    for number in 0..20 {
        let compare = vec![Compare::Mod {
            key: key.clone(),
            revision,
        }];
        let beat = when(compare, vec![put(key.clone(), &number.to_string(), 1)]);
        revision = adapter.txn(beat).await.unwrap().revision;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let beating = cpu() - before;
    let report = format!(
        "beat p50 {:?} p99 {:?} max {:?}; processor time in 10 s: idle {idle:?}, with 2 beats a second {beating:?}\n",
        times[250], times[495], times[499]
    );
    std::io::Write::write_all(&mut std::io::stderr(), report.as_bytes()).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "times a test, no deadline")]
fn now() -> Instant {
    Instant::now()
}

/// Processor time of this process's threads so far.
fn cpu() -> Duration {
    let nanoseconds = std::fs::read_dir("/proc/self/task").unwrap().map(|task| {
        let path = task.unwrap().path().join("schedstat");
        let text = std::fs::read_to_string(path).unwrap();
        let first = text.split(' ').next().unwrap();
        first.parse::<u64>().unwrap()
    });
    Duration::from_nanos(nanoseconds.sum())
}
