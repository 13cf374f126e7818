//! What the rows showed, for people and for tools: on the terminal, and as `NAME.md` and `NAME.json` beside the build.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::repairs::Thaw;
use crate::row::Figure;

/// A row of the table.
pub(crate) struct Line {
    pub(crate) name: &'static str,
    /// None where it failed.
    pub(crate) figure: Option<Figure>,
    pub(crate) took: Duration,
}

impl Figure {
    /// What was compared.
    fn bound(&self) -> String {
        let limit = self.limit.as_secs_f64();
        match self.back {
            Some(back) => format!("{:.1} of {limit:.0} after healing", back.as_secs_f64()),
            None => format!("{limit:.0}"),
        }
    }
}

impl Line {
    pub(crate) fn text(&self) -> String {
        let took = self.took.as_secs();
        match &self.figure {
            Some(figure) => format!(
                "{:<50} passed {:>7.2} {:<24} {:>8.3}     {} (took {took} s)",
                self.name,
                figure.outage.as_secs_f64(),
                figure.bound(),
                figure.two_writers.as_secs_f64(),
                figure.note
            ),
            None => format!("{:<50} FAILED, see above (took {took} s)", self.name),
        }
    }

    fn markdown(&self) -> String {
        let (name, took) = (self.name, self.took.as_secs());
        match &self.figure {
            Some(figure) => format!(
                "| {name} | passed | {:.2} | {} | {:.3} | {} | {took} |",
                figure.outage.as_secs_f64(),
                figure.bound(),
                figure.two_writers.as_secs_f64(),
                figure.note
            ),
            None => format!("| {name} | FAILED | | | | | {took} |"),
        }
    }

    fn json(&self) -> serde_json::Value {
        let figure = self.figure.as_ref();
        serde_json::json!({
            "name": self.name,
            "passed": figure.is_some(),
            "outage_s": figure.map(|figure| figure.outage.as_secs_f64()),
            "bound_s": figure.map(|figure| figure.limit.as_secs_f64()),
            "back_after_healing_s": figure.and_then(|figure| figure.back).map(|back| back.as_secs_f64()),
            "two_writers_s": figure.map(|figure| figure.two_writers.as_secs_f64()),
            "note": figure.map(|figure| figure.note.clone()),
            "took_s": self.took.as_secs_f64(),
        })
    }
}

/// Writes both files anew; a run that is ended early leaves what it has seen.
pub(crate) fn write(name: &str, lines: &[Line], thaws: &[Thaw]) {
    let mut text = "| what happens | result | outage s | bound s | two writers s | what was seen | took s |\n\
                    | --- | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for line in lines {
        let _ = writeln!(text, "{}", line.markdown());
    }
    for line in closing(thaws) {
        let _ = write!(text, "\n{line}\n");
    }
    let rows: Vec<_> = lines.iter().map(Line::json).collect();
    let thaws: Vec<_> = thaws
        .iter()
        .map(|thaw| {
            serde_json::json!({
                "two_writers_s": thaw.two_writers.as_secs_f64(),
                "tether_lived_s": thaw.lived.as_secs_f64(),
            })
        })
        .collect();
    let all = serde_json::json!({ "rows": rows, "thaws": thaws });
    std::fs::write(place(&format!("{name}.md")), text).expect("the table");
    std::fs::write(place(&format!("{name}.json")), format!("{all:#}\n")).expect("the table");
}

/// Beside the build.
pub(crate) fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name(name)
}

/// What is said under the table.
pub(crate) fn closing(thaws: &[Thaw]) -> Vec<String> {
    let mut lines = vec![
        "Outage: the longest time from one greeting on port 25 to the next. Bound: of the outage, or of the time after \
         healing where the service can't be back before. Two writers: time in which two runs wrote to the storage."
            .to_owned(),
    ];
    if !thaws.is_empty() {
        let two_writers = spread(thaws.iter().map(|thaw| thaw.two_writers).collect());
        let lived = spread(thaws.iter().map(|thaw| thaw.lived).collect());
        lines.push(format!(
            "Holders thawed past their deadline, {} times: two writers {two_writers}; from the thaw to the tether's end \
             {lived}.",
            thaws.len()
        ));
    }
    lines
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    // The smallest that no more than the given share is above.
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100).saturating_sub(1)].as_secs_f64() * 1000.0;
    format!("p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", at(50), at(99), at(100))
}
