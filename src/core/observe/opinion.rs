//! The second opinion between nodes: whom a standby asks, and what all standbys say of a group together.
//!
//! A node that can't reach a service may itself be the one that is cut off. So its opinion counts while it beats and is ready to
//! take the group over, which takes a link, an engine and a word of etcd, and while its gateway probes pass where there are any.

use std::collections::BTreeSet;

use crate::epoch::Run;
use crate::event::{Action, ProbeFailure, ProbeKey, Vantage};
use crate::group::Doubt;
use crate::node::Node;
use crate::text;
use crate::time::Time;

/// What one standby finds: its name, and what it does not reach, or nothing.
pub(crate) type Opinions = Vec<(String, String)>;

impl Node {
    /// Once a step.
    pub(crate) fn step_opinions(&mut self, now: Time, out: &mut Vec<Action>) {
        let asked = self.groups.iter().filter(|(_, group)| group.is_asked());
        let names: Vec<String> = asked.map(|(name, _)| name.clone()).collect();
        for name in names {
            let (of, context) = (self.asks(now, &name), self.context(now, &name));
            let (heard, doubt) = (self.hears(), self.doubt(&name, &self.opinions(&name)));
            if let Some(group) = self.groups.get_mut(&name) {
                group.step_asking(now, of, out);
                match heard {
                    true => group.weigh(context, doubt, out),
                    false => group.hears_nobody(),
                }
            }
        }
    }

    pub(crate) fn holder_asked(
        &mut self,
        now: Time,
        of: &ProbeKey,
        run: Run,
        result: Result<(), ProbeFailure>,
        vantage: Option<Vantage>,
    ) {
        if let Some(group) = self.groups.get_mut(&of.group) {
            group.holder_asked(now, run, of.probe, result, vantage);
        }
    }

    /// A member that has had a word of etcd of late: what it read is no older than that.
    pub(crate) fn hears(&self) -> bool {
        self.facts.is_fresh() && !self.membership.ending().is_told() && self.membership.is_joined()
    }

    /// The run that this node, as a standby that is ready, asks.
    fn asks(&self, now: Time, name: &str) -> Option<Run> {
        let holds = self.groups.get(name).is_none_or(|group| group.is_held());
        if holds || !self.hears() || self.not_a_successor(name).is_some() {
            return None;
        }
        self.serving(now, name)
    }

    /// The run that serves, by the word of a holder that beats.
    pub(crate) fn serving(&self, now: Time, name: &str) -> Option<Run> {
        let record = self.facts.view().groups.get(name)?.active()?;
        let lease = self.facts.view().lease_of(&record.node);
        let alive = lease == record.incarnation && !self.facts.observer().ripe(now, &record.node, lease);
        let run = self.facts.view().statuses.get(&record.node)?.groups.get(name)?.serves?;
        (alive && run.epoch == record.epoch).then_some(run)
    }

    /// What the standbys find that beat, are ready, and speak of the run that serves now.
    pub(crate) fn opinions(&self, name: &str) -> Opinions {
        let (now, run) = (self.facts.now(), self.serving(self.facts.now(), name));
        let holder = self.facts.view().groups.get(name).and_then(|keys| keys.active());
        let others = self.facts.view().statuses.iter().filter(|(node, status)| {
            holder.is_some_and(|holder| holder.node != **node) && self.alive_and_ready(now, name, node, status)
        });
        let said = others.filter_map(|(node, status)| {
            let readiness = status.groups.get(name).filter(|ready| ready.why.is_empty())?;
            let opinion = readiness.opinion.as_ref().filter(|opinion| Some(opinion.of) == run)?;
            Some((node.clone(), opinion.fault.clone()))
        });
        said.collect()
    }

    /// Whether somebody answers for the address before each of those that do not reach the service.
    fn is_answered(&self, name: &str, failing: &[&(String, String)]) -> bool {
        failing.iter().all(|(node, _)| {
            let status = self.facts.view().statuses.get(node);
            let opinion = status.and_then(|status| status.groups.get(name)?.opinion.as_ref());
            opinion.is_some_and(|opinion| opinion.answers)
        })
    }

    /// The addresses of the nodes that ask.
    fn asked_from(&self, name: &str) -> BTreeSet<String> {
        let ready = self.facts.view().statuses.values();
        let opinions = ready.filter_map(|status| status.groups.get(name)?.opinion.as_ref());
        opinions.map(|opinion| opinion.from.clone()).collect()
    }

    /// The same in a sentence, if any of them does not reach it.
    pub(crate) fn doubt(&self, name: &str, opinions: &Opinions) -> Option<Doubt> {
        let failing: Vec<&(String, String)> = opinions.iter().filter(|(_, fault)| !fault.is_empty()).collect();
        if failing.is_empty() {
            return None;
        }
        let group = self.groups.get(name)?;
        let holder = &self.facts.view().groups.get(name)?.active()?.node;
        let text = text::probes::unreached(&failing, name, &group.settings().address, holder);
        Some(Doubt {
            text,
            all: failing.len() == opinions.len(),
            answered: self.is_answered(name, &failing),
            from: self.asked_from(name),
        })
    }
}
