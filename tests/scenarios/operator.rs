//! What operators ask for, and what etcd answers.

use leasehold::core::event::{Command, Event, Wish};
use leasehold::core::protocol::records::View;
use leasehold::core::requests::exported::Exported;
use leasehold::core::requests::fenced::Fenced;
use leasehold::core::store::StoreError;

use super::driver::{Call, World};
use super::parse::{note, option, time, without};
use super::words;

impl World {
    pub(super) fn operator(&mut self, words: &[&str]) -> bool {
        let command = match words {
            ["term"] => {
                self.deliver(Event::Terminate);
                return true;
            }
            ["hold", length] => Command::Hold {
                length: time(length).unwrap(),
            },
            ["apply", group] => Command::Apply {
                group: (*group).to_owned(),
                note: note(),
            },
            ["switchover", group, rest @ ..] => Command::Switchover {
                group: (*group).to_owned(),
                to: option(rest, "to").map(str::to_owned),
                note: note(),
            },
            ["failback", group] => Command::Failback {
                group: (*group).to_owned(),
                note: note(),
            },
            ["fenced", rest @ ..] => Command::Fenced {
                what: match option(rest, "group") {
                    Some(group) => Fenced::Group(group.to_owned()),
                    None => Fenced::Node(rest[0].to_owned()),
                },
                by: "root at noon".to_owned(),
            },
            ["accept", rest @ ..] => Command::Accept {
                force: rest.contains(&"force"),
                epoch: option(rest, "epoch").map(|epoch| epoch.parse().unwrap()),
            },
            ["export"] => {
                let view = View::read(&self.keys, &self.etcd.answer(&self.keys, true));
                self.exported = Exported::of("story", &view).unwrap();
                return true;
            }
            ["import"] => Command::Import {
                exported: Box::new(self.exported.clone()),
            },
            ["order", order @ ..] => {
                let Some(mut wish) = wish(&without(order, "wish=")) else {
                    return false;
                };
                if let (Wish::Withdraw { group, id }, Some(name)) = (&mut wish, option(order, "wish")) {
                    let key = self.keys.intent(group);
                    *id = self.names.revision_named(words::short(&self.keys, &key), name);
                    assert!(id.is_some(), "no wish of {name}");
                }
                let note = note();
                Command::Wish { wish, note }
            }
            _ => return false,
        };
        self.deliver(Event::Command { reply: 1, command });
        true
    }

    pub(super) fn answer_input(&mut self, words: &[&str]) -> bool {
        match words {
            ["answer"] => self.answer(),
            // Carried out, and nobody says so.
            ["landed"] => {
                let Some(Call::Txn(_, txn)) = self.call.clone() else {
                    self.misled("no transaction is asked of etcd");
                    return true;
                };
                if self.apply(&txn) {
                    self.tell("etcd: carried out".to_owned());
                }
                self.fail(StoreError::Unknown("timed out".to_owned()));
                self.adrift.pop();
            }
            ["timeout"] => self.fail(StoreError::Unknown("timed out".to_owned())),
            ["late"] => {
                if self.adrift.is_empty() {
                    self.misled("nothing is adrift");
                    return true;
                }
                let txn = self.adrift.remove(0);
                if self.apply(&txn) {
                    self.tell("etcd: carried out".to_owned());
                }
            }
            ["refused", why @ ..] => {
                self.fail(StoreError::Refused(why.join(" ")));
                self.adrift.pop();
            }
            _ => return false,
        }
        true
    }
}

pub(super) fn wish(words: &[&str]) -> Option<Wish> {
    let named = |word: &str| word.to_owned();
    Some(match words {
        ["stop", group] => Wish::Stop { group: named(group) },
        ["start", group] => Wish::Start { group: named(group) },
        ["pause", group, length] => Wish::Pause {
            group: named(group),
            length: time(length)?,
        },
        ["resume", group] => Wish::Resume { group: named(group) },
        ["withdraw", group] => Wish::Withdraw {
            group: named(group),
            id: None,
        },
        ["drain", node] => Wish::Drain { node: named(node) },
        ["undrain", node] => Wish::Undrain { node: named(node) },
        ["remove", node] => Wish::Remove { node: named(node) },
        ["extend", group, node] => Wish::Extend {
            group: named(group),
            node: named(node),
        },
        ["unextend", group, node] => Wish::Unextend {
            group: named(group),
            node: named(node),
        },
        ["create", group] => Wish::Create { group: named(group) },
        ["delete", group] => Wish::Delete { group: named(group) },
        ["ttl", ttl] => Wish::Configure { ttl: time(ttl)? },
        _ => return None,
    })
}
