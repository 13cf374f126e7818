//! The parts of a move.

leasehold_base::open_words! {
    /// A part of a move, by its word in the history.
    PhaseKind {
        /// Since the holder was last heard of.
        Silence = "silence",
        TakeOver = "take-over",
        Addresses = "addresses",
        Containers = "containers",
        /// Until all was up and the probes passed.
        Serving = "serving",
        Stop = "stop",
        /// Of the addresses.
        Withdrawal = "withdrawal",
        Release = "release",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Phase;

    #[test]
    fn a_part_that_a_later_version_wrote_is_kept_with_its_time() {
        let later = r#"{"what":"farewell","ms":7}"#;
        let phase: Phase = serde_json::from_str(later).unwrap();
        assert_eq!(phase.what, PhaseKind::Other("farewell".to_owned()));
        assert_eq!(serde_json::to_string(&phase).unwrap(), later);
        let known: Phase = serde_json::from_str(r#"{"what":"take-over","ms":7}"#).unwrap();
        assert_eq!(known.what, PhaseKind::TakeOver);
    }
}
