//! The history as the endpoints meet it: acts go in, and come out again with the epochs, both by way of etcd.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::adapters::http::Archive;
use crate::adapters::store::{self, Archivist, Settings};
use crate::clock;
use crate::core::history::{Act, History};
use crate::core::store::StoreError;

/// Readers at a time: each is a read of etcd.
const READERS_MAX: usize = 4;

/// The archive in etcd.
#[derive(Debug)]
pub struct InEtcd {
    node: String,
    settings: Settings,
    archivist: Archivist,
    count: AtomicU64,
    readers: Semaphore,
}

impl InEtcd {
    #[must_use]
    pub fn new(node: &str, settings: Settings, archivist: Archivist) -> Arc<Self> {
        Arc::new(Self {
            node: node.to_owned(),
            settings,
            archivist,
            count: AtomicU64::new(0),
            readers: Semaphore::new(READERS_MAX),
        })
    }
}

impl Archive for InEtcd {
    fn keep(&self, act: Act) {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        self.archivist.act(clock::wall_millis(), &self.node, count, &act);
    }

    fn history<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<History, String>> {
        async move {
            let Ok(_permit) = self.readers.try_acquire() else {
                return Err("too many read the history at once: try again".to_owned());
            };
            match store::history(&self.settings, group).await {
                Ok(history) => Ok(history),
                Err(StoreError::Unknown(why) | StoreError::Refused(why)) => Err(format!("etcd does not tell: {why}")),
            }
        }
        .boxed()
    }
}
