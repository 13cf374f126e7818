//! What follows from the outcome of a transaction beyond what the view told: replies, and the sentences of the log.

use std::time::Duration;

use crate::event::{Action, Done};
use crate::membership::{Pending, Purpose};
use crate::node::Node;
use crate::requests::refusal::Refusal;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

impl Node {
    /// What follows from the outcome, beyond what the view already told.
    pub(crate) fn conclude(&mut self, now: Time, pending: &Pending, succeeded: bool, out: &mut Vec<Action>) {
        match &pending.purpose {
            Purpose::Read
            | Purpose::Configure
            | Purpose::Register
            | Purpose::Evict(_)
            | Purpose::BareBeat
            | Purpose::IntentAnswer { .. }
            | Purpose::Free { .. }
            | Purpose::ReleaseLost { .. } => {}
            Purpose::Beat => self.membership.status_landed(succeeded),
            Purpose::Hold { reply, length } => {
                let result = self.hold_result(now, pending, succeeded, *length);
                if result.is_ok() {
                    self.mention(Code::HoldStarted, text::orders::held(*length), out);
                }
                out.push(Action::Reply { reply: *reply, result });
            }
            Purpose::Request { reply, done } => {
                let result = if succeeded {
                    self.mention(Code::OrderGiven, text::orders::was_given(done), out);
                    Ok(done.clone().into())
                } else {
                    Err(Refusal::Faster)
                };
                out.push(Action::Reply { reply: *reply, result });
            }
            Purpose::Set { reply, group, done } => {
                let result = if succeeded {
                    self.mention(Code::OrderGiven, text::orders::was_given(done), out);
                    Ok(done.clone().into())
                } else {
                    Err(Refusal::SetChanged { group: group.clone() })
                };
                out.push(Action::Reply { reply: *reply, result });
            }
            Purpose::Switchover { reply, group } => self.switchover_written(now, *reply, group, succeeded, out),
            Purpose::Campaign { group, .. } => {
                let keys = self.facts.view().group(group);
                let holder = keys.active().map(|record| &record.node).filter(|_| !succeeded);
                if let (Some(holder), Some(group)) = (holder, self.groups.get_mut(group))
                    && !group.is_held()
                {
                    group.say(Code::CampaignLost, text::takeover::lost_to(holder), out);
                }
            }
            Purpose::Release { group } => {
                if succeeded && let Some(group) = self.groups.get_mut(group) {
                    group.released(now.plus(self.facts.timing().ttl), out);
                }
            }
            Purpose::Fenced { reply, left } => self.fenced(*reply, *left, succeeded, out),
            Purpose::Mark { group } => self.marked(group, succeeded, out),
            Purpose::Accept { reply, done } => {
                let result = if succeeded {
                    self.mention(Code::EtcdAccepted, text::accept::ACCEPTED.to_owned(), out);
                    Ok(done.clone().into())
                } else {
                    // A hold may be what it met: of that, the newest view tells.
                    Err(self.held_refusal().unwrap_or(Refusal::AcceptedChanged))
                };
                out.push(Action::Reply { reply: *reply, result });
            }
        }
    }

    fn hold_result(
        &mut self,
        now: Time,
        pending: &Pending,
        succeeded: bool,
        length: Duration,
    ) -> Result<Done, Refusal> {
        if !succeeded || !self.membership.is_joined() {
            return Err(Refusal::HoldRefused);
        }
        // Beating goes on in time, in case that nobody replaces this sidecar.
        let until = pending.stamp.plus(length.saturating_sub(self.facts.timing().ttl * 2));
        self.membership.hold_until(until);
        let left = now.until(pending.stamp.plus(length));
        Ok(text::orders::hold_stands(left).into())
    }

    /// Whoever waits for a reply learns that there is none.
    pub(crate) fn fail_reply(&mut self, pending: &Pending, why: Refusal, out: &mut Vec<Action>) {
        self.membership.status_unknown();
        match pending.purpose {
            Purpose::Hold { reply, .. }
            | Purpose::Request { reply, .. }
            | Purpose::Set { reply, .. }
            | Purpose::Switchover { reply, .. }
            | Purpose::Fenced { reply, .. }
            | Purpose::Accept { reply, .. } => {
                out.push(Action::Reply {
                    reply,
                    result: Err(why),
                });
            }
            Purpose::Read
            | Purpose::Configure
            | Purpose::Register
            | Purpose::Evict(_)
            | Purpose::Beat
            | Purpose::BareBeat
            | Purpose::IntentAnswer { .. }
            | Purpose::Free { .. }
            | Purpose::Campaign { .. }
            | Purpose::Release { .. }
            | Purpose::ReleaseLost { .. }
            | Purpose::Mark { .. } => {}
        }
    }
}
