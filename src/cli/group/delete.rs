//! `leasehold group delete`: stops the group where that is wanted, deletes it, and prints what makes its services plain ones.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::super::adopt;
use super::super::answer::Answer;
use super::super::client::{self, Daemon};
use super::super::fenced::confirmed;
use super::super::text::say;
use super::held;
use crate::NodeArgs;
use leasehold_api::OrderRequest;
use leasehold_api::status::GroupLine;
use leasehold_base::clock;
use leasehold_compose::adopt::Subject;
use leasehold_sidecar::node_context::NodeContext;

/// How long a deletion is asked for again, once the group was stopped for it.
const DELETE_TIMEOUT: Duration = Duration::from_secs(30);
const DELETE_PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn delete(
    daemon: &Daemon,
    facts: &NodeArgs,
    group: &str,
    stop: bool,
    yes: bool,
    why: &str,
) -> Result<Answer> {
    let line = client::status(daemon).await?.groups.remove(group).unwrap_or_default();
    let holder = line.holder.clone().filter(|_| stop && line.deleted.is_none());
    if let Some(why) = holder.as_ref().and_then(|_| unstoppable(group, &line)) {
        bail!("{why}; nothing was changed, see `leasehold why {group}`");
    }
    if !yes && line.deleted.is_none() {
        say(&question(group, holder.as_deref()));
        if !confirmed(group, &mut std::io::stdin().lock())? {
            bail!(
                "that is not {group}: nothing was done; say `leasehold group delete {group}` again and type the name"
            );
        }
    }
    if holder.is_some() {
        let (path, why) = (format!("/v1/groups/{group}/stop"), why.to_owned());
        let outcome = client::tell(daemon, &path, &OrderRequest { why }).await?;
        if !outcome.ok {
            return Ok(client::conclude(&outcome));
        }
        say(&outcome.message);
        held(daemon, group, false).await?;
    }
    let path = format!("/v1/groups/{group}");
    let mut outcome = client::delete(daemon, &path, why).await?;
    // Whoever stopped it for this waits until it can be: a node that began a moment ago needs a ttl before it may say so.
    let until = clock::now().plus(DELETE_TIMEOUT);
    while !outcome.ok && holder.is_some() && !clock::now().reached(until) {
        tokio::time::sleep(DELETE_PAUSE).await;
        outcome = client::delete(daemon, &path, why).await?;
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
async fn way_back(facts: &NodeArgs, group: &str) -> Result<(String, String)> {
    let site = NodeContext::open(facts).await?;
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
        let (file, subject) =
            found.with_context(|| format!("no file has the lines of service {name}: see `leasehold check`"))?;
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
