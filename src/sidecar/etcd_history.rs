//! The history as the endpoints meet it: acts go in, and come out again with the epochs, both by way of etcd.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::adapters::http::{Archive, FileConfig};
use crate::adapters::store::{self, HistoryWriter, Settings};
use crate::node_context::NodeContext;
use leasehold_base::clock;
use leasehold_compose::Sources;
use leasehold_core::history::{AuditEntry, History};
use leasehold_core::protocol::records::View;
use leasehold_core::requests::exported::Exported;
use leasehold_core::store::StoreError;

/// Readers at a time: each is a read of etcd.
const READERS_MAX: usize = 4;

/// For the compose file.
const FILE_TIMEOUT: Duration = Duration::from_secs(5);

/// The archive in etcd.
#[derive(Debug)]
pub struct EtcdHistory {
    node: String,
    settings: Settings,
    writer: HistoryWriter,
    count: AtomicU64,
    readers: Semaphore,
    /// Of the compose file; a directory that hangs holds one thread, not many.
    sources: Arc<Sources>,
    file: Arc<Semaphore>,
}

impl EtcdHistory {
    #[must_use]
    pub fn new(node: &str, settings: Settings, writer: HistoryWriter, sources: Arc<Sources>) -> Arc<Self> {
        Arc::new(Self {
            node: node.to_owned(),
            settings,
            sources,
            file: Arc::new(Semaphore::new(1)),
            writer,
            count: AtomicU64::new(0),
            readers: Semaphore::new(READERS_MAX),
        })
    }
}

impl Archive for EtcdHistory {
    fn keep(&self, act: AuditEntry) {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        self.writer.act(clock::wall_millis(), &self.node, count, &act);
    }

    fn history<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<History, String>> {
        async move {
            let Ok(_permit) = self.readers.try_acquire() else {
                return Err("too many read the history at once: try again".to_owned());
            };
            match store::history(&self.settings, group).await {
                Ok(history) => Ok(history),
                Err(StoreError::Unknown(why) | StoreError::Refused(why)) => Err(format!("reading etcd failed: {why}")),
            }
        }
        .boxed()
    }

    fn export(&self) -> BoxFuture<'_, Result<Exported, String>> {
        async move {
            let Ok(_permit) = self.readers.try_acquire() else {
                return Err("too many read etcd at once: try again".to_owned());
            };
            let keys = &self.settings.keys;
            match store::read(&self.settings).await {
                Ok(answer) => Exported::of(keys.cluster(), &View::read(keys, &answer)),
                Err(StoreError::Unknown(why) | StoreError::Refused(why)) => Err(format!("reading etcd failed: {why}")),
            }
        }
        .boxed()
    }

    fn file_config(&self) -> BoxFuture<'_, Result<FileConfig, String>> {
        async move {
            let busy = || "the compose file is being read: try again".to_owned();
            let permit = Arc::clone(&self.file).try_acquire_owned().map_err(|_| busy())?;
            let sources = Arc::clone(&self.sources);
            let read = tokio::task::spawn_blocking(move || {
                let config = NodeContext::config_now(&sources);
                drop(permit);
                config
            });
            match tokio::time::timeout(FILE_TIMEOUT, read).await {
                Ok(Ok(Ok(config))) => Ok(config),
                Ok(Ok(Err(fault))) => Err(fault.to_string()),
                Ok(Err(error)) => Err(format!("reading the compose file: {error}")),
                Err(_) => Err(format!("the project directory does not answer within {FILE_TIMEOUT:?}")),
            }
        }
        .boxed()
    }
}
