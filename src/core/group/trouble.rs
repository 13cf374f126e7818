//! What its holder alone knows of a group that does not serve: published, so that every node can say so.

use super::{AfterStop, Group, Stage, StartCause};
use crate::protocol::TroubleState;
use crate::protocol::records::Trouble;

/// Every node reads it with every beat, so of a long sentence only the beginning is published.
const PUBLISHED_MAX: usize = 200;

impl Group {
    /// Why it does not serve as it should, although it is held here.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        let held = self.held.as_ref()?;
        let (state, why) = match held.stage {
            Stage::Stopped => (TroubleState::Down, self.said.text()),
            Stage::Checking | Stage::Active if self.is_sick() => {
                let failure = self.probe_failure().map(|failure| failure.text.as_str());
                (TroubleState::Sick, failure)
            }
            Stage::Stopping | Stage::Withdrawing if held.after == AfterStop::Restart => {
                (TroubleState::Restarting, Some(self.failure.as_str()))
            }
            Stage::Starting | Stage::Checking if held.start_cause == StartCause::Recovery => {
                (TroubleState::Restarting, Some(self.failure.as_str()))
            }
            Stage::Active => match self.canary_failure() {
                Some(failure) => (TroubleState::Impaired, Some(failure.text.as_str())),
                None => (TroubleState::Endangered, Some(self.probe_warning()?)),
            },
            Stage::Adopting | Stage::Starting | Stage::Checking | Stage::Stopping | Stage::Withdrawing => return None,
        };
        Some(Trouble {
            state,
            why: why.unwrap_or_default().to_owned(),
        })
    }
}

impl Trouble {
    /// As it is published.
    pub(crate) fn brief(mut self) -> Self {
        if self.why.chars().count() > PUBLISHED_MAX {
            self.why = self.why.chars().take(PUBLISHED_MAX).chain("...".chars()).collect();
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{Trouble, TroubleState};

    #[test]
    fn a_long_sentence_is_published_by_its_beginning() {
        let trouble = |why: String| Trouble {
            state: TroubleState::Sick,
            why,
        };
        let short = trouble("smtp 25: refused".to_owned());
        assert_eq!(short.clone().brief(), short);
        assert_eq!(trouble("\u{e9}".repeat(500)).brief().why, "\u{e9}".repeat(200) + "...");
    }
}
