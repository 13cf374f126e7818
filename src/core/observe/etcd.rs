//! What is wrong with etcd itself although it answers. It fills up for weeks; from the moment it is full no beat lands, and every
//! service stops.

use std::collections::BTreeMap;
use std::mem::discriminant;

use crate::text;

/// Full enough to say so: days are left.
const FULL_PERCENT: u64 = 80;
/// So many old revisions are more than three nodes' beats of three days at a ttl of 10 s: nobody compacts them.
const KEPT_MAX: u64 = 1_000_000;
/// What a member may hold that was told nothing else, in bytes (etcd's `--quota-backend-bytes`).
const QUOTA_DEFAULT: u64 = 2 << 30;
/// Where members were replaced once, an upgrade from an older version to 3.6 can lose the quorum (etcd's notes on 3.5.26).
pub(crate) const UPGRADES_WELL: (u64, u64, u64) = (3, 5, 26);

/// What one member of etcd says of itself. What it does not say is none: with users it tells most to `root` alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EtcdMember {
    pub version: Option<String>,
    /// Of its file, in bytes.
    pub size: Option<u64>,
    /// What the file may grow to, in bytes.
    pub quota: Option<u64>,
    pub revision: Option<u64>,
    /// Up to here old revisions were deleted.
    pub compacted: Option<u64>,
    /// The alarm NOSPACE: no more writes.
    pub no_space: bool,
    /// The alarm CORRUPT: its data differs from the others'.
    pub corrupt: bool,
}

/// What an operator has to do something about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EtcdTrouble {
    /// It takes no more writes.
    Full,
    /// A member's data is not what the others have.
    Corrupt,
    /// It will be full before long: so much of `quota` bytes is taken.
    Filling { percent: u64, quota: u64 },
    /// So many old revisions lie in it.
    NotCompacted { revisions: u64 },
    /// Its version, with which an upgrade may go wrong.
    Old { version: String },
}

impl EtcdMember {
    /// The worst first.
    #[must_use]
    pub fn troubles(&self) -> Vec<EtcdTrouble> {
        let quota = self.quota.filter(|quota| *quota > 0).unwrap_or(QUOTA_DEFAULT);
        let percent = self.size.unwrap_or(0).saturating_mul(100) / quota;
        let kept = self.revision.zip(self.compacted);
        let kept = kept.map_or(0, |(revision, compacted)| revision.saturating_sub(compacted));
        let old = self.version.clone();
        let old = old.filter(|version| parsed(version).is_some_and(|it| it >= (3, 5, 0) && it < UPGRADES_WELL));
        let troubles = [
            self.no_space.then_some(EtcdTrouble::Full),
            self.corrupt.then_some(EtcdTrouble::Corrupt),
            (!self.no_space && percent >= FULL_PERCENT).then_some(EtcdTrouble::Filling { percent, quota }),
            (kept > KEPT_MAX).then_some(EtcdTrouble::NotCompacted { revisions: kept }),
            old.map(|version| EtcdTrouble::Old { version }),
        ];
        troubles.into_iter().flatten().collect()
    }
}

/// What the members said last.
#[derive(Clone, Debug, Default)]
pub(crate) struct EtcdMembers {
    troubles: BTreeMap<String, Vec<EtcdTrouble>>,
}

impl EtcdMembers {
    /// Takes what a member says. Gives a sentence for each kind of trouble that no member had before.
    pub(crate) fn hear(&mut self, url: String, troubles: Vec<EtcdTrouble>) -> Vec<String> {
        let before: Vec<_> = self.troubles.values().flatten().map(discriminant).collect();
        self.troubles.insert(url, troubles);
        let now = self.by_kind().into_iter();
        let new = now.filter(|(trouble, _)| !before.contains(&discriminant(trouble)));
        new.map(|(trouble, urls)| text::etcd::members(trouble, &urls)).collect()
    }

    pub(crate) fn are_sound(&self) -> bool {
        self.troubles.values().all(Vec::is_empty)
    }

    /// A sentence for each kind of trouble, the worst first.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let found = self.by_kind().into_iter();
        found
            .map(|(trouble, urls)| text::etcd::members(trouble, &urls))
            .collect()
    }

    /// What each of them has, in words.
    pub(crate) fn by_member(&self) -> BTreeMap<String, Vec<String>> {
        let words = |troubles: &Vec<EtcdTrouble>| troubles.iter().map(ToString::to_string).collect();
        let all = self.troubles.iter();
        all.map(|(url, troubles)| (url.clone(), words(troubles))).collect()
    }

    /// The worst of each kind, and who has it.
    fn by_kind(&self) -> Vec<(&EtcdTrouble, Vec<&str>)> {
        let mut found: Vec<(&EtcdTrouble, Vec<&str>)> = Vec::new();
        let all = self
            .troubles
            .iter()
            .flat_map(|(url, troubles)| troubles.iter().map(move |it| (url, it)));
        for (url, trouble) in all {
            match found
                .iter_mut()
                .find(|(one, _)| discriminant(*one) == discriminant(trouble))
            {
                Some((worst, urls)) => {
                    *worst = trouble.max(worst);
                    urls.push(url);
                }
                None => found.push((trouble, vec![url])),
            }
        }
        found.sort();
        found
    }
}

fn parsed(version: &str) -> Option<(u64, u64, u64)> {
    let mut parts = version.split(['.', '-']).map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::{EtcdMember, EtcdMembers, EtcdTrouble, KEPT_MAX};

    fn sound() -> EtcdMember {
        EtcdMember {
            version: Some("3.5.30".to_owned()),
            size: Some(20 << 20),
            quota: Some(2 << 30),
            revision: Some(5_000_000),
            compacted: Some(4_990_000),
            ..EtcdMember::default()
        }
    }

    #[test]
    fn a_sound_member_has_no_trouble() {
        assert_eq!(sound().troubles(), []);
        assert_eq!(EtcdMember::default().troubles(), [], "one that says nothing");
    }

    #[test]
    fn it_is_told_before_it_is_full() {
        let filled = |size, quota| {
            let (size, quota) = (Some(size), Some(quota));
            EtcdMember { size, quota, ..sound() }.troubles()
        };
        let (percent, quota) = (80, 1000);
        assert_eq!(filled(799, 1000), []);
        assert_eq!(filled(800, 1000), [EtcdTrouble::Filling { percent, quota }]);
        // 0 is etcd's word for its default.
        assert_eq!(filled(1 << 30, 0), []);
        assert_eq!(filled(2 << 30, 0).len(), 1);
        assert_eq!(filled(u64::MAX, 1).len(), 1);
    }

    #[test]
    fn the_worst_comes_first_and_fullness_once() {
        let member = EtcdMember {
            size: Some(2 << 30),
            no_space: true,
            corrupt: true,
            compacted: Some(0),
            ..sound()
        };
        let revisions = 5_000_000;
        let expected = [
            EtcdTrouble::Full,
            EtcdTrouble::Corrupt,
            EtcdTrouble::NotCompacted { revisions },
        ];
        assert_eq!(member.troubles(), expected);
    }

    #[test]
    fn old_revisions_are_counted_from_the_last_compaction() {
        let (revision, compacted) = (Some(KEPT_MAX + 7), Some(7));
        let member = EtcdMember {
            revision,
            compacted,
            ..sound()
        };
        assert_eq!(member.troubles(), []);
        let compacted = Some(6);
        assert_eq!(EtcdMember { compacted, ..member }.troubles().len(), 1);
    }

    #[test]
    fn a_kind_of_trouble_is_told_once_and_lists_all_who_have_it() {
        let filling = |percent| {
            vec![EtcdTrouble::Filling {
                percent,
                quota: 1 << 30,
            }]
        };
        let mut members = EtcdMembers::default();
        let mut hear = |url: &str, troubles| members.hear(url.to_owned(), troubles).len();
        assert_eq!(hear("http://a", vec![]), 0);
        assert_eq!(hear("http://b", filling(81)), 1);
        assert_eq!(hear("http://c", filling(83)), 0);
        assert_eq!(hear("http://b", filling(82)), 0);
        assert_eq!(hear("http://a", vec![EtcdTrouble::Full]), 1);
        let sentences = members.sentences();
        assert_eq!(sentences.len(), 2);
        assert!(sentences[0].starts_with("etcd http://a: full"), "{sentences:?}");
        assert!(
            sentences[1].starts_with("etcd http://b, http://c: 83 %"),
            "{sentences:?}"
        );
        let mut hear = |url: &str, troubles| members.hear(url.to_owned(), troubles).len();
        assert_eq!(hear("http://b", vec![]) + hear("http://c", vec![]), 0);
        assert!(!members.are_sound());
        members.hear("http://a".to_owned(), vec![]);
        assert!(members.are_sound());
        assert_eq!(members.hear("http://a".to_owned(), filling(90)).len(), 1, "it is back");
    }

    #[test]
    fn versions_that_upgrade_badly_are_named() {
        let old = |version: &str| {
            let version = Some(version.to_owned());
            !EtcdMember { version, ..sound() }.troubles().is_empty()
        };
        let named = ["3.5.9", "3.5.25", "3.5.0"].map(old);
        assert_eq!(named, [true; 3]);
        let sound = ["3.5.26", "3.6.0", "3.4.33", "3.5.26-rc.1", "unknown", ""].map(old);
        assert_eq!(sound, [false; 6]);
    }
}
