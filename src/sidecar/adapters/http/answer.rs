//! Answers of `/v1`: always JSON, and a refusal says why.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;
use utoipa::ToSchema;

use super::problem::{Problem, words};
use leasehold_core::event::{Done, Wished};

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Outcome {
    pub ok: bool,
    /// There where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = words)]
    pub code: Option<String>,
    /// One sentence: what happens now, or why it was refused.
    pub message: String,
    /// The wish that the group's holder has to carry out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<Wished>,
}

impl Outcome {
    pub(super) fn done(done: Done) -> Self {
        Self {
            ok: true,
            code: None,
            message: done.text,
            wish: done.wish,
        }
    }

    pub(super) fn refused(code: &str, message: String) -> Self {
        Self {
            ok: false,
            code: Some(code.to_owned()),
            message,
            wish: None,
        }
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
