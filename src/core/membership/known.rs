//! Nodes are remembered. Each says on a key without a lease who it is, and that it was here. So one that stays away is missed
//! until an operator removes it, and not only until its lease has ended. For people: no rule of the election reads it.

use crate::node::Node;
use crate::protocol::records::KnownNode;
use crate::store::Txn;

/// In seconds: as exactly as anybody is told since when a node is away.
const SAID_EVERY: i64 = 60;

impl Node {
    /// Goes along with a beat, now and then, and where something of it has changed.
    pub(super) fn introduce_in(&self, txn: &mut Txn) {
        let Some(seen) = self.facts.wall() else { return };
        let me = self.facts.me();
        let now = KnownNode {
            version: me.version.clone(),
            address: me.address.clone(),
            seen,
        };
        let is_told = self.facts.view().known.get(&me.name).is_some_and(|told| {
            let same = (&told.version, &told.address) == (&now.version, &now.address);
            // One of a later time was told by a clock that was wrong.
            same && seen
                .checked_sub(told.seen)
                .is_some_and(|ago| (0..SAID_EVERY).contains(&ago))
        });
        if !is_told && txn.has_room(0, 1) {
            txn.and_known(self.facts.keys(), &me.name, &now);
        }
    }
}
