//! When this node may take what it does not hold, group by group, as of the last look.

use std::collections::BTreeMap;

use super::time::Time;

/// Waits for groups of others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Takeover {
    /// The record's mod revision and when this node first saw it.
    first_seen: BTreeMap<String, (i64, Time)>,
    /// When this node may campaign, or why it does not.
    waits: BTreeMap<String, Wait>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wait {
    Until(Time),
    Because(String),
}

impl Takeover {
    /// Since when this node knows the record at this revision.
    pub(crate) fn seen(&mut self, group: &str, revision: i64, now: Time) -> Time {
        match self.first_seen.get(group) {
            Some((known, at)) if *known == revision => *at,
            Some(_) | None => {
                self.first_seen.insert(group.to_owned(), (revision, now));
                now
            }
        }
    }

    /// Since when it knows the record, at whatever revision.
    pub(crate) fn first_seen(&self, group: &str) -> Option<Time> {
        self.first_seen.get(group).map(|(_, at)| *at)
    }

    pub(crate) fn wait_until(&mut self, group: &str, at: Time) {
        self.waits.insert(group.to_owned(), Wait::Until(at));
    }

    pub(crate) fn wait_because(&mut self, group: &str, why: String) {
        self.waits.insert(group.to_owned(), Wait::Because(why));
    }

    /// It is held here, or nobody's business here any more.
    pub(crate) fn end(&mut self, group: &str) {
        self.waits.remove(group);
    }

    /// Why this node does not take the group; empty where it only waits.
    pub(crate) fn why(&self, group: &str) -> &str {
        match self.waits.get(group) {
            Some(Wait::Because(why)) => why,
            Some(Wait::Until(_)) | None => "",
        }
    }

    /// When to look again.
    pub(crate) fn wakes(&self) -> impl Iterator<Item = Time> {
        self.waits.values().filter_map(|wait| match wait {
            Wait::Until(at) => Some(*at),
            Wait::Because(_) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64) -> Time {
        Time::default().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_record_is_known_since_it_was_first_seen_at_its_revision() {
        let mut takeover = Takeover::default();
        assert_eq!(takeover.seen("mail", 7, at(1)), at(1));
        assert_eq!(takeover.seen("mail", 7, at(5)), at(1));
        assert_eq!(takeover.seen("mail", 8, at(6)), at(6), "it has changed");
        assert_eq!(takeover.first_seen("mail"), Some(at(6)));
        assert_eq!(takeover.first_seen("web"), None);
    }

    #[test]
    fn a_wait_has_an_end_or_a_reason_and_only_an_end_wakes() {
        let mut takeover = Takeover::default();
        takeover.wait_because("mail", "no store".to_owned());
        assert_eq!((takeover.why("mail"), takeover.wakes().count()), ("no store", 0));
        takeover.wait_until("mail", at(3));
        assert_eq!((takeover.why("mail"), takeover.wakes().next()), ("", Some(at(3))));
        takeover.end("mail");
        assert_eq!(takeover.wakes().count(), 0);
    }
}
