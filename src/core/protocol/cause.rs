//! Why a record was released, in a stable word. The sentence beside it is for people.

use serde::{Deserialize, Serialize};

use crate::text::old;

/// Why a record was released. The next holder tells a failover from a switchover by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseCause {
    /// Its holder fell silent, and another group of it was taken.
    Silent,
    /// Its holder could not renew its lease.
    RanOut,
    /// Its sidecar ended in the middle of a stop.
    Interrupted,
    /// Its holder's key was taken away.
    PlaceLost,
    /// Its holder was fenced.
    Fenced,
    /// The service failed on its holder too often.
    Failed,
    /// No standby reached the service at its address.
    Unreached,
    /// The interface of its addresses lost its link on its holder.
    LinkLost,
    /// Another group could not be stopped on its holder.
    NeighbourStuck,
    /// It could not be stopped in time, and was proved stopped later.
    StuckEnded,
    /// An operator wanted it elsewhere.
    Asked,
    /// It goes back to a preferred node.
    Failback,
    /// Its holder was told to end.
    NodeEnding,
    /// Its holder was drained.
    Drained,
    /// It is not extended to its holder any more.
    NotExtended,
    /// An operator stopped it.
    Stopped,
    /// An operator deleted it.
    Deleted,
    /// It left the compose file of its holder.
    LeftFile,
    /// A strange etcd was accepted.
    Accepted,
    /// It was imported.
    Imported,
    /// A word of a later version, or a sentence that says nothing of these.
    #[serde(other)]
    Other,
}

impl ReleaseCause {
    /// What a record says that has a sentence only.
    #[must_use]
    pub fn of_old(reason: &str) -> Self {
        let whole = old::CAUSES.iter().find(|(sentence, _)| *sentence == reason);
        let begins = || old::CAUSES_BEGIN.iter().find(|(word, _)| reason.starts_with(word));
        whole.or_else(begins).map_or(Self::Other, |(_, cause)| *cause)
    }

    /// The sentence of a cause that needs no names.
    pub(crate) fn sentence(self) -> Option<&'static str> {
        let found = old::CAUSES.iter().find(|(_, cause)| *cause == self);
        found.map(|(sentence, _)| *sentence)
    }

    /// Whether its holder lost it, rather than handed it over.
    pub(crate) fn is_loss(self) -> bool {
        match self {
            Self::Silent
            | Self::RanOut
            | Self::Interrupted
            | Self::PlaceLost
            | Self::Fenced
            | Self::Failed
            | Self::Unreached
            | Self::LinkLost => true,
            Self::NeighbourStuck
            | Self::StuckEnded
            | Self::Asked
            | Self::Failback
            | Self::NodeEnding
            | Self::Drained
            | Self::NotExtended
            | Self::Stopped
            | Self::Deleted
            | Self::LeftFile
            | Self::Accepted
            | Self::Imported
            | Self::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_later_version_says_nothing_of_a_loss() {
        let later: ReleaseCause = serde_json::from_str("\"eaten_by_moths\"").unwrap();
        assert_eq!(later, ReleaseCause::Other);
        assert_eq!(serde_json::to_string(&ReleaseCause::RanOut).unwrap(), "\"ran_out\"");
        assert_eq!(
            serde_json::from_str::<ReleaseCause>("\"place_lost\"").unwrap(),
            ReleaseCause::PlaceLost
        );
    }

    /// As 84eb5cc wrote them.
    #[test]
    fn each_sentence_of_before_has_its_cause() {
        for (sentence, cause) in [
            ("silent", ReleaseCause::Silent),
            ("its lease ran out", ReleaseCause::RanOut),
            (
                "its stop was under way when its sidecar ended",
                ReleaseCause::Interrupted,
            ),
            ("its node lost its place in the cluster", ReleaseCause::PlaceLost),
            ("fenced: fence_ipmilan on b succeeded", ReleaseCause::Fenced),
            ("fenced: root on b made sure that a can't write", ReleaseCause::Fenced),
            ("failed 4 times here", ReleaseCause::Failed),
            ("failed: no standby reached it at its address", ReleaseCause::Failed),
            ("switchover to b, asked by ann on a", ReleaseCause::Other),
            ("its node was told to end", ReleaseCause::Other),
            ("accepted", ReleaseCause::Other),
            ("silently", ReleaseCause::Other),
        ] {
            assert_eq!(ReleaseCause::of_old(sentence), cause, "{sentence}");
        }
    }
}
