//! Whether this is the etcd that was trusted before, and what follows when it is not.

use std::time::Duration;

use super::Member;
use crate::core::event::{Action, Level};
use crate::core::node::Node;
use crate::core::records::{Pin, View};
use crate::core::sizing::Timing;
use crate::core::time::Time;

/// How far the revision may grow before the pin on disk follows.
const PIN_STEP: i64 = 10_000;

impl Node {
    /// Why this etcd is not the one that was pinned.
    pub(super) fn strange(&self, view: &View) -> Option<String> {
        let pin = self.pinned?;
        let generation = view.config.map_or(0, |config| config.generation);
        if generation > pin.generation {
            return None;
        }
        if view.cluster_id != pin.cluster_id {
            return Some(format!(
                "etcd's cluster id is {:x}, not {:x} as before",
                view.cluster_id, pin.cluster_id
            ));
        }
        if generation < pin.generation {
            return Some(format!(
                "the cluster's generation went back from {} to {generation}",
                pin.generation
            ));
        }
        let back = view.revision < pin.revision;
        back.then(|| format!("etcd's revision went back from {} to {}", pin.revision, view.revision))
    }

    pub(super) fn freeze(&mut self, why: String, out: &mut Vec<Action>) {
        let text = format!("{why}: nothing starts until `leasehold accept`; see whether etcd was restored or replaced");
        self.say(Level::Alarm, text, out);
        self.contact.clear();
        // Held groups run on to their deadline; no beat counts from here.
        self.member = Member::Frozen { why };
    }

    pub(super) fn accepted_elsewhere(&self, view: &View) -> bool {
        let generation = view.config.map_or(0, |config| config.generation);
        self.pinned.is_some_and(|pin| generation > pin.generation)
    }

    /// After T11: everything seen before counts for nothing, this incarnation included.
    pub(super) fn start_over(&mut self, now: Time, view: View, out: &mut Vec<Action>) {
        self.pinned = None;
        self.pin(&view, out);
        self.observer.clear();
        self.contact.clear();
        self.view = view;
        self.viewed = true;
        let lease = match self.member {
            Member::Joined { lease, .. } | Member::Adopting { lease, .. } | Member::Lost { lease } => lease,
            Member::Arriving
            | Member::Waiting
            | Member::Granting { .. }
            | Member::Registering { .. }
            | Member::Frozen { .. }
            | Member::Left => 0,
        };
        self.lose(now, lease, "an operator accepted a restored etcd", out);
    }

    pub(super) fn pin(&mut self, view: &View, out: &mut Vec<Action>) {
        let Some(config) = view.config else { return };
        let pin = Pin {
            cluster_id: view.cluster_id,
            generation: config.generation,
            revision: view.revision,
        };
        let old = self.pinned.replace(pin);
        let far = old.is_none_or(|old| {
            old.cluster_id != pin.cluster_id
                || old.generation != pin.generation
                || pin.revision - self.pin_written >= PIN_STEP
        });
        if far {
            self.pin_written = pin.revision;
            out.push(Action::Pin(pin));
        }
    }

    /// The ttl in etcd is everybody's; a file that says otherwise is reported, not obeyed.
    pub(super) fn adopt_config(&mut self, out: &mut Vec<Action>) {
        let Some(config) = self.view.config else { return };
        let ttl = Duration::from_millis(config.ttl_ms);
        if ttl != self.timing.ttl {
            let text = format!(
                "the compose file says ttl {:?}, the cluster {ttl:?}: the cluster's holds",
                self.timing.ttl
            );
            self.say(Level::Alarm, text, out);
            self.timing = Timing::new(ttl, self.timing.kappa, None, self.timing.election_timeout)
                .with_watchdog(self.timing.watchdog);
            if let Err(short) = self.timing.check() {
                self.freeze(short.to_string(), out);
            }
        }
    }
}
