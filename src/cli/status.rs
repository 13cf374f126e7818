//! `leasehold status`: the cluster as this node sees it, in two tables or as JSON.

use std::process::ExitCode;

use anyhow::Result;

use super::client;
use super::text::{print, table};
use crate::core::status::{GroupLine, Status};
use crate::node_facts::NodeFacts;

pub(super) async fn show(facts: &NodeFacts, json: bool) -> Result<ExitCode> {
    let status = client::status(facts).await?;
    if json {
        print(&serde_json::to_string_pretty(&status)?);
    } else {
        print(&render(&status));
    }
    Ok(ExitCode::from(status.overall.health.code()))
}

fn render(status: &Status) -> String {
    let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
    let mut groups = vec![row(&["GROUP", "HOLDER", "EPOCH", "HERE", "ADDRESSES", "LAST"])];
    for (name, line) in &status.groups {
        groups.push(row(&[
            name,
            line.holder.as_deref().unwrap_or("-"),
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
        let readiness = if line.state == "alive" {
            readiness
        } else {
            "-".to_owned()
        };
        nodes.push(row(&[
            name,
            &line.state,
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
        text.push_str(&format!("\n! {sentence}"));
    }
    if !status.reason.is_empty() {
        text.push_str(&format!("\nlast decision of {}: {}", status.node, status.reason));
    }
    text
}

fn here(line: &GroupLine) -> String {
    match &line.held {
        Some(held) => format!("{} {}", held.stage, held.run),
        None => line.state.clone(),
    }
}
