//! Standing orders of operators: a group that stays stopped, a group on pause, a node that is drained; `extent` has those
//! about where a group may run at all. They live in etcd, one key and one transaction each; every node reads them with
//! every beat and obeys them until they are taken back.

use std::time::Duration;

use super::code::Code;
use super::event::{Action, Note, Wish};
use super::extent::Leaving;
use super::group::{After, Way};
use super::member::{Member, Purpose};
use super::node::{AcceptWish, Node};
use super::protocol::{ReleaseCause, TxnKind};
use super::records::{Intent, StandingOrder, json};
use super::store::{Compare, Grant, Op, StoreError, Txn};
use super::time::Time;

/// Orders that wait to be written.
const WANTED_MAX: usize = 16;
/// The longest pause: a forgotten one must end by itself.
const PAUSE_MAX: Duration = Duration::from_secs(7 * 86_400);
const PAUSE_MIN: Duration = Duration::from_secs(10);

/// An order on its way to etcd.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    reply: u64,
    wish: Wish,
    note: Note,
    at: Time,
    /// A pause ends with a lease of its own, so that it ends even if nobody is there to end it.
    lease: Option<Asked>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Waiting(i64),
    Granted(i64),
}

/// So long a wish waits to be sent: less than its caller waits for the answer. Nothing may happen that nobody expects any more.
pub(super) const WISH_PATIENCE: Duration = Duration::from_secs(10);

impl Node {
    /// Takes an order in, or replies at once why not.
    pub(super) fn wish(&mut self, reply: u64, wish: Wish, note: Note, out: &mut Vec<Action>) {
        let refused = self.refusal(&wish);
        let result = match refused {
            Some(why) => Err(why),
            None if !matches!(self.member, Member::Joined { .. }) => {
                Err("this node is not a member now: ask another one, or see `leasehold status`".to_owned())
            }
            None if self.wanted.len() >= WANTED_MAX => Err("too many orders wait: try again".to_owned()),
            None => match self.fulfilled(&wish) {
                Some(already) => Ok(already),
                None => {
                    self.wanted.push_back(Wanted {
                        reply,
                        wish,
                        note,
                        at: self.now,
                        lease: None,
                    });
                    self.hinted = true;
                    return;
                }
            },
        };
        out.push(Action::Reply { reply, result });
    }

    fn refusal(&self, wish: &Wish) -> Option<String> {
        match wish {
            Wish::Stop { group } | Wish::Start { group } | Wish::Resume { group } => self.not_there(group),
            Wish::Pause { group, length } => self.not_there(group).or_else(|| {
                (*length < PAUSE_MIN || *length > PAUSE_MAX)
                    .then(|| format!("a pause lasts between {PAUSE_MIN:?} and 7 days: after that it ends by itself"))
            }),
            Wish::Drain { node } | Wish::Undrain { node } => {
                let known = self.view.nodes.contains_key(node) || self.view.statuses.contains_key(node);
                let drained = self.view.drained.contains_key(node);
                (!known && !drained).then(|| format!("no node {node}: see `leasehold status`"))
            }
            Wish::Withdraw { group } => self.unknown_group(group).or_else(|| self.not_withdrawable(group)),
            Wish::Remove { node } => self.not_removable(node),
            Wish::Extend { group, node } => self.not_extendable(group, node),
            Wish::Unextend { group, node } => self.not_unextendable(group, node),
            // The rest once etcd was read anew: its storage may have been initialised a moment ago.
            Wish::Create { group } => self.unknown_group(group),
            Wish::Delete { group } => self.not_deletable(group),
            Wish::Configure { ttl } => self.unfit_ttl(*ttl),
        }
    }

    pub(super) fn unknown_group(&self, group: &str) -> Option<String> {
        (!self.groups.contains_key(group)).then(|| {
            let known: Vec<&str> = self.groups.keys().map(String::as_str).collect();
            format!("no group {group}: the compose file has {}", known.join(", "))
        })
    }

    /// What to answer where there is nothing to do.
    pub(super) fn fulfilled(&self, wish: &Wish) -> Option<String> {
        match wish {
            Wish::Stop { group } => {
                let order = self.view.group(group).stopped?;
                Some(format!("{group} is stopped already: {}", order.0))
            }
            Wish::Start { group } => {
                let none = self.view.group(group).stopped.is_none();
                none.then(|| format!("{group} is not stopped by anybody: see `leasehold why {group}`"))
            }
            Wish::Resume { group } => {
                let none = self.view.group(group).paused.is_none();
                none.then(|| format!("{group} is not on pause"))
            }
            Wish::Withdraw { group } => {
                let asked = matches!(self.view.group(group).intent, Some((Intent::Switchover { .. }, _)));
                (!asked).then(|| format!("nobody wants {group} to be moved"))
            }
            Wish::Drain { node } => {
                let order = self.view.drained.get(node)?;
                Some(format!("{node} is drained already: {}", order.0))
            }
            Wish::Undrain { node } => {
                let none = !self.view.drained.contains_key(node);
                none.then(|| format!("{node} is not drained"))
            }
            Wish::Remove { node } => {
                let left = self.view.nodes.contains_key(node)
                    || self.view.statuses.contains_key(node)
                    || self.view.drained.contains_key(node)
                    || self.view.groups.values().any(|keys| keys.without.contains_key(node));
                (!left).then(|| format!("nothing of {node} is in etcd: it was removed before, or never was"))
            }
            Wish::Extend { group, node } => {
                let none = !self.view.group(group).without.contains_key(node);
                none.then(|| format!("{group} is extended to {node} already"))
            }
            Wish::Unextend { group, node } => {
                let keys = self.view.group(group);
                let (order, _) = keys.without.get(node)?;
                Some(format!("{group} is not extended to {node} already: {order}"))
            }
            Wish::Create { group } => {
                let none = self.view.group(group).deleted.is_none();
                none.then(|| format!("{group} is there already: see `leasehold status`"))
            }
            Wish::Delete { group } => {
                let order = self.view.group(group).deleted?;
                Some(format!("{group} is deleted already: {}", order.0))
            }
            Wish::Configure { ttl } => self.configured(*ttl),
            // A new one starts over, with its own end.
            Wish::Pause { .. } => None,
        }
    }

    /// The next order as a transaction; a pause asks for its lease first.
    pub(super) fn order_txn(&mut self, out: &mut Vec<Action>) -> Option<(Txn, Purpose)> {
        let next = self.wanted.front()?;
        let lease = match (&next.wish, next.lease) {
            (Wish::Pause { length, .. }, None) => {
                let (ttl, lease) = (*length, self.new_lease());
                if let Some(next) = self.wanted.front_mut() {
                    next.lease = Some(Asked::Waiting(lease));
                }
                out.push(Action::Grant(Grant { lease, ttl }));
                return None;
            }
            (_, Some(Asked::Waiting(_))) => return None,
            (Wish::Create { .. }, _) if !self.read_since(next.at) => {
                self.hinted = true;
                return None;
            }
            (_, Some(Asked::Granted(lease))) => lease,
            (_, None) => 0,
        };
        let Wanted { reply, wish, note, .. } = self.wanted.pop_front()?;
        let (key, revision, done) = self.order_key(&wish);
        let op = match wish {
            Wish::Remove { node } => return self.removal(reply, &node, out),
            Wish::Withdraw { group } => return self.withdrawal(reply, &group, out),
            Wish::Configure { ttl } => return self.configuration(reply, ttl, out),
            Wish::Unextend { group, node } => return self.unextension(reply, &group, &node, note, out),
            Wish::Create { group } => return self.creation(reply, &group, out),
            Wish::Delete { group } => return self.deletion(reply, &group, note, out),
            Wish::Stop { .. } | Wish::Pause { .. } | Wish::Drain { .. } => Op::Put {
                key: key.clone(),
                value: json(&StandingOrder::from(note)),
                lease,
            },
            Wish::Start { .. } | Wish::Resume { .. } | Wish::Undrain { .. } | Wish::Extend { .. } => {
                Op::Delete { key: key.clone() }
            }
        };
        let txn = Txn {
            kind: TxnKind::Order,
            compare: vec![Compare::Mod { key, revision }],
            then: vec![op],
        };
        Some((txn, Purpose::Intent { reply, done }))
    }

    /// Whether what is known of etcd was asked for after this.
    fn read_since(&self, at: Time) -> bool {
        let age = self.contact.age(self.now);
        age.is_some_and(|age| age <= self.now.since(at))
    }

    /// The key of an order, its mod revision as read, and what to answer once it is written.
    fn order_key(&self, wish: &Wish) -> (String, i64, String) {
        let revision = |order: Option<&(StandingOrder, i64)>| order.map_or(0, |(_, revision)| *revision);
        match wish {
            Wish::Stop { group } | Wish::Start { group } => {
                let keys = self.view.group(group);
                let done = match (wish, keys.paused.is_some()) {
                    (Wish::Stop { .. }, _) => {
                        format!("{group} stops, and nobody starts it until `leasehold start {group}`")
                    }
                    (_, false) => format!("{group} may start: the first ready node takes it"),
                    (_, true) => format!("{group} may start, but is on pause: `leasehold resume {group}`"),
                };
                (self.keys.stopped(group), revision(keys.stopped.as_ref()), done)
            }
            Wish::Pause { group, length } => {
                let paused = self.view.group(group).paused;
                let done = format!(
                    "{group} is on pause for {} s: nobody starts, restarts or moves it; a lease that runs out still ends it",
                    length.as_secs()
                );
                (self.keys.paused(group), revision(paused.as_ref()), done)
            }
            Wish::Resume { group } => {
                let paused = self.view.group(group).paused;
                let done = format!("{group} is looked after again");
                (self.keys.paused(group), revision(paused.as_ref()), done)
            }
            Wish::Drain { node } => {
                let done = format!(
                    "{node} gives its groups to ready standbys and takes none until `leasehold undrain {node}`"
                );
                (self.keys.drained(node), revision(self.view.drained.get(node)), done)
            }
            Wish::Undrain { node } => {
                let done = format!("{node} may take groups again");
                (self.keys.drained(node), revision(self.view.drained.get(node)), done)
            }
            Wish::Withdraw { group } => {
                let done = format!("the wish to move {group} is withdrawn");
                (self.keys.intent(group), self.view.group(group).intent_mod, done)
            }
            Wish::Remove { node } => {
                let done = format!("what {node} left in etcd is deleted");
                (self.keys.drained(node), revision(self.view.drained.get(node)), done)
            }
            Wish::Extend { group, node } | Wish::Unextend { group, node } => {
                let keys = self.view.group(group);
                let done = format!("{node} may take {group} again");
                (self.keys.without(group, node), revision(keys.without.get(node)), done)
            }
            // These write more than one key, and say themselves what is done.
            Wish::Create { group } | Wish::Delete { group } => {
                let keys = self.view.group(group);
                (self.keys.deleted(group), revision(keys.deleted.as_ref()), String::new())
            }
            Wish::Configure { ttl } => (self.keys.config(), self.view.config_mod, format!("the ttl is {ttl:?}")),
        }
    }

    /// The answer to a pause's request for a lease; false if it was not ours.
    pub(super) fn order_granted(&mut self, lease: i64, result: &Result<(), StoreError>, out: &mut Vec<Action>) -> bool {
        let Some(next) = self.wanted.front_mut() else {
            return false;
        };
        if next.lease != Some(Asked::Waiting(lease)) {
            return false;
        }
        match result {
            Ok(()) => next.lease = Some(Asked::Granted(lease)),
            Err(StoreError::Unknown(why) | StoreError::Refused(why)) => {
                let result = Err(format!("etcd gave no lease for the pause: {why}"));
                out.push(Action::Reply {
                    reply: next.reply,
                    result,
                });
                self.wanted.pop_front();
            }
        }
        true
    }

    /// Why nobody may start the group, whoever is ready.
    pub(super) fn forbidden(&self, group: &str) -> Option<String> {
        let keys = self.view.groups.get(group)?;
        if let Some(why) = self.deleted(group) {
            return Some(why);
        }
        if let Some((order, _)) = &keys.stopped {
            return Some(format!("stopped {order}: `leasehold start {group}` takes it back"));
        }
        let (order, _) = keys.paused.as_ref()?;
        Some(format!("on pause {order}: `leasehold resume {group}` ends it"))
    }

    /// Whether nothing may be done to the group automatically.
    pub(super) fn on_pause(&self, group: &str) -> bool {
        self.view.groups.get(group).is_some_and(|keys| keys.paused.is_some())
    }

    /// Why this node may hold nothing.
    pub(super) fn drained(&self) -> Option<String> {
        let (order, _) = self.view.drained.get(&self.me.name)?;
        Some(format!(
            "drained {order}: `leasehold undrain {}` takes it back",
            self.me.name
        ))
    }

    /// By which order nobody may run the group.
    fn ended(&self, name: &str) -> Option<(ReleaseCause, String)> {
        let keys = self.view.groups.get(name)?;
        let deleted = keys.deleted.as_ref();
        let deleted = deleted.map(|(order, _)| (ReleaseCause::Deleted, format!("deleted {order}")));
        let stopped = || keys.stopped.as_ref();
        deleted.or_else(|| stopped().map(|(order, _)| (ReleaseCause::Stopped, format!("stopped {order}"))))
    }

    /// What this node holds and may not: it stops, and the stop is released.
    pub(super) fn obey_orders(&mut self, now: Time, out: &mut Vec<Action>) {
        let names: Vec<String> = self.groups.keys().cloned().collect();
        for name in names {
            let ended = self.ended(&name);
            let leaving = self.leaving(&name);
            let successor = self.successor(&name, None);
            let paused = self.on_pause(&name);
            let Some(group) = self.groups.get_mut(&name) else {
                continue;
            };
            // What stops for another reason goes on with it; what would start again does not.
            let after = group.held.as_ref().map(|held| &held.after);
            let goes_on = matches!(after, Some(After::Restart | After::RanOut));
            // The same order may be why it was stopped, before the sidecar ended in the middle of it.
            let interrupted = matches!(after, Some(After::Interrupted)) && ended.is_some();
            if !goes_on && !interrupted {
                continue;
            }
            let (code, cause, reason, successor, text) = match (ended, leaving) {
                (Some((cause, reason)), _) => {
                    let text = format!("{reason}: stopping here");
                    (Code::StopOrdered, cause, reason, None, text)
                }
                (None, Some(_)) if paused => continue,
                (
                    None,
                    Some(Leaving {
                        code,
                        order,
                        cause,
                        reason,
                    }),
                ) => {
                    let Some(next) = successor else {
                        let text = format!("{order}, but no standby is ready: the group stays here");
                        group.mention(now, code, text, out);
                        continue;
                    };
                    let text = format!("{order}: handing over to {next}");
                    (Code::SwitchoverStarted, cause, reason, Some(next), text)
                }
                (None, None) => continue,
            };
            let after = After::Release {
                cause,
                reason,
                successor,
            };
            group.stop(now, Way::Drain, after, text, code, out);
        }
    }

    /// A wish that could not be sent in time is taken back, and its caller told.
    pub(super) fn tire_of_wishes(&mut self, now: Time, out: &mut Vec<Action>) {
        let waiting = self.hold_wish.is_some()
            || self.switch_wish.is_some()
            || self.accept_wish.is_some()
            || self.fenced_wish.is_some()
            || !self.wanted.is_empty();
        if !waiting {
            self.wished_at = None;
            return;
        }
        if !now.reached(self.wished_at.get_or_insert(now).plus(WISH_PATIENCE)) {
            return;
        }
        self.wished_at = None;
        let why = "it could not be written to etcd in time, and is given up: see `leasehold status`, and ask again";
        self.dismiss_wishes(why, out);
        if let Some(AcceptWish { reply, .. }) = self.accept_wish.take() {
            let result = Err(why.to_owned());
            out.push(Action::Reply { reply, result });
        }
    }

    /// What waits in vain when this node ends or is no member any more: nothing that an operator wanted may happen
    /// minutes later, when it is one again.
    pub(super) fn dismiss_wishes(&mut self, why: &str, out: &mut Vec<Action>) {
        self.leave_askers(out);
        let orders = self.wanted.drain(..).map(|wanted| wanted.reply);
        let switch = self.switch_wish.take().map(|(reply, ..)| reply);
        let hold = self.hold_wish.take().map(|(reply, _)| reply);
        let fenced = self.fenced_wish.take().map(|wish| wish.reply);
        for reply in orders.chain(switch).chain(hold).chain(fenced) {
            let result = Err(why.to_owned());
            out.push(Action::Reply { reply, result });
        }
    }
}
