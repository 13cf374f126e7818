//! What can go wrong towards the engine, named by what the caller does next.

use std::time::Duration;

use bollard::errors::Error as ClientError;

/// A failed call to the engine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No answer in time, no socket, or an answer that makes no sense: whether it happened is unknown. Look again.
    #[error("the Docker engine does not answer: {0}")]
    Unreachable(String),
    /// The engine answered, and said no: nothing happened. Show it; trying again helps only if the cause goes away.
    #[error("the Docker engine refused ({status}): {message}")]
    Refused { status: u16, message: String },
    /// An image, container, volume, network or path is not there. The operator provides it.
    #[error("missing: {what}")]
    Missing { what: String },
    /// What was asked for can't be done on this engine, or contradicts what is already there. The file is changed.
    #[error("{message}")]
    Invalid { message: String },
}

/// The engine's words for a mount whose host path is absent.
const BIND_SOURCE_ABSENT: &str = "bind source path does not exist";

impl EngineError {
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
        }
    }

    pub(in crate::adapters) fn late(what: &str, deadline: Duration) -> Self {
        Self::Unreachable(format!("{what}: no answer within {} ms", deadline.as_millis()))
    }

    /// Sorts an error of the client library; `what` is the call, for people.
    pub(super) fn sort(what: &str, error: &ClientError) -> Self {
        let ClientError::DockerResponseServerError { status_code, message } = error else {
            return Self::Unreachable(format!("{what}: {}", with_causes(error)));
        };
        let message = format!("{what}: {message}");
        if *status_code == 404 || message.contains(BIND_SOURCE_ABSENT) {
            Self::Missing { what: message }
        } else {
            Self::Refused {
                status: *status_code,
                message,
            }
        }
    }

    /// Whether something that was asked about is not there, as opposed to not known.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }

    /// Whether the engine said that the object's present state does not allow it.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }
}

/// The client's own words end at "client error (Connect)"; the reason is in its sources.
fn with_causes(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status_code: u16, message: &str) -> EngineError {
        let error = ClientError::DockerResponseServerError {
            status_code,
            message: message.to_owned(),
        };
        EngineError::sort("create", &error)
    }

    #[test]
    fn sorts_by_what_the_caller_does_next() {
        assert!(answered(404, "No such container").is_missing());
        assert!(answered(400, "invalid mount config: bind source path does not exist: /a").is_missing());
        assert!(answered(409, "in use").is_conflict());
        assert!(matches!(
            answered(500, "mount failed"),
            EngineError::Refused { status: 500, .. }
        ));
        let silent = EngineError::sort("ping", &ClientError::RequestTimeoutError);
        assert!(matches!(silent, EngineError::Unreachable(_)));
    }
}
