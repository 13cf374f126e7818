//! The history as it stands in etcd: written beside the beats, bounded, and there for whoever asks later.

use std::time::Duration;

use leasehold::core::history::{
    AUDIT_MAX, AuditEntry, Before, Begun, EPOCHS_MAX, Entry, History, Left, Phase, PhaseKind,
};
use leasehold::core::store::{StoreError, Txn};
use leasehold::sidecar::adapters::store::{HistoryWriter, Settings, history, once};

use crate::adapter::names;
use crate::etcd::{Cluster, FAST};

fn begun(group: &str, epoch: u64, served: bool) -> Entry {
    let phase = |what, ms| Phase { what, ms };
    let begun = Begun {
        epoch,
        from: Some("a".to_owned()),
        to: "b".to_owned(),
        cause: format!("cause {epoch}"),
        at: "noon".to_owned(),
        before: Before::Silence,
        phases: vec![phase(PhaseKind::Silence, 5000), phase(PhaseKind::Serving, 700)],
        served,
    };
    Entry::Begun {
        group: group.to_owned(),
        begun,
    }
}

fn left(group: &str, epoch: u64) -> Entry {
    let left = Left {
        epoch,
        node: "b".to_owned(),
        cause: "drained".to_owned(),
        at: "one".to_owned(),
        phases: Vec::new(),
        runs: 1,
    };
    Entry::Left {
        group: group.to_owned(),
        left,
    }
}

fn act(group: Option<&str>, number: usize) -> AuditEntry {
    AuditEntry {
        at: "noon".to_owned(),
        by: "ann on a".to_owned(),
        verb: "stop".to_owned(),
        group: group.map(str::to_owned),
        node: None,
        why: format!("reason {number}"),
        accepted: true,
        answer: "it stops".to_owned(),
    }
}

/// Reads until it is so: lines are written beside the caller.
async fn until(settings: &Settings, group: &str, done: impl Fn(&History) -> bool) -> History {
    let mut last = None;
    for _ in 0..400 {
        match history(settings, group).await {
            Ok(history) if done(&history) => return history,
            other => last = Some(other),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("not within 10 s, but {last:?}");
}

#[tokio::test]
async fn what_one_process_wrote_another_reads_and_no_beat_carries_it() {
    let etcd = Cluster::start(1, &FAST).await;
    let settings = etcd.settings();
    let archivist = HistoryWriter::spawn(settings.clone());
    for entry in [
        begun("mail", 7, false),
        begun("mail", 7, true),
        left("mail", 7),
        begun("web", 1, true),
    ] {
        archivist.epoch(&entry);
    }
    archivist.act(1000, "a", 0, &act(Some("mail"), 1));
    archivist.act(2000, "a", 1, &act(Some("web"), 2));
    archivist.act(3000, "b", 0, &act(None, 3));
    drop(archivist);
    let told = until(&settings, "mail", |history| history.acts.len() == 2).await;
    let [epoch] = told.epochs.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!((epoch.epoch, epoch.total_ms), (7, Some(5700)));
    assert_eq!(epoch.left.as_ref().unwrap().cause, "drained");
    let reasons: Vec<_> = told.acts.iter().map(|act| act.why.as_str()).collect();
    assert_eq!(reasons, ["reason 1", "reason 3"]);
    let beat = once(&settings, &Txn::read()).await.unwrap();
    assert_eq!(names(&beat), Vec::<&str>::new());
}

#[tokio::test]
async fn the_oldest_go_and_those_of_other_groups_stay() {
    let etcd = Cluster::start(1, &FAST).await;
    let settings = etcd.settings();
    let archivist = HistoryWriter::spawn(settings.clone());
    archivist.epoch(&begun("web", 1, true));
    let count = u64::try_from(EPOCHS_MAX).unwrap() + 5;
    for epoch in 1..=count {
        // The queue is bounded, and here everything shall be written.
        archivist.epoch(&begun("mail", epoch, true));
        archivist.epoch(&left("mail", epoch));
        until(&settings, "mail", |history| {
            history
                .epochs
                .last()
                .is_some_and(|last| last.left.is_some() && last.epoch == epoch)
        })
        .await;
    }
    let told = until(&settings, "mail", |history| history.epochs.len() == EPOCHS_MAX).await;
    assert_eq!(told.epochs[0].epoch, 6);
    assert!(
        told.epochs
            .iter()
            .all(|epoch| epoch.begun.is_some() && epoch.left.is_some())
    );
    assert_eq!(history(&settings, "web").await.unwrap().epochs.len(), 1);
}

#[tokio::test]
async fn acts_are_bounded_too_and_a_full_queue_drops_without_waiting() {
    let etcd = Cluster::start(1, &FAST).await;
    let settings = etcd.settings();
    let archivist = HistoryWriter::spawn(settings.clone());
    // Far more than wait in any queue: handing in never waits, so nothing is written before the first pause.
    for number in 0..1000 {
        archivist.act(u64::try_from(number).unwrap(), "a", 0, &act(None, number));
    }
    let first = until(&settings, "mail", |history| history.acts.len() >= 64).await;
    assert!(first.acts.len() < 100, "{}", first.acts.len());
    for number in 1000..1000 + AUDIT_MAX {
        let millis = u64::try_from(number).unwrap();
        archivist.act(millis, "a", 0, &act(None, number));
        let wanted = format!("reason {number}");
        if number % 32 == 0 {
            until(&settings, "mail", |history| {
                history.acts.last().is_some_and(|last| last.why == wanted)
            })
            .await;
        }
    }
    let last = format!("reason {}", 1000 + AUDIT_MAX - 1);
    // What is too much goes after the last line is written: a read may fall in between.
    let told = until(&settings, "mail", |history| {
        history.acts.last().is_some_and(|act| act.why == last) && history.acts.len() <= AUDIT_MAX
    })
    .await;
    assert_eq!((told.acts.len(), told.acts[0].why.as_str()), (AUDIT_MAX, "reason 1000"));
}

#[tokio::test]
async fn a_dead_member_costs_nothing_and_a_silent_etcd_is_an_error_in_time() {
    let mut etcd = Cluster::start(3, &FAST).await;
    let settings = etcd.settings();
    let archivist = HistoryWriter::spawn(settings.clone());
    etcd.kill(0);
    archivist.epoch(&begun("mail", 2, true));
    let told = until(&settings, "mail", |history| !history.epochs.is_empty()).await;
    assert_eq!(told.epochs[0].epoch, 2);
    etcd.kill(1);
    let error = tokio::time::timeout(Duration::from_secs(8), history(&settings, "mail"));
    assert!(matches!(error.await.unwrap(), Err(StoreError::Unknown(_))));
    // A line that was handed in while etcd could not take it is written once it can.
    archivist.epoch(&begun("mail", 3, true));
    etcd.run(1);
    let told = until(&settings, "mail", |history| history.epochs.len() == 2).await;
    assert_eq!(told.epochs[1].epoch, 3);
}

#[tokio::test]
async fn the_last_words_are_written_before_the_process_ends_and_not_waited_for_in_vain() {
    let mut etcd = Cluster::start(1, &FAST).await;
    let settings = etcd.settings();
    let archivist = HistoryWriter::spawn(settings.clone());
    archivist.epoch(&left("mail", 9));
    archivist.flush(Duration::from_secs(5)).await;
    assert_eq!(history(&settings, "mail").await.unwrap().epochs[0].epoch, 9);
    etcd.kill(0);
    archivist.epoch(&left("mail", 10));
    let waited = tokio::time::timeout(Duration::from_secs(4), archivist.flush(Duration::from_millis(200)));
    assert!(waited.await.is_ok());
}
