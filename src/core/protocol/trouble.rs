//! What is wrong with a group that is held, in the stable words that its holder publishes.

/// Why a group that is held does not serve as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TroubleState {
    /// It runs, and a probe has failed as often as it takes.
    Sick,
    /// It is on the way down or up again after a failure.
    Restarting,
    /// It serves, but a canary did not come through.
    Impaired,
    /// It serves, and a probe saw what will make it fail.
    Endangered,
    /// Nothing runs, as between two tries.
    Down,
}

impl TroubleState {
    const ALL: [Self; 5] = [
        Self::Sick,
        Self::Restarting,
        Self::Impaired,
        Self::Endangered,
        Self::Down,
    ];

    /// As it is published.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Sick => "sick",
            Self::Restarting => "restarting",
            Self::Impaired => "impaired",
            Self::Endangered => "endangered",
            Self::Down => "down",
        }
    }

    /// None for a word of a later version.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::TroubleState;

    #[test]
    fn each_word_is_understood_and_a_later_one_is_none() {
        for (word, state) in [
            ("sick", TroubleState::Sick),
            ("restarting", TroubleState::Restarting),
            ("impaired", TroubleState::Impaired),
            ("endangered", TroubleState::Endangered),
            ("down", TroubleState::Down),
        ] {
            assert_eq!((TroubleState::of(word), state.word()), (Some(state), word));
        }
        assert_eq!(TroubleState::of("bewitched"), None);
    }
}
