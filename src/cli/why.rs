//! `leasehold why GROUP`: the sentence, the evidence, the last decisions.

use anyhow::Result;

use super::answer::Answer;
use super::client::{self, Daemon};
use super::page::{Page, Piece, Tone, View, plain};
use super::when;
use leasehold_api::Why;
use leasehold_api::status::GroupLine;
use leasehold_api::words::Level;

/// Where what goes on below begins, of a fact and of a decision.
const BELOW_FACT: usize = 12;
const BELOW_DECISION: usize = 4;

pub(super) async fn show(daemon: &Daemon, group: &str) -> Result<Answer> {
    match client::why(daemon, group).await? {
        Ok(why) => Answer::page(&why, &render(&why, View::of_stdout())),
        Err(outcome) => Ok(client::conclude(&outcome)),
    }
}

fn render(why: &Why, view: View) -> Page {
    let mut page = Page::new(view);
    page.line(
        &[
            plain(format!("{}: ", why.group)),
            plain(when::said(&why.sentence, view.now)),
        ],
        2,
    );
    for (name, value) in facts(&why.evidence) {
        if !value.is_empty() {
            let value = when::said(&value, view.now);
            page.line(
                &[Piece::new(Tone::Faint, format!("  {name:<9} ")), plain(value)],
                BELOW_FACT,
            );
        }
    }
    page.gap();
    page.line(
        &[Piece::new(Tone::Faint, format!("last decisions of {}:", why.node))],
        2,
    );
    for told in &why.decisions {
        let (mark, tone) = if told.level == Level::Alarm {
            ("!", Tone::Bad)
        } else {
            (" ", Tone::Plain)
        };
        let of = told
            .group
            .as_deref()
            .map_or(String::new(), |group| format!("{group}: "));
        let at = when::from_now(&told.at, view.now);
        let text = when::said(&told.text, view.now);
        let code = Piece::new(Tone::Faint, format!(" [{}]", told.code));
        page.line(
            &[Piece::new(tone, mark), plain(format!(" {at}  {of}{text}")), code],
            BELOW_DECISION,
        );
    }
    page
}

/// What the sentence rests on, by name; what is empty says nothing.
fn facts(line: &GroupLine) -> Vec<(&'static str, String)> {
    let said = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut facts = vec![("holder", line.holder.clone().unwrap_or_else(|| "nobody".to_owned()))];
    if let Some(trouble) = &line.trouble {
        facts.push(("trouble", format!("{}: {}", trouble.state, trouble.why)));
    }
    let because = if line.record.is_empty() { "" } else { ", because: " };
    facts.push(("epoch", format!("{}{because}{}", line.epoch, line.record)));
    if let Some(held) = &line.held {
        let valid = when::took(held.valid_ms);
        facts.push(("here", format!("run {} is {}, valid for {valid}", held.run, held.stage)));
        facts.push(("probes", said(&held.probe_failure)));
    } else if line.unready.is_empty() {
        facts.push(("here", "could take it over".to_owned()));
    } else {
        facts.push(("here", line.unready.clone()));
    }
    let unreached = [
        ("unreached", said(&line.unreached)),
        ("drift", said(&line.drift)),
        ("deleted", said(&line.deleted)),
    ];
    facts.extend(unreached);
    let set = line.set.iter();
    facts.extend(set.map(|(name, one)| {
        let by = one
            .set
            .as_ref()
            .map_or(String::new(), |by| format!(", by {} at {}", by.by, by.at));
        let whose = name
            .strip_prefix("priority.")
            .map_or("the file".to_owned(), |node| format!("{node} itself"));
        let file = one
            .file
            .as_ref()
            .map_or(String::new(), |file| format!(" ({whose} says {file})"));
        ("set", format!("{name}={}{file}{by}", one.value))
    }));
    let used = line.used.iter();
    facts.extend(used.map(|(node, by)| ("used", format!("by container {by} on {node}, without a lease"))));
    facts.extend(
        line.without
            .iter()
            .map(|(node, order)| ("excluded", format!("{node} {order}"))),
    );
    let orders = [
        ("stopped", &line.stopped),
        ("request", &line.wish),
        ("refused", &line.refused),
        ("paused", &line.paused),
    ];
    facts.extend(orders.map(|(name, text)| (name, said(text))));
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_api::LoggedDecision;
    use leasehold_api::status::Trouble;
    use leasehold_api::words::TroubleState;

    #[test]
    fn it_reads_from_the_sentence_down_to_the_decisions() {
        let why = Why {
            group: "mail".to_owned(),
            node: "b".to_owned(),
            sentence: "a holds it".to_owned(),
            evidence: GroupLine {
                holder: Some("a".to_owned()),
                epoch: 3,
                record: "b fell silent".to_owned(),
                paused: Some("by root on a at noon".to_owned()),
                trouble: Some(Trouble {
                    state: TroubleState::Sick,
                    why: "smtp 25: refused".to_owned(),
                }),
                ..GroupLine::default()
            },
            decisions: vec![LoggedDecision {
                at: "12:00".to_owned(),
                code: "service_failed".to_owned(),
                level: Level::Alarm,
                group: Some("mail".to_owned()),
                text: "smtp 25: refused".to_owned(),
            }],
        };
        assert_eq!(
            render(&why, View { width: None, now: 0 }).text(),
            "mail: a holds it\n  holder    a\n  trouble   sick: smtp 25: refused\n  epoch     3, because: b fell silent\n  here      could take it over\n  \
             paused    by root on a at noon\n\nlast decisions of b:\n! 12:00  mail: smtp 25: refused [service_failed]"
        );
    }
}
