//! What a failed check is evidence of.

/// Why a check of the service failed, or what it has to say although it passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeFailure {
    pub kind: FailureKind,
    /// A sentence without its full stop, with the name of the probe.
    pub text: String,
}

/// What a failed check is evidence of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// A refusal, or another answer than the right one.
    Wrong,
    /// No answer in time: a busy host may do that too.
    Silent,
    /// Something that would be as wrong on every other host: a full disk, the configuration.
    Shared,
    /// The certificate that it shows is out of date: as on every other host, unless each has one of its own.
    Certificate,
    /// The check could not be made, because who makes it does not answer: no evidence at all.
    Unasked,
    /// It passes, and saw what will make it fail before long: a disk that fills up, a certificate that is about to end.
    Warning,
}

impl ProbeFailure {
    /// Whether the service was reached, and has this to say: it would be the same wherever it is asked from.
    #[must_use]
    pub fn is_of_the_service(&self) -> bool {
        matches!(
            self.kind,
            FailureKind::Shared | FailureKind::Certificate | FailureKind::Warning
        )
    }

    #[must_use]
    pub fn wrong(text: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Wrong,
            text: text.into(),
        }
    }

    #[must_use]
    pub fn silent(text: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Silent,
            text: text.into(),
        }
    }

    #[must_use]
    pub fn unasked(text: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Unasked,
            text: text.into(),
        }
    }

    #[must_use]
    pub fn warning(text: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Warning,
            text: text.into(),
        }
    }

    #[must_use]
    pub fn certificate(text: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Certificate,
            text: text.into(),
        }
    }

    #[must_use]
    pub fn shared(text: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Shared,
            text: text.into(),
        }
    }
}
