//! The three members of etcd: which of them answers, elections, a leader that is none any more.

use crate::etcd::Etcd;
use crate::events::{Call, Ev};
use crate::host::MS;
use crate::world::World;

pub(crate) const MEMBERS: usize = 3;
/// etcd looks for leases that ran out twice a second.
pub(crate) const SWEEP: u64 = 500 * MS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Up,
    Down,
    /// Its process is stopped; what it was sent waits.
    Paused,
    /// Clients reach it, the other members do not.
    CutOff,
}

/// What a member can do for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Serves,
    /// Nothing comes back.
    Silent,
    /// The connection is refused at once.
    Refused,
    /// It will look at the request when it goes on.
    Waits,
    /// It believes that it leads.
    Stale,
}

#[derive(Clone, Debug)]
pub(crate) struct Members {
    pub(crate) state: [State; MEMBERS],
    pub(crate) leader: Option<usize>,
    /// The leader that was cut off, until somebody tells it, and what it believes.
    stale: Option<(usize, Etcd)>,
    term: u64,
    /// Written to the log of a leader that fell: the next one has it, or has not.
    limbo: Vec<(usize, u64, Call, u64)>,
}

impl Members {
    pub(crate) fn new() -> Self {
        Self {
            state: [State::Up; MEMBERS],
            leader: Some(0),
            stale: None,
            term: 1,
            limbo: Vec::new(),
        }
    }

    fn quorum(&self) -> bool {
        self.state.iter().filter(|state| **state == State::Up).count() > MEMBERS / 2
    }

    pub(crate) fn service(&self, member: usize) -> Service {
        match self.state[member] {
            State::Down => Service::Refused,
            State::Paused => Service::Waits,
            State::CutOff if self.stale.as_ref().is_some_and(|(stale, _)| *stale == member) => Service::Stale,
            State::CutOff => Service::Silent,
            State::Up if self.leader.is_some() => Service::Serves,
            State::Up => Service::Silent,
        }
    }

    /// What the member that was cut off believes to be true.
    pub(crate) fn belief(&self) -> Option<&Etcd> {
        self.stale.as_ref().map(|(_, etcd)| etcd)
    }

    pub(crate) fn keep_in_limbo(&mut self, host: usize, life: u64, call: Call, sent: u64) {
        if self.limbo.len() < 32 {
            self.limbo.push((host, life, call, sent));
        }
    }
}

impl World {
    pub(crate) fn member(&mut self, member: usize, state: State) {
        self.members.state[member] = state;
        let led = self.members.leader == Some(member);
        if state == State::CutOff && led {
            self.members.stale = Some((member, self.etcd.clone()));
        } else if self.members.stale.as_ref().is_some_and(|(stale, _)| *stale == member) {
            self.members.stale = None;
        }
        if (led && state != State::Up) || !self.members.quorum() {
            self.members.leader = None;
        }
        if self.members.leader.is_none() && self.members.quorum() {
            let timeout = self.timing.election_timeout.as_nanos() as u64;
            let delay = self.rng.range(timeout, 2 * timeout);
            let term = self.members.term;
            self.push(delay, Ev::Election { term });
        }
    }

    pub(crate) fn elect(&mut self, term: u64) {
        if self.members.leader.is_some() || self.members.term != term || !self.members.quorum() {
            return;
        }
        self.members.term += 1;
        let up: Vec<_> = (0..MEMBERS).filter(|m| self.members.state[*m] == State::Up).collect();
        let chosen = up[self.rng.pick(up.len())];
        self.members.leader = Some(chosen);
        self.count("election");
        note!(self, "etcd elects member {chosen}");
        // A new leader gives every lease its whole life again.
        for (lease, ttl) in self.etcd.restart_leases(self.now) {
            self.push(ttl + SWEEP, Ev::LeaseEnd { lease });
        }
        for (host, life, call, sent) in std::mem::take(&mut self.members.limbo) {
            if self.rng.chance(500) {
                self.count("a fallen leader's entry was committed");
                self.push(
                    MS,
                    Ev::ToEtcd {
                        host,
                        life,
                        member: chosen,
                        call,
                        back: None,
                        sent,
                    },
                );
            } else {
                self.count("a fallen leader's entry was lost");
            }
        }
    }

    pub(crate) fn lease_end(&mut self, lease: i64) {
        if self.etcd.lease_end(lease).is_none_or(|end| end > self.now) {
            return;
        }
        if self.members.leader.is_none() || !self.etcd_up {
            return self.push(SWEEP, Ev::LeaseEnd { lease });
        }
        self.count("lease ran out in etcd");
        let changes = self.etcd.revoke(lease);
        self.changed(None, &changes);
    }
}
