//! Times as a person says them. Machines get RFC 3339.

use std::borrow::Cow;

/// `RFC 3339` needs so many letters at least: `2026-11-22T21:04:05Z`.
const STAMP_MIN: usize = 20;

/// Seconds since 1970 of a time in RFC 3339; none where it is something else.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let is_dated = text.len() >= STAMP_MIN && text.as_bytes().get(10) == Some(&b'T');
    let stamp: Option<jiff::Timestamp> = is_dated.then(|| text.parse().ok()).flatten();
    stamp.map(jiff::Timestamp::as_second)
}

/// A length of time in its largest whole unit: `5 s`, `2 min`, `3 h`, `4 days`.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        172_800.. => format!("{} days", seconds / 86_400),
    }
}

/// How long ago something was, from milliseconds: `now`, `0.2 s ago`, `2 min ago`.
pub(super) fn ago_ms(ms: u64) -> String {
    match ms {
        0..100 => "now".to_owned(),
        100..10_000 => format!("{}.{} s ago", ms / 1000, ms % 1000 / 100),
        10_000.. => ago(ms / 1000),
    }
}

/// How long ago something was, from seconds.
pub(super) fn ago(seconds: u64) -> String {
    format!("{} ago", span(seconds))
}

/// How long something took: `0.2 s`, `3 min 4 s`, `2 h 5 min`.
pub(super) fn took(ms: u64) -> String {
    match ms / 1000 {
        0..60 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// A time in RFC 3339 to the minute, in UTC: `2026-11-22 21:04`; anything else as it is.
pub(super) fn to_the_minute(stamp: &str) -> Cow<'_, str> {
    let parsed: Option<jiff::Timestamp> = seconds(stamp).and_then(|at| jiff::Timestamp::from_second(at).ok());
    match parsed {
        Some(at) => Cow::Owned(at.to_string().get(..16).unwrap_or(stamp).replace('T', " ")),
        None => Cow::Borrowed(stamp),
    }
}

/// A time in RFC 3339 as it lies from now: `2 min ago`, `in 58 min`; anything else as it is.
pub(super) fn from_now(stamp: &str, now: i64) -> Cow<'_, str> {
    match seconds(stamp) {
        Some(at) if at > now => Cow::Owned(format!("in {}", span(at.abs_diff(now)))),
        Some(at) => Cow::Owned(ago(at.abs_diff(now))),
        None => Cow::Borrowed(stamp),
    }
}

/// A sentence whose times in RFC 3339 are said as a person says them: `by root on a 2 min ago, ending in 58 min`.
pub(super) fn said(sentence: &str, now: i64) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in sentence.split(' ') {
        let stamp = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let told = from_now(stamp, now);
        if told == stamp {
            words.push(word.to_owned());
            continue;
        }
        if let Some(before) = words.last_mut() {
            match before.as_str() {
                "at" => drop(words.pop()),
                "until" => "ending".clone_into(before),
                _ => {}
            }
        }
        words.push(word.replacen(stamp, &told, 1));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-22T21:04:05Z";

    #[test]
    fn a_length_is_said_in_its_largest_unit() {
        for (seconds, wanted) in [
            (0, "0 s ago"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (7199, "119 min ago"),
            (7200, "2 h ago"),
            (172_799, "47 h ago"),
            (3 * 86_400 + 5, "3 days ago"),
        ] {
            assert_eq!(ago(seconds), wanted);
        }
        assert_eq!(
            (ago_ms(230), ago_ms(130_000)),
            ("0.2 s ago".to_owned(), "2 min ago".to_owned())
        );
        for (ms, wanted) in [(227, "0.2 s"), (61_999, "1 min 1 s"), (7_500_000, "2 h 5 min")] {
            assert_eq!(took(ms), wanted);
        }
    }

    #[test]
    fn times_in_a_sentence_are_said_from_now() {
        let now = seconds(NOW).unwrap();
        for (told, wanted) in [
            (
                "mail is on pause by root on a at 2026-11-22T21:02:05.123456789Z (disk), until 2026-11-22T22:04:05Z",
                "mail is on pause by root on a 2 min ago (disk), ending in 60 min",
            ),
            (
                "stopped at 2026-11-19T21:04:05Z: see `leasehold start mail`",
                "stopped 3 days ago: see `leasehold start mail`",
            ),
            ("since (2026-11-22T21:04:00Z)", "since (5 s ago)"),
            (
                "no time: 12:00, 2026-11-22, image:2026-11-22T99:99:99Z",
                "no time: 12:00, 2026-11-22, image:2026-11-22T99:99:99Z",
            ),
        ] {
            assert_eq!(said(told, now), wanted);
        }
        assert_eq!(to_the_minute(NOW), "2026-11-22 21:04");
        assert_eq!(to_the_minute("noon"), "noon");
    }
}
