//! Going back: a group returns by itself to a node that is preferred, once that one has been ready for long enough. And
//! what the records remember of it, so that it does not go to and fro: where it left again by a fault, the next way back
//! takes longer; and what failed on one node after the other stays with the last.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::event::{Action, Origin};
use crate::group::{AfterStop, Departure};
use crate::node::Node;
use crate::protocol::FaultId;
use crate::protocol::records::{GroupKeys, Intent, Past, Record, RecordState};
use crate::requests::refusal::Refusal;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// The quiet window grows up to this, and so long a group must have served where it went back to until that is forgotten.
const QUIET_MAX: Duration = Duration::from_secs(3600);

/// For each group held here: the preferred node to which it may go back by itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Preferred(BTreeMap<String, Ready>);

/// A node that is preferred to this one, and since when it has been ready without a break.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ready {
    node: String,
    lease: i64,
    since: Time,
}

/// What counts for a group that may go back by itself.
struct WayBack {
    quiet: Duration,
    /// Since when the preferred node has been ready without a break.
    since: Time,
    /// How long it has served here without a break; none while it does not.
    served: Option<Duration>,
    /// This node leaves anyway.
    ending: bool,
    /// Somebody wants it to be moved.
    moving: bool,
    /// Nobody may start it.
    forbidden: bool,
}

/// Whether it goes back now: its service has been well here for as long as the node was ready, and nobody wants anything else of
/// it. A service that fails here would take its fault along.
fn goes_back(now: Time, way: &WayBack) -> bool {
    let well = way.served.is_some_and(|served| served >= way.quiet);
    now.waited(way.since) >= way.quiet && well && !way.ending && !way.moving && !way.forbidden
}

impl Node {
    /// An operator wants the group back where it is preferred; nothing is to be done where that is its holder.
    pub(crate) fn want_failback(
        &mut self,
        reply: u64,
        group: String,
        origin: Origin,
        out: &mut Vec<Action>,
    ) -> Option<Refusal> {
        let holder = self
            .facts
            .view()
            .group(&group)
            .active()
            .map(|record| record.node.clone());
        let Some(best) = self.most_preferred(&group, holder.as_deref()) else {
            return Some(Refusal::NoNodeReady { group });
        };
        if Some(&best) != holder.as_ref() {
            return self.want_switchover(reply, group, Some(best), origin);
        }
        let already = text::orders::already::preferred(&group, &best);
        let result = Ok(already.into());
        out.push(Action::Reply { reply, result });
        None
    }

    /// Of the holder and the ready standbys the one with the best priority; of equals the first by name.
    fn most_preferred(&self, group: &str, holder: Option<&str>) -> Option<String> {
        let others = self
            .facts
            .view()
            .statuses
            .iter()
            .filter(|(node, _)| **node != self.facts.me().name);
        let names = others.map(|(node, _)| node).chain([&self.facts.me().name]);
        let all = names.map(|node| (self.priority(group, node), node));
        let may = all.filter(|(_, node)| holder == Some(node.as_str()) || self.could_take(group, node));
        may.min().map(|(_, node)| node.clone())
    }

    /// Watches the preferred node of each group that is held here, and hands over to it in the end.
    pub(crate) fn step_failback(&mut self, now: Time, out: &mut Vec<Action>) {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let Some(quiet) = self.groups.get(&name).and_then(|group| {
                group.held()?;
                group.settings().failback
            }) else {
                self.takeover.preferred.0.remove(&name);
                continue;
            };
            // What was set or written into the file since is kept, too, where it is longer.
            let quiet = self.quiet(&name).map_or(quiet, |grown| grown.max(quiet));
            let Some(since) = self.follow_preferred(now, &name, quiet, out) else {
                continue;
            };
            if goes_back(now, &self.way_back(now, &name, since, quiet)) {
                self.go_back(now, &name, quiet, out);
            }
        }
    }

    /// Since when the preferred node has been ready; a break, or a new life of it, starts over.
    fn follow_preferred(&mut self, now: Time, name: &str, quiet: Duration, out: &mut Vec<Action>) -> Option<Time> {
        let Some((node, lease)) = self.preferred_to_me(name) else {
            self.takeover.preferred.0.remove(name);
            return None;
        };
        let known = self.takeover.preferred.0.get(name);
        if let Some(known) = known.filter(|known| known.node == node && known.lease == lease) {
            return Some(known.since);
        }
        if let Some(group) = self.groups.get_mut(name) {
            let text = text::switchover::failback::awaited(&node, quiet);
            group.mention(now, Code::FailbackAwaited, text, out);
        }
        let since = now;
        self.takeover
            .preferred
            .0
            .insert(name.to_owned(), Ready { node, lease, since });
        Some(since)
    }

    /// The best ready standby, where its priority is better than this node's: among equals nothing moves.
    fn preferred_to_me(&self, name: &str) -> Option<(String, i64)> {
        let node = self.successor(name, None)?;
        let better = self.priority(name, &node) < self.priority(name, &self.facts.me().name);
        better.then(|| (node.clone(), self.facts.view().lease_of(&node)))
    }

    fn way_back(&self, now: Time, name: &str, since: Time, quiet: Duration) -> WayBack {
        let keys = self.facts.view().group(name);
        WayBack {
            quiet,
            since,
            served: self.groups.get(name).and_then(|group| group.serves_for(now)),
            ending: self.membership.ending().is_told(),
            moving: matches!(keys.intent, Some((Intent::Switchover { .. }, _))),
            forbidden: self.forbidden(name).is_some(),
        }
    }

    fn go_back(&mut self, now: Time, name: &str, quiet: Duration, out: &mut Vec<Action>) {
        let (Some(preferred), Some(group)) = (self.takeover.preferred.0.get(name), self.groups.get_mut(name)) else {
            return;
        };
        group.go_back(now, preferred.node.clone(), quiet, out);
    }

    /// The window that the record asks for, where it has grown.
    fn quiet(&self, name: &str) -> Option<Duration> {
        let ms = self.facts.view().groups.get(name)?.active()?.past.quiet_ms?;
        Some(Duration::from_millis(ms))
    }

    /// What a new holder takes over of the past. One that does not come by the failback it was meant for, and one that
    /// follows a silent holder, come after a loss.
    pub(crate) fn inherited(&self, keys: &GroupKeys, lease: i64) -> Past {
        let Some(record) = &keys.record else {
            return Past::default();
        };
        let arrives = match record.state {
            RecordState::Released => record.successor.as_ref() == Some(&self.facts.me().name),
            RecordState::Active => record.incarnation == lease,
        };
        if arrives {
            record.past.clone()
        } else {
            record.past.clone().after_loss()
        }
    }

    /// What a release says of the past: an operator's move ends it, a lease that ran out is a loss.
    pub(crate) fn past_of_release(&self, name: &str, keys: &GroupKeys) -> Past {
        let before = keys.active().map(|record| record.past.clone()).unwrap_or_default();
        let held = self.groups.get(name).and_then(|group| group.held());
        match held.map(|held| (&held.departure, &held.after)) {
            Some((Departure::Wanted, AfterStop::Release { .. })) => Past::default(),
            Some((Departure::Failback(quiet), AfterStop::Release { .. })) => Past {
                returned: true,
                quiet_ms: Some(millis(*quiet)),
                faults: before.faults,
            },
            Some((Departure::Fault(Some(fault)), AfterStop::Release { .. })) => before.after_loss().with(fault),
            Some(_) | None => before.after_loss(),
        }
    }

    /// What is left of the past once the group has served here for long enough; none while nothing changes.
    pub(crate) fn settled(&self, name: &str, record: &Record) -> Option<Past> {
        let group = self.groups.get(name)?;
        let served = group.serves_for(self.facts.now())?;
        let past = &record.past;
        if past.returned && served >= QUIET_MAX {
            return Some(Past::default());
        }
        let healed = !past.faults.is_empty() && served >= group.settings().restart_window;
        healed.then(|| Past {
            faults: Vec::new(),
            ..past.clone()
        })
    }

    /// The faults that made a group held here leave its holders before.
    pub(crate) fn known_faults(&self, name: &str) -> Vec<FaultId> {
        let lease = self.membership.lease();
        let record = self.facts.view().groups.get(name).and_then(GroupKeys::active);
        let own = record.filter(|record| Some(record.incarnation) == lease);
        own.map(|record| record.past.faults.clone()).unwrap_or_default()
    }
}

impl Past {
    /// The holder lost it by a fault: where it had gone back by itself, the next time takes twice as long.
    pub(crate) fn after_loss(self) -> Self {
        if !self.returned {
            return self;
        }
        let quiet = Duration::from_millis(self.quiet_ms.unwrap_or(0));
        let grown = (quiet * 2).min(QUIET_MAX.max(quiet));
        Self {
            returned: false,
            quiet_ms: Some(millis(grown)),
            ..self
        }
    }

    fn with(mut self, fault: &FaultId) -> Self {
        if !self.faults.contains(fault) {
            self.faults.push(fault.clone());
        }
        self
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_doubles_up_to_an_hour_and_never_shrinks() {
        let mut past = Past {
            returned: true,
            quiet_ms: Some(300_000),
            ..Past::default()
        };
        let mut seen = Vec::new();
        for _ in 0..5 {
            past = past.after_loss();
            assert!(!past.returned);
            // A second loss says nothing of a failback.
            assert_eq!(past.clone().after_loss(), past);
            seen.push(past.quiet_ms.unwrap() / 60_000);
            past.returned = true;
        }
        assert_eq!(seen, [10, 20, 40, 60, 60]);
        past.quiet_ms = Some(7_200_000);
        assert_eq!(past.after_loss().quiet_ms, Some(7_200_000));
    }

    #[test]
    fn a_group_goes_back_when_both_nodes_have_been_well_for_long_and_nobody_wants_it_elsewhere() {
        let at = |seconds| Time::default().plus(Duration::from_secs(seconds));
        let quiet = Duration::from_secs(60);
        let way = || WayBack {
            quiet,
            since: at(10),
            served: Some(quiet),
            ending: false,
            moving: false,
            forbidden: false,
        };
        assert!(goes_back(at(70), &way()) && !goes_back(at(69), &way()));
        for stays in [
            WayBack { served: None, ..way() },
            WayBack {
                served: Some(quiet / 2),
                ..way()
            },
            WayBack { ending: true, ..way() },
            WayBack { moving: true, ..way() },
            WayBack {
                forbidden: true,
                ..way()
            },
        ] {
            assert!(!goes_back(at(70), &stays));
        }
    }

    fn read(json: &str) -> Past {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_fault_is_known_by_its_name_however_it_is_worded() {
        let past = read(
            r#"{"faults":["the SMTP port is deaf","db is no more"],"fault_ids":["probe:smtp 25","service_ended:db"]}"#,
        );
        let (smtp, db) = (
            FaultId::Probe("smtp 25".to_owned()),
            FaultId::ServiceEnded("db".to_owned()),
        );
        assert_eq!(past.faults, [smtp.clone(), db]);
        assert_eq!(past.clone().with(&smtp), past);
        let more = past.with(&FaultId::NotStarted);
        assert_eq!(more.faults.len(), 3);
        // A version before this reads the words alone, and compares them with its own.
        let written = serde_json::to_value(&more).unwrap();
        let words = serde_json::json!(["smtp 25", "service db ended", "it did not start"]);
        assert_eq!(written["faults"], words);
    }

    /// As 84eb5cc wrote them; it drops the names of a later version, and keeps all words.
    #[test]
    fn a_past_of_words_alone_is_read_as_before() {
        let past = read(r#"{"quiet_ms":600000,"faults":["smtp 25","service db ended","not reached at its address"]}"#);
        let faults = [
            FaultId::Probe("smtp 25".to_owned()),
            FaultId::ServiceEnded("db".to_owned()),
            FaultId::Unreached,
        ];
        assert_eq!(
            (past.quiet_ms, past.faults.as_slice()),
            (Some(600_000), faults.as_slice())
        );
        assert_eq!(read(r#"{"returned":true}"#).faults, []);
        assert_eq!(serde_json::to_string(&Past::default()).unwrap(), "{}");
    }
}
