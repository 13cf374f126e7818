//! What was recorded, as `tests/hosts/record.rs` wrote it down.

use std::collections::BTreeMap;
use std::path::PathBuf;

use leasehold::core::protocol::keys::Keys;
use leasehold::core::protocol::records::View;
use leasehold::core::store::{Answer, KeyValue};

/// What somebody wrote into etcd, or deleted; or a moment that has a name.
pub(super) enum Line {
    Written(KeyValue),
    Deleted(String),
    Moment(String),
}

pub(super) fn place(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/upgrade/84eb5cc")
        .join(name)
}

pub(super) fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(place(name)).unwrap()
}

pub(super) fn text(name: &str) -> String {
    String::from_utf8(bytes(name)).unwrap()
}

pub(super) fn keys() -> Keys {
    Keys::new("mail")
}

/// In the order in which it happened; revisions are counted anew.
pub(super) fn lines() -> Vec<Line> {
    let line = |(line, revision): (&str, i64)| {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap().to_owned();
        match (word(), word()) {
            (mark, moment) if mark == "#" => {
                let rest = line.strip_prefix("# ").unwrap();
                assert!(rest.starts_with(&moment));
                Line::Moment(rest.to_owned())
            }
            (key, deleted) if deleted == "deleted" => Line::Deleted(key),
            (key, lease) => Line::Written(KeyValue {
                key,
                value: word(),
                create_revision: revision,
                mod_revision: revision,
                lease: lease.parse().unwrap(),
            }),
        }
    };
    text("etcd.txt").lines().zip(1..).map(line).collect()
}

/// Every value that was written under such a key, by its parts below the cluster's.
pub(super) fn written(is_it: fn(&[&str]) -> bool) -> Vec<KeyValue> {
    let of = |line| match line {
        Line::Written(kv) => is_it(&keys().parts(&kv.key)?).then_some(kv),
        Line::Deleted(_) | Line::Moment(_) => None,
    };
    lines().into_iter().filter_map(of).collect()
}

/// What etcd held at that moment.
pub(super) fn held_at(moment: &str) -> Vec<KeyValue> {
    let mut held: BTreeMap<String, KeyValue> = BTreeMap::new();
    for line in lines() {
        match line {
            Line::Written(kv) => drop(held.insert(kv.key.clone(), kv)),
            Line::Deleted(key) => drop(held.remove(&key)),
            Line::Moment(name) if name == moment => return held.into_values().collect(),
            Line::Moment(_) => {}
        }
    }
    panic!("nobody recorded {moment:?}");
}

pub(super) fn view_at(moment: &str) -> View {
    let answer = Answer {
        succeeded: true,
        cluster_id: 1,
        revision: 1,
        keys: held_at(moment),
    };
    View::read(&keys(), &answer)
}
