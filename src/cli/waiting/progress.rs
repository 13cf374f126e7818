//! Lines for whoever watches at a terminal: a phase begins, and its time stands behind it when it ends.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::super::plain::part;
use leasehold_api::follow::Progress;

/// Where the lines go.
#[derive(Debug)]
pub(super) struct Printer<W> {
    output: W,
    /// Nobody watches.
    is_quiet: bool,
    /// The line that waits for its time.
    open: Option<String>,
}

impl Printer<std::io::Stderr> {
    /// On stderr, if that is a terminal and nobody wants JSON.
    pub(super) fn new(json: bool) -> Self {
        let output = std::io::stderr();
        let is_quiet = json || !output.is_terminal();
        let open = None;
        Self { output, is_quiet, open }
    }
}

impl<W: Write> Printer<W> {
    /// A line of its own.
    pub(super) fn note(&mut self, text: &str) {
        self.show(Progress::Note(text.to_owned()));
    }

    /// Nobody to see it is no error.
    pub(super) fn show(&mut self, progress: Progress) {
        if self.is_quiet {
            return;
        }
        let _ = match progress {
            Progress::Begins(what) => {
                self.close();
                let begun = write!(self.output, "{} ...", part(&what));
                self.open = Some(what);
                begun
            }
            Progress::Ends { what, took } if self.open.as_ref() == Some(&what) => {
                self.open = None;
                writeln!(self.output, " {}", time(took))
            }
            Progress::Ends { what, took } => {
                self.close();
                writeln!(self.output, "{} ... {}", part(&what), time(took))
            }
            Progress::Note(what) => {
                self.close();
                writeln!(self.output, "{}", part(&what))
            }
        };
        let _ = self.output.flush();
    }

    /// What comes next begins on a line of its own.
    pub(super) fn close(&mut self) {
        if self.open.take().is_some() {
            let _ = writeln!(self.output);
        }
    }
}

fn time(took: Duration) -> String {
    match took.as_secs() {
        0..=59 => format!("{:.1} s", took.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(is_quiet: bool, lines: Vec<Progress>) -> String {
        let mut printer = Printer {
            output: Vec::new(),
            is_quiet,
            open: None,
        };
        lines.into_iter().for_each(|line| printer.show(line));
        printer.close();
        String::from_utf8(printer.output).unwrap()
    }

    fn begins(what: &str) -> Progress {
        Progress::Begins(what.to_owned())
    }

    fn ends(what: &str, ms: u64) -> Progress {
        Progress::Ends {
            what: what.to_owned(),
            took: Duration::from_millis(ms),
        }
    }

    #[test]
    fn a_phase_is_a_line_with_its_time() {
        let lines = vec![
            begins("a stops mail"),
            ends("a stops mail", 412),
            begins("b starts mail"),
            Progress::Note("b does not serve yet: \x1b[2J".to_owned()),
            ends("b starts mail", 75_300),
            Progress::Note("serving".to_owned()),
            begins("a stops web"),
        ];
        let wanted = "a stops mail ... 0.4 s\nb starts mail ...\nb does not serve yet: \\u{1b}[2J\nb starts mail ... 1 min 15 s\n\
                      serving\na stops web ...\n";
        assert_eq!(shown(false, lines.clone()), wanted);
        assert_eq!(shown(true, lines), "");
    }
}
