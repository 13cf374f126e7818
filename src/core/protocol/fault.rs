//! What made a group leave its holder, by a name that is the same on every node and in every version.

use serde::{Deserialize, Serialize};

use crate::text::old;

/// A fault of a service: its kind, and which part it is about. By the same fault a group does not move again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum FaultId {
    /// A container ended by itself: the service's name.
    ServiceEnded(String),
    /// A probe fails: its name.
    Probe(String),
    /// It did not come up, and nothing says why.
    NotStarted,
    /// No standby reached it at its address.
    Unreached,
    /// The interface of its addresses lost its link.
    LinkLost,
    /// A kind of a later version, as it stands in the record.
    Other(String),
}

impl FaultId {
    /// What a record of an earlier version says in words.
    #[must_use]
    pub fn of_old(words: &str) -> Self {
        let (before, after) = old::SERVICE_ENDED;
        let service = words.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        match (words, service) {
            (old::NOT_STARTED, _) => Self::NotStarted,
            (old::UNREACHED, _) => Self::Unreached,
            (_, Some(service)) => Self::ServiceEnded(service.to_owned()),
            (_, None) => Self::Probe(words.to_owned()),
        }
    }
}

impl From<FaultId> for String {
    fn from(fault: FaultId) -> Self {
        match fault {
            FaultId::ServiceEnded(service) => format!("service_ended:{service}"),
            FaultId::Probe(probe) => format!("probe:{probe}"),
            FaultId::NotStarted => "not_started".to_owned(),
            FaultId::Unreached => "unreached".to_owned(),
            FaultId::LinkLost => "link_lost".to_owned(),
            FaultId::Other(word) => word,
        }
    }
}

impl From<String> for FaultId {
    fn from(word: String) -> Self {
        match (word.as_str(), word.split_once(':')) {
            ("not_started", _) => Self::NotStarted,
            ("unreached", _) => Self::Unreached,
            ("link_lost", _) => Self::LinkLost,
            (_, Some(("service_ended", service))) => Self::ServiceEnded(service.to_owned()),
            (_, Some(("probe", probe))) => Self::Probe(probe.to_owned()),
            (_, Some(_) | None) => Self::Other(word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> [FaultId; 6] {
        [
            FaultId::ServiceEnded("db".to_owned()),
            FaultId::Probe("http http://[::1]:80/".to_owned()),
            FaultId::NotStarted,
            FaultId::Unreached,
            FaultId::LinkLost,
            FaultId::Other("moths:3".to_owned()),
        ]
    }

    #[test]
    fn each_comes_back_from_its_word() {
        for fault in all() {
            let word = serde_json::to_string(&fault).unwrap();
            assert_eq!(serde_json::from_str::<FaultId>(&word).unwrap(), fault, "{word}");
        }
    }

    /// As 84eb5cc wrote them.
    #[test]
    fn each_comes_back_from_the_words_of_before() {
        let before = [
            "service db ended",
            "http http://[::1]:80/",
            "it did not start",
            "not reached at its address",
        ];
        for (fault, words) in all().into_iter().zip(before) {
            assert_eq!((fault.to_string().as_str(), FaultId::of_old(words)), (words, fault));
        }
    }
}
