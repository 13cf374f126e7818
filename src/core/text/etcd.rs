//! What is wrong with etcd's members.

use std::fmt;

use crate::observe::etcd::{EtcdTrouble, UPGRADES_WELL};

pub(crate) const SOUND: &str = "nothing is wrong with etcd's members any more";

pub(crate) fn members(trouble: &EtcdTrouble, urls: &[&str]) -> String {
    format!("etcd {}: {trouble}", urls.join(", "))
}

/// As the end of a sentence that begins with the member, and what to do.
impl fmt::Display for EtcdTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str(
                "full (alarm NOSPACE), it takes no more writes, and every service stops: compact, defragment and disarm it; \
                 docs/runbooks.md has the commands",
            ),
            Self::Corrupt => f.write_str(
                "its data differs from the other members' (alarm CORRUPT): replace this member; docs/runbooks.md has the commands",
            ),
            Self::Filling { percent, quota } => {
                let mib = quota >> 20;
                write!(
                    f,
                    "{percent} % of the {mib} MiB that it may hold are used, and every service stops when it is full: compact and defragment \
                     it; docs/runbooks.md has the commands"
                )
            }
            Self::NotCompacted { revisions } => write!(
                f,
                "{revisions} old revisions are kept: nobody compacts it, and it fills up; start every member with \
                 `--auto-compaction-retention=1h`"
            ),
            Self::Old { version } => {
                let (major, minor, patch) = UPGRADES_WELL;
                write!(
                    f,
                    "version {version}: upgrade to {major}.{minor}.{patch} or newer before you go to 3.6, or that upgrade may lose \
                     the quorum"
                )
            }
        }
    }
}
