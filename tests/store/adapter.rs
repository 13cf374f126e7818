//! The adapter as the core sees it: commands in, events out.

use std::time::Duration;

use leasehold::core::protocol::TxnKind;
use leasehold::core::store::{Answer, Compare, Hint, Op, RequestId, StoreError, Txn};
use leasehold::sidecar::adapters::store::{Settings, StoreCommand, StoreEvent, spawn};
use tokio::sync::mpsc;

/// Longer than any attempt in the tests.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Adapter {
    commands: mpsc::Sender<StoreCommand>,
    events: mpsc::Receiver<StoreEvent>,
    last_id: u64,
    /// What came while something else was waited for.
    seen: Vec<StoreEvent>,
}

impl Adapter {
    pub(crate) fn new(settings: Settings) -> Self {
        let (commands, receiver) = mpsc::channel(16);
        let (sender, events) = mpsc::channel(64);
        drop(spawn(settings, receiver, sender));
        Self {
            commands,
            events,
            last_id: 0,
            seen: Vec::new(),
        }
    }

    pub(crate) async fn send(&self, command: StoreCommand) {
        self.commands.send(command).await.expect("the adapter runs");
    }

    /// Sends without waiting for the answer.
    pub(crate) async fn start(&mut self, txn: Option<Txn>) -> RequestId {
        self.last_id += 1;
        let id = RequestId(self.last_id);
        self.send(match txn {
            Some(txn) => StoreCommand::Txn { id, txn },
            None => StoreCommand::Read { id },
        })
        .await;
        id
    }

    pub(crate) async fn txn(&mut self, txn: Txn) -> Result<Answer, StoreError> {
        let id = self.start(Some(txn)).await;
        self.answer(id).await
    }

    pub(crate) async fn read(&mut self) -> Result<Answer, StoreError> {
        let id = self.start(None).await;
        self.answer(id).await
    }

    pub(crate) async fn answer(&mut self, wanted: RequestId) -> Result<Answer, StoreError> {
        let event = self
            .until(|event| matches!(event, StoreEvent::Answer { id, .. } if *id == wanted))
            .await;
        let StoreEvent::Answer { result, .. } = event else {
            panic!("{event:?}");
        };
        result
    }

    pub(crate) async fn grant(&mut self, lease: i64, ttl: Duration) -> Result<Duration, StoreError> {
        self.send(StoreCommand::Grant { lease, ttl }).await;
        let event = self
            .until(|event| matches!(event, StoreEvent::Granted { lease: granted, .. } if *granted == lease))
            .await;
        let StoreEvent::Granted { result, .. } = event else {
            panic!("{event:?}");
        };
        result
    }

    pub(crate) async fn hint(&mut self, wanted: &Hint) {
        self.until(|event| matches!(event, StoreEvent::Hint(hint) if hint == wanted))
            .await;
    }

    /// The first event of this kind, waited for if it did not come yet.
    pub(crate) async fn until(&mut self, wanted: impl Fn(&StoreEvent) -> bool) -> StoreEvent {
        if let Some(position) = self.seen.iter().position(&wanted) {
            return self.seen.remove(position);
        }
        let waiting = async {
            loop {
                let event = self.events.recv().await.expect("the adapter runs");
                if wanted(&event) {
                    return event;
                }
                self.seen.push(event);
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the event")
    }

    /// Everything that comes within the time, and what came before.
    pub(crate) async fn all_within(&mut self, time: Duration) -> Vec<StoreEvent> {
        let collecting = async {
            while let Some(event) = self.events.recv().await {
                self.seen.push(event);
            }
        };
        let _ = tokio::time::timeout(time, collecting).await;
        std::mem::take(&mut self.seen)
    }
}

pub(crate) fn put(key: String, value: &str, lease: i64) -> Op {
    Op::Put {
        key,
        value: value.to_owned(),
        lease,
    }
}

pub(crate) fn when(compare: Vec<Compare>, then: Vec<Op>) -> Txn {
    let kind = TxnKind::Beat;
    Txn { kind, compare, then }
}

pub(crate) fn always(then: Vec<Op>) -> Txn {
    when(Vec::new(), then)
}

pub(crate) fn names(answer: &Answer) -> Vec<&str> {
    answer.keys.iter().map(|kv| kv.key.as_str()).collect()
}
