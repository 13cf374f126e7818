//! `leasehold history GROUP`: every outage with its cause and its phases, what they come to each month, and what operators
//! asked for.

mod etcd;
mod months;

use anyhow::Result;
use serde::Serialize;

use self::months::Sum;
use super::answer::Answer;
use super::client::{self, Daemon};
use super::page::{Page, Piece, Tone, View, plain};
use super::text::say;
use super::when;
use crate::NodeArgs;
use leasehold_api::history::{AuditEntry, Epoch, History, Phase};
use leasehold_api::words::Before;

/// For machines: as `/v1` has it, with what it comes to.
#[derive(Debug, Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    history: &'a History,
    #[serde(flatten)]
    sum: &'a Sum,
}

pub(super) async fn show(daemon: &Daemon, facts: &NodeArgs, group: &str) -> Result<Answer> {
    let history = match client::history(daemon, group).await {
        Ok(Ok(history)) => history,
        Ok(Err(outcome)) => return Ok(client::conclude(&outcome)),
        Err(error) => {
            say(&format!("leasehold: {error:#}; reading etcd directly"));
            etcd::read(facts, group).await?
        }
    };
    let view = View::of_stdout();
    let sum = Sum::of(&history.epochs, view.now);
    let page = render(&history, &sum, view);
    let (history, sum) = (&history, &sum);
    Answer::page(&Document { history, sum }, &page)
}

fn render(history: &History, sum: &Sum, view: View) -> Page {
    let mut page = Page::new(view);
    match &sum.since {
        Some(since) => {
            let since = when::to_the_minute(since);
            page.line(
                &[plain(format!(
                    "{}: the records reach back to {since} UTC",
                    history.group
                ))],
                2,
            );
        }
        None => page.line(&[plain(format!("{}: no epoch is written down yet", history.group))], 2),
    }
    if !history.epochs.is_empty() {
        page.gap();
        page.table(
            &["EPOCH", "WHEN (UTC)", "MOVE", "OUTAGE", "CAUSE"],
            &outages(&history.epochs),
        );
    }
    if !sum.months.is_empty() {
        page.gap();
    }
    for month in &sum.months {
        page.line(&[plain(month.sentence())], 9);
    }
    let note = |page: &mut Page, text: String| page.line(&[Piece::new(Tone::Faint, text)], 2);
    if let Some(until) = &sum.until {
        let until = when::to_the_minute(until);
        note(
            &mut page,
            format!("nobody has it since {until} UTC: no later time is counted"),
        );
    }
    if let Some(open) = sum.open.filter(|_| !sum.months.is_empty()) {
        note(
            &mut page,
            format!("epoch {open} goes on: its restarts in place are written when it ends"),
        );
    }
    if !history.acts.is_empty() {
        page.gap();
        page.line(&[plain("asked by operators:")], 2);
        for act in &history.acts {
            page.line(&act_line(act), 2);
        }
    }
    page
}

/// A row for each epoch, with its phases below, and one for those that nobody wrote of.
fn outages(epochs: &[Epoch]) -> Vec<(Vec<Piece>, Vec<Piece>)> {
    let mut rows = Vec::new();
    let mut before: Option<&Epoch> = None;
    for epoch in epochs {
        let number = epoch.epoch;
        if let Some(last) = before.filter(|last| last.epoch + 1 < number) {
            let missing = match (last.epoch + 1, number - 1) {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            };
            let cells = [missing.as_str(), "-", "-", "?", "nobody wrote of it"];
            rows.push((cells.map(plain).to_vec(), Vec::new()));
        }
        let below = detail(epoch, before.filter(|last| last.epoch + 1 == number));
        rows.push((
            row(epoch),
            below.map(|text| Piece::new(Tone::Faint, text)).into_iter().collect(),
        ));
        before = Some(epoch);
    }
    rows
}

fn row(epoch: &Epoch) -> Vec<Piece> {
    let outage = epoch.total_ms.map_or("?".to_owned(), when::took);
    let (at, from_to, cause) = match (&epoch.begun, &epoch.left) {
        (Some(begun), _) => {
            let from = begun.from.as_deref().unwrap_or("-");
            (
                begun.at.as_str(),
                format!("{from} -> {}", begun.to),
                begun.cause.as_str(),
            )
        }
        (None, Some(left)) => (left.at.as_str(), format!("? -> {}", left.node), "?"),
        (None, None) => ("?", "?".to_owned(), "?"),
    };
    let number = epoch.epoch.to_string();
    let when = when::to_the_minute(at);
    [number.as_str(), &when, &from_to, &outage, cause].map(plain).to_vec()
}

/// The phases in their order: those of the stop before, then those of the start.
fn detail(epoch: &Epoch, before: Option<&Epoch>) -> Option<String> {
    let stop = before.and_then(|before| before.left.as_ref());
    let released = epoch
        .begun
        .as_ref()
        .is_some_and(|begun| begun.before == Before::Release);
    let of_stop = stop.filter(|_| released).map_or(&[][..], |left| &left.phases);
    let of_start = epoch.begun.as_ref().map_or(&[][..], |begun| &begun.phases);
    let mut parts: Vec<String> = of_stop.iter().chain(of_start).map(phase).collect();
    parts.extend(epoch.unknown.clone());
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn phase(phase: &Phase) -> String {
    format!("{} {} ms", phase.what, phase.ms)
}

fn act_line(act: &AuditEntry) -> Vec<Piece> {
    let what = [Some(&act.verb), act.group.as_ref(), act.node.as_ref()];
    let what: Vec<&str> = what.into_iter().flatten().map(String::as_str).collect();
    let why = if act.why.is_empty() {
        String::new()
    } else {
        format!(" ({})", act.why)
    };
    let (outcome, tone) = if act.accepted {
        ("", Tone::Plain)
    } else {
        ("refused: ", Tone::Warning)
    };
    let who = format!(
        "{}  {}  {}{why}: ",
        when::to_the_minute(&act.at),
        act.by,
        what.join(" ")
    );
    vec![plain(who), Piece::new(tone, format!("{outcome}{}", act.answer))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_api::history::{Begun, Left};
    use leasehold_api::words::PhaseKind;

    fn phases(of: &[(&str, u64)]) -> Vec<Phase> {
        let phase = |(what, ms): &(&str, u64)| Phase {
            what: PhaseKind::from((*what).to_owned()),
            ms: *ms,
        };
        of.iter().map(phase).collect()
    }

    fn begun(epoch: u64, from: Option<&str>, to: &str, cause: &str, before: Before, of: &[(&str, u64)]) -> Begun {
        Begun {
            epoch,
            from: from.map(str::to_owned),
            to: to.to_owned(),
            cause: cause.to_owned(),
            at: format!("2026-11-0{epoch}T00:00:00Z"),
            before,
            phases: phases(of),
            served: epoch != 5,
        }
    }

    fn three() -> Vec<Epoch> {
        let start = [("containers", 300)];
        let first = Epoch {
            epoch: 1,
            begun: Some(begun(1, None, "a", "first start", Before::Nothing, &start)),
            left: Some(Left {
                epoch: 1,
                node: "a".to_owned(),
                cause: "switchover".to_owned(),
                at: "2026-11-02T00:00:00Z".to_owned(),
                phases: phases(&[("stop", 200), ("release", 12)]),
                runs: 1,
            }),
            total_ms: Some(300),
            unknown: None,
        };
        let taken = [("take-over", 15)];
        let second = Epoch {
            epoch: 2,
            begun: Some(begun(2, Some("a"), "b", "switchover to b", Before::Release, &taken)),
            total_ms: Some(227),
            ..Epoch::default()
        };
        let silence = [("silence", 5011)];
        let fifth = Epoch {
            epoch: 5,
            begun: Some(begun(5, Some("b"), "a", "b fell silent", Before::Silence, &silence)),
            unknown: Some("a has not written that it serves".to_owned()),
            ..Epoch::default()
        };
        vec![first, second, fifth]
    }

    #[test]
    fn it_reads_as_a_table_the_months_and_the_acts() {
        let asked = AuditEntry {
            at: "2026-11-01T23:59:59Z".to_owned(),
            by: "ann on a".to_owned(),
            verb: "switchover".to_owned(),
            group: Some("mail".to_owned()),
            node: Some("b".to_owned()),
            why: "new disk".to_owned(),
            accepted: false,
            answer: "b is not ready".to_owned(),
        };
        let history = History {
            group: "mail".to_owned(),
            epochs: three(),
            acts: vec![asked],
        };
        let wanted = "mail: the records reach back to 2026-11-01 00:00 UTC\n\n\
                      EPOCH  WHEN (UTC)        MOVE    OUTAGE  CAUSE\n\
                      1      2026-11-01 00:00  - -> a  0.3 s   first start\n  containers 300 ms\n\
                      2      2026-11-02 00:00  a -> b  0.2 s   switchover to b\n  \
                      stop 200 ms, release 12 ms, take-over 15 ms\n\
                      3-4    -                 -       ?       nobody wrote of it\n\
                      5      2026-11-05 00:00  b -> a  ?       b fell silent\n  \
                      silence 5011 ms, a has not written that it serves\n\n\
                      2026-11  availability at most 99.99 %, 2 moves, 0.2 s, and 3 outages of unknown length\n\
                      epoch 5 goes on: its restarts in place are written when it ends\n\n\
                      asked by operators:\n\
                      2026-11-01 23:59  ann on a  switchover mail b (new disk): refused: b is not ready";
        let sum = Sum::of(&history.epochs, when::seconds("2026-11-06T00:00:00Z").unwrap());
        let view = View { width: None, now: 0 };
        assert_eq!(render(&history, &sum, view).text(), wanted);
        let narrow = render(
            &history,
            &sum,
            View {
                width: Some(80),
                ..view
            },
        )
        .text();
        assert!(narrow.lines().all(|line| line.chars().count() <= 80), "{narrow}");
        let (history, sum) = (&history, &sum);
        let machine = serde_json::to_value(Document { history, sum }).unwrap();
        assert_eq!(machine["months"][0]["unknown"], 3);
        assert_eq!(
            (&machine["epochs"][1]["epoch"], &machine["since"]),
            (&2.into(), &"2026-11-01T00:00:00Z".into())
        );
    }

    #[test]
    fn nothing_written_is_said() {
        let empty = History {
            group: "mail".to_owned(),
            ..History::default()
        };
        let shown = render(&empty, &Sum::default(), View { width: None, now: 0 });
        assert_eq!(shown.text(), "mail: no epoch is written down yet");
    }
}
