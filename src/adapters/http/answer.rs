//! Answers of `/v1`: always JSON, and a refusal says why.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    pub ok: bool,
    /// One sentence: what happens now, or why it was refused.
    pub message: String,
}

/// Nothing was changed; the status says whose fault it is, the message why.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, message } = self;
        (status, Json(Outcome { ok: false, message })).into_response()
    }
}

/// What the loop made of a command.
pub(super) fn outcome(result: Result<String, String>) -> Response {
    match result {
        Ok(message) => Json(Outcome { ok: true, message }).into_response(),
        Err(why) => Refusal::new(StatusCode::CONFLICT, why).into_response(),
    }
}

/// A body of JSON; an empty one stands for `{}`.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|error| Refusal::new(error.status(), error.body_text()))?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let value = serde_json::from_slice(text)
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("the body does not fit: {error}")))?;
        Ok(Self(value))
    }
}
