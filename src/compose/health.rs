//! `healthcheck` and `logging`.

use super::cursor::At;
use super::fault::Faults;
use super::model::{Healthcheck, Logging};
use super::networks::options;

pub(super) fn healthcheck(at: &At<'_>, faults: &mut Faults) -> Healthcheck {
    let mut check = Healthcheck {
        test: None,
        interval: None,
        timeout: None,
        retries: None,
        start_period: None,
        start_interval: None,
    };
    let known = [
        "test",
        "interval",
        "timeout",
        "retries",
        "start_period",
        "start_interval",
        "disable",
    ];
    let mut disabled = false;
    for field in at.map_of(faults, &known) {
        match field.name {
            "test" => check.test = test(&field, faults),
            "interval" => check.interval = field.duration(faults),
            "timeout" => check.timeout = field.duration(faults),
            "retries" => check.retries = field.int(faults),
            "start_period" => check.start_period = field.duration(faults),
            "start_interval" => check.start_interval = field.duration(faults),
            _ => disabled = field.bool(faults) == Some(true),
        }
    }
    if disabled {
        // An override file has no other way to switch off what another file tests.
        check.test = Some(vec!["NONE".to_owned()]);
    }
    check
}

fn test(at: &At<'_>, faults: &mut Faults) -> Option<Vec<String>> {
    if at.node.is_null() {
        return None;
    }
    if let Some(line) = at.node.scalar() {
        return Some(vec!["CMD-SHELL".to_owned(), line]);
    }
    let words = at.strings(faults);
    match (words.first().map(String::as_str), words.len()) {
        (Some("NONE"), 1) | (Some("CMD-SHELL"), 2) | (Some("CMD"), 2..) => Some(words),
        _ => {
            let remedy = "write [NONE], [CMD, program, ...] or [CMD-SHELL, \"line\"]";
            at.fault(faults, "has a test that the engine does not understand", remedy);
            None
        }
    }
}

pub(super) fn logging(at: &At<'_>, faults: &mut Faults) -> Logging {
    let mut logging = Logging::default();
    for field in at.map_of(faults, &["driver", "options"]) {
        match field.name {
            "driver" => logging.driver = field.text(faults),
            _ => logging.options = options(&field, faults),
        }
    }
    logging
}
