//! Names that stay as they are when something else in the core changes: a lease by the order in which it is met, a revision
//! by the time of the story at which it was written.

use std::collections::{BTreeMap, BTreeSet};

/// A key that has gone, or never was.
const ABSENT: i64 = 0;

#[derive(Debug, Default)]
pub(crate) struct Names {
    leases: BTreeMap<i64, String>,
    met: usize,
    /// Each key's revisions: `@5.01s`, and `@5.01s#2` if it is the key's second of that instant.
    written: BTreeMap<(String, i64), String>,
    /// When each key was written last, and how often in that instant.
    last: BTreeMap<String, (String, usize)>,
    /// All revisions, whatever the key.
    revisions: BTreeMap<i64, String>,
    nonces: BTreeSet<u64>,
}

impl Names {
    pub(crate) fn lease(&mut self, lease: i64) -> String {
        if lease == 0 {
            return "none".to_owned();
        }
        if !self.leases.contains_key(&lease) {
            self.met += 1;
            self.leases.insert(lease, format!("L{}", self.met));
        }
        self.leases[&lease].clone()
    }

    /// The lease of that name; a name never met is another node's and gets a number.
    pub(crate) fn named(&mut self, name: &str) -> i64 {
        if name == "none" {
            return 0;
        }
        if let Some((lease, _)) = self.leases.iter().find(|(_, known)| *known == name) {
            return *lease;
        }
        let lease = 1000 + i64::try_from(self.leases.len()).unwrap();
        self.leases.insert(lease, name.to_owned());
        lease
    }

    pub(crate) fn wrote(&mut self, key: &str, revision: i64, at: &str) {
        let at = format!("@{at}");
        self.revisions.insert(revision, at.clone());
        let (last, times) = self.last.entry(key.to_owned()).or_default();
        *times = if *last == at { *times + 1 } else { 1 };
        last.clone_from(&at);
        let name = match times {
            1 => at,
            times => format!("{at}#{times}"),
        };
        self.written.insert((key.to_owned(), revision), name);
    }

    /// A revision of this key.
    pub(crate) fn revision(&self, key: &str, revision: i64) -> String {
        if revision == ABSENT {
            return "0".to_owned();
        }
        let name = self.written.get(&(key.to_owned(), revision)).cloned();
        name.unwrap_or_else(|| "@never".to_owned())
    }

    /// The revision of this key that is told as `name`.
    pub(crate) fn revision_named(&self, key: &str, name: &str) -> Option<i64> {
        let mut found = self.written.iter();
        let found = found.find(|((of, _), known)| of == key && *known == name);
        found.map(|((_, revision), _)| *revision)
    }

    /// A revision of etcd as a whole: when it was last written to.
    pub(crate) fn revision_of_etcd(&self, revision: i64) -> String {
        let last = self.revisions.range(..=revision).next_back();
        last.map_or_else(|| "@never".to_owned(), |(_, name)| name.clone())
    }

    /// Whether a beat with this nonce was told before: each has one of its own.
    pub(crate) fn is_known(&mut self, nonce: u64) -> bool {
        !self.nonces.insert(nonce)
    }
}

#[test]
fn a_revision_is_known_by_its_time() {
    let mut names = Names::default();
    names.wrote("config", 2, "0s");
    names.wrote("store", 3, "0s");
    names.wrote("store", 4, "0s");
    names.wrote("config", 5, "1.5s");
    let told = [("config", 2), ("store", 3), ("store", 4), ("config", 5), ("config", 0)];
    let told = told.map(|(key, revision)| names.revision(key, revision));
    assert_eq!(told, ["@0s", "@0s", "@0s#2", "@1.5s", "0"]);
    assert_eq!(names.revision_named("store", "@0s#2"), Some(4));
    assert_eq!(names.revision("config", 3), "@never");
    assert_eq!(
        [4, 9].map(|revision| names.revision_of_etcd(revision)),
        ["@0s", "@1.5s"]
    );
}
