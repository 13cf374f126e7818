//! What an administrator reads: the words of `leasehold status` and `leasehold why`, as they stand on the screen.

use std::process::Output;
use std::time::Duration;

use crate::host::{Host, SIDECAR};
use crate::shell::{say, within, words};

/// A sentence that is true is shown within this; the command itself takes half a second.
const LIMIT: Duration = Duration::from_secs(20);

impl Host {
    /// Waits until the command shows every one of these words; then all that it showed.
    pub(crate) fn await_words(&self, arguments: &[&str], wanted: &[&str]) -> String {
        let mut shown = String::new();
        let found = within(LIMIT, || {
            shown = words(&self.leasehold(arguments));
            wanted.iter().all(|words| shown.contains(words)).then_some(())
        });
        assert!(
            found.is_some(),
            "{}: leasehold {arguments:?} does not show all of {wanted:?}:\n{shown}",
            self.name
        );
        let lines = shown
            .lines()
            .filter(|line| wanted.iter().any(|words| line.contains(words)));
        lines.for_each(|line| say(&format!("    {} reads: {}", self.name, line.trim())));
        shown
    }

    /// The same of `leasehold status`, with its exit code: 0 normal, 1 warning, 2 failed, 3 unknown.
    pub(crate) fn await_status(&self, code: i32, wanted: &[&str]) -> String {
        let word = ["health: normal", "health: warning", "health: failed", "health: unknown"]
            [usize::try_from(code).expect("a small number")];
        let shown = self.await_words(&["status"], &[&[word], wanted].concat());
        // The state may be another one already, but words and code always fit.
        let again = self.leasehold(&["status"]);
        let expected = words(&again).contains(word);
        assert_eq!(again.status.code() == Some(code), expected, "{}", words(&again));
        shown
    }

    /// Waits until the sidecar of this host has logged these words.
    pub(crate) fn await_log(&self, wanted: &str, limit: Duration) {
        let found = within(limit, || {
            let log = words(&self.docker(&["logs", "--tail", "400", SIDECAR]));
            let line = log.lines().find(|line| line.contains(wanted))?;
            say(&format!("    {} logs: {}", self.name, line.trim()));
            Some(())
        });
        assert!(found.is_some(), "{}: not logged within {limit:?}: {wanted}", self.name);
    }

    /// A command that must be refused with these words.
    pub(crate) fn is_refused(&self, arguments: &[&str], wanted: &str) {
        let output = self.leasehold(arguments);
        let said = words(&output);
        assert!(
            !output.status.success() && said.contains(wanted),
            "{}: leasehold {arguments:?} should be refused with {wanted:?}: {said}",
            self.name
        );
        say(&format!("    {} reads: {said}", self.name));
    }

    /// A command that must succeed.
    pub(crate) fn does(&self, arguments: &[&str]) -> Output {
        let output = self.leasehold(arguments);
        let said = words(&output);
        assert!(
            output.status.success(),
            "{}: leasehold {arguments:?}: {said}",
            self.name
        );
        say(&format!("    {}: leasehold {}: {said}", self.name, arguments.join(" ")));
        output
    }
}
