//! What a pin tells besides its fields.

use std::time::Duration;

use crate::protocol::records::Pin;
use crate::protocol::secret::Promised;

impl Pin {
    /// This one, or a later one of the same etcd.
    #[must_use]
    pub fn or_later(self, later: Self) -> Self {
        let same = (later.cluster_id, later.generation) == (self.cluster_id, self.generation);
        if same && later.revision > self.revision {
            later
        } else {
            self
        }
    }

    /// The longest promise that is known, or the file's where an earlier version pinned none.
    #[must_use]
    pub fn longest(&self, file: Duration) -> Duration {
        match self.longest_ms {
            0 => file,
            known => Duration::from_millis(known),
        }
    }

    /// What it knows of promises.
    #[must_use]
    pub fn promised(&self) -> Promised {
        Promised {
            bound_ms: self.promises_ms,
            secret: self.promises_secret,
        }
    }
}
