//! What must hold after every event.

use super::event::Action;
use super::group::Stage;
use super::node::Node;
use super::time::Time;

impl Node {
    /// What must hold after every event, in release builds too: a breach ends the process, and the tethers fence.
    pub(super) fn assert_invariants(&self, now: Time, actions: &[Action]) {
        for group in self.groups.values() {
            let Some(held) = &group.held else { continue };
            assert!(
                !held.soft_passed || held.latched,
                "a run whose lease ran out is latched"
            );
            assert!(
                !held.latched || held.stage != Stage::Active,
                "a latched run is never active"
            );
            let name = &group.settings.name;
            let starts = actions.iter().any(|action| {
                matches!(action, Action::Start { of, .. } | Action::Admit { of, .. } if of.group == *name)
                    || matches!(action, Action::VipHold { group, announce: true, .. } if group == name)
            });
            assert!(
                !starts || self.timing.watchdog.is_none() || self.watchdog.armed,
                "nothing starts before the watchdog is armed"
            );
            let others = |action: &Action| matches!(action, Action::Start { of, made, .. } if of.group == *name && !group.containers.fits(made));
            assert!(
                !actions.iter().any(others),
                "what starts was made for the store that is asked for"
            );
            assert!(
                !(starts && now.reached(held.deadlines.soft)),
                "nothing starts at or after the soft deadline"
            );
        }
    }
}
