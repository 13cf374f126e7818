//! The moves of a group as bars: what each part of an outage took.

use maud::{Markup, html};

use super::look::{said, span, time};
use super::past::Told;
use leasehold_core::history::{Before, Epoch, Phase, PhaseKind};

/// Epochs shown.
const SHOWN_MAX: usize = 15;
/// The width of a bar in its own units.
const WIDTH: u64 = 1000;

/// An epoch with all that came between the service before it and its own.
struct Line<'a> {
    epoch: &'a Epoch,
    phases: Vec<&'a Phase>,
}

impl Line<'_> {
    fn total(&self) -> u64 {
        self.phases.iter().fold(0, |sum, phase| sum.saturating_add(phase.ms))
    }
}

/// The stop of an epoch is written by who left it, and belongs to the move that begins the next.
fn lines(epochs: &[Epoch]) -> Vec<Line<'_>> {
    let before = std::iter::once(None).chain(epochs.iter().map(Some));
    let all = epochs.iter().zip(before).map(|(epoch, before)| {
        let begun = epoch.begun.as_ref();
        let left = before
            .filter(|before| before.epoch + 1 == epoch.epoch)
            .and_then(|before| before.left.as_ref());
        let left = left.filter(|_| begun.is_some_and(|begun| begun.before == Before::Release));
        let stop = left.map_or(&[][..], |left| left.phases.as_slice());
        let start = begun.map_or(&[][..], |begun| begun.phases.as_slice());
        let phases = stop.iter().chain(start).collect();
        Line { epoch, phases }
    });
    let mut all: Vec<Line<'_>> = all.collect();
    all.reverse();
    all.truncate(SHOWN_MAX);
    all
}

fn class(kind: &PhaseKind) -> &'static str {
    match kind {
        PhaseKind::Silence => "p-silence",
        PhaseKind::TakeOver => "p-take-over",
        PhaseKind::Addresses => "p-addresses",
        PhaseKind::Containers => "p-containers",
        PhaseKind::Serving => "p-serving",
        PhaseKind::Stop => "p-stop",
        PhaseKind::Withdrawal => "p-withdrawal",
        PhaseKind::Release => "p-release",
        PhaseKind::Other(_) => "p-other",
    }
}

const KEY: [(PhaseKind, &str); 8] = [
    (PhaseKind::Silence, "silence: since the holder was last heard of"),
    (PhaseKind::Stop, "stop of the containers"),
    (PhaseKind::Withdrawal, "withdrawal of the addresses"),
    (PhaseKind::Release, "release in etcd"),
    (PhaseKind::TakeOver, "take-over in etcd"),
    (PhaseKind::Addresses, "addresses"),
    (PhaseKind::Containers, "containers"),
    (PhaseKind::Serving, "serving: until the probes pass"),
];

/// The parts in words, for those who see no bars.
fn in_words(phases: &[&Phase]) -> String {
    let parts: Vec<String> = phases
        .iter()
        .map(|phase| format!("{} {}", phase.what, span(phase.ms)))
        .collect();
    parts.join(", ")
}

fn bar(line: &Line<'_>, longest: u64) -> Markup {
    let scale = |ms: u64| ms.saturating_mul(WIDTH) / longest.max(1);
    let mut at = 0_u64;
    let parts: Vec<(u64, u64, &Phase)> = line
        .phases
        .iter()
        .map(|phase| {
            let from = at;
            at = from.saturating_add(phase.ms);
            // What took no time to speak of is to be seen all the same.
            (scale(from), scale(phase.ms).max(3), *phase)
        })
        .collect();
    html! {
        svg.bars viewBox={ "0 0 " (WIDTH) " 20" } preserveAspectRatio="none" role="img" aria-label=(in_words(&line.phases)) {
            @for (from, width, phase) in parts {
                rect.(class(&phase.what)) x=(from) y="0" width=(width) height="20" {
                    title { (phase.what) " " (span(phase.ms)) }
                }
            }
        }
    }
}

pub(super) fn show(told: &Told) -> Markup {
    let lines = lines(told.epochs());
    let longest = lines.iter().map(Line::total).max().unwrap_or(0);
    html! {
        h2 #moves { "Moves and restarts" }
        @if let Some(fault) = &told.fault {
            p.fault { "The history can't be read now: " (fault) ". What follows is as it was read last." }
        }
        @if lines.is_empty() { p.quiet { "None is known." } }
        @else {
            ul.key aria-label="Colours of the bars" {
                @for (kind, words) in &KEY {
                    li { svg viewBox="0 0 10 10" aria-hidden="true" { rect.(class(kind)) width="10" height="10" {} } (words) }
                }
            }
            div.scroll role="region" aria-labelledby="moves" tabindex="0" {
                table.cards role="table" {
                    caption { "The newest first. All bars have the same scale." }
                    thead role="rowgroup" { tr role="row" {
                        @for head in ["Epoch", "When", "Move", "Why", "Without service"] { th scope="col" role="columnheader" { (head) } }
                    } }
                    tbody role="rowgroup" { @for line in &lines { (row(line, longest)) } }
                }
            }
        }
    }
}

fn row(line: &Line<'_>, longest: u64) -> Markup {
    let Epoch {
        epoch,
        begun,
        left,
        total_ms,
        unknown,
    } = line.epoch;
    html! {
        tr role="row" {
            th scope="row" role="rowheader" { (epoch) }
            td role="cell" data-of="When" { @if let Some(begun) = begun { (time(&begun.at)) } }
            td role="cell" data-of="Move" {
                @if let Some(begun) = begun {
                    @if let Some(from) = &begun.from { (from) " to " }
                    (begun.to)
                }
                @if let Some(runs) = left.as_ref().map(|left| left.runs).filter(|runs| *runs > 1) {
                    small { (runs - 1) @if runs == 2 { " restart" } @else { " restarts" } " in place" }
                }
            }
            td role="cell" data-of="Why" {
                @if let Some(begun) = begun { (said(&begun.cause)) }
                @if let Some(left) = left { small { "Left: " (said(&left.cause)) } }
            }
            td role="cell" data-of="Without service" {
                @match (total_ms, unknown) {
                    (Some(ms), _) => strong { (span(*ms)) },
                    (None, Some(why)) => span.quiet { (why) },
                    (None, None) => {}
                }
                @if !line.phases.is_empty() { (bar(line, longest)) small { (in_words(&line.phases)) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::history::{Begun, Left};

    #[test]
    fn a_move_is_shown_with_the_stop_of_the_one_before() {
        let phases = |of: &[(PhaseKind, u64)]| -> Vec<Phase> {
            of.iter()
                .map(|(what, ms)| Phase {
                    what: what.clone(),
                    ms: *ms,
                })
                .collect()
        };
        let left = Left {
            epoch: 1,
            node: "a".to_owned(),
            cause: "by ann".to_owned(),
            at: String::new(),
            phases: phases(&[(PhaseKind::Stop, 300), (PhaseKind::Release, 0)]),
            runs: 3,
        };
        let begun = |before, epoch| Begun {
            epoch,
            from: Some("a".to_owned()),
            to: "b".to_owned(),
            cause: "<why>".to_owned(),
            at: "2026-11-30T18:02:50Z".to_owned(),
            before,
            phases: phases(&[
                (PhaseKind::TakeOver, 100),
                (PhaseKind::Other("farewell".to_owned()), 600),
            ]),
            served: true,
        };
        let epochs = [
            Epoch {
                epoch: 1,
                left: Some(left),
                ..Epoch::default()
            },
            Epoch {
                epoch: 2,
                begun: Some(begun(Before::Release, 2)),
                total_ms: Some(1000),
                ..Epoch::default()
            },
            Epoch {
                epoch: 3,
                begun: Some(begun(Before::Silence, 3)),
                ..Epoch::default()
            },
        ];
        let lines = lines(&epochs);
        let totals: Vec<(u64, u64)> = lines.iter().map(|line| (line.epoch.epoch, line.total())).collect();
        assert_eq!(totals, [(3, 700), (2, 1000), (1, 0)]);
        let text = row(&lines[1], 1000).into_string();
        assert!(
            text.contains("aria-label=\"stop 300 ms, release 0 ms, take-over 100 ms, farewell 600 ms\""),
            "{text}"
        );
        assert!(
            text.contains("class=\"p-stop\" x=\"0\" y=\"0\" width=\"300\""),
            "{text}"
        );
        assert!(
            text.contains("class=\"p-other\" x=\"400\" y=\"0\" width=\"600\""),
            "{text}"
        );
        assert!(text.contains("1.0 s") && text.contains("&lt;why&gt;"), "{text}");
        assert!(row(&lines[2], 1000).into_string().contains("2 restarts in place"));
    }

    /// What is read is bounded; a page adds up whatever it is given all the same.
    #[test]
    fn a_bar_ends_no_process() {
        let part = Phase {
            what: PhaseKind::Stop,
            ms: u64::MAX,
        };
        let epoch = Epoch::default();
        let line = Line {
            epoch: &epoch,
            phases: vec![&part, &part, &part],
        };
        assert!(bar(&line, line.total()).into_string().contains("<rect"));
    }
}
