//! The names of the keys in etcd: one place, as in the table of docs/protocol.md.

/// Key names under one cluster's prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    prefix: String,
}

impl Keys {
    /// `/leasehold/<cluster>/`.
    #[must_use]
    pub fn new(cluster: &str) -> Self {
        Self {
            prefix: format!("/leasehold/{cluster}/"),
        }
    }

    /// The cluster's name.
    #[must_use]
    pub fn cluster(&self) -> &str {
        let parts = self.prefix.trim_end_matches('/').rsplit('/');
        parts.into_iter().next().unwrap_or_default()
    }

    /// Everything of this cluster.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What all nodes must agree on.
    #[must_use]
    pub fn config(&self) -> String {
        format!("{}config", self.prefix)
    }

    /// The prefix of all beats.
    #[must_use]
    pub fn nodes(&self) -> String {
        format!("{}nodes/", self.prefix)
    }

    /// A node's beat.
    #[must_use]
    pub fn node(&self, node: &str) -> String {
        format!("{}nodes/{node}", self.prefix)
    }

    /// The prefix of what the nodes publish for others to read.
    #[must_use]
    pub fn statuses(&self) -> String {
        format!("{}status/", self.prefix)
    }

    /// A node's readiness, version and address.
    #[must_use]
    pub fn status(&self, node: &str) -> String {
        format!("{}status/{node}", self.prefix)
    }

    /// That there is such a node, and when it was here last: it stays until the node is removed.
    #[must_use]
    pub fn known(&self, node: &str) -> String {
        format!("{}status/{node}/known", self.prefix)
    }

    /// Which disk has a vote on the node, and where it is asked.
    #[must_use]
    pub fn voter(&self, node: &str) -> String {
        format!("{}status/{node}/voter", self.prefix)
    }

    /// The prefix of every group's keys.
    #[must_use]
    pub fn groups(&self) -> String {
        format!("{}groups/", self.prefix)
    }

    /// A group's record: who holds it, in which epoch.
    #[must_use]
    pub fn record(&self, group: &str) -> String {
        format!("{}groups/{group}/record", self.prefix)
    }

    /// Who leads, for people and tools; no rule reads it.
    #[must_use]
    pub fn leader(&self, group: &str) -> String {
        format!("{}groups/{group}/leader", self.prefix)
    }

    /// What an operator wants of the group.
    #[must_use]
    pub fn intent(&self, group: &str) -> String {
        format!("{}groups/{group}/intent", self.prefix)
    }

    /// An operator's order that the group stays stopped.
    #[must_use]
    pub fn stopped(&self, group: &str) -> String {
        format!("{}groups/{group}/stopped", self.prefix)
    }

    /// An operator's order that nothing is done to the group automatically; on a lease of its own.
    #[must_use]
    pub fn paused(&self, group: &str) -> String {
        format!("{}groups/{group}/paused", self.prefix)
    }

    /// An operator's order that the group is no more: no node starts it.
    #[must_use]
    pub fn deleted(&self, group: &str) -> String {
        format!("{}groups/{group}/deleted", self.prefix)
    }

    /// An operator's order that one node never takes the group.
    #[must_use]
    pub fn excluded(&self, group: &str, node: &str) -> String {
        format!("{}groups/{group}/without/{node}", self.prefix)
    }

    /// What is set for the group at run time, in the place of the files' values.
    #[must_use]
    pub fn policy(&self, group: &str) -> String {
        format!("{}groups/{group}/policy", self.prefix)
    }

    /// An operator's order that the node holds nothing.
    #[must_use]
    pub fn drained(&self, node: &str) -> String {
        format!("{}status/{node}/drained", self.prefix)
    }

    /// The ids that `leasehold init` wrote into the group's storage.
    #[must_use]
    pub fn store(&self, group: &str) -> String {
        format!("{}groups/{group}/store", self.prefix)
    }

    /// The prefix of a group's history: none of the ranges that are read with every beat.
    #[must_use]
    pub fn history(&self, group: &str) -> String {
        format!("{}history/{group}/", self.prefix)
    }

    /// How an epoch began.
    #[must_use]
    pub fn epoch_begun(&self, group: &str, epoch: u64) -> String {
        format!("{}{epoch:020}", self.history(group))
    }

    /// How it ended.
    #[must_use]
    pub fn epoch_left(&self, group: &str, epoch: u64) -> String {
        format!("{}{epoch:020}/left", self.history(group))
    }

    /// The prefix of what operators asked for.
    #[must_use]
    pub fn acts(&self) -> String {
        format!("{}acts/", self.prefix)
    }

    /// One act, in order of time: milliseconds since 1970, the node that was asked, and a count of its own.
    #[must_use]
    pub fn act(&self, ms: u64, node: &str, count: u64) -> String {
        format!("{}acts/{ms:015}-{node}-{count}", self.prefix)
    }

    /// The ranges that every transaction reads back, as (start, end) of a half-open interval.
    #[must_use]
    pub fn ranges(&self) -> Vec<(String, String)> {
        let config = self.config();
        let mut ranges = vec![(config.clone(), format!("{config}\0"))];
        for prefix in [self.nodes(), self.statuses(), self.groups()] {
            let mut end = prefix.clone();
            end.pop();
            end.push('0');
            ranges.push((prefix, end));
        }
        ranges
    }

    /// Splits a full key into its parts below the prefix, or `None` for another cluster's key.
    #[must_use]
    pub fn parts<'a>(&self, key: &'a str) -> Option<Vec<&'a str>> {
        key.strip_prefix(&self.prefix).map(|rest| rest.split('/').collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cover_the_keys_and_nothing_of_a_neighbour() {
        let keys = Keys::new("mail");
        let inside = |key: &str| {
            keys.ranges()
                .iter()
                .any(|(start, end)| key >= start.as_str() && key < end.as_str())
        };
        for key in [
            keys.config(),
            keys.node("a"),
            keys.status("a"),
            keys.record("g"),
            keys.intent("g"),
            keys.excluded("g", "a"),
            keys.policy("g"),
        ] {
            assert!(inside(&key), "{key}");
        }
        for key in [keys.epoch_begun("g", 1), keys.epoch_left("g", 1), keys.act(1, "a", 1)] {
            assert!(!inside(&key), "{key}");
        }
        assert!(!inside("/leasehold/mail2/config"));
        assert!(!inside("/leasehold/mail/configuration"));
    }
}
