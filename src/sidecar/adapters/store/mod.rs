//! etcd: carries the transactions of the core, each once, to one endpoint, within one attempt's time.
//!
//! Nothing is decided here but the endpoint: whether to repeat, and what a lost answer means, is the core's business.
//! One [`etcd_client::Client`] per endpoint: its own balancer knows no health and fails or hangs one call in three
//! with one of three members dead.

mod classify;
mod client;
mod direct;
mod dispatch;
mod explain;
mod history;
mod member;
mod pool;
mod watch;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use direct::{floor_probe, member_count, once, read};
pub use history::{HistoryWriter, history};
pub use member::{member, spawn_looks};

use leasehold_compose::model::{EtcdTls, EtcdUser};
use leasehold_core::protocol::keys::Keys;
use leasehold_core::store::{Answer, Hint, RequestId, StoreError, Txn};

/// How to reach etcd. Holds no secret: the password and the private key stay in their files until they are used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `http://` or `https://` URLs, the nearest member first.
    pub endpoints: Vec<String>,
    /// Files for the `https://` endpoints; read again for every new connection.
    pub tls: Option<EtcdTls>,
    /// User of etcd; not needed where the client certificate names it.
    pub user: Option<EtcdUser>,
    /// The cluster's key names.
    pub keys: Keys,
    /// The most that one command may take, connecting and logging in included.
    pub attempt: Duration,
}

/// What the core wants of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreCommand {
    /// Carry out a transaction.
    Txn { id: RequestId, txn: Txn },
    /// Read all ranges, linearizably and as one snapshot.
    Read { id: RequestId },
    /// Make a lease under an id that the client chose; the ttl is rounded up to whole seconds.
    Grant { lease: i64, ttl: Duration },
    /// Renew a lease once. Its answer proves nothing, so there is no event for it.
    KeepAlive { lease: i64 },
    /// End a lease and delete the keys that hang on it. Without an event: a read shows it.
    Revoke { lease: i64 },
    /// From now on a command may take so long. Without an event.
    Attempt(Duration),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEvent {
    /// To [`StoreCommand::Txn`] and [`StoreCommand::Read`]: exactly one each.
    Answer {
        id: RequestId,
        result: Result<Answer, StoreError>,
    },
    /// To [`StoreCommand::Grant`]: exactly one each, with the ttl that etcd granted.
    Granted {
        lease: i64,
        result: Result<Duration, StoreError>,
    },
    /// The watch saw something.
    Hint(Hint),
    /// An endpoint went from answering to not answering or back; for the status page.
    Endpoint {
        url: String,
        healthy: bool,
        error: Option<String>,
    },
}

/// Starts the adapter: it works off `commands` until their sender is dropped, then finishes those under way.
#[must_use = "dropping the handle detaches the task"]
pub fn spawn(
    settings: Settings,
    commands: mpsc::Receiver<StoreCommand>,
    events: mpsc::Sender<StoreEvent>,
) -> JoinHandle<()> {
    tokio::spawn(dispatch::run(Arc::new(settings), commands, events))
}
