//! What a story tells of the actions: each as a line, or counted where its mode has no word for it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a few of the actions only are counted or left out"
)]

use leasehold::core::event::{Action, Order};
use leasehold::core::protocol::TxnKind;
use leasehold::core::store::{Compare, Txn};

use super::driver::{MISLED, Mode, UPTIME, World};
use super::words;

impl World {
    pub(crate) fn date_writes(&mut self) {
        let clock = self.clock();
        for (key, revision) in std::mem::take(&mut self.etcd.writes) {
            self.names.wrote(words::short(&self.keys, &key), revision, &clock);
        }
    }

    /// What the story calls now.
    pub(crate) fn clock(&self) -> String {
        words::seconds(self.now.boot - UPTIME)
    }

    pub(crate) fn tell(&mut self, line: String) {
        let line = match self.mode {
            Mode::Told => line,
            Mode::Run | Mode::Quick => format!("{}  {line}", self.clock()),
        };
        self.told.push(line);
    }

    /// An input that does not fit: shown in its place, and no story may be kept with it.
    pub(crate) fn misled(&mut self, why: &str) {
        self.tell(format!("{MISLED} {why}"));
    }

    /// Each action that is news to the reader.
    pub(super) fn tell_action(&mut self, action: &Action) {
        if let Action::Say(decision) = action {
            self.said.insert((decision.code, decision.text.clone()));
        }
        let (kind, news) = self.news(action);
        if let Some(kind) = kind {
            self.shown.extend((news && self.mode != Mode::Quick).then_some(kind));
        }
        match (action, kind) {
            (Action::Txn { txn, .. }, Some(_)) if news && self.mode != Mode::Quick => {
                for line in words::txn(&mut self.names, &self.keys, txn) {
                    self.tell(line);
                }
            }
            (_, Some(kind)) if news => self.tell(format!("txn {}", kind.word())),
            (_, Some(_)) => {}
            (_, None) => {
                let line = words::action(&mut self.names, self.now, action);
                if news {
                    self.tell(line);
                }
            }
        }
    }

    /// A transaction's kind, and whether the mode tells the action.
    fn news(&mut self, action: &Action) -> (Option<TxnKind>, bool) {
        if self.mode == Mode::Told {
            let kind = match action {
                Action::Txn { txn, .. } => Some(txn.kind),
                _ => None,
            };
            return (kind, true);
        }
        let quick = self.mode == Mode::Quick;
        match action {
            Action::Txn { txn, .. } => {
                let kind = txn.kind;
                let plain = self.beats(txn) && (quick || (txn.compare.len() == 2 && txn.then.len() == 1));
                self.beats += usize::from(plain);
                (Some(kind), !plain)
            }
            Action::Read { .. } => {
                self.reads += 1;
                (None, false)
            }
            Action::Page { of, page } => {
                let longer = self.pages.get(of).is_some_and(|old| {
                    old.order == page.order && old.run == page.run && old.soft <= page.soft && page.order == Order::Open
                });
                self.renewals += usize::from(longer);
                (None, !longer && !quick)
            }
            Action::VipHold { announce: false, .. } => {
                self.renewals += 1;
                (None, false)
            }
            Action::Feed { .. } => {
                self.meals += 1;
                (None, false)
            }
            Action::Say(_) | Action::Reply { .. } | Action::Exit { .. } => (None, true),
            _ => (None, !quick),
        }
    }

    /// Whether it is a beat that carries no more than a word of somebody: no story waits for it.
    pub(super) fn beats(&self, txn: &Txn) -> bool {
        let config = self.keys.config();
        let confirms = |compare: &Compare| matches!(compare, Compare::Mod { key, .. } if *key == config);
        matches!(txn.kind, TxnKind::Beat | TxnKind::Intent | TxnKind::Order) && !txn.compare.iter().any(confirms)
    }
}
