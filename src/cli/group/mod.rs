//! `leasehold group`: where a group may run, and whether it is there at all. What it takes away is an order in etcd; storage and
//! compose file are the operator's.

mod create;
mod delete;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::json;

use super::answer::Answer;
use super::client::{self, Daemon};
use super::page::{Page, View, plain};
use super::status::or_none;
use super::when;
use crate::NodeArgs;
use leasehold_api::ExtentRequest;
use leasehold_api::status::{GroupLine, Status};

/// How long a stop, and a start, are watched.
const MOVE_TIMEOUT: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

#[derive(Debug, Subcommand)]
pub(super) enum GroupVerb {
    /// Show every group: where it is, to which nodes it is extended, which orders stand
    List,
    /// Let a group that was deleted be looked after again: check it here, prepare its storage, then the first ready node starts it
    ///
    /// Refused while anything of it is wrong here, or while a container without a lease uses its storage on any host; then
    /// nothing is changed. Its epochs go on from where they were. A group that was never deleted is prepared as by `init`.
    Create {
        /// Name of the group in the compose file
        group: String,
        /// Take over mounts that already hold data
        #[arg(long)]
        adopt: bool,
        /// For the log and the history
        #[arg(long, default_value = "", hide_default_value = true)]
        why: String,
    },
    /// Let a node take a group again, after `unextend`
    Extend {
        /// Name of the group in the compose file
        group: String,
        /// The node's name, as `node list` shows it
        node: String,
        /// For the log and the history
        #[arg(long, default_value = "", hide_default_value = true)]
        why: String,
    },
    /// Let a node never take a group, until `extend`
    ///
    /// A drain of one node for one group. Refused while the node holds it (`switchover` moves it first) and where no other node
    /// would be left. The container that was prepared there stays, behind its closed gate.
    Unextend {
        /// Name of the group in the compose file
        group: String,
        /// The node's name, as `node list` shows it
        node: String,
        /// For the log, `status` and whoever asks later
        #[arg(long, default_value = "", hide_default_value = true)]
        why: String,
    },
    /// Delete a group: no node starts it any more, and its services can be made plain ones
    ///
    /// Refused while a node holds it. No volume is touched, nothing on one is deleted, and the record keeps its epoch. The patch
    /// that makes its services plain again goes to stdout, what to do with it to stderr. `group create` takes it back.
    Delete {
        /// Name of the group
        group: String,
        /// Stop it first, and wait until that is proved
        #[arg(long)]
        stop: bool,
        /// Do not ask for the group's name again
        #[arg(long)]
        yes: bool,
        /// For the log, `status` and whoever asks later
        #[arg(long, default_value = "", hide_default_value = true)]
        why: String,
    },
}

pub(super) async fn run(daemon: &Daemon, facts: &NodeArgs, verb: GroupVerb) -> Result<Answer> {
    match verb {
        GroupVerb::List => list(daemon).await,
        GroupVerb::Create { group, adopt, why } => create::create(daemon, facts, &group, adopt, why).await,
        GroupVerb::Extend { group, node, why } => extent(daemon, &group, node, "extend", why).await,
        GroupVerb::Unextend { group, node, why } => extent(daemon, &group, node, "unextend", why).await,
        GroupVerb::Delete { group, stop, yes, why } => delete::delete(daemon, facts, &group, stop, yes, &why).await,
    }
}

async fn extent(daemon: &Daemon, group: &str, node: String, verb: &str, why: String) -> Result<Answer> {
    let path = format!("/v1/groups/{group}/{verb}");
    let outcome = client::tell(daemon, &path, &ExtentRequest { node, why }).await?;
    Ok(client::conclude(&outcome))
}

async fn list(daemon: &Daemon) -> Result<Answer> {
    let status = client::status(daemon).await?;
    let each = status.groups.iter();
    let lines = each.map(|(name, line)| json!({ "name": name, "nodes": extended_to(&status, name), "group": line }));
    let lines: Vec<_> = lines.collect();
    Answer::page(&lines, &render(&status, View::of_stdout()))
}

/// The nodes that have it in their file and may take it.
fn extended_to<'a>(status: &'a Status, group: &str) -> Vec<&'a str> {
    let without = status.groups.get(group).map(|line| &line.without);
    let nodes = status.nodes.iter().filter(|(_, line)| line.groups.contains_key(group));
    let nodes = nodes.map(|(name, _)| name.as_str());
    nodes
        .filter(|name| without.is_none_or(|without| !without.contains_key(*name)))
        .collect()
}

fn render(status: &Status, view: View) -> Page {
    let row = |(name, line): (&String, &GroupLine)| {
        let cells = vec![
            plain(name),
            plain(or_none(line.holder.as_deref().unwrap_or_default())),
            plain(line.epoch.to_string()),
            plain(or_none(&extended_to(status, name).join(" "))),
        ];
        let orders = orders(line)
            .into_iter()
            .map(|order| plain(when::said(&order, view.now)));
        (cells, orders.collect())
    };
    let mut page = Page::new(view);
    let rows: Vec<_> = status.groups.iter().map(row).collect();
    page.table(&["GROUP", "HOLDER", "EPOCH", "EXTENDED TO"], &rows);
    page
}

fn orders(line: &GroupLine) -> Vec<String> {
    let named = [
        ("deleted", &line.deleted),
        ("stopped", &line.stopped),
        ("on pause", &line.paused),
    ];
    let orders = named
        .into_iter()
        .filter_map(|(word, order)| Some(format!("{word} {}", order.as_ref()?)));
    let without = line.without.iter();
    orders
        .chain(without.map(|(node, order)| format!("not extended to {node} {order}")))
        .collect()
}

/// Waits until somebody holds the group, or nobody any more, and says who; none when that took too long, or is so.
async fn held(daemon: &Daemon, group: &str, wanted: bool) -> Result<Option<String>> {
    let look = async {
        loop {
            let line = client::status(daemon).await?.groups.remove(group).unwrap_or_default();
            if (line.holder.is_some() || line.held.is_some()) == wanted {
                return anyhow::Ok(line.holder);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    match tokio::time::timeout(MOVE_TIMEOUT, look).await {
        Ok(found) => found,
        Err(_) if wanted => Ok(None),
        Err(_) => bail!(
            "{group} has not stopped within {MOVE_TIMEOUT:?}, and is not deleted: see `leasehold why {group}`; the order that it \
             stops stands, and `leasehold start {group}` takes it back"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_api::status::NodeLine;
    use leasehold_api::words::NodeState;

    fn status() -> Status {
        let node = |groups: &[&str]| NodeLine {
            state: NodeState::Alive,
            groups: groups.iter().map(|name| ((*name).to_owned(), String::new())).collect(),
            ..NodeLine::default()
        };
        let mail = GroupLine {
            holder: Some("a".to_owned()),
            epoch: 4,
            without: [("b".to_owned(), "by root at noon".to_owned())].into(),
            ..GroupLine::default()
        };
        let web = GroupLine {
            deleted: Some("by ann at noon".to_owned()),
            ..GroupLine::default()
        };
        Status {
            groups: [("mail".to_owned(), mail), ("web".to_owned(), web)].into(),
            nodes: [
                ("a".to_owned(), node(&["mail"])),
                ("b".to_owned(), node(&["mail", "web"])),
            ]
            .into(),
            ..Status::default()
        }
    }

    #[test]
    fn the_list_tells_where_each_group_may_run_and_why_not_elsewhere() {
        let wanted = "GROUP  HOLDER  EPOCH  EXTENDED TO\n\
                      mail   a       4      a\n  not extended to b by root at noon\n\
                      web    -       0      b\n  deleted by ann at noon";
        assert_eq!(
            render(
                &status(),
                View {
                    width: Some(80),
                    now: 0
                }
            )
            .text(),
            wanted
        );
    }
}
