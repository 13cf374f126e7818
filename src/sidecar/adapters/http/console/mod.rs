//! The console at `/`: what an operator works with. Rendered here, so that it works without a script; one small script of our
//! own keeps it fresh. It shows what `leasehold status`, `why` and `history` say, in the same sentences, and acts by the same
//! functions as `/v1`.
//!
//! - [`entry`], [`session`]: who is let in
//! - [`overview`], [`group`]: what is shown; [`cell`], [`advice`], [`timeline`], [`members`], [`picture`]: parts
//!   of it
//! - [`verb`], [`offer`]: what can be asked now; [`admin`]: what takes an admin; [`asking`]: the question before an act; [`progress`]: what becomes of it;
//!   [`job`]: what the command line does itself
//! - [`past`]: the history, as far as it was read
//! - [`look`]: words, colours and icons that all pages share

mod admin;
mod advice;
mod asking;
mod cell;
mod entry;
mod group;
mod job;
mod look;
mod members;
mod offer;
mod overview;
mod past;
mod picture;
mod progress;
mod session;
mod settings;
mod timeline;
mod verb;

use std::sync::Arc;

use axum::Router;
use axum::extract::Extension;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use maud::{DOCTYPE, Markup, html};
use serde::Deserialize;

pub(super) use self::entry::Gate;
pub(super) use self::job::Program;
use super::Shared;
use super::access::{Caller, Role};
use super::problem::{Cause, Problem};
use leasehold_core::snapshot::status::Status;

/// Seconds until a browser without a script asks again.
const AGAIN_S: u32 = 5;
/// Nothing but our own two files is loaded, no form goes elsewhere, nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
const STYLE: &str = include_str!("console.css");
const SCRIPT: &str = include_str!("console.js");
const ICON: &str = include_str!("console.svg");

/// Who looks at the console.
#[derive(Clone, Debug)]
struct Visitor {
    caller: Caller,
    /// What each of its forms carries; none: it can only read.
    seal: Option<String>,
    /// It can be logged out.
    is_session: bool,
}

impl Visitor {
    /// One that may not act here, whatever its role.
    fn reading(caller: Caller) -> Self {
        Self {
            caller,
            seal: None,
            is_session: false,
        }
    }

    /// It is offered what can be done.
    fn acts(&self) -> bool {
        self.seal.is_some() && self.caller.role >= Role::Operator
    }

    /// Whether a form came from a page that was shown to this visitor.
    fn is_sealed(&self, seal: &str) -> bool {
        self.seal.as_ref().is_some_and(|own| session::is_same(own, seal))
    }
}

/// What all pages share beside the status.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    /// Members of etcd that this node's compose file names.
    pub(super) etcd: Arc<[String]>,
    /// This program, for what the command line does itself.
    pub(super) program: Arc<Program>,
    past: Arc<past::Past>,
    deeds: Arc<progress::Deeds>,
    jobs: Arc<job::Jobs>,
}

/// A form without anything else.
#[derive(Debug, Deserialize)]
struct Sealed {
    #[serde(default)]
    seal: String,
}

/// Over the network: for whoever is known.
pub(super) fn routes(gate: &Gate) -> Router<Shared> {
    let inside = pages()
        .route("/logout", post(entry::log_out))
        .layer(from_fn_with_state(gate.clone(), entry::enter));
    let login = Router::new().route("/login", get(entry::ask_for_token).post(entry::log_in));
    let both = inside
        .merge(login)
        .layer(Extension(gate.clone()))
        .layer(from_fn_with_state(gate.clone(), entry::guard));
    with_files(both)
}

/// On the socket of the command line: to be read.
pub(super) fn local_routes() -> Router<Shared> {
    let root = Visitor::reading(Caller {
        name: "root".to_owned(),
        role: Role::Viewer,
    });
    with_files(pages().layer(Extension(root)))
}

fn pages() -> Router<Shared> {
    Router::new()
        .route("/", get(overview::show))
        .route("/group/{group}", get(group::show))
        .route("/group/{group}/{verb}", get(asking::ask_group).post(asking::do_group))
        .route("/node/{node}/{verb}", get(asking::ask_node).post(asking::do_node))
        .route("/act/{number}", get(progress::show))
}

/// What the pages load, which tells nothing.
fn with_files(routes: Router<Shared>) -> Router<Shared> {
    let file =
        |kind: &'static str, text: &'static str| get(move || async move { ([(header::CONTENT_TYPE, kind)], text) });
    routes
        .route("/console.css", file("text/css; charset=utf-8", STYLE))
        .route("/console.js", file("text/javascript; charset=utf-8", SCRIPT))
        .route("/console.svg", file("image/svg+xml", ICON))
        .layer(map_response(with_policy))
}

async fn with_policy(mut answer: Response) -> Response {
    let headers: [(HeaderName, &str); 2] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // Without any, a browser would say of our own forms that they come from nowhere.
        (header::REFERRER_POLICY, "same-origin"),
    ];
    for (name, value) in headers {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// A page of the console.
struct Page<'a> {
    title: String,
    status: &'a Status,
    visitor: &'a Visitor,
    /// It shows something that changes.
    is_live: bool,
    body: Markup,
}

impl IntoResponse for Page<'_> {
    fn into_response(self) -> Response {
        let Self {
            title,
            status,
            visitor,
            is_live,
            body,
        } = self;
        let health = status.overall.health;
        let main = html! {
            header class="top" {
                a.home href="/" { "Cluster " (status.cluster) }
                (look::word(look::Tone::of_health(health), health.word()))
                span.quiet { "seen from " (status.node) }
                (who(visitor))
            }
            div #lost role="alert" hidden {
                p {
                    strong { "No answer" } " from node " (status.node) " since " span data-since="" { "some time" }
                    ". What you see is as it was then."
                }
                (look::elsewhere(status))
            }
            main data-live=[is_live.then_some("2000")] { (body) }
        };
        let again = is_live.then_some(AGAIN_S);
        document(&title, again, &main).into_response()
    }
}

/// Who is logged in, and the way out.
fn who(visitor: &Visitor) -> Markup {
    let Caller { name, role } = &visitor.caller;
    html! {
        div.who {
            span { (name) " (" (role.word()) ")" }
            @if let Some(seal) = visitor.seal.as_ref().filter(|_| visitor.is_session) {
                form method="post" action="/logout" {
                    input type="hidden" name="seal" value=(seal);
                    button.plain type="submit" { "Log out" }
                }
            }
        }
    }
}

fn document(title: &str, again: Option<u32>, body: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                link rel="icon" href="/console.svg" type="image/svg+xml";
                link rel="stylesheet" href="/console.css";
                script src="/console.js" defer {}
                @if let Some(seconds) = again { noscript { meta http-equiv="refresh" content=(seconds); } }
            }
            body { (body) }
        }
    };
    Html(page.into_string())
}

/// A page of somebody who is not known.
fn bare(title: &str, body: &Markup) -> Html<String> {
    document(title, None, body)
}

/// Why something was not done, as a page.
fn refusal(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = html! {
        main.narrow {
            h1 { "Not done" }
            p.fault role="alert" { (problem.message()) }
            p { a href="/" { "To the cluster" } }
        }
    };
    let mut answer = (status, bare("Not done", &body)).into_response();
    answer.extensions_mut().insert(problem.because());
    answer
}

fn not_sealed() -> Problem {
    let message =
        "this form is not of a page that you have open now: open the page again, and see that you are logged in";
    Problem::new(Cause::Forbidden, message)
}

#[cfg(test)]
mod acting_tests;
#[cfg(test)]
mod tests;
