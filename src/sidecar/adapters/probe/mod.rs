//! Checks of the service, as a client would make them. Each ends within its timeout; what came instead of the right
//! answer is said in a sentence.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use leasehold_compose::model::{Check, Probe};
use leasehold_core::event::ProbeFailure;

mod canary;
mod conversation;
mod gateway;
mod http;
mod inside;
mod mail;
mod tls;

pub use inside::Inside;
pub use tls::shown_certificate;

/// Makes checks.
#[derive(Clone, Debug)]
pub struct Prober {
    inside: Inside,
}

/// Where a probe looks.
#[derive(Clone, Debug)]
pub struct Target {
    /// The address that clients use, or this host's own before it is up.
    pub address: IpAddr,
    /// The container of the service that the probe names, for checks inside it.
    pub container: Option<String>,
    /// Where the storage of that service is mounted in it.
    pub mounts: Vec<String>,
    /// The place of the probe in its group.
    pub place: usize,
}

impl Prober {
    #[must_use]
    pub fn new(inside: Inside) -> Self {
        Self { inside }
    }

    /// Makes one check.
    ///
    /// # Errors
    /// A wrong answer, none in time, or a cause that would move along with the group.
    pub async fn check(&self, probe: &Probe, target: &Target) -> Result<(), ProbeFailure> {
        let limit = probe.cadence.timeout;
        let name = probe.check.name();
        let ended = timeout(limit, self.make(&probe.check, target, limit))
            .await
            .unwrap_or_else(|_| Err(ProbeFailure::silent(format!("no answer within {limit:?}"))));
        ended.map_err(|failure| ProbeFailure {
            text: format!("{name}: {}", failure.text),
            ..failure
        })
    }

    async fn make(&self, check: &Check, target: &Target, limit: Duration) -> Result<(), ProbeFailure> {
        match check {
            Check::Tcp { port } => connect(target.address, *port).await.map(drop),
            Check::Mail(wanted) => mail::check(connect(target.address, wanted.port).await?, wanted).await,
            Check::Http(wanted) => http::check(target.address, wanted).await,
            Check::Exec { command, .. } => {
                let container = container(target)?;
                self.inside.command(container, target.place, command, limit).await
            }
            Check::Docker { .. } => self.inside.health(container(target)?, limit).await,
            Check::Storage { floor, .. } => {
                let container = container(target)?;
                self.inside.storage(container, &target.mounts, *floor, limit).await
            }
            Check::Canary(wanted) => canary::check(target.address, wanted, limit).await,
            Check::Gateway { address } => gateway::answers(*address).await,
        }
    }
}

fn container(target: &Target) -> Result<&str, ProbeFailure> {
    let missing = || ProbeFailure::wrong("its container is not known");
    target.container.as_deref().ok_or_else(missing)
}

async fn connect(address: IpAddr, port: u16) -> Result<TcpStream, ProbeFailure> {
    TcpStream::connect(SocketAddr::new(address, port))
        .await
        .map_err(|error| ProbeFailure::wrong(error.to_string()))
}

#[cfg(test)]
mod tests;
