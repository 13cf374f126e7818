//! Who comes in over the network: a proof is read from the request, the file of tokens says whose it is. Whoever is refused
//! is told why, and stands in the log.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::access::{Access, Caller, Denied};
use super::limits::Rate;
use super::problem::{Because, Cause, Problem};
use super::serve::Peer;
use super::tls::Shown;
use leasehold_base::clock;

/// For the file of tokens, which may lie on a file system that hangs.
const FILE_TIMEOUT: Duration = Duration::from_secs(2);
/// Threads that may wait for it at a time.
const READERS_MAX: usize = 4;
/// What a log line shows of a path.
const PATH_MAX: usize = 100;

/// How the token is written in the header `Authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// `Bearer TOKEN`.
    Bearer,
    /// `Basic`, of any name and the token as its password: what a browser asks its user for by itself. A browser sends it
    /// along with whatever another site makes it ask for, so it opens nothing that acts.
    Basic,
}

/// A door of the network, and how it is opened.
#[derive(Clone, Debug)]
pub(super) struct Door {
    access: Access,
    way: Way,
    readers: Arc<Semaphore>,
    lines: Rate,
}

impl Door {
    /// Of `/v1`, and of what is only looked at.
    pub(super) fn of_both(access: &Access) -> (Self, Self) {
        let tools = Self {
            access: access.clone(),
            way: Way::Bearer,
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            lines: Rate::of_lines(),
        };
        let browsers = Self {
            way: Way::Basic,
            ..tools.clone()
        };
        (tools, browsers)
    }

    /// Whose proof this is.
    async fn caller(&self, Proof { token, shown }: Proof) -> Result<Caller, Denied> {
        if self.access.is_closed() {
            return Err(Denied::Closed);
        }
        if token.is_none() && shown.is_none() {
            return Err(Denied::Unknown);
        }
        let late = || Denied::Broken(format!("it can't be read within {FILE_TIMEOUT:?}"));
        let (access, readers) = (self.access.clone(), Arc::clone(&self.readers));
        let asked = async move {
            let permit = readers.acquire_owned().await.ok();
            let read = tokio::task::spawn_blocking(move || {
                let caller = access.caller(token.as_deref(), shown.as_ref(), clock::wall_seconds());
                drop(permit);
                caller
            });
            read.await
        };
        match timeout(FILE_TIMEOUT, asked).await {
            Ok(Ok(caller)) => caller,
            Ok(Err(_)) | Err(_) => Err(late()),
        }
    }

    fn refuse(&self, denied: Denied) -> Response {
        match denied {
            Denied::Closed => Problem::new(
                Cause::Forbidden,
                "nobody may do this over the network: name a file of tokens in LEASEHOLD_TOKENS, or use the CLI on the host",
            )
            .into_response(),
            Denied::Unknown => {
                let mut answer = Problem::new(Cause::Unauthenticated, self.way.remedy()).into_response();
                let challenge = header::HeaderValue::from_static(self.way.challenge());
                answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                answer
            }
            Denied::Broken(why) => Problem::new(
                Cause::Forbidden,
                "the file of tokens can't be used: see the sidecar's log",
            )
            .with_aside(format!("the file of tokens can't be used: {why}"))
            .into_response(),
        }
    }
}

impl Way {
    /// The token in a header; none where it says something else. The scheme's name may be written in any case.
    fn token(self, header: &str) -> Option<Cow<'_, str>> {
        let (scheme, rest) = header.split_once(' ')?;
        match self {
            Self::Bearer => scheme.eq_ignore_ascii_case("Bearer").then(|| rest.trim().into()),
            Self::Basic => {
                let rest = scheme.eq_ignore_ascii_case("Basic").then_some(rest)?;
                let both = STANDARD.decode(rest.trim()).ok()?;
                let both = String::from_utf8(both).ok()?;
                both.split_once(':').map(|(_, token)| token.to_owned().into())
            }
        }
    }

    fn challenge(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Basic => "Basic realm=\"Leasehold: any name, and a token as the password\", charset=\"UTF-8\"",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Self::Bearer => {
                "a known token is needed, `Authorization: Bearer TOKEN`, or a client certificate that the file of tokens names"
            }
            Self::Basic => {
                "a known token is needed, as the password of any name, or a client certificate that the file of tokens names"
            }
        }
    }
}

/// What a request brings to show who sends it.
struct Proof {
    token: Option<String>,
    shown: Option<Shown>,
}

impl Proof {
    fn of(request: &Request, way: Way) -> Self {
        // Whatever stands in the header counts, also what is no token: a certificate must not stand in for a typing error.
        let given = request.headers().get(header::AUTHORIZATION);
        let token = given.map(|value| value.to_str().ok().and_then(|value| way.token(value)));
        Self {
            token: token.map(|token| token.unwrap_or_default().into_owned()),
            shown: request.extensions().get::<Peer>().and_then(|peer| peer.shown.clone()),
        }
    }
}

/// What a line of the log says of a call: never its query or its headers, where a token may stand.
struct Call {
    from: Option<IpAddr>,
    what: String,
    /// A browser that does not know yet what it will be asked for.
    is_first: bool,
}

impl Call {
    fn of(request: &Request, way: Way) -> Self {
        let path: String = request.uri().path().chars().take(PATH_MAX).collect();
        Self {
            from: request.extensions().get::<Peer>().and_then(|peer| peer.from),
            what: format!("{} {path}", request.method()),
            is_first: way == Way::Basic && !request.headers().contains_key(header::AUTHORIZATION),
        }
    }
}

/// Lets callers with a known token or certificate through, and tells the handlers who they are.
pub(super) async fn open(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let (call, proof) = (Call::of(&request, door.way), Proof::of(&request, door.way));
    let (who, answer) = match door.caller(proof).await {
        Ok(caller) => {
            let who = caller.name.clone();
            request.extensions_mut().insert(caller);
            (who, next.run(request).await)
        }
        Err(denied) => ("unknown".to_owned(), door.refuse(denied)),
    };
    let is_refused = matches!(
        answer.status(),
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::TOO_MANY_REQUESTS
    );
    let first = call.is_first && answer.status() == StatusCode::UNAUTHORIZED;
    if let Some(Because(why)) = answer.extensions().get().filter(|_| is_refused && !first)
        && let Some(more) = door.lines.admits()
    {
        let from = call.from.map_or_else(String::new, |from| from.to_string());
        tracing::warn!(
            code = "call_refused",
            who,
            from,
            what = call.what,
            more,
            "refused: {why}"
        );
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_what_follows_the_name() {
        let basic = |both: &str| format!("Basic {}", STANDARD.encode(both));
        for (way, header, token) in [
            (Way::Bearer, "Bearer  abc ".to_owned(), Some("abc")),
            (Way::Bearer, "bearer abc".to_owned(), Some("abc")),
            (Way::Bearer, "BEARER abc".to_owned(), Some("abc")),
            (Way::Bearer, "Bearerabc".to_owned(), None),
            (Way::Bearer, basic("ann:abc"), None),
            (Way::Basic, basic("ann:abc"), Some("abc")),
            (Way::Basic, basic("ann:abc").replace("Basic", "basic"), Some("abc")),
            (Way::Basic, basic(":a:b"), Some("a:b")),
            (Way::Basic, basic("abc"), None),
            (Way::Basic, "Basic %%%".to_owned(), None),
            (Way::Basic, "Bearer abc".to_owned(), None),
        ] {
            assert_eq!(way.token(&header).as_deref(), token, "{way:?} {header}");
        }
    }
}
