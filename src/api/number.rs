//! Numbers as JSON means them.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Number;

/// Beyond this, a number of JSON that is written with a point does not stand for one whole number.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// A whole number as JSON means it: `60.0` is one.
///
/// # Errors
/// It is no number, negative, or has a fraction.
pub fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
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
pub(crate) fn whole_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    struct Whole(#[serde(deserialize_with = "whole")] u64);
    Ok(Option::<Whole>::deserialize(deserializer)?.map(|whole| whole.0))
}
