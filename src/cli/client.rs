//! The CLI's end of the operator's socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::header::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};

use super::answer::Answer;
use super::moving::{Fate, Watched};
use super::text::say;
use leasehold_api::history::History;
use leasehold_api::status::{GroupLine, Status};
use leasehold_api::words::Stage;
use leasehold_api::{
    ACT_HEADER, HoldRequest, OrderRequest, Outcome, PauseRequest, SwitchoverRequest, USER_HEADER, Why, Wished,
};

/// One call; longer than the daemon's own wait for its loop.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long a switchover is watched.
const MOVE_TIMEOUT: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
const LOOKS_AT_DRIFT: u32 = 30;
/// As a shell names the end by SIGINT.
const INTERRUPTED: u8 = 130;

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
        .context("preparing the local call")
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
    let answer = call.with_context(|| absent(socket))?;
    Ok(answer.json().await?)
}

fn absent(socket: &Path) -> String {
    format!(
        "no sidecar answers at {}: is it running on this host?",
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
    Ok(call.with_context(|| absent(socket))?.json().await?)
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
        .delete(url.with_context(|| path.to_owned())?)
        .send()
        .await;
    Ok(call.with_context(|| absent(socket))?.json().await?)
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

/// A standing order about a group or a node, or its end. No name: this node.
pub(super) async fn order(daemon: &Daemon, of: &str, name: &str, verb: &str, why: String) -> Result<Answer> {
    let name = if name.is_empty() {
        status(daemon).await?.node
    } else {
        name.to_owned()
    };
    let path = format!("/v1/{of}/{name}/{verb}");
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
        Ok(Ok(answer.json().await?))
    } else {
        Ok(Err(answer.json().await?))
    }
}

/// A switchover to the node that is preferred, as the daemon says; nothing to do where that one holds the group.
pub(super) async fn failback(daemon: &Daemon, group: &str) -> Result<Answer> {
    let body = OrderRequest {
        why: "failback".to_owned(),
    };
    watched(group, ask_and_watch(daemon, group, "failback", &body)).await
}

/// Takes back a wish to move a group; with an id that one alone.
pub(super) async fn withdraw(daemon: &Daemon, group: &str, id: Option<i64>) -> Result<Outcome> {
    let socket = &daemon.socket;
    let mut path = format!("http://local/v1/groups/{group}/switchover");
    if let Some(id) = id {
        path += &format!("?wish={id}");
    }
    let call = client(socket)?.delete(path).send().await;
    Ok(call.with_context(|| absent(socket))?.json().await?)
}

/// Asks for the move, then watches until another node serves it, or the wish is refused.
pub(super) async fn switchover(daemon: &Daemon, group: &str, to: Option<String>, why: String) -> Result<Answer> {
    let body = SwitchoverRequest { to, why };
    watched(group, ask_and_watch(daemon, group, "switchover", &body)).await
}

/// Until somebody presses Ctrl-C.
async fn watched(group: &str, watching: impl Future<Output = Result<Answer>>) -> Result<Answer> {
    let mut interrupted = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
    tokio::select! {
        ended = watching => ended,
        _ = interrupted.recv() => Ok(Answer::bad(format!(
            "the wish stays: `leasehold switchover --withdraw {group}` takes it back while it has not begun"
        )).code(INTERRUPTED)),
    }
}

async fn ask_and_watch<T: Serialize + Sync>(daemon: &Daemon, group: &str, verb: &str, body: &T) -> Result<Answer> {
    let before = status(daemon).await?.groups.get(group).map_or(0, |line| line.epoch);
    let outcome = tell(daemon, &format!("/v1/groups/{group}/{verb}"), body).await?;
    // Refused, or it is where it shall be.
    let Some(Wished { id, to }) = &outcome.wish else {
        return Ok(conclude(&outcome));
    };
    say(&outcome.message);
    let mut watched = Watched::new(before);
    match tokio::time::timeout(MOVE_TIMEOUT, fate(daemon, group, &mut watched)).await {
        Ok(fate) => Ok(told(group, fate?, to.as_deref())),
        Err(_) => given_up(daemon, group, *id, &watched).await,
    }
}

/// Asks for it, then watches until the holder has done it or said why not.
pub(super) async fn apply(daemon: &Daemon, group: &str, why: String) -> Result<Answer> {
    let outcome = tell(daemon, &format!("/v1/groups/{group}/apply"), &OrderRequest { why }).await?;
    if !outcome.ok {
        return Ok(conclude(&outcome));
    }
    say(&outcome.message);
    let Ok(line) = tokio::time::timeout(MOVE_TIMEOUT, applied(daemon, group)).await else {
        return Ok(Answer::bad(format!(
            "{group} was not started again within {MOVE_TIMEOUT:?}: see `leasehold why {group}`"
        )));
    };
    let line = line?;
    if let Some(drift) = line.drift {
        return Ok(Answer::bad(format!("{group}: {drift}")));
    }
    Ok(Answer::good(match (line.held, line.holder) {
        (None, Some(holder)) => format!("{holder} has taken it up: `leasehold status` there shows when {group} serves"),
        (Some(_) | None, _) => format!("{group} runs as the file and the image say"),
    }))
}

/// The group once nobody waits for anything of it any more, and it serves again where this can be seen. What differs all the
/// same is believed after a while only: another node publishes it a beat later.
async fn applied(daemon: &Daemon, group: &str) -> Result<GroupLine> {
    let mut differing = 0;
    loop {
        let line = status(daemon).await?.groups.remove(group).unwrap_or_default();
        let serves = line.held.as_ref().is_none_or(|held| held.stage == Stage::Active);
        if line.wish.is_none() && serves {
            if line.drift.is_none() || differing >= LOOKS_AT_DRIFT {
                return Ok(line);
            }
            differing += 1;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Nobody waits for the move any more, so it shall not happen any more. What has begun goes on.
async fn given_up(daemon: &Daemon, group: &str, id: i64, watched: &Watched) -> Result<Answer> {
    if let Some(so_far) = watched.so_far(group) {
        return Ok(Answer::bad(format!(
            "{so_far} within {MOVE_TIMEOUT:?}: see `leasehold why {group}`"
        )));
    }
    let withdrawn = withdraw(daemon, group, Some(id)).await?;
    Ok(Answer::bad(format!(
        "{group} did not move within {MOVE_TIMEOUT:?}: {}",
        withdrawn.message
    )))
}

fn told(group: &str, fate: Fate, wanted: Option<&str>) -> Answer {
    let why = match fate {
        Fate::Moved(holder) => return arrived(group, &holder, wanted),
        Fate::Lost { lost, serves } => {
            let lost = lost.sentence(group);
            format!("{lost}: {serves} serves it now; see `leasehold history {group}`")
        }
        Fate::Refused(why) => format!("refused: {why}"),
        Fate::Withdrawn => format!("{group} was not moved: the wish was withdrawn"),
    };
    Answer::bad(why)
}

/// The node that was named may have failed to start it.
fn arrived(group: &str, holder: &str, wanted: Option<&str>) -> Answer {
    match wanted.filter(|wanted| *wanted != holder) {
        None => Answer::good(format!("{group} moved to {holder}")),
        Some(wanted) => Answer::bad(format!(
            "{group} moved to {holder} instead of {wanted}: see `leasehold why {group}`"
        )),
    }
}

async fn fate(daemon: &Daemon, group: &str, watched: &mut Watched) -> Result<Fate> {
    loop {
        let line = status(daemon).await?.groups.remove(group).unwrap_or_default();
        let epochs = match watched.wants_history(&line) {
            true => history(daemon, group)
                .await?
                .map(|history| history.epochs)
                .unwrap_or_default(),
            false => Vec::new(),
        };
        if let Some(fate) = watched.see(&line, &epochs) {
            return Ok(fate);
        }
        if let Some(news) = watched.news(&line) {
            say(&news);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
