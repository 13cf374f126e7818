//! A holder whose cable is out, while its lease lives on over another network: its own probes don't leave the host and pass, and
//! no client gets through.

use std::time::Duration;

use super::{AfterStop, Context, Departure, Group, OnFailure, StayReason, StopMode};
use crate::event::Action;
use crate::node::Node;
use crate::protocol::{FaultId, ReleaseCause};
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// A bond that fails over, or a port that is configured anew, is back within this.
const GRACE: Duration = Duration::from_secs(5);
/// How long nobody gives it back to a host whose cable was out.
const SHUN: Duration = Duration::from_secs(60);

impl Node {
    /// When what is held here is handed over, if the link does not come back until then.
    pub(crate) fn link_heeded_at(&self) -> Option<Time> {
        self.host.without_link().map(|since| since.plus(GRACE))
    }

    /// Hands over what clients can't reach here, once that has lasted, to a standby that has a link.
    pub(crate) fn step_link(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.host.has_link() {
            self.groups.values_mut().for_each(|group| group.link_stays = None);
        }
        if !self.link_heeded_at().is_some_and(|at| now.reached(at)) || !self.hears() {
            return;
        }
        let held = self.groups.iter().filter(|(_, group)| group.is_behind_link());
        let names: Vec<String> = held.map(|(name, _)| name.clone()).collect();
        for name in names {
            let context = self.context(now, &name);
            if let Some(group) = self.groups.get_mut(&name) {
                group.leave_link(context, out);
            }
        }
    }
}

impl Group {
    /// It is held, stays held as far as anybody knows, and its clients come over the interface.
    fn is_behind_link(&self) -> bool {
        let goes_on = self.held.as_ref().is_some_and(|held| !held.latched);
        goes_on && self.settings.vips > 0
    }

    fn leave_link(&mut self, context: Context, out: &mut Vec<Action>) {
        let stays = if context.frozen {
            return;
        } else if context.paused {
            Some(StayReason::OnPause)
        } else if self.settings.on_failure == OnFailure::Notify {
            Some(StayReason::Notify)
        } else if !context.other_ready {
            Some(StayReason::NoStandby)
        } else {
            None
        };
        let told = std::mem::replace(&mut self.link_stays, stays);
        if let Some(why) = stays {
            if told != stays {
                self.mention(context.now, Code::LinkStays, text::address::link_stays(why), out);
            }
            return;
        }
        self.trouble = Some(FaultId::LinkLost);
        self.failing_until = Some(context.now.plus(SHUN));
        if let Some(held) = &mut self.held {
            // It follows the group nowhere.
            held.departure = Departure::Fault(None);
        }
        let after = AfterStop::Release {
            cause: ReleaseCause::LinkLost,
            reason: text::address::WITHOUT_LINK.to_owned(),
            successor: None,
        };
        let text = text::address::link_moves(GRACE);
        self.stop(context.now, StopMode::Drain, after, text, Code::LinkMoved, out);
    }
}
