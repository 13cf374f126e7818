//! `leasehold why GROUP`: the sentence, the evidence, the last decisions.

use anyhow::Result;

use super::answer::Answer;
use super::client::{self, Daemon};
use super::plain::part;
use leasehold_api::Why;
use leasehold_api::words::Level;

pub(super) async fn show(daemon: &Daemon, group: &str) -> Result<Answer> {
    match client::why(daemon, group).await? {
        Ok(why) => Answer::document(&why, render(&why)),
        Err(outcome) => Ok(client::conclude(&outcome)),
    }
}

fn render(why: &Why) -> String {
    let line = &why.evidence;
    let mut text = format!("{}: {}\n", why.group, part(&why.sentence));
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<9} {}\n", part(value)));
        }
    };
    fact("holder", line.holder.as_deref().unwrap_or("nobody"));
    if let Some(trouble) = &line.trouble {
        fact("trouble", &format!("{}: {}", trouble.state, trouble.why));
    }
    fact("epoch", &format!("{}, because: {}", line.epoch, line.record));
    if let Some(held) = &line.held {
        fact(
            "here",
            &format!("run {} is {}, valid for {} ms", held.run, held.stage, held.valid_ms),
        );
        fact("probes", held.probe_failure.as_deref().unwrap_or_default());
    } else {
        let ready = if line.unready.is_empty() {
            "could take it over"
        } else {
            &line.unready
        };
        fact("here", ready);
    }
    fact("unreached", line.unreached.as_deref().unwrap_or_default());
    fact("drift", line.drift.as_deref().unwrap_or_default());
    fact("deleted", line.deleted.as_deref().unwrap_or_default());
    for (node, by) in &line.used {
        fact("used", &format!("by container {by} on {node}, without a lease"));
    }
    for (node, order) in &line.without {
        fact("excluded", &format!("{node} {order}"));
    }
    fact("stopped", line.stopped.as_deref().unwrap_or_default());
    fact("request", line.wish.as_deref().unwrap_or_default());
    fact("refused", line.refused.as_deref().unwrap_or_default());
    fact("paused", line.paused.as_deref().unwrap_or_default());
    text.push_str(&format!("\nlast decisions of {}:\n", why.node));
    for told in &why.decisions {
        let mark = if told.level == Level::Alarm { "!" } else { " " };
        let of = told
            .group
            .as_deref()
            .map_or(String::new(), |group| format!("{group}: "));
        let line = format!("{mark} {}  {of}{} [{}]", told.at, told.text, told.code);
        text.push_str(&format!("{}\n", part(&line)));
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_api::LoggedDecision;
    use leasehold_api::status::{GroupLine, Trouble};
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
            render(&why),
            "mail: a holds it\n  holder    a\n  trouble   sick: smtp 25: refused\n  epoch     3, because: b fell silent\n  here      could take it over\n  \
             paused    by root on a at noon\n\nlast decisions of b:\n! 12:00  mail: smtp 25: refused [service_failed]"
        );
    }
}
