//! The virtual addresses of a run: asked about first, then held, then dropped.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Group, VipStage};
use crate::event::{Action, VipNews};
use crate::node::Node;
use crate::protocol::sizing::Deadlines;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// Between two orders to add or drop the addresses that brought no answer.
pub(super) const VIP_RETRY: Duration = Duration::from_secs(1);
/// Before asking again whether somebody still answers for an address.
const CONFLICT_RETRY: Duration = Duration::from_secs(5);
/// The same where the holder before may keep it for a little longer than its lease.
const COARSE_RETRY: Duration = Duration::from_millis(500);

impl Group {
    pub(super) fn set_vip(&mut self, stage: VipStage) {
        if let Some(held) = &mut self.held {
            held.vip = stage;
        }
    }

    /// News of the addresses.
    pub(crate) fn vip_free(&mut self) {
        if let Some(held) = &mut self.held
            && held.vip == VipStage::Probing
        {
            held.vip = VipStage::Free;
        }
    }

    pub(crate) fn vip_conflict(&mut self, now: Time, vip: &str, mac: &str, out: &mut Vec<Action>) {
        if self.held.as_ref().is_some_and(|held| held.vip == VipStage::Probing) {
            self.vip_unasked(now);
            let text = text::address::taken_already(vip, mac);
            self.say(Code::AddressConflict, text, out);
        }
    }

    /// The host itself has an address of the group, or has it no more. It is left where it is, and nothing starts here for it;
    /// what runs goes on.
    pub(crate) fn vip_occupied(&mut self, now: Time, by: Option<String>, out: &mut Vec<Action>) {
        if let Some(text) = &by {
            self.vip_unasked(now);
            if self.occupied != by {
                self.say(Code::AddressOccupied, text.clone(), out);
            }
        }
        self.occupied = by;
    }

    /// A question that came to nothing is asked again.
    fn vip_unasked(&mut self, now: Time) {
        if let Some(held) = self.held.as_ref().filter(|held| held.vip == VipStage::Probing) {
            let pause = if held.deadlines.coarse {
                COARSE_RETRY
            } else {
                CONFLICT_RETRY
            };
            self.set_vip(VipStage::Conflict {
                retry_at: now.plus(pause),
            });
        }
    }

    /// Somebody else uses an address. Under a live lease it is ours, and the adapter has announced it again; without one
    /// it must not be here at all.
    pub(crate) fn vip_foreign(&mut self, now: Time, vip: &str, mac: &str, out: &mut Vec<Action>) {
        let ours = self.held.as_ref().is_some_and(|held| {
            matches!(held.vip, VipStage::Adding { .. } | VipStage::Held) && !now.reached(held.deadlines.end)
        });
        if ours {
            let text = text::address::contested(vip, mac);
            return self.mention(now, Code::AddressContested, text, out);
        }
        if !self.held.as_ref().is_some_and(|held| held.vip == VipStage::Probing) {
            out.push(Action::VipDrop {
                group: self.settings.name.clone(),
            });
        }
        let text = text::address::dropped(vip, mac);
        self.mention(now, Code::AddressDropped, text, out);
    }

    pub(crate) fn vip_held(&mut self) {
        if let Some(held) = &mut self.held
            && matches!(held.vip, VipStage::Adding { .. })
        {
            held.vip = VipStage::Held;
        }
    }

    pub(crate) fn vip_dropped(&mut self) {
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
                let Deadlines { end: until, coarse, .. } = held.deadlines;
                out.push(Action::VipHold {
                    group,
                    until,
                    coarse,
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

impl Node {
    /// News of the addresses, for the group that it is about.
    pub(crate) fn take_vip(&mut self, now: Time, news: VipNews, out: &mut Vec<Action>) {
        let of = |groups: &mut BTreeMap<String, Group>, name: &str, act: &mut dyn FnMut(&mut Group)| {
            if let Some(group) = groups.get_mut(name) {
                act(group);
            }
        };
        match news {
            VipNews::Free { group } => of(&mut self.groups, &group, &mut |group| group.vip_free()),
            VipNews::Conflict { group, vip, mac } => {
                of(&mut self.groups, &group, &mut |group| {
                    group.vip_conflict(now, &vip, &mac, out)
                });
            }
            VipNews::Held { group } => of(&mut self.groups, &group, &mut Group::vip_held),
            VipNews::Occupied { group, by } => of(&mut self.groups, &group, &mut |group| {
                group.vip_occupied(now, by.clone(), out);
            }),
            VipNews::Dropped { group } => of(&mut self.groups, &group, &mut Group::vip_dropped),
            VipNews::Failed { group, error } => of(&mut self.groups, &group, &mut |group| {
                group.vip_unasked(now);
                group.say(Code::AddressFailed, text::address::not_added(&error), out);
            }),
            VipNews::Foreign { group, vip, mac } => of(&mut self.groups, &group, &mut |group| {
                group.vip_foreign(now, &vip, &mac, out);
            }),
            VipNews::Lost { group, vip } => of(&mut self.groups, &group, &mut |group| {
                group.mention(now, Code::AddressRestored, text::address::put_back(&vip), out);
            }),
            VipNews::Link { up } => {
                let was = self.host.link(now, up);
                if !up {
                    self.say(Code::LinkLost, text::address::LINK_LOST.to_owned(), out);
                } else if !was {
                    self.say(Code::LinkRestored, text::address::LINK_RESTORED.to_owned(), out);
                }
            }
        }
    }
}
