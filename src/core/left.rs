//! What an earlier sidecar left running and the compose file has no more. It is stopped, proved stopped and let go like
//! anything else: what is not in the file is not forgotten, or its page would outlive the promise that the next beat makes.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::code::Code;
use super::confirm::Failover;
use super::epoch::Run;
use super::event::Action;
use super::group::{After, Group, GroupSettings, Held, OnFailure, SecondOpinion, ServiceSettings, Stage};
use super::member::Member;
use super::node::Node;
use super::protocol::ReleaseCause;
use super::records::Saved;
use super::sizing::Deadlines;
use super::stuck::OnStopFailure;
use super::time::Time;

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
pub(super) fn with_left(mut groups: Vec<GroupSettings>, saved: Option<&Saved>) -> Vec<GroupSettings> {
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
        failback: None,
        second_opinion: SecondOpinion::Off,
        address: String::new(),
        addresses,
        storage_look: None,
        exclusive_mounts: false,
    }
}

/// What follows the stop of a run that an earlier sidecar left.
pub(crate) struct Sequel {
    pub after: After,
    pub code: Code,
    pub text: String,
    /// It starts again at once, and not because it failed.
    pub anew: bool,
}

impl Group {
    /// Whether it has left the file as a whole.
    pub(crate) fn has_left(&self) -> bool {
        self.settings.gone
    }

    /// Services that left the file and may still run.
    fn left(&self) -> Vec<&str> {
        let left = self.settings.services.iter().filter(|service| service.left);
        left.map(|service| service.name.as_str()).collect()
    }

    /// Why nobody takes it here.
    pub(crate) fn not_in_file(&self) -> Option<String> {
        self.has_left()
            .then(|| "it is not in the compose file of this node".to_owned())
    }

    /// Whether a run of before can go on as it is.
    pub(crate) fn is_as_the_file_says(&self) -> bool {
        !self.has_left() && self.left().is_empty()
    }

    /// `cut_short`: its stop was under way, or it is past its deadline.
    pub(crate) fn sequel(&self, run: Run, cut_short: bool, me: &str) -> Sequel {
        let left = self.left().join(", ");
        let sequel = |after, code, text| Sequel {
            after,
            code,
            text,
            anew: false,
        };
        if self.has_left() {
            let reason = format!("it left the compose file of {me}");
            let after = After::Release {
                cause: ReleaseCause::LeftFile,
                reason,
                successor: None,
            };
            let text = format!("run {run}: the group is not in the compose file any more: stopping, to let it go");
            return sequel(after, Code::LeftFile, text);
        }
        if !cut_short && !left.is_empty() {
            let text = format!(
                "run {run}: not in the compose file any more: {left}: stopping, to start again as the file says"
            );
            return Sequel {
                anew: true,
                ..sequel(After::Restart, Code::LeftFile, text)
            };
        }
        let text = format!("run {run}: its stop had begun before this sidecar started: going on with it");
        sequel(After::Interrupted, Code::StopResumed, text)
    }

    /// All of it is proved stopped: from here on the file counts alone.
    pub(crate) fn forget_left(&mut self) {
        self.settings.services.retain(|service| !service.left);
        let count = self.settings.services.len();
        self.containers.shorten(count);
        self.reported.truncate(count);
    }

    /// A campaign of an earlier sidecar landed, and nothing was started under it: the record is only to be released.
    pub(crate) fn take_to_release(&mut self, now: Time, run: Run, lease: i64, deadlines: Deadlines, me: &str) {
        self.forget_left();
        let mut held = Held::new(run, lease, deadlines, now, &self.settings);
        held.latched = true;
        held.after = self.sequel(run, true, me).after;
        held.enter(Stage::Stopped, now);
        self.held = Some(held);
    }
}

impl Node {
    /// A record of this incarnation whose group the file does not have: nobody else would ever free it, because the beats
    /// go on. Nothing runs under it: what runs stands in the boot-scoped file before it starts.
    pub(super) fn meet_unknown(&mut self, lease: i64) {
        for (name, keys) in &self.view.groups {
            let ours = keys.active().is_some_and(|record| record.incarnation == lease);
            if ours && !self.groups.contains_key(name) {
                self.groups.insert(name.clone(), Group::new(gone(name, Vec::new())));
            }
        }
    }

    /// What left the file and is let go is nobody's business here any more.
    pub(super) fn bury(&mut self, out: &mut Vec<Action>) {
        if self.adoption.is_undecided() {
            return;
        }
        let lease = match self.member {
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
            let keys = self.view.groups.get(name);
            let record = keys.and_then(|keys| keys.active());
            let ours = record.is_some_and(|record| record.incarnation == lease);
            group.has_left() && group.held.is_none() && !self.adoption.is_expected(name) && !ours
        };
        let over = self.groups.iter().filter(|(name, group)| is_over(name, group));
        let over: Vec<String> = over.map(|(name, _)| name.clone()).collect();
        for name in over {
            self.groups.remove(&name);
            self.takeover.end(&name);
            out.push(Action::LetGo { group: name });
        }
    }
}
