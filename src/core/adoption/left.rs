//! What an earlier sidecar left running and the compose file has no more. It is stopped, proved stopped and let go like
//! anything else: what is not in the file is not forgotten, or its page would outlive the promise that the next beat makes.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::Action;
use crate::group::{Group, GroupSettings, OnConflict, OnFailure, SecondOpinion, ServiceSettings};
use crate::host::stuck::OnStopFailure;
use crate::membership::Member;
use crate::node::Node;
use crate::protocol::records::Saved;
use crate::takeover::confirm::Failover;

/// What must be known of a run to stop it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// In start order.
    pub services: Vec<Part>,
    /// Its virtual addresses, each with its prefix length.
    pub vips: Vec<String>,
    /// It had, or may have had, a volume that one host alone may mount: its end is proved by the unmount, too.
    #[serde(default)]
    pub exclusive_mounts: bool,
}

/// A service of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    /// From the stop signal to the kill, in milliseconds.
    pub grace_ms: u64,
}

impl Parts {
    /// The services that are not among these, in their order: their places come after those of the file.
    pub fn beyond<'a>(&'a self, names: &BTreeSet<&str>) -> impl Iterator<Item = &'a Part> {
        let known = names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        self.services.iter().filter(move |part| !known.contains(&part.name))
    }
}

/// The groups that a sidecar begins with: those of the file, with the services that left it behind their own, and those
/// that left it as a whole.
pub(crate) fn with_left(mut groups: Vec<GroupSettings>, saved: Option<&Saved>) -> Vec<GroupSettings> {
    for (name, run) in saved.iter().flat_map(|saved| &saved.groups) {
        let at = groups.iter().position(|group| group.name == *name);
        let at = at.unwrap_or_else(|| {
            groups.push(gone(name, run.parts.vips.clone()));
            groups.len() - 1
        });
        let settings = &mut groups[at];
        settings.exclusive_mounts |= run.parts.exclusive_mounts;
        let names: BTreeSet<&str> = settings.services.iter().map(|service| service.name.as_str()).collect();
        let left: Vec<ServiceSettings> = run.parts.beyond(&names).map(left_service).collect();
        settings.services.extend(left);
    }
    groups
}

fn left_service(part: &Part) -> ServiceSettings {
    ServiceSettings {
        name: part.name.clone(),
        stop_grace: Duration::from_millis(part.grace_ms),
        after_healthy: Vec::new(),
        left: true,
    }
}

/// A group that is only there to be stopped.
fn gone(name: &str, addresses: Vec<String>) -> GroupSettings {
    GroupSettings {
        name: name.to_owned(),
        gone: true,
        services: Vec::new(),
        vips: addresses.len(),
        vip_first: false,
        probes: Vec::new(),
        start_timeout: Duration::ZERO,
        on_failure: OnFailure::Notify,
        restarts: 0,
        restart_window: Duration::ZERO,
        grace: None,
        on_stop_failure: OnStopFailure::Hold,
        failover: Failover::Auto,
        on_conflict: OnConflict::Wait,
        failback: None,
        second_opinion: SecondOpinion::Off,
        address: String::new(),
        addresses,
        storage_look: None,
        start_trial: None,
        exclusive_mounts: false,
    }
}

impl Node {
    /// A record of this incarnation whose group the file does not have: nobody else would ever free it, because the beats
    /// go on. Nothing runs under it: what runs stands in the boot-scoped file before it starts.
    pub(crate) fn meet_unknown(&mut self, lease: i64) {
        for (name, keys) in &self.facts.view().groups {
            let ours = keys.active().is_some_and(|record| record.incarnation == lease);
            if ours && !self.groups.contains_key(name) {
                self.groups.insert(name.clone(), Group::new(gone(name, Vec::new())));
            }
        }
    }

    /// What left the file and is let go is nobody's business here any more.
    pub(crate) fn bury(&mut self, out: &mut Vec<Action>) {
        if self.adoption.is_undecided() {
            return;
        }
        let lease = match *self.membership.place() {
            Member::Joined { lease, .. } => lease,
            Member::Arriving
            | Member::Waiting
            | Member::Granting { .. }
            | Member::Registering { .. }
            | Member::Adopting { .. }
            | Member::Lost { .. }
            | Member::Frozen { .. }
            | Member::Left => 0,
        };
        let is_over = |name: &String, group: &Group| {
            let keys = self.facts.view().groups.get(name);
            let record = keys.and_then(|keys| keys.active());
            let ours = record.is_some_and(|record| record.incarnation == lease);
            group.has_left() && !group.is_held() && !self.adoption.is_expected(name) && !ours
        };
        let over = self.groups.iter().filter(|(name, group)| is_over(name, group));
        let over: Vec<String> = over.map(|(name, _)| name.clone()).collect();
        for name in over {
            self.groups.remove(&name);
            self.takeover.end(&name);
            out.push(Action::Unmanage { group: name });
        }
    }
}
