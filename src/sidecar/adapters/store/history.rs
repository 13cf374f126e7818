//! The history in etcd: written beside everything else, best effort, and read for whoever asks. Nothing waits for it.

use std::time::Duration;

use etcd_client::{DeleteOptions, GetOptions, SortOrder, SortTarget};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::classify::classify;
use super::client::{Purpose, connect, limited};
use super::{Settings, wire};
use leasehold_core::history::{AUDIT_MAX, AuditEntry, EPOCHS_MAX, Entry, History};
use leasehold_core::protocol::keys::Keys;
use leasehold_core::protocol::records::json;
use leasehold_core::store::{KeyValue, StoreError};

/// Lines that wait to be written.
const QUEUE_MAX: usize = 64;
/// A move is when etcd is most likely to be without a leader: so often, and so far apart, a line is tried.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);
/// An epoch has two keys.
const EPOCH_KEYS_MAX: usize = 2 * EPOCHS_MAX;

/// One key to write, and how many may stand beside it.
#[derive(Clone, Debug)]
struct Line {
    key: String,
    value: String,
    prefix: String,
    keep: usize,
}

#[derive(Debug)]
enum Order {
    Write(Line),
    /// Say when everything before it is done.
    Flush(oneshot::Sender<()>),
}

/// Where the history is handed in.
#[derive(Clone, Debug)]
pub struct HistoryWriter {
    queue: mpsc::Sender<Order>,
    keys: Keys,
}

impl HistoryWriter {
    /// Starts the writer; it ends with the last of its senders.
    #[must_use]
    pub fn spawn(settings: Settings) -> Self {
        let (queue, orders) = mpsc::channel(QUEUE_MAX);
        let keys = settings.keys.clone();
        tokio::spawn(write(settings, orders));
        Self { queue, keys }
    }

    /// What became of an epoch; dropped where too much waits already.
    pub fn epoch(&self, entry: &Entry) {
        let (group, key, value) = match entry {
            Entry::Begun { group, begun } => (group, self.keys.epoch_begun(group, begun.epoch), json(begun)),
            Entry::Left { group, left } => (group, self.keys.epoch_left(group, left.epoch), json(left)),
        };
        self.hand_in(Line {
            key,
            value,
            prefix: self.keys.history(group),
            keep: EPOCH_KEYS_MAX,
        });
    }

    /// What an operator asked this node for, at so many milliseconds since 1970; the count tells those of one millisecond
    /// apart.
    pub fn act(&self, ms: u64, node: &str, count: u64, act: &AuditEntry) {
        self.hand_in(Line {
            key: self.keys.act(ms, node, count),
            value: json(act),
            prefix: self.keys.acts(),
            keep: AUDIT_MAX,
        });
    }

    fn hand_in(&self, line: Line) {
        if let Err(error) = self.queue.try_send(Order::Write(line)) {
            debug!(%error, "a line of the history is dropped");
        }
    }

    /// Waits until what was handed in is written, no longer than this: for the end of the process.
    pub async fn flush(&self, within: Duration) {
        let (done, written) = oneshot::channel();
        let flush = async {
            // Nobody to hear it is as good as done.
            if self.queue.send(Order::Flush(done)).await.is_ok() {
                let _ = written.await;
            }
        };
        if tokio::time::timeout(within, flush).await.is_err() {
            debug!("the end of the history is not written");
        }
    }
}

async fn write(settings: Settings, mut orders: mpsc::Receiver<Order>) {
    while let Some(order) = orders.recv().await {
        let line = match order {
            Order::Write(line) => line,
            Order::Flush(done) => {
                // Whoever waited may have given up.
                let _ = done.send(());
                continue;
            }
        };
        let mut tries = 0;
        while let Err(error) = put(&settings, &line).await {
            tries += 1;
            debug!(?error, tries, key = line.key, "the history is not written");
            if tries == TRIES {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What is kept of a group and of the operators' acts.
///
/// # Errors
/// As [`StoreError`] says; with no endpoint answering, that of the last one.
pub async fn history(settings: &Settings, group: &str) -> Result<History, StoreError> {
    let prefixes = [settings.keys.history(group), settings.keys.acts()];
    let mut last = nowhere();
    for url in &settings.endpoints {
        match limited(settings, url, read_at(settings, url, &prefixes)).await {
            Err(error @ StoreError::Unknown(_)) => last = error,
            result => return Ok(History::read(&settings.keys, group, &result?)),
        }
    }
    Err(last)
}

/// Writes the line at the first endpoint that takes it, which may do it twice: it says the same.
async fn put(settings: &Settings, line: &Line) -> Result<(), StoreError> {
    let mut last = nowhere();
    for url in &settings.endpoints {
        match limited(settings, url, put_at(settings, url, line)).await {
            Err(error @ StoreError::Unknown(_)) => last = error,
            result => return result,
        }
    }
    Err(last)
}

fn nowhere() -> StoreError {
    StoreError::Refused("no etcd endpoint is configured".to_owned())
}

async fn read_at(settings: &Settings, url: &str, prefixes: &[String]) -> Result<Vec<KeyValue>, StoreError> {
    let mut client = connect(settings, url, Purpose::Calls).await?;
    let mut found = Vec::new();
    for prefix in prefixes {
        let options = in_order(GetOptions::new());
        let answer = client.get(prefix.as_str(), Some(options)).await;
        let answer = answer.map_err(|error| classify(&error))?;
        found.extend(answer.kvs().iter().map(wire::key_value));
    }
    Ok(found)
}

/// The key, and then the oldest beyond the bound go.
async fn put_at(settings: &Settings, url: &str, line: &Line) -> Result<(), StoreError> {
    let failed = |error: etcd_client::Error| classify(&error);
    let mut client = connect(settings, url, Purpose::Calls).await?;
    let put = client.put(line.key.as_str(), line.value.as_str(), None).await;
    put.map_err(failed)?;
    let options = in_order(GetOptions::new().with_keys_only());
    let found = client.get(line.prefix.as_str(), Some(options)).await.map_err(failed)?;
    let surplus = found.kvs().len().saturating_sub(line.keep);
    if let Some(first_kept) = found.kvs().get(surplus).filter(|_| surplus > 0) {
        let options = DeleteOptions::new().with_range(first_kept.key());
        let deleted = client.delete(line.prefix.as_str(), Some(options)).await;
        deleted.map_err(failed)?;
    }
    Ok(())
}

fn in_order(options: GetOptions) -> GetOptions {
    options.with_prefix().with_sort(SortTarget::Key, SortOrder::Ascend)
}
