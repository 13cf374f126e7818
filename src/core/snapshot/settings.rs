//! What counts of a group's values that can be set at run time, and where each comes from.

use crate::node::Node;
use crate::protocol::policy::{Policy, Setting, Wanted};
use crate::protocol::records::StandingOrder;
use crate::snapshot::status::GroupLine;
use crate::text;

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingLine {
    pub setting: Setting,
    /// What counts.
    pub value: String,
    /// What this node's file says; of a priority what that node says itself. None where nothing is said.
    pub file: Option<String>,
    /// Who set it, and when; none: the file counts.
    pub set: Option<StandingOrder>,
    /// Nodes whose file differs from this node's in it; none where no other node tells of its file, or none has it.
    pub elsewhere: Option<Vec<String>>,
}

impl Node {
    /// Every value of the group that can be set.
    pub(crate) fn setting_lines(&self, group: &str) -> Vec<SettingLine> {
        let view = self.facts.view();
        let policy = &view.group(group).policy;
        let has = |node: &&String| {
            let status = view.statuses.get(*node);
            status.is_some_and(|status| status.groups.contains_key(group)) || **node == self.facts.me().name
        };
        let nodes = view.nodes.keys().chain(view.statuses.keys()).filter(has);
        let set = policy.given().map(|(setting, _)| setting.clone());
        let mut all: Vec<Setting> = nodes.map(|node| Setting::Priority(node.clone())).chain(set).collect();
        all.extend(Setting::OF_EVERY_GROUP);
        all.sort_unstable();
        all.dedup();
        let files = self.other_files(group);
        let lines = all
            .into_iter()
            .filter_map(|setting| self.setting_line(group, policy, setting, &files));
        lines.collect()
    }

    /// None where there is no such thing, as the fall of probes that are not there.
    fn setting_line(
        &self,
        group: &str,
        policy: &Policy,
        setting: Setting,
        files: &[(&str, Vec<&str>)],
    ) -> Option<SettingLine> {
        let file = self.value_in_file(group, &setting);
        let given = policy.of(&setting);
        let in_force = match &setting {
            Setting::Priority(node) => Some(self.priority(group, node).to_string()),
            Setting::Failback
            | Setting::RestartBudget
            | Setting::RestartWindow
            | Setting::ProbeInterval
            | Setting::ProbeFall
            | Setting::ProbeFallTimeout => self.groups.get(group)?.value_in_force(&setting),
        };
        // Of probes that are not there something may be set all the same.
        let value = in_force.or_else(|| given.map(|given| given.wanted.value()))?;
        let differs = |key: &str| {
            let nodes = files.iter().filter(|(_, keys)| keys.contains(&key));
            nodes.map(|(node, _)| (*node).to_owned()).collect()
        };
        let elsewhere = setting.file_key().filter(|_| !files.is_empty()).map(differs);
        Some(SettingLine {
            value,
            file,
            set: given.map(|given| given.order.clone()),
            elsewhere,
            setting,
        })
    }

    /// Nodes of a version that goes by its file where something is set.
    pub(crate) fn heedless(&self, group: &str) -> Vec<String> {
        let view = self.facts.view();
        if view.group(group).policy.is_empty() {
            return Vec::new();
        }
        let others = view.statuses.iter().filter(|(node, status)| {
            **node != self.facts.me().name && !status.heeds_policy && status.groups.contains_key(group)
        });
        others
            .map(|(node, status)| text::policy::heedless(group, node, &status.version))
            .collect()
    }
}

impl GroupLine {
    /// A node's priority for this group: what is set, else `own`.
    #[must_use]
    pub fn priority(&self, node: &str, own: u32) -> u32 {
        let named = Setting::Priority(node.to_owned());
        let line = self.settings.iter().find(|line| line.setting == named);
        let set = line.filter(|line| line.set.is_some());
        match set.and_then(|line| line.setting.read(&line.value)) {
            Some(Wanted::Priority { value, .. }) => value,
            Some(_) | None => own,
        }
    }
}
