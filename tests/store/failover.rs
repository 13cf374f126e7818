//! Members that hang, die or lose their quorum.

use std::time::{Duration, Instant};

use leasehold::core::protocol::keys::Keys;
use leasehold::core::store::{Answer, RequestId, StoreError};
use leasehold::sidecar::adapters::store::{Settings, StoreCommand, StoreEvent, once, spawn};
use tokio::sync::mpsc;

use crate::adapter::{Adapter, always, put};
use crate::etcd::{Cluster, FAST};

const ATTEMPT: Duration = Duration::from_millis(800);
const TRIES: u32 = 10;

fn unknown(result: &Result<Answer, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unknown(_)))
}

#[expect(clippy::disallowed_methods, reason = "times a test, no deadline")]
fn now() -> Instant {
    Instant::now()
}

/// The first command of an adapter that talks to the first endpoint, after `harm` was done to that member, and how long
/// it took. A young cluster on a busy machine may elect again, which sends an adapter on to the next endpoint for good: such
/// a one is not harmed and proves nothing, so the harm is undone and another one is tried.
async fn after(
    etcd: &mut Cluster,
    settings: &Settings,
    harm: fn(&mut Cluster),
    undo: fn(&mut Cluster),
) -> (Adapter, Result<Answer, StoreError>, Duration) {
    let key = settings.keys.node("a");
    for _ in 0..TRIES {
        let mut adapter = Adapter::new(settings.clone());
        if adapter.read().await.is_ok() {
            harm(etcd);
            let start = now();
            let result = adapter.txn(always(vec![put(key.clone(), "1", 0)])).await;
            let waited = start.elapsed();
            if result.is_err() {
                return (adapter, result, waited);
            }
            undo(etcd);
            etcd.wait(settings).await;
        }
    }
    panic!("{TRIES} adapters did not meet the member that was harmed");
}

/// Whoever is gone may have led: the others elect a new leader first, and say so to some commands.
async fn answers_again(adapter: &mut Adapter) {
    let answered = async {
        while adapter.read().await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(8), answered)
        .await
        .expect("another member answers");
}

#[tokio::test]
async fn a_frozen_member_costs_one_attempt_and_the_next_command_meets_another() {
    let mut etcd = Cluster::start(3, &FAST).await;
    let mut settings = etcd.settings();
    settings.attempt = ATTEMPT;
    let (mut adapter, result, waited) = after(&mut etcd, &settings, |etcd| etcd.freeze(0), |etcd| etcd.thaw(0)).await;
    assert!(unknown(&result), "{result:?}");
    assert!(waited >= ATTEMPT && waited < ATTEMPT * 2, "{waited:?}");
    adapter
        .until(|event| {
            matches!(event, StoreEvent::Endpoint { url, healthy: false, error: Some(_) } if *url == etcd.url(0))
        })
        .await;
    answers_again(&mut adapter).await;
    etcd.thaw(0);
}

#[tokio::test]
async fn a_hanging_command_does_not_delay_the_others() {
    let etcd = Cluster::start(1, &FAST).await;
    let mut settings = etcd.settings();
    settings.attempt = ATTEMPT;
    let mut adapter = Adapter::new(settings);
    adapter.read().await.unwrap();
    etcd.freeze(0);
    let start = now();
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(adapter.start(None).await);
    }
    let mut refused = 0;
    for id in ids {
        match adapter.answer(id).await {
            Err(StoreError::Refused(text)) => {
                assert!(text.contains("not sent"), "{text}");
                refused += 1;
            }
            other => assert!(unknown(&other), "{other:?}"),
        }
    }
    assert!(
        start.elapsed() < ATTEMPT * 2,
        "one after another: {:?}",
        start.elapsed()
    );
    assert_eq!(refused, 4, "those above the limit are not sent");
    etcd.thaw(0);
    assert!(adapter.read().await.is_ok(), "the only endpoint is tried again");
}

#[tokio::test]
async fn a_dead_endpoint_is_left_at_once_and_heals() {
    let mut etcd = Cluster::start(3, &FAST).await;
    let settings = etcd.settings();
    let (mut adapter, result, waited) = after(&mut etcd, &settings, |etcd| etcd.kill(0), |etcd| etcd.run(0)).await;
    assert!(unknown(&result), "{result:?}");
    assert!(waited < settings.attempt, "it was waited for: {waited:?}");
    answers_again(&mut adapter).await;

    // Its return is noticed without a command, and it takes over when its successor dies.
    let url = etcd.url(0);
    let health = |event: &StoreEvent, wanted: bool| matches!(event, StoreEvent::Endpoint { url: at, healthy, .. } if *at == url && *healthy == wanted);
    adapter.until(|event| health(event, false)).await;
    adapter.all_within(Duration::ZERO).await;
    etcd.run(0);
    adapter.until(|event| health(event, true)).await;
    etcd.kill(1);
    answers_again(&mut adapter).await;
}

#[tokio::test]
async fn without_a_quorum_everything_is_unknown() {
    let mut etcd = Cluster::start(3, &FAST).await;
    let mut settings = etcd.settings();
    settings.attempt = ATTEMPT;
    let keys = settings.keys.clone();
    let mut adapter = Adapter::new(settings.clone());
    adapter.read().await.unwrap();
    etcd.kill(1);
    etcd.kill(2);
    for round in 0..4 {
        let write = adapter
            .txn(always(vec![put(keys.node("a"), &round.to_string(), 0)]))
            .await;
        assert!(unknown(&write), "{write:?}");
    }
    let read = adapter.read().await;
    assert!(unknown(&read), "a read is linearizable: {read:?}");
    let read = once(&settings, &always(Vec::new())).await;
    assert!(unknown(&read), "{read:?}");
}

#[tokio::test]
async fn single_calls_find_the_member_that_answers() {
    let etcd = Cluster::start(1, &FAST).await;
    let mut settings = etcd.settings();
    settings.endpoints.insert(0, "http://127.0.0.1:1".to_owned());
    let keys = settings.keys.clone();
    let written = once(&settings, &always(vec![put(keys.intent("g"), "drain", 0)]))
        .await
        .unwrap();
    let read = once(&settings, &always(Vec::new())).await.unwrap();
    assert_eq!(written.keys, read.keys);
    assert_eq!(read.keys.len(), 1);
}

#[tokio::test]
async fn without_an_endpoint_nothing_is_sent() {
    let settings = Settings {
        endpoints: Vec::new(),
        tls: None,
        user: None,
        keys: Keys::new("mail"),
        attempt: ATTEMPT,
    };
    let mut adapter = Adapter::new(settings.clone());
    assert!(matches!(adapter.read().await, Err(StoreError::Refused(_))));
    let single = once(&settings, &always(Vec::new())).await;
    assert!(matches!(single, Err(StoreError::Refused(_))));
    assert_eq!(adapter.start(None).await, RequestId(2));
}

#[tokio::test]
async fn the_adapter_ends_with_its_commands_and_answers_those_under_way() {
    let etcd = Cluster::start(1, &FAST).await;
    let (commands, receiver) = mpsc::channel(1);
    let (sender, mut events) = mpsc::channel(16);
    let task = spawn(etcd.settings(), receiver, sender);
    let id = RequestId(7);
    commands.send(StoreCommand::Read { id }).await.unwrap();
    drop(commands);
    task.await.unwrap();
    let mut answered = 0;
    while let Some(event) = events.recv().await {
        answered += usize::from(matches!(
            event,
            StoreEvent::Answer {
                id: RequestId(7),
                result: Ok(_)
            }
        ));
    }
    assert_eq!(answered, 1);
}
