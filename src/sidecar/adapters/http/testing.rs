//! The command line's end of the endpoints, for tests of the verbs.

use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;

use leasehold_core::history::{AuditEntry, History};
use leasehold_core::requests::exported::Exported;

use super::{Access, Archive, Endpoints, FileConfig};

/// The command line's end alone, for tests: the rest listens on any port.
#[must_use]
pub fn nowhere(socket: &Path) -> Endpoints {
    Endpoints {
        listen: Some("127.0.0.1:0".to_owned()),
        etcd: Vec::new(),
        socket: socket.to_owned(),
        access: Access::default(),
        tls: Ok(None),
        hosts: Vec::new(),
        words: Vec::new(),
    }
}

/// An archive that keeps nothing.
#[derive(Debug)]
pub struct Nowhere;

impl Archive for Nowhere {
    fn keep(&self, _act: AuditEntry) {}

    fn history<'a>(&'a self, _group: &'a str) -> BoxFuture<'a, Result<History, String>> {
        Box::pin(async { Ok(History::default()) })
    }

    fn file_config(&self) -> BoxFuture<'_, Result<FileConfig, String>> {
        Box::pin(async {
            Ok(FileConfig {
                ttl: Duration::from_secs(10),
                promises: None,
            })
        })
    }

    fn export(&self) -> BoxFuture<'_, Result<Exported, String>> {
        Box::pin(async { Ok(Exported::default()) })
    }
}
