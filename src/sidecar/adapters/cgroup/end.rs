//! The second way to end a container: through its cgroups. It asks neither the engine nor any process of the container,
//! whose PID 1 may never get a processor again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, kill_process};

use super::Cgroups;
use super::hierarchy::{Kind, directories, is_removed};

/// Between two readings of the time that a container has used.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// It runs on if it used more than this meanwhile.
const BUSY: Duration = Duration::from_millis(2);

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The kernel kills every process of it, whatever that one does.
    Killed,
    /// No process of it goes on. They are still there, and nobody may thaw them: what is to kill them may be starved again.
    Frozen,
    /// Nothing of it uses a processor: what is left hangs in the kernel, and a freezer would only keep it there.
    Idle,
    /// It can't be done from here, and why.
    Unable {
        why: String,
        /// The host has version 2 alone: there a process that is frozen can still be killed.
        unified: bool,
    },
}

impl Cgroups {
    /// Keeps every process of these containers from going on. Blocks for a few milliseconds.
    #[must_use]
    pub fn end(&self, ids: &[&str]) -> End {
        let unable = |why: String, unified| End::Unable { why, unified };
        let hierarchies = match self.hierarchies() {
            Ok(hierarchies) => hierarchies,
            Err(why) => return unable(why, true),
        };
        let unified = hierarchies.iter().all(|hierarchy| hierarchy.kind == Kind::V2);
        let (mut second, mut first) = (Vec::new(), Vec::new());
        for hierarchy in &hierarchies {
            let found = hierarchy
                .find(ids)
                .unwrap_or_default()
                .into_iter()
                .map(|(_, path)| path);
            match hierarchy.kind {
                Kind::V2 => second.extend(found),
                Kind::V1 => first.extend(found),
            }
        }
        if second.is_empty() && first.is_empty() {
            return unable("no cgroup of it is seen".to_owned(), unified);
        }
        let killed = second.iter().try_for_each(|path| put(path, "cgroup.kill", "1"));
        if killed.is_ok() && !second.is_empty() {
            return End::Killed;
        }
        if !busy(&first, &second) {
            return End::Idle;
        }
        match killed {
            Err(error) if unified => unable(told(&second, "cgroup.kill", &error), true),
            Ok(()) | Err(_) => self.freeze(&first),
        }
    }

    /// Whether [`Cgroups::end`] will work here: for `leasehold check`.
    ///
    /// # Errors
    /// Why it will not, with the remedy.
    pub fn can_end(&self) -> Result<(), String> {
        let file = |kind| match kind {
            Kind::V2 => "cgroup.kill",
            Kind::V1 => "freezer.state",
        };
        let mut seen = None;
        for hierarchy in self.hierarchies()? {
            let below = directories(&hierarchy.path).unwrap_or_default();
            // No root has one.
            let mut switches = below.iter().map(|path| path.join(file(hierarchy.kind)));
            let Some(switch) = switches.find(|path| path.exists()) else {
                continue;
            };
            match access(&switch, Access::WRITE_OK) {
                Ok(()) => return Ok(()),
                Err(error) => seen = Some(format!("{}: {error}", switch.display())),
            }
        }
        let why = seen.unwrap_or_else(|| format!("{} shows no cgroup.kill and no freezer", self.top.display()));
        Err(format!("{why}; {}, without `:ro`", self.remedy()))
    }

    /// Version 1. Where the processes are seen from here they are killed, too.
    fn freeze(&self, all: &[PathBuf]) -> End {
        let with_freezer = |path: &&PathBuf| path.join("freezer.state").exists();
        let freezers: Vec<PathBuf> = all.iter().filter(with_freezer).cloned().collect();
        let unable = |why| End::Unable { why, unified: false };
        if freezers.is_empty() {
            return unable("no freezer of it is seen".to_owned());
        }
        if let Err(error) = freezers
            .iter()
            .try_for_each(|path| put(path, "freezer.state", "FROZEN"))
        {
            return unable(told(&freezers, "freezer.state", &error));
        }
        if !self.sees_all_processes {
            return End::Frozen;
        }
        // Nothing begins or ends meanwhile, and whoever wakes up dies first.
        freezers.iter().for_each(|path| kill_below(path));
        match freezers
            .iter()
            .try_for_each(|path| put(path, "freezer.state", "THAWED"))
        {
            Ok(()) => End::Killed,
            Err(_) => End::Frozen,
        }
    }
}

/// One that was removed needs nothing any more.
fn put(path: &Path, file: &str, word: &str) -> io::Result<()> {
    match fs::OpenOptions::new().write(true).open(path.join(file)) {
        Ok(mut file) => io::Write::write_all(&mut file, word.as_bytes()),
        Err(error) if is_removed(&error) && !path.exists() => Ok(()),
        Err(error) => Err(error),
    }
}

fn told(paths: &[PathBuf], file: &str, error: &io::Error) -> String {
    let path = paths.first().map(|path| path.join(file)).unwrap_or_default();
    format!("{}: {error}", path.display())
}

/// Whether any of it runs. In version 2 every cgroup counts its time, in version 1 one hierarchy does.
fn busy(first: &[PathBuf], second: &[PathBuf]) -> bool {
    let read = |path: &PathBuf, file: &str| fs::read_to_string(path.join(file)).ok();
    let microseconds = |text: String| -> Option<u64> {
        text.lines()
            .find_map(|line| line.strip_prefix("usage_usec "))?
            .parse()
            .ok()
    };
    let used = || -> Duration {
        let first = first.iter().filter_map(|path| read(path, "cpuacct.usage"));
        let first = first.filter_map(|text| Some(Duration::from_nanos(text.trim().parse().ok()?)));
        let second = second.iter().filter_map(|path| microseconds(read(path, "cpu.stat")?));
        first.chain(second.map(Duration::from_micros)).sum()
    };
    let before = used();
    thread::sleep(BUSY_PAUSE);
    used().saturating_sub(before) > BUSY
}

fn kill_below(path: &Path) {
    for pid in fs::read_to_string(path.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
    {
        if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    directories(path)
        .unwrap_or_default()
        .iter()
        .for_each(|path| kill_below(path));
}
