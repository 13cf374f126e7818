//! What is wrong with a group that is held, in the stable words that its holder publishes.

leasehold_base::open_words! {
    /// Why a group that is held does not serve as it should.
    TroubleState {
        /// It runs, and a probe has failed as often as it takes.
        Sick = "sick",
        /// It is on the way down or up again after a failure.
        Restarting = "restarting",
        /// It serves, but a canary did not come through.
        Impaired = "impaired",
        /// It serves, and a probe saw what will make it fail.
        Endangered = "endangered",
        /// Nothing runs, as between two tries.
        Down = "down",
    }
}

#[cfg(test)]
mod tests {
    use super::TroubleState;

    #[test]
    fn each_word_is_understood_and_a_later_one_is_kept() {
        for (word, state) in [
            ("sick", TroubleState::Sick),
            ("restarting", TroubleState::Restarting),
            ("impaired", TroubleState::Impaired),
            ("endangered", TroubleState::Endangered),
            ("down", TroubleState::Down),
            ("bewitched", TroubleState::Other("bewitched".to_owned())),
        ] {
            let written = format!("{word:?}");
            assert_eq!(serde_json::from_str::<TroubleState>(&written).unwrap(), state);
            assert_eq!(serde_json::to_string(&state).unwrap(), written);
        }
    }
}
