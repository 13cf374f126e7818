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
/// Before asking again whether somebody still answers for an address; who still does then may be passed over.
const CONFLICT_RETRY: Duration = Duration::from_secs(5);
/// The same where the holder before may keep it for a little longer than its lease.
const COARSE_RETRY: Duration = Duration::from_millis(500);

/// What follows where somebody answers for an address that this node is to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// It is not taken while he answers.
    #[default]
    Wait,
    /// It is taken, unless a node that lives may be the one who answers.
    Take,
}

/// Whose hardware address it is that answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answerer {
    /// That of a node whose lease lives.
    Living(String),
    /// That of a node whose lease is over: it is still on, or a switch or a proxy goes on answering for it.
    Silent(String),
    /// No node's.
    Stranger,
    /// A node that lives has not told its own, or etcd does not answer.
    Unknown,
}

impl Answerer {
    fn may_be_passed_over(&self) -> bool {
        match self {
            Self::Silent(_) | Self::Stranger => true,
            Self::Living(_) | Self::Unknown => false,
        }
    }
}

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
            held.answered_since = None;
        }
    }

    pub(crate) fn vip_conflict(&mut self, now: Time, vip: &str, mac: &str, who: &Answerer, out: &mut Vec<Action>) {
        let Some(held) = self.held.as_mut().filter(|held| held.vip == VipStage::Probing) else {
            return;
        };
        let since = *held.answered_since.get_or_insert(now);
        let takes = self.settings.on_conflict == OnConflict::Take && who.may_be_passed_over();
        if takes && now.waited(since) >= CONFLICT_RETRY {
            held.vip = VipStage::Free;
            let text = text::address::taken_all_the_same(vip, mac, who);
            return self.mention(now, Code::AddressTaken, text, out);
        }
        self.vip_unasked(now);
        let text = text::address::taken_already(vip, mac, who, takes);
        self.say(Code::AddressConflict, text, out);
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
                let who = self.answerer(now, &mac);
                of(&mut self.groups, &group, &mut |group| {
                    group.vip_conflict(now, &vip, &mac, &who, out);
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
            VipNews::Link { up, mac } => {
                let before = self.host.has_link();
                let was = self.host.link(now, up, mac);
                if !up && before {
                    self.say(Code::LinkLost, text::address::LINK_LOST.to_owned(), out);
                } else if !was {
                    self.say(Code::LinkRestored, text::address::LINK_RESTORED.to_owned(), out);
                }
            }
        }
    }

    /// Who answers, as far as nodes have told their hardware addresses. That of one that lives is never passed over, whoever has it
    /// besides.
    fn answerer(&self, now: Time, mac: &str) -> Answerer {
        let view = self.facts.view();
        let lives = |node: &str| {
            let lease = view.lease_of(node);
            lease != 0 && !self.facts.observer().ripe(now, node, lease)
        };
        let told = |node: &str| view.statuses.get(node).map_or("", |status| status.mac.as_str());
        let others = || {
            let nodes = view.nodes.keys().chain(view.statuses.keys());
            nodes.filter(|node| **node != self.facts.me().name)
        };
        let of_mac = || others().filter(|node| told(node) == mac);
        if let Some(living) = of_mac().find(|node| lives(node)) {
            return Answerer::Living(living.clone());
        }
        if !self.contact_holds_at(now) || others().any(|node| lives(node) && told(node).is_empty()) {
            return Answerer::Unknown;
        }
        of_mac()
            .next()
            .map_or(Answerer::Stranger, |node| Answerer::Silent(node.clone()))
    }
}
