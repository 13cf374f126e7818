//! The watch: hints, so that the core reads soon. What it misses costs time, never safety.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Event, EventType, WatchFilterType, WatchOptions, WatchResponse, WatchStream};
use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::classify::classify;
use super::client::{Purpose, connect};
use super::{Settings, StoreEvent};
use leasehold_core::protocol::keys::Keys;
use leasehold_core::store::{Hint, StoreError};

/// Pause before the watch is opened again: doubled after each failure, back to the start with the first success.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Ranges watched over one stream: groups and nodes.
const WATCHES: usize = 2;

/// Keeps a watch open at the endpoint that takes the commands, or at the next one that lets it. Never returns while
/// somebody listens.
pub(super) async fn run(
    settings: Arc<Settings>,
    mut preferred: watch::Receiver<usize>,
    events: mpsc::Sender<StoreEvent>,
) {
    let count = settings.endpoints.len();
    let mut number = *preferred.borrow_and_update();
    let mut backoff = BACKOFF_MIN;
    while let Some(url) = settings.endpoints.get(number % count) {
        let opened = timeout(settings.attempt, open(&settings, url)).await;
        match opened {
            Ok(Ok(stream)) => {
                backoff = BACKOFF_MIN;
                match follow(&settings.keys, stream, &mut preferred, &events).await {
                    End::Moved => {
                        number = *preferred.borrow_and_update();
                        continue;
                    }
                    End::Lost(reason) => debug!(url, reason, "etcd watch lost"),
                    End::Closed => return,
                }
            }
            Ok(Err(error)) => debug!(url, ?error, "etcd watch not opened"),
            Err(_) => debug!(url, "etcd watch not opened in time"),
        }
        number += 1;
        sleep(backoff).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Why a watch ended.
enum End {
    /// The commands go to another endpoint now.
    Moved,
    /// The stream broke or etcd cancelled it.
    Lost(String),
    /// Nobody listens any more.
    Closed,
}

/// Opens both watches and waits until etcd has confirmed them: from then on nothing is missed.
async fn open(settings: &Settings, url: &str) -> Result<WatchStream, StoreError> {
    let mut client = connect(settings, url, Purpose::Watch).await?;
    let groups = WatchOptions::new().with_prefix();
    let nodes = WatchOptions::new()
        .with_prefix()
        .with_prev_key()
        .with_filters([WatchFilterType::NoPut]);
    let opening = async {
        let mut stream = client.watch(settings.keys.groups(), Some(groups)).await?;
        stream.watch(settings.keys.nodes(), Some(nodes)).await?;
        let mut confirmed = 0;
        while confirmed < WATCHES {
            match stream.message().await? {
                Some(message) if message.canceled() => {
                    return Err(etcd_client::Error::WatchError(message.cancel_reason().to_owned()));
                }
                // News in between is covered by the `Changed` that follows the opening.
                Some(message) => confirmed += usize::from(message.created()),
                None => return Err(etcd_client::Error::WatchError("ended".to_owned())),
            }
        }
        Ok(stream)
    };
    opening.await.map_err(|error| classify(&error))
}

/// Passes hints on until the watch ends.
async fn follow(
    keys: &Keys,
    mut stream: WatchStream,
    preferred: &mut watch::Receiver<usize>,
    events: &mpsc::Sender<StoreEvent>,
) -> End {
    let mut hints = vec![Hint::Changed];
    loop {
        for hint in hints.drain(..) {
            if events.send(StoreEvent::Hint(hint)).await.is_err() {
                return End::Closed;
            }
        }
        let mut message = tokio::select! {
            message = stream.message() => message,
            moved = preferred.changed() => return if moved.is_ok() { End::Moved } else { End::Closed },
        };
        loop {
            match message {
                Ok(Some(response)) if response.canceled() => return End::Lost(response.cancel_reason().to_owned()),
                Ok(Some(response)) => collect(keys, &response, &mut hints),
                Ok(None) => return End::Lost("ended".to_owned()),
                Err(error) => return End::Lost(error.to_string()),
            }
            // All that waits already, so that a burst of changes is one hint.
            match stream.message().now_or_never() {
                Some(next) => message = next,
                None => break,
            }
        }
    }
}

/// Adds the response's hints; of several `Changed` one is enough.
fn collect(keys: &Keys, response: &WatchResponse, hints: &mut Vec<Hint>) {
    for hint in response.events().iter().map(|event| hint(keys, event)) {
        if hint != Hint::Changed || !hints.contains(&Hint::Changed) {
            hints.push(hint);
        }
    }
}

fn hint(keys: &Keys, event: &Event) -> Hint {
    let node = event
        .kv()
        .and_then(|kv| kv.key_str().ok())
        .and_then(|key| key.strip_prefix(&keys.nodes()));
    match (event.event_type(), node, event.prev_kv()) {
        (EventType::Delete, Some(node), Some(last)) => Hint::NodeGone {
            node: node.to_owned(),
            lease: last.lease(),
            last_mod_revision: last.mod_revision(),
        },
        (EventType::Delete | EventType::Put, _, _) => Hint::Changed,
    }
}
