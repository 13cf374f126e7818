//! Health endpoints and metrics for everyone, and `/v1` for operators: on the local socket for the CLI, over the network
//! for whoever brings a token or a certificate. Reads snapshots, hands commands to the loop, decides nothing.

mod access;
mod acting;
mod answer;
mod audit;
mod config;
mod console;
mod door;
mod extent;
mod health;
mod limits;
mod reading;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Extension, Request};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot, watch};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

pub use access::{Access, Role};
pub use acting::{AcceptRequest, FencedRequest, HoldRequest, OrderRequest, PauseRequest, SwitchoverRequest};
pub use answer::Outcome;
pub use config::{Configuration, Confirmed};
pub use extent::ExtentRequest;
pub use reading::Why;
pub use tls::TlsFiles;

use self::access::Caller;
use self::answer::Refusal;
use self::door::Door;
use self::limits::{Limited, Rate};
use self::tls::{LOOK_EVERY, Peer, Tls};
use crate::core::event::Command;
use crate::core::exported::Exported;
use crate::core::history::{Act, History};
use crate::core::status::Status;
use crate::core::time::Time;
use crate::recent::Recent;

/// The port of the endpoints, as users of Patroni know it.
const PORT: u16 = 8008;
/// Commands that wait for the loop.
const ASKED_MAX: usize = 16;
/// From a request's head to the end of its answer; longer than the loop is waited for.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// Who sits at the CLI, as the environment there knows it; read on the local socket alone.
pub const USER_HEADER: &str = "leasehold-user";
/// A name is no sentence.
const USER_MAX: usize = 64;
/// No request has more to say.
const BODY_MAX: usize = 16 * 1024;

/// A command and who waits for its reply.
#[derive(Debug)]
pub struct Asked {
    pub command: Command,
    pub reply: oneshot::Sender<Result<String, String>>,
}

/// What the loop publishes after every turn.
#[derive(Clone, Debug)]
pub struct Turn {
    pub at: Time,
    pub status: Status,
    /// The last decisions.
    pub recent: Arc<Recent>,
}

/// What lies behind the endpoints beside the loop: where acts are kept, the history and the compose file.
pub trait Archive: Send + Sync {
    /// Never waits.
    fn keep(&self, act: Act);
    /// What is kept of a group; within a deadline, or why not.
    fn history<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<History, String>>;
    /// The ttl in this node's compose file as it is now; within a deadline, or why not.
    fn file_ttl_ms(&self) -> BoxFuture<'_, Result<u64, String>>;
    /// The cluster's own keys; within a deadline, or why not.
    fn export(&self) -> BoxFuture<'_, Result<Exported, String>>;
}

#[derive(Clone)]
struct Shared {
    turn: watch::Receiver<Turn>,
    asked: mpsc::Sender<Asked>,
    node: String,
    rate: Rate,
    archive: Arc<dyn Archive>,
}

impl Shared {
    fn new(turn: watch::Receiver<Turn>, asked: mpsc::Sender<Asked>, node: &str, archive: Arc<dyn Archive>) -> Self {
        Self {
            turn,
            asked,
            node: node.to_owned(),
            rate: Rate::new(),
            archive,
        }
    }
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
/// An address or socket that can't be listened on, a file of tokens that can't be used.
pub async fn serve(
    listen: SocketAddr,
    socket: &Path,
    access: Access,
    tls: Option<TlsFiles>,
    turn: watch::Receiver<Turn>,
    archive: Arc<dyn Archive>,
) -> io::Result<mpsc::Receiver<Asked>> {
    access.check()?;
    let (asked, commands) = mpsc::channel(ASKED_MAX);
    let node = turn.borrow().status.node.clone();
    let shared = Shared::new(turn, asked, &node, archive);
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
    let public = network(shared.clone(), access);
    let operator = on_this_host(shared);
    match tls {
        None => drop(tokio::spawn(
            async move { axum::serve(Limited::new(open), public).await },
        )),
        Some(files) => drop(tokio::spawn(async move {
            let public = public.into_make_service_with_connect_info::<Peer>();
            axum::serve(Limited::new(Tls::over(open, files, LOOK_EVERY)), public).await
        })),
    }
    tokio::spawn(async move { axum::serve(Limited::new(local), operator).await });
    Ok(commands)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Leasehold",
        description = "One container on exactly one of several Docker hosts. Reading takes the role viewer, acting operator or admin.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    modifiers(&Proofs),
    security(("token" = []), ("certificate" = [])),
    tags(
        (name = "reading", description = "For viewers"),
        (name = "acting", description = "For operators and admins; every act is idempotent and logged")
    )
)]
struct Document;

/// How callers show who they are.
struct Proofs;

impl Modify for Proofs {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let description = Some("A client certificate that the file of tokens names".to_owned());
        let parts = document.components.get_or_insert_default();
        parts.add_security_scheme("token", token);
        let certificate = SecurityScheme::MutualTls {
            description,
            deprecated: None,
            extensions: None,
        };
        parts.add_security_scheme("certificate", certificate);
    }
}

/// `/v1` with its description.
fn v1() -> (Router<Shared>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(reading::routes())
        .merge(acting::routes())
        .merge(extent::routes())
        .merge(config::routes())
        .split_for_parts()
}

/// The description of `/v1`, as it is served at `/v1/openapi.json`.
///
/// # Errors
/// Never in practice: writing into a string.
pub fn openapi() -> serde_json::Result<String> {
    serde_json::to_string_pretty(&v1().1)
}

fn api() -> Router<Shared> {
    let (routes, document) = v1();
    routes.route("/v1/openapi.json", get(move || async move { Json(document) }))
}

/// For everybody who can reach the address: health is open, the rest takes a token.
fn network(shared: Shared, access: Access) -> Router {
    let api = api().layer(from_fn_with_state(Door::of_tools(access.clone()), door::open));
    let console = console::routes().layer(from_fn_with_state(Door::of_browsers(access), door::open));
    bounded(health::routes().merge(api).merge(console)).with_state(shared)
}

/// For whoever may open the socket, which is root.
fn on_this_host(shared: Shared) -> Router {
    let root = Caller {
        name: "root".to_owned(),
        role: Role::Admin,
    };
    let api = api().layer(from_fn(name_the_user)).layer(Extension(root));
    bounded(health::routes().merge(api).merge(console::routes())).with_state(shared)
}

/// Whoever may open the socket is root; the CLI says who that is.
async fn name_the_user(mut request: Request, next: Next) -> Response {
    let named = request.headers().get(USER_HEADER).and_then(|value| value.to_str().ok());
    let named = named
        .filter(|name| !name.is_empty() && name.len() <= USER_MAX)
        .map(str::to_owned);
    if let (Some(name), Some(caller)) = (named, request.extensions_mut().get_mut::<Caller>()) {
        caller.name = name;
    }
    next.run(request).await
}

fn bounded(routes: Router<Shared>) -> Router<Shared> {
    let nothing = || async { Refusal::new(StatusCode::NOT_FOUND, "no such endpoint: see /v1/openapi.json") };
    let other = || async {
        Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "not with this method: see /v1/openapi.json",
        )
    };
    routes
        .fallback(nothing)
        .method_not_allowed_fallback(other)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(in_time))
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response(),
    }
}

/// An archive that keeps nothing.
#[cfg(test)]
pub(crate) struct Nowhere;

#[cfg(test)]
impl Archive for Nowhere {
    fn keep(&self, _act: Act) {}

    fn history<'a>(&'a self, _group: &'a str) -> BoxFuture<'a, Result<History, String>> {
        Box::pin(async { Ok(History::default()) })
    }

    fn file_ttl_ms(&self) -> BoxFuture<'_, Result<u64, String>> {
        Box::pin(async { Ok(10_000) })
    }

    fn export(&self) -> BoxFuture<'_, Result<Exported, String>> {
        Box::pin(async { Ok(Exported::default()) })
    }
}

#[cfg(test)]
mod tests;
