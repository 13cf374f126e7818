//! Who comes in over the network: a proof is read from the request, the file of tokens says whose it is.

use std::borrow::Cow;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::access::{Access, Denied};
use super::answer::Refusal;
use super::tls::Peer;
use crate::clock;

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
}

impl Door {
    /// Of `/v1`.
    pub(super) fn of_tools(access: Access) -> Self {
        let way = Way::Bearer;
        Self { access, way }
    }

    /// Of what is only looked at.
    pub(super) fn of_browsers(access: Access) -> Self {
        let way = Way::Basic;
        Self { access, way }
    }
}

impl Way {
    /// The token in a header; none where it says something else.
    fn token(self, header: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Bearer => header.strip_prefix("Bearer ").map(|token| token.trim().into()),
            Self::Basic => {
                let both = STANDARD.decode(header.strip_prefix("Basic ")?.trim()).ok()?;
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

/// Lets callers with a known token or certificate through, and tells the handlers who they are.
pub(super) async fn open(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    // Whatever stands in the header counts, also what is no token: a certificate must not stand in for a typing error.
    let given = request.headers().get(header::AUTHORIZATION);
    let token = given.map(|value| value.to_str().ok().and_then(|value| door.way.token(value)));
    let token = token.map(Option::unwrap_or_default);
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    let shown = peer.and_then(|ConnectInfo(peer)| peer.0.as_ref());
    match door.access.caller(token.as_deref(), shown, clock::wall_seconds()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(Denied::Closed) => Refusal::new(
            StatusCode::FORBIDDEN,
            "nobody may do this over the network: name a file of tokens in LEASEHOLD_TOKENS, or use the CLI on the host",
        )
        .into_response(),
        Err(Denied::Unknown) => {
            let mut answer = Refusal::new(StatusCode::UNAUTHORIZED, door.way.remedy()).into_response();
            let challenge = header::HeaderValue::from_static(door.way.challenge());
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            answer
        }
        Err(Denied::Broken(why)) => {
            tracing::warn!(code = "tokens_unusable", %why, "the file of tokens can't be used: everybody is refused");
            Refusal::new(StatusCode::FORBIDDEN, "the file of tokens can't be used: see the sidecar's log").into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_what_follows_the_name() {
        let basic = |both: &str| format!("Basic {}", STANDARD.encode(both));
        for (way, header, token) in [
            (Way::Bearer, "Bearer  abc ".to_owned(), Some("abc")),
            (Way::Bearer, basic("ann:abc"), None),
            (Way::Basic, basic("ann:abc"), Some("abc")),
            (Way::Basic, basic(":a:b"), Some("a:b")),
            (Way::Basic, basic("abc"), None),
            (Way::Basic, "Basic %%%".to_owned(), None),
            (Way::Basic, "Bearer abc".to_owned(), None),
        ] {
            assert_eq!(way.token(&header).as_deref(), token, "{way:?} {header}");
        }
    }
}
