//! Answers of `/v1`: always JSON, and a refusal says why.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;
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
    /// For the log alone.
    aside: Option<String>,
}

/// Why a call was refused, for the log.
#[derive(Clone, Debug)]
pub(super) struct Because(pub(super) String);

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            aside: None,
        }
    }

    /// With a reason for the log that is nobody else's business.
    pub(super) fn with_aside(self, aside: String) -> Self {
        let aside = Some(aside);
        Self { aside, ..self }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, message, aside } = self;
        let because = Because(aside.unwrap_or_else(|| message.clone()));
        let mut answer = (status, Json(Outcome { ok: false, message })).into_response();
        answer.extensions_mut().insert(because);
        answer
    }
}

/// What the loop made of a command.
pub(super) fn outcome(result: Result<String, String>) -> Response {
    match result {
        Ok(message) => Json(Outcome { ok: true, message }).into_response(),
        Err(why) => Refusal::new(StatusCode::CONFLICT, why).into_response(),
    }
}

/// Beyond this, a number of JSON that is written with a point does not stand for one whole number.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A whole number as JSON means it: `60.0` is one.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = Number::deserialize(deserializer)?;
    let written = number
        .as_f64()
        .filter(|given| (0.0..=WHOLE_MAX).contains(given) && given.fract() == 0.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole, not negative, and small enough"
    )]
    let rounded = written.map(|given| given as u64);
    let found = number.as_u64().or(rounded);
    found.ok_or_else(|| Error::custom(format!("{number} is not a whole number of 0 or more")))
}

/// The same where `null` stands for none.
pub(super) fn whole_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    struct Whole(#[serde(deserialize_with = "whole")] u64);
    Ok(Option::<Whole>::deserialize(deserializer)?.map(|whole| whole.0))
}

/// A body of JSON; an empty one and `null` stand for `{}`.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state)
            .await
            // As the description says; one that is too long is no case of its own.
            .map_err(|error| {
                Refusal::new(
                    StatusCode::BAD_REQUEST,
                    format!("the body does not fit: {}", error.body_text()),
                )
            })?;
        let is_nothing = matches!(bytes.trim_ascii(), b"" | b"null");
        let text: &[u8] = if is_nothing { b"{}" } else { &bytes };
        // The parser would take a list of the values for an object, too.
        if text.trim_ascii_start().first() != Some(&b'{') {
            let message = "the body does not fit: write an object, such as {}";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
        }
        let value = serde_json::from_slice(text)
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("the body does not fit: {error}")))?;
        Ok(Self(value))
    }
}
