//! `leasehold adopt`: the patch that puts a service of an ordinary compose file under Leasehold's care, and the way back.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::text::{print_as_it_is, say};
use leasehold_compose::Fault;
use leasehold_compose::adopt::{self, Draft, Hints, Request, Subject};
use leasehold_sidecar::adapters::engine::{Engine, EngineError, Guarded, Seen};
use leasehold_sidecar::node_facts::NodeFacts;
use leasehold_sidecar::site;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Wanted {
    /// The compose file; its override file is read as well, and left alone
    #[arg(value_name = "COMPOSE_FILE")]
    compose_file: PathBuf,
    /// The service [default: the only one that is not protected and keeps or publishes anything]
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The group it belongs to [default: the service's name]
    #[arg(long, value_name = "NAME", value_parser = name)]
    group: Option<String>,
    /// Virtual IP with its prefix, such as 192.0.2.10/24; may be given several times
    #[arg(long = "vip", value_name = "ADDRESS", value_parser = vip)]
    vips: Vec<String>,
    /// URL of a member of etcd, where the file does not name them; may be given several times
    #[arg(long, value_name = "URL")]
    etcd: Vec<String>,
    /// Print the patch that makes it a plain service again
    #[arg(long, conflicts_with_all = ["group", "vips", "etcd"])]
    undo: bool,
}

fn name(text: &str) -> Result<String, String> {
    let good = leasehold_compose::is_name(text).then(|| text.to_owned());
    good.ok_or_else(|| {
        "a group's name begins with a letter or digit; letters, digits, `_`, `.` and `-` follow".to_owned()
    })
}

fn vip(text: &str) -> Result<String, String> {
    let good = adopt::is_vip(text).then(|| text.to_owned());
    good.ok_or_else(|| "write an address with its prefix, such as 192.0.2.10/24".to_owned())
}

pub(super) async fn adopt(facts: &NodeFacts, wanted: &Wanted) -> Result<ExitCode> {
    let file = std::path::absolute(&wanted.compose_file)?;
    let found = std::iter::once(file.clone()).chain(leasehold_compose::override_of(&file));
    let facts = NodeFacts {
        files: found.collect(),
        ..facts.clone()
    };
    let sources = site::sources(&facts, None)?;
    let subject = match Subject::find(&sources, &file, wanted.service.as_deref()) {
        Ok(subject) => subject,
        Err(faults) => return Ok(refused(&faults)),
    };
    if wanted.undo {
        return Ok(undo(&subject, &file));
    }
    protect(&facts, &subject, wanted, &file).await
}

async fn protect(facts: &NodeFacts, subject: &Subject, wanted: &Wanted, file: &Path) -> Result<ExitCode> {
    let engine = Engine::connect(&facts.engine);
    let request = Request {
        group: wanted.group.clone(),
        vips: wanted.vips.clone(),
        etcd: wanted.etcd.clone(),
    };
    let (hints, unseen) = hints(&engine, subject).await?;
    let draft = match subject.protect(&request, &hints) {
        Ok(draft) => draft,
        Err(faults) => return Ok(refused(&faults)),
    };
    let Some(project) = &draft.project else {
        return Ok(refused(&draft.faults));
    };
    let own = site::own_addresses(project)
        .await
        .context("looking at this host's addresses")?;
    if !own.is_empty() {
        say(&format!("leasehold: nothing was printed:\n  {}", own.join("\n  ")));
        return Ok(ExitCode::FAILURE);
    }
    let holds = |group: &&leasehold_compose::model::Group| group.services.iter().any(|one| one.name == subject.name);
    let group = project.groups.values().find(holds);
    let group = group.with_context(|| format!("{} is in no group: {}", subject.name, lines(&draft.faults)))?;
    let users = engine.plain_users(&Guarded::of(project, group)).await.context(ASK)?;
    if !users.is_empty() {
        say(&in_use(&users, &subject.name, &project.name));
        return Ok(ExitCode::FAILURE);
    }
    let group = group.name.clone();
    let advice = format!(
        "then, on every host that mounts the same storage: the same file, `leasehold check`, `docker compose up -d`; and once: \
         `leasehold init --adopt {group}`"
    );
    let notes = unseen.into_iter().chain(draft.notes.iter().cloned());
    notes.for_each(|note| say(&format!("note: {note}")));
    draft
        .warnings
        .iter()
        .for_each(|warning| say(&format!("warning: {warning}")));
    Ok(hand_out(&draft, subject, file, &advice))
}

const ASK: &str = "asking the engine whether containers use the service's storage: run this on the host where it runs";

/// What the image says, where it is here.
async fn hints(engine: &Engine, subject: &Subject) -> Result<(Hints, Option<String>)> {
    match engine.image(&subject.image).await {
        Ok(image) => {
            let healthcheck = image
                .healthcheck
                .is_some_and(|test| test.first().is_some_and(|word| word != "NONE"));
            let exposed = image.exposed;
            Ok((Hints { exposed, healthcheck }, None))
        }
        Err(EngineError::Missing { .. }) => {
            let note = format!(
                "image {} is not here, so only the file tells what to probe",
                subject.image
            );
            Ok((Hints::default(), Some(note)))
        }
        Err(other) => Err(other).context(ASK),
    }
}

/// A container without a lease, and the way to be rid of it.
pub(super) fn how_to_stop(one: &Seen, project: &str) -> String {
    let status = format!("{:?}", one.status).to_lowercase();
    format!("{} ({status}): {}", one.name, one.how_to_stop(project))
}

fn in_use(users: &[Seen], service: &str, project: &str) -> String {
    let lines: Vec<String> = users
        .iter()
        .map(|one| format!("  {}", how_to_stop(one, project)))
        .collect();
    format!(
        "leasehold: nothing was printed: containers without a lease are {service}'s, or may write to its storage; take them down \
         first, by the file as it is now:\n{}",
        lines.join("\n")
    )
}

const BEFORE_UNDO: &str = "before you apply it: `leasehold stop` its group, and wait until `leasehold status` shows it \
    stopped; if nothing else is protected, end the sidecars (`docker compose rm --stop leasehold`, on every host) and take them \
    and the top-level x-leasehold out of the file; the volumes stay as they are";

fn undo(subject: &Subject, file: &Path) -> ExitCode {
    let draft = match subject.release() {
        Ok(draft) => draft,
        Err(faults) => return refused(&faults),
    };
    say(BEFORE_UNDO);
    let advice = format!("then, on ONE host: `docker compose up -d {}`", subject.name);
    hand_out(&draft, subject, file, &advice)
}

/// Prints the patch, and says what is to be done with it.
fn hand_out(draft: &Draft, subject: &Subject, file: &Path, advice: &str) -> ExitCode {
    let shown = file.file_name().unwrap_or_default().to_string_lossy();
    let patch = draft.diff(&shown);
    if patch.is_empty() {
        say(&format!(
            "{} is as it should be: there is nothing to change",
            subject.name
        ));
    } else {
        print_as_it_is(patch.trim_end_matches('\n'));
        let directory = file.parent().unwrap_or(Path::new("/"));
        say(&format!("apply it in {} with `patch -p0`", directory.display()));
        say(advice);
    }
    if draft.faults.is_empty() {
        return ExitCode::SUCCESS;
    }
    say("what `leasehold check` would still refuse, by the lines of the file after the patch:");
    draft.faults.iter().for_each(|fault| say(&format!("  {fault}")));
    ExitCode::FAILURE
}

fn refused(faults: &[Fault]) -> ExitCode {
    say(&format!("leasehold: nothing was printed:\n  {}", lines(faults)));
    ExitCode::FAILURE
}

pub(super) fn lines(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n  ")
}
