//! The virtual addresses of a run: asked about first, then held, then dropped.

use std::time::Duration;

use super::{Group, VipStage};
use crate::core::event::{Action, Level};
use crate::core::time::Time;

/// Between two orders to add or drop the addresses that brought no answer.
pub(super) const VIP_RETRY: Duration = Duration::from_secs(1);
/// Before asking again whether somebody still answers for an address.
const CONFLICT_RETRY: Duration = Duration::from_secs(5);

impl Group {
    pub(super) fn set_vip(&mut self, stage: VipStage) {
        if let Some(held) = &mut self.held {
            held.vip = stage;
        }
    }

    /// News of the addresses.
    pub(in crate::core) fn vip_free(&mut self) {
        if let Some(held) = &mut self.held
            && held.vip == VipStage::Probing
        {
            held.vip = VipStage::Free;
        }
    }

    pub(in crate::core) fn vip_conflict(&mut self, now: Time, vip: &str, mac: &str, out: &mut Vec<Action>) {
        if self.held.as_ref().is_some_and(|held| held.vip == VipStage::Probing) {
            self.set_vip(VipStage::Conflict {
                retry_at: now.plus(CONFLICT_RETRY),
            });
            let text = format!(
                "{vip} is answered by {mac}: its holder is not fenced; the address is not taken while it answers"
            );
            self.say(Level::Alarm, text, out);
        }
    }

    pub(in crate::core) fn vip_held(&mut self) {
        if let Some(held) = &mut self.held
            && matches!(held.vip, VipStage::Adding { .. })
        {
            held.vip = VipStage::Held;
        }
    }

    pub(in crate::core) fn vip_dropped(&mut self) {
        if let Some(held) = &mut self.held
            && matches!(held.vip, VipStage::Dropping { .. })
        {
            held.vip = VipStage::Off;
        }
    }

    pub(super) fn step_vip(&mut self, now: Time, out: &mut Vec<Action>) {
        let Some(held) = &mut self.held else { return };
        let group = self.settings.name.clone();
        let wanted =
            (self.settings.vip_first || held.probed) && self.settings.vips > 0 && !now.reached(held.deadlines.soft);
        match held.vip {
            VipStage::Free | VipStage::Adding { .. } if wanted && held.vip.due(now) => {
                held.vip = VipStage::Adding {
                    retry_at: now.plus(VIP_RETRY),
                };
                let until = held.deadlines.end;
                out.push(Action::VipHold {
                    group,
                    until,
                    announce: true,
                });
            }
            VipStage::Conflict { retry_at } if now.reached(retry_at) => {
                held.vip = VipStage::Probing;
                out.push(Action::VipProbe { group });
            }
            VipStage::Off
            | VipStage::Probing
            | VipStage::Conflict { .. }
            | VipStage::Free
            | VipStage::Adding { .. }
            | VipStage::Held
            | VipStage::Dropping { .. } => {}
        }
    }
}
