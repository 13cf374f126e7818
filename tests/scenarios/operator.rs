//! What operators ask for, and what etcd answers.

use std::time::Duration;

use leasehold::core::event::{Event, OrderKind, PromisesWanted, Request};
use leasehold::core::protocol::policy::Change;
use leasehold::core::protocol::records::View;
use leasehold::core::protocol::secret::Secret;
use leasehold::core::requests::exported::Exported;
use leasehold::core::requests::fenced::Fenced;
use leasehold::core::store::StoreError;

use super::driver::{Call, World};
use super::parse::{option, origin, time, without};
use super::words;

impl World {
    pub(super) fn operator(&mut self, words: &[&str]) -> bool {
        let request = match words {
            ["term"] => {
                self.deliver(Event::Terminate);
                return true;
            }
            ["hold", length] => Request::Hold {
                length: time(length).unwrap(),
            },
            ["apply", group] => Request::Apply {
                group: (*group).to_owned(),
                origin: origin(),
            },
            ["switchover", group, rest @ ..] => Request::Switchover {
                group: (*group).to_owned(),
                to: option(rest, "to").map(str::to_owned),
                origin: origin(),
            },
            ["failback", group] => Request::Failback {
                group: (*group).to_owned(),
                origin: origin(),
            },
            ["fenced", rest @ ..] => Request::Fenced {
                what: match option(rest, "group") {
                    Some(group) => Fenced::Group(group.to_owned()),
                    None => Fenced::Node(rest[0].to_owned()),
                },
                by: "root at noon".to_owned(),
            },
            ["accept", rest @ ..] => Request::Accept {
                force: rest.contains(&"force"),
                epoch: option(rest, "epoch").map(|epoch| epoch.parse().unwrap()),
            },
            ["export"] => {
                let view = View::read(&self.keys, &self.etcd.answer(&self.keys, true));
                self.exported = Exported::of("story", &view).unwrap();
                return true;
            }
            ["import"] => Request::Import {
                exported: Box::new(self.exported.clone()),
            },
            ["order", order @ ..] => {
                let Some(mut kind) = order_kind(&without(order, "request=")) else {
                    return false;
                };
                if let (OrderKind::Withdraw { group, id }, Some(name)) = (&mut kind, option(order, "request")) {
                    let key = self.keys.intent(group);
                    *id = self.names.revision_named(words::short(&self.keys, &key), name);
                    assert!(id.is_some(), "no request of {name}");
                }
                let origin = origin();
                Request::Order { order: kind, origin }
            }
            _ => return false,
        };
        self.deliver(Event::Request { reply: 1, request });
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

/// `NAME:VALUE`, or names of what is taken back.
pub(super) fn changes(verb: &str, values: &[&str]) -> Vec<Change> {
    let change = |word: &&str| match word.split_once(':') {
        Some((name, value)) if verb == "set" => Change::set(name, value).unwrap(),
        _ => Change::unset(word).unwrap(),
    };
    values.iter().map(change).collect()
}

pub(super) fn order_kind(words: &[&str]) -> Option<OrderKind> {
    let named = |word: &str| word.to_owned();
    Some(match words {
        ["stop", group] => OrderKind::Stop { group: named(group) },
        ["start", group] => OrderKind::Start { group: named(group) },
        ["pause", group, length] => OrderKind::Pause {
            group: named(group),
            length: time(length)?,
        },
        ["resume", group] => OrderKind::Resume { group: named(group) },
        ["withdraw", group] => OrderKind::Withdraw {
            group: named(group),
            id: None,
        },
        ["drain", node] => OrderKind::Drain { node: named(node) },
        ["undrain", node] => OrderKind::Undrain { node: named(node) },
        ["remove", node] => OrderKind::Remove { node: named(node) },
        ["extend", group, node] => OrderKind::Extend {
            group: named(group),
            node: named(node),
        },
        ["unextend", group, node] => OrderKind::Unextend {
            group: named(group),
            node: named(node),
        },
        ["set" | "unset", group, values @ ..] => OrderKind::Set {
            group: named(group),
            changes: changes(words[0], values),
        },
        ["create", group] => OrderKind::Create { group: named(group) },
        ["delete", group] => OrderKind::Delete { group: named(group) },
        ["ttl", ttl] => OrderKind::Configure {
            ttl: time(ttl)?,
            promises: None,
        },
        ["promises", bound] => OrderKind::Configure {
            ttl: Duration::from_secs(5),
            promises: Some(PromisesWanted {
                bound: if *bound == "off" { None } else { Some(time(bound)?) },
                secret: Secret::new([7; 32]),
            }),
        },
        _ => return None,
    })
}
