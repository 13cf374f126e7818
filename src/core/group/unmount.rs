//! The second half of a proof of stop: a file system that one host alone may mount is unmounted by the engine after the
//! last process has ended, or never, where the engine hangs; and the kernel writes to it until then.

use std::time::Duration;

use super::{Group, Holding, ServiceState, Stage};
use crate::epoch::Run;
use crate::event::{Action, Mounts, ServiceKey};
use crate::node::Node;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// Between an answer and the next look.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A look that was not answered for so long is made once more.
const LOOK_LOST: Duration = Duration::from_secs(30);
/// A healthy engine takes less: from then on it is told.
const TOLD_AFTER: Duration = Duration::from_secs(2);
/// How long an unmount may take before the stop counts as failed, while the lease lives.
pub(super) const UNMOUNT_PATIENCE: Duration = Duration::from_secs(5);

/// What a run has mounted that nobody else may mount meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MountState {
    /// Nothing, ever or any more.
    Gone,
    /// Perhaps something.
    MayBe {
        /// When to look again, once it was looked for.
        look_at: Option<Time>,
        /// What the last look found.
        doubt: Option<String>,
    },
}

impl MountState {
    pub(super) fn new(exclusive: bool) -> Self {
        match exclusive {
            true => Self::MayBe {
                look_at: None,
                doubt: None,
            },
            false => Self::Gone,
        }
    }
}

impl Node {
    pub(crate) fn mounting(&mut self, now: Time, of: &ServiceKey, run: Run) {
        if let Some(group) = self.groups.get_mut(&of.group) {
            group.mounting(now, of.service, run);
        }
    }

    pub(crate) fn mounts_seen(&mut self, now: Time, group: &str, run: Run, mounts: Mounts, out: &mut Vec<Action>) {
        if let Some(group) = self.groups.get_mut(group) {
            group.mounts_seen(now, run, mounts, out);
        }
    }
}

impl Holding {
    pub(super) fn look_at_mounts(&self) -> Option<Time> {
        match self.mounts {
            MountState::MayBe { look_at, .. } if self.stage == Stage::Withdrawing => look_at,
            MountState::MayBe { .. } | MountState::Gone => None,
        }
    }

    /// Since when only the mounts keep the stop from being proved.
    pub(crate) fn unmounting_since(&self) -> Option<Time> {
        (self.stage == Stage::Withdrawing && self.mounts != MountState::Gone).then_some(self.since)
    }

    /// Until when it must be unmounted, or at the latest when its lease ends; none where nothing may be mounted.
    pub(super) fn unmount_due(&self) -> Option<Time> {
        let end = self.deadlines.end;
        let due = self.unmounting_since().map(|since| since.plus(UNMOUNT_PATIENCE));
        (self.mounts != MountState::Gone).then(|| due.map_or(end, |due| due.earlier(end)))
    }
}

impl Group {
    /// Looks, once nothing of the run can hold its mounts any more.
    pub(super) fn step_unmount(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        let MountState::MayBe { look_at, .. } = &mut held.mounts else {
            return;
        };
        if look_at.is_none_or(|at| now.reached(at)) {
            *look_at = Some(now.plus(LOOK_LOST));
            out.push(Action::LookAtMounts {
                group: self.settings.name.clone(),
                run: held.run,
            });
        }
    }

    /// A mount that takes its time is neither a start that hangs nor, once the run is stopped, an unmount that does not come.
    fn mounting(&mut self, now: Time, service: usize, run: Run) {
        let Some(held) = self.held.as_mut().filter(|held| held.run == run) else {
            return;
        };
        let unmounting = held.unmounting_since().is_some();
        if unmounting && held.stuck.is_none() {
            held.since = now;
        }
        if let Some(at) = held.services.get_mut(service)
            && at.state == ServiceState::Starting
        {
            at.since = now;
        }
    }

    /// What a look found. Only one that began after the last process had ended counts: no other is asked for.
    fn mounts_seen(&mut self, now: Time, run: Run, mounts: Mounts, out: &mut Vec<Action>) {
        let Some(held) = self.held.as_mut().filter(|held| held.run == run) else {
            return;
        };
        let Some(since) = held.unmounting_since() else { return };
        let doubt = match mounts {
            Mounts::Gone => {
                held.mounts = MountState::Gone;
                return;
            }
            Mounts::Left { what: doubt } | Mounts::Hidden { why: doubt } => doubt,
        };
        held.mounts = MountState::MayBe {
            look_at: Some(now.plus(LOOK_AGAIN)),
            doubt: Some(doubt.clone()),
        };
        if held.stuck.is_none() && now.since(since) >= TOLD_AFTER {
            let text = text::stop::not_unmounted(run, &doubt);
            self.say(Code::StopUnproved, text, out);
        }
    }
}
