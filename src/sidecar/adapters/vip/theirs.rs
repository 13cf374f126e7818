//! Virtual addresses that this host has without our doing: told, and left alone.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::installed::Installed;
use super::task::Task;
use super::{Own, VipEvent};
use leasehold_compose::model::Vip;

/// Which addresses are a group's, and which of them the host has by itself.
#[derive(Debug, Default)]
pub(super) struct Theirs {
    /// The group of each address.
    groups: BTreeMap<IpAddr, String>,
    /// By group, as it was told last.
    told: BTreeMap<String, Vec<Own>>,
}

impl Theirs {
    /// These addresses are the group's.
    pub(super) fn know(&mut self, group: &str, vips: &[Vip]) {
        let known = vips.iter().map(|vip| (vip.address, group.to_owned()));
        self.groups.extend(known);
    }

    pub(super) fn forget(&mut self, vips: &[Vip]) {
        for vip in vips {
            if let Some(group) = self.groups.remove(&vip.address) {
                self.told.remove(&group);
            }
        }
    }

    pub(super) fn knows(&self, address: IpAddr) -> bool {
        self.groups.contains_key(&address)
    }
}

impl Task {
    /// An address came, changed or went. The report may be old: the kernel is asked.
    pub(super) async fn note(&mut self, it: &Installed) {
        let Some(group) = self.theirs.groups.get(&it.address).cloned() else {
            return;
        };
        let told = self.theirs.told.contains_key(&group);
        if told || it.clone().ours().is_none() {
            self.look_for_theirs(Some(&group)).await;
        }
    }

    /// Whether the host has one of the group's addresses without our doing; if so, that is reported, told before or not.
    pub(super) async fn is_occupied(&mut self, group: &str) -> bool {
        self.theirs.told.remove(group);
        self.look_for_theirs(Some(group)).await;
        self.theirs.told.contains_key(group)
    }

    /// Looks at the addresses of a group, or of all, and tells what has changed.
    pub(super) async fn look_for_theirs(&mut self, group: Option<&str>) {
        let concerned = |of: &str| group.is_none_or(|group| group == of);
        let known = self.theirs.groups.iter().filter(|(_, of)| concerned(of));
        let addresses: Vec<IpAddr> = known.map(|(address, _)| *address).collect();
        // Where the kernel can't be asked, what was told stays.
        let found = match addresses.is_empty() {
            true => Vec::new(),
            false => match self.netlink.find(&addresses).await {
                Ok(found) => found,
                Err(_) => return,
            },
        };
        let mut now: BTreeMap<String, Vec<Own>> = BTreeMap::new();
        for it in found.iter().filter(|it| (*it).clone().ours().is_none()) {
            let link = self.links.get(&it.index).map(|link| link.name.clone());
            let own = it.own(&link.unwrap_or_else(|| it.index.to_string()));
            if let Some(group) = self.theirs.groups.get(&it.address) {
                now.entry(group.clone()).or_default().push(own);
            }
        }
        now.values_mut().for_each(|own| own.sort());
        let before = self.theirs.told.keys().filter(|group| concerned(group));
        let ended: Vec<String> = before.filter(|group| !now.contains_key(*group)).cloned().collect();
        for group in ended {
            self.theirs.told.remove(&group);
            self.report(VipEvent::Occupied { group, by: None });
        }
        for (group, own) in now {
            let by = Some(words(&own));
            if self.theirs.told.insert(group.clone(), own.clone()).as_ref() != Some(&own) {
                self.report(VipEvent::Occupied { group, by });
            }
        }
    }

    /// An addition met one.
    pub(super) fn occupied(&mut self, group: &str, own: Own) {
        let told = self.theirs.told.entry(group.to_owned()).or_default();
        if told.contains(&own) {
            return;
        }
        told.push(own);
        told.sort();
        let by = Some(words(told));
        let group = group.to_owned();
        self.report(VipEvent::Occupied { group, by });
    }
}

fn words(own: &[Own]) -> String {
    let all: Vec<String> = own.iter().map(ToString::to_string).collect();
    all.join("; ")
}
