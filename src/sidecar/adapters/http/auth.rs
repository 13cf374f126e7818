//! Who comes in over the network: a proof is read from the request, the file of tokens says whose it is. Whoever is refused
//! is told why, and stands in the log.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::access::{Access, Caller, Denied, TokenDigest, digest};
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

/// The way in over the network.
#[derive(Clone, Debug)]
pub(super) struct Door {
    access: Access,
    readers: Arc<Semaphore>,
    lines: Rate,
}

impl Door {
    pub(super) fn new(access: &Access) -> Self {
        Self {
            access: access.clone(),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
            lines: Rate::of_lines(),
        }
    }

    /// Whose proof this is.
    pub(super) async fn caller(&self, Proof { token, shown }: Proof) -> Result<Caller, Denied> {
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
                let caller = access.caller(token.as_ref(), shown.as_ref(), clock::wall_seconds());
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

    /// A line of the log about a call that was refused; `who` made it, as far as that is known.
    pub(super) fn note(&self, call: &Call, who: &str, answer: &Response) {
        let is_refused = matches!(
            answer.status(),
            StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::UNSUPPORTED_MEDIA_TYPE
                | StatusCode::TOO_MANY_REQUESTS
        );
        if let Some(Because(why)) = answer.extensions().get().filter(|_| is_refused)
            && let Some(more) = self.lines.admits()
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
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Closed => Self::new(
                Cause::Forbidden,
                "nobody may do this over the network: name a file of tokens in LEASEHOLD_TOKENS, or use the CLI on the host",
            ),
            Denied::Unknown => Self::new(
                Cause::Unauthenticated,
                "a known token is needed, `Authorization: Bearer TOKEN`, or a client certificate that the file of tokens names",
            ),
            Denied::Broken(why) => Self::new(
                Cause::Forbidden,
                "the file of tokens can't be used: see the sidecar's log",
            )
            .with_aside(format!("the file of tokens can't be used: {why}")),
        }
    }
}

/// What a request brings to show who sends it.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    pub(super) token: Option<TokenDigest>,
    pub(super) shown: Option<Shown>,
}

impl Proof {
    pub(super) fn of(request: &Request) -> Self {
        // Whatever stands in the header counts, also what is no token: a certificate must not stand in for a typing error.
        let given = request.headers().get(header::AUTHORIZATION);
        let token = given.map(|value| value.to_str().ok().and_then(bearer).unwrap_or_default());
        Self {
            token: token.map(digest),
            shown: request.extensions().get::<Peer>().and_then(|peer| peer.shown.clone()),
        }
    }
}

/// The token in a header; none where it says something else. The scheme's name may be written in any case.
pub(super) fn bearer(header: &str) -> Option<&str> {
    let (scheme, rest) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| rest.trim())
}

/// What a line of the log says of a call: never its query or its headers, where a token may stand.
pub(super) struct Call {
    pub(super) from: Option<IpAddr>,
    what: String,
}

impl Call {
    pub(super) fn named(from: Option<IpAddr>, what: &str) -> Self {
        let what = what.to_owned();
        Self { from, what }
    }

    pub(super) fn of(request: &Request) -> Self {
        let path: String = request.uri().path().chars().take(PATH_MAX).collect();
        Self {
            from: request.extensions().get::<Peer>().and_then(|peer| peer.from),
            what: format!("{} {path}", request.method()),
        }
    }
}

/// Lets callers with a known token or certificate through, and tells the handlers who they are.
pub(super) async fn open(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let call = Call::of(&request);
    let (who, answer) = match door.caller(Proof::of(&request)).await {
        Ok(caller) => {
            let who = caller.name.clone();
            request.extensions_mut().insert(caller);
            (who, next.run(request).await)
        }
        Err(denied) => ("unknown".to_owned(), refuse(denied)),
    };
    door.note(&call, &who, &answer);
    answer
}

fn refuse(denied: Denied) -> Response {
    let is_unknown = denied == Denied::Unknown;
    let mut answer = Problem::from(denied).into_response();
    if is_unknown {
        let challenge = header::HeaderValue::from_static("Bearer");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_what_follows_the_name() {
        for (header, token) in [
            ("Bearer  abc ", Some("abc")),
            ("bearer abc", Some("abc")),
            ("BEARER abc", Some("abc")),
            ("Bearerabc", None),
            ("Basic YW5uOmFiYw==", None),
        ] {
            assert_eq!(bearer(header), token, "{header}");
        }
    }
}
