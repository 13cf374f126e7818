//! Switchovers, on the holder's side. It writes to the request that it begins, and stops once that is in etcd; or why it
//! refuses. So the asker always hears of it, and a request that was withdrawn is never carried out.

use std::time::Duration;

use crate::event::Action;
use crate::group::{AfterStop, StopMode};
use crate::membership::{Purpose, WriteKind};
use crate::node::Node;
use crate::protocol::ReleaseCause;
use crate::protocol::records::Intent;
use crate::snapshot::code::Code;
use crate::store::Txn;
use crate::text;
use crate::time::Time;

/// So long a refusal stays in etcd for its asker, who reads it with the next beat.
const REFUSAL_KEPT: Duration = Duration::from_secs(30);

/// What the holder makes of a request.
enum Verdict {
    /// It was withdrawn, answered, or has to wait until the group is up.
    Nothing,
    Begin,
    /// It has said so in etcd: to this node.
    Stop(String),
    Refuse(String),
}

impl Node {
    fn verdict(&self, name: &str, intent: &Intent) -> Verdict {
        let Intent::Switchover { to, begun, .. } = intent else {
            return Verdict::Nothing;
        };
        let held = self.groups.get(name).and_then(|group| group.held());
        let Some(held) = held else {
            return Verdict::Nothing;
        };
        if held.after == AfterStop::Claimed {
            return Verdict::Refuse(text::switchover::claimed(name));
        }
        // While etcd does not answer, it is not known who could take it: nothing is refused for that.
        if held.latched || !self.facts.is_fresh() {
            return Verdict::Nothing;
        }
        match (self.successor(name, to.as_deref()), begun, self.forbidden(name)) {
            (_, None, Some(why)) => Verdict::Refuse(text::switchover::forbidden(name, &why)),
            (Some(_), None, None) => Verdict::Begin,
            (Some(next), Some(_), _) => Verdict::Stop(next),
            (None, _, _) => Verdict::Refuse(match to {
                Some(to) => text::switchover::not_ready(to, &self.why_not_ready(name, to)),
                None => text::switchover::NO_STANDBY.to_owned(),
            }),
        }
    }

    fn intents(&self) -> Vec<(String, Intent, i64)> {
        let of = |name: &String| {
            let (intent, revision) = self.facts.view().groups.get(name)?.intent.clone()?;
            Some((name.clone(), intent, revision))
        };
        self.groups.keys().filter_map(of).collect()
    }

    /// Those whose answer etcd has not just refused.
    fn answerable(&self) -> impl Iterator<Item = (String, Intent, i64)> {
        let put_off = |name: &String| {
            self.membership
                .put_off(self.facts.now(), &WriteKind::IntentAnswer(name.clone()))
        };
        self.intents().into_iter().filter(move |(name, _, _)| !put_off(name))
    }

    /// Says in etcd that a move begins. Only then the stop does, so that nobody can withdraw what is under way.
    pub(crate) fn beginning(&self, lease: i64) -> Option<(Txn, Purpose)> {
        self.answerable().find_map(|(name, intent, revision)| {
            let own = self.facts.view().groups.get(&name)?.active()?.incarnation == lease;
            match (self.verdict(&name, &intent), intent) {
                (Verdict::Begin, Intent::Switchover { to, by, why, .. }) if own => {
                    let begun = Some(revision);
                    let begins = Intent::Switchover { to, by, why, begun };
                    let txn = Txn::write_intent(self.facts.keys(), &name, revision, &begins, 0);
                    Some((txn, Purpose::IntentAnswer { group: name }))
                }
                (Verdict::Nothing | Verdict::Begin | Verdict::Stop(_) | Verdict::Refuse(_), _) => None,
            }
        })
    }

    /// Writes a refusal where its asker looks, and takes it away after a while. It ends with this node's lease, too.
    pub(crate) fn refusal_mark(&self, now: Time, lease: i64) -> Option<(Txn, Purpose)> {
        self.answerable().find_map(|(name, intent, revision)| {
            let over = self
                .requests
                .intents
                .refused
                .get(&name)
                .is_some_and(|(of, since)| *of == revision && now.reached(since.plus(REFUSAL_KEPT)));
            let txn = match self.verdict(&name, &intent) {
                Verdict::Refuse(why) => {
                    let of = match intent {
                        Intent::Switchover { begun: Some(of), .. } => of,
                        Intent::Switchover { begun: None, .. } | Intent::Apply { .. } | Intent::Refused { .. } => {
                            revision
                        }
                    };
                    Txn::write_intent(self.facts.keys(), &name, revision, &Intent::Refused { of, why }, lease)
                }
                Verdict::Nothing if over => Txn::delete_intent(self.facts.keys(), &name, revision),
                Verdict::Nothing | Verdict::Begin | Verdict::Stop(_) => return None,
            };
            Some((txn, Purpose::IntentAnswer { group: name }))
        })
    }

    /// The holder carries out what an operator wants of its group.
    pub(crate) fn execute_intents(&mut self, now: Time, out: &mut Vec<Action>) {
        for (name, intent, revision) in self.intents() {
            self.remember_refusal(now, &name, &intent, revision);
            if let Intent::Apply { by, why } = intent {
                self.execute_apply(now, &name, revision, text::switchover::asked(&by, &why), out);
                continue;
            }
            let verdict = self.verdict(&name, &intent);
            let Some(group) = self.groups.get_mut(&name) else {
                continue;
            };
            match (verdict, intent) {
                (Verdict::Stop(next), Intent::Switchover { by, why, .. }) => {
                    let reason = text::switchover::reason(&next, &by, &why);
                    let successor = Some(next);
                    let text = text::stop::here_first(&reason);
                    let cause = ReleaseCause::Asked;
                    let after = AfterStop::Release {
                        cause,
                        reason,
                        successor,
                    };
                    group.stop(now, StopMode::Drain, after, text, Code::SwitchoverStarted, out);
                }
                (Verdict::Refuse(why), _) if self.requests.intents.handled.get(&name) != Some(&revision) => {
                    self.requests.intents.handled.insert(name, revision);
                    group.say(Code::SwitchoverRefused, text::switchover::refused(&why), out);
                }
                (Verdict::Nothing | Verdict::Begin | Verdict::Stop(_) | Verdict::Refuse(_), _) => {}
            }
        }
    }

    fn remember_refusal(&mut self, now: Time, name: &str, intent: &Intent, revision: i64) {
        let held = self.groups.get(name).is_some_and(|group| group.is_held());
        let known = self
            .requests
            .intents
            .refused
            .get(name)
            .is_some_and(|(of, _)| *of == revision);
        match intent {
            Intent::Refused { .. } if held && !known => {
                self.requests.intents.refused.insert(name.to_owned(), (revision, now));
            }
            Intent::Refused { .. } if held => {}
            Intent::Refused { .. } | Intent::Switchover { .. } | Intent::Apply { .. } => {
                self.requests.intents.refused.remove(name);
            }
        }
    }

    /// When an asker is told that nothing has happened, and when a refusal is taken away.
    pub(crate) fn switchover_deadlines(&self) -> impl Iterator<Item = Time> {
        let kept = self
            .requests
            .intents
            .refused
            .values()
            .map(|(_, since)| since.plus(REFUSAL_KEPT));
        kept.chain(self.asked_deadlines())
    }
}
