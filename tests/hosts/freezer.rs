//! The freezer of the control groups: everything in a group stops between two instructions and goes on later, as a
//! machine does that its hypervisor pauses.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::shell::until;

const ROOT: &str = "/sys/fs/cgroup/freezer";
const LIMIT: Duration = Duration::from_secs(5);

/// The group below the freezer's root; a container's is `HOST/ID`.
pub(crate) fn group(name: &str) -> PathBuf {
    Path::new(ROOT).join(name)
}

/// The group of a host and those below it, the outermost first.
pub(crate) fn below(host: &str) -> Vec<PathBuf> {
    let own = group(host);
    let inner = fs::read_dir(&own).into_iter().flatten().flatten();
    let inner: Vec<PathBuf> = inner.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    std::iter::once(own).chain(inner).collect()
}

/// Moves processes that are in none of a host's groups into one of its own, so that the host freezes as a whole.
pub(crate) fn gather(host: &str, pids: impl IntoIterator<Item = i32>) {
    let own = group(host).join("machine");
    fs::create_dir_all(&own).expect("a group of the freezer");
    for pid in pids {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let here = groups.lines().any(|line| {
            line.split_once(":freezer:")
                .is_some_and(|(_, at)| at.starts_with(&format!("/{host}/")))
        });
        if !here {
            // It may have ended meanwhile.
            let _ = fs::write(own.join("cgroup.procs"), pid.to_string());
        }
    }
}

pub(crate) fn freeze(group: &Path) {
    write(group, "FROZEN");
    until("everything to be frozen", LIMIT, || {
        (state(group) == "FROZEN").then_some(())
    });
}

/// Does nothing where nothing is frozen, or no such group is.
pub(crate) fn thaw(group: &Path) {
    if group.is_dir() {
        write(group, "THAWED");
    }
}

fn state(group: &Path) -> String {
    let text = fs::read_to_string(group.join("freezer.state")).unwrap_or_default();
    text.trim().to_owned()
}

fn write(group: &Path, state: &str) {
    // A group whose last process has ended may go at any time.
    let written = fs::write(group.join("freezer.state"), state);
    assert!(
        written.is_ok() || !group.is_dir(),
        "{}: {written:?}; is the freezer of cgroup v1 mounted?",
        group.display()
    );
}
