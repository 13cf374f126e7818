//! `leasehold group`: where a group may run, and whether it is there at all. What it takes away is an order in etcd; storage and
//! compose file are the operator's.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde_json::json;

use super::answer::Answer;
use super::fenced::confirmed;
use super::text::{say, table};
use super::{adopt, check, client, init};
use leasehold_api::{ExtentRequest, OrderRequest};
use leasehold_base::clock;
use leasehold_compose::adopt::Subject;
use leasehold_core::status::{GroupLine, Status};
use leasehold_sidecar::adapters::engine::Guarded;
use leasehold_sidecar::node_facts::NodeFacts;
use leasehold_sidecar::site::Site;

/// How long a stop, and a start, are watched.
const MOVE_TIMEOUT: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long a deletion is asked for again, once the group was stopped for it.
const DELETE_TIMEOUT: Duration = Duration::from_secs(30);
const DELETE_PAUSE: Duration = Duration::from_secs(1);

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

pub(super) async fn run(facts: &NodeFacts, verb: GroupVerb) -> Result<Answer> {
    match verb {
        GroupVerb::List => list(facts).await,
        GroupVerb::Create { group, adopt, why } => create(facts, &group, adopt, why).await,
        GroupVerb::Extend { group, node, why } => extent(facts, &group, node, "extend", why).await,
        GroupVerb::Unextend { group, node, why } => extent(facts, &group, node, "unextend", why).await,
        GroupVerb::Delete { group, stop, yes, why } => delete(facts, &group, stop, yes, &why).await,
    }
}

async fn extent(facts: &NodeFacts, group: &str, node: String, verb: &str, why: String) -> Result<Answer> {
    let path = format!("/v1/groups/{group}/{verb}");
    let outcome = client::tell(facts, &path, &ExtentRequest { node, why }).await?;
    Ok(client::conclude(&outcome))
}

async fn list(facts: &NodeFacts) -> Result<Answer> {
    let status = client::status(facts).await?;
    let each = status.groups.iter();
    let lines = each.map(|(name, line)| json!({ "name": name, "nodes": extended_to(&status, name), "group": line }));
    let lines: Vec<_> = lines.collect();
    Answer::document(&lines, render(&status))
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

fn render(status: &Status) -> String {
    let head = ["GROUP", "HOLDER", "EPOCH", "EXTENDED TO", "ORDERS"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for (name, line) in &status.groups {
        let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        rows.push(vec![
            name.clone(),
            or_none(line.holder.clone().unwrap_or_default()),
            line.epoch.to_string(),
            or_none(extended_to(status, name).join(" ")),
            or_none(orders(line).join("; ")),
        ]);
    }
    table(&rows)
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

async fn create(facts: &NodeFacts, group: &str, adopt: bool, why: String) -> Result<Answer> {
    let site = Site::open(facts).await?;
    let settings = init::known(&site, group)?;
    let status = client::status(facts).await?;
    let line = status.groups.get(group);
    let line = line.with_context(|| {
        format!(
            "the sidecar of this host was started with a file without {group}: `docker compose up -d` it anew first"
        )
    })?;
    let mut prepared = String::new();
    if line.deleted.is_some() || !init::is_done(&site, group).await? {
        let mut faults = check::faults_of(&site, settings).await;
        faults.extend(line.used.iter().map(|(node, by)| {
            format!("container {by} on {node} uses the storage of {group} without a lease: take it down there")
        }));
        let users = site.engine.plain_users(&Guarded::of(&site.project, settings)).await;
        let users = users.context("asking the engine who uses the storage")?;
        faults.extend(users.iter().map(|one| adopt::how_to_stop(one, &site.project.name)));
        if !faults.is_empty() {
            bail!("nothing was changed:\n  {}", faults.join("\n  "));
        }
        let answer = init::init(facts, group, adopt).await?;
        if !answer.is_good() {
            return Ok(answer);
        }
        answer.words().clone_into(&mut prepared);
    }
    let path = format!("/v1/groups/{group}/create");
    let outcome = client::tell(facts, &path, &OrderRequest { why }).await?;
    if !outcome.ok || line.deleted.is_none() {
        return Ok(client::conclude(&outcome).below(&prepared));
    }
    say(&outcome.message);
    let answer = match held(facts, group, true).await? {
        Some(holder) => Answer::good(format!("{holder} starts {group}")).with("holder", holder),
        None => Answer::bad(format!(
            "no node has taken {group} within {MOVE_TIMEOUT:?}: see `leasehold why {group}`"
        )),
    };
    Ok(answer.below(&prepared))
}

/// Waits until somebody holds the group, or nobody any more, and says who; none when that took too long, or is so.
async fn held(facts: &NodeFacts, group: &str, wanted: bool) -> Result<Option<String>> {
    let look = async {
        loop {
            let line = client::status(facts).await?.groups.remove(group).unwrap_or_default();
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

async fn delete(facts: &NodeFacts, group: &str, stop: bool, yes: bool, why: &str) -> Result<Answer> {
    let line = client::status(facts).await?.groups.remove(group).unwrap_or_default();
    let holder = line.holder.clone().filter(|_| stop && line.deleted.is_none());
    if let Some(why) = holder.as_ref().and_then(|_| unstoppable(group, &line)) {
        bail!("{why}; nothing was changed");
    }
    if !yes && line.deleted.is_none() {
        say(&question(group, holder.as_deref()));
        if !confirmed(group, &mut std::io::stdin().lock())? {
            bail!("that is not {group}: nothing was done");
        }
    }
    if holder.is_some() {
        let (path, why) = (format!("/v1/groups/{group}/stop"), why.to_owned());
        let outcome = client::tell(facts, &path, &OrderRequest { why }).await?;
        if !outcome.ok {
            return Ok(client::conclude(&outcome));
        }
        say(&outcome.message);
        held(facts, group, false).await?;
    }
    let path = format!("/v1/groups/{group}");
    let mut outcome = client::delete(facts, &path, why).await?;
    // Whoever stopped it for this waits until it can be: a node that began a moment ago needs a ttl before it may say so.
    let until = clock::now().plus(DELETE_TIMEOUT);
    while !outcome.ok && holder.is_some() && !clock::now().reached(until) {
        tokio::time::sleep(DELETE_PAUSE).await;
        outcome = client::delete(facts, &path, why).await?;
    }
    if !outcome.ok {
        return Ok(client::conclude(&outcome));
    }
    let (patch, advice) = way_back(facts, group)
        .await
        .unwrap_or_else(|error| (String::new(), format!("its patch can't be printed: {error:#}")));
    let answer = Answer::good(outcome.message.clone());
    let answer = answer.with("patch", patch.clone()).with("advice", advice.clone());
    Ok(answer.instead(patch, format!("{}\n{advice}", outcome.message)))
}

/// What a stop would wait for in vain, or cut short.
fn unstoppable(group: &str, line: &GroupLine) -> Option<String> {
    let stuck = line.stuck.as_ref().map(|stuck| format!("{group} is {stuck}"));
    stuck.or_else(|| {
        Some(format!(
            "somebody wants something else of {group}: {}",
            line.wish.as_ref()?
        ))
    })
}

fn question(group: &str, holder: Option<&str>) -> String {
    let stops = holder.map_or(String::new(), |holder| format!("{group} stops on {holder}. "));
    format!(
        "{stops}No node starts {group} any more; its volumes and everything on them stay as they are. Type the group's name to \
         delete it:"
    )
}

/// The patch that makes the group's services plain ones, and what to do with it.
async fn way_back(facts: &NodeFacts, group: &str) -> Result<(String, String)> {
    let site = Site::open(facts).await?;
    let Some(settings) = site.project.groups.get(group) else {
        let advice =
            format!("the compose file of this host has no group {group} any more: there is nothing to take out of it");
        return Ok((String::new(), advice));
    };
    let names: Vec<&str> = settings.services.iter().map(|one| one.name.as_str()).collect();
    let mut files: BTreeMap<_, Vec<Subject>> = BTreeMap::new();
    for name in &names {
        let found = site.sources.files.iter().find_map(|file| {
            let subject = Subject::find(&site.sources, file, Some(name)).ok()?;
            Some((file.clone(), subject))
        });
        let (file, subject) = found.with_context(|| format!("no file has the lines of service {name}"))?;
        files.entry(file).or_default().push(subject);
    }
    let (mut patch, mut directory) = (String::new(), None);
    for (file, subjects) in &files {
        let drafted = Subject::release_all(subjects);
        let draft = drafted.map_err(|faults| anyhow::anyhow!(adopt::lines(&faults)))?;
        let shown = file.file_name().unwrap_or_default().to_string_lossy();
        patch.push_str(&draft.diff(&shown));
        directory = directory.or_else(|| file.parent());
    }
    let directory = directory.unwrap_or(std::path::Path::new("/"));
    let advice = format!(
        "to make it plain: on every host apply this patch in {} with `patch -p0`; then, on ONE host: `docker compose up -d {}`. \
         If nothing else is protected, end the sidecars first (`docker compose rm --stop leasehold`, on every host) and take \
         them and the top-level x-leasehold out of the file",
        directory.display(),
        names.join(" ")
    );
    Ok((patch.trim_end_matches('\n').to_owned(), advice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use leasehold_core::status::NodeLine;

    fn status() -> Status {
        let node = |groups: &[&str]| NodeLine {
            state: "alive".to_owned(),
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
        let text = render(&status());
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            rows[1..],
            [
                "mail a 4 a not extended to b by root at noon"
                    .split(' ')
                    .collect::<Vec<_>>(),
                "web - 0 b deleted by ann at noon".split(' ').collect()
            ]
        );
    }

    #[test]
    fn what_is_stuck_or_about_to_move_is_not_stopped() {
        let mut line = GroupLine::default();
        assert_eq!(unstoppable("mail", &line), None);
        line.wish = Some("switchover to b, asked by root".to_owned());
        assert!(unstoppable("mail", &line).unwrap().contains("switchover to b"));
        line.stuck = Some("stuck on a".to_owned());
        assert_eq!(unstoppable("mail", &line).unwrap(), "mail is stuck on a");
    }

    #[test]
    fn the_question_says_whether_anything_stops() {
        assert!(question("mail", Some("a")).starts_with("mail stops on a. No node starts mail"));
        assert!(question("mail", None).starts_with("No node starts mail"));
    }
}
