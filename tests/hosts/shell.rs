//! Commands, waiting with a limit, and time.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use leasehold::base::clock;

/// Between two looks at something that is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Time since boot, as the ledger counts it.
pub(crate) fn now() -> Duration {
    clock::now().boot
}

/// Prints a line at once, also where the test runner keeps back what passed tests print: the figures are the result.
pub(crate) fn say(line: &str) {
    // Nobody to hear it is no fault of the hosts.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Looks until there is something to see; a panic says what never came.
pub(crate) fn until<T>(what: &str, limit: Duration, look: impl FnMut() -> Option<T>) -> T {
    within(limit, look).unwrap_or_else(|| panic!("waited {limit:?} for {what}"))
}

/// Looks until there is something to see, or the limit has passed.
pub(crate) fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let began = now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if now().saturating_sub(began) >= limit {
            return None;
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Runs a shell command that must succeed; its output.
pub(crate) fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().expect("sh");
    assert!(output.status.success(), "{command}: {}", words(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a shell command that may fail, because what it undoes may never have been done.
pub(crate) fn try_sh(command: &str) {
    // Nothing depends on it.
    let _ = Command::new("sh").args(["-c", command]).output();
}

/// Everything that a command said.
pub(crate) fn words(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    both.join("\n").trim().to_owned()
}

/// The last lines of a file.
pub(crate) fn tail(file: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
