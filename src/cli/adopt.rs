//! `leasehold adopt`: the patch that puts a service of an ordinary compose file under Leasehold's care, and the way back.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use super::check::images;
use super::text::{print_as_it_is, say};
use leasehold_compose::adopt::{self, Draft, Hints, Request, Subject, Which};
use leasehold_compose::model::{Group, Project, Service};
use leasehold_compose::{Fault, Sources};
use leasehold_sidecar::adapters::engine::{Engine, EngineError, Guarded, Image, Seen};
use leasehold_sidecar::node_args::NodeArgs;
use leasehold_sidecar::node_context;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(super) struct Wanted {
    /// The compose file; those that belong to it (its override file, `COMPOSE_FILE`, `--file`) are read as well, and left alone
    #[arg(value_name = "COMPOSE_FILE")]
    compose_file: PathBuf,
    /// The service [default: the only one that is not protected and keeps or publishes anything]; may be given several times:
    /// they live and move together
    #[arg(long, value_name = "NAME")]
    service: Vec<String>,
    /// Every service of the file but the sidecar and etcd
    #[arg(long, conflicts_with = "service")]
    all: bool,
    /// The group they belong to [default: the first service's name; with --all the project's]
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

pub(super) async fn adopt(facts: &NodeArgs, wanted: &Wanted) -> Result<ExitCode> {
    let file = std::path::absolute(&wanted.compose_file)?;
    let facts = NodeArgs {
        files: files(facts, &file)?,
        ..facts.clone()
    };
    let sources = node_context::sources(&facts, None)?;
    let which = match wanted.service.as_slice() {
        _ if wanted.all && !wanted.undo => Which::All,
        [] => Which::OnlyOne,
        names => Which::Named(names.to_vec()),
    };
    let subjects = match Subject::find_all(&sources, &file, &which) {
        Ok(subjects) => subjects,
        Err(faults) => return Ok(refused(&faults)),
    };
    if wanted.undo {
        return Ok(undo(&subjects, &file));
    }
    protect(&facts, &subjects, wanted, &file).await
}

/// The files of the project to which this one belongs, as Compose would read them: those that are given, those of
/// `COMPOSE_FILE` if it is among them, else itself and its override file.
fn files(facts: &NodeArgs, file: &Path) -> Result<Vec<PathBuf>> {
    let alone = NodeArgs {
        files: vec![file.to_path_buf()],
        ..facts.clone()
    };
    let sources = node_context::sources(&alone, None)?;
    let named = leasehold_compose::files(&Sources {
        files: facts.files.clone(),
        ..sources
    });
    if named.iter().any(|named| named == file) {
        return Ok(named);
    }
    if !facts.files.is_empty() {
        return Ok(std::iter::once(file.to_path_buf()).chain(named).collect());
    }
    Ok(std::iter::once(file.to_path_buf())
        .chain(leasehold_compose::override_of(file))
        .collect())
}

async fn protect(facts: &NodeArgs, subjects: &[Subject], wanted: &Wanted, file: &Path) -> Result<ExitCode> {
    let engine = Engine::connect(&facts.engine);
    let project = subjects
        .first()
        .filter(|_| wanted.all)
        .map(|first| first.project().to_owned());
    let request = Request {
        group: wanted.group.clone().or(project),
        vips: wanted.vips.clone(),
        etcd: wanted.etcd.clone(),
    };
    let mut images = Vec::new();
    for subject in subjects {
        images.push(image(&engine, subject).await?);
    }
    let hints: Vec<Hints> = images
        .iter()
        .map(|image| image.as_ref().map(hints).unwrap_or_default())
        .collect();
    let draft = match Subject::protect_all(subjects, &request, &hints) {
        Ok(draft) => draft,
        Err(faults) => return Ok(refused(&faults)),
    };
    let Some(project) = &draft.project else {
        return Ok(refused(&draft.faults));
    };
    let own = node_context::own_addresses(project).await.context(LOOK)?;
    let unfit = subjects.iter().zip(&images).filter_map(|(subject, image)| {
        let service = service_of(project, &subject.name)?;
        images::unfit(service, image.as_ref()?)
    });
    let reasons: Vec<String> = own.into_iter().chain(unfit).collect();
    if !reasons.is_empty() {
        say(&format!("leasehold: nothing was printed:\n  {}", reasons.join("\n  ")));
        return Ok(ExitCode::FAILURE);
    }
    let names: Vec<&str> = subjects.iter().map(|subject| subject.name.as_str()).collect();
    let holds = |group: &&Group| group.services.iter().any(|one| names.contains(&one.name.as_str()));
    let group = project.groups.values().find(holds);
    let group = group.with_context(|| format!("{}: no group, mend {}", names.join(", "), lines(&draft.faults)))?;
    let users = engine.plain_users(&Guarded::of(project, group)).await.context(ASK)?;
    if !users.is_empty() {
        say(&in_use(&users, &names.join(", "), &project.name));
        return Ok(ExitCode::FAILURE);
    }
    let group = group.name.clone();
    let advice = format!(
        "then, on every host that mounts the same storage: the same file, `leasehold check`, `docker compose up -d`; and once: \
         `leasehold init --adopt {group}`"
    );
    let unseen = subjects.iter().zip(&images).filter(|(_, image)| image.is_none());
    let unseen = unseen.map(|(subject, _)| {
        format!(
            "image {} is not here, so only the file tells what to probe, and whether it can run behind a tether",
            subject.image
        )
    });
    let notes = unseen.chain(draft.notes.iter().cloned());
    notes.for_each(|note| say(&format!("note: {note}")));
    draft
        .warnings
        .iter()
        .for_each(|warning| say(&format!("warning: {warning}")));
    Ok(hand_out(&draft, &names, file, &advice))
}

fn service_of<'p>(project: &'p Project, name: &str) -> Option<&'p Service> {
    let mut services = project.groups.values().flat_map(|group| &group.services);
    services.find(|service| service.name == name)
}

const LOOK: &str = "looking at this host's addresses: run `leasehold adopt` on the host itself";
const ASK: &str = "asking the engine whether containers use the service's storage: run this on the host where it runs";

/// The image, where it is here.
async fn image(engine: &Engine, subject: &Subject) -> Result<Option<Image>> {
    match engine.image(&subject.image).await {
        Ok(image) => Ok(Some(image)),
        Err(EngineError::Missing { .. }) => Ok(None),
        Err(other) => Err(other).context(ASK),
    }
}

/// What it says of its ports, its health and its start.
fn hints(image: &Image) -> Hints {
    let check = image.healthcheck.as_ref().and_then(|test| test.first());
    Hints {
        exposed: image.exposed.clone(),
        healthcheck: check.is_some_and(|word| word != "NONE"),
        entrypoint: image.entrypoint.clone(),
        cmd: image.cmd.clone(),
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

fn undo(subjects: &[Subject], file: &Path) -> ExitCode {
    let draft = match Subject::release_all(subjects) {
        Ok(draft) => draft,
        Err(faults) => return refused(&faults),
    };
    say(BEFORE_UNDO);
    let names: Vec<&str> = subjects.iter().map(|subject| subject.name.as_str()).collect();
    let advice = format!("then, on ONE host: `docker compose up -d {}`", names.join(" "));
    hand_out(&draft, &names, file, &advice)
}

/// Prints the patch, and says what is to be done with it.
fn hand_out(draft: &Draft, names: &[&str], file: &Path, advice: &str) -> ExitCode {
    let shown = file.file_name().unwrap_or_default().to_string_lossy();
    let patch = draft.diff(&shown);
    if patch.is_empty() {
        let are = if names.len() == 1 { "is" } else { "are" };
        say(&format!(
            "{} {are} as it should be: there is nothing to change",
            names.join(", ")
        ));
    } else {
        print_as_it_is(patch.trim_end_matches('\n'));
        let directory = file.parent().unwrap_or(Path::new("/"));
        say(&format!("apply it in {} with `patch -p0`", directory.display()));
        say(advice);
    }
    if !draft.faults.is_empty() {
        say("left to do before `leasehold check` finds no fault, by the lines of the file after the patch:");
        draft.faults.iter().for_each(|fault| say(&format!("  {fault}")));
    }
    ExitCode::SUCCESS
}

fn refused(faults: &[Fault]) -> ExitCode {
    say(&format!("leasehold: nothing was printed:\n  {}", lines(faults)));
    ExitCode::FAILURE
}

pub(super) fn lines(faults: &[Fault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n  ")
}
