//! What a call is refused with: a status, a stable word, and a sentence.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use leasehold_api::Outcome;
pub(super) use leasehold_api::problem::Cause;
use leasehold_api::problem::status;
use leasehold_core::requests::refusal::Refusal;

/// Nothing was changed, or nobody knows: the status and the word say which, the message why.
#[derive(Debug)]
pub(super) struct Problem {
    status: u16,
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

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// For the log.
    pub(super) fn because(&self) -> Because {
        Because(self.aside.clone().unwrap_or_else(|| self.message.clone()))
    }

    pub(super) fn message(&self) -> &str {
        &self.message
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
        let because = self.because();
        let Self {
            status, code, message, ..
        } = self;
        // Each is one of the constants of the API.
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = (status, Json(Outcome::refused(code, message))).into_response();
        answer.extensions_mut().insert(because);
        answer
    }
}
