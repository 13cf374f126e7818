//! The claim: a line in a file of the shared storage that says which run may write there, and what a tether that finds
//! one makes of it. It catches what clocks and leases can't: two clusters over one storage, a restored etcd, a machine
//! resumed past its deadline.

use std::ffi::OsStr;
use std::fmt::Write as _;

use super::args::Args;
use super::page::{Page, checksum};
use crate::core::epoch::Run;

/// Bytes of the file: always as many, and no more than a sector, so that a beat overwrites it in place.
pub(super) const CLAIM_BYTES: usize = 512;

const MAGIC: &str = "leasehold-claim-1";

/// Three names of this length fit into the file beside the rest.
const NAME_BYTES_MAX: usize = 100;

/// Whose claim it is. Not the service: those of one run share the storage and its claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) cluster: String,
    pub(super) group: String,
    pub(super) run: Run,
    pub(super) node: String,
    pub(super) boot_id: [u8; 16],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) owner: Owner,
    pub(super) beat: u64,
    /// Every process of the owner was dead and its data synced when this was written.
    pub(super) released: bool,
}

/// What one read of the file gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Missing,
    /// Made but never written: a host went down in between, or a writer is about to.
    Blank,
    /// Something else, with its checksum: torn by a write under way, or not ours.
    Damaged(u64),
    Claim(Claim),
}

/// What to do about it before the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Take,
    /// Wait for two beats, then take it if nothing moved.
    WatchThenTake,
    /// The same, but one that stands still is refused too, for this reason.
    WatchThenRefuse(String),
    Refuse(String),
}

impl Owner {
    /// From the arguments and the page; `None` for names that the sidecar would not give.
    pub(super) fn new(args: &Args, page: &Page) -> Option<Self> {
        Some(Self {
            cluster: word(args.cluster.as_deref()?)?,
            group: word(&args.group)?,
            run: page.run,
            node: word(&args.node)?,
            boot_id: page.boot_id,
        })
    }

    fn same_group(&self, other: &Self) -> bool {
        self.cluster == other.cluster && self.group == other.group
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        format!(
            "group {} of cluster {}, epoch {} on node {}",
            self.group, self.cluster, self.run.epoch, self.node
        )
    }
}

fn word(text: &OsStr) -> Option<String> {
    let text = text.to_str()?;
    let plain = !text.contains(|letter: char| letter.is_whitespace() || letter.is_control());
    (plain && !text.is_empty() && text.len() <= NAME_BYTES_MAX).then(|| text.to_owned())
}

impl Claim {
    /// One line of text, filled up with blanks.
    pub(super) fn encode(&self) -> [u8; CLAIM_BYTES] {
        let owner = &self.owner;
        let mut line = format!(
            "{MAGIC} {} {} {} {} {} ",
            owner.cluster, owner.group, owner.run.epoch, owner.run.n, owner.node
        );
        for byte in owner.boot_id {
            let _ = write!(line, "{byte:02x}");
        }
        let state = if self.released { "released" } else { "held" };
        let _ = write!(line, " {} {state}", self.beat);
        let sum = checksum(line.as_bytes());
        let _ = write!(line, " {sum:016x}");
        let mut bytes = [b' '; CLAIM_BYTES];
        for (to, from) in bytes.iter_mut().zip(line.bytes()) {
            *to = from;
        }
        bytes[CLAIM_BYTES - 1] = b'\n';
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok().filter(|_| bytes.len() == CLAIM_BYTES)?;
        let (line, sum) = text.strip_suffix('\n')?.trim_end_matches(' ').rsplit_once(' ')?;
        if sum.len() != 16 || u64::from_str_radix(sum, 16).ok()? != checksum(line.as_bytes()) {
            return None;
        }
        let mut words = line.strip_prefix(MAGIC)?.strip_prefix(' ')?.split(' ');
        let mut next = || words.next();
        let claim = Self {
            owner: Owner {
                cluster: next()?.to_owned(),
                group: next()?.to_owned(),
                run: Run {
                    epoch: next()?.parse().ok()?,
                    n: next()?.parse().ok()?,
                },
                node: next()?.to_owned(),
                boot_id: u128::from_str_radix(next()?, 16).ok()?.to_be_bytes(),
            },
            beat: next()?.parse().ok()?,
            released: match next()? {
                "released" => true,
                "held" => false,
                _ => return None,
            },
        };
        next().is_none().then_some(claim)
    }
}

impl Found {
    /// From the bytes of the file.
    pub(super) fn of(bytes: &[u8]) -> Self {
        // A file system may come back from a power cut with zeros where the first write was to be.
        if bytes.iter().all(|byte| *byte == 0) {
            return Self::Blank;
        }
        Claim::decode(bytes).map_or_else(|| Self::Damaged(checksum(bytes)), Self::Claim)
    }
}

/// Judges a claim found before the start. The lock of this service is held: no other tether of it lives on this host.
pub(super) fn judge(found: &Found, me: &Owner) -> Step {
    let claim = match found {
        Found::Missing => return Step::Take,
        Found::Blank => return Step::WatchThenTake,
        // It may have carried a higher epoch.
        Found::Damaged(_) => {
            let why = "the claim is damaged; when no host runs the service, remove";
            return Step::WatchThenRefuse(why.to_owned());
        }
        Found::Claim(claim) => claim,
    };
    let owner = &claim.owner;
    if !owner.same_group(me) {
        // Epochs of different groups don't compare. One that stands still may come back: its host may be frozen, and no
        // lease that is known here would have run out.
        return if claim.released {
            Step::Take
        } else {
            Step::WatchThenRefuse(format!(
                "claimed by {} and not released; if that is gone for good, remove",
                owner.describe()
            ))
        };
    }
    if owner.run.epoch > me.run.epoch {
        return Step::Refuse(format!(
            "claimed by a later epoch: {}, here epoch {} on node {}; was etcd restored? The claim is",
            owner.describe(),
            me.run.epoch,
            me.node
        ));
    }
    if claim.released || (owner.node == me.node && owner.boot_id == me.boot_id) {
        Step::Take
    } else {
        Step::WatchThenTake
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            cluster: "mail".to_owned(),
            group: "g".to_owned(),
            run: Run { epoch: 7, n: 2 },
            node: "n1".to_owned(),
            boot_id: [7; 16],
        }
    }

    fn claim(change: impl FnOnce(&mut Claim)) -> Claim {
        let mut claim = Claim {
            owner: owner(),
            beat: 3,
            released: false,
        };
        change(&mut claim);
        claim
    }

    fn step(change: impl FnOnce(&mut Claim)) -> Step {
        judge(&Found::Claim(claim(change)), &owner())
    }

    #[test]
    fn what_is_written_is_read() {
        for released in [false, true] {
            let claim = claim(|claim| claim.released = released);
            assert_eq!(Found::of(&claim.encode()), Found::Claim(claim));
        }
        let name = "x".repeat(NAME_BYTES_MAX);
        let longest = claim(|claim| {
            for to in [&mut claim.owner.cluster, &mut claim.owner.group, &mut claim.owner.node] {
                to.clone_from(&name);
            }
            claim.owner.run = Run {
                epoch: u64::MAX,
                n: u32::MAX,
            };
            claim.beat = u64::MAX;
        });
        assert_eq!(Found::of(&longest.encode()), Found::Claim(longest));
    }

    #[test]
    fn damage_is_noticed() {
        let whole = claim(|_| {}).encode();
        for at in 0..CLAIM_BYTES {
            let mut bytes = whole;
            bytes[at] ^= 1;
            assert!(matches!(Found::of(&bytes), Found::Damaged(_)), "byte {at}");
        }
        assert!(matches!(Found::of(&whole[..100]), Found::Damaged(_)));
        assert_eq!(Found::of(&[]), Found::Blank);
        assert_eq!(Found::of(&[0; CLAIM_BYTES]), Found::Blank);
    }

    #[test]
    fn claims_of_the_group_go_by_epoch_first() {
        assert_eq!(step(|_| {}), Step::Take);
        assert_eq!(step(|claim| claim.owner.node = "n2".to_owned()), Step::WatchThenTake);
        assert_eq!(step(|claim| claim.owner.boot_id = [8; 16]), Step::WatchThenTake);
        let released = |claim: &mut Claim| {
            claim.owner.node = "n2".to_owned();
            claim.released = true;
        };
        assert_eq!(step(released), Step::Take);
        for released in [false, true] {
            let later = step(|claim| {
                claim.owner.run.epoch = 8;
                claim.released = released;
            });
            assert!(matches!(later, Step::Refuse(_)), "{later:?}");
        }
    }

    #[test]
    fn claims_of_others_must_be_released() {
        for change in [
            |claim: &mut Claim| claim.owner.cluster = "other".to_owned(),
            |claim: &mut Claim| claim.owner.group = "other".to_owned(),
        ] {
            assert!(matches!(step(change), Step::WatchThenRefuse(_)));
            let released = step(|claim| {
                change(claim);
                claim.released = true;
            });
            assert_eq!(released, Step::Take);
        }
        assert_eq!(judge(&Found::Missing, &owner()), Step::Take);
        assert_eq!(judge(&Found::Blank, &owner()), Step::WatchThenTake);
        assert!(matches!(judge(&Found::Damaged(1), &owner()), Step::WatchThenRefuse(_)));
    }
}
