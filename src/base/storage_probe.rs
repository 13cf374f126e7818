//! How the check of a mount ends: the exit code of `tether probe-storage`.

/// The tether's first word in this form.
pub const FORM: &str = "probe-storage";

/// What became of it, as an exit code; 75 and 78 are the temporary failure and the wrong configuration of `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Well = 0,
    /// The storage refused, or gave back something else.
    Refused = 1,
    /// Well, but there is little room left.
    Tight = 2,
    /// Another such process has not come back from the same mount yet.
    Unended = 75,
    /// Refused for a reason that every host would meet.
    Shared = 78,
}

impl Verdict {
    /// What an exit code means; none is another program's.
    #[must_use]
    pub fn of(code: i64) -> Option<Self> {
        let all = [Self::Well, Self::Refused, Self::Tight, Self::Unended, Self::Shared];
        all.into_iter().find(|verdict| *verdict as i64 == code)
    }
}
