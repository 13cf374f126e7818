//! The second witness of a stop: the container's own cgroup, as the kernel keeps it. It needs no engine, so one that is
//! dead, frozen or mistaken can neither feign a stop nor hide one.
//!
//! A cgroup is found by the container's id in its name, wherever it lies: every driver and every `cgroup_parent` of the
//! engine puts it there. That it is *not* found proves something only where the view is known to be the right one:
//! where this very container was seen before, or where the whole hierarchy is visible and another container of the
//! same engine is in it.

mod end;
mod hierarchy;
mod memory;
mod occupancy;

use std::path::{Path, PathBuf};

pub use end::End;
use hierarchy::{Hierarchy, Kind};
pub use memory::{Memory, Started};
use occupancy::Occupancy;

/// Inode of the first PID namespace of every Linux kernel (`PROC_PID_INIT_INO`).
const HOST_PID_NAMESPACE: u64 = 4_026_531_836;

/// A hierarchy, seen from one of its directories: the device of the mount and the inode of what it shows as its top.
/// The kernel does not use the number of a cgroup again before it reboots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Place {
    device: u64,
    top: u64,
}

/// What the kernel shows of some containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing of any of them is left.
    Nothing,
    /// At least this one still holds processes.
    Left { id: String },
    /// It can't be told, and why.
    Hidden { why: String },
}

/// A verdict, and where each container was seen alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    pub verdict: Verdict,
    /// Containers with processes: id and place.
    pub seen: Vec<(String, Place)>,
}

/// The view of the host's cgroups from here.
#[derive(Clone, Debug)]
pub struct Cgroups {
    top: PathBuf,
    /// The sidecar's own container, which lies where all containers of the engine lie.
    own: Option<String>,
    /// Whether `cgroup.procs` shows the processes of every PID namespace here.
    sees_all_processes: bool,
    kind: fn(&Path) -> Option<Kind>,
}

impl Cgroups {
    /// Looks at nothing yet. `own` is the id of the container in which this process runs, if it runs in one.
    #[must_use]
    pub fn new(top: &Path, own: Option<&str>) -> Self {
        use std::os::unix::fs::MetadataExt;
        let namespace = std::fs::metadata("/proc/self/ns/pid").map(|of| of.ino());
        Self {
            top: top.to_owned(),
            own: own.map(str::to_owned),
            sees_all_processes: namespace.is_ok_and(|ino| ino == HOST_PID_NAMESPACE),
            kind: hierarchy::kind,
        }
    }

    /// Whether the absence of a cgroup will mean something here: for `leasehold check`.
    ///
    /// # Errors
    /// Why it will not, with the remedy.
    pub fn check(&self) -> Result<String, String> {
        let own: Vec<&str> = self.own.iter().map(String::as_str).collect();
        let mut whole = Vec::new();
        for hierarchy in self.hierarchies()? {
            let found = hierarchy.find(&own).map_err(|error| unread(&hierarchy, &error))?;
            let is_right = self.own.is_none() || !found.is_empty();
            if hierarchy.whole && is_right && hierarchy.tells_emptiness(self.sees_all_processes) {
                whole.push(hierarchy.path.display().to_string());
            }
        }
        if whole.is_empty() {
            return Err(self.blind(&self.hierarchies()?));
        }
        Ok(whole.join(", "))
    }

    /// What is left of these containers. `before` says where each was seen alive in this boot. Blocks: the kernel
    /// holds its readers up while it changes a hierarchy.
    #[must_use]
    pub fn look(&self, started: &[Started]) -> Look {
        let mut seen = Vec::new();
        let verdict = match self.hierarchies() {
            Ok(hierarchies) => self.judge_all(&hierarchies, started, &mut seen),
            Err(why) => Verdict::Hidden { why },
        };
        Look { verdict, seen }
    }

    fn judge_all(&self, hierarchies: &[Hierarchy], started: &[Started], seen: &mut Vec<(String, Place)>) -> Verdict {
        let mut ids: Vec<&str> = started.iter().map(|one| one.id.as_str()).collect();
        ids.extend(self.own.as_deref());
        let mut views = Vec::new();
        let mut failure = None;
        for hierarchy in hierarchies {
            match hierarchy.find(&ids) {
                Ok(found) => views.push((hierarchy, found)),
                Err(error) => failure = Some(unread(hierarchy, &error)),
            }
        }
        let mut hidden = false;
        for one in started {
            match self.judge(&views, one, seen) {
                Some(true) => return Verdict::Left { id: one.id.clone() },
                Some(false) => {}
                None => hidden = true,
            }
        }
        if hidden {
            let why = failure.unwrap_or_else(|| self.blind(hierarchies));
            return Verdict::Hidden { why };
        }
        Verdict::Nothing
    }

    /// Whether anything of a container is left; `None` where nothing here can tell. A process is in exactly one cgroup of
    /// each hierarchy, so one hierarchy that can tell is enough to prove the end, and one that shows a process disproves it.
    fn judge(
        &self,
        views: &[(&Hierarchy, Vec<(String, PathBuf)>)],
        one: &Started,
        seen: &mut Vec<(String, Place)>,
    ) -> Option<bool> {
        let mut over = None;
        for (hierarchy, found) in views {
            let known = one.seen.contains(&hierarchy.place);
            let mut of_it = found.iter().filter(|(id, _)| *id == one.id).peekable();
            if of_it.peek().is_none() {
                let sibling = self
                    .own
                    .as_ref()
                    .is_some_and(|own| found.iter().any(|(id, _)| id == own));
                if known || (hierarchy.whole && sibling) {
                    over = Some(false);
                }
                continue;
            }
            let mut empty = true;
            for (id, directory) in of_it {
                match occupancy::of(directory, self.sees_all_processes) {
                    Occupancy::Busy => {
                        seen.push((id.clone(), hierarchy.place));
                        return Some(true);
                    }
                    Occupancy::Empty => {}
                    Occupancy::Untold => empty = false,
                }
            }
            if empty && (known || hierarchy.whole) {
                over = Some(false);
            }
        }
        over
    }

    fn hierarchies(&self) -> Result<Vec<Hierarchy>, String> {
        let found = hierarchy::below(&self.top, self.kind);
        let found = found.map_err(|error| format!("{}: {error}", self.top.display()))?;
        if found.is_empty() {
            return Err(format!("{} shows no cgroups: {}", self.top.display(), self.remedy()));
        }
        Ok(found)
    }

    fn blind(&self, hierarchies: &[Hierarchy]) -> String {
        let top = self.top.display();
        if hierarchies.iter().any(|hierarchy| hierarchy.whole) {
            return format!(
                "{top} does not show where the engine keeps the containers' cgroups, or not what they hold"
            );
        }
        format!("{top} shows a part of the host's cgroups only: {}", self.remedy())
    }

    fn remedy(&self) -> String {
        match self.own {
            Some(_) => format!("add `- /sys/fs/cgroup:{}` to the sidecar's volumes", self.top.display()),
            None => "give the directory where the host's cgroups are mounted in LEASEHOLD_CGROUP".to_owned(),
        }
    }
}

fn unread(hierarchy: &Hierarchy, error: &std::io::Error) -> String {
    format!("{}: {error}", hierarchy.path.display())
}

#[cfg(test)]
mod tests;
