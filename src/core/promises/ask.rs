//! The holder's side: it asks all, in rounds, and runs on as long as all say yes (P4, P6 to P8, P12).

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Ask, Message, Proof, Round};
use crate::event::Action;
use crate::node::Node;
use crate::protocol::kept::VoterId;
use crate::protocol::sizing::{Deadlines, Timing};
use crate::time::Time;

/// Between two requests to one that is silent.
const REPEAT: Duration = Duration::from_millis(100);
/// In fair weather a round is tried now and then, so that everybody knows who is missing.
pub(super) const TRIAL: Duration = Duration::from_secs(60);

/// What a round allows: stamps, each with what counts from it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoundProof {
    round: (Time, Duration),
    last: (Time, Duration),
}

impl RoundProof {
    /// The earlier of both; `grace`: the group's, where its file states one.
    pub(crate) fn deadlines(self, timing: &Timing, grace: Option<Duration>) -> Deadlines {
        let round = timing.deadlines(self.round.0, self.round.1, grace);
        let last = timing.deadlines(self.last.0, self.last.1, grace);
        round.earlier(last)
    }
}

impl Node {
    /// Asks, where it is time to; and sends whatever there is to say.
    pub(crate) fn step_promises(&mut self, now: Time, out: &mut Vec<Action>) {
        if !self.promises.has_vote() {
            return;
        }
        self.forget_promises(now);
        self.step_round(now);
        out.append(&mut self.promises.out);
    }

    fn step_round(&mut self, now: Time) {
        let Some((lease, voters, _)) = self.to_be_asked(now) else {
            self.promises.round = None;
            return;
        };
        if self.membership.is_under_hold(now) {
            return;
        }
        let beat = self.facts.timing().beat;
        match &self.promises.round {
            Some(round) if now.since(round.stamp) < beat => {
                if !round.over && now.since(round.repeated) >= REPEAT {
                    self.ask_the_silent(now);
                }
            }
            Some(_) | None => {
                if self.round_due(now, lease).is_some_and(|at| now.reached(at)) {
                    self.begin_round(now, lease, voters);
                }
            }
        }
    }

    /// The youngest stamp that this incarnation counts on is old, or nobody was asked for long.
    fn round_due(&self, now: Time, lease: i64) -> Option<Time> {
        let timing = self.facts.timing();
        let (beat, _) = self.membership.exchange().proof()?;
        let proof = self.promises.proof.filter(|proof| proof.lease == lease);
        let stamp = proof.map_or(beat, |proof| proof.stamp.later(beat));
        let due = stamp.plus(timing.beat + timing.attempt);
        let last = self.promises.round.as_ref().map(|round| round.stamp);
        let trial = last.map_or(now, |last| last.plus(TRIAL));
        let next = last.map_or(now, |last| last.plus(timing.beat));
        Some(due.later(next).earlier(trial))
    }

    /// P7: never more than any beat promises that was sent and may count, and never what a hold does.
    fn round_length(&self) -> Option<Duration> {
        let (_, promise) = self.membership.exchange().proof()?;
        let sent = self.membership.exchange().shortest_sent();
        let shortest = sent.map_or(promise, |sent| sent.min(promise));
        Some(shortest.min(self.facts.timing().ttl))
    }

    fn begin_round(&mut self, now: Time, lease: i64, asked: BTreeSet<VoterId>) {
        let Some(length) = self.round_length() else { return };
        // A later sidecar of this boot goes on above it.
        let clock = u64::try_from(now.raw.as_millis()).unwrap_or(u64::MAX);
        self.promises.seq = self.promises.seq.saturating_add(1).max(clock);
        self.promises.challenges.retain(|voter, _| asked.contains(voter));
        let before = self.promises.round.as_ref().map(Round::missing);
        self.promises.lacked = before.unwrap_or_default();
        self.promises.round = Some(Round {
            nonce: self.promises.random.draw(),
            seq: self.promises.seq,
            lease,
            stamp: now,
            length,
            asked,
            yes: BTreeSet::new(),
            repeated: now,
            over: false,
            refused: None,
        });
        self.ask_the_silent(now);
    }

    fn ask_the_silent(&mut self, now: Time) {
        let Some(round) = &mut self.promises.round else { return };
        round.repeated = now;
        let silent: Vec<VoterId> = round.asked.difference(&round.yes).copied().collect();
        for voter in silent {
            self.ask(now, voter);
        }
    }

    fn ask(&mut self, now: Time, voter: VoterId) {
        let Some(round) = self.promises.round.clone() else {
            return;
        };
        let Some(to) = self.address_of(voter) else { return };
        let runs = self.lasting(now, round.lease);
        let runs: Vec<(String, u64)> = runs.map(|(name, held)| (name.to_owned(), held.run.epoch)).collect();
        let ask = Ask {
            generation: self.trust.generation(),
            node: self.facts.me().name.clone(),
            incarnation: round.lease,
            round: round.nonce,
            seq: round.seq,
            challenge: self.promises.challenges.get(&voter).copied().unwrap_or(0),
            length: round.length,
            runs,
        };
        self.promises.say(&to, Message::Ask(ask));
    }

    /// The round that a message answers, if it is still asked.
    fn round_of(&mut self, nonce: u64, voter: VoterId) -> Option<&mut Round> {
        let round = self.promises.round.as_mut();
        round.filter(|round| round.nonce == nonce && !round.over && round.asked.contains(&voter))
    }

    pub(super) fn heard_again(&mut self, now: Time, nonce: u64, voter: VoterId, challenge: u64) {
        let news = self.promises.challenges.get(&voter) != Some(&challenge);
        if news && self.round_of(nonce, voter).is_some() {
            self.promises.challenges.insert(voter, challenge);
            self.ask(now, voter);
        }
    }

    pub(super) fn heard_no(&mut self, nonce: u64, voter: VoterId) {
        if let Some(round) = self.round_of(nonce, voter) {
            round.over = true;
            round.refused = Some(voter);
        }
    }

    pub(super) fn heard_yes(&mut self, now: Time, nonce: u64, voter: VoterId, length: Duration, out: &mut Vec<Action>) {
        let Some(round) = self.round_of(nonce, voter).filter(|round| round.length == length) else {
            return;
        };
        round.yes.insert(voter);
        if round.yes.len() < round.asked.len() {
            return;
        }
        round.over = true;
        let Round {
            lease,
            stamp,
            length,
            yes,
            ..
        } = round.clone();
        // Who is on the list, and what was promised, may have changed while they answered.
        let fits = self
            .to_be_asked(now)
            .filter(|(of, asked, _)| *of == lease && asked.is_subset(&yes));
        if fits.is_none() || self.round_length().is_none_or(|shortest| length > shortest) {
            return;
        }
        self.promises.proof = Some(Proof { lease, stamp, length });
        self.run_on(now, lease, out);
    }

    /// P12: only what has not begun to stop goes on.
    fn run_on(&mut self, now: Time, lease: i64, out: &mut Vec<Action>) {
        let Some(proof) = self.round_proof(now, lease) else {
            return;
        };
        let names: Vec<String> = self.lasting(now, lease).map(|(name, _)| name.to_owned()).collect();
        for name in names {
            let timing = self.facts.timing();
            let Some(group) = self.groups.get_mut(&name) else {
                continue;
            };
            let promised = proof.deadlines(timing, group.settings().grace);
            let held = group.held().map(|held| held.deadlines);
            let later = held.map(|held| held.later(promised));
            if let Some(later) = later.filter(|_| later != held) {
                group.renew(later, out);
            }
        }
    }

    /// P8: what the last round allows, and no more than the bound after the last landed beat.
    pub(crate) fn round_proof(&self, now: Time, lease: i64) -> Option<RoundProof> {
        let proof = self.promises.proof.filter(|proof| proof.lease == lease)?;
        let (beat, _) = self.membership.exchange().proof()?;
        let (_, _, bound) = self.to_be_asked(now)?;
        let round = (proof.stamp, proof.length);
        let last = (beat, bound);
        Some(RoundProof { round, last })
    }

    /// When there is something to ask, or to forget.
    pub(crate) fn promises_wake(&self, now: Time) -> Option<Time> {
        let (lease, _, _) = self.to_be_asked(now)?;
        let round = self.promises.round.as_ref();
        let repeat = round
            .filter(|round| !round.over)
            .map(|round| round.repeated.plus(REPEAT));
        let due = self.round_due(now, lease)?;
        Some(repeat.map_or(due, |repeat| repeat.earlier(due)))
    }
}
