//! What comes in from people, each to the file that decides about it.

use crate::event::{Action, Request};
use crate::node::Node;
use crate::protocol::bounds::GIVEN_MAX;
use crate::protocol::sizing::{HOLD_MAX, HOLD_TTLS_MIN};
use crate::requests::PendingAccept;
use crate::requests::refusal::Refusal;

impl Node {
    /// Takes in what is wanted, or replies at once why not.
    pub(crate) fn take_request(&mut self, reply: u64, request: Request, out: &mut Vec<Action>) {
        let refused = match request {
            Request::Hold { length } => {
                if length > HOLD_MAX {
                    Some(Refusal::HoldTooLong { length, most: HOLD_MAX })
                } else if length < self.facts.timing().ttl * HOLD_TTLS_MIN {
                    Some(Refusal::HoldTooShort {
                        ttl: self.facts.timing().ttl,
                    })
                } else if !self.membership.is_joined() {
                    Some(Refusal::NotMember)
                } else {
                    self.requests.hold(reply, length).err()
                }
            }
            Request::Switchover { group, to, origin } => self.want_switchover(reply, group, to, origin),
            Request::Failback { group, origin } => self.want_failback(reply, group, origin, out),
            Request::Apply { group, origin } => self.want_apply(reply, group, origin),
            Request::Fenced { what, by } => self.want_fenced(reply, what, by),
            Request::Accept { force, epoch } => {
                let pending = PendingAccept {
                    reply,
                    force,
                    epoch,
                    import: None,
                };
                if epoch.is_some_and(|epoch| epoch > GIVEN_MAX) && !self.requests.has_accept() {
                    Some(Refusal::EpochTooHigh { most: GIVEN_MAX })
                } else {
                    self.requests.accept(pending).err()
                }
            }
            Request::Import { exported } => {
                let pending = PendingAccept {
                    reply,
                    force: true,
                    epoch: None,
                    import: Some(exported),
                };
                self.requests.accept(pending).err()
            }
            Request::Order { order, origin } => {
                self.give_order(reply, order, origin, out);
                None
            }
        };
        if let Some(why) = refused {
            out.push(Action::Reply {
                reply,
                result: Err(why),
            });
        }
    }
}
