//! Promises: a holder runs on while etcd does not answer, as long as every other disk that could take its groups tells it
//! directly that it will not (docs/promises.md, P1 to P14). Nothing here is there unless the cluster's configuration has
//! promises and this node a vote.

mod answer;
mod ask;
mod config;
mod list;
mod told;
mod wait;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::event::Action;
use crate::protocol::kept::VoterId;
use crate::random::Random;
use crate::time::Time;

/// Incarnations that have this node's word at one time. Whoever asks beyond it is told no.
const GIVEN_MAX: usize = 64;
/// Lists that were sent and may still land.
const SENT_MAX: usize = 16;
/// Messages of one event. What is more is not sent: silence is a no.
const OUT_MAX: usize = 256;
/// Groups in one message.
pub const RUNS_MAX: usize = 256;
/// Bytes of one datagram: no way cuts it into pieces, of which each could be lost (1280 bytes of IPv6 without its headers). Some forty
/// groups fit into a question. A node that holds more asks nobody, has no promises, and says so.
pub const MESSAGE_MAX: usize = 1232;
/// Of a question: all but the names and the groups.
const QUESTION_FRAME: usize = 86;
/// Of a group: all but its name.
const RUN_FRAME: usize = 9;
/// Letters of a name in a message.
const NAME_MAX: usize = 255;

/// This node's vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    pub id: VoterId,
    /// Where it is asked.
    pub address: String,
}

/// What nodes say to each other directly. The adapter proves that it comes from a node of this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// "Will you leave me alone for so long?"
    Ask(Ask),
    Yes {
        round: u64,
        voter: VoterId,
        length: Duration,
    },
    No {
        round: u64,
        voter: VoterId,
    },
    /// Nothing was promised: ask again with this challenge, which an old message can't know.
    Again {
        round: u64,
        voter: VoterId,
        challenge: u64,
    },
    /// "Do you run under this incarnation, or have you promised it something?"
    Runs {
        incarnation: i64,
        round: u64,
    },
    /// "Yes, for so long at least."
    Running {
        round: u64,
        left: Duration,
    },
}

/// Whether a node of this name can ask for groups of these names in one question.
#[must_use]
pub fn fits<'n>(cluster: &str, node: &str, groups: impl Iterator<Item = &'n str>) -> bool {
    let (mut bytes, mut count) = (QUESTION_FRAME + cluster.len() + node.len(), 0);
    let mut names_fit = cluster.len() <= NAME_MAX && node.len() <= NAME_MAX;
    for group in groups {
        bytes += RUN_FRAME + group.len();
        count += 1;
        names_fit &= group.len() <= NAME_MAX;
    }
    names_fit && count <= RUNS_MAX && bytes <= MESSAGE_MAX
}

/// A holder's question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub generation: u64,
    /// The holder.
    pub node: String,
    pub incarnation: i64,
    /// Random: an answer counts for its own round alone.
    pub round: u64,
    /// Rises from one round to the next.
    pub seq: u64,
    /// The one of the process that is asked; 0: not known yet.
    pub challenge: u64,
    pub length: Duration,
    /// What it runs: groups with their epochs.
    pub runs: Vec<(String, u64)>,
}

/// The state of this part. It is changed by the files of this folder, and nowhere else.
#[derive(Debug)]
pub(crate) struct Promises {
    /// None: this node neither asks nor promises, and takes nothing that is kept by promises.
    vote: Option<Vote>,
    /// What an ASK must echo: one of an earlier process, or one that was kept by somebody, can't.
    challenge: u64,
    /// By incarnation. Kept through a loss of the place and through an accept.
    given: BTreeMap<i64, Given>,
    round: Option<Round>,
    /// Of the youngest round that all have answered with yes.
    proof: Option<Proof>,
    /// Lists in transactions that may still land.
    sent: Vec<Sent>,
    /// The challenges of those who were asked.
    challenges: BTreeMap<VoterId, u64>,
    /// By the incarnation that it is about.
    inquiries: BTreeMap<i64, Inquiry>,
    /// The incarnation from which this node was about to take a group when it last sent something of that kind.
    taking: Option<i64>,
    /// Since when this generation is known, and since when every vote is registered under it.
    generation: Option<(u64, Time)>,
    all_registered: Option<Time>,
    seq: u64,
    random: Random,
    out: Vec<Action>,
    /// Who did not say yes in the round before this one.
    lacked: BTreeSet<VoterId>,
    /// The bound as the compose file says it.
    in_file: Option<Duration>,
    /// The same as this node took it from etcd last.
    adopted: Option<Option<u64>>,
    /// Why nobody can ask this node.
    fault: Option<String>,
}

/// A promise of this node: it takes nothing of that incarnation until the end.
#[derive(Clone, Copy, Debug)]
struct Given {
    at: Time,
    length: Duration,
    seq: u64,
}

impl Given {
    /// What is left of it, on the raw clock (rule 3).
    fn left(&self, now: Time) -> Duration {
        self.length.saturating_sub(now.waited(self.at))
    }
}

/// One question to all.
#[derive(Clone, Debug)]
struct Round {
    nonce: u64,
    seq: u64,
    lease: i64,
    /// Before the first request was sent.
    stamp: Time,
    length: Duration,
    asked: BTreeSet<VoterId>,
    yes: BTreeSet<VoterId>,
    repeated: Time,
    /// All said yes, or one said no.
    over: bool,
    /// Who said no.
    refused: Option<VoterId>,
}

/// What all have promised, from that stamp on.
#[derive(Clone, Copy, Debug)]
struct Proof {
    lease: i64,
    stamp: Time,
    length: Duration,
}

/// What a transaction wrote that may still land.
#[derive(Clone, Debug)]
struct Sent {
    stamp: Time,
    listed: Listed,
}

/// Who must be asked, as far as one record or several say it.
#[derive(Clone, Debug)]
struct Listed {
    /// None: everybody may take it after an ordinary promise.
    voters: Option<BTreeSet<VoterId>>,
    bound: Duration,
}

/// A question before a take-over.
#[derive(Clone, Copy, Debug)]
struct Inquiry {
    round: u64,
    since: Time,
    /// Somebody runs there, or has promised: since when this is known, and for how long.
    postponed: Option<(Time, Duration)>,
}

impl Promises {
    /// `seed`: as of the membership, but another stream.
    pub(crate) fn new(vote: Option<Vote>, in_file: Option<Duration>, seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0x7072_6f6d_6973_6573);
        Self {
            vote,
            challenge: random.draw().max(1),
            given: BTreeMap::new(),
            round: None,
            proof: None,
            sent: Vec::new(),
            challenges: BTreeMap::new(),
            inquiries: BTreeMap::new(),
            taking: None,
            generation: None,
            all_registered: None,
            seq: 0,
            random,
            out: Vec::new(),
            lacked: BTreeSet::new(),
            in_file,
            adopted: None,
            fault: None,
        }
    }

    /// Whether this node has a vote at all.
    pub(crate) fn has_vote(&self) -> bool {
        self.vote.is_some()
    }

    fn say(&mut self, to: &str, message: Message) {
        if self.out.len() < OUT_MAX {
            let to = to.to_owned();
            self.out.push(Action::Send { to, message });
        }
    }

    /// A T4 or T5 goes out, against that incarnation; none: the group is free.
    pub(crate) fn note_taking(&mut self, from: Option<i64>) {
        self.taking = from;
    }

    /// The place is lost: what was sent and promised under it counts for nothing. What this node has promised stays.
    pub(crate) fn drop_round(&mut self) {
        (self.round, self.proof) = (None, None);
        self.sent.clear();
    }

    /// P7: a beat that promises less goes out. A round that asked for more counts for nothing from here.
    pub(crate) fn shorter_sent(&mut self, promise: Duration) {
        self.proof = self.proof.filter(|proof| proof.length <= promise);
        self.round = self.round.take().filter(|round| round.length <= promise);
    }

    /// A beat with this stamp has landed: what was sent until then has landed as well, or never will.
    pub(crate) fn settled(&mut self, stamp: Time) {
        self.sent.retain(|sent| sent.stamp > stamp);
    }

    /// etcd has refused what was sent at this stamp.
    pub(crate) fn never_lands(&mut self, stamp: Time) {
        self.sent.retain(|sent| sent.stamp != stamp);
    }

    /// P2: what grows counts from when it is sent.
    fn note_sent(&mut self, stamp: Time, listed: Listed) {
        if self.sent.len() == SENT_MAX
            && let Some(last) = self.sent.pop()
        {
            let (stamp, listed) = (stamp.later(last.stamp), listed.and(last.listed));
            return self.sent.push(Sent { stamp, listed });
        }
        self.sent.push(Sent { stamp, listed });
    }
}

impl Listed {
    /// Both may be what counts.
    fn and(self, other: Self) -> Self {
        let voters = self.voters.zip(other.voters);
        Self {
            voters: voters.map(|(one, two)| one.union(&two).copied().collect()),
            bound: self.bound.min(other.bound),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::default().plus(Duration::from_secs(seconds))
    }

    fn listed(voters: Option<&[u128]>, bound: u64) -> Listed {
        Listed {
            voters: voters.map(|voters| voters.iter().copied().map(VoterId).collect()),
            bound: Duration::from_secs(bound),
        }
    }

    #[test]
    fn of_two_lists_both_are_asked_and_the_shorter_bound_counts() {
        let both = listed(Some(&[1, 2]), 60).and(listed(Some(&[2, 3]), 30));
        assert_eq!(both.voters.map(|voters| voters.len()), Some(3));
        assert_eq!(both.bound, Duration::from_secs(30));
        let anybody = listed(None, 60).and(listed(Some(&[2]), 60));
        assert!(anybody.voters.is_none(), "everybody may take it");
    }

    #[test]
    fn what_was_sent_counts_until_it_is_settled_and_is_bounded() {
        let mut promises = Promises::new(None, None, 1);
        for second in 1..=40 {
            promises.note_sent(at(second), listed(Some(&[u128::from(second)]), 60));
        }
        assert_eq!(promises.sent.len(), SENT_MAX);
        let last = promises.sent.last().unwrap();
        assert_eq!(last.stamp, at(40));
        assert!(
            last.listed.voters.as_ref().unwrap().contains(&VoterId(30)),
            "none is forgotten"
        );
        promises.settled(at(15));
        assert_eq!(promises.sent.len(), 1);
        promises.never_lands(at(40));
        assert!(promises.sent.is_empty());
    }

    #[test]
    fn a_beat_that_promises_less_ends_what_was_promised_more() {
        let mut promises = Promises::new(None, None, 1);
        promises.proof = Some(Proof {
            lease: 7,
            stamp: at(1),
            length: Duration::from_secs(20),
        });
        promises.shorter_sent(Duration::from_secs(20));
        assert!(promises.proof.is_some());
        promises.shorter_sent(Duration::from_secs(5));
        assert!(promises.proof.is_none());
    }

    #[test]
    fn a_promise_ends_on_the_raw_clock_alone() {
        let given = Given {
            at: at(10),
            length: Duration::from_secs(5),
            seq: 1,
        };
        assert_eq!(given.left(at(12)), Duration::from_secs(3));
        let mut slewed = at(12);
        slewed.boot = Duration::from_secs(60);
        assert_eq!(given.left(slewed), Duration::from_secs(3));
        assert_eq!(given.left(at(15)), Duration::ZERO);
    }
}
