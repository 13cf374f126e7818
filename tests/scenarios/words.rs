//! Actions in words. Every transaction is told with all that it compares and does.

use std::collections::BTreeMap;
use std::time::Duration;

use leasehold::base::epoch::Run;
use leasehold::base::time::Time;
use leasehold::core::event::{Action, Blame, Event, Intruder, Level, NotStarted, Order, PageOrder, ServiceKey};
use leasehold::core::observe::etcd::EtcdTrouble;
use leasehold::core::protocol::keys::Keys;
use leasehold::core::protocol::records::{
    Beat, ClusterConfig, Drift, Intent, NodeStatus, Opinion, Pin, Record, RecordState, Saved,
};
use leasehold::core::store::{Compare, Op, Txn};

use super::names::Names;

/// Seconds to the millisecond, without idle zeros.
pub(crate) fn seconds(time: Duration) -> String {
    let text = format!("{:.3}", time.as_secs_f64());
    format!("{}s", text.trim_end_matches('0').trim_end_matches('.'))
}

/// How a start was answered: `ok`, or why not, with whose fault that is before it.
pub(crate) fn start(words: &[&str]) -> Result<(), NotStarted> {
    let (blame, why) = match words {
        ["ok"] => return Ok(()),
        ["engine:", why @ ..] => (Blame::Engine, why),
        ["lasting:", why @ ..] => (Blame::Lasting, why),
        why => (Blame::Unknown, why),
    };
    let why = why.join(" ");
    Err(NotStarted { why, blame })
}

/// A deadline as seen from now; both clocks where they differ.
fn ahead(now: Time, at: Time) -> String {
    let by = |now: Duration, at: Duration| match at.checked_sub(now) {
        Some(left) => format!("+{}", seconds(left)),
        None => format!("-{}", seconds(now - at)),
    };
    let (boot, raw) = (by(now.boot, at.boot), by(now.raw, at.raw));
    if boot == raw {
        boot
    } else {
        format!("{boot} (raw {raw})")
    }
}

fn service(of: &ServiceKey) -> String {
    format!("{}/{}", of.group, of.service)
}

pub(crate) fn page(now: Time, of: &ServiceKey, page: &PageOrder) -> String {
    let (of, run) = (service(of), page.run);
    let order = match page.order {
        Order::Closed => return format!("page {of} {run} closed"),
        Order::Open => "open",
        Order::Stop => "stop",
        Order::Kill => "kill",
    };
    let (soft, hard) = (ahead(now, page.soft), ahead(now, page.hard));
    format!("page {of} {run} {order} soft {soft} hard {hard}")
}

fn record(names: &mut Names, record: &Record) -> String {
    let state = match record.state {
        RecordState::Active => "active",
        RecordState::Released => "released",
    };
    let lease = names.lease(record.incarnation);
    let successor = record.successor.as_ref().map(|next| format!(", successor {next}"));
    let successor = successor.unwrap_or_default();
    let stuck = record.stuck.as_ref().map(|why| format!(" STUCK ({why})"));
    let stuck = stuck.unwrap_or_default();
    let promise = record
        .promise_ms
        .map(|_| format!(", promises {}", seconds(record.promise())));
    let promise = promise.unwrap_or_default();
    let returned = if record.past.returned { ", returned" } else { "" };
    let quiet = record
        .past
        .quiet_ms
        .map(|ms| format!(", quiet for {}", seconds(Duration::from_millis(ms))));
    let quiet = quiet.unwrap_or_default();
    let faults = match record.past.faults.as_slice() {
        [] => String::new(),
        faults => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            format!(", moved for: {}", faults.join(", "))
        }
    };
    format!(
        "epoch {} {} {lease} {state}{stuck}, \"{}\"{successor}{promise}{returned}{quiet}{faults}",
        record.epoch, record.node, record.reason
    )
}

fn drift(drift: Option<&Drift>) -> String {
    drift.map_or_else(String::new, |drift| format!(" though \"{}\"", drift.what))
}

fn opinion(opinion: &Opinion) -> String {
    match opinion.fault.as_str() {
        "" => format!(", reaches {}", opinion.of),
        fault => {
            let answers = if opinion.answers { ", though it answers" } else { "" };
            format!(", does not reach {}: \"{fault}\"{answers}", opinion.of)
        }
    }
}

fn status(status: &NodeStatus) -> String {
    let groups = status.groups.iter().map(|(name, readiness)| {
        let trouble = readiness.trouble.as_ref();
        let trouble = trouble.map_or(String::new(), |trouble| {
            format!(", {}: \"{}\"", trouble.state, trouble.why)
        });
        let drift = drift(readiness.drift.as_ref());
        let used = readiness.used.as_ref().map(|by| format!(", used by {by}"));
        let used = used.unwrap_or_default();
        let serves = readiness
            .serves
            .map_or_else(String::new, |run| format!(", serves {run}"));
        let opinion = readiness.opinion.as_ref().map(opinion).unwrap_or_default();
        let pairs: Vec<String> = readiness
            .file
            .iter()
            .map(|(key, print)| format!("{key}:{print}"))
            .collect();
        let file = match pairs.is_empty() {
            true => String::new(),
            false => format!(", file {}", pairs.join(",")),
        };
        let certified = if readiness.certified { ", certified" } else { "" };
        let more = format!("{trouble}{drift}{serves}{opinion}{file}{certified}");
        match readiness.ready {
            true => format!(", ready for {name}{more}"),
            false => format!(", not ready for {name} \"{}\"{more}{used}", readiness.why),
        }
    });
    let told = [&status.clock, &status.endpoints].into_iter();
    let told = told.filter(|text| !text.is_empty()).map(|text| format!(", \"{text}\""));
    let told: String = told.collect();
    format!("priority {}{}{told}", status.priority, groups.collect::<String>())
}

/// `KEY:PRINT,KEY:PRINT`: what a compose file says.
pub(crate) fn file(keys: &str) -> BTreeMap<String, String> {
    let pairs = keys.split(',').filter_map(|pair| pair.split_once(':'));
    pairs.map(|(key, print)| (key.to_owned(), print.to_owned())).collect()
}

/// What is wrong with a member of etcd.
pub(crate) fn troubles(words: &[&str]) -> Vec<EtcdTrouble> {
    let quota = 2 << 30;
    let trouble = |word: &&str| match word.split_once('=') {
        None if *word == "full" => EtcdTrouble::Full,
        None if *word == "corrupt" => EtcdTrouble::Corrupt,
        Some(("filling", percent)) => EtcdTrouble::Filling {
            percent: percent.parse().unwrap(),
            quota,
        },
        Some(("kept", revisions)) => EtcdTrouble::NotCompacted {
            revisions: revisions.parse().unwrap(),
        },
        _ => panic!("no trouble of etcd: {word}"),
    };
    words.iter().map(trouble).collect()
}

fn value(names: &mut Names, key: &str, value: &str) -> String {
    let read = match key.split('/').collect::<Vec<_>>().as_slice() {
        ["nodes", _] => serde_json::from_str::<Beat>(value).ok().map(|beat| {
            let which = match (names.is_known(beat.nonce), beat.seq) {
                (true, _) => "repeated beat",
                (false, 1) => "first beat",
                (false, _) => "beat",
            };
            let promise = seconds(beat.promise());
            format!("{which} boot {} promises {promise}", beat.boot)
        }),
        ["config"] => serde_json::from_str::<ClusterConfig>(value).ok().map(|config| {
            let ttl = seconds(config.ttl());
            let longest = config
                .longest_ms
                .map(|_| format!(" longest {}", seconds(config.longest())));
            let promises = config.promises_ms.map(|bound| {
                let signed = if config.promises_secret.is_some() {
                    " signed"
                } else {
                    ""
                };
                format!(" promises {}{signed}", seconds(Duration::from_millis(bound)))
            });
            format!(
                "generation {} ttl {ttl}{}{}",
                config.generation,
                longest.unwrap_or_default(),
                promises.unwrap_or_default()
            )
        }),
        ["status", _] => serde_json::from_str::<NodeStatus>(value).ok().map(|read| status(&read)),
        ["groups", _, "record"] => serde_json::from_str::<Record>(value)
            .ok()
            .map(|read| record(names, &read)),
        ["groups", _, "intent"] => serde_json::from_str::<Intent>(value).ok().map(|intent| {
            let because = |why: &str| {
                if why.is_empty() {
                    String::new()
                } else {
                    format!(" ({why})")
                }
            };
            let request = |of: i64| format!("request {}", names.revision(key, of));
            match intent {
                Intent::Switchover { to, by, why, begun } => {
                    let begun = begun.map_or_else(String::new, |of| format!(", {} begun", request(of)));
                    let to = to.unwrap_or_else(|| "anyone".to_owned());
                    format!("switchover to {to} by {by}{}{begun}", because(&why))
                }
                Intent::Apply { by, why } => format!("apply by {by}{}", because(&why)),
                Intent::Refused { of, why } => format!("{} refused: {why}", request(of)),
            }
        }),
        _ => None,
    };
    read.unwrap_or_else(|| value.to_owned())
}

pub(crate) fn short<'a>(keys: &Keys, key: &'a str) -> &'a str {
    key.strip_prefix(keys.prefix()).unwrap_or(key)
}

pub(crate) fn compare(names: &mut Names, keys: &Keys, compare: &Compare) -> String {
    let named = |names: &Names, key, revision| {
        let key = short(keys, key);
        format!("({key}) == {}", names.revision(key, revision))
    };
    match compare {
        Compare::Create { key, revision } => format!("create{}", named(names, key, *revision)),
        Compare::Mod { key, revision } => format!("mod{}", named(names, key, *revision)),
        Compare::Lease { key, lease } => format!("lease({}) == {}", short(keys, key), names.lease(*lease)),
        Compare::LeaseNot { key, lease } => format!("lease({}) != {}", short(keys, key), names.lease(*lease)),
    }
}

pub(crate) fn txn(names: &mut Names, keys: &Keys, txn: &Txn) -> Vec<String> {
    let mut lines = vec![format!("txn {}", txn.kind.word())];
    for one in &txn.compare {
        lines.push(format!("  if {}", compare(names, keys, one)));
    }
    for op in &txn.then {
        let line = match op {
            Op::Put { key, value: to, lease } => {
                let key = short(keys, key);
                let on = match lease {
                    0 => String::new(),
                    lease => format!(" on {}", names.lease(*lease)),
                };
                format!("put {key}{on}: {}", value(names, key, to))
            }
            Op::Delete { key } => format!("delete {}", short(keys, key)),
            Op::DeletePrefix { prefix } => format!("delete all {}*", short(keys, prefix)),
        };
        lines.push(format!("  then {line}"));
    }
    lines
}

fn saved(names: &mut Names, saved: &Saved) -> String {
    let groups = saved.groups.iter().map(|(name, run)| {
        let latched = if run.latched { " latched" } else { "" };
        format!(", {name} {}.{}{latched}", run.epoch, run.n)
    });
    let groups: String = groups.collect();
    format!("save boot {} lease {}{groups}", saved.boot, names.lease(saved.lease))
}

fn pinned(names: &Names, pin: &Pin) -> String {
    let revision = names.revision_of_etcd(pin.revision);
    format!(
        "cluster {:x} generation {} revision {revision}",
        pin.cluster_id, pin.generation
    )
}

/// Every action but a transaction, which needs its kind.
pub(crate) fn action(names: &mut Names, now: Time, action: &Action) -> String {
    match action {
        Action::Txn { .. } => "txn".to_owned(),
        Action::Read { .. } => "read".to_owned(),
        Action::Grant(grant) => format!("grant {} for {}", names.lease(grant.lease), seconds(grant.ttl)),
        Action::KeepAlive { lease } => format!("keep alive {}", names.lease(*lease)),
        Action::Attempt(limit) => format!("a call to etcd may take {} ms", limit.as_millis()),
        Action::Revoke { lease } => format!("revoke {}", names.lease(*lease)),
        Action::Page { of, page: order } => page(now, of, order),
        Action::Save(memory) => saved(names, memory),
        Action::Pin(pin) => format!("pin {}", pinned(names, pin)),
        Action::PinLater(pin) => format!("pin beside the loop {}", pinned(names, pin)),
        Action::Prepare { group, store } => {
            format!("prepare {group} for store {}", store.as_deref().unwrap_or("none"))
        }
        Action::Unmanage { group } => format!("let go of {group}"),
        Action::Start { of, run, .. } => format!("start {} {run}", service(of)),
        Action::Admit { of, .. } => format!("admit {}", service(of)),
        Action::Refuse { of, .. } => format!("refuse {}", service(of)),
        Action::Kill { of } => format!("kill {}", service(of)),
        Action::KillForeign { id, why } => format!("kill foreign {id}: {why}"),
        Action::Inspect { of, .. } => format!("inspect {}", service(of)),
        Action::LookAtMounts { group, run } => format!("look at the mounts of {group} {run}"),
        Action::Probe { of, run, at_vip } => {
            let through = if *at_vip { " at the address" } else { "" };
            format!("probe {} {run}{through}", of.group)
        }
        Action::LookAtStorage { group, store } => format!("look at the storage of {group} for {store}"),
        Action::WatchClaims { group, .. } => format!("watch the claims of {group}"),
        Action::TryStart { group, made } => {
            let prints: Vec<_> = made.iter().map(|made| made.fingerprint.as_str()).collect();
            format!("try a start of {group} as {}", prints.join(" "))
        }
        Action::AskHolder { of, run } => format!("ask the holder of {} {run}, probe {}", of.group, of.probe),
        Action::LookForClients { group } => format!("look for the clients of {group}"),
        Action::VipProbe { group } => format!("vip probe {group}"),
        Action::VipHold {
            group, until, announce, ..
        } => {
            let announce = if *announce { " announce" } else { "" };
            format!("vip hold {group} until {}{announce}", ahead(now, *until))
        }
        Action::VipKeep { group, until, .. } => format!("vip keep {group} until {}", ahead(now, *until)),
        Action::VipDrop { group } => format!("vip drop {group}"),
        Action::Feed { until } => format!("feed the watchdog until {}", ahead(now, *until)),
        Action::Compare { group, .. } => format!("compare {group}"),
        Action::Disarm => "put the watchdog to sleep".to_owned(),
        Action::Say(decision) => {
            let loud = match decision.code.level() {
                Level::Info => "say",
                Level::Alarm => "ALARM",
            };
            match &decision.group {
                Some(group) => format!("{loud} {group}: {}", decision.text),
                None => format!("{loud}: {}", decision.text),
            }
        }
        Action::Reply { result: Ok(done), .. } => format!("reply: {}", done.text),
        Action::Reply { result: Err(why), .. } => format!("reply refused: {why}"),
        Action::Reset { why } => format!("RESET THE HOST: {why}"),
        Action::Fence { node, incarnation } => format!("FENCE {node} {}", names.lease(*incarnation)),
        Action::Send { .. } => unreachable!("nobody else in a story has a vote"),
        Action::Exit { detached } => if *detached { "exit detached" } else { "exit" }.to_owned(),
    }
}

/// What differs, as the engine's adapter says it.
pub(crate) fn drift_of(key: &str, obstacle: Option<&str>) -> Drift {
    Drift {
        what: format!("the file has changed since sams was started: {key}"),
        obstacle: obstacle.map(str::to_owned),
    }
}

/// `compared GROUP same`, `compared GROUP differs`, `compared GROUP impossible`; `unasked` of a look that began by itself,
/// `late` of one for the request before the last.
pub(crate) fn compared(group: &str, rest: &[&str], intent: Option<i64>) -> Event {
    let (rest, intent) = match rest {
        [rest @ .., "unasked"] => (rest, None),
        [rest @ .., "late"] => (rest, intent.map(|intent| intent - 1)),
        rest => (rest, intent),
    };
    Event::Compared {
        group: group.to_owned(),
        intent,
        drift: match rest {
            ["same"] => None,
            ["impossible"] => Some(drift_of("image", Some("image sams:2 is not on this host"))),
            _ => Some(drift_of("image", None)),
        },
    }
}

/// `1.1`, or `1.1:why` with underscores for blanks where it is not reached, and `!ADDRESS` where it answers all the same.
pub(crate) fn opinion_of(word: &str) -> Opinion {
    let (word, from) = word.split_once('!').unwrap_or((word, ""));
    let (at, fault) = word.split_once(':').unwrap_or((word, ""));
    let (epoch, n) = at.split_once('.').unwrap();
    Opinion {
        of: Run {
            epoch: epoch.parse().unwrap(),
            n: n.parse().unwrap(),
        },
        fault: fault.replace('_', " "),
        answers: !from.is_empty(),
        from: from.to_owned(),
    }
}

/// `ADDRESS:PORT`.
pub(crate) fn client(word: &str) -> (String, u16) {
    let (address, port) = word.rsplit_once(':').unwrap();
    (address.to_owned(), port.parse().unwrap())
}

/// `intruder NAME [created]`, a container that may not run, and may not have been started; `used GROUP [NAME]`, who uses the storage of a deleted group.
pub(crate) fn stranger(word: &str, rest: &[&str]) -> Option<Event> {
    let first = (*rest.first()?).to_owned();
    Some(match word {
        "intruder" => Event::Intruder {
            group: "sams".to_owned(),
            seen: Intruder {
                id: first.clone(),
                name: first,
                why: "it mounts the protected volume v".to_owned(),
                runs: rest.get(1) != Some(&"created"),
            },
        },
        _ => Event::Used {
            group: first,
            by: rest.get(1).map(|by| (*by).to_owned()),
        },
    })
}

/// `apply`, `refused=REQUEST why=...` with the request's time as it is told, or a switchover with `to=` and `by=`.
pub(crate) fn intent(words: &[&str], request: impl Fn(&str) -> i64) -> Intent {
    let option = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    let by = option("by").unwrap_or("b").to_owned();
    let why = option("why").unwrap_or_default().replace('_', " ");
    match (words.first(), option("refused").map(request)) {
        (Some(&"apply"), _) => Intent::Apply { by, why },
        (_, Some(of)) => Intent::Refused { of, why },
        (_, None) => Intent::Switchover {
            to: option("to").map(str::to_owned),
            by,
            why,
            begun: None,
        },
    }
}
