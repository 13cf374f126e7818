//! The last hour and the last day as pictures: this node's beats as bars, the outages of the groups as marks below them.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::look::span;
use super::past::Told;
use crate::beats::Beats;
use crate::timings::Timings;
use leasehold_base::clock;

/// The picture in its own units: a bar is as high as its slowest beat, by the number of its digits; below are the outages.
/// A multiple of the bars of each span, so that bars and marks have one scale.
const WIDTH: u64 = 960;
const BARS_MAX: u64 = 36;
const MARKS_FROM: u64 = 42;
const MARK_LEAST: u64 = 4;

/// A time that is shown: its name, how many bars it has, and minutes of each.
const SPANS: [(&str, usize, usize); 2] = [("The last hour", 60, 1), ("The last day", 96, 15)];

/// An outage of a group: when it was over, in seconds since 1970, and how long it was.
struct Outage<'a> {
    group: &'a str,
    until: i64,
    ms: u64,
}

pub(super) fn show(node: &str, ttl_ms: u64, timings: &Timings, past: &BTreeMap<String, Told>) -> Markup {
    let now = clock::wall_seconds();
    let outages = outages(past);
    html! {
        h2 { "Beats and outages" }
        @for (name, bars, minutes) in SPANS {
            @let seconds = i64::try_from(bars * minutes * 60).unwrap_or(i64::MAX);
            @let shown: Vec<&Outage<'_>> = outages.iter().filter(|one| (0..seconds).contains(&now.saturating_sub(one.until))).collect();
            (picture(name, node, ttl_ms, &timings.beats(bars, minutes), &shown, (now, seconds)))
        }
    }
}

/// Of all groups, as far as their history was read.
fn outages(past: &BTreeMap<String, Told>) -> Vec<Outage<'_>> {
    let all = past.iter().flat_map(|(group, told)| {
        told.epochs().iter().filter_map(move |epoch| {
            let begun = epoch.begun.as_ref().filter(|begun| begun.from.is_some())?;
            let (until, ms) = (seconds_of(&begun.at)?, epoch.total_ms?);
            Some(Outage { group, until, ms })
        })
    });
    all.collect()
}

/// Seconds since 1970 of a time in RFC 3339; none where it is something else.
fn seconds_of(stamp: &str) -> Option<i64> {
    let at: jiff::Timestamp = stamp.parse().ok()?;
    Some(at.as_second())
}

fn picture(
    name: &str,
    node: &str,
    ttl_ms: u64,
    beats: &[Option<Beats>],
    outages: &[&Outage<'_>],
    (now, seconds): (i64, i64),
) -> Markup {
    let step = WIDTH / u64::try_from(beats.len()).unwrap_or(WIDTH).max(1);
    let bars = (0_u64..)
        .zip(beats)
        .map(|(number, beats)| (number * step, height(*beats, ttl_ms), *beats));
    let words = in_words(name, node, beats, outages);
    html! {
        figure {
            svg.beats viewBox={ "0 0 " (WIDTH) " 56" } preserveAspectRatio="none" role="img" aria-label=(words) {
                @for (x, height, beats) in bars {
                    rect.(class(beats)) x=(x) y=(BARS_MAX - height) width=(step.saturating_sub(1).max(1)) height=(height) {}
                }
                @for outage in outages {
                    rect.p-silence x=(place(now - outage.until, seconds)) y=(MARKS_FROM) width=(mark(outage.ms, seconds)) height="12" {}
                }
            }
            figcaption.quiet { (words) }
        }
    }
}

fn class(beats: Option<Beats>) -> &'static str {
    match beats {
        None => "unseen",
        Some(Beats { failed: 0, .. }) => "beat",
        Some(_) => "missed",
    }
}

/// From a short stroke for no time at all to the whole height for as long as a lease lasts.
fn height(beats: Option<Beats>, ttl_ms: u64) -> u64 {
    match beats {
        None
        | Some(Beats {
            answered: 0, failed: 0, ..
        }) => 1,
        Some(Beats { answered: 0, .. }) => BARS_MAX,
        Some(Beats { slowest_ms, .. }) => {
            let digits = |ms: u64| u64::from(ms.saturating_add(2).ilog2());
            (BARS_MAX * digits(u64::from(slowest_ms)) / digits(ttl_ms)).clamp(3, BARS_MAX)
        }
    }
}

/// Where something lies that was so long ago.
fn place(ago: i64, seconds: i64) -> u64 {
    let ago = u64::try_from(ago).unwrap_or(0);
    let seconds = u64::try_from(seconds).unwrap_or(1).max(1);
    WIDTH
        .saturating_sub(MARK_LEAST)
        .saturating_sub(WIDTH.saturating_mul(ago) / seconds)
}

fn mark(ms: u64, seconds: i64) -> u64 {
    let seconds = u64::try_from(seconds).unwrap_or(1).max(1);
    (WIDTH.saturating_mul(ms / 1000) / seconds).clamp(MARK_LEAST, WIDTH)
}

/// The same in words, for those who see no pictures.
fn in_words(name: &str, node: &str, beats: &[Option<Beats>], outages: &[&Outage<'_>]) -> String {
    let seen = beats.iter().flatten();
    let (answered, failed, slowest) = seen.fold((0_u64, 0_u64, 0_u64), |(answered, failed, slowest), beats| {
        (
            answered + u64::from(beats.answered),
            failed + u64::from(beats.failed),
            slowest.max(u64::from(beats.slowest_ms)),
        )
    });
    let missed = if failed == 0 {
        String::new()
    } else {
        format!("; {failed} were not")
    };
    let first = match answered {
        0 => format!("{name}: no beat of {node} was answered{missed}."),
        _ => format!(
            "{name}: {answered} beats of {node} were answered, the slowest within {}{missed}.",
            span(slowest)
        ),
    };
    let mut groups: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for Outage { group, ms, .. } in outages {
        let (count, sum) = groups.entry(group).or_default();
        (*count, *sum) = (*count + 1, sum.saturating_add(*ms));
    }
    let moved = groups.into_iter().map(|(group, (count, ms))| {
        let times = if count == 1 { "once" } else { "in all" };
        format!("{group} moved, without service for {} {times}.", span(ms))
    });
    let mut words: Vec<String> = [first].into_iter().chain(moved).collect();
    if outages.is_empty() {
        words.push("No move was an outage.".to_owned());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beats(answered: u32, failed: u32, slowest_ms: u32) -> Option<Beats> {
        Some(Beats {
            answered,
            failed,
            slowest_ms,
        })
    }

    #[test]
    fn a_bar_grows_with_its_slowest_beat_and_is_never_higher_than_the_picture() {
        let heights: Vec<u64> = [
            None,
            beats(0, 0, 0),
            beats(9, 0, 0),
            beats(9, 0, 2),
            beats(9, 0, 200),
            beats(9, 0, 8000),
            beats(0, 3, 0),
        ]
        .into_iter()
        .map(|beats| height(beats, 8000))
        .collect();
        assert!(
            heights.is_sorted() && heights[0] == 1 && heights[6] == BARS_MAX,
            "{heights:?}"
        );
        assert_eq!(height(beats(1, 0, u32::MAX), 0), BARS_MAX);
        assert_eq!((place(0, 3600), place(3600, 3600), place(i64::MAX, 1)), (956, 0, 0));
        assert_eq!((mark(0, 3600), mark(60_000, 3600), mark(u64::MAX, 1)), (4, 16, 960));
    }

    #[test]
    fn the_picture_is_said_in_words_too() {
        let shown = [
            Outage {
                group: "mail",
                until: 90,
                ms: 1200,
            },
            Outage {
                group: "mail",
                until: 95,
                ms: 800,
            },
            Outage {
                group: "web",
                until: 99,
                ms: 500,
            },
        ];
        let shown: Vec<&Outage<'_>> = shown.iter().collect();
        let seen = [None, beats(40, 2, 210), beats(60, 0, 3)];
        let page = picture("The last hour", "a", 8000, &seen, &shown, (100, 3600)).into_string();
        let words = "The last hour: 100 beats of a were answered, the slowest within 210 ms; 2 were not. mail moved, without service \
                     for 2.0 s in all. web moved, without service for 500 ms once.";
        assert_eq!(page.matches(words).count(), 2, "{page}");
        for (class, count) in [("unseen", 1), ("missed", 1), ("beat", 1), ("p-silence", 3)] {
            assert_eq!(
                page.matches(&format!("class=\"{class}\"")).count(),
                count,
                "{class}: {page}"
            );
        }
        let none = picture("The last day", "a", 8000, &[None; 96], &[], (100, 86_400)).into_string();
        assert!(
            none.contains("no beat of a was answered. No move was an outage."),
            "{none}"
        );
    }
}
