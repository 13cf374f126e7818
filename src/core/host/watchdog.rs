//! When the hardware watchdog may be fed: as long as it would still strike in time if this were the last feed.
//!
//! It is armed before anything of a group starts and put to sleep once nothing is held. What it waits for is the proof of
//! stop: while a container may run, it is fed only so far that it strikes before the end of the lease, or soon after a
//! stop that should have been proved. The loop, the beats and the tethers are thereby watched at once: whichever fails
//! keeps the next feed from being given.

use std::time::Duration;

use crate::node::Node;
use crate::outbox::{Arm, Outbox};
use crate::snapshot::code::Code;
use crate::text;
use crate::text::host::Unless;
use crate::time::Time;

/// Devices count in whole seconds: one may strike a second later than it says.
pub const COARSE: Duration = Duration::from_secs(1);
/// Before the last moment, so that the wake-up for it is not too late.
const FEED_MARGIN: Duration = Duration::from_millis(20);
/// From one feed to the next, at most.
const FEED_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// What the core remembers of the device.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watchdog {
    armed: bool,
    fed_at: Time,
    /// The last moment at which it may be fed; none while nothing runs that it guards.
    limit: Option<Time>,
    withheld: bool,
}

impl Watchdog {
    /// Whether somebody means to feed it.
    pub(crate) fn is_armed(&self) -> bool {
        self.armed
    }

    /// Whether it is left to starve.
    pub(crate) fn is_withheld(&self) -> bool {
        self.withheld
    }

    /// Why nothing may come to this host now.
    pub(crate) fn imminent_reset(&self) -> Option<String> {
        self.withheld.then(|| text::host::RESET_SOON.to_owned())
    }
}

impl Node {
    /// Feeds it, lets it starve, or puts it to sleep.
    pub(crate) fn watch_over(&mut self, now: Time, outbox: &mut Outbox) {
        let Some(timeout) = self.facts.timing().watchdog else {
            return;
        };
        let limit = self.feed_deadline(timeout);
        self.host.watchdog.limit = limit;
        if self.membership.ending().is_over() || !self.is_guarded() {
            // Under a hold the containers go on for long without anybody to feed it.
            let is_detached = self.membership.ending().is_over() && !self.membership.ending().is_told();
            if self.host.watchdog.armed && (limit.is_none() || is_detached) {
                outbox.arm(Arm::Disarm);
                self.host.watchdog = Watchdog::default();
            }
            return;
        }
        let withheld = limit.is_some_and(|limit| now.reached(limit));
        if withheld != self.host.watchdog.withheld && self.host.watchdog.armed {
            let stopping = self
                .groups
                .values()
                .any(|group| group.held().is_some_and(|held| held.latched));
            let unless = if stopping {
                Unless::StopProved
            } else {
                Unless::BeatAnswered
            };
            let (code, text) = match withheld {
                true => (Code::WatchdogStarves, text::host::watchdog_starves(timeout, unless)),
                false => (Code::WatchdogFed, text::host::WATCHDOG_FED.to_owned()),
            };
            self.say(code, text, outbox.effects());
        }
        self.host.watchdog.withheld = withheld;
        if withheld || self.feed_at().is_some_and(|at| !now.reached(at)) {
            return;
        }
        let stale = now.plus(timeout);
        let until = limit.map_or(stale, |limit| limit.earlier(stale));
        outbox.arm(Arm::Feed { until });
        self.host.watchdog.armed = true;
        self.host.watchdog.fed_at = now;
    }

    /// When it must be fed next.
    pub(crate) fn feed_at(&self) -> Option<Time> {
        let Watchdog {
            armed, fed_at, limit, ..
        } = self.host.watchdog;
        let timeout = self.facts.timing().watchdog.filter(|_| armed)?;
        let next = fed_at.plus((timeout / 5).min(FEED_INTERVAL_MAX));
        let last = limit.map(|limit| limit.minus(FEED_MARGIN));
        let last = last.filter(|last| !fed_at.reached(*last));
        Some(last.map_or(next, |last| next.earlier(last)))
    }

    /// Whether containers may be started as far as the watchdog is concerned.
    pub(crate) fn is_watched(&self) -> bool {
        self.facts.timing().watchdog.is_none() || (self.host.watchdog.armed && !self.host.watchdog.withheld)
    }

    fn is_guarded(&self) -> bool {
        self.adoption.names().next().is_some() || self.groups.values().any(|group| group.is_held())
    }

    /// The last moment at which it may be fed, were this the last feed.
    fn feed_deadline(&self, timeout: Duration) -> Option<Time> {
        let strikes = timeout + COARSE;
        // Before an adoption only the page says how long the run may go on.
        let unadopted = self.adoption.names().map(|name| {
            let hard = self.adoption.hard(name);
            hard.unwrap_or_default()
                .plus(self.facts.timing().kill_budget())
                .minus(strikes)
        });
        let held = self.groups.values().filter_map(|group| group.feed_deadline(strikes));
        unadopted.chain(held).reduce(Time::earlier)
    }
}
