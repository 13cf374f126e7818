//! S29: what is set at run time.

use std::collections::BTreeMap;

use leasehold_core::protocol::policy::{Policy, Setting, Wanted};
use leasehold_core::snapshot::status::MemberState;

use crate::host::MS;
use crate::world::World;

/// A node that was frozen refuses the answer that waited for it, as too old, and reads the next one.
const READS_ANEW: u64 = 2_000 * MS;

impl World {
    /// A value of the key has landed. An order of these worlds names one setting, or takes all back; an import puts all back.
    pub(crate) fn set_rightly(&mut self, by_a_node: bool, group: &str, values: &[Option<String>; 2]) {
        let read = |value: &Option<String>| match value {
            Some(value) => serde_json::from_str::<Policy>(value).ok(),
            None => Some(Policy::default()),
        };
        let [Some(before), Some(after)] = values.each_ref().map(read) else {
            return self.fail(format!("S29: what is set for {group} can't be read: {values:?}"));
        };
        if !by_a_node || !self.policies.sets {
            return;
        }
        self.count("a value set");
        let named = |policy: &Policy| -> BTreeMap<Setting, Wanted> {
            let all = policy.given();
            all.map(|(setting, given)| (setting.clone(), given.wanted.clone()))
                .collect()
        };
        let (before, after) = (named(&before), named(&after));
        let settings = before
            .keys()
            .chain(after.keys().filter(|one| !before.contains_key(*one)));
        let changed = settings.filter(|one| before.get(*one) != after.get(*one)).count();
        if changed > 1 && !after.is_empty() {
            self.fail(format!(
                "S29: an order about {group} changed what it did not name: {before:?} to {after:?}"
            ));
        }
    }

    /// What a node goes by is what etcd told it last: two that read the same go by the same.
    pub(crate) fn heeds_rightly(&mut self, h: usize) {
        if !self.policies.sets {
            return;
        }
        let host = &self.hosts[h];
        // A strange etcd changes nothing.
        let (Some(node), false) = (&host.node, host.strange) else {
            self.hosts[h].told.differing.clear();
            return;
        };
        let status = node.status(host.clock.read(self.now));
        // A new sidecar has not read what the one before it did.
        if status.member != MemberState::Joined {
            self.hosts[h].told.differing.clear();
            return;
        }
        let mut differing = Vec::new();
        // What left the file is only stopped.
        for (group, line) in status
            .groups
            .into_iter()
            .filter(|(name, _)| !host.dropped.contains(name))
        {
            let told = &host.told.view.group(&group).policy;
            let values = line.settings.iter().filter(|line| line.set.is_some());
            let heeded: BTreeMap<&Setting, &str> = values.map(|line| (&line.setting, line.value.as_str())).collect();
            let told: BTreeMap<&Setting, String> = told
                .given()
                .map(|(setting, given)| (setting, given.wanted.value()))
                .collect();
            let same = heeded
                .iter()
                .map(|(setting, value)| (*setting, (*value).to_owned()))
                .eq(told);
            if !same {
                differing.push(group);
            }
        }
        let now = self.now;
        let since = &mut self.hosts[h].told.differing;
        since.retain(|group, _| differing.contains(group));
        for group in differing {
            since.entry(group).or_insert(now);
        }
        let lasting = since.iter().find(|(_, since)| now - **since >= READS_ANEW);
        if let Some(group) = lasting.map(|(group, _)| group.clone()) {
            let name = &self.hosts[h].name;
            let text = format!("S29: {name} goes by other values of {group} than etcd told it");
            self.fail(text);
        }
    }
}
