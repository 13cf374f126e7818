//! Turning promises on and off, and what the compose file says of them. The cluster's configuration counts, as with the ttl.

use std::collections::BTreeSet;

use crate::event::{Action, PromisesWanted};
use crate::node::Node;
use crate::protocol::kept::VOTERS_MAX;
use crate::requests::refusal::Refusal;
use crate::snapshot::code::Code;
use crate::text;

impl Node {
    /// The bound in etcd is everybody's; a file that says otherwise is reported, not obeyed.
    pub(crate) fn adopt_promises(&mut self, out: &mut Vec<Action>) {
        let Some(config) = self.facts.view().config else { return };
        if self.membership.is_frozen() || self.facts.damage().of_config() {
            return;
        }
        let told = config.promises_ms;
        let in_file = self.promises.in_file.map(crate::snapshot::status::millis);
        match self.promises.adopted.replace(told) {
            None if told != in_file => self.say(Code::PromisesDiffer, text::promises::differ(in_file, told), out),
            Some(before) if told != before => self.say(Code::PromisesChanged, text::promises::changed(told), out),
            None | Some(_) => {}
        }
    }

    /// Where this node is asked from here on, if anywhere.
    pub(crate) fn reachable(&mut self, address: String, fault: Option<String>) {
        self.promises.fault = fault;
        if let Some(vote) = &mut self.promises.vote {
            vote.address = address;
        }
    }

    /// Why promises can't be turned on. A version without them can't read a record that has a list, and would never take it;
    /// whoever was here before may come back with one.
    pub(crate) fn unfit_promises(&self, wanted: PromisesWanted) -> Option<Refusal> {
        wanted.bound?;
        let view = self.facts.view();
        if view.config.is_some_and(|config| config.promises_ms.is_some()) {
            return None;
        }
        let known = view.nodes.keys().chain(view.statuses.keys()).chain(view.known.keys());
        let me = &self.facts.me().name;
        let others: BTreeSet<&String> = known.filter(|name| *name != me).collect();
        if others.len() >= VOTERS_MAX {
            return Some(Refusal::PromisesTooMany { most: VOTERS_MAX });
        }
        let says_so = |name: &str| view.statuses.get(name).is_some_and(|status| status.votes);
        let silent = others.into_iter().find(|name| !says_so(name));
        let without = silent.or_else(|| (!self.promises.has_vote()).then_some(me));
        without.map(|node| Refusal::PromisesNotKnown { node: node.clone() })
    }
}
