//! From the merged tree to the project: the one place that knows the order of reading and checking.

use std::path::Path;

use super::context::Context;
use super::cursor::At;
use super::fault::{Fault, Faults};
use super::files::{self, Loaded, Sources};
use super::groups::{self, Member};
use super::interpolate::RemarkKind;
use super::model::{MountKind, Project};
use super::{certificates, leasehold, networks, refusals, scalar, service, sidecar};

const TOP_LEVEL: [&str; 8] = [
    "version",
    "name",
    "services",
    "networks",
    "volumes",
    "secrets",
    "configs",
    "x-leasehold",
];

/// Reads a project. Either all of it is understood, or every fault that was found is returned; nothing is started.
///
/// # Errors
///
/// The faults in the order of files and lines, never an empty list.
pub fn read(sources: &Sources) -> Result<Project, Vec<Fault>> {
    let mut faults = Faults::default();
    let project = files::load(sources, None, &mut faults).map(|loaded| interpret(&loaded, &mut faults));
    let whole = faults.is_empty();
    let (mut found, warnings) = faults.into_parts();
    match project {
        Some(project) if whole => Ok(Project { warnings, ..project }),
        Some(_) | None => {
            if found.is_empty() {
                found.push(Fault {
                    file: sources.host_directory.display().to_string(),
                    line: 0,
                    key: String::new(),
                    message: "holds no project that can be read".to_owned(),
                    remedy: String::new(),
                });
            }
            Err(found)
        }
    }
}

/// The project as it would be with another text of one file, as far as it can be understood, with all faults and warnings.
pub(super) fn imagine(sources: &Sources, file: &Path, text: &str) -> (Option<Project>, Vec<Fault>, Vec<String>) {
    let mut faults = Faults::default();
    let loaded = files::load(sources, Some((file, text)), &mut faults);
    let project = loaded.map(|loaded| interpret(&loaded, &mut faults));
    let (found, warnings) = faults.into_parts();
    (project, found, warnings)
}

fn interpret(loaded: &Loaded, faults: &mut Faults) -> Project {
    let context = Context {
        root: At::root(&loaded.tree),
        project: &loaded.name,
        paths: &loaded.paths,
        environment: &loaded.environment,
    };
    top_level(&context, faults);
    let cluster = leasehold::cluster(&context, faults);
    let services = context
        .root
        .get("services")
        .map(|at| at.map(faults))
        .unwrap_or_default();
    let is_protected = |name: &str| {
        context
            .top("services", name)
            .is_some_and(|at| at.protection().is_some())
    };
    let mut members = Vec::new();
    for at in services {
        match at.protection() {
            Some(own) => members.push(member(at, &own, &context, faults)),
            None => refusals::ordinary(&at, is_protected, faults),
        }
    }
    if members.is_empty() {
        let mark = context.root.get("services").map_or(context.root.mark, |at| at.mark);
        let remedy = "add `x-leasehold: {group: NAME}` to the service that must run only once";
        faults.fault(mark, "services", "no service is protected", remedy);
    }
    beside(&members, &context, faults);
    let project = project(loaded, cluster, members, &context, faults);
    sidecar::short_grace(&context, &project.groups, faults);
    remarks(loaded, &project, is_protected, faults);
    project
}

fn top_level(context: &Context<'_>, faults: &mut Faults) {
    let name = context.project;
    if !name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        || !name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'))
    {
        let message = format!("{name:?} is no name that Compose gives a project");
        let remedy = "write a top-level `name:` of lower-case letters, digits, - and _";
        faults.fault(context.root.mark, "name", message, remedy);
    }
    for field in context.root.map(faults) {
        match field.name {
            "models" => field.unknown(faults, &TOP_LEVEL),
            name if TOP_LEVEL.contains(&name) || name.starts_with("x-") => {}
            _ => field.unknown(faults, &TOP_LEVEL),
        }
    }
}

fn member<'a>(at: At<'a>, own: &At<'a>, context: &Context<'_>, faults: &mut Faults) -> Member<'a> {
    if !scalar::is_name(at.name) {
        at.fault(
            faults,
            format!("is no name of a service ({})", scalar::NAME_PATTERN),
            "",
        );
    }
    refusals::demanded_lines(&at, faults);
    let settings = leasehold::settings(&at, own, context, faults);
    let mut service = service::read(&at, context, faults);
    service.entrypoint.clone_from(&settings.entrypoint);
    service.own_init = settings.own_init;
    service.certificates = certificates::read(own, &service.mounts, faults);
    refusals::service(&at, &service, faults);
    Member { at, service, settings }
}

/// Warns of ordinary services that write to what a group protects.
fn beside(members: &[Member<'_>], context: &Context<'_>, faults: &mut Faults) {
    let mounts = members.iter().flat_map(|member| &member.service.mounts);
    let kinds: Vec<&MountKind> = mounts
        .filter(|mount| mount.is_protected())
        .map(|mount| &mount.kind)
        .collect();
    let is_protected_source = |text: &str| {
        kinds.iter().any(|kind| match kind {
            MountKind::Volume { key, .. } => key == text,
            MountKind::Bind { source, .. } => {
                text.starts_with(['.', '/']) && *source == context.paths.host(Path::new(text))
            }
            MountKind::Tmpfs { .. } | MountKind::File { .. } => false,
        })
    };
    let services = context
        .root
        .get("services")
        .map(|at| at.map(faults))
        .unwrap_or_default();
    for at in services.iter().filter(|at| at.protection().is_none()) {
        refusals::writes_beside(at, is_protected_source, faults);
    }
}

fn project(
    loaded: &Loaded,
    cluster: super::model::Cluster,
    members: Vec<Member<'_>>,
    context: &Context<'_>,
    faults: &mut Faults,
) -> Project {
    let mut network_keys = Vec::new();
    let mut volume_keys = Vec::new();
    for member in &members {
        network_keys.extend(member.service.networks.keys().cloned());
        for mount in &member.service.mounts {
            let MountKind::Volume { key, .. } = &mount.kind else {
                continue;
            };
            volume_keys.push(key.clone());
            if mount.is_protected() {
                warn_of_removal(key, context, faults);
            }
        }
    }
    Project {
        name: loaded.name.clone(),
        directory: context.paths.host(Path::new("")),
        files: loaded.files.clone(),
        cluster,
        networks: networks::networks(network_keys.iter(), context, faults),
        volumes: networks::volumes(volume_keys.iter(), context, faults),
        groups: groups::build(members, faults),
        warnings: Vec::new(),
    }
}

fn warn_of_removal(key: &str, context: &Context<'_>, faults: &mut Faults) {
    let Some(at) = context.top("volumes", key) else {
        return;
    };
    let external = at
        .get("external")
        .is_some_and(|field| field.node.scalar().as_deref() != Some("false"));
    if !external {
        let message = "holds protected data and is not external: `docker compose down -v` would delete it";
        at.warn(faults, message, "create it once and write `external: true`");
    }
}

/// Variables concern us where they are used by what we carry out.
fn remarks(loaded: &Loaded, project: &Project, is_protected: impl Fn(&str) -> bool, faults: &mut Faults) {
    for remark in &loaded.remarks {
        let path: Vec<&str> = remark.path.iter().map(String::as_str).collect();
        let concerns_us = match path.as_slice() {
            ["services", name, ..] => is_protected(name),
            ["networks", name, ..] => project.networks.contains_key(*name),
            ["volumes", name, ..] => project.volumes.contains_key(*name),
            ["x-leasehold" | "name" | "secrets" | "configs", ..] => true,
            _ => false,
        };
        if concerns_us {
            match &remark.kind {
                RemarkKind::Fault(fault) => faults.push(fault.clone()),
                RemarkKind::Unset(warning) => faults.push_warning(warning),
            }
        }
    }
}
