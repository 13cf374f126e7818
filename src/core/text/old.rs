//! Sentences that earlier versions wrote into etcd and still compare. They stay as they are for as long as such a version may run
//! beside this one.

use std::fmt;

use crate::protocol::{FaultId, ReleaseCause};

/// What versions without a cause wrote into a record instead.
pub(crate) const CAUSES: [(&str, ReleaseCause); 4] = [
    ("silent", ReleaseCause::Silent),
    ("its lease ran out", ReleaseCause::RanOut),
    (
        "its stop was under way when its sidecar ended",
        ReleaseCause::Interrupted,
    ),
    ("its node lost its place in the cluster", ReleaseCause::PlaceLost),
];
/// The same of sentences that go on.
pub(crate) const CAUSES_BEGIN: [(&str, ReleaseCause); 2] =
    [("fenced", ReleaseCause::Fenced), ("failed", ReleaseCause::Failed)];

/// Faults, in words.
pub(crate) const NOT_STARTED: &str = "it did not start";
pub(crate) const UNREACHED: &str = "not reached at its address";
/// Before and after the service's name.
pub(crate) const SERVICE_ENDED: (&str, &str) = ("service ", " ended");

/// For people, too.
impl fmt::Display for FaultId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = SERVICE_ENDED;
        match self {
            Self::ServiceEnded(service) => write!(formatter, "{before}{service}{after}"),
            Self::Probe(probe) => formatter.write_str(probe),
            Self::NotStarted => formatter.write_str(NOT_STARTED),
            Self::Unreached => formatter.write_str(UNREACHED),
            Self::LinkLost => formatter.write_str(super::address::WITHOUT_LINK),
            Self::Other(word) => formatter.write_str(word),
        }
    }
}

/// By this sentence about a group a node said that it will leave.
pub(crate) const NODE_ENDING: &str = "its node was told to end";
