//! The voter's side: what it promises, and to whom it says no (P5, P11, P13); and what it tells a taker (P14).

use std::time::Duration;

use super::{Ask, GIVEN_MAX, Given, Message};
use crate::event::Action;
use crate::node::Node;
use crate::protocol::bounds::PROMISE_MAX_MS;
use crate::time::Time;

impl Node {
    /// Another node says something, from this address.
    pub(crate) fn heard(&mut self, now: Time, from: &str, message: Message, out: &mut Vec<Action>) {
        let Some(voter) = self.promises.vote.as_ref().map(|vote| vote.id) else {
            return;
        };
        match message {
            Message::Ask(ask) => {
                let round = ask.round;
                let answer = if ask.challenge != self.promises.challenge {
                    let challenge = self.promises.challenge;
                    Some(Message::Again {
                        round,
                        voter,
                        challenge,
                    })
                } else if self.refuses(&ask) {
                    Some(Message::No { round, voter })
                } else {
                    let length = ask.length;
                    self.give(now, &ask).then_some(Message::Yes { round, voter, length })
                };
                if let Some(answer) = answer {
                    self.promises.say(from, answer);
                }
            }
            Message::Yes { round, voter, length } => self.heard_yes(now, round, voter, length, out),
            Message::No { round, voter } => self.heard_no(round, voter),
            Message::Again {
                round,
                voter,
                challenge,
            } => self.heard_again(now, round, voter, challenge),
            Message::Runs { incarnation, round } => {
                if let Some(left) = self.runs_or_promised(now, incarnation) {
                    self.promises.say(from, Message::Running { round, left });
                }
            }
            Message::Running { round, left } => self.heard_running(now, round, left),
        }
    }

    /// P11, P13: why not, by what this node knows itself.
    fn refuses(&self, ask: &Ask) -> bool {
        let known = self.trust.generation();
        let full = self.promises.given.len() >= GIVEN_MAX && !self.promises.given.contains_key(&ask.incarnation);
        let long = ask.length > Duration::from_millis(PROMISE_MAX_MS) || ask.length.is_zero();
        let strange = self.membership.is_frozen() || known == 0 || ask.generation != known;
        let later = self.facts.is_viewed()
            && ask
                .runs
                .iter()
                .any(|(group, epoch)| self.knows_better(group, *epoch, ask));
        full || long || strange || later || self.campaigns_against(ask)
    }

    /// A higher epoch, or another holder.
    fn knows_better(&self, group: &str, epoch: u64, ask: &Ask) -> bool {
        let record = self.facts.view().group(group).record.as_ref();
        record.is_some_and(|record| {
            let same = record.epoch == epoch;
            record.epoch > epoch || (same && (record.incarnation != ask.incarnation || self.free(group)))
        })
    }

    fn free(&self, group: &str) -> bool {
        self.facts.view().group(group).active().is_none()
    }

    /// What this node has sent to take a group of that incarnation may still land.
    fn campaigns_against(&self, ask: &Ask) -> bool {
        self.promises.taking == Some(ask.incarnation) && self.membership.exchange().is_unknown()
    }

    /// P5. False: an old message, to which there is nothing to say.
    fn give(&mut self, now: Time, ask: &Ask) -> bool {
        let before = self.promises.given.get(&ask.incarnation);
        if before.is_some_and(|before| ask.seq < before.seq) {
            return false;
        }
        // Never shorter than what was promised before.
        let left = before.map_or(Duration::ZERO, |before| before.left(now));
        let given = Given {
            at: now,
            length: ask.length.max(left),
            seq: ask.seq,
        };
        self.promises.given.insert(ask.incarnation, given);
        true
    }

    /// P14: for how long at least the incarnation may run.
    fn runs_or_promised(&self, now: Time, incarnation: i64) -> Option<Duration> {
        let runs = self.running(incarnation).filter_map(|group| {
            let held = group.held()?;
            // What hangs past its end is not over.
            Some(now.until(held.deadlines.end).max(self.facts.timing().beat))
        });
        let promised = self.promises.given.get(&incarnation);
        let promised = promised.map(|given| given.left(now)).filter(|left| !left.is_zero());
        let left = self.adoption.names().filter_map(|name| self.adoption.hard(name));
        let left = left.map(|hard| now.until(hard)).filter(|left| !left.is_zero());
        runs.chain(promised).chain(left).max()
    }
}
