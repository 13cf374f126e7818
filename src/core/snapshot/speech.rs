//! What this node has said for people to read, so that a repetition is no news. No rule hangs on any of it.

use crate::event::{Action, Decision};
use crate::node::Node;
use crate::observe::peers::Peers;
use crate::snapshot::code::Code;
use crate::snapshot::said::Said;

/// The last words about the node itself, and about the others. A group keeps its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Speech {
    said: Said,
    peers: Peers,
}

impl Speech {
    /// The sentence that holds about the node.
    pub(crate) fn text(&self) -> Option<&str> {
        self.said.text()
    }

    /// What was told of the others.
    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// For `observe::peers`, which tells of them.
    pub(crate) fn peers_mut(&mut self) -> &mut Peers {
        &mut self.peers
    }
}

impl Node {
    /// Says what holds about the node, and stands in its status until something else does.
    pub(crate) fn say(&mut self, code: Code, text: String, out: &mut Vec<Action>) {
        let decision = of_node(code, text);
        if self.speech.said.say(&decision) {
            out.push(Action::Say(decision));
        }
    }

    /// Says what happened and is over, so that it does not stand in the status for ever; not again within a minute.
    pub(crate) fn mention(&mut self, code: Code, text: String, out: &mut Vec<Action>) {
        let decision = of_node(code, text);
        if self.speech.said.mention(self.facts.now(), &decision) {
            out.push(Action::Say(decision));
        }
    }
}

fn of_node(code: Code, text: String) -> Decision {
    Decision {
        code,
        group: None,
        epoch: None,
        text,
    }
}
