//! The secret under which nodes speak to each other directly. It stands in the cluster's configuration and in the pin, and nowhere
//! else: whoever may read those may write the records as well.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::protocol::records::ClusterConfig;
use crate::text;

/// Bytes of it.
const LENGTH: usize = 32;

/// Random bytes that every node of the cluster knows. It is shown to nobody: `Debug` hides it, and it has no `Display`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Secret([u8; LENGTH]);

impl Secret {
    /// Of bytes that the kernel drew.
    #[must_use]
    pub fn new(bytes: [u8; LENGTH]) -> Self {
        Self(bytes)
    }

    /// To compute with.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret")
    }
}

impl From<Secret> for String {
    fn from(secret: Secret) -> Self {
        secret.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl TryFrom<String> for Secret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; LENGTH];
        let plain = text.len() == LENGTH * 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !plain {
            return Err(text::promises::NO_SECRET);
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            let two = text.get(at * 2..at * 2 + 2).unwrap_or_default();
            *byte = u8::from_str_radix(two, 16).map_err(|_| text::promises::NO_SECRET)?;
        }
        Ok(Self(bytes))
    }
}

/// What the configuration says of promises: the bound in milliseconds, and the secret. Both are there, or promises are off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promised {
    pub bound_ms: Option<u64>,
    pub secret: Option<Secret>,
}

impl ClusterConfig {
    /// What it says of promises.
    #[must_use]
    pub fn promised(&self) -> Promised {
        Promised {
            bound_ms: self.promises_ms,
            secret: self.promises_secret,
        }
    }

    /// The same with promises, or without.
    #[must_use]
    pub fn with(self, promised: Promised) -> Self {
        Self {
            promises_ms: promised.bound_ms,
            promises_secret: promised.secret,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written_and_shown_to_nobody() {
        let mut bytes = [7; LENGTH];
        bytes[0] = 0;
        bytes[31] = 0xff;
        let secret = Secret::new(bytes);
        let text = serde_json::to_string(&secret).unwrap();
        assert_eq!(text.len(), LENGTH * 2 + 2);
        assert_eq!(serde_json::from_str::<Secret>(&text).unwrap(), secret);
        assert_eq!(format!("{secret:?} {:?}", Some(secret)), "Secret Some(Secret)");
    }

    #[test]
    fn what_nobody_drew_is_none() {
        let long = "0".repeat(66);
        let signed = format!("+{}", "0".repeat(63));
        let wide = "é".repeat(32);
        for text in ["", "00", &long, &signed, &wide, &"g".repeat(64)] {
            let text = serde_json::to_string(text).unwrap();
            assert!(serde_json::from_str::<Secret>(&text).is_err(), "{text}");
        }
    }
}
