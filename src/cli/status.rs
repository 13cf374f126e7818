//! `leasehold status`: the cluster as this node sees it, in two tables or as JSON.

use anyhow::Result;

use super::answer::Answer;
use super::client::{self, Daemon};
use super::plain::part;
use super::text::table;
use leasehold_api::status::{GroupLine, Status};
use leasehold_api::words::{Health, NodeState};

/// Where no sidecar answers, nothing is known: that is no mere warning.
pub(super) async fn show(daemon: &Daemon) -> Result<Answer> {
    match client::status(daemon).await {
        Ok(status) => Ok(Answer::document(&status, render(&status))?.code(status.overall.health.code())),
        Err(error) => Ok(Answer::bad(format!("{error:#}")).code(Health::Unknown.code())),
    }
}

pub(super) fn render(status: &Status) -> String {
    let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let mut groups = vec![row(&["GROUP", "HOLDER", "EPOCH", "HERE", "ADDRESSES", "LAST"])];
    for (name, line) in &status.groups {
        groups.push(row(&[
            name,
            &holder(line),
            &line.epoch.to_string(),
            &here(line),
            &line.vips.join(" "),
            &line.reason,
        ]));
    }
    let mut nodes = vec![row(&["NODE", "STATE", "PRIORITY", "VERSION", "READINESS"])];
    for (name, line) in &status.nodes {
        let mut unready = line
            .groups
            .iter()
            .filter(|(_, why)| !why.is_empty())
            .map(|(group, why)| format!("{group}: {why}"));
        let readiness = unready.next().unwrap_or_else(|| "ready".to_owned());
        let readiness = if line.state == NodeState::Alive {
            readiness
        } else {
            "-".to_owned()
        };
        nodes.push(row(&[
            name,
            line.state.word(),
            &line.priority.to_string(),
            &line.version,
            &readiness,
        ]));
    }
    let age = status
        .etcd_age_ms
        .map_or("never read".to_owned(), |ms| format!("read {ms} ms ago"));
    let mut text = format!(
        "cluster {}, seen from {} ({}; etcd {age}; ttl {} ms)\n\n{}\n\n{}",
        status.cluster,
        status.node,
        status.member,
        status.ttl_ms,
        table(&groups),
        table(&nodes)
    );
    text.push_str(&format!("\n\nhealth: {}", status.overall.health.word()));
    for sentence in &status.overall.sentences {
        text.push_str(&format!("\n! {}", part(sentence)));
    }
    if !status.reason.is_empty() {
        text.push_str(&format!("\nlast decision of {}: {}", status.node, part(&status.reason)));
    }
    text
}

fn holder(line: &GroupLine) -> String {
    match (&line.holder, &line.trouble) {
        (Some(holder), Some(trouble)) => format!("{holder} ({})", trouble.state),
        (Some(holder), None) => holder.clone(),
        (None, _) => "-".to_owned(),
    }
}

fn here(line: &GroupLine) -> String {
    match &line.held {
        Some(held) if line.stuck.is_some() => format!("stuck {}", held.run),
        Some(held) => format!("{} {}", held.stage, held.run),
        None => line.state.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_api::status::{HeldLine, NodeLine, Overall, Trouble};
    use leasehold_api::words::{MemberState, Stage, TroubleState};

    fn status(stuck: Option<&str>, holder: Option<&str>) -> Status {
        let line = GroupLine {
            holder: holder.map(str::to_owned),
            stuck: stuck.map(str::to_owned),
            held: stuck.map(|_| HeldLine {
                run: "3.1".into(),
                stage: Stage::Stopping,
                ..HeldLine::default()
            }),
            reason: stuck.unwrap_or_default().to_owned(),
            ..GroupLine::default()
        };
        let alive = NodeLine {
            state: NodeState::Alive,
            ..NodeLine::default()
        };
        Status {
            member: MemberState::Joined,
            nodes: [("a".to_owned(), alive)].into(),
            groups: [("mail".to_owned(), line)].into(),
            ..Status::default()
        }
    }

    #[test]
    fn what_the_holder_says_stands_beside_its_name() {
        let mut shown = status(None, Some("a"));
        assert!(!render(&shown).contains("a ("), "{}", render(&shown));
        for line in shown.groups.values_mut() {
            line.trouble = Some(Trouble {
                state: TroubleState::Sick,
                why: "smtp 25: refused".to_owned(),
            });
        }
        shown.overall = Overall {
            health: Health::Failed,
            sentences: vec!["mail is sick on a: smtp 25: refused".to_owned()],
        };
        let text = render(&shown);
        assert!(
            text.contains("a (sick)") && text.contains("\n! mail is sick on a: smtp 25: refused"),
            "{text}"
        );
    }

    #[test]
    fn a_group_that_is_stuck_says_so_with_its_remedy() {
        let shown = render(&status(Some("stuck on a (why): run `leasehold fenced a`"), Some("a")));
        assert!(
            shown.contains("stuck 3.1") && shown.contains("run `leasehold fenced a`"),
            "{shown}"
        );
    }

    #[test]
    fn the_words_of_a_later_sidecar_are_shown_as_they_are() {
        let mut later = status(None, Some("a"));
        later.member = MemberState::Other("hibernating".to_owned());
        later.overall.health = Health::Other("splendid".to_owned());
        later.nodes.get_mut("a").unwrap().state = NodeState::Other("drowsy".to_owned());
        let shown = render(&later);
        for words in ["(hibernating; ", "health: splendid", "a     drowsy"] {
            assert!(shown.contains(words), "{words}: {shown}");
        }
        assert_eq!(later.overall.health.code(), Health::Unknown.code());
    }
}
