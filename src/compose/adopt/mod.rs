//! The edit of a compose file that protects a service, and the one that makes it a plain one again. Only whole lines are
//! added, and what must go is kept in a comment: the user's order and comments stay, and the way back is known.

mod beside;
mod guess;
mod lines;
mod protect;
mod release;

use std::path::{Path, PathBuf};

use super::command::{Init, command_line, init_of};
use super::context::Context;
use super::cursor::At;
use super::fault::{Fault, Faults, Mark};
use super::files::{self, Loaded, Sources};
use super::model::{END_BUDGET, Project, Service};
use super::yaml::Node;
use super::{leasehold, project, service, sidecar};
use leasehold_base::small_file;

use self::lines::{Block, Lines};

pub use guess::Hints;

/// In front of what was taken out of a service, and is put back with the reverse edit.
const KEPT: &str = "# plain: ";
/// Behind a line that only a protected service needs.
const OURS: &str = "  # leasehold: ";

/// Behind a line that another service needs because those that are named after it are protected.
const BESIDE: &str = "  # leasehold: beside ";

/// What is wanted beyond the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The group's name; none: the first service's.
    pub group: Option<String>,
    /// Virtual IPs with their prefixes.
    pub vips: Vec<String>,
    /// The members of etcd, where the file does not name them.
    pub etcd: Vec<String>,
}

/// A service of a file that is to be edited.
#[derive(Debug)]
pub struct Subject {
    pub name: String,
    /// As the file puts it together.
    pub image: String,
    sources: Sources,
    file: PathBuf,
    text: String,
    /// The file's own tree: where its lines are.
    own: Node,
    /// All files together, filled in.
    loaded: Loaded,
    service: Service,
}

/// A file before and after, and what is to be said about it.
#[derive(Debug)]
pub struct Draft {
    pub before: String,
    pub after: String,
    /// Everything as it would be read, as far as it can be understood.
    pub project: Option<Project>,
    /// What would be refused afterwards, by the lines of the text after.
    pub faults: Vec<Fault>,
    pub warnings: Vec<String>,
    /// What whoever applies it should know.
    pub notes: Vec<String>,
}

impl Draft {
    /// As a patch for a file of this name; empty when nothing changes.
    #[must_use]
    pub fn diff(&self, name: &str) -> String {
        let diff = similar::TextDiff::from_lines(&self.before, &self.after);
        diff.unified_diff().context_radius(3).header(name, name).to_string()
    }
}

/// Whether a text is a virtual IP with its prefix, as `vips` takes it.
#[must_use]
pub fn is_vip(text: &str) -> bool {
    leasehold::vip(text).is_some()
}

impl Subject {
    /// Reads the files and finds the service; without a name the only one that is not protected and keeps or publishes anything.
    ///
    /// # Errors
    /// What keeps the files from being read or the service from being found.
    pub fn find(sources: &Sources, file: &Path, name: Option<&str>) -> Result<Self, Vec<Fault>> {
        let which = name.map_or(Which::OnlyOne, |name| Which::Named(vec![name.to_owned()]));
        Ok(Self::find_all(sources, file, &which)?.remove(0))
    }

    /// The same for several services of one file; never none.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn find_all(sources: &Sources, file: &Path, which: &Which) -> Result<Vec<Self>, Vec<Fault>> {
        let mut faults = Faults::default();
        let Some(loaded) = files::load(sources, None, &mut faults) else {
            return Err(faults.into_parts().0);
        };
        let shown = loaded.paths.shown(file);
        let whole = |message: String, remedy: &str| {
            vec![Fault {
                file: shown.clone(),
                line: 0,
                key: "services".to_owned(),
                message,
                remedy: remedy.to_owned(),
            }]
        };
        let unreadable = |error| whole(files::unreadable(&error), "");
        let path = loaded.paths.local(file).unwrap_or_else(|| file.to_path_buf());
        let text = small_file::read_text(&path, small_file::MAX).map_err(unreadable)?;
        if text.contains('\r') {
            let message = "has lines that end with a carriage return".to_owned();
            return Err(whole(
                message,
                "convert it, as with `dos2unix`: patch would miss its lines",
            ));
        }
        let own = files::own_tree(&text).map_err(|broken| whole(broken.message, ""))?;
        let names = match which {
            Which::Named(names) => names.clone(),
            Which::OnlyOne => {
                let one = only_one(&loaded)
                    .map_err(|message| whole(message, "name it with --service NAME, or all with --all"))?;
                vec![one]
            }
            Which::All => all_of(&loaded, &own),
        };
        if names.is_empty() {
            return Err(whole("have none that could be protected".to_owned(), ""));
        }
        let mut subjects = Vec::new();
        for name in names {
            let services = own.get("services").map(|entry| &entry.node);
            if services.is_none_or(|services| services.get(&name).is_none()) {
                return Err(whole(format!("has no service {name} in this file"), ""));
            }
            let context = context(&loaded);
            let Some(at) = context.top("services", &name) else {
                return Err(whole(format!("has no service {name}"), ""));
            };
            // What is wrong with it is told of the text that comes out.
            let service = service::read(&at, &context, &mut Faults::default());
            subjects.push(Self {
                name,
                image: service.image.clone(),
                sources: sources.clone(),
                file: file.to_path_buf(),
                text: text.clone(),
                own: own.clone(),
                loaded: loaded.clone(),
                service,
            });
        }
        Ok(subjects)
    }

    /// The project's name.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.loaded.name
    }

    /// The edit that protects the service.
    ///
    /// # Errors
    /// What stands in the way: a file written so that lines can't be added to it.
    pub fn protect(&self, request: &Request, hints: &Hints) -> Result<Draft, Vec<Fault>> {
        Self::protect_all(std::slice::from_ref(self), request, std::slice::from_ref(hints))
    }

    /// The same for several services of one file, in one edit and one group.
    ///
    /// # Errors
    /// As [`Self::protect`].
    pub fn protect_all(subjects: &[Self], request: &Request, hints: &[Hints]) -> Result<Draft, Vec<Fault>> {
        let sum = subjects.iter().map(|subject| subject.service.stop_grace_period).sum();
        let draft = Self::drafted(subjects, request, hints, &[], sum)?;
        let inits = Self::inits(subjects, hints, draft.project.as_ref());
        let draft = if inits.is_empty() {
            draft
        } else {
            Self::drafted(subjects, request, hints, &inits, sum)?
        };
        let longest = draft
            .project
            .as_ref()
            .and_then(|project| sidecar::longest_stop(&project.groups));
        match longest {
            // Others of the group are protected already, and stop as well.
            Some(longest) if longest > sum => Self::drafted(subjects, request, hints, &inits, longest),
            Some(_) | None => Ok(draft),
        }
    }

    /// The services whose image starts an init that must be PID 1, and whose lines do not say so yet.
    fn inits<'s>(subjects: &'s [Self], hints: &[Hints], project: Option<&Project>) -> Vec<&'s str> {
        let services = || project.into_iter().flat_map(|project| project.groups.values());
        let is_one = |(subject, hints): &(&Self, &Hints)| {
            let mut services = services().flat_map(|group| &group.services);
            services
                .find(|service| service.name == subject.name)
                .is_some_and(|service| {
                    let line = command_line(hints.entrypoint.as_deref(), hints.cmd.as_deref(), service);
                    init_of(&line) == Some(Init::Own) && !service.own_init
                })
        };
        let found = subjects.iter().zip(hints).filter(is_one);
        found.map(|(subject, _)| subject.name.as_str()).collect()
    }

    fn drafted(
        subjects: &[Self],
        request: &Request,
        hints: &[Hints],
        inits: &[&str],
        longest: std::time::Duration,
    ) -> Result<Draft, Vec<Fault>> {
        let [first, ..] = subjects else { return Err(Vec::new()) };
        let plan = protect::plan(subjects, request, hints, inits, longest).map_err(|fault| vec![fault])?;
        let names: Vec<&str> = subjects.iter().map(|subject| subject.name.as_str()).collect();
        let mut edits = plan.edits;
        edits.extend(beside::dependants(first, &names));
        let after = Lines::of(&first.text).apply(edits.clone());
        let inherited = beside::disinherit(first, &names, &after).map_err(|fault| vec![fault])?;
        edits.extend(inherited);
        edits.extend(plan.last);
        let draft = first.draft(edits.clone(), plan.notes.clone());
        let Some(grace) = draft.project.as_ref().and_then(|project| first.longer_grace(project)) else {
            return Ok(draft);
        };
        edits.push(grace);
        Ok(first.draft(edits, plan.notes))
    }

    /// The edit that makes it a service like any other.
    ///
    /// # Errors
    /// What stands in the way: a file written so that its lines can't be told apart.
    pub fn release(&self) -> Result<Draft, Vec<Fault>> {
        Self::release_all(std::slice::from_ref(self))
    }

    /// The same for several services of one file, in one edit.
    ///
    /// # Errors
    /// As [`Self::release`].
    pub fn release_all(subjects: &[Self]) -> Result<Draft, Vec<Fault>> {
        let [first, ..] = subjects else { return Err(Vec::new()) };
        let mut edits = Vec::new();
        for subject in subjects {
            edits.extend(release::plan(subject).map_err(|fault| vec![fault])?);
        }
        let names: Vec<&str> = subjects.iter().map(|subject| subject.name.as_str()).collect();
        edits.extend(beside::put_back(first, &names));
        let mut draft = first.draft(edits, Vec::new());
        // It no longer is a file of Leasehold's as a whole, perhaps: only that it can be read counts.
        draft.faults.clear();
        draft.warnings.clear();
        let tree = files::own_tree(&draft.after);
        let tree = tree.map_err(|broken| vec![first.fault(&first.name, &broken.message, "")])?;
        let left = subjects.iter().find(|one| !release::is_plain(&tree, &one.name));
        match left {
            None => Ok(draft),
            Some(left) => Err(vec![left.fault(
                &left.name,
                "would still have a line of Leasehold's: it comes from an anchor or another file",
                "take it out there",
            )]),
        }
    }

    fn draft(&self, edits: Vec<lines::Edit>, notes: Vec<String>) -> Draft {
        let after = Lines::of(&self.text).apply(edits);
        let (project, faults, warnings) = project::imagine(&self.sources, &self.file, &after);
        Draft {
            before: self.text.clone(),
            after,
            project,
            faults,
            warnings,
            notes,
        }
    }

    /// As this file says it, else as all files together do.
    fn grace_of_sidecar(&self, tree: &Node, name: &str) -> std::time::Duration {
        let root = At::root(tree);
        let own = root
            .get("services")
            .and_then(|services| services.get(name)?.get("stop_grace_period"));
        let own = own.and_then(|at| at.duration(&mut Faults::default()));
        let context = context(&self.loaded);
        let all = || {
            context
                .top("services", name)
                .map(|at| service::read(&at, &context, &mut Faults::default()))
        };
        own.or_else(|| all().map(|service| service.stop_grace_period))
            .unwrap_or_default()
    }

    /// The line that gives the sidecar of this file the time it needs.
    fn longer_grace(&self, project: &Project) -> Option<lines::Edit> {
        let longest = sidecar::longest_stop(&project.groups)?;
        let name = sidecar::find(&context(&self.loaded))?.name.to_owned();
        if sidecar::is_protected(&name, &project.groups) {
            return None;
        }
        if self.grace_of_sidecar(&self.own, &name) >= longest + END_BUDGET {
            return None;
        }
        let lines = Lines::of(&self.text);
        let entry = self.own.get("services")?.node.get(&name)?;
        let block = lines
            .block(&name, entry.mark.line)
            .filter(|block| lines.is_open(*block, &name))?;
        let indent = " ".repeat(lines.inner_indent(block));
        let line = format!("{indent}stop_grace_period: {}s", (longest + sidecar::MORE).as_secs());
        let stated = entry.node.get("stop_grace_period");
        let stated = stated.and_then(|entry| lines.block("stop_grace_period", entry.mark.line));
        // What it inherits is overridden.
        let stated = stated.filter(|stated| block.first < stated.first && stated.end <= block.end);
        let (at, remove) = stated.map_or((block.first + 1, 0), |stated| (stated.first, stated.end - stated.first));
        let insert = vec![line];
        Some(lines::Edit { at, remove, insert })
    }

    fn fault(&self, key: &str, message: &str, remedy: &str) -> Fault {
        let services = self.own.get("services");
        let entry = services
            .and_then(|entry| entry.node.get(key))
            .or_else(|| self.own.get(key));
        Fault {
            file: self.loaded.paths.shown(&self.file),
            line: entry.map_or(0, |entry| entry.mark.line),
            key: key.to_owned(),
            message: message.to_owned(),
            remedy: remedy.to_owned(),
        }
    }

    /// The lines of a mapping that can take another key.
    fn open_block(&self, lines: &Lines<'_>, key: &str, mark: Mark) -> Result<Block, Fault> {
        let block = lines.block(key, mark.line).filter(|block| lines.is_open(*block, key));
        block.ok_or_else(|| {
            let remedy = "write each of its keys on a line of its own";
            self.fault(
                key,
                "is written in braces, or is an alias: no line can be added to it",
                remedy,
            )
        })
    }

    /// The lines of the service.
    fn service_block(&self, lines: &Lines<'_>) -> Result<Block, Fault> {
        let services = self.own.get("services");
        let entry = services.and_then(|entry| entry.node.get(&self.name));
        self.open_block(lines, &self.name, entry.map(|entry| entry.mark).unwrap_or_default())
    }

    /// The lines of a key of the service; none where it is inherited from elsewhere.
    fn key_block(&self, lines: &Lines<'_>, service: Block, key: &str) -> Option<Block> {
        let services = self.own.get("services")?;
        let entry = services.node.get(&self.name)?.node.get(key)?;
        let block = lines.block(key, entry.mark.line)?;
        let inside = service.first < block.first && block.end <= service.end;
        (inside && block.indent == lines.inner_indent(service)).then_some(block)
    }
}

fn context(loaded: &Loaded) -> Context<'_> {
    Context {
        root: At::root(&loaded.tree),
        project: &loaded.name,
        paths: &loaded.paths,
        environment: &loaded.environment,
    }
}

/// Which services are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The only one that is not protected and keeps or publishes anything.
    OnlyOne,
    Named(Vec<String>),
    /// Every one of the file that is not protected, but the sidecar and etcd.
    All,
}

/// Every service of the file that could be protected.
fn all_of(loaded: &Loaded, own: &Node) -> Vec<String> {
    let context = context(loaded);
    let sidecar = sidecar::find(&context).map(|at| at.name.to_owned());
    let services = context.root.get("services");
    let services = services.iter().flat_map(|at| at.map(&mut Faults::default()));
    let meant = |at: &At<'_>| {
        let image = at
            .get("image")
            .and_then(|image| image.node.scalar())
            .unwrap_or_default();
        let stands_here = own
            .get("services")
            .is_some_and(|services| services.node.get(at.name).is_some());
        at.protection().is_none() && Some(at.name) != sidecar.as_deref() && !image.contains("etcd") && stands_here
    };
    services.filter(meant).map(|at| at.name.to_owned()).collect()
}

/// The service that is meant when nobody says which.
fn only_one(loaded: &Loaded) -> Result<String, String> {
    let context = context(loaded);
    let services = context.root.get("services");
    let sidecar = sidecar::find(&context).map(|at| at.name);
    let services = services.iter().flat_map(|at| at.map(&mut Faults::default()));
    let likely = |at: &At<'_>| {
        let image = at
            .get("image")
            .and_then(|image| image.node.scalar())
            .unwrap_or_default();
        at.protection().is_none()
            && Some(at.name) != sidecar
            && !image.contains("etcd")
            && ["volumes", "ports"].iter().any(|key| at.get(key).is_some())
    };
    let names: Vec<String> = services.filter(likely).map(|at| at.name.to_owned()).collect();
    match names.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err("have none that is not protected and keeps or publishes anything".to_owned()),
        more => Err(format!("may each be meant: {}", more.join(", "))),
    }
}
