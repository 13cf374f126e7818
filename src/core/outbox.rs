//! What follows from one event, in the order in which it must be carried out. The order is that of the fields, whoever
//! adds what when: nobody inserts before somebody else's.

use crate::event::Action;
use crate::protocol::records::Saved;
use crate::time::Time;

/// The actions of one event.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// On the disk first: a latch before its stop begins, a run before it starts.
    durable: Option<Saved>,
    /// The watchdog next: it is armed before anything starts, and fed for the last time before it is put to sleep.
    arm: Vec<Arm>,
    /// Everything else, in the order in which it was decided.
    effects: Vec<Action>,
}

/// What is done to the watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arm {
    Feed { until: Time },
    Disarm,
}

impl Outbox {
    /// What the boot-scoped file must hold before anything of this event is carried out.
    pub(crate) fn save(&mut self, memory: Saved) {
        self.durable = Some(memory);
    }

    pub(crate) fn arm(&mut self, arm: Arm) {
        self.arm.push(arm);
    }

    pub(crate) fn effects(&mut self) -> &mut Vec<Action> {
        &mut self.effects
    }

    /// Gives everything in its order.
    pub(crate) fn drain_into(self, out: &mut Vec<Action>) {
        let Self { durable, arm, effects } = self;
        out.extend(durable.map(Action::Save));
        out.extend(arm.into_iter().map(|arm| match arm {
            Arm::Feed { until } => Action::Feed { until },
            Arm::Disarm => Action::Disarm,
        }));
        out.extend(effects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_comes_first_then_the_watchdog_and_only_then_what_depends_on_them() {
        let mut outbox = Outbox::default();
        let exit = Action::Exit { detached: false };
        outbox.effects().push(exit.clone());
        outbox.arm(Arm::Feed { until: Time::default() });
        outbox.arm(Arm::Disarm);
        outbox.save(Saved::default());
        // What was there before is of an earlier event.
        let before = Action::Attempt(std::time::Duration::ZERO);
        let mut out = vec![before.clone()];
        outbox.drain_into(&mut out);
        let feed = Action::Feed { until: Time::default() };
        let saved = Action::Save(Saved::default());
        assert_eq!(out, [before, saved, feed, Action::Disarm, exit]);
    }

    #[test]
    fn what_is_saved_last_is_what_the_disk_must_hold() {
        let mut outbox = Outbox::default();
        let memory = |lease| Saved {
            lease,
            ..Saved::default()
        };
        outbox.save(memory(1));
        outbox.save(memory(2));
        let mut out = Vec::new();
        outbox.drain_into(&mut out);
        assert_eq!(out, [Action::Save(memory(2))]);
    }
}
