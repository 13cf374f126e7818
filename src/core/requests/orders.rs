//! Standing orders of operators: a group that stays stopped, a group on pause, a node that is drained; `extent` has those
//! about where a group may run at all. They live in etcd, one key and one transaction each; every node reads them with
//! every beat and obeys them until they are taken back.

use std::time::Duration;

use crate::event::{Action, OrderKind, Origin};
use crate::group::{AfterStop, Group, StopMode};
use crate::membership::Purpose;
use crate::node::Node;
use crate::protocol::ReleaseCause;
use crate::protocol::records::{Intent, StandingOrder};
use crate::requests::PendingAccept;
use crate::requests::placement::VacateOrder;
use crate::requests::refusal::Refusal;
use crate::snapshot::code::Code;
use crate::store::{Grant, StoreError, Txn};
use crate::text;
use crate::text::orders::{already, done, standing};
use crate::time::Time;

/// The longest pause: a forgotten one must end by itself.
const PAUSE_MAX: Duration = Duration::from_secs(7 * 86_400);
const PAUSE_MIN: Duration = Duration::from_secs(10);

/// An order on its way to etcd.
#[derive(Clone, Debug)]
pub(crate) struct PendingOrder {
    reply: u64,
    kind: OrderKind,
    origin: Origin,
    at: Time,
    /// A pause ends with a lease of its own, so that it ends even if nobody is there to end it.
    lease: Option<PauseLease>,
}

impl PendingOrder {
    /// Whom to answer.
    pub(crate) fn reply(&self) -> u64 {
        self.reply
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PauseLease {
    Waiting(i64),
    Granted(i64),
}

impl Node {
    /// Takes an order in, or replies at once why not.
    pub(crate) fn give_order(&mut self, reply: u64, kind: OrderKind, origin: Origin, out: &mut Vec<Action>) {
        let refused = self.refusal(&kind);
        let result = match refused {
            Some(why) => Err(why),
            None if !self.membership.is_joined() => Err(Refusal::NotMember),
            None if self.requests.is_full() => Err(Refusal::TooManyOrders),
            None => match self.fulfilled(&kind) {
                Some(already) => Ok(already.into()),
                None => {
                    let (at, lease) = (self.facts.now(), None);
                    let order = PendingOrder {
                        reply,
                        kind,
                        origin,
                        at,
                        lease,
                    };
                    let Err(full) = self.requests.order(order) else {
                        return self.membership.hint();
                    };
                    Err(full)
                }
            },
        };
        out.push(Action::Reply { reply, result });
    }

    fn refusal(&self, kind: &OrderKind) -> Option<Refusal> {
        match kind {
            OrderKind::Stop { group } | OrderKind::Start { group } | OrderKind::Resume { group } => {
                self.not_there(group)
            }
            OrderKind::Pause { group, length } => self.not_there(group).or_else(|| {
                (*length < PAUSE_MIN || *length > PAUSE_MAX).then_some(Refusal::PauseLength { least: PAUSE_MIN })
            }),
            OrderKind::Drain { node } | OrderKind::Undrain { node } => {
                let known = self.facts.view().nodes.contains_key(node) || self.facts.view().statuses.contains_key(node);
                let drained = self.facts.view().drained.contains_key(node);
                (!known && !drained).then(|| Refusal::NoNode { node: node.clone() })
            }
            OrderKind::Withdraw { group, id } => {
                self.unknown_group(group).or_else(|| self.not_withdrawable(group, *id))
            }
            OrderKind::Remove { node } => self.not_removable(node),
            OrderKind::Extend { group, node } => self.not_extendable(group, node),
            OrderKind::Unextend { group, node } => self.not_unextendable(group, node),
            // The rest once etcd was read anew: its storage may have been initialised a moment ago.
            OrderKind::Create { group } => self.unknown_group(group),
            OrderKind::Delete { group } => self.not_deletable(group),
            OrderKind::Set { group, changes } => self.not_settable(group, changes),
            OrderKind::Configure { ttl, promises } => self.unfit(*ttl, *promises),
        }
    }

    pub(crate) fn unknown_group(&self, group: &str) -> Option<Refusal> {
        (!self.groups.contains_key(group)).then(|| {
            let known: Vec<&str> = self.groups.keys().map(String::as_str).collect();
            Refusal::NoGroup {
                group: group.to_owned(),
                known: known.join(", "),
            }
        })
    }

    /// What to answer where there is nothing to do.
    pub(crate) fn fulfilled(&self, kind: &OrderKind) -> Option<String> {
        match kind {
            OrderKind::Stop { group } => {
                let order = self.facts.view().group(group).stopped.as_ref()?;
                Some(already::stopped(group, &order.0))
            }
            OrderKind::Start { group } => {
                let none = self.facts.view().group(group).stopped.is_none();
                none.then(|| already::not_stopped(group))
            }
            OrderKind::Resume { group } => {
                let none = self.facts.view().group(group).paused.is_none();
                none.then(|| already::not_on_pause(group))
            }
            OrderKind::Withdraw { group, .. } => {
                let asked = matches!(
                    self.facts.view().group(group).intent,
                    Some((Intent::Switchover { .. }, _))
                );
                (!asked).then(|| already::not_moved(group))
            }
            OrderKind::Drain { node } => {
                let order = self.facts.view().drained.get(node)?;
                Some(already::drained(node, &order.0))
            }
            OrderKind::Undrain { node } => {
                let none = !self.facts.view().drained.contains_key(node);
                none.then(|| already::not_drained(node))
            }
            OrderKind::Remove { node } => {
                let view = self.facts.view();
                let left = view.nodes.contains_key(node)
                    || view.statuses.contains_key(node)
                    || view.known.contains_key(node)
                    || view.drained.contains_key(node)
                    || view
                        .groups
                        .values()
                        .any(|keys| keys.excluded.contains_key(node) || keys.policy.priority(node).is_some());
                (!left).then(|| already::removed(node))
            }
            OrderKind::Extend { group, node } => {
                let none = !self.facts.view().group(group).excluded.contains_key(node);
                none.then(|| already::extended(group, node))
            }
            OrderKind::Unextend { group, node } => {
                let keys = self.facts.view().group(group);
                let (order, _) = keys.excluded.get(node)?;
                Some(already::not_extended(group, node, order))
            }
            OrderKind::Create { group } => {
                let none = self.facts.view().group(group).deleted.is_none();
                none.then(|| already::created(group))
            }
            OrderKind::Delete { group } => {
                let order = self.facts.view().group(group).deleted.as_ref()?;
                Some(already::deleted(group, &order.0))
            }
            OrderKind::Set { group, changes } => self.set_already(group, changes),
            OrderKind::Configure { ttl, promises } => self.configured(*ttl, *promises),
            // A new one starts over, with its own end.
            OrderKind::Pause { .. } => None,
        }
    }

    /// The next order as a transaction; a pause asks for its lease first.
    pub(crate) fn order_txn(&mut self, out: &mut Vec<Action>) -> Option<(Txn, Purpose)> {
        let asked_at = self.requests.next_order()?.at;
        let is_fresh = self.read_since(asked_at);
        let next = self.requests.next_order()?;
        let lease = match (&next.kind, next.lease) {
            (OrderKind::Pause { length, .. }, None) => {
                let (ttl, lease) = (*length, self.membership.new_lease());
                next.lease = Some(PauseLease::Waiting(lease));
                out.push(Action::Grant(Grant { lease, ttl }));
                return None;
            }
            (_, Some(PauseLease::Waiting(_))) => return None,
            (OrderKind::Create { .. }, _) if !is_fresh => {
                self.membership.hint();
                return None;
            }
            (_, Some(PauseLease::Granted(lease))) => lease,
            (_, None) => 0,
        };
        let PendingOrder {
            reply, kind, origin, ..
        } = self.requests.take_order()?;
        let (key, revision, done) = self.order_key(&kind);
        let txn = match kind {
            OrderKind::Remove { node } => return self.removal(reply, &node, out),
            OrderKind::Withdraw { group, id } => return self.withdrawal(reply, &group, id, out),
            OrderKind::Configure { ttl, promises } => return self.configuration(reply, ttl, promises, out),
            OrderKind::Set { group, changes } => return self.setting(reply, group, &changes, origin, out),
            OrderKind::Unextend { group, node } => return self.unextension(reply, &group, &node, origin, out),
            OrderKind::Create { group } => return self.creation(reply, &group, out),
            OrderKind::Delete { group } => return self.deletion(reply, &group, origin, out),
            OrderKind::Stop { .. } | OrderKind::Pause { .. } | OrderKind::Drain { .. } => {
                Txn::give_order(key, revision, &StandingOrder::from(origin), lease)
            }
            OrderKind::Start { .. }
            | OrderKind::Resume { .. }
            | OrderKind::Undrain { .. }
            | OrderKind::Extend { .. } => Txn::withdraw_order(key, revision),
        };
        Some((txn, Purpose::Request { reply, done }))
    }

    /// Whether what is known of etcd was asked for after this.
    fn read_since(&self, at: Time) -> bool {
        let age = self.facts.contact().age(self.facts.now());
        age.is_some_and(|age| age <= self.facts.now().since(at))
    }

    /// The key of an order, its mod revision as read, and what to answer once it is written.
    fn order_key(&self, kind: &OrderKind) -> (String, i64, String) {
        let revision = |order: Option<&(StandingOrder, i64)>| order.map_or(0, |(_, revision)| *revision);
        let (names, view) = (self.facts.keys(), self.facts.view());
        match kind {
            OrderKind::Stop { group } | OrderKind::Start { group } => {
                let keys = view.group(group);
                let done = match (kind, keys.paused.is_some()) {
                    (OrderKind::Stop { .. }, _) => done::stopped(group),
                    (_, false) => done::started(group),
                    (_, true) => done::started_on_pause(group),
                };
                (names.stopped(group), revision(keys.stopped.as_ref()), done)
            }
            OrderKind::Pause { group, length } => {
                let paused = view.group(group).paused.as_ref();
                (names.paused(group), revision(paused), done::paused(group, *length))
            }
            OrderKind::Resume { group } => {
                let paused = view.group(group).paused.as_ref();
                (names.paused(group), revision(paused), done::resumed(group))
            }
            OrderKind::Drain { node } => {
                let drained = revision(view.drained.get(node));
                (names.drained(node), drained, done::drained(node))
            }
            OrderKind::Undrain { node } => {
                let drained = revision(view.drained.get(node));
                (names.drained(node), drained, done::undrained(node))
            }
            OrderKind::Withdraw { group, .. } => {
                let intent = view.group(group).intent_mod;
                (names.intent(group), intent, text::switchover::withdrawn(group))
            }
            OrderKind::Remove { node } => {
                let drained = revision(view.drained.get(node));
                (names.drained(node), drained, done::removed(node, 0))
            }
            OrderKind::Extend { group, node } | OrderKind::Unextend { group, node } => {
                let keys = view.group(group);
                let excluded = revision(keys.excluded.get(node));
                (names.excluded(group, node), excluded, done::extended(group, node))
            }
            // These write more than one key, and say themselves what is done.
            OrderKind::Create { group } | OrderKind::Delete { group } => {
                let keys = view.group(group);
                (names.deleted(group), revision(keys.deleted.as_ref()), String::new())
            }
            OrderKind::Set { group, .. } => (names.policy(group), view.group(group).policy_mod, String::new()),
            OrderKind::Configure { ttl, .. } => (names.config(), view.config_mod, done::ttl(*ttl)),
        }
    }

    /// The answer to a pause's request for a lease; false if it was not ours.
    pub(crate) fn order_granted(&mut self, lease: i64, result: &Result<(), StoreError>, out: &mut Vec<Action>) -> bool {
        let Some(next) = self.requests.next_order() else {
            return false;
        };
        if next.lease != Some(PauseLease::Waiting(lease)) {
            return false;
        }
        match result {
            Ok(()) => next.lease = Some(PauseLease::Granted(lease)),
            Err(StoreError::Unknown(why) | StoreError::Refused(why)) => {
                let result = Err(Refusal::NoLease { why: why.clone() });
                out.push(Action::Reply {
                    reply: next.reply,
                    result,
                });
                self.requests.take_order();
            }
        }
        true
    }

    /// Why nobody may start the group, whoever is ready.
    pub(crate) fn forbidden(&self, group: &str) -> Option<String> {
        let keys = self.facts.view().groups.get(group)?;
        if let Some(why) = self.deleted(group) {
            return Some(why);
        }
        if let Some((order, _)) = &keys.stopped {
            return Some(standing::stopped_until(order, group));
        }
        let (order, _) = keys.paused.as_ref()?;
        Some(standing::paused_until(order, group))
    }

    /// The same as a refusal.
    pub(crate) fn forbidding(&self, group: &str) -> Option<Refusal> {
        let why = self.forbidden(group)?;
        let keys = self.facts.view().groups.get(group)?;
        let name = group.to_owned();
        Some(if keys.deleted.is_some() {
            Refusal::Deleted { group: name, why }
        } else if keys.stopped.is_some() {
            Refusal::Stopped { group: name, why }
        } else {
            Refusal::Paused { group: name, why }
        })
    }

    /// Whether nothing may be done to the group automatically.
    pub(crate) fn on_pause(&self, group: &str) -> bool {
        self.facts
            .view()
            .groups
            .get(group)
            .is_some_and(|keys| keys.paused.is_some())
    }

    /// Why this node may hold nothing.
    pub(crate) fn drained(&self) -> Option<String> {
        let (order, _) = self.facts.view().drained.get(&self.facts.me().name)?;
        Some(standing::drained_until(order, &self.facts.me().name))
    }

    /// By which order nobody may run the group.
    fn ended(&self, name: &str) -> Option<(ReleaseCause, String)> {
        let keys = self.facts.view().groups.get(name)?;
        let deleted = keys.deleted.as_ref();
        let deleted = deleted.map(|(order, _)| (ReleaseCause::Deleted, standing::deleted(order)));
        let stopped = || keys.stopped.as_ref();
        deleted.or_else(|| stopped().map(|(order, _)| (ReleaseCause::Stopped, standing::stopped(order))))
    }

    /// What this node holds and may not: it stops, and the stop is released.
    pub(crate) fn execute_orders(&mut self, now: Time, out: &mut Vec<Action>) {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let ended = self.ended(&name);
            // What stops for another reason goes on with it; what would start again does not.
            let held = self.groups.get(&name).and_then(Group::held);
            let after = held.map(|held| &held.after);
            let goes_on = matches!(after, Some(AfterStop::Restart | AfterStop::RanOut));
            // The same order may be why it was stopped, before the sidecar ended in the middle of it.
            let interrupted = matches!(after, Some(AfterStop::Interrupted)) && ended.is_some();
            if !goes_on && !interrupted {
                continue;
            }
            let leaving = self.leaving(&name);
            let successor = self.successor(&name, None);
            let paused = self.on_pause(&name);
            let Some(group) = self.groups.get_mut(&name) else {
                continue;
            };
            let (code, cause, reason, successor, text) = match (ended, leaving) {
                (Some((cause, reason)), _) => {
                    let text = text::stop::here(&reason);
                    (Code::StopOrdered, cause, reason, None, text)
                }
                (None, Some(_)) if paused => continue,
                (
                    None,
                    Some(VacateOrder {
                        code,
                        order,
                        cause,
                        reason,
                    }),
                ) => {
                    let Some(next) = successor else {
                        let text = text::stop::nobody_to_hand_over_to(order);
                        group.mention(now, code, text, out);
                        continue;
                    };
                    let text = text::stop::handing_over(order, &next);
                    (Code::SwitchoverStarted, cause, reason, Some(next), text)
                }
                (None, None) => continue,
            };
            let after = AfterStop::Release {
                cause,
                reason,
                successor,
            };
            group.stop(now, StopMode::Drain, after, text, code, out);
        }
    }

    /// A request that could not be sent in time is taken back, and its caller told.
    pub(crate) fn expire_requests(&mut self, now: Time, out: &mut Vec<Action>) {
        if !self.requests.is_overdue(now) {
            return;
        }
        self.dismiss_requests(&Refusal::NotWritten, out);
        if let Some(PendingAccept { reply, .. }) = self.requests.take_accept() {
            let result = Err(Refusal::NotWritten);
            out.push(Action::Reply { reply, result });
        }
    }

    /// What waits in vain when this node ends or is no member any more: nothing that an operator wanted may happen
    /// minutes later, when it is one again.
    pub(crate) fn dismiss_requests(&mut self, why: &Refusal, out: &mut Vec<Action>) {
        self.leave_askers(out);
        for reply in self.requests.dismiss() {
            let result = Err(why.clone());
            out.push(Action::Reply { reply, result });
        }
    }
}
