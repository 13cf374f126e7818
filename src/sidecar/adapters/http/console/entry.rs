//! The way into the console: a session that begins with a token, a client certificate, or a tool's `Authorization`. Whoever
//! brings none of them is asked for a token.

use axum::Form;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Extension, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use maud::html;
use serde::Deserialize;

use super::session::{LIFE, NoSession, Sessions};
use super::{Visitor, bare, refusal};
use crate::adapters::http::access::{Access, Caller, Denied, digest};
use crate::adapters::http::auth::{Call, Door, Proof, bearer};
use crate::adapters::http::forgery::{Hosts, is_of_https, judge_form};
use crate::adapters::http::limits::Tries;
use crate::adapters::http::problem::{Cause, Problem};
use crate::adapters::http::serve::Peer;
use crate::adapters::http::tls::Shown;

/// A longer one is no token.
const TOKEN_MAX: usize = 512;
/// Where a page may send its visitor after the login.
const NEXT_MAX: usize = 300;

/// Who is let into the console.
#[derive(Clone, Debug)]
pub(in crate::adapters::http) struct Gate {
    door: Door,
    hosts: Hosts,
    sessions: Sessions,
    tries: Tries,
    cookie: String,
}

impl Gate {
    /// `node`: whose console it is. A browser gives a cookie to every port of an address, so each node has a name of its own for it.
    pub(in crate::adapters::http) fn new(access: &Access, hosts: Hosts, node: &str) -> Self {
        let whose: String = super::session::hex(&digest(node)[..4]);
        Self {
            door: Door::new(access),
            hosts,
            sessions: Sessions::new(),
            tries: Tries::new(),
            cookie: format!("leasehold-{whose}"),
        }
    }

    /// Who sends this; each time anew, so that a token that was taken back ends its sessions.
    async fn visitor(&self, headers: &HeaderMap, shown: Option<Shown>) -> Result<Visitor, Denied> {
        let of = |token, shown| self.door.caller(Proof { token, shown });
        // A tool's; it acts by `/v1`. What else a browser may send by itself there counts for nothing.
        if let Some(token) = tools_token(headers) {
            let caller = of(Some(digest(token)), None).await?;
            return Ok(Visitor::reading(caller));
        }
        if let Some(id) = self.cookie_of(headers)
            && let Some(token) = self.sessions.token(&id)
        {
            match of(Some(token), None).await {
                Ok(caller) => {
                    let seal = self.sessions.seal("session", &id);
                    let is_session = true;
                    return Ok(Visitor {
                        caller,
                        seal,
                        is_session,
                    });
                }
                Err(Denied::Unknown) => self.sessions.end(&id),
                Err(denied @ (Denied::Closed | Denied::Broken(_))) => return Err(denied),
            }
        }
        let caller = of(None, shown).await?;
        let seal = self.sessions.seal("certificate", &caller.name);
        let is_session = false;
        Ok(Visitor {
            caller,
            seal,
            is_session,
        })
    }

    /// The session that a browser names.
    fn cookie_of(&self, headers: &HeaderMap) -> Option<String> {
        let lines = headers.get_all(header::COOKIE).into_iter();
        let mut pairs = lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        let (_, id) = pairs.find(|(name, _)| *name == self.cookie)?;
        Some(id.to_owned())
    }

    /// An empty id takes it away.
    fn set_cookie(&self, id: &str, is_private: bool) -> Option<HeaderValue> {
        let name = &self.cookie;
        let age = if id.is_empty() { 0 } else { LIFE.as_secs() };
        let secure = if is_private { "; Secure" } else { "" };
        let text = format!("{name}={id}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
        text.parse().ok()
    }
}

/// Lets in who is known, and sends everybody else to the login.
pub(super) async fn enter(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let call = Call::of(&request);
    let headers = request.headers().clone();
    let shown = request.extensions().get::<Peer>().and_then(|peer| peer.shown.clone());
    let (who, answer) = match gate.visitor(&headers, shown).await {
        Ok(visitor) => {
            let who = visitor.caller.name.clone();
            request.extensions_mut().insert(visitor);
            (who, next.run(request).await)
        }
        // A tool's, which reads JSON.
        Err(denied @ Denied::Unknown) if tools_token(&headers).is_some() => {
            ("unknown".to_owned(), Problem::from(denied).into_response())
        }
        Err(Denied::Unknown) => {
            let place = if request.method() == Method::GET {
                request.uri().to_string()
            } else {
                "/".to_owned()
            };
            return see_other(&format!("/login?next={}", escaped(&place)));
        }
        Err(denied) => ("unknown".to_owned(), refusal(denied.into())),
    };
    gate.door.note(&call, &who, &answer);
    answer
}

fn tools_token(headers: &HeaderMap) -> Option<&str> {
    bearer(headers.get(header::AUTHORIZATION)?.to_str().ok()?)
}

/// Every form, that of the login too, comes from a page of this node.
pub(super) async fn guard(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let call = Call::of(&request);
    match judge_form(&request, &gate.hosts) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            let answer = refusal(problem);
            gate.door.note(&call, "unknown", &answer);
            answer
        }
    }
}

/// Where to go after the login.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Afterwards {
    #[serde(default)]
    next: String,
}

pub(super) async fn ask_for_token(
    Extension(gate): Extension<Gate>,
    to: Result<Query<Afterwards>, QueryRejection>,
) -> Response {
    let Query(Afterwards { next }) = to.unwrap_or_default();
    // Nobody could log in: say what to do.
    match gate
        .door
        .caller(Proof {
            token: Some([0; 32]),
            shown: None,
        })
        .await
    {
        Err(denied @ (Denied::Closed | Denied::Broken(_))) => refusal(denied.into()),
        Ok(_) | Err(Denied::Unknown) => form(StatusCode::OK, &next, ""),
    }
}

#[derive(Deserialize)]
pub(super) struct Given {
    #[serde(default)]
    token: String,
    #[serde(default)]
    next: String,
}

pub(super) async fn log_in(
    Extension(gate): Extension<Gate>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
    given: Result<Form<Given>, FormRejection>,
) -> Response {
    let Extension(peer) = peer.unwrap_or_default();
    let Ok(Form(Given { token, next })) = given else {
        return refusal(Problem::malformed("the form does not fit: open the page again"));
    };
    let call = Call::named(peer.from, "POST /login");
    let answer = match begin(&gate, &peer, token.trim()).await {
        Ok((caller, id)) => {
            let from = peer.from.map_or_else(String::new, |from| from.to_string());
            tracing::info!(
                code = "console_opened",
                by = caller.name,
                role = caller.role.word(),
                from,
                "somebody has logged in at the console"
            );
            // Nobody uses the one before any more.
            if let Some(before) = gate.cookie_of(&headers) {
                gate.sessions.end(&before);
            }
            let mut answer = see_other(local(&next));
            let cookie = gate.set_cookie(&id, peer.is_private || is_of_https(&headers));
            answer
                .headers_mut()
                .extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
            answer
        }
        Err(problem) => {
            let status = StatusCode::from_u16(problem.status()).unwrap_or(StatusCode::FORBIDDEN);
            let mut answer = form(status, &next, problem.message());
            answer.extensions_mut().insert(problem.because());
            answer
        }
    };
    gate.door.note(&call, "unknown", &answer);
    answer
}

/// The session of a token that is known.
async fn begin(gate: &Gate, peer: &Peer, token: &str) -> Result<(Caller, String), Problem> {
    if !gate.tries.admits(peer.from) {
        let message = "too many tries from your address: wait some seconds";
        return Err(Problem::new(Cause::TooManyActs, message));
    }
    if token.is_empty() || token.len() > TOKEN_MAX {
        return Err(Problem::new(Cause::Unauthenticated, "this is no token"));
    }
    let token = digest(token);
    let caller = gate
        .door
        .caller(Proof {
            token: Some(token),
            shown: None,
        })
        .await;
    let caller = caller.map_err(|denied| match denied {
        Denied::Unknown => Problem::new(
            Cause::Unauthenticated,
            "nobody has this token: see the file that LEASEHOLD_TOKENS names",
        ),
        Denied::Closed | Denied::Broken(_) => denied.into(),
    })?;
    let id = gate.sessions.begin(token).map_err(|why| match why {
        NoSession::Full => Problem::new(
            Cause::TooManyActs,
            "too many are logged in: log out elsewhere, or ask another node",
        ),
        NoSession::NoRandomness => Problem::new(Cause::Forbidden, "the kernel has no randomness: no session can begin"),
    })?;
    Ok((caller, id))
}

pub(super) async fn log_out(
    Extension(gate): Extension<Gate>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
    given: Result<Form<super::Sealed>, FormRejection>,
) -> Response {
    let sealed = given.ok().is_some_and(|Form(form)| visitor.is_sealed(&form.seal));
    if !sealed {
        return refusal(super::not_sealed());
    }
    if let Some(id) = gate.cookie_of(&headers) {
        gate.sessions.end(&id);
    }
    let mut answer = see_other("/login");
    let gone = gate.set_cookie("", is_of_https(&headers));
    answer
        .headers_mut()
        .extend(gone.map(|cookie| (header::SET_COOKIE, cookie)));
    answer
}

fn form(status: StatusCode, next: &str, fault: &str) -> Response {
    let body = html! {
        main class="narrow" {
            h1 { "Leasehold" }
            form method="post" action="/login" class="card" {
                @if !fault.is_empty() { p.fault role="alert" id="fault" { (fault) } }
                label for="token" { "Token" }
                input id="token" name="token" type="password" autocomplete="current-password" required autofocus
                    aria-describedby=[(!fault.is_empty()).then_some("fault")];
                input type="hidden" name="next" value=(local(next));
                button type="submit" { "Log in" }
                p.quiet { "A token of this cluster: one of those in the file that " code { "LEASEHOLD_TOKENS" } " names." }
            }
        }
    };
    (status, bare("Log in", &body)).into_response()
}

pub(super) fn see_other(to: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, to.to_owned())]).into_response()
}

/// A place of this console, whatever was asked for.
fn local(next: &str) -> &str {
    let is_place = next.len() <= NEXT_MAX
        && next.starts_with('/')
        && !next.starts_with("//")
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_place && !next.starts_with("/login") {
        next
    } else {
        "/"
    }
}

/// As the value of a query.
pub(super) fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            other => {
                out.push('%');
                out.push_str(&super::session::hex(&[other]).to_ascii_uppercase());
            }
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_login_nobody_is_sent_to_another_site() {
        for (next, place) in [
            ("/group/mail", "/group/mail"),
            ("/group/mail/switchover?to=b", "/group/mail/switchover?to=b"),
            ("", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
            ("/login?next=/login", "/"),
        ] {
            assert_eq!(local(next), place, "{next}");
        }
        assert_eq!(escaped("/a?to=b&x"), "/a%3Fto%3Db%26x");
    }
}
