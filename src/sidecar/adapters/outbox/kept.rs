//! What outlives the sidecar beside the loop's own files.

use super::Outbox;
use crate::adapters::events::{Kept, Notifier};
use crate::measure::Measure;

impl Outbox {
    /// The events that no receiver has taken yet; none where nobody is told of any.
    #[must_use]
    pub fn events_kept(&self) -> Option<Kept> {
        self.notifier.as_ref().map(Notifier::kept)
    }

    /// What was measured.
    #[must_use]
    pub fn measure(&self) -> Measure {
        self.recent.counters.timings.measure.clone()
    }
}
