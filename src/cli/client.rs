//! The CLI's end of the operator's socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::header::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::Answer;
use leasehold_api::history::History;
use leasehold_api::status::Status;
use leasehold_api::{ACT_HEADER, HoldRequest, OrderRequest, Outcome, PauseRequest, USER_HEADER, Why};

/// One call; longer than the daemon's own wait for its loop.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The sidecar of this host.
#[derive(Clone, Debug)]
pub(super) struct Daemon {
    socket: PathBuf,
}

impl Daemon {
    /// Behind its socket.
    pub(super) fn at(socket: PathBuf) -> Self {
        Self { socket }
    }
}

fn client(socket: &Path) -> Result<reqwest::Client> {
    // Refused where another part of the process was faster, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut headers = HeaderMap::new();
    headers.insert(ACT_HEADER, HeaderValue::from_static("1"));
    if let Some(user) = user(|name| std::env::var(name).ok()).and_then(|name| HeaderValue::from_str(&name).ok()) {
        headers.insert(USER_HEADER, user);
    }
    let builder = reqwest::Client::builder()
        .unix_socket(socket)
        .timeout(TIMEOUT)
        .default_headers(headers);
    builder
        .tls_certs_only(std::iter::empty())
        .build()
        .context("preparing the local call: run this on the host itself, or in the sidecar's container")
}

/// Who is at the keyboard, as well as the environment knows.
pub(super) fn user(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let named = ["SUDO_USER", "USER", "LOGNAME"];
    named.into_iter().filter_map(variable).find(|name| !name.is_empty())
}

/// The daemon's status.
pub(super) async fn status(daemon: &Daemon) -> Result<Status> {
    let socket = &daemon.socket;
    let call = client(socket)?.get("http://local/v1/status").send().await;
    understood(call.with_context(|| absent(socket))?).await
}

/// What the daemon said, in the words of this version.
async fn understood<T: DeserializeOwned>(answer: reqwest::Response) -> Result<T> {
    let read = answer.json().await;
    read.context(
        "the sidecar's answer is not understood: use the program of its version, which `leasehold version` names",
    )
}

fn absent(socket: &Path) -> String {
    format!(
        "no sidecar answers at {}: start it on this host; `leasehold check` says what keeps it from starting",
        socket.display()
    )
}

pub(super) async fn tell<T: Serialize + Sync>(daemon: &Daemon, path: &str, body: &T) -> Result<Outcome> {
    let socket = &daemon.socket;
    let call = client(socket)?
        .post(format!("http://local{path}"))
        .json(body)
        .send()
        .await;
    understood(call.with_context(|| absent(socket))?).await
}

/// Forgets a node that is gone for good.
pub(super) async fn remove(daemon: &Daemon, node: &str, why: &str) -> Result<Answer> {
    Ok(conclude(&delete(daemon, &format!("/v1/nodes/{node}"), why).await?))
}

/// Deletes what is named in the path.
pub(super) async fn delete(daemon: &Daemon, path: &str, why: &str) -> Result<Outcome> {
    let socket = &daemon.socket;
    let url = reqwest::Url::parse_with_params(&format!("http://local{path}"), [("why", why)]);
    let call = client(socket)?
        .delete(url.with_context(|| format!("{path} is no path: see `leasehold --help`"))?)
        .send()
        .await;
    understood(call.with_context(|| absent(socket))?).await
}

/// What the daemon made of an act, as the verb's answer.
pub(super) fn conclude(outcome: &Outcome) -> Answer {
    outcome.into()
}

pub(super) async fn hold(daemon: &Daemon, length: Duration) -> Result<Answer> {
    let body = HoldRequest {
        seconds: length.as_secs(),
    };
    Ok(conclude(&tell(daemon, "/v1/hold", &body).await?))
}

/// Takes a drain back. No name: of this node.
pub(super) async fn undrain(daemon: &Daemon, name: &str) -> Result<Answer> {
    let name = match name {
        "" => status(daemon).await?.node,
        name => name.to_owned(),
    };
    let (path, why) = (format!("/v1/nodes/{name}/undrain"), String::new());
    Ok(conclude(&tell(daemon, &path, &OrderRequest { why }).await?))
}

pub(super) async fn pause(daemon: &Daemon, group: &str, length: Duration, why: String) -> Result<Answer> {
    let body = PauseRequest {
        seconds: length.as_secs(),
        why,
    };
    Ok(conclude(
        &tell(daemon, &format!("/v1/groups/{group}/pause"), &body).await?,
    ))
}

/// Why a group is where it is.
pub(super) async fn why(daemon: &Daemon, group: &str) -> Result<Result<Why, Outcome>> {
    ask(daemon, &format!("/v1/groups/{group}/why")).await
}

/// What is kept of a group's epochs, and of what operators asked for.
pub(super) async fn history(daemon: &Daemon, group: &str) -> Result<Result<History, Outcome>> {
    ask(daemon, &format!("/v1/groups/{group}/history")).await
}

/// What the daemon tells, or why it does not.
pub(super) async fn ask<T: DeserializeOwned>(daemon: &Daemon, path: &str) -> Result<Result<T, Outcome>> {
    let socket = &daemon.socket;
    let call = client(socket)?.get(format!("http://local{path}")).send().await;
    let answer = call.with_context(|| absent(socket))?;
    if answer.status().is_success() {
        Ok(Ok(understood(answer).await?))
    } else {
        Ok(Err(understood(answer).await?))
    }
}

/// Takes back a request to move a group; with an id that one alone.
pub(super) async fn withdraw(daemon: &Daemon, group: &str, id: Option<i64>) -> Result<Outcome> {
    let socket = &daemon.socket;
    let mut path = format!("http://local/v1/groups/{group}/switchover");
    if let Some(id) = id {
        path += &format!("?wish={id}");
    }
    let call = client(socket)?.delete(path).send().await;
    understood(call.with_context(|| absent(socket))?).await
}
