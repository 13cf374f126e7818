//! The language of the stories: each input is one line, `> [time] verb words...`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use leasehold::base::epoch::Run;
use leasehold::core::event::{Command, Event, Mounts, Note, ProbeFailure, ProbeKey, ServiceKey, Trace, VipNews, Wish};
use leasehold::core::group::{OnFailure, SecondOpinion};
use leasehold::core::history::{Entry, Phase};
use leasehold::core::host::stuck::OnStopFailure;
use leasehold::core::protocol::records::{
    ClusterConfig, NodeStatus, Past, Readiness, Record, RecordState, Saved, SavedRun, StandingOrder, Trouble, View,
    json,
};
use leasehold::core::protocol::{FaultId, TxnKind};
use leasehold::core::requests::exported::Exported;
use leasehold::core::requests::fenced::Fenced;
use leasehold::core::snapshot::code::Code;
use leasehold::core::snapshot::status::{MemberState, Status};
use leasehold::core::store::{Hint, StoreError};
use leasehold::core::takeover::confirm::Failover;
use leasehold::core::takeover::fencing::FenceSettings;

use super::driver::{Call, Mode, World, made, parts};
use super::page;
use super::words;

/// A story as it was played.
pub(crate) struct Played {
    pub(crate) text: String,
    /// The transactions that it shows in full.
    pub(crate) shown: BTreeSet<TxnKind>,
    /// Every decision that was said in it.
    pub(crate) said: BTreeSet<(Code, String)>,
}

pub(crate) fn play(name: &str, story: &str) -> Played {
    let mut world = World::new(7);
    let mut text = String::new();
    for line in story.lines() {
        match line.strip_prefix("> ") {
            Some(input) => {
                text += &format!("{line}\n");
                let words: Vec<&str> = input.split_whitespace().collect();
                let words = world.move_to(&words);
                assert!(
                    world.input(words),
                    "{name}: not understood, or not in tests/scenarios/README.md: {line}"
                );
                let told = world.take_told();
                for line in told {
                    text += &format!("    {line}\n");
                }
            }
            None if line.starts_with('#') || line.is_empty() => text += &format!("{line}\n"),
            None => {}
        }
    }
    Played {
        text,
        shown: world.shown,
        said: world.said,
    }
}

fn time(word: &str) -> Option<Duration> {
    let seconds = word.strip_suffix('s')?.parse::<f64>().ok()?;
    Some(Duration::from_micros((seconds * 1e6).round() as u64))
}

/// `key=value` among the words.
fn option<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    let mut found = words
        .iter()
        .filter_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    found.next()
}

/// The words that do not begin so.
fn without<'a>(words: &[&'a str], key: &str) -> Vec<&'a str> {
    words.iter().copied().filter(|word| !word.starts_with(key)).collect()
}

/// In the order of the alphabet.
fn priority(node: &str) -> u32 {
    100 + u32::from(node.as_bytes()[0] - b'a')
}

fn run(word: &str) -> Run {
    let (epoch, n) = word.split_once('.').unwrap();
    Run {
        epoch: epoch.parse().unwrap(),
        n: n.parse().unwrap(),
    }
}

fn service(word: &str) -> ServiceKey {
    let (group, service) = word.split_once('/').unwrap();
    ServiceKey {
        group: group.to_owned(),
        service: service.parse().unwrap(),
    }
}

fn wish(words: &[&str]) -> Option<Wish> {
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

fn note() -> Note {
    Note {
        by: "root on b".to_owned(),
        at: "noon".to_owned(),
        why: "new disk".to_owned(),
        until: None,
    }
}

/// `ok`, or why not: `silent ...`, `shared ...` and `unasked ...` say of which kind; `warning ...` passes.
fn probe_outcome(words: &[&str]) -> Result<(), ProbeFailure> {
    match words {
        ["ok"] => Ok(()),
        ["silent", why @ ..] => Err(ProbeFailure::silent(why.join(" "))),
        ["warning", why @ ..] => Err(ProbeFailure::warning(why.join(" "))),
        ["unasked", why @ ..] => Err(ProbeFailure::unasked(why.join(" "))),
        ["shared", why @ ..] => Err(ProbeFailure::shared(why.join(" "))),
        why => Err(ProbeFailure::wrong(why.join(" "))),
    }
}

fn outcome(words: &[&str]) -> Result<(), String> {
    match words {
        ["ok"] => Ok(()),
        why => Err(why.join(" ")),
    }
}

/// What the second witness says of a container.
fn trace(words: &[&str]) -> Option<Trace> {
    match words {
        ["nothing"] => Some(Trace::Nothing),
        ["never", "started"] => Some(Trace::NeverStarted),
        ["left", what @ ..] => Some(Trace::Left { what: what.join(" ") }),
        ["hidden", why @ ..] => Some(Trace::Hidden { why: why.join(" ") }),
        _ => None,
    }
}

/// That a service still mounts, or what a look at the mounts of a group found.
fn mounts(of: &str, run: Run, found: &[&str]) -> Option<Event> {
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

impl World {
    /// A leading time moves the clocks there; nobody ticks meanwhile.
    fn move_to<'a, 'b>(&mut self, words: &'a [&'b str]) -> &'a [&'b str] {
        match words.first().and_then(|word| time(word)) {
            Some(to) => {
                match Self::at(to).checked_sub(self.now.boot) {
                    Some(by) => self.pass(by),
                    None => self.misled("it is later than that"),
                }
                &words[1..]
            }
            None => words,
        }
    }

    fn take_told(&mut self) -> Vec<String> {
        self.mode = Mode::Told;
        std::mem::take(&mut self.told)
    }

    pub(crate) fn input(&mut self, words: &[&str]) -> bool {
        if page::INPUTS.parts_in(&words.join(" ")).is_none() {
            return false;
        }
        let before = self.told.len();
        let setting = matches!(
            words[0],
            "etcd"
                | "node"
                | "notify"
                | "watchdog"
                | "saved"
                | "sleep"
                | "kill"
                | "policy"
                | "hangs"
                | "afar"
                | "without"
        );
        let understood = match words[0] {
            "etcd" => self.etcd_input(&words[1..]),
            "node" | "notify" | "watchdog" | "start" | "restart" | "kill" | "saved" | "sleep" | "run" | "quick"
            | "status" | "history" | "policy" | "hangs" | "afar" | "without" => self.control(words),
            "health" if words.len() == 1 => self.control(words),
            "answer" | "timeout" | "landed" | "late" | "refused" => self.answer_input(words),
            "term" | "hold" | "switchover" | "failback" | "apply" | "accept" | "fenced" | "order" | "export"
            | "import" => self.operator(words),
            _ => match self.event(words) {
                Some(event) => {
                    self.deliver(event);
                    true
                }
                None => false,
            },
        };
        if self.told.len() == before && !setting {
            self.tell("(nothing)".to_owned());
        }
        understood
    }

    fn policy(&mut self, words: &[&str]) {
        match words {
            ["fence"] => {
                self.fence = Some(FenceSettings {
                    agent: "fence_test".to_owned(),
                    timeout: Duration::from_secs(20),
                    tries: 3,
                });
            }
            ["confirm"] => self.failover = Failover::Confirm,
            ["look", every] => self.storage_look = time(every),
            ["mounts"] => self.exclusive_mounts = true,
            ["opinion", word] => {
                self.second_opinion = match *word {
                    "tell" => SecondOpinion::Tell,
                    "act" => SecondOpinion::Act,
                    _ => SecondOpinion::Off,
                }
            }
            ["failback", quiet] => self.failback = time(quiet),
            [word] => {
                self.on_stop_failure = match *word {
                    "reboot" => OnStopFailure::Reboot,
                    _ => OnStopFailure::Hold,
                }
            }
            _ => panic!("no such policy: {words:?}"),
        }
    }

    fn control(&mut self, words: &[&str]) -> bool {
        match words {
            ["node", name, rest @ ..] => {
                self.me.name = (*name).to_owned();
                self.me.boot = format!("{name}1");
                self.me.priority = priority(name);
                self.groups = rest.iter().map(|group| (*group).to_owned()).collect();
            }
            ["notify"] => self.on_failure = OnFailure::Notify,
            ["watchdog", timeout] => self.timing = self.timing.with_watchdog(time(timeout)),
            ["start"] => self.start(),
            ["restart", "rebooted"] => {
                self.me.boot = format!("{}2", self.me.name);
                self.start();
            }
            ["kill"] => (self.node, self.call) = (None, None),
            ["saved", group, at, rest @ ..] => self.save(group, run(at), rest.contains(&"latched")),
            ["policy", policy @ ..] => self.policy(policy),
            ["afar", result @ ..] => self.afar = probe_outcome(result),
            ["without", service] => {
                self.without.insert((*service).to_owned());
            }
            ["hangs", of] => {
                self.hung.insert(service(of));
            }
            ["sleep", by] => {
                let by = time(by).unwrap();
                self.pass(by);
                self.now.slept += by;
            }
            ["run", "to", to] => {
                self.mode = Mode::Run;
                self.run(Self::at(time(to).unwrap()), |_| false);
            }
            ["quick", "join"] => self.quick(|world| {
                world
                    .status()
                    .is_some_and(|status| status.member == MemberState::Joined)
            }),
            ["quick", "to", to] => {
                self.quick_start();
                self.run(Self::at(time(to).unwrap()), |_| false);
            }
            ["quick", "lead", group] => self.quick(|world| {
                let status = world.status();
                status.is_some_and(|status| status.leads(Some(group)))
            }),
            ["status"] => self.tell_status(),
            ["health"] => self.tell_health(),
            ["history"] => {
                for entry in std::mem::take(&mut self.entries) {
                    self.tell(entry_line(&entry));
                }
            }
            _ => return false,
        }
        true
    }

    /// Starts if need be and runs with everything answered, until it is so and no request is in flight.
    fn quick(&mut self, done: impl Fn(&Self) -> bool) {
        self.quick_start();
        let limit = self.now.boot + Duration::from_secs(20);
        self.run(limit, |world| world.call.is_none() && done(world));
        if !done(self) {
            self.misled("not reached within 20 s");
        }
    }

    fn quick_start(&mut self) {
        self.mode = Mode::Quick;
        if self.node.is_none() {
            self.start();
            self.deliver(Event::Engine { result: Ok(()) });
        }
    }

    pub(crate) fn status(&self) -> Option<Status> {
        self.node.as_ref().map(|node| node.status(self.now))
    }

    fn tell_status(&mut self) {
        let Some(status) = self.status() else {
            return self.tell("no sidecar runs".to_owned());
        };
        self.tell(format!("{}: {}", status.node, status.member.word()));
        for (name, line) in status.groups {
            let unready = match line.unready.as_str() {
                "" => String::new(),
                why => format!(", not ready: {why}"),
            };
            let drift = line.drift.map_or_else(String::new, |text| format!(", but {text}"));
            let (state, epoch, reason) = (line.state.word(), line.epoch, line.reason);
            self.tell(format!("{name}: {state}, epoch {epoch}, \"{reason}\"{unready}{drift}"));
        }
    }

    fn tell_health(&mut self) {
        let Some(status) = self.status() else {
            return self.misled("no sidecar runs");
        };
        self.tell(status.overall.health.word().to_owned());
        for sentence in status.overall.sentences {
            self.tell(format!("! {sentence}"));
        }
    }

    fn save(&mut self, group: &str, run: Run, latched: bool) {
        let lease = self.names.named(&format!("L{}", self.me.name));
        let mut saved = self.saved.take().unwrap_or(Saved {
            boot: self.me.boot.clone(),
            lease,
            groups: BTreeMap::new(),
        });
        let (epoch, n) = (run.epoch, run.n);
        let parts = parts(group);
        saved.groups.insert(
            group.to_owned(),
            SavedRun {
                epoch,
                n,
                latched,
                parts,
            },
        );
        self.saved = Some(saved);
    }

    fn answer_input(&mut self, words: &[&str]) -> bool {
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

    fn operator(&mut self, words: &[&str]) -> bool {
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

    /// For the store that was asked for last, unless `for=` says otherwise.
    fn prepared(&self, of: ServiceKey, result: &[&str]) -> Event {
        let asked = self.prepared_for.get(&of.group).cloned().unwrap_or_default();
        let store = match option(result, "for") {
            Some("none") => None,
            Some(store) => Some(store.to_owned()),
            None => asked,
        };
        let result = outcome(&without(result, "for=")).map(|()| made(store.clone()));
        Event::Prepared { of, store, result }
    }

    /// At the store that was looked at last, unless `at=` says otherwise.
    fn seen(&self, group: &str, result: &[&str]) -> Event {
        let store = option(result, "at").map(str::to_owned);
        Event::StorageSeen {
            group: group.to_owned(),
            store: store.or_else(|| self.looked.get(group).cloned()).unwrap_or_default(),
            result: probe_outcome(&without(result, "at=")),
        }
    }

    /// The incarnation is that of the name, unless it says otherwise.
    fn fence_ended(&mut self, node: &str, rest: &[&str]) -> Event {
        let default = format!("L{node}");
        let incarnation = self.names.named(option(rest, "on").unwrap_or(&default));
        let rest: Vec<&str> = rest.iter().copied().filter(|word| !word.starts_with("on=")).collect();
        Event::FenceEnded {
            node: node.to_owned(),
            incarnation,
            result: outcome(&rest).map(|()| "Success: Powered OFF".to_owned()),
        }
    }

    /// What the tether of a run says, and what is left of the run when it has gone.
    fn of_tether(&mut self, words: &[&str]) -> Option<Event> {
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

    fn event(&mut self, words: &[&str]) -> Option<Event> {
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
            ["wall", seconds] => Event::Clock {
                doubt: None,
                wall: seconds.parse().ok(),
            },
            ["endpoints", at, why @ ..] => Event::Endpoints {
                address: at.trim_start_matches("closed").to_owned(),
                fault: (!why.is_empty()).then(|| why.join(" ")),
            },
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
            ["fence", node, rest @ ..] => self.fence_ended(node, rest),
            ["reset", "failed", why @ ..] => Event::ResetFailed { why: why.join(" ") },
            [word @ ("intruder" | "used"), rest @ ..] => words::stranger(word, rest)?,
            ["vip", word, rest @ ..] => Event::Vip(news(word, rest)?),
            ["seen", group, result @ ..] => self.seen(group, result),
            _ => return looked(words),
        };
        Some(event)
    }

    fn etcd_input(&mut self, words: &[&str]) -> bool {
        match words {
            // Lost for good, and put up anew.
            ["lost"] => {
                self.date_writes();
                self.etcd = super::etcd::Etcd::new();
                self.etcd.cluster_id = 0xc2;
                self.alive.clear();
            }
            ["store", group, rest @ ..] => self.put_store(group, rest.first().unwrap_or(&"s1")),
            ["config", rest @ ..] => {
                let generation = option(rest, "generation").map_or(1, |word| word.parse().unwrap());
                let ttl = option(rest, "ttl").and_then(time).unwrap_or(Duration::from_secs(5));
                let longest = option(rest, "longest").and_then(time).unwrap_or(ttl);
                let config = ClusterConfig::new(generation, ttl, longest);
                self.etcd.put(&self.keys.config(), &json(&config), 0);
            }
            ["lives", node, rest @ ..] => {
                self.alive.insert((*node).to_owned(), self.now);
                let lease = self.names.named(&format!("L{node}"));
                let promise = option(rest, "ttl").and_then(time).unwrap_or(Duration::from_secs(5));
                self.promises.insert((*node).to_owned(), promise);
                self.beat(node, lease, promise);
            }
            ["silent", node] => {
                self.alive.remove(*node);
            }
            ["beat", node, rest @ ..] => {
                let default = format!("L{node}");
                let lease = self.names.named(option(rest, "on").unwrap_or(&default));
                let promise = option(rest, "promises").and_then(time);
                self.beat(node, lease, promise.unwrap_or(Duration::from_secs(5)));
            }
            ["ready", node, groups @ ..] => self.publish(node, groups, ""),
            ["differs", node, groups @ ..] => self.publish(node, groups, "it differs"),
            ["unready", node, groups @ ..] => self.publish(node, groups, "no image"),
            ["ending", node, groups @ ..] => self.publish(node, groups, "its node was told to end"),
            ["record", group, epoch, node, state, rest @ ..] => {
                let record = self.told_record(epoch, node, state, rest);
                self.etcd.put(&self.keys.record(group), &json(&record), 0);
            }
            ["spoil", group] => self.etcd.put(&self.keys.record(group), "spoiled", 0),
            ["leader", group, node] => self.etcd.put(&self.keys.leader(group), node, 0),
            ["intent", group, rest @ ..] => {
                let key = self.keys.intent(group);
                let short = words::short(&self.keys, &key);
                let wish = |name: &str| self.names.revision_named(short, name).expect("a wish of that time");
                let intent = words::intent(rest, wish);
                self.etcd.put(&key, &json(&intent), 0);
            }
            ["stopped", group] => self
                .etcd
                .put(&self.keys.stopped(group), &json(&StandingOrder::from(note())), 0),
            ["paused", group] => self
                .etcd
                .put(&self.keys.paused(group), &json(&StandingOrder::from(note())), 0),
            ["deleted", group] => self
                .etcd
                .put(&self.keys.deleted(group), &json(&StandingOrder::from(note())), 0),
            ["without", group, node] => {
                self.etcd
                    .put(&self.keys.without(group, node), &json(&StandingOrder::from(note())), 0)
            }
            ["drained", node] => self
                .etcd
                .put(&self.keys.drained(node), &json(&StandingOrder::from(note())), 0),
            _ => return self.by_hand(words),
        }
        true
    }

    /// What nobody but an operator, or an accident, does to etcd.
    fn by_hand(&mut self, words: &[&str]) -> bool {
        match words {
            // On no lease.
            ["put", key, value @ ..] => {
                let key = format!("{}{key}", self.keys.prefix());
                self.etcd.put(&key, &value.join(" "), 0);
            }
            ["fill", key, kib] => {
                let key = format!("{}{key}", self.keys.prefix());
                self.etcd.put(&key, &"x".repeat(kib.parse::<usize>().unwrap() << 10), 0);
            }
            ["delete", key] => {
                let key = format!("{}{key}", self.keys.prefix());
                self.deleted = self.etcd.keys.get(&key).map_or(0, |kv| kv.mod_revision);
                self.etcd.remove(|kv| kv.key == key);
            }
            ["cluster", id] => self.etcd.cluster_id = u64::from_str_radix(id, 16).unwrap(),
            ["revision", to] => self.etcd.revision = to.parse().unwrap(),
            _ => return false,
        }
        true
    }

    fn put_store(&mut self, group: &str, id: &str) {
        let value = format!(r#"{{"id":"{id}","mounts":[]}}"#);
        self.etcd.put(&self.keys.store(group), &value, 0);
    }

    fn told_record(&mut self, epoch: &str, node: &str, state: &str, rest: &[&str]) -> Record {
        let default = format!("L{node}");
        Record {
            epoch: epoch.parse().unwrap(),
            node: node.to_owned(),
            incarnation: self.names.named(option(rest, "on").unwrap_or(&default)),
            state: match state {
                "active" | "stuck" => RecordState::Active,
                _ => RecordState::Released,
            },
            reason: "told".to_owned(),
            cause: None,
            successor: option(rest, "successor").map(str::to_owned),
            stuck: (state == "stuck").then(|| "run 1.1 could not be stopped".to_owned()),
            promise_ms: option(rest, "promises")
                .and_then(time)
                .map(|promise| u64::try_from(promise.as_millis()).unwrap()),
            past: Past {
                returned: rest.contains(&"returned"),
                quiet_ms: option(rest, "quiet")
                    .and_then(time)
                    .map(|quiet| u64::try_from(quiet.as_millis()).unwrap()),
                faults: option(rest, "fault")
                    .iter()
                    .map(|fault| FaultId::of_old(&fault.replace('_', " ")))
                    .collect(),
            },
        }
    }

    fn publish(&mut self, node: &str, groups: &[&str], why: &str) {
        let lease = self.names.named(&format!("L{node}"));
        let ready = Readiness {
            ready: why.is_empty(),
            why: why.to_owned(),
            image: "sha256:1".to_owned(),
            content: String::new(),
            claim: option(groups, "claim").map(|epoch| epoch.parse().unwrap()),
            used: option(groups, "used").map(str::to_owned),
            trouble: option(groups, "trouble").map(trouble),
            serves: option(groups, "serves").map(run),
            opinion: option(groups, "opinion").map(words::opinion_of),
            drift: (why == "it differs").then(|| words::drift_of("image", None)),
        };
        let words = groups;
        let groups = groups.iter().filter(|word| !word.contains('='));
        let groups = groups.map(|group| ((*group).to_owned(), ready.clone()));
        let status = NodeStatus {
            version: "1".to_owned(),
            address: String::new(),
            priority: priority(node),
            smallest_ttl_ms: option(words, "needs")
                .and_then(time)
                .map(|ttl| ttl.as_secs() * 1000)
                .or(Some(5000)),
            groups: groups.collect(),
            clock: String::new(),
            endpoints: String::new(),
            ending: false,
        };
        self.etcd.put(&self.keys.status(node), &json(&status), lease);
    }
}

/// `state:why`, with underscores for blanks.
fn trouble(word: &str) -> Trouble {
    let (state, why) = word.split_once(':').unwrap();
    Trouble {
        state: state.to_owned().into(),
        why: why.replace('_', " "),
    }
}

/// `pair/1` is the second probe of `pair`.
fn probe(word: &str) -> ProbeKey {
    let (group, place) = word.split_once('/').unwrap_or((word, "0"));
    ProbeKey {
        group: group.to_owned(),
        probe: place.parse().unwrap(),
    }
}

fn entry_line(entry: &Entry) -> String {
    let phases = |phases: &[Phase]| {
        let told = phases.iter().map(|phase| format!(", {} {} ms", phase.what, phase.ms));
        told.collect::<String>()
    };
    match entry {
        Entry::Begun { group, begun } => {
            let from = begun.from.as_deref().unwrap_or("-");
            let served = if begun.served { ", served" } else { "" };
            let (epoch, to, at, cause) = (begun.epoch, &begun.to, &begun.at, &begun.cause);
            let phases = phases(&begun.phases);
            format!("{group}: epoch {epoch} begun at {at}: {from} -> {to}, \"{cause}\"{phases}{served}")
        }
        Entry::Left { group, left } => {
            let (epoch, at, cause, runs) = (left.epoch, &left.at, &left.cause, left.runs);
            let phases = phases(&left.phases);
            format!("{group}: epoch {epoch} left at {at} after {runs} runs, \"{cause}\"{phases}")
        }
    }
}

fn news(word: &str, rest: &[&str]) -> Option<VipNews> {
    if word == "link" {
        return Some(VipNews::Link { up: *rest == ["up"] });
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

fn fitness(group: &str, why: &[&str]) -> Event {
    Event::Fitness {
        group: group.to_owned(),
        unfit: (!why.is_empty()).then(|| why.join(" ")),
    }
}

/// What came of a check, of a question to the holder, or of a look at the storage.
fn looked(words: &[&str]) -> Option<Event> {
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
        },
        _ => return None,
    };
    Some(event)
}
