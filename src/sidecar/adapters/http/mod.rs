//! Health endpoints and metrics for everyone, and `/v1` for operators: on the local socket for the CLI, over the network
//! for whoever brings a token or a certificate. Reads snapshots, hands commands to the loop, decides nothing.

mod access;
mod acting;
mod acts;
mod answer;
mod audit;
mod auth;
mod board;
mod config;
mod console;
mod forgery;
mod health;
mod limits;
mod open;
mod placement;
mod problem;
mod reading;
mod serve;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tls;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Extension, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot, watch};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

pub use access::{Access, Role};
pub use open::{address_towards, listen_address};
pub use tls::TlsFiles;

use self::access::Caller;
use self::auth::Door;
use self::board::Board;
use self::console::Gate;
use self::forgery::Hosts;
use self::limits::Rate;
use self::open::{PACE, bind_local, keep_local, keep_open, look_at_tokens};
use self::problem::{Cause, Problem};
use self::serve::Intake;
use self::tls::LOOK_EVERY;
use crate::decision_log::DecisionLog;
use leasehold_api::USER_HEADER;
use leasehold_base::time::Time;
use leasehold_core::event::{self, Done, Event};
use leasehold_core::history::{AuditEntry, History};
use leasehold_core::requests::exported::Exported;
use leasehold_core::requests::refusal::Refusal;
use leasehold_core::snapshot::status::Status;

/// Commands that wait for the loop.
const ASKED_MAX: usize = 16;
/// How long an operator waits for the loop's reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(15);
/// From a request's head to the end of its answer; longer than the loop is waited for.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// A name is no sentence.
const USER_MAX: usize = 64;
/// This very program, also where its file was replaced since.
const OWN_PROGRAM: &str = "/proc/self/exe";
/// No request has more to say.
const BODY_MAX: usize = 16 * 1024;

/// What an operator asks for, and who waits for the reply.
#[derive(Debug)]
pub struct PendingRequest {
    pub request: event::Request,
    pub reply: oneshot::Sender<Result<Done, Refusal>>,
}

/// What the loop publishes after every turn.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub at: Time,
    pub status: Status,
    /// The last decisions.
    pub recent: Arc<DecisionLog>,
}

/// What a compose file says for the whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileConfig {
    pub ttl: Duration,
    /// How long a holder may run on without etcd.
    pub promises: Option<Duration>,
}

/// What lies behind the endpoints beside the loop: where acts are kept, the history and the compose file.
pub trait Archive: Send + Sync {
    /// Never waits.
    fn keep(&self, act: AuditEntry);
    /// What is kept of a group; within a deadline, or why not.
    fn history<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<History, String>>;
    /// What this node's compose file says for the whole cluster as it is now; within a deadline, or why not.
    fn file_config(&self) -> BoxFuture<'_, Result<FileConfig, String>>;
    /// The cluster's own keys; within a deadline, or why not.
    fn export(&self) -> BoxFuture<'_, Result<Exported, String>>;
}

#[derive(Clone)]
struct Shared {
    turn: watch::Receiver<Snapshot>,
    asked: mpsc::Sender<PendingRequest>,
    node: String,
    rate: Rate,
    archive: Arc<dyn Archive>,
    console: console::Parts,
    /// How long a caller waits for the loop's reply.
    patience: Duration,
}

impl Shared {
    fn new(
        turn: watch::Receiver<Snapshot>,
        asked: mpsc::Sender<PendingRequest>,
        node: &str,
        archive: Arc<dyn Archive>,
    ) -> Self {
        Self {
            turn,
            asked,
            node: node.to_owned(),
            rate: Rate::of_acts(),
            archive,
            console: console::Parts::default(),
            patience: REPLY_TIMEOUT,
        }
    }
}

/// What the endpoints are opened with, as it stands in the settings.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// LEASEHOLD_LISTEN; none: on the address that this host uses towards etcd.
    pub listen: Option<String>,
    pub etcd: Vec<String>,
    /// The command line's.
    pub socket: PathBuf,
    pub access: Access,
    pub tls: Result<Option<TlsFiles>, String>,
    /// LEASEHOLD_HOSTS: names by which a proxy calls this node.
    pub hosts: Vec<String>,
    /// What says the same to this program once more: the console has it do what the command line does itself.
    pub words: Vec<OsString>,
}

/// Starts both servers. What can't be opened is told to the loop, and tried again: it ends nothing.
#[must_use]
pub fn serve(
    wanted: Endpoints,
    turn: watch::Receiver<Snapshot>,
    archive: Arc<dyn Archive>,
    inbox: mpsc::Sender<Event>,
) -> mpsc::Receiver<PendingRequest> {
    let (asked, commands) = mpsc::channel(ASKED_MAX);
    let node = turn.borrow().status.node.clone();
    let mut shared = Shared::new(turn, asked, &node, archive);
    shared.console.etcd = wanted.etcd.as_slice().into();
    shared.console.program = Arc::new(console::Program {
        file: PathBuf::from(OWN_PROGRAM),
        words: wanted.words.clone(),
    });
    let board = Arc::new(Board::new(inbox));
    let local = bind_local(&wanted.socket);
    let operators = on_this_host(shared.clone());
    tokio::spawn(keep_local(wanted.socket.clone(), local, operators, Arc::clone(&board)));
    let told = Arc::clone(&board);
    // A thread of its own: whatever callers make it do, the loop has the other one.
    let started = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| {
            let body = move || runtime.block_on(over_the_network(wanted, shared, told));
            std::thread::Builder::new().name("endpoints".to_owned()).spawn(body)
        });
    if let Err(error) = started {
        tokio::spawn(async move { board.listen(Err(format!("no thread for them: {error}"))).await });
    }
    commands
}

async fn over_the_network(wanted: Endpoints, shared: Shared, board: Arc<Board>) {
    let own = [
        shared.node.clone(),
        rustix::system::uname().nodename().to_string_lossy().into_owned(),
    ];
    let hosts = Hosts::new(own, &wanted.hosts);
    let router = network(shared, &wanted.access, hosts);
    tokio::spawn(look_at_tokens(wanted.access, PACE, Arc::clone(&board)));
    let tls = match wanted.tls {
        Ok(files) => files.map(|files| tls::keep_new(files, LOOK_EVERY, Arc::clone(&board))),
        Err(why) => {
            // Never without TLS where it was asked for.
            board.listen(Err(why)).await;
            return std::future::pending().await;
        }
    };
    let finder = Arc::new(move || listen_address(wanted.listen.as_deref(), &wanted.etcd));
    match keep_open(finder, PACE, Intake::new(router, tls), board).await {}
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Leasehold",
        description = "One container on exactly one of several Docker hosts. Reading takes the role viewer, acting operator or admin.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    modifiers(&SecuritySchemes),
    security(("token" = []), ("certificate" = [])),
    tags(
        (name = "reading", description = "For viewers"),
        (name = "acting", description = "For operators and admins; every act is idempotent and logged")
    )
)]
struct Document;

/// How callers show who they are.
struct SecuritySchemes;

impl Modify for SecuritySchemes {
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
        .merge(placement::routes())
        .merge(config::routes())
        .split_for_parts()
}

/// The same, with what every act takes and may be answered with.
fn described() -> (Router<Shared>, utoipa::openapi::OpenApi) {
    let (routes, mut document) = v1();
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.post, &mut item.delete].into_iter().flatten() {
            acting::describe(operation);
        }
    }
    (routes, document)
}

/// The description of `/v1`, as it is served at `/v1/openapi.json`.
///
/// # Errors
/// Never in practice: writing into a string.
pub fn openapi() -> serde_json::Result<String> {
    serde_json::to_string_pretty(&described().1)
}

fn api() -> Router<Shared> {
    let (routes, document) = described();
    routes.route("/v1/openapi.json", get(move || async move { Json(document) }))
}

/// For everybody who can reach the address: health is open, the rest takes a token.
fn network(shared: Shared, access: &Access, hosts: Hosts) -> Router {
    let gate = Gate::new(access, hosts.clone(), &shared.node);
    let api = api().layer(from_fn_with_state(hosts, forgery::guard));
    let api = api.layer(from_fn_with_state(Door::new(access), auth::open));
    let console = console::routes(&gate);
    bounded(health::routes().merge(api).merge(console)).with_state(shared)
}

/// For whoever may open the socket, which is root.
fn on_this_host(shared: Shared) -> Router {
    let root = Caller {
        name: "root".to_owned(),
        role: Role::Admin,
    };
    let api = api().layer(from_fn(forgery::guard_local));
    let api = api.layer(from_fn(name_the_user)).layer(Extension(root));
    let console = console::local_routes().layer(from_fn(forgery::guard_local));
    bounded(health::routes().merge(api).merge(console)).with_state(shared)
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
    let nothing = || async { Problem::new(Cause::NoEndpoint, "no such endpoint: see /v1/openapi.json") };
    let other = || async { Problem::new(Cause::NoMethod, "not with this method: see /v1/openapi.json") };
    routes
        .fallback(nothing)
        .method_not_allowed_fallback(other)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(in_time))
        .layer(map_response(for_its_caller_alone))
}

/// No answer is kept by a cache, taken for another kind of document, or shown in another site's page.
async fn for_its_caller_alone(mut answer: Response) -> Response {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(answer) => answer,
        Err(_) => Problem::new(Cause::TooSlow, "the request took too long").into_response(),
    }
}

#[cfg(test)]
mod forgery_tests;
#[cfg(test)]
mod problem_tests;
#[cfg(test)]
mod tests;
