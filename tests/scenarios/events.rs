//! The inputs that are one event for the core: what adapters tell it.

use leasehold::base::epoch::Run;
use leasehold::core::event::{Event, Mounts, Outside, ServiceKey, VipNews};
use leasehold::core::store::Hint;

use leasehold::core::group::made::Made;

use super::driver::World;
use super::groups::made;
use super::parse::{option, outcome, probe, probe_outcome, run, service, time, trace, without};
use super::words;

impl World {
    pub(super) fn event(&mut self, words: &[&str]) -> Option<Event> {
        let event = match words {
            ["tick"] => Event::Tick,
            ["hint"] => Event::Hint(Hint::Changed),
            // The key that the story deleted last.
            ["hint", "gone", node] => Event::Hint(Hint::NodeGone {
                node: (*node).to_owned(),
                lease: self.names.named(&format!("L{node}")),
                last_mod_revision: self.deleted,
            }),
            ["engine", result @ ..] => Event::Engine {
                result: outcome(result),
            },
            ["unpinned", why @ ..] => Event::PinUnwritten { why: why.join(" ") },
            ["clock", why @ ..] => Event::Clock {
                doubt: (!why.is_empty()).then(|| why.join(" ")),
                wall: None,
            },
            ["file", group, keys] => Event::FileRead {
                group: (*group).to_owned(),
                keys: words::file(keys),
            },
            ["wall", seconds] => Event::Clock {
                doubt: None,
                wall: seconds.parse().ok(),
            },
            ["endpoints", at, why @ ..] => Event::Endpoints {
                address: at.trim_start_matches("closed").to_owned(),
                fault: (!why.is_empty()).then(|| why.join(" ")),
            },
            ["woke", late] => Event::TetherWoke { late: time(late)? },
            ["member", url, troubles @ ..] => Event::EtcdMember {
                url: (*url).to_owned(),
                troubles: words::troubles(troubles),
            },
            ["fit" | "unfit", group, why @ ..] => fitness(group, why),
            ["compared", group, rest @ ..] => words::compared(group, rest, self.compared.get(*group).copied()),
            ["prepared", of, result @ ..] => self.prepared(service(of), result),
            ["started", of, at, result @ ..] => Event::StartAnswered {
                of: service(of),
                run: run(at),
                result: words::start(result),
            },
            ["hello" | "claimed" | "mounting" | "mounts" | "gone", ..] => self.of_tether(words)?,
            ["inspected", of, word @ ..] => Event::Inspected {
                run: match option(word, "of") {
                    Some(at) => run(at),
                    None => self.inspected.get(&service(of)).copied().unwrap_or_default(),
                },
                of: service(of),
                trace: trace(&without(word, "of="))?,
            },
            // Of the run that was started last, unless it says of which.
            ["health", of, word, rest @ ..] => Event::Health {
                run: match option(rest, "of") {
                    Some(at) => Some(run(at)),
                    None => self.started.get(&service(of)).copied(),
                },
                of: service(of),
                healthy: *word == "healthy",
            },
            ["ended" | "signalled" | "frozen" | "orphaned", ..] => of_engine(words)?,
            ["fence", node, rest @ ..] => self.fence_ended(node, rest),
            ["reset", "failed", why @ ..] => Event::ResetFailed { why: why.join(" ") },
            [word @ ("intruder" | "used"), rest @ ..] => words::stranger(word, rest)?,
            ["vip", word, rest @ ..] => Event::Vip(news(word, rest)?),
            ["seen", group, result @ ..] => self.seen(group, result),
            ["tried", group, result @ ..] => self.tried(group, result),
            _ => return looked(words),
        };
        Some(event)
    }

    /// What the tether of a run says, and what is left of the run when it has gone.
    pub(super) fn of_tether(&mut self, words: &[&str]) -> Option<Event> {
        let event = match words {
            ["hello", of, at, place] => {
                self.connection += 1;
                let running = *place == "running";
                if running {
                    self.tethers.insert(service(of), self.connection);
                }
                Event::TetherHello {
                    of: service(of),
                    run: run(at),
                    running,
                    connection: self.connection,
                }
            }
            ["claimed", of, at, epoch] => {
                self.connection += 1;
                Event::ClaimAbove {
                    of: service(of),
                    run: run(at),
                    epoch: epoch.parse().unwrap(),
                    connection: self.connection,
                }
            }
            ["mounting" | "mounts", of, at, found @ ..] => mounts(of, run(at), found)?,
            ["gone", of, at, rest @ ..] => Event::TetherGone {
                of: service(of),
                run: run(at),
                connection: match rest.first() {
                    Some(connection) => connection.parse().unwrap(),
                    None => self.tethers.get(&service(of)).copied().unwrap_or(self.connection),
                },
            },
            _ => return None,
        };
        Some(event)
    }

    /// For the store that was asked for last, unless `for=` says otherwise; by another request with `print=`.
    pub(super) fn prepared(&self, of: ServiceKey, result: &[&str]) -> Event {
        let asked = self.prepared_for.get(&of.group).cloned().unwrap_or_default();
        let store = match option(result, "for") {
            Some("none") => None,
            Some(store) => Some(store.to_owned()),
            None => asked,
        };
        let print = option(result, "print").map(str::to_owned);
        let result = outcome(&without(&without(result, "for="), "print=")).map(|()| Made {
            fingerprint: print.unwrap_or_else(|| made(None).fingerprint),
            ..made(store.clone())
        });
        Event::Prepared { of, store, result }
    }

    /// At the store that was looked at last, unless `at=` says otherwise.
    pub(super) fn seen(&self, group: &str, result: &[&str]) -> Event {
        let store = option(result, "at").map(str::to_owned);
        Event::StorageSeen {
            group: group.to_owned(),
            store: store.or_else(|| self.looked.get(group).cloned()).unwrap_or_default(),
            result: probe_outcome(&without(result, "at=")),
        }
    }

    /// Of the containers that were tried last.
    pub(super) fn tried(&self, group: &str, result: &[&str]) -> Event {
        Event::StartTried {
            group: group.to_owned(),
            made: self.tried.get(group).cloned().unwrap_or_default(),
            result: probe_outcome(&without(result, "good=")).map(|()| option(result, "good").and_then(time)),
        }
    }

    /// The incarnation is that of the name, unless it says otherwise.
    pub(super) fn fence_ended(&mut self, node: &str, rest: &[&str]) -> Event {
        let default = format!("L{node}");
        let incarnation = self.names.named(option(rest, "on").unwrap_or(&default));
        let rest: Vec<&str> = rest.iter().copied().filter(|word| !word.starts_with("on=")).collect();
        Event::FenceEnded {
            node: node.to_owned(),
            incarnation,
            result: outcome(&rest).map(|()| "Success: Powered OFF".to_owned()),
        }
    }
}

/// What the engine says of a container, and that it will never say anything more.
fn of_engine(words: &[&str]) -> Option<Event> {
    Some(match words {
        ["orphaned"] => Event::EngineOrphaned,
        ["ended", of, at, code, lines @ ..] => Event::Ended {
            of: service(of),
            run: Some(run(at)),
            code: code.parse().ok(),
            lines: lines.join(" ").split('|').map(|line| line.trim().to_owned()).collect(),
        },
        ["signalled", of, at @ ..] => Event::Signalled {
            of: service(of),
            run: at.first().map(|at| run(at)),
            what: Outside::Ends,
        },
        ["frozen", of, at @ ..] => Event::Signalled {
            of: service(of),
            run: at.first().map(|at| run(at)),
            what: Outside::Pauses,
        },
        _ => return None,
    })
}

pub(super) fn news(word: &str, rest: &[&str]) -> Option<VipNews> {
    if word == "link" {
        return Some(VipNews::Link {
            up: rest.first() == Some(&"up"),
            mac: rest.get(1).copied().unwrap_or_default().to_owned(),
        });
    }
    let group = (*rest.first()?).to_owned();
    let (vip, mac) = ("192.0.2.10".to_owned(), "02:00:00:00:00:0b".to_owned());
    match word {
        "free" => Some(VipNews::Free { group }),
        "held" => Some(VipNews::Held { group }),
        "dropped" => Some(VipNews::Dropped { group }),
        "conflict" => Some(VipNews::Conflict { group, vip, mac }),
        "foreign" => Some(VipNews::Foreign { group, vip, mac }),
        "lost" => Some(VipNews::Lost { group, vip }),
        "occupied" => Some(VipNews::Occupied {
            group,
            by: (rest.len() > 1).then(|| rest[1..].join(" ")),
        }),
        "failed" => Some(VipNews::Failed {
            group,
            error: rest[1..].join(" "),
        }),
        _ => None,
    }
}

pub(super) fn fitness(group: &str, why: &[&str]) -> Event {
    Event::Fitness {
        group: group.to_owned(),
        unfit: (!why.is_empty()).then(|| why.join(" ")),
    }
}

/// What came of a check, of a question to the holder, or of a look at the storage.
pub(super) fn looked(words: &[&str]) -> Option<Event> {
    let event = match words {
        [word @ ("probed" | "canary"), group, at, result @ ..] => Event::Probed {
            of: match *word {
                "canary" => probe(&format!("{group}/1")),
                _ => probe(group),
            },
            run: run(at),
            result: probe_outcome(result),
        },
        ["asked", group, at, result @ ..] => Event::HolderAsked {
            of: probe(group),
            run: run(at),
            result: probe_outcome(result),
            vantage: None,
        },
        ["clients", group, seen @ ..] => Event::ClientsSeen {
            group: (*group).to_owned(),
            clients: seen.iter().map(|client| words::client(client)).collect(),
        },
        _ => return None,
    };
    Some(event)
}

/// That a service still mounts, or what a look at the mounts of a group found.
pub(super) fn mounts(of: &str, run: Run, found: &[&str]) -> Option<Event> {
    let mounts = match found {
        [] => return Some(Event::Mounting { of: service(of), run }),
        ["gone"] => Mounts::Gone,
        ["left", what @ ..] => Mounts::Left { what: what.join(" ") },
        ["hidden", why @ ..] => Mounts::Hidden { why: why.join(" ") },
        _ => return None,
    };
    let group = of.to_owned();
    Some(Event::MountsSeen { group, run, mounts })
}
