//! etcd as a whole: who answers, in which version, and how many may be lost.

use leasehold_core::observe::etcd::EtcdMember;
use leasehold_core::store::StoreError;
use leasehold_sidecar::adapters::store::{self, Settings};

/// Oldest that the tests run against.
const OLDEST: (u64, u64) = (3, 5);

/// What was seen, and what is wrong with it without keeping anybody from running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    pub(super) lines: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// Voting members.
    pub(super) voters: Option<usize>,
}

pub(super) async fn look(settings: &Settings) -> Members {
    let mut seen = Members::default();
    for url in &settings.endpoints {
        let member = store::member(settings, url).await;
        seen.note(url, member);
    }
    if let Ok(voters) = store::member_count(settings).await {
        seen.count(voters, settings.endpoints.len());
    }
    seen
}

impl Members {
    fn note(&mut self, url: &str, member: Result<EtcdMember, StoreError>) {
        match member {
            Ok(member) => {
                let troubles = member.troubles().into_iter();
                self.warnings
                    .extend(troubles.map(|trouble| format!("etcd {url}: {trouble}")));
                // With users, etcd tells its version to root alone.
                let Some(version) = member.version else {
                    self.lines.push(format!("etcd {url} answers"));
                    return;
                };
                if parsed(&version).is_none_or(|version| version < OLDEST) {
                    let (major, minor) = OLDEST;
                    self.warnings.push(format!(
                        "etcd {url} is version {version}; nothing before {major}.{minor} was ever tried"
                    ));
                }
                self.lines.push(format!("etcd {url} answers, version {version}"));
            }
            Err(StoreError::Refused(why)) => self.warnings.push(format!("etcd {url} refuses this node: {why}")),
            Err(StoreError::Unknown(why)) => self.warnings.push(format!("etcd {url} does not answer: {why}")),
        }
    }

    fn count(&mut self, voters: usize, endpoints: usize) {
        self.voters = Some(voters);
        if voters < 3 {
            self.warnings.push(format!(
                "etcd has {voters} voting member(s): when one is lost, every service stops; three outlive the loss of one"
            ));
        } else if voters.is_multiple_of(2) {
            self.warnings.push(format!(
                "etcd has {voters} voting members: no more may be lost than of {}",
                voters - 1
            ));
        }
        if endpoints < voters {
            self.warnings.push(format!(
                "the file names {endpoints} of etcd's {voters} members: the others are not asked when these are lost"
            ));
        }
    }
}

fn parsed(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.');
    let mut number = || parts.next()?.parse().ok();
    Some((number()?, number()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_silent_members_are_warned_of() {
        let version = |version: &str| {
            let version = Some(version.to_owned());
            Ok(EtcdMember {
                version,
                ..EtcdMember::default()
            })
        };
        let mut seen = Members::default();
        seen.note("http://a", version("3.5.30"));
        seen.note("http://b", version("3.4.23"));
        seen.note("http://c", Err(StoreError::Unknown("timed out".to_owned())));
        // It may be asked, and tells its version to root alone.
        seen.note("http://d", Ok(EtcdMember::default()));
        seen.note("http://e", Err(StoreError::Refused("authentication failed".to_owned())));
        seen.note("http://f", version("3.5.9"));
        assert_eq!(seen.lines.len(), 4);
        let expected = [
            "3.4.23",
            "timed out",
            "authentication failed",
            "version 3.5.9: upgrade to 3.5.26",
        ];
        assert_eq!(seen.warnings.len(), expected.len(), "{:?}", seen.warnings);
        for (warning, part) in seen.warnings.iter().zip(expected) {
            assert!(warning.contains(part), "{warning}");
        }
    }

    #[test]
    fn a_majority_that_can_lose_nobody_is_warned_of() {
        let warnings = |voters, endpoints| {
            let mut seen = Members::default();
            seen.count(voters, endpoints);
            seen.warnings.len()
        };
        assert_eq!((warnings(3, 3), warnings(5, 5)), (0, 0));
        assert_eq!(
            (warnings(1, 1), warnings(2, 2), warnings(4, 4), warnings(3, 1)),
            (1, 1, 1, 1)
        );
    }
}
