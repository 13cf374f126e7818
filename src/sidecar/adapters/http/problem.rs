//! What a call is refused with: a status, a stable word, and a sentence. The core's refusals get their status here.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::answer::Outcome;
use leasehold_core::refusal::{Class, Refusal};

/// Writes the enum and its tables from one list.
macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal, $status:ident;)+) => {
        /// Why the endpoints refuse a call themselves.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Cause {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Cause {
            /// All of them, in this order.
            const ALL: &[Self] = &[$(Self::$name,)+];

            /// The stable word.
            fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }

            fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => StatusCode::$status,)+
                }
            }
        }
    };
}

reasons! {
    /// The body or the query does not fit.
    Malformed = "malformed", BAD_REQUEST;
    /// No known token or certificate was brought.
    Unauthenticated = "unauthenticated", UNAUTHORIZED;
    /// The role may not do this, or a page of another site asks.
    Forbidden = "forbidden", FORBIDDEN;
    /// There is no group of this name.
    GroupUnknown = "group_unknown", NOT_FOUND;
    /// There is no node of this name.
    NodeUnknown = "node_unknown", NOT_FOUND;
    /// There is no such path.
    NoEndpoint = "no_endpoint", NOT_FOUND;
    /// The path is there, not with this method.
    NoMethod = "no_method", METHOD_NOT_ALLOWED;
    /// The caller took too long to ask.
    TooSlow = "too_slow", REQUEST_TIMEOUT;
    /// The compose file of this node can't be read.
    FileUnreadable = "file_unreadable", CONFLICT;
    /// The body is not said to be JSON.
    NotJson = "not_json", UNSUPPORTED_MEDIA_TYPE;
    /// More acts in a short time than are taken.
    TooManyActs = "too_many_acts", TOO_MANY_REQUESTS;
    /// The loop has as many commands before it as may wait.
    Busy = "busy", TOO_MANY_REQUESTS;
    /// What is kept in etcd can't be read now.
    Unread = "unread", SERVICE_UNAVAILABLE;
    /// The sidecar ends.
    Ending = "ending", SERVICE_UNAVAILABLE;
    /// The loop does not answer.
    NoAnswer = "no_answer", GATEWAY_TIMEOUT;
}

/// Nothing was changed, or nobody knows: the status and the word say which, the message why.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// For the log alone.
    aside: Option<String>,
}

/// Why a call was refused, for the log.
#[derive(Clone, Debug)]
pub(super) struct Because(pub(super) String);

impl Problem {
    pub(super) fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            status: cause.status(),
            code: cause.word(),
            message: message.into(),
            aside: None,
        }
    }

    /// The body or the query does not fit.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::new(Cause::Malformed, message)
    }

    /// With a reason for the log that is nobody else's business.
    pub(super) fn with_aside(self, aside: String) -> Self {
        let aside = Some(aside);
        Self { aside, ..self }
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

/// The status of HTTP that says whether asking again helps.
fn status(class: Class) -> StatusCode {
    match class {
        Class::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Class::Unknown => StatusCode::NOT_FOUND,
        Class::Refused | Class::Conflict => StatusCode::CONFLICT,
        Class::Full => StatusCode::TOO_MANY_REQUESTS,
        Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Class::TimedOut => StatusCode::GATEWAY_TIMEOUT,
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self {
            status: status(refusal.class()),
            code: refusal.code(),
            message: refusal.to_string(),
            aside: None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self {
            status,
            code,
            message,
            aside,
        } = self;
        let because = Because(aside.unwrap_or_else(|| message.clone()));
        let mut answer = (status, Json(Outcome::refused(code, message))).into_response();
        answer.extensions_mut().insert(because);
        answer
    }
}

/// Every word with its status, each once: those of the endpoints, then the core's.
#[must_use]
pub fn codes() -> Vec<(&'static str, u16)> {
    let own = Cause::ALL.iter().map(|cause| (cause.word(), cause.status()));
    let of_core = Refusal::WORDS.iter().map(|(word, class)| (*word, status(*class)));
    let mut all: Vec<(&str, u16)> = Vec::new();
    for (word, status) in own.chain(of_core) {
        if !all.contains(&(word, status.as_u16())) {
            all.push((word, status.as_u16()));
        }
    }
    all
}

/// The words as the description of the API has them.
pub(super) fn words() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(
            "Why it was refused, as a word that never changes its meaning; the documentation says what to do about each",
        ))
        .enum_values(Some(codes().into_iter().map(|(word, _)| word)))
        .build()
}
