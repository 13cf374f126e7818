//! What outlives the sidecar beside the loop's own files.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Outbox;
use crate::adapters::events::{Kept, Notifier};
use crate::measure::Measure;

/// Written at the end, when nothing is held any more.
#[derive(Debug)]
pub struct Lasting {
    /// None where nobody is told of any.
    events: Option<Kept>,
    measure: Measure,
    state_dir: PathBuf,
}

impl Outbox {
    /// What is to be kept when the loop has ended.
    #[must_use]
    pub fn lasting(&self) -> Lasting {
        Lasting {
            events: self.notifier.as_ref().map(Notifier::kept),
            measure: self.recent.counters.timings.measure.clone(),
            state_dir: self.site.facts.state_dir.clone(),
        }
    }
}

impl Lasting {
    /// Waits until all is on the disk, at most so long.
    pub async fn flush(&self, within: Duration) {
        let events = async {
            if let Some(events) = &self.events {
                events.flush(within).await;
            }
        };
        tokio::join!(events, self.save_measured(within));
    }

    /// In a thread that nobody waits for: a disk may hang.
    async fn save_measured(&self, within: Duration) {
        let (measure, state_dir) = (self.measure.clone(), self.state_dir.clone());
        let (done, saved) = oneshot::channel();
        let spawned = thread::Builder::new().spawn(move || {
            measure.save(&state_dir);
            // Whoever waited may have given up.
            let _ = done.send(());
        });
        if spawned.is_ok() {
            // What is not written by then is a minute at most.
            let _ = tokio::time::timeout(within, saved).await;
        }
    }
}
