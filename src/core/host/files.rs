//! What would be another service after a move: nodes tell each other the image, and fingerprints of what must be the same in their
//! compose files. Who may hold a group does not depend on it; but nobody hands over to a node with other addresses.

use std::collections::BTreeMap;

use crate::node::Node;
use crate::protocol::image::ImageId;
use crate::protocol::records::{Readiness, Record};
use crate::text;

/// The key of the virtual addresses.
const ADDRESSES: &str = "vips";

impl Node {
    pub(crate) fn file_read(&mut self, group: &str, keys: BTreeMap<String, String>) {
        if let Some(group) = self.groups.get_mut(group) {
            group.file_read(keys);
        }
    }

    /// A sentence for each node that could take the group and differs from its holder.
    pub(crate) fn differences(&self, group: &str, holder: Option<&str>) -> Vec<String> {
        let mut said = self.heedless(group);
        let Some((holder, own)) = holder.and_then(|node| Some((node, self.told(node, group)?))) else {
            return said;
        };
        let keys = self.facts.view().group(group);
        let others = self.facts.view().statuses.keys();
        let others = others.filter(|node| *node != holder && !keys.excluded.contains_key(*node));
        for (node, other) in others.filter_map(|node| Some((node, self.told(node, group)?))) {
            if !other.is_same_image(own) {
                said.push(text::host::other_image(
                    group,
                    (node, &other.image),
                    (holder, &own.image),
                ));
            }
            let keys = differing(&own.file, &other.file);
            if !keys.is_empty() {
                said.push(text::host::other_file(group, node, holder, &keys));
            }
        }
        said
    }

    /// Why nobody should hand the group over to this node: its clients would not find it.
    pub(crate) fn other_addresses(&self, group: &str) -> Option<String> {
        let holder = &self.facts.view().group(group).active()?.node;
        let theirs = &self.told(holder, group)?.file;
        let ours = self.groups.get(group)?.file();
        let differs = *holder != self.facts.me().name && differing(theirs, ours).contains(&ADDRESSES);
        differs.then(|| text::host::other_addresses(group, holder))
    }

    /// Whether the node has the image of this holder, as far as both are known.
    pub(crate) fn has_image_of(&self, holder: Option<&str>, node: &str, group: &str) -> bool {
        let held = holder.and_then(|holder| self.told(holder, group));
        let own = self.told(node, group);
        own.zip(held).is_none_or(|(own, held)| own.is_same_image(held))
    }

    /// The image of another node that held the group last, as far as it is known.
    pub(crate) fn image_before(&self, group: &str, record: Option<&Record>) -> Option<ImageId> {
        let before = record.filter(|record| record.node != self.facts.me().name)?;
        let image = self.told(&before.node, group)?.image_id();
        (!image.digest.is_empty()).then_some(image)
    }

    /// For each other node that tells of its file in which keys it differs from this node's. Before a node has looked at its
    /// containers it tells nothing.
    pub(crate) fn other_files(&self, group: &str) -> Vec<(&str, Vec<&str>)> {
        let ours = self.groups.get(group).map(|group| group.file());
        let Some(ours) = ours.filter(|ours| !ours.is_empty()) else {
            return Vec::new();
        };
        let others = self.facts.view().statuses.iter();
        let others = others.filter(|(node, _)| **node != self.facts.me().name);
        let differ = others.filter_map(|(node, status)| {
            let theirs = &status.groups.get(group)?.file;
            (!theirs.is_empty()).then(|| (node.as_str(), differing(ours, theirs)))
        });
        differ.collect()
    }

    fn told(&self, node: &str, group: &str) -> Option<&Readiness> {
        self.facts.view().statuses.get(node)?.groups.get(group)
    }
}

/// The keys that differ; none where one of the two does not tell, as an earlier version.
fn differing<'a>(one: &'a BTreeMap<String, String>, other: &'a BTreeMap<String, String>) -> Vec<&'a str> {
    if one.is_empty() || other.is_empty() {
        return Vec::new();
    }
    let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
    let mut keys: Vec<&str> = keys
        .filter(|key| one.get(*key) != other.get(*key))
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_differ_are_named_once_and_in_order() {
        let file = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs
                .iter()
                .map(|(key, print)| ((*key).to_owned(), (*print).to_owned()));
            pairs.collect()
        };
        let one = file(&[("vips", "1"), ("probes", "1"), ("a.user", "1")]);
        assert_eq!(differing(&one, &one), Vec::<&str>::new());
        let other = file(&[("vips", "2"), ("probes", "1"), ("failover", "1")]);
        assert_eq!(differing(&one, &other), ["a.user", "failover", "vips"]);
        assert_eq!(differing(&one, &file(&[])), Vec::<&str>::new());
    }
}
