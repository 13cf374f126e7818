//! Switchovers: an operator's wish is written to etcd by whichever node was asked, and carried out by the holder.

use super::code::Code;
use super::event::{Action, Note};
use super::group::{After, Way};
use super::member::{Member, Purpose};
use super::node::Node;
use super::records::{GroupKeys, Intent, json};
use super::store::{Compare, Op, Txn};
use super::time::Time;

impl Node {
    /// Takes an operator's wish to move a group, or says why not.
    pub(super) fn want_switchover(
        &mut self,
        reply: u64,
        group: String,
        to: Option<String>,
        note: Note,
    ) -> Option<String> {
        let keys = self.view.group(&group);
        let Some(record) = keys.active() else {
            return Some(format!(
                "group {group} is not active anywhere: there is nothing to move"
            ));
        };
        if record.stuck.is_some() {
            let node = &record.node;
            return Some(format!(
                "{group} is stuck on {node} and can't be moved: power {node} off or cut it from the storage, then run \
                 `leasehold fenced {node}`"
            ));
        }
        if let Some(why) = self.forbidden(&group) {
            return Some(format!("{group} is {why}"));
        }
        if let Some(why) = moving(&group, &keys) {
            return Some(why);
        }
        if to.as_ref() == Some(&record.node) {
            return Some(format!("{} holds {group} already", record.node));
        }
        if let Some(why) = self.nobody_to_take(&group, &record.node, to.as_deref()) {
            return Some(why);
        }
        if !matches!(self.member, Member::Joined { .. }) || self.switch_wish.is_some() {
            return Some("this node is not a member now, or another wish is being written".to_owned());
        }
        let Note { by, why, .. } = note;
        self.switch_wish = Some((reply, group, Intent::Switchover { to, by, why }));
        None
    }

    /// As the node itself says; of one that is gone, or says nothing of it, that.
    fn why_not_ready(&self, group: &str, node: &str) -> String {
        let own = (*node == self.me.name).then(|| self.unready(group)).flatten();
        let told = self.view.statuses.get(node).and_then(|status| status.groups.get(group));
        let told = told.map(|ready| ready.why.clone()).filter(|why| !why.is_empty());
        own.or(told).unwrap_or_else(|| "see `leasehold status`".to_owned())
    }

    /// Why neither the node that is wanted nor, where none is named, any other could take the group from its holder.
    fn nobody_to_take(&self, group: &str, holder: &str, wanted: Option<&str>) -> Option<String> {
        let ready = |node: &str| match node == self.me.name {
            true => self.unready(group).is_none(),
            false => self.successor(group, Some(node)).is_some(),
        };
        match wanted {
            Some(to) => {
                (!ready(to)).then(|| format!("{to} is not ready for {group}: {}", self.why_not_ready(group, to)))
            }
            None => {
                let found = self.view.statuses.keys().any(|node| node != holder && ready(node));
                (!found).then(|| format!("no standby is ready for {group}: see `leasehold status`"))
            }
        }
    }

    /// An operator's wish that came in here, written for the holder to read.
    pub(super) fn intent_wish(&mut self, out: &mut Vec<Action>) -> Option<(Txn, Purpose)> {
        if let Some((group, revision)) = self.refused_intents.pop() {
            let key = self.keys.intent(&group);
            let txn = Txn {
                compare: vec![Compare::Mod {
                    key: key.clone(),
                    revision,
                }],
                then: vec![Op::Delete { key }],
            };
            return Some((txn, Purpose::Beat));
        }
        let (reply, group, intent) = self.switch_wish.take()?;
        // Of two operators at once one is told that the other was faster; it may have been while this wish waited.
        let keys = self.view.group(&group);
        if let Some(why) = moving(&group, &keys) {
            let result = Err(why);
            out.push(Action::Reply { reply, result });
            return None;
        }
        let key = self.keys.intent(&group);
        let revision = keys.intent_mod;
        let txn = Txn {
            compare: vec![Compare::Mod {
                key: key.clone(),
                revision,
            }],
            then: vec![Op::Put {
                key,
                value: json(&intent),
                lease: 0,
            }],
        };
        let done = match intent {
            Intent::Switchover { .. } => "asked: the holder stops, then the successor starts".to_owned(),
            Intent::Apply { .. } => self.apply_asked(&group),
        };
        Some((txn, Purpose::Intent { reply, done }))
    }

    /// The holder carries out what an operator wants of its group.
    pub(super) fn obey(&mut self, now: Time, out: &mut Vec<Action>) {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let Some((intent, revision)) = self.view.group(&name).intent else {
                continue;
            };
            let (to, by, why) = match intent {
                Intent::Switchover { to, by, why } => (to, by, why),
                Intent::Apply { by, why } => {
                    let why = if why.is_empty() { why } else { format!(" ({why})") };
                    self.obey_apply(now, &name, revision, format!("asked by {by}{why}"), out);
                    continue;
                }
            };
            if self.obeyed.get(&name) == Some(&revision) {
                continue;
            }
            let successor = self.successor(&name, to.as_deref());
            let Some(group) = self.groups.get_mut(&name) else {
                continue;
            };
            if group.held.as_ref().is_some_and(|held| held.after == After::Claimed) {
                self.obeyed.insert(name.clone(), revision);
                self.refused_intents.push((name, revision));
                continue;
            }
            if group.held.as_ref().is_none_or(|held| held.latched) {
                continue;
            }
            self.obeyed.insert(name.clone(), revision);
            match successor {
                Some(next) => {
                    let why = if why.is_empty() { why } else { format!(" ({why})") };
                    let reason = format!("switchover to {next}, asked by {by}{why}");
                    let after = After::Release {
                        reason: reason.clone(),
                        successor: Some(next),
                    };
                    group.stop(
                        now,
                        Way::Drain,
                        after,
                        format!("{reason}: stopping here first"),
                        Code::SwitchoverStarted,
                        out,
                    );
                }
                None => {
                    let wanted = to.unwrap_or_else(|| "any standby".to_owned());
                    group.say(
                        Code::SwitchoverRefused,
                        format!("switchover refused: {wanted} is not ready"),
                        out,
                    );
                    self.refused_intents.push((name, revision));
                }
            }
        }
    }
}

/// Whose wish is already to move the group.
pub(super) fn moving(group: &str, keys: &GroupKeys) -> Option<String> {
    let (intent, _) = keys.intent.as_ref()?;
    Some(match intent {
        Intent::Switchover { to, by, .. } => {
            let to = to.as_deref().unwrap_or("the best standby");
            format!("{group} is being moved already, to {to}, asked by {by}: see `leasehold status`")
        }
        Intent::Apply { by, .. } => format!(
            "{group} is about to be started again with what the file says, asked by {by}: see `leasehold status`"
        ),
    })
}
