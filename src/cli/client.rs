//! The CLI's end of the operator's socket.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::text::{print, say};
use crate::adapters::http::{AcceptRequest, HoldRequest, Outcome, SwitchoverRequest};
use crate::core::status::Status;
use crate::node_facts::NodeFacts;

/// One call; longer than the daemon's own wait for its loop.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long a switchover is watched.
const MOVE_TIMEOUT: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

fn client(socket: &Path) -> Result<reqwest::Client> {
    // Refused where another part of the process was faster, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let builder = reqwest::Client::builder().unix_socket(socket).timeout(TIMEOUT);
    builder
        .tls_certs_only(std::iter::empty())
        .build()
        .context("preparing the local call")
}

/// The daemon's status.
pub(super) async fn status(facts: &NodeFacts) -> Result<Status> {
    let socket = facts.socket();
    let call = client(&socket)?.get("http://local/v1/status").send().await;
    let answer = call.with_context(|| absent(&socket))?;
    Ok(answer.json().await?)
}

fn absent(socket: &Path) -> String {
    format!(
        "no sidecar answers at {}: is it running on this host?",
        socket.display()
    )
}

pub(super) async fn tell<T: Serialize + Sync>(facts: &NodeFacts, path: &str, body: &T) -> Result<Outcome> {
    let socket = facts.socket();
    let call = client(&socket)?
        .post(format!("http://local{path}"))
        .json(body)
        .send()
        .await;
    Ok(call.with_context(|| absent(&socket))?.json().await?)
}

pub(super) fn conclude(outcome: &Outcome) -> ExitCode {
    if outcome.ok {
        print(&outcome.message);
        ExitCode::SUCCESS
    } else {
        say(&format!("leasehold: {}", outcome.message));
        ExitCode::FAILURE
    }
}

pub(super) async fn hold(facts: &NodeFacts, length: Duration) -> Result<ExitCode> {
    let body = HoldRequest {
        seconds: length.as_secs(),
    };
    Ok(conclude(&tell(facts, "/v1/hold", &body).await?))
}

pub(super) async fn accept(facts: &NodeFacts, force: bool, epoch: Option<u64>) -> Result<ExitCode> {
    let body = AcceptRequest { force, epoch };
    Ok(conclude(&tell(facts, "/v1/accept", &body).await?))
}

/// Asks for the move, then watches until another node serves or the wish is refused.
pub(super) async fn switchover(facts: &NodeFacts, group: &str, to: Option<String>) -> Result<ExitCode> {
    let before = status(facts).await?.groups.get(group).map_or(0, |line| line.epoch);
    let outcome = tell(
        facts,
        &format!("/v1/groups/{group}/switchover"),
        &SwitchoverRequest { to },
    )
    .await?;
    if !outcome.ok {
        return Ok(conclude(&outcome));
    }
    say(&outcome.message);
    let watched = tokio::time::timeout(MOVE_TIMEOUT, moved(facts, group, before)).await;
    match watched {
        Ok(holder) => {
            print(&format!("{group} moved to {}", holder?));
            Ok(ExitCode::SUCCESS)
        }
        Err(_) => {
            say(&format!(
                "leasehold: {group} did not move within {MOVE_TIMEOUT:?}: see `leasehold status`"
            ));
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn moved(facts: &NodeFacts, group: &str, before: u64) -> Result<String> {
    loop {
        let line = status(facts).await?.groups.remove(group).unwrap_or_default();
        if let Some(holder) = line.holder.filter(|_| line.epoch > before) {
            return Ok(holder);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
