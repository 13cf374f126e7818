//! What operators asked of this node. As long as etcd has not been told it is here: one of each kind, orders in a queue. Nothing
//! waits for long: what can't be sent in time is taken back, and its caller told.

pub(crate) mod accept;
pub(crate) mod apply;
pub mod exported;
pub mod fenced;
mod intake;
pub(crate) mod orders;
pub(crate) mod placement;
pub mod refusal;
pub(crate) mod removal;
pub(crate) mod replies;
mod set;
pub(crate) mod switchover;
pub(crate) mod switchover_holder;

use std::collections::VecDeque;
use std::time::Duration;

use crate::protocol::records::Intent;
use crate::requests::exported::Exported;
use crate::requests::fenced::PendingFenced;
use crate::requests::orders::PendingOrder;
use crate::requests::refusal::Refusal;
use crate::requests::switchover::Intents;
use crate::time::Time;

/// Orders that wait to be written.
const ORDERS_MAX: usize = 16;

/// So long a request waits to be sent: less than its caller waits for the answer. Nothing may happen that nobody expects any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// An operator's request for T11.
#[derive(Clone, Debug)]
pub(crate) struct PendingAccept {
    pub(crate) reply: u64,
    pub(crate) force: bool,
    pub(crate) epoch: Option<u64>,
    /// With this in the place of what etcd holds, which is nothing.
    pub(crate) import: Option<Box<Exported>>,
}

/// A request about a group, for its holder.
#[derive(Clone, Debug)]
pub(crate) struct PendingIntent {
    pub(crate) reply: u64,
    pub(crate) group: String,
    pub(crate) intent: Intent,
}

/// Everything that waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests {
    /// Since when the oldest has been waiting, as far as anything waits.
    since: Option<Time>,
    hold: Option<(u64, Duration)>,
    intent: Option<PendingIntent>,
    accept: Option<PendingAccept>,
    fenced: Option<PendingFenced>,
    orders: VecDeque<PendingOrder>,
    /// What became of those that are in etcd.
    intents: Intents,
}

impl Requests {
    /// A hold of this length.
    fn hold(&mut self, reply: u64, length: Duration) -> Result<(), Refusal> {
        refuse(self.hold.is_some(), Refusal::OtherHold)?;
        self.hold = Some((reply, length));
        Ok(())
    }

    pub(crate) fn take_hold(&mut self) -> Option<(u64, Duration)> {
        self.hold.take()
    }

    fn has_intent(&self) -> bool {
        self.intent.is_some()
    }

    fn intend(&mut self, reply: u64, group: String, intent: Intent) -> Result<(), Refusal> {
        refuse(self.intent.is_some(), Refusal::OtherIntent)?;
        self.intent = Some(PendingIntent { reply, group, intent });
        Ok(())
    }

    fn take_intent(&mut self) -> Option<PendingIntent> {
        self.intent.take()
    }

    pub(crate) fn has_accept(&self) -> bool {
        self.accept.is_some()
    }

    fn accept(&mut self, pending: PendingAccept) -> Result<(), Refusal> {
        let busy = match pending.import {
            None => Refusal::OtherAccept,
            Some(_) => Refusal::AcceptFirst,
        };
        refuse(self.accept.is_some(), busy)?;
        self.accept = Some(pending);
        Ok(())
    }

    fn take_accept(&mut self) -> Option<PendingAccept> {
        self.accept.take()
    }

    fn fenced(&mut self, pending: PendingFenced) -> Result<(), Refusal> {
        refuse(self.fenced.is_some(), Refusal::OtherFenced)?;
        self.fenced = Some(pending);
        Ok(())
    }

    fn take_fenced(&mut self) -> Option<PendingFenced> {
        self.fenced.take()
    }

    /// Whether one more order may wait.
    fn is_full(&self) -> bool {
        self.orders.len() >= ORDERS_MAX
    }

    fn order(&mut self, order: PendingOrder) -> Result<(), Refusal> {
        refuse(self.is_full(), Refusal::TooManyOrders)?;
        self.orders.push_back(order);
        Ok(())
    }

    fn next_order(&mut self) -> Option<&mut PendingOrder> {
        self.orders.front_mut()
    }

    fn take_order(&mut self) -> Option<PendingOrder> {
        self.orders.pop_front()
    }

    fn is_empty(&self) -> bool {
        self.hold.is_none()
            && self.intent.is_none()
            && self.accept.is_none()
            && self.fenced.is_none()
            && self.orders.is_empty()
    }

    /// Whether something has waited for too long; then the clock starts over.
    fn is_overdue(&mut self, now: Time) -> bool {
        if self.is_empty() {
            self.since = None;
            return false;
        }
        let overdue = now.reached(self.since.get_or_insert(now).plus(PATIENCE));
        if overdue {
            self.since = None;
        }
        overdue
    }

    /// When to look again whether something waits for too long.
    pub(crate) fn wake(&self) -> Option<Time> {
        self.since.map(|since| since.plus(PATIENCE))
    }

    /// Takes back all but an accept, which a node makes that is no member; gives whom to tell.
    fn dismiss(&mut self) -> Vec<u64> {
        let orders = self.orders.drain(..).map(|order| order.reply());
        let intent = self.intent.take().map(|pending| pending.reply);
        let hold = self.hold.take().map(|(reply, _)| reply);
        let fenced = self.fenced.take().map(|pending| pending.reply);
        orders.chain(intent).chain(hold).chain(fenced).collect()
    }
}

fn refuse(busy: bool, why: Refusal) -> Result<(), Refusal> {
    if busy { Err(why) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::default().plus(Duration::from_secs(seconds))
    }

    fn accept(reply: u64) -> PendingAccept {
        PendingAccept {
            reply,
            force: false,
            epoch: None,
            import: None,
        }
    }

    #[test]
    fn one_of_a_kind_waits_and_another_is_refused() {
        let mut requests = Requests::default();
        requests.hold(1, PATIENCE).unwrap();
        assert_eq!(requests.hold(2, PATIENCE), Err(Refusal::OtherHold));
        requests.accept(accept(3)).unwrap();
        assert_eq!(requests.accept(accept(4)), Err(Refusal::OtherAccept));
        assert_eq!(requests.take_hold().map(|(reply, _)| reply), Some(1));
        requests.hold(5, PATIENCE).unwrap();
    }

    #[test]
    fn what_waits_for_too_long_is_told_once() {
        let mut requests = Requests::default();
        assert!(!requests.is_overdue(at(0)) && requests.wake().is_none());
        requests.hold(1, PATIENCE).unwrap();
        assert!(!requests.is_overdue(at(1)));
        assert_eq!(requests.wake(), Some(at(11)));
        assert!(!requests.is_overdue(at(10)) && requests.is_overdue(at(11)));
        assert_eq!(requests.dismiss(), vec![1]);
        assert!(!requests.is_overdue(at(12)) && requests.wake().is_none());
    }

    #[test]
    fn a_node_that_is_no_member_any_more_still_accepts() {
        let mut requests = Requests::default();
        requests.accept(accept(1)).unwrap();
        requests.hold(2, PATIENCE).unwrap();
        assert_eq!(requests.dismiss(), vec![2]);
        assert!(requests.has_accept());
    }
}
