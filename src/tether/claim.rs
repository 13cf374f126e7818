//! The claim: a line in a file of the shared storage that says which run may write there, and what a tether that finds
//! one makes of it. It catches what clocks and leases can't: two clusters over one storage, a restored etcd, a machine
//! resumed past its deadline.

use std::ffi::OsStr;
use std::fmt::Write as _;

use leasehold_base::bounds::COUNTED_MAX;
use leasehold_base::epoch::Run;
use leasehold_base::page::{Page, checksum};

/// Bytes of the file: always as many, and no more than a sector, so that a beat overwrites it in place.
pub(super) const CLAIM_BYTES: usize = 512;

const MAGIC: &str = "leasehold-claim-1";

/// Whose claim it is: a run of a group on a node. Its services share the storage and the claim.
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
    pub(super) state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// By these services of the owner. The first that ends must not release what the others still write to.
    Held(Vec<String>),
    /// Every process of the owner was dead and its data synced when this was written.
    Released,
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
    /// From the words of the command line and the page; `None` for names that the sidecar would not give.
    pub(super) fn new(cluster: &OsStr, group: &OsStr, node: &OsStr, page: &Page) -> Option<Self> {
        Some(Self {
            cluster: word(cluster)?,
            group: word(group)?,
            run: page.run,
            node: word(node)?,
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

/// A name as it may stand in a claim.
pub(super) fn word(text: &OsStr) -> Option<String> {
    let text = text.to_str()?;
    let plain = !text.contains(|letter: char| letter.is_whitespace() || letter.is_control() || letter == ',');
    (plain && !text.is_empty()).then(|| text.to_owned())
}

impl State {
    fn word(&self) -> String {
        match self {
            Self::Held(services) => format!("held:{}", services.join(",")),
            Self::Released => "released".to_owned(),
        }
    }

    fn parse(word: &str) -> Option<Self> {
        if word == "released" {
            return Some(Self::Released);
        }
        let services = if word == "held" {
            ""
        } else {
            word.strip_prefix("held:")?
        };
        let services = services.split(',');
        let services: Vec<String> = services.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Some(Self::Held(services))
    }

    /// With this service among the holders.
    fn joined(&self, service: &str) -> Self {
        match self {
            Self::Held(services) if services.iter().any(|name| name == service) => self.clone(),
            Self::Held(services) => Self::Held(services.iter().cloned().chain([service.to_owned()]).collect()),
            Self::Released => Self::Held(vec![service.to_owned()]),
        }
    }

    /// Without it; released when it was the last.
    fn left(&self, service: &str) -> Self {
        let Self::Held(services) = self else {
            return Self::Released;
        };
        let others: Vec<String> = services.iter().filter(|name| *name != service).cloned().collect();
        if others.is_empty() {
            Self::Released
        } else {
            Self::Held(others)
        }
    }
}

impl Claim {
    /// One line of text, filled up with blanks; `None` when the names are too long for it.
    pub(super) fn encode(&self) -> Option<[u8; CLAIM_BYTES]> {
        let owner = &self.owner;
        let mut line = format!(
            "{MAGIC} {} {} {} {} {} ",
            owner.cluster, owner.group, owner.run.epoch, owner.run.n, owner.node
        );
        for byte in owner.boot_id {
            let _ = write!(line, "{byte:02x}");
        }
        let _ = write!(line, " {} {}", self.beat, self.state.word());
        let sum = checksum(line.as_bytes());
        let _ = write!(line, " {sum:016x}");
        let mut bytes = [b' '; CLAIM_BYTES];
        bytes
            .get_mut(..CLAIM_BYTES - 1)?
            .get_mut(..line.len())?
            .copy_from_slice(line.as_bytes());
        bytes[CLAIM_BYTES - 1] = b'\n';
        Some(bytes)
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
            state: State::parse(next()?)?,
        };
        // A number that nobody counted makes it damaged, like any other text.
        (next().is_none() && claim.owner.run.epoch <= COUNTED_MAX).then_some(claim)
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

    /// The checksum of what must stand still before it may be taken; none where nothing has to.
    pub(super) fn sum(&self) -> Option<u64> {
        match self {
            Self::Claim(claim) if claim.state != State::Released => claim.encode().map(|bytes| checksum(&bytes)),
            Self::Missing | Self::Blank | Self::Damaged(_) | Self::Claim(_) => None,
        }
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
        return if claim.state == State::Released {
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
    if claim.state == State::Released || (owner.node == me.node && owner.boot_id == me.boot_id) {
        Step::Take
    } else {
        Step::WatchThenTake
    }
}

/// What the first beat writes over a claim that was judged free.
pub(super) fn taken(found: &Found, me: &Owner, service: &str) -> Claim {
    let held = |beat| Claim {
        owner: me.clone(),
        beat,
        state: State::Held(vec![service.to_owned()]),
    };
    match found {
        Found::Claim(claim) if claim.owner == *me => Claim {
            state: claim.state.joined(service),
            ..held(claim.beat.wrapping_add(1))
        },
        Found::Claim(claim) => held(claim.beat.wrapping_add(1)),
        Found::Missing | Found::Blank | Found::Damaged(_) => held(1),
    }
}

/// What a beat does with what it read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    Write(Claim),
    /// Torn by a write that is under way, perhaps another's: looked at again, not written over.
    Again,
    /// It is another's.
    Lost,
}

/// Decides from what a beat read before it writes.
pub(super) fn beat(found: &Found, me: &Owner, service: &str) -> Beat {
    match found {
        Found::Claim(claim) if claim.owner != *me => Beat::Lost,
        Found::Damaged(_) => Beat::Again,
        Found::Claim(_) | Found::Missing | Found::Blank => Beat::Write(taken(found, me, service)),
    }
}

/// What is left of a claim when this service has ended; `None` when it is another's by now and stays as it is.
pub(super) fn released(found: &Found, me: &Owner, service: &str) -> Option<Claim> {
    match beat(found, me, service) {
        Beat::Write(claim) => Some(Claim {
            state: claim.state.left(service),
            ..claim
        }),
        Beat::Again | Beat::Lost => None,
    }
}

/// Where a protected mount lies: its device, and the inode number of its root.
pub(super) type Place = (u64, u64);

/// Which mounts share a claim: one entry a file system, the mount that carries the claim first.
///
/// The inode number chooses it, not the order of the mounts: that may differ between two hosts or two versions of a
/// compose file, and two claims side by side would be none.
pub(super) fn by_file_system(places: &[Place]) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by_key(|index| places.get(*index));
    let mut groups: Vec<(Place, Vec<usize>)> = Vec::new();
    for index in order {
        let Some(place) = places.get(index) else { continue };
        match groups.last_mut() {
            Some((last, mounts)) if last.0 == place.0 => {
                // The same directory mounted twice is one place.
                if last.1 != place.1 {
                    mounts.push(index);
                }
                *last = *place;
            }
            Some(_) | None => groups.push((*place, vec![index])),
        }
    }
    groups.into_iter().map(|(_, mounts)| mounts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            cluster: "c".to_owned(),
            group: "g".to_owned(),
            run: Run { epoch: 7, n: 2 },
            node: "n1".to_owned(),
            boot_id: [7; 16],
        }
    }

    fn held(services: &[&str]) -> State {
        State::Held(services.iter().map(|name| (*name).to_owned()).collect())
    }

    fn claim(change: impl FnOnce(&mut Claim)) -> Claim {
        let mut claim = Claim {
            owner: owner(),
            beat: 3,
            state: held(&["s"]),
        };
        change(&mut claim);
        claim
    }

    fn step(change: impl FnOnce(&mut Claim)) -> Step {
        judge(&Found::Claim(claim(change)), &owner())
    }

    #[test]
    fn what_is_written_is_read() {
        for state in [held(&[]), held(&["s"]), held(&["imap", "smtp"]), State::Released] {
            let claim = claim(|claim| claim.state = state);
            assert_eq!(Found::of(&claim.encode().unwrap()), Found::Claim(claim));
        }
    }

    /// Root in the container may write one; it must not outrank every claim for ever.
    #[test]
    fn an_epoch_that_nobody_counted_is_damage() {
        let absurd = claim(|claim| claim.owner.run.epoch = COUNTED_MAX + 1);
        let found = Found::of(&absurd.encode().unwrap());
        assert!(matches!(found, Found::Damaged(_)), "{found:?}");
        let me = claim(|_| ()).owner;
        assert!(matches!(judge(&found, &me), Step::WatchThenRefuse(why) if why.contains("damaged")));
        // The holder goes on, and says that its claim is not renewed.
        assert_eq!(beat(&found, &me, "s"), Beat::Again);
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let long = |bytes: usize| {
            claim(|claim| {
                for to in [&mut claim.owner.cluster, &mut claim.owner.group, &mut claim.owner.node] {
                    *to = "x".repeat(100);
                }
                claim.owner.run.epoch = COUNTED_MAX;
                claim.beat = u64::MAX;
                claim.state = held(&[&"y".repeat(bytes)]);
            })
        };
        let room = (0..CLAIM_BYTES)
            .take_while(|bytes| long(*bytes).encode().is_some())
            .count();
        assert!(room > 64, "room for the service: {room}");
        let longest = long(room - 1);
        assert_eq!(Found::of(&longest.encode().unwrap()), Found::Claim(longest));
        assert_eq!(long(room).encode(), None);
    }

    #[test]
    fn damage_is_noticed() {
        let whole = claim(|_| {}).encode().unwrap();
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
            claim.state = State::Released;
        };
        assert_eq!(step(released), Step::Take);
        for state in [held(&["s"]), State::Released] {
            let later = step(|claim| {
                claim.owner.run.epoch = 8;
                claim.state = state;
            });
            let Step::Refuse(why) = later else { panic!("{later:?}") };
            assert!(
                why.contains("epoch 8 on node n1") && why.contains("here epoch 7"),
                "{why}"
            );
        }
    }

    #[test]
    fn claims_of_others_must_be_released() {
        for change in [
            |claim: &mut Claim| claim.owner.cluster = "other".to_owned(),
            |claim: &mut Claim| claim.owner.group = "other".to_owned(),
        ] {
            let Step::WatchThenRefuse(why) = step(change) else {
                panic!()
            };
            assert!(why.contains("epoch 7 on node n1"), "{why}");
            let released = step(|claim| {
                change(claim);
                claim.state = State::Released;
            });
            assert_eq!(released, Step::Take);
        }
        assert_eq!(judge(&Found::Missing, &owner()), Step::Take);
        assert_eq!(judge(&Found::Blank, &owner()), Step::WatchThenTake);
        assert!(matches!(judge(&Found::Damaged(1), &owner()), Step::WatchThenRefuse(_)));
    }

    #[test]
    fn taking_writes_the_next_beat_and_keeps_the_other_services_of_the_run() {
        let foreign = claim(|claim| {
            claim.owner.run.epoch = 6;
            claim.state = held(&["other"]);
        });
        assert_eq!(
            taken(&Found::Claim(foreign), &owner(), "s"),
            claim(|claim| claim.beat = 4)
        );
        let beside = claim(|claim| claim.state = held(&["other"]));
        let both = claim(|claim| {
            claim.beat = 4;
            claim.state = held(&["other", "s"]);
        });
        assert_eq!(taken(&Found::Claim(beside), &owner(), "s"), both);
        for found in [Found::Missing, Found::Blank, Found::Damaged(3)] {
            assert_eq!(taken(&found, &owner(), "s"), claim(|claim| claim.beat = 1));
        }
    }

    #[test]
    fn a_beat_goes_on_only_with_its_own() {
        let next = claim(|claim| claim.beat = 4);
        assert_eq!(
            beat(&Found::Claim(claim(|_| {})), &owner(), "s"),
            Beat::Write(next.clone())
        );
        // Another service of the run ended, and saw no third.
        let released = claim(|claim| claim.state = State::Released);
        assert_eq!(beat(&Found::Claim(released), &owner(), "s"), Beat::Write(next));
        for change in [
            |claim: &mut Claim| claim.owner.cluster = "other".to_owned(),
            |claim: &mut Claim| claim.owner.group = "other".to_owned(),
            |claim: &mut Claim| claim.owner.run.epoch = 6,
            |claim: &mut Claim| claim.owner.run.n = 1,
            |claim: &mut Claim| claim.owner.node = "n2".to_owned(),
            |claim: &mut Claim| claim.owner.boot_id = [8; 16],
        ] {
            let found = Found::Claim(claim(change));
            assert_eq!(beat(&found, &owner(), "s"), Beat::Lost);
            assert_eq!(super::released(&found, &owner(), "s"), None);
        }
        assert_eq!(beat(&Found::Damaged(1), &owner(), "s"), Beat::Again);
        assert_eq!(super::released(&Found::Damaged(1), &owner(), "s"), None);
    }

    #[test]
    fn the_last_service_releases() {
        let after = |state| {
            let found = Found::Claim(claim(|claim| claim.state = state));
            released(&found, &owner(), "s").unwrap()
        };
        let expected = |state| {
            claim(|claim| {
                claim.beat = 4;
                claim.state = state;
            })
        };
        assert_eq!(after(held(&["s"])), expected(State::Released));
        assert_eq!(after(held(&["other", "s"])), expected(held(&["other"])));
        assert_eq!(after(State::Released), expected(State::Released));
        assert_eq!(released(&Found::Missing, &owner(), "s").unwrap().state, State::Released);
    }

    #[test]
    fn the_order_of_the_mounts_does_not_choose_the_claim() {
        let places = [(8, 30), (9, 2), (8, 20), (8, 30), (9, 2)];
        assert_eq!(by_file_system(&places), [vec![2, 0], vec![1]]);
        let turned: Vec<Place> = places.into_iter().rev().collect();
        let first: Vec<Place> = by_file_system(&turned).iter().map(|mounts| turned[mounts[0]]).collect();
        assert_eq!(first, [(8, 20), (9, 2)]);
        assert!(by_file_system(&[]).is_empty());
    }

    #[test]
    fn names_that_would_break_the_line_are_no_names() {
        for (text, good) in [
            ("mail", true),
            ("a b", false),
            ("a,b", false),
            ("a\n", false),
            ("", false),
            ("\u{e4}", true),
        ] {
            assert_eq!(word(OsStr::new(text)).is_some(), good, "{text:?}");
        }
    }
}
