//! Whether a cgroup holds processes: running, stopped, frozen or hanging in the kernel alike.

use std::fs;
use std::io;
use std::path::Path;

use super::hierarchy::{directories, is_removed};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occupancy {
    Busy,
    Empty,
    /// This hierarchy can't tell, or the cgroup is just being removed: no word in either direction.
    Untold,
}

/// What a cgroup and all below it hold.
///
/// `cgroup.procs` lists the processes of the reader's own PID namespace and leaves the others out: read from within a
/// container it is empty while the cgroup is full. So it proves emptiness only to a reader who sees all.
pub(super) fn of(directory: &Path, sees_all_processes: bool) -> Occupancy {
    let told = match fs::read_to_string(directory.join("cgroup.events")) {
        Ok(events) => populated(&events),
        Err(_) => match fs::read_to_string(directory.join("pids.current")) {
            // Counts what is below, too.
            Ok(count) => count.trim().parse::<u64>().ok().map(|count| count > 0),
            Err(_) => match lists_any(directory) {
                Ok(true) => Some(true),
                Ok(false) => sees_all_processes.then_some(false),
                Err(_) => None,
            },
        },
    };
    match told {
        Some(true) => Occupancy::Busy,
        Some(false) => Occupancy::Empty,
        None => Occupancy::Untold,
    }
}

fn populated(events: &str) -> Option<bool> {
    let value = events.lines().find_map(|line| line.strip_prefix("populated "))?;
    match value.trim() {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

/// Whether any `cgroup.procs` from here on down lists a process.
fn lists_any(directory: &Path) -> io::Result<bool> {
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        match fs::read_to_string(directory.join("cgroup.procs")) {
            Ok(list) if !list.trim().is_empty() => return Ok(true),
            Ok(_) => open.extend(directories(&directory)?),
            Err(error) if is_removed(&error) && directory.exists() => return Err(error),
            Err(error) if is_removed(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
