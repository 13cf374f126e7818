//! The words of an input that stand for a value: times, runs, notes, outcomes.

use std::time::Duration;

use leasehold::base::epoch::Run;
use leasehold::core::event::{Origin, ProbeFailure, ProbeKey, ServiceKey, Trace};
use leasehold::core::protocol::records::Trouble;

pub(super) fn time(word: &str) -> Option<Duration> {
    let seconds = word.strip_suffix('s')?.parse::<f64>().ok()?;
    Some(Duration::from_micros((seconds * 1e6).round() as u64))
}

/// `key=value` among the words.
pub(super) fn option<'a>(words: &[&'a str], key: &str) -> Option<&'a str> {
    let mut found = words
        .iter()
        .filter_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    found.next()
}

/// The words that do not begin so.
pub(super) fn without<'a>(words: &[&'a str], key: &str) -> Vec<&'a str> {
    words.iter().copied().filter(|word| !word.starts_with(key)).collect()
}

/// In the order of the alphabet.
pub(super) fn priority(node: &str) -> u32 {
    100 + u32::from(node.as_bytes()[0] - b'a')
}

pub(super) fn run(word: &str) -> Run {
    let (epoch, n) = word.split_once('.').unwrap();
    Run {
        epoch: epoch.parse().unwrap(),
        n: n.parse().unwrap(),
    }
}

pub(super) fn service(word: &str) -> ServiceKey {
    let (group, service) = word.split_once('/').unwrap();
    ServiceKey {
        group: group.to_owned(),
        service: service.parse().unwrap(),
    }
}

/// `pair/1` is the second probe of `pair`.
pub(super) fn probe(word: &str) -> ProbeKey {
    let (group, place) = word.split_once('/').unwrap_or((word, "0"));
    ProbeKey {
        group: group.to_owned(),
        probe: place.parse().unwrap(),
    }
}

pub(super) fn origin() -> Origin {
    Origin {
        by: "root on b".to_owned(),
        at: "noon".to_owned(),
        why: "new disk".to_owned(),
        until: None,
    }
}

/// `ok`, or why not: `silent ...`, `shared ...`, `certificate ...` and `unasked ...` say of which kind; `warning ...` passes.
pub(super) fn probe_outcome(words: &[&str]) -> Result<(), ProbeFailure> {
    match words {
        ["ok"] => Ok(()),
        ["silent", why @ ..] => Err(ProbeFailure::silent(why.join(" "))),
        ["warning", why @ ..] => Err(ProbeFailure::warning(why.join(" "))),
        ["unasked", why @ ..] => Err(ProbeFailure::unasked(why.join(" "))),
        ["certificate", why @ ..] => Err(ProbeFailure::certificate(why.join(" "))),
        ["shared", why @ ..] => Err(ProbeFailure::shared(why.join(" "))),
        why => Err(ProbeFailure::wrong(why.join(" "))),
    }
}

pub(super) fn outcome(words: &[&str]) -> Result<(), String> {
    match words {
        ["ok"] => Ok(()),
        why => Err(why.join(" ")),
    }
}

/// What the second witness says of a container.
pub(super) fn trace(words: &[&str]) -> Option<Trace> {
    match words {
        ["nothing"] => Some(Trace::Nothing),
        ["never", "started"] => Some(Trace::NeverStarted),
        ["left", what @ ..] => Some(Trace::Left { what: what.join(" ") }),
        ["hidden", why @ ..] => Some(Trace::Hidden { why: why.join(" ") }),
        _ => None,
    }
}

/// `state:why`, with underscores for blanks.
pub(super) fn trouble(word: &str) -> Trouble {
    let (state, why) = word.split_once(':').unwrap();
    Trouble {
        state: state.to_owned().into(),
        why: why.replace('_', " "),
    }
}
