//! Health endpoints and metrics for everyone, and the operator's socket for the local CLI. Reads snapshots, hands
//! commands to the loop, decides nothing.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use axum::extract::{Path as Name, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot, watch};

use super::metrics;
use crate::clock;
use crate::core::event::Command;
use crate::core::fenced::Fenced;
use crate::core::status::Status;
use crate::core::time::Time;

/// The port of the endpoints, as users of Patroni know it.
const PORT: u16 = 8008;
/// Commands that wait for the loop.
const ASKED_MAX: usize = 16;
/// The loop beats at least every second; so long without a turn it hangs.
const STILL_MAX: Duration = Duration::from_secs(5);
/// How long an operator waits for the loop's reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(15);

/// A command and who waits for its reply.
#[derive(Debug)]
pub struct Asked {
    pub command: Command,
    pub reply: oneshot::Sender<Result<String, String>>,
}

/// The answer to a command.
#[derive(Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub ok: bool,
    pub message: String,
}

/// What `hold` takes.
#[derive(Debug, Serialize, Deserialize)]
pub struct HoldRequest {
    pub seconds: u64,
}

/// What `accept` takes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct AcceptRequest {
    /// Although nothing is strange.
    #[serde(default)]
    pub force: bool,
    /// Every epoch is lifted above this.
    #[serde(default)]
    pub epoch: Option<u64>,
}

/// What `switchover` takes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SwitchoverRequest {
    #[serde(default)]
    pub to: Option<String>,
}

/// What `fenced` takes.
#[derive(Debug, Serialize, Deserialize)]
pub struct FencedRequest {
    /// Who says so.
    pub by: String,
}

/// What the loop publishes after every turn.
#[derive(Clone, Debug)]
pub struct Turn {
    pub at: Time,
    pub status: Status,
}

#[derive(Clone)]
struct Shared {
    turn: watch::Receiver<Turn>,
    asked: mpsc::Sender<Asked>,
}

/// A group may be named in the query of the health endpoints: `/leader?group=mail`.
#[derive(Debug, Default, Deserialize)]
struct Wanted {
    group: Option<String>,
}

/// Where the endpoints listen: as given, else on the address that this host uses towards etcd.
///
/// # Errors
/// An address that can't be understood, with what was given.
pub fn listen_address(given: Option<&str>, etcd: &[String]) -> io::Result<SocketAddr> {
    if let Some(given) = given {
        let error =
            |why: String| io::Error::new(io::ErrorKind::InvalidInput, format!("LEASEHOLD_LISTEN={given}: {why}"));
        if let Ok(address) = given.parse::<IpAddr>() {
            return Ok(SocketAddr::new(address, PORT));
        }
        return given
            .parse()
            .map_err(|why| error(format!("{why}; write ADDRESS or ADDRESS:PORT")));
    }
    let towards = etcd.iter().find_map(|url| {
        let host = url.split("://").nth(1)?.trim_end_matches('/');
        let target = host.to_socket_addrs().ok()?.next()?;
        let socket = UdpSocket::bind(if target.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" }).ok()?;
        // Connecting a datagram socket sends nothing: it only asks the kernel which address it would use.
        socket.connect(target).ok()?;
        socket.local_addr().ok().map(|local| local.ip())
    });
    let address = towards.unwrap_or(IpAddr::from([127, 0, 0, 1]));
    Ok(SocketAddr::new(address, PORT))
}

/// Starts both servers.
///
/// # Errors
/// An address or socket that can't be listened on.
pub async fn serve(
    listen: SocketAddr,
    socket: &Path,
    turn: watch::Receiver<Turn>,
) -> io::Result<mpsc::Receiver<Asked>> {
    let (asked, commands) = mpsc::channel(ASKED_MAX);
    let shared = Shared { turn, asked };
    let open = TcpListener::bind(listen).await.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("health endpoints on {listen}: {error}; set LEASEHOLD_LISTEN"),
        )
    })?;
    // A socket left behind by an earlier sidecar; the host-wide lock says that it is dead.
    let _ = std::fs::remove_file(socket);
    let local = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    let public = health().with_state(shared.clone());
    let operator = health().merge(verbs()).with_state(shared);
    tokio::spawn(async move { axum::serve(open, public).await });
    tokio::spawn(async move { axum::serve(local, operator).await });
    Ok(commands)
}

fn health() -> Router<Shared> {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/health", get(readyz))
        .route("/leader", get(leader))
        .route("/standby", get(standby))
        .route("/metrics", get(metrics_text))
        .route("/v1/status", get(status))
}

fn verbs() -> Router<Shared> {
    Router::new()
        .route("/v1/hold", post(hold))
        .route("/v1/accept", post(accept))
        .route("/v1/groups/{group}/switchover", post(switchover))
        .route("/v1/groups/{group}/fenced", post(fenced_group))
        .route("/v1/nodes/{node}/fenced", post(fenced_node))
}

async fn livez(State(shared): State<Shared>) -> Response {
    let still = clock::now().since(shared.turn.borrow().at);
    if still < STILL_MAX {
        verdict(true, "alive")
    } else {
        verdict(false, &format!("the loop has not turned for {} ms", still.as_millis()))
    }
}

async fn readyz(State(shared): State<Shared>, Query(wanted): Query<Wanted>) -> Response {
    match shared.turn.borrow().status.ready(wanted.group.as_deref()) {
        Ok(()) => verdict(true, "ready"),
        Err(why) => verdict(false, &why),
    }
}

async fn leader(State(shared): State<Shared>, Query(wanted): Query<Wanted>) -> Response {
    let leads = shared.turn.borrow().status.leads(wanted.group.as_deref());
    verdict(leads, if leads { "leader" } else { "not the leader" })
}

async fn standby(State(shared): State<Shared>, Query(wanted): Query<Wanted>) -> Response {
    let status = &shared.turn.borrow().status;
    let group = wanted.group.as_deref();
    if status.holds(group) {
        return verdict(false, "holds the group");
    }
    match status.ready(group) {
        Ok(()) => verdict(true, "standby"),
        Err(why) => verdict(false, &why),
    }
}

async fn metrics_text(State(shared): State<Shared>) -> Response {
    match metrics::encode(&shared.turn.borrow().status) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn status(State(shared): State<Shared>) -> Json<Status> {
    Json(shared.turn.borrow().status.clone())
}

async fn hold(State(shared): State<Shared>, Json(wanted): Json<HoldRequest>) -> Response {
    let length = Duration::from_secs(wanted.seconds);
    ask(&shared, Command::Hold { length }).await
}

async fn accept(State(shared): State<Shared>, wanted: Option<Json<AcceptRequest>>) -> Response {
    let AcceptRequest { force, epoch } = wanted.map(|Json(wanted)| wanted).unwrap_or_default();
    ask(&shared, Command::Accept { force, epoch }).await
}

async fn switchover(
    State(shared): State<Shared>,
    Name(group): Name<String>,
    Json(wanted): Json<SwitchoverRequest>,
) -> Response {
    ask(&shared, Command::Switchover { group, to: wanted.to }).await
}

async fn fenced_group(
    State(shared): State<Shared>,
    Name(group): Name<String>,
    Json(wanted): Json<FencedRequest>,
) -> Response {
    fenced(&shared, Fenced::Group(group), &wanted.by).await
}

async fn fenced_node(
    State(shared): State<Shared>,
    Name(node): Name<String>,
    Json(wanted): Json<FencedRequest>,
) -> Response {
    fenced(&shared, Fenced::Node(node), &wanted.by).await
}

async fn fenced(shared: &Shared, what: Fenced, by: &str) -> Response {
    let by = format!("{by} at {}", clock::wall());
    ask(shared, Command::Fenced { what, by }).await
}

async fn ask(shared: &Shared, command: Command) -> Response {
    let (reply, answer) = oneshot::channel();
    let result = match shared.asked.try_send(Asked { command, reply }) {
        Err(_) => Err("too many commands wait: try again".to_owned()),
        Ok(()) => match tokio::time::timeout(REPLY_TIMEOUT, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err("the sidecar is ending".to_owned()),
            Err(_) => Err(format!("no reply within {REPLY_TIMEOUT:?}: see `leasehold status`")),
        },
    };
    let status = if result.is_ok() {
        StatusCode::OK
    } else {
        StatusCode::CONFLICT
    };
    let ok = result.is_ok();
    let message = result.unwrap_or_else(|why| why);
    (status, Json(Outcome { ok, message })).into_response()
}

fn verdict(good: bool, text: &str) -> Response {
    let status = if good {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, format!("{text}\n")).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::core::status::{GroupLine, HeldLine};

    fn status(stage: Option<&str>, unready: &str) -> Status {
        let held = stage.map(|stage| HeldLine {
            stage: stage.to_owned(),
            ..HeldLine::default()
        });
        let line = GroupLine {
            held,
            unready: unready.to_owned(),
            ..GroupLine::default()
        };
        Status {
            member: "joined".to_owned(),
            groups: [("mail".to_owned(), line)].into(),
            ..Status::default()
        }
    }

    async fn codes(at: Time, status: Status, paths: &[&str]) -> Vec<String> {
        let (asked, _commands) = mpsc::channel(ASKED_MAX);
        let (_publisher, turn) = watch::channel(Turn { at, status });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server =
            tokio::spawn(async move { axum::serve(listener, health().with_state(Shared { turn, asked })).await });
        let mut codes = Vec::new();
        for path in paths {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            codes.push(answer[9..12].to_owned());
        }
        server.abort();
        codes
    }

    const PATHS: [&str; 6] = [
        "/livez",
        "/readyz",
        "/health",
        "/leader",
        "/standby",
        "/leader?group=other",
    ];

    #[tokio::test]
    async fn the_codes_tell_leader_standby_and_unready_apart() {
        let now = clock::now();
        let leader = codes(now, status(Some("active"), ""), &PATHS).await;
        assert_eq!(leader, ["200", "200", "200", "200", "503", "503"]);
        let starting = codes(now, status(Some("starting"), ""), &PATHS).await;
        assert_eq!(starting, ["200", "200", "200", "503", "503", "503"]);
        let standby = codes(now, status(None, ""), &PATHS).await;
        assert_eq!(standby, ["200", "200", "200", "503", "200", "503"]);
        let mut stuck = status(Some("stopping"), "");
        stuck
            .groups
            .values_mut()
            .for_each(|line| line.stuck = Some("stuck on a".to_owned()));
        assert_eq!(
            codes(now, stuck, &PATHS).await,
            ["200", "503", "503", "503", "503", "503"]
        );
        let unready = codes(now, status(None, "no image"), &PATHS).await;
        assert_eq!(unready, ["200", "503", "503", "503", "503", "503"]);
    }

    #[tokio::test]
    async fn a_loop_that_hangs_is_not_alive_and_every_read_is_there() {
        let long_ago = clock::now().minus(Duration::from_secs(6));
        let paths = ["/livez", "/metrics", "/v1/status", "/v1/accept"];
        assert_eq!(
            codes(long_ago, status(None, ""), &paths).await,
            ["503", "200", "200", "404"]
        );
    }
}
