//! `leasehold node list`: who belongs to the cluster, who beats, who holds what.

use anyhow::Result;
use serde_json::json;

use super::answer::Answer;
use super::client::{self, Daemon};
use super::text::table;
use leasehold_api::status::{NodeLine, Status};
use leasehold_api::words::NodeState;

pub(super) async fn list(daemon: &Daemon) -> Result<Answer> {
    let status = client::status(daemon).await?;
    Answer::document(&listed(&status), render(&status))
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

fn render(status: &Status) -> String {
    let head = [
        "NODE",
        "STATE",
        "LAST BEAT",
        "PRIORITY",
        "VERSION",
        "ADDRESS",
        "HOLDS",
        "READINESS",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (name, line) in &status.nodes {
        let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        rows.push(vec![
            name.clone(),
            line.state.to_string(),
            last_seen(line),
            line.priority.to_string(),
            or_none(line.version.clone()),
            or_none(line.address.clone()),
            or_none(held(status, name).join(" ")),
            readiness(line),
        ]);
    }
    table(&rows)
}

fn last_seen(line: &NodeLine) -> String {
    match (line.beat_ms, line.away_s) {
        (Some(ms), _) => format!("{ms} ms ago"),
        (None, Some(seconds @ ..7200)) => format!("{} min ago", seconds / 60),
        (None, Some(seconds @ ..172_800)) => format!("{} hours ago", seconds / 3600),
        (None, Some(seconds)) => format!("{} days ago", seconds / 86_400),
        (None, None) => "-".to_owned(),
    }
}

fn readiness(line: &NodeLine) -> String {
    if line.state != NodeState::Alive {
        return "-".to_owned();
    }
    if let Some(order) = &line.drained {
        return format!("drained {order}");
    }
    let unready = line.groups.iter().filter(|(_, why)| !why.is_empty());
    let unready: Vec<String> = unready.map(|(group, why)| format!("{group}: {why}")).collect();
    if unready.is_empty() {
        "ready".to_owned()
    } else {
        unready.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_api::status::GroupLine;

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
    fn each_node_has_its_line() {
        let wanted = "NODE  STATE   LAST BEAT   PRIORITY  VERSION  ADDRESS        HOLDS     READINESS\n\
                      a     alive   120 ms ago  10        1        10.0.0.1:8008  mail web  ready\n\
                      b     alive   3 ms ago    10        1        10.0.0.1:8008  -         mail: no image\n\
                      c     silent  -           10        -        10.0.0.1:8008  -         -";
        assert_eq!(render(&status()), wanted);
        let mut away = status();
        let c = away.nodes.get_mut("c").unwrap();
        (c.state, c.away_s) = (NodeState::Away, Some(3 * 86_400));
        assert!(render(&away).contains("c     away   3 days ago"), "{}", render(&away));
        let mut drained = status();
        let b = drained.nodes.get_mut("b").unwrap();
        b.drained = Some("by ann at noon".to_owned());
        assert!(render(&drained).contains("-         drained by ann at noon"));
    }

    #[test]
    fn the_list_for_machines_names_what_is_held() {
        let listed = listed(&status());
        assert_eq!(listed[0]["name"], "a");
        assert_eq!(listed[0]["holds"], json!(["mail", "web"]));
        assert_eq!(listed[1]["node"]["groups"]["mail"], "no image");
    }
}
