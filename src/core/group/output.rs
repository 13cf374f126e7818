//! What a container says whose run has failed: its exit code, and the last lines that it wrote.

use super::Group;
use crate::epoch::Run;
use crate::event::Action;
use crate::snapshot::code::Code;
use crate::text;
use crate::time::Time;

/// What is kept of the lines.
const LINES_MAX: usize = 3;
const CHARS_MAX: usize = 400;
/// Exit codes by which a program says that another host would fail as well: "try again later", as of a lock that somebody else
/// still holds, and "wrong configuration".
const SHARED: [i64; 2] = [75, 78];

/// What is known of the failures of an epoch. It outlives a run that served for a moment: some serve until they look at their data.
#[derive(Clone, Debug, Default)]
pub(super) struct Output {
    /// The last run that failed.
    failed: Option<Run>,
    /// What its container ended with, in a sentence.
    text: Option<String>,
    is_shared: bool,
}

impl Output {
    pub(super) fn failed(&mut self, run: Run) {
        self.failed = Some(run);
    }

    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Its program says that it would be the same on every host.
    pub(super) fn is_shared(&self) -> bool {
        self.is_shared
    }
}

impl Group {
    /// A container has ended, by the engine's word: what it says of that counts where its run has failed.
    pub(crate) fn ended(
        &mut self,
        now: Time,
        service: usize,
        run: Option<Run>,
        code: Option<i64>,
        lines: &[String],
        out: &mut Vec<Action>,
    ) {
        let (Some(settings), Some(held)) = (self.settings.services.get(service), &self.held) else {
            return;
        };
        // Its end may be told before the run has failed by it; of one that is adopted it is not told which it was.
        let fails = !held.latched && run == Some(held.run);
        let has_failed = self
            .output
            .failed
            .is_some_and(|failed| run.is_none_or(|run| run == failed));
        if !fails && !has_failed {
            return;
        }
        let text = text::start::output(&settings.name, code, &brief(lines));
        self.output.text = Some(text.clone());
        self.output.is_shared = code.is_some_and(|code| SHARED.contains(&code));
        self.mention(now, Code::ServiceOutput, text, out);
    }
}

/// The end of what was written, on one line.
fn brief(lines: &[String]) -> String {
    let clean = |line: &String| line.chars().filter(|sign| !sign.is_control()).collect::<String>();
    let written: Vec<String> = lines.iter().map(clean).filter(|line| !line.trim().is_empty()).collect();
    let last = &written[written.len().saturating_sub(LINES_MAX)..];
    let all = last.join(" | ");
    match all.chars().count().checked_sub(CHARS_MAX) {
        None | Some(0) => all,
        Some(more) => format!("...{}", all.chars().skip(more).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept_and_nothing_that_moves_a_cursor() {
        let lines = |all: &[&str]| all.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert_eq!(brief(&[]), "");
        assert_eq!(brief(&lines(&["a", "b\u{1b}[2J", "", "c", "d "])), "b[2J | c | d ");
        let long = brief(&lines(&["x", &"\u{e9}".repeat(1000)]));
        assert_eq!(long.chars().count(), CHARS_MAX + 3);
        assert!(long.starts_with("..."));
    }
}
