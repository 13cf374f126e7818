//! `leasehold history GROUP`: every epoch with its cause and its times, and what operators asked for.

mod etcd;

use anyhow::Result;

use super::answer::Answer;
use super::client::{self, Daemon};
use super::plain::part;
use super::text::{say, table};
use crate::NodeArgs;
use leasehold_api::history::{AuditEntry, Epoch, History, Phase};
use leasehold_api::words::Before;

pub(super) async fn show(daemon: &Daemon, facts: &NodeArgs, group: &str) -> Result<Answer> {
    let history = match client::history(daemon, group).await {
        Ok(Ok(history)) => history,
        Ok(Err(outcome)) => return Ok(client::conclude(&outcome)),
        Err(error) => {
            say(&format!("leasehold: {error:#}; reading etcd directly"));
            etcd::read(facts, group).await?
        }
    };
    Answer::document(&history, render(&history))
}

fn render(history: &History) -> String {
    let head = ["EPOCH", "WHEN", "MOVE", "TOTAL", "CAUSE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut details: Vec<String> = Vec::new();
    let mut before: Option<&Epoch> = None;
    for epoch in &history.epochs {
        let number = epoch.epoch;
        if let Some(last) = before.filter(|last| last.epoch + 1 < number) {
            let missing = match (last.epoch + 1, number - 1) {
                (first, last) if first == last => first.to_string(),
                (first, last) => format!("{first}-{last}"),
            };
            rows.push(
                [&missing, "-", "-", "-", "nobody wrote of it"]
                    .map(str::to_owned)
                    .to_vec(),
            );
        }
        rows.push(row(epoch));
        details.extend(detail(epoch, before.filter(|last| last.epoch + 1 == number)));
        before = Some(epoch);
    }
    let mut text = if history.epochs.is_empty() {
        format!("{}: no epoch is written down yet", history.group)
    } else {
        format!("{}\n\n{}", table(&rows), details.join("\n"))
    };
    if !history.acts.is_empty() {
        text.push_str("\n\nasked by operators:\n");
        text.push_str(&table(&history.acts.iter().map(act).collect::<Vec<_>>()));
    }
    text
}

fn row(epoch: &Epoch) -> Vec<String> {
    let total = epoch.total_ms.map_or("?".to_owned(), |ms| format!("{ms} ms"));
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
    vec![epoch.epoch.to_string(), at.to_owned(), from_to, total, cause.to_owned()]
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
    (!parts.is_empty()).then(|| format!("{}: {}", epoch.epoch, part(&parts.join(", "))))
}

fn phase(phase: &Phase) -> String {
    format!("{} {} ms", phase.what, phase.ms)
}

fn act(act: &AuditEntry) -> Vec<String> {
    let what = [Some(&act.verb), act.group.as_ref(), act.node.as_ref()];
    let what: Vec<&str> = what.into_iter().flatten().map(String::as_str).collect();
    let why = if act.why.is_empty() {
        String::new()
    } else {
        format!(" ({})", act.why)
    };
    let outcome = if act.accepted { "" } else { "refused: " };
    vec![
        act.at.clone(),
        act.by.clone(),
        format!("{}{why}", what.join(" ")),
        format!("{outcome}{}", act.answer),
    ]
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
            at: format!("{epoch}:00"),
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
                at: "2:00".to_owned(),
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
    fn it_reads_as_a_table_the_phases_and_the_acts() {
        let asked = AuditEntry {
            at: "1:59".to_owned(),
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
        let wanted = "EPOCH  WHEN  MOVE    TOTAL   CAUSE\n\
                      1      1:00  - -> a  300 ms  first start\n\
                      2      2:00  a -> b  227 ms  switchover to b\n\
                      3-4    -     -       -       nobody wrote of it\n\
                      5      5:00  b -> a  ?       b fell silent\n\n\
                      1: containers 300 ms\n\
                      2: stop 200 ms, release 12 ms, take-over 15 ms\n\
                      5: silence 5011 ms, a has not written that it serves\n\n\
                      asked by operators:\n\
                      1:59  ann on a  switchover mail b (new disk)  refused: b is not ready";
        assert_eq!(render(&history), wanted);
    }

    #[test]
    fn nothing_written_is_said() {
        let empty = History {
            group: "mail".to_owned(),
            ..History::default()
        };
        assert_eq!(render(&empty), "mail: no epoch is written down yet");
    }
}
