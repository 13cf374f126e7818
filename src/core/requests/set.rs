//! Values of a group that change at run time, at an operator's word: one key a group, one transaction each (T16). Which order
//! fits is judged here, by every node alike; `group/policy.rs` puts the values in the place of the file's.

use std::collections::BTreeSet;

use crate::event::{Action, OrderKind, Origin};
use crate::membership::Purpose;
use crate::node::Node;
use crate::protocol::policy::{Change, Policy, SET_MAX, Setting, Told, Wanted};
use crate::protocol::records::StandingOrder;
use crate::requests::refusal::Refusal;
use crate::store::Txn;
use crate::text;

impl Node {
    /// Why these values can't be set.
    pub(crate) fn not_settable(&self, group: &str, changes: &[Change]) -> Option<Refusal> {
        self.not_there(group)
            .or_else(|| twice(changes))
            .or_else(|| changes.iter().find_map(|change| self.not_known(change)))
            .or_else(|| {
                self.misfit(
                    group,
                    &self.policy_after(group, changes, &StandingOrder::default()),
                    changes,
                )
            })
    }

    /// What a change names that is not there, or not there in every version that takes part.
    fn not_known(&self, change: &Change) -> Option<Refusal> {
        let Change::Set(wanted) = change else { return None };
        let view = self.facts.view();
        if let Wanted::Priority { node, .. } = wanted {
            let known =
                view.nodes.contains_key(node) || view.statuses.contains_key(node) || view.known.contains_key(node);
            if !known {
                return Some(Refusal::NoNodeListed { node: node.clone() });
            }
        }
        let me = &self.facts.me().name;
        let mut others = view.statuses.iter().filter(|(node, _)| *node != me);
        let (node, status) = others.find(|(_, status)| !status.heeds_policy)?;
        let (node, version) = (node.clone(), status.version.clone());
        Some(Refusal::SetNotKnown { node, version })
    }

    fn policy_after(&self, group: &str, changes: &[Change], order: &StandingOrder) -> Policy {
        self.facts.view().group(group).policy.clone().changed(changes, order)
    }

    /// What in the whole does not fit. What stood before is not judged anew: taking something back must always be possible.
    fn misfit(&self, group: &str, after: &Policy, changes: &[Change]) -> Option<Refusal> {
        if after.count() > SET_MAX {
            return Some(Refusal::SettingsTooMany { most: SET_MAX });
        }
        let fall = self.groups.get(group).map_or(0, |group| group.fall_with(after));
        if let Some(Wanted::ProbeFallTimeout(fall_timeout)) = after.wanted(&Setting::ProbeFallTimeout)
            && fall > *fall_timeout
            && changes.iter().any(|change| matches!(change, Change::Set(_)))
        {
            let fall_timeout = *fall_timeout;
            return Some(Refusal::FallAboveTimeout { fall, fall_timeout });
        }
        changes.iter().find_map(|change| match change {
            Change::Set(Wanted::Priority { node, value }) => self.taken(group, after, node, *value),
            Change::Set(_) | Change::Unset(_) | Change::UnsetAll => None,
        })
    }

    /// Who has this priority already: by what is set, which T16 compares, or by its own environment, as it told last.
    fn taken(&self, group: &str, after: &Policy, node: &str, value: u32) -> Option<Refusal> {
        let mut set = after.priorities();
        let set = set.find(|(other, theirs)| *other != node && *theirs == value);
        let set = set.map(|(other, _)| (other.to_owned(), Told::Set));
        let by_itself = || {
            let mut others = self.facts.view().statuses.iter().filter(|(other, status)| {
                let has = status.groups.contains_key(group) && after.priority(other).is_none();
                other.as_str() != node && has && status.priority == value
            });
            others.next().map(|(other, _)| (other.clone(), Told::ByItself))
        };
        let (other, told) = set.or_else(by_itself)?;
        Some(Refusal::PriorityTaken {
            group: group.to_owned(),
            node: node.to_owned(),
            other,
            value,
            told,
        })
    }

    /// What to answer where nothing changes; a key that can't be read is written over all the same.
    pub(crate) fn set_already(&self, group: &str, changes: &[Change]) -> Option<String> {
        let before = &self.facts.view().group(group).policy;
        let damaged = self
            .facts
            .view()
            .unreadable
            .contains_key(&self.facts.keys().policy(group));
        let same = *before == self.policy_after(group, changes, &StandingOrder::default());
        (same && !damaged).then(|| text::policy::already(group, before))
    }

    /// T16.
    pub(crate) fn setting(
        &self,
        reply: u64,
        group: String,
        changes: &[Change],
        origin: Origin,
        out: &mut Vec<Action>,
    ) -> Option<(Txn, Purpose)> {
        let kind = OrderKind::Set {
            group: group.clone(),
            changes: changes.to_vec(),
        };
        let over = match self.not_settable(&group, changes) {
            Some(why) => Some(Err(why)),
            None => self.fulfilled(&kind).map(|already| Ok(already.into())),
        };
        if let Some(result) = over {
            out.push(Action::Reply { reply, result });
            return None;
        }
        let after = self.policy_after(&group, changes, &StandingOrder::from(origin));
        let txn = Txn::set_policy(self.facts.keys(), self.as_read(&group), &after);
        let lines: Vec<String> = changes
            .iter()
            .flat_map(|change| self.set_lines(&group, change))
            .collect();
        let done = text::policy::done(&group, &lines);
        Some((txn, Purpose::Set { reply, group, done }))
    }

    fn set_lines(&self, group: &str, change: &Change) -> Vec<String> {
        let file = |setting: &Setting| self.value_in_file(group, setting);
        match change {
            Change::Set(wanted) => {
                let setting = wanted.setting();
                vec![text::policy::set(&setting, &wanted.value(), file(&setting).as_deref())]
            }
            Change::Unset(setting) => vec![text::policy::unset(setting, file(setting).as_deref())],
            Change::UnsetAll => {
                let before = &self.facts.view().group(group).policy;
                let settings = before.given().map(|(setting, _)| setting);
                settings
                    .map(|setting| text::policy::unset(setting, file(setting).as_deref()))
                    .collect()
            }
        }
    }

    /// What counts where nothing is set: this node's file, and what a node says of its own priority.
    pub(crate) fn value_in_file(&self, group: &str, setting: &Setting) -> Option<String> {
        match setting {
            Setting::Priority(node) if *node == self.facts.me().name => Some(self.facts.me().priority.to_string()),
            Setting::Priority(node) => {
                let status = self.facts.view().statuses.get(node)?;
                Some(status.priority.to_string())
            }
            Setting::Failback
            | Setting::RestartBudget
            | Setting::RestartWindow
            | Setting::ProbeInterval
            | Setting::ProbeFall
            | Setting::ProbeFallTimeout => self.groups.get(group)?.value_in_file(setting),
        }
    }
}

/// One order says one thing of a setting.
fn twice(changes: &[Change]) -> Option<Refusal> {
    let mut seen = BTreeSet::new();
    changes.iter().find_map(|change| {
        let setting = match change {
            Change::Set(wanted) => wanted.setting(),
            Change::Unset(setting) => setting.clone(),
            Change::UnsetAll => return None,
        };
        (!seen.insert(setting.clone())).then_some(Refusal::SettingTwice { setting })
    })
}
