//! What the file says of a group that other nodes, or other machines, have a part in.

use serde::{Deserialize, Serialize};

/// Who decides that a group is taken from a node that fell silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failover {
    /// The standbys.
    #[default]
    Auto,
    /// A person, with `leasehold fenced`.
    Confirm,
}

/// Whether an address is taken for which somebody else answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnConflict {
    /// Not while he answers.
    #[default]
    Wait,
    /// It is, unless a node that lives may be the one who answers.
    Take,
}

impl OnConflict {
    /// What every version does that does not know the key.
    pub(super) fn is_wait(&self) -> bool {
        *self == Self::Wait
    }
}
