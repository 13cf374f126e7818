//! Who may take a record from another incarnation: after whose word, after what fence, and beside which keys.

use leasehold_core::protocol::keys::Keys;
use leasehold_core::protocol::records::Record;

use crate::etcd::Change;
use crate::host::S;
use crate::world::World;

/// A word may wait so long until it is sent: the sidecar that was told may itself be stopped meanwhile.
const WORD_KEPT: u64 = 30 * S;

impl World {
    /// S14, S15, S24: `before` was active, and is that no more.
    pub(crate) fn taken_rightly(&mut self, by: usize, group: &str, before: &Record) {
        let name = &self.hosts[by].name;
        if before.node == *name {
            return;
        }
        let node = &before.node;
        let key = self.etcd.keys.get(&self.keys.node(node));
        let fenced = before.stuck.is_some() || self.word_on(node);
        // A fence of this key, or what was released with it, has deleted it.
        if key.is_some_and(|kv| kv.lease == before.incarnation) && !fenced {
            let why = format!("S24: {name} takes {group} from {node}, whose key stands");
            return self.fail(why);
        }
        let confirm = self.policies.groups.get(group).is_some_and(|policy| policy.confirm);
        let since = self.cover_of(node, before.incarnation).map_or(0, |cover| cover.since);
        let hit = self.fenced_at.get(node).is_some_and(|at| *at >= since);
        if self.policies.fence && !hit && !self.word_on(node) {
            let why = format!("S15: {name} takes {group} from {node}, which no fence has hit");
            return self.fail(why);
        }
        if confirm && !hit && !self.word_on(node) {
            let why = format!("S14: {name} takes {group} from {node} without a person's word");
            return self.fail(why);
        }
        if confirm {
            self.count("taken at a person's word, or after a fence");
        }
        if hit {
            self.count("taken after a fence");
        }
    }

    fn word_on(&self, node: &str) -> bool {
        self.words_at.get(node).is_some_and(|at| self.now - *at <= WORD_KEPT)
    }

    /// S25: a node's key passes from one incarnation to another by its deletion alone.
    pub(crate) fn key_rightly(&mut self, by: usize, changes: &[Change]) {
        let found = changes.iter().find_map(|(key, before, after)| {
            let (before, after) = (before.as_ref()?, after.as_ref()?);
            let node = node_of(&self.keys, key)?;
            (before.lease != after.lease).then(|| node.to_owned())
        });
        if let Some(node) = found {
            let why = format!(
                "S25: {} writes over the key of {node}, which is another's",
                self.hosts[by].name
            );
            self.fail(why);
        }
    }
}

fn node_of<'a>(keys: &Keys, key: &'a str) -> Option<&'a str> {
    match keys.parts(key)?.as_slice() {
        ["nodes", node] => Some(node),
        _ => None,
    }
}
