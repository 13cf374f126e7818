//! Which etcd is trusted, and how long a beat may have promised that nobody here saw. What the disk must hold of it before
//! anything counts on it.

pub(crate) mod config;

use std::time::Duration;

use crate::event::Action;
use crate::protocol::records::{ClusterConfig, Pin, View};
use crate::protocol::secret::Promised;
use crate::text;

/// How far the revision may grow before the pin on disk follows.
const PIN_STEP: i64 = 10_000;

/// What this node trusts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trust {
    pinned: Option<Pin>,
    /// The revision of the pin on the disk.
    written: i64,
    /// The longest that an ordinary beat may have promised which this node did not see; 0 before anything is known.
    longest: Duration,
    /// Promises, by the etcd that was trusted last.
    promised: Promised,
    /// Whether the ttl in force is the cluster's yet, and not the file's.
    adopted: bool,
}

impl Trust {
    /// `pinned`: from the disk. `ttl`: the file's, for a pin that does not know its own.
    pub(crate) fn new(pinned: Option<Pin>, ttl: Duration) -> Self {
        Self {
            pinned,
            written: pinned.map_or(0, |pin| pin.revision),
            longest: pinned.map_or(Duration::ZERO, |pin| pin.longest(ttl)),
            promised: pinned.map(|pin| pin.promised()).unwrap_or_default(),
            adopted: false,
        }
    }

    /// The promises that count after an accept: etcd's, or those that it has forgotten.
    pub(crate) fn promised(&self, view: &View) -> Promised {
        let told = view.config.map(|config| config.promised());
        told.filter(|told| told.bound_ms.is_some()).unwrap_or(self.promised)
    }

    /// Why this etcd is not the one that was pinned.
    pub(crate) fn strange(&self, view: &View) -> Option<String> {
        let pin = self.pinned?;
        let generation = view.config.map_or(0, |config| config.generation);
        if generation > pin.generation && pin.generation > 0 {
            return None;
        }
        if view.cluster_id != pin.cluster_id {
            return Some(text::trust::other_cluster(view.cluster_id, pin.cluster_id));
        }
        if generation < pin.generation {
            return Some(text::trust::generation_back(pin.generation, generation));
        }
        let back = view.revision < pin.revision;
        back.then(|| text::trust::revision_back(pin.revision, view.revision))
    }

    /// Whether all that is strange is that somebody deleted the configuration. A restore shows more: it goes back, and to a
    /// configuration as a rule.
    pub(crate) fn misses_config_only(&self, view: &View) -> bool {
        let forward = |pin: Pin| view.cluster_id == pin.cluster_id && view.revision >= pin.revision;
        view.config.is_none() && self.pinned.is_some_and(forward)
    }

    /// While the configuration is missing nothing may go back, counted from what was read last. Gives the one that should
    /// stand there.
    pub(crate) fn expect_config(&mut self, revision: i64, ttl: Duration) -> Option<ClusterConfig> {
        let pin = self.pinned.as_mut()?;
        pin.revision = pin.revision.max(revision);
        Some(ClusterConfig::new(pin.generation, ttl, self.longest.max(ttl)).with(self.promised))
    }

    /// Whether an operator has accepted this etcd on another node.
    pub(crate) fn accepted_elsewhere(&self, view: &View) -> bool {
        let generation = view.config.map_or(0, |config| config.generation);
        // A pin that was damaged does not know its generation; the rest of it counts.
        self.pinned
            .is_some_and(|pin| generation > pin.generation && pin.generation > 0)
    }

    /// Whatever was trusted before counts for nothing.
    pub(crate) fn forget(&mut self) {
        self.pinned = None;
    }

    /// The generation that is trusted; 0: none.
    pub(crate) fn generation(&self) -> u64 {
        self.pinned.map_or(0, |pin| pin.generation)
    }

    /// What is known of the configuration before it was ever read. The ttl is one that nobody can have waited for in vain: a
    /// shorter promise than the cluster's needs nobody's consent.
    pub(crate) fn config(&self, ttl: Duration) -> Option<ClusterConfig> {
        let pin = self.pinned.filter(|pin| pin.generation > 0 && pin.longest_ms > 0)?;
        let longest = Duration::from_millis(pin.longest_ms);
        Some(ClusterConfig::new(pin.generation, ttl.min(longest), longest).with(pin.promised()))
    }

    /// Trusts what was read, and gives what the disk must know of it.
    pub(crate) fn pin(&mut self, view: &View) -> Option<Action> {
        let config = view.config?;
        let pin = Pin {
            cluster_id: view.cluster_id,
            generation: config.generation,
            revision: view.revision,
            longest_ms: u64::try_from(self.longest.as_millis()).unwrap_or(u64::MAX),
            promises_ms: config.promises_ms,
            promises_secret: config.promises_secret,
        };
        self.promised = config.promised();
        let old = self.pinned.replace(pin);
        // What somebody may count on must be on the disk first. A revision that is behind there, or a promise that is too
        // long, costs nothing but time.
        let counts = old.is_none_or(|old| {
            let other = (old.cluster_id, old.generation, old.promised());
            other != (pin.cluster_id, pin.generation, pin.promised()) || old.longest_ms < pin.longest_ms
        });
        let far = pin.revision.saturating_sub(self.written) >= PIN_STEP;
        let action = if counts {
            Action::Pin(pin)
        } else if far || old.is_some_and(|old| old.longest_ms > pin.longest_ms) {
            Action::PinLater(pin)
        } else {
            return None;
        };
        self.written = pin.revision;
        Some(action)
    }

    /// The longest promise that may not have been seen; `ttl` before anything is known.
    pub(crate) fn longest(&self, ttl: Duration) -> Duration {
        match self.longest {
            Duration::ZERO => ttl,
            known => known,
        }
    }

    /// A longer promise counts as soon as it is read.
    pub(crate) fn raise_longest(&mut self, view: &View) {
        let longest = view.config.map_or(Duration::ZERO, |config| config.longest());
        self.longest = self.longest.max(longest);
    }

    /// Nobody can have been promised more than this any more. Gives what was waited for until now, if that was longer.
    pub(crate) fn would_settle(&self, ttl: Duration) -> Option<Duration> {
        (self.longest > ttl).then_some(self.longest)
    }

    pub(crate) fn settle(&mut self, ttl: Duration) {
        self.longest = ttl;
    }

    /// The cluster's ttl is in force from here on; true for the first time.
    pub(crate) fn adopt_ttl(&mut self) -> bool {
        !std::mem::replace(&mut self.adopted, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(10);

    fn view(cluster_id: u64, generation: u64, revision: i64) -> View {
        View {
            cluster_id,
            revision,
            config: Some(ClusterConfig::new(generation, TTL, TTL)),
            ..View::default()
        }
    }

    fn trusting(view: &View) -> Trust {
        let mut trust = Trust::new(None, TTL);
        assert!(
            matches!(trust.pin(view), Some(Action::Pin(_))),
            "the first is on the disk"
        );
        trust
    }

    #[test]
    fn another_cluster_an_older_generation_and_an_older_revision_are_strange() {
        let trust = trusting(&view(7, 3, 100));
        assert_eq!(trust.strange(&view(7, 3, 100)), None);
        assert_eq!(trust.strange(&view(7, 3, 101)), None);
        for (other, word) in [
            (view(8, 3, 200), "cluster id"),
            (view(7, 2, 200), "generation"),
            (view(7, 3, 99), "revision"),
        ] {
            let why = trust.strange(&other).unwrap_or_default();
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn a_deleted_configuration_is_told_from_a_restore() {
        let mut trust = trusting(&view(7, 3, 100));
        let gone = |cluster_id, revision| View {
            config: None,
            ..view(cluster_id, 0, revision)
        };
        assert!(trust.misses_config_only(&gone(7, 100)) && trust.misses_config_only(&gone(7, 150)));
        assert!(!trust.misses_config_only(&gone(7, 99)) && !trust.misses_config_only(&gone(8, 200)));
        assert_eq!(trust.expect_config(150, TTL).map(|config| config.generation), Some(3));
        // What was read meanwhile counts: an older etcd that shows up now is a restored one.
        assert!(!trust.misses_config_only(&gone(7, 149)));
        assert!(trust.strange(&view(7, 3, 149)).is_some() && trust.strange(&view(7, 3, 151)).is_none());
    }

    #[test]
    fn a_higher_generation_is_an_accept_and_not_strange() {
        let trust = trusting(&view(7, 3, 100));
        let accepted = view(9, 4, 1);
        assert_eq!(trust.strange(&accepted), None);
        assert!(trust.accepted_elsewhere(&accepted) && !trust.accepted_elsewhere(&view(7, 3, 101)));
    }

    #[test]
    fn a_pin_without_a_generation_accepts_nothing() {
        let pin = Pin {
            cluster_id: 7,
            generation: 0,
            revision: 5,
            longest_ms: 0,
            promises_ms: None,
            promises_secret: None,
        };
        let trust = Trust::new(Some(pin), TTL);
        assert!(!trust.accepted_elsewhere(&view(9, 4, 9)));
        assert!(trust.strange(&view(9, 4, 9)).is_some());
        assert!(trust.config(TTL).is_none());
    }

    #[test]
    fn the_disk_follows_when_something_counts_on_it_and_else_now_and_then() {
        let mut trust = trusting(&view(7, 3, 100));
        assert_eq!(trust.pin(&view(7, 3, 101)), None);
        assert!(matches!(
            trust.pin(&view(7, 3, 100 + PIN_STEP)),
            Some(Action::PinLater(_))
        ));
        let longer = View {
            config: Some(ClusterConfig::new(3, TTL, TTL * 3)),
            ..view(7, 3, 100 + PIN_STEP)
        };
        trust.raise_longest(&longer);
        assert!(
            matches!(trust.pin(&longer), Some(Action::Pin(_))),
            "a longer promise comes first"
        );
        assert_eq!(trust.longest(TTL), TTL * 3);
        assert_eq!(trust.would_settle(TTL), Some(TTL * 3));
        trust.settle(TTL);
        assert!(matches!(trust.pin(&longer), Some(Action::PinLater(_))));
    }

    #[test]
    fn the_ttl_is_adopted_once() {
        let mut trust = Trust::new(None, TTL);
        assert!(trust.adopt_ttl() && !trust.adopt_ttl());
        assert_eq!(trust.longest(TTL), TTL, "nothing is known yet");
    }
}
