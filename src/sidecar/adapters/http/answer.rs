//! Answers of `/v1`: always JSON, and a refusal says why.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// A body of JSON; an empty one and `null` stand for `{}`.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = Bytes::from_request(request, state)
            .await
            // As the description says; one that is too long is no case of its own.
            .map_err(|error| Problem::malformed(format!("the body does not fit: {}", error.body_text())))?;
        let is_nothing = matches!(bytes.trim_ascii(), b"" | b"null");
        let text: &[u8] = if is_nothing { b"{}" } else { &bytes };
        // The parser would take a list of the values for an object, too.
        if text.trim_ascii_start().first() != Some(&b'{') {
            let message = "the body does not fit: write an object, such as {}";
            return Err(Problem::malformed(message));
        }
        let value = serde_json::from_slice(text)
            .map_err(|error| Problem::malformed(format!("the body does not fit: {error}")))?;
        Ok(Self(value))
    }
}
