//! The edit of a compose file that protects a service, and the one that makes it a plain one again. Only whole lines are
//! added, and what must go is kept in a comment: the user's order and comments stay, and the way back is known.

mod guess;
mod lines;
mod protect;
mod release;

use std::path::{Path, PathBuf};

use super::context::Context;
use super::cursor::At;
use super::fault::{Fault, Faults, Mark};
use super::files::{self, Loaded, Sources};
use super::model::{END_BUDGET, Project, Service};
use super::yaml::Node;
use super::{leasehold, project, service};
use leasehold_base::small_file;

use self::lines::{Block, Lines};

pub use guess::Hints;

/// In front of what was taken out of a service, and is put back with the reverse edit.
const KEPT: &str = "# plain: ";
/// Behind a line that only a protected service needs.
const OURS: &str = "  # leasehold: ";

/// What is wanted beyond the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The group's name; none: the service's.
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
        let name = match name {
            Some(name) => name.to_owned(),
            None => only_one(&loaded).map_err(|message| whole(message, "name it with --service NAME"))?,
        };
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
        Ok(Self {
            name,
            image: service.image.clone(),
            sources: sources.clone(),
            file: file.to_path_buf(),
            text,
            own,
            loaded,
            service,
        })
    }

    /// The edit that protects the service.
    ///
    /// # Errors
    /// What stands in the way: a file written so that lines can't be added to it.
    pub fn protect(&self, request: &Request, hints: &Hints) -> Result<Draft, Vec<Fault>> {
        let plan = protect::plan(self, request, hints).map_err(|fault| vec![fault])?;
        Ok(self.draft(plan.edits, plan.notes))
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
        let (project, mut faults, warnings) = project::imagine(&self.sources, &self.file, &after);
        faults.extend(project.as_ref().and_then(|project| self.short_grace(project, &after)));
        faults.sort_by_key(|fault| fault.line);
        Draft {
            before: self.text.clone(),
            after,
            project,
            faults,
            warnings,
            notes,
        }
    }

    /// The sidecar that is there must have the time to stop what it runs.
    fn short_grace(&self, project: &Project, after: &str) -> Option<Fault> {
        let longest = protect::longest_stop(project)?;
        let context = context(&self.loaded);
        let at = protect::sidecar(&context)?;
        let grace = service::read(&at, &context, &mut Faults::default()).stop_grace_period;
        if grace >= longest + END_BUDGET {
            return None;
        }
        let tree = files::own_tree(after).ok()?;
        let entry = tree.get("services")?.node.get(at.name)?;
        let stated = entry.node.get("stop_grace_period").unwrap_or(entry);
        Some(Fault {
            file: self.loaded.paths.shown(&self.file),
            line: stated.mark.line,
            key: format!("{}.stop_grace_period", at.path),
            message: format!("is {grace:?}, but its services may take {longest:?} to stop"),
            remedy: format!(
                "write `stop_grace_period: {}s`",
                (longest + protect::GRACE_MORE).as_secs()
            ),
        })
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

/// The service that is meant when nobody says which.
fn only_one(loaded: &Loaded) -> Result<String, String> {
    let context = context(loaded);
    let services = context.root.get("services");
    let sidecar = protect::sidecar(&context).map(|at| at.name);
    let services = services.iter().flat_map(|at| at.map(&mut Faults::default()));
    let likely = |at: &At<'_>| {
        let image = at
            .get("image")
            .and_then(|image| image.node.scalar())
            .unwrap_or_default();
        at.get("x-leasehold").is_none()
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
