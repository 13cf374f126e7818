//! What comes in from people, each to the file that decides about it.

use crate::event::{Action, Command};
use crate::node::Node;
use crate::protocol::bounds::GIVEN_MAX;
use crate::protocol::sizing::HOLD_MAX;
use crate::requests::AcceptWish;
use crate::requests::refusal::Refusal;

impl Node {
    /// Takes in what is wanted, or replies at once why not.
    pub(crate) fn command(&mut self, reply: u64, command: Command, out: &mut Vec<Action>) {
        let refused = match command {
            Command::Hold { length } => {
                if length > HOLD_MAX {
                    Some(Refusal::HoldTooLong { length, most: HOLD_MAX })
                } else if length < self.facts.timing().ttl * 4 {
                    Some(Refusal::HoldTooShort {
                        ttl: self.facts.timing().ttl,
                    })
                } else if !self.membership.is_joined() {
                    Some(Refusal::NotMember)
                } else {
                    self.requests.hold(reply, length).err()
                }
            }
            Command::Switchover { group, to, note } => self.want_switchover(reply, group, to, note),
            Command::Failback { group, note } => self.want_failback(reply, group, note, out),
            Command::Apply { group, note } => self.want_apply(reply, group, note),
            Command::Fenced { what, by } => self.want_fenced(reply, what, by),
            Command::Accept { force, epoch } => {
                let wish = AcceptWish {
                    reply,
                    force,
                    epoch,
                    import: None,
                };
                if epoch.is_some_and(|epoch| epoch > GIVEN_MAX) && !self.requests.has_accept() {
                    Some(Refusal::EpochTooHigh { most: GIVEN_MAX })
                } else {
                    self.requests.accept(wish).err()
                }
            }
            Command::Import { exported } => {
                let wish = AcceptWish {
                    reply,
                    force: true,
                    epoch: None,
                    import: Some(exported),
                };
                self.requests.accept(wish).err()
            }
            Command::Wish { wish, note } => {
                self.wish(reply, wish, note, out);
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
