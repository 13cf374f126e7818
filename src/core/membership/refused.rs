//! What etcd refuses, for want of a right or because it is too large. A bare beat follows at once, and the same is not asked
//! again for a while: one thing that can't be written starves neither the beats nor the other groups.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Member, Pending, Purpose};
use crate::event::Action;
use crate::node::Node;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// Before the same is asked again, doubled from one refusal to the next.
const PUT_OFF: Duration = Duration::from_secs(2);
const PUT_OFF_MAX: Duration = Duration::from_secs(60);

/// What a node asks of etcd by itself, and would ask again at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WriteKind {
    /// What goes with a beat.
    Extras,
    /// T3 to T6.
    Campaign(String),
    /// T7 or T8.
    Release(String),
    Mark(String),
    IntentAnswer(String),
}

impl Purpose {
    /// None of what is asked once, or has no beat to starve.
    fn asked(&self) -> Option<WriteKind> {
        match self {
            Self::Beat => Some(WriteKind::Extras),
            Self::IntentAnswer { group } => Some(WriteKind::IntentAnswer(group.clone())),
            Self::Campaign { group, .. } | Self::Free { group } => Some(WriteKind::Campaign(group.clone())),
            Self::Release { group } | Self::ReleaseLost { group } => Some(WriteKind::Release(group.clone())),
            Self::Mark { group } => Some(WriteKind::Mark(group.clone())),
            Self::Read
            | Self::Configure
            | Self::Register
            | Self::Evict(_)
            | Self::BareBeat
            | Self::Request { .. }
            | Self::Switchover { .. }
            | Self::Hold { .. }
            | Self::Fenced { .. }
            | Self::Set { .. }
            | Self::Accept { .. } => None,
        }
    }
}

/// What was refused, until when it is put off, and for how long that was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals {
    put_off: BTreeMap<WriteKind, (Time, Duration)>,
    /// The next request is a bare beat.
    pub(super) beat_first: bool,
}

impl Refusals {
    pub(crate) fn put_off(&self, now: Time, asked: &WriteKind) -> bool {
        self.put_off.get(asked).is_some_and(|(until, _)| !now.reached(*until))
    }
}

impl Node {
    /// Nothing of it was carried out, nor ever will be.
    pub(super) fn refused(&mut self, now: Time, pending: &Pending, why: &str, out: &mut Vec<Action>) {
        let joined = matches!(self.membership.member, Member::Joined { .. });
        // A beat that says nothing else is as good as it gets.
        let bare = matches!(pending.purpose, Purpose::BareBeat | Purpose::Read);
        self.membership.refusals.beat_first = joined && !bare;
        self.membership.exchange.pause(if joined && !bare {
            Duration::ZERO
        } else {
            self.facts.timing().beat
        });
        let Some(asked) = pending.purpose.asked() else { return };
        let before = self
            .membership
            .refusals
            .put_off
            .get(&asked)
            .map(|(_, pause)| *pause * 2);
        let pause = before.unwrap_or(PUT_OFF).min(PUT_OFF_MAX);
        let text = text::membership::refused(&asked, why, pause);
        self.mention(Code::EtcdRefuses, text, out);
        self.membership.refusals.put_off.insert(asked, (now.plus(pause), pause));
    }

    /// Whatever came of it, etcd took it.
    pub(super) fn not_refused(&mut self, purpose: &Purpose) {
        if let Some(asked) = purpose.asked() {
            self.membership.refusals.put_off.remove(&asked);
        }
    }
}
