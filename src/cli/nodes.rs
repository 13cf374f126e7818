//! `leasehold node list`: who belongs to the cluster, who beats, who holds what.

use anyhow::Result;
use serde_json::json;

use super::answer::Answer;
use super::client::{self, Daemon};
use super::page::{Page, View, plain};
use super::status::{last_seen, or_none, readiness, state};
use leasehold_api::status::{NodeLine, Status};

pub(super) async fn list(daemon: &Daemon) -> Result<Answer> {
    let status = client::status(daemon).await?;
    Answer::page(&listed(&status), &render(&status, View::of_stdout()))
}

/// Each node as `status` has it, with what it holds.
fn listed(status: &Status) -> serde_json::Value {
    let nodes = status
        .nodes
        .iter()
        .map(|(name, line)| json!({ "name": name, "holds": held(status, name), "node": line }));
    nodes.collect()
}

fn held<'a>(status: &'a Status, node: &str) -> Vec<&'a str> {
    let held = status
        .groups
        .iter()
        .filter(|(_, line)| line.holder.as_deref() == Some(node));
    held.map(|(name, _)| name.as_str()).collect()
}

fn render(status: &Status, view: View) -> Page {
    let head = [
        "NODE",
        "STATE",
        "LAST BEAT",
        "PRIO",
        "VERSION",
        "ADDRESS",
        "HOLDS",
        "READINESS",
    ];
    let row = |(name, line): (&String, &NodeLine)| {
        let (ready, below) = readiness(line, view);
        let cells = vec![
            plain(name),
            state(line),
            plain(last_seen(line)),
            plain(line.priority.to_string()),
            plain(or_none(&line.version)),
            plain(or_none(&line.address)),
            plain(or_none(&held(status, name).join(" "))),
            ready,
        ];
        (cells, below)
    };
    let mut page = Page::new(view);
    page.table(&head, &status.nodes.iter().map(row).collect::<Vec<_>>());
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_api::status::GroupLine;
    use leasehold_api::words::NodeState;

    fn status() -> Status {
        let node = |state, beat_ms, why: &str| NodeLine {
            state,
            beat_ms,
            priority: 10,
            version: "1".to_owned(),
            address: "10.0.0.1:8008".to_owned(),
            groups: [("mail".to_owned(), why.to_owned())].into(),
            ..NodeLine::default()
        };
        let group = |holder: &str| GroupLine {
            holder: Some(holder.to_owned()),
            ..GroupLine::default()
        };
        let mut nodes = [
            ("a".to_owned(), node(NodeState::Alive, Some(120), "")),
            ("b".to_owned(), node(NodeState::Alive, Some(3), "no image")),
            ("c".to_owned(), node(NodeState::Silent, None, "")),
        ];
        nodes[2].1.version = String::new();
        Status {
            nodes: nodes.into(),
            groups: [("mail".to_owned(), group("a")), ("web".to_owned(), group("a"))].into(),
            ..Status::default()
        }
    }

    #[test]
    fn each_node_has_its_line_and_why_it_is_not_ready_below() {
        let shown = |status: &Status, width| render(status, View { width, now: 0 }).text();
        let wanted = "NODE  STATE   LAST BEAT  PRIO  VERSION  ADDRESS        HOLDS     READINESS\n\
                      a     alive   0.1 s ago  10    1        10.0.0.1:8008  mail web  ready\n\
                      b     alive   now        10    1        10.0.0.1:8008  -         unready\n  mail: no image\n\
                      c     silent  -          10    -        10.0.0.1:8008  -         -";
        assert_eq!(shown(&status(), None), wanted);
        assert!(shown(&status(), Some(80)).lines().all(|line| line.len() <= 80));
        let mut away = status();
        let c = away.nodes.get_mut("c").unwrap();
        (c.state, c.away_s) = (NodeState::Away, Some(3 * 86_400));
        assert!(
            shown(&away, None).contains("c     away   3 days ago"),
            "{}",
            shown(&away, None)
        );
        let mut drained = status();
        let b = drained.nodes.get_mut("b").unwrap();
        b.drained = Some("by ann at 1970-01-01T01:00:00Z".to_owned());
        let text = shown(&drained, None);
        assert!(text.contains("-         drained\n  drained by ann in 60 min"), "{text}");
    }

    #[test]
    fn the_list_for_machines_names_what_is_held() {
        let listed = listed(&status());
        assert_eq!(listed[0]["name"], "a");
        assert_eq!(listed[0]["holds"], json!(["mail", "web"]));
        assert_eq!(listed[1]["node"]["groups"]["mail"], "no image");
    }
}
