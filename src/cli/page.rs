//! What is put on a screen: lines of pieces, each with its tone, laid out for a width. Whatever others wrote is made plain as
//! it comes in, so that only what stands here steers a terminal.

use std::io::IsTerminal;

use super::plain;
use leasehold_base::clock;

/// Where the size of a terminal is not known.
const WIDTH: usize = 80;
/// Longer lines are hard to read, shorter ones are not worth it.
const WIDTH_MIN: usize = 40;
const WIDTH_MAX: usize = 120;
/// What a column keeps while others shrink.
const COLUMN_MIN: usize = 8;
/// Between two columns.
const GAP: usize = 2;
/// Of what goes on below.
const INDENT: usize = 2;
/// A longer command would leave half of a line empty.
const COMMAND_MAX: usize = 60;
/// No-break space; on the screen it is a blank like all others.
const KEPT_BLANK: &str = "\u{a0}";

/// How loud a piece is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    /// The head of a table, or what can be left unread.
    Faint,
    Good,
    Warning,
    Bad,
}

impl Tone {
    /// Select Graphic Rendition of ECMA-48, which every terminal knows.
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Faint => Some("2"),
            Self::Good => Some("32"),
            Self::Warning => Some("33"),
            Self::Bad => Some("1;31"),
        }
    }
}

/// Text of one tone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Piece {
    tone: Tone,
    text: String,
}

impl Piece {
    pub(super) fn new(tone: Tone, text: impl AsRef<str>) -> Self {
        let text = together(&plain::part(text.as_ref()));
        Self { tone, text }
    }
}

/// A command stays in one line, so that it can be copied: its blanks part no line.
fn together(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(
        |(place, part)| match place % 2 == 1 && part.chars().count() <= COMMAND_MAX {
            true => part.replace(' ', KEPT_BLANK),
            false => part.to_owned(),
        },
    );
    parts.collect::<Vec<_>>().join("`")
}

/// Of no tone.
pub(super) fn plain(text: impl AsRef<str>) -> Piece {
    Piece::new(Tone::Plain, text)
}

/// For whom it is laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// Letters a line; none: nothing is wrapped, so that whatever reads it finds each sentence in one line.
    pub(super) width: Option<usize>,
    /// Seconds since 1970.
    pub(super) now: i64,
}

impl View {
    /// For whoever reads stdout: as wide as the terminal, or as `COLUMNS` says.
    pub(super) fn of_stdout() -> Self {
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        let terminal = std::io::stdout().is_terminal();
        let size = terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
        Self {
            width: width(terminal, size, columns),
            now: clock::wall_seconds(),
        }
    }
}

fn width(terminal: bool, size: Option<usize>, columns: Option<usize>) -> Option<usize> {
    let known = columns.filter(|columns| *columns > 0);
    let wanted = match terminal {
        true => Some(size.filter(|size| *size > 0).or(known).unwrap_or(WIDTH)),
        false => known,
    };
    wanted.map(|width| width.clamp(WIDTH_MIN, WIDTH_MAX))
}

/// Whether stdout takes colours: a terminal that is not dumb, and nobody said `NO_COLOR`.
pub(super) fn has_colours() -> bool {
    takes_colours(std::io::stdout().is_terminal(), |name| std::env::var(name).ok())
}

fn takes_colours(terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let refused = variable("NO_COLOR").is_some_and(|word| !word.is_empty());
    terminal && !refused && variable("TERM").is_none_or(|word| word != "dumb")
}

/// Lines of pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    width: Option<usize>,
    lines: Vec<Vec<Piece>>,
}

impl Page {
    pub(super) fn new(view: View) -> Self {
        let (width, lines) = (view.width, Vec::new());
        Self { width, lines }
    }

    /// An empty line.
    pub(super) fn gap(&mut self) {
        self.lines.push(Vec::new());
    }

    /// A line; what does not fit goes on below it, set in by `indent` letters.
    pub(super) fn line(&mut self, pieces: &[Piece], indent: usize) {
        let (mut row, mut used, mut is_begun) = (Vec::new(), 0, false);
        for Piece { tone, text } in pieces {
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(used).max(1));
                let (now, later) = split(rest, room, is_begun);
                used += now.chars().count();
                is_begun |= !now.trim().is_empty();
                let (tone, text) = (*tone, now.to_owned());
                row.push(Piece { tone, text });
                rest = later;
                if !rest.is_empty() {
                    self.lines
                        .push(std::mem::replace(&mut row, vec![plain(" ".repeat(indent))]));
                    (used, is_begun) = (indent, false);
                }
            }
        }
        self.lines.push(row);
    }

    /// A row for each; the first is the head. Columns that do not fit shrink, the widest first, and their cells wrap. What
    /// belongs below a row stands there.
    pub(super) fn table(&mut self, head: &[&str], rows: &[(Vec<Piece>, Vec<Piece>)]) {
        let head: Vec<Piece> = head.iter().map(|name| Piece::new(Tone::Faint, name)).collect();
        let widths = self.widths(&head, rows);
        self.row(&head, &widths);
        for (cells, below) in rows {
            self.row(cells, &widths);
            for piece in below {
                self.line(&[plain(" ".repeat(INDENT)), piece.clone()], INDENT);
            }
        }
    }

    fn widths(&self, head: &[Piece], rows: &[(Vec<Piece>, Vec<Piece>)]) -> Vec<usize> {
        let all = || std::iter::once(head).chain(rows.iter().map(|(cells, _)| cells.as_slice()));
        let natural = |column: usize| {
            all()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.text.chars().count())
                .max()
        };
        let mut widths: Vec<usize> = (0..head.len()).map(|column| natural(column).unwrap_or(0)).collect();
        let gaps = GAP * head.len().saturating_sub(1);
        let room = self.width.map_or(usize::MAX, |width| width.saturating_sub(gaps));
        while widths.iter().sum::<usize>() > room {
            match widths.iter_mut().max().filter(|widest| **widest > COLUMN_MIN) {
                Some(widest) => *widest -= 1,
                None => break,
            }
        }
        widths
    }

    fn row(&mut self, cells: &[Piece], widths: &[usize]) {
        let wrapped: Vec<Vec<&str>> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| wrap(&cell.text, *width))
            .collect();
        let height = wrapped.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..height {
            let mut row = Vec::new();
            let mut blank = 0;
            for ((cell, part), width) in cells.iter().zip(&wrapped).zip(widths) {
                let text = part.get(at).copied().unwrap_or_default();
                if !text.is_empty() {
                    row.push(plain(" ".repeat(blank)));
                    row.push(Piece {
                        tone: cell.tone,
                        text: text.to_owned(),
                    });
                    blank = 0;
                }
                blank += width.saturating_sub(text.chars().count()) + GAP;
            }
            self.lines.push(row);
        }
    }

    /// Without colours.
    pub(super) fn text(&self) -> String {
        self.written(|piece| piece.text.clone())
    }

    /// With colours.
    pub(super) fn painted(&self) -> String {
        self.written(|piece| match piece.tone.code() {
            Some(code) => format!("\x1b[{code}m{}\x1b[0m", piece.text),
            None => piece.text.clone(),
        })
    }

    fn written(&self, piece: impl Fn(&Piece) -> String) -> String {
        let lines = self
            .lines
            .iter()
            .map(|line| line.iter().map(&piece).collect::<String>());
        lines
            .map(|line| line.trim_end().replace(KEPT_BLANK, " "))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// The text in parts of at most so many letters.
fn wrap(text: &str, width: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (now, later) = split(rest, width.max(1), false);
        parts.push(now);
        rest = later;
    }
    parts
}

/// What goes into `room` letters, and what is left: parted at a blank, or within a word that is longer than a whole line. A
/// word that does not fit any more where a line `is_begun` goes to the next one.
fn split(text: &str, room: usize, is_begun: bool) -> (&str, &str) {
    let Some((end, _)) = text.char_indices().nth(room) else {
        return (text, "");
    };
    let (head, after) = text.split_at(end);
    if after.starts_with(' ') {
        return (head, after.trim_start());
    }
    match head.rfind(' ') {
        Some(at) if !head[..at].trim().is_empty() => (head[..at].trim_end(), text[at..].trim_start()),
        Some(_) | None if is_begun => ("", text.trim_start()),
        Some(_) | None => (head, after),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(width: usize) -> Page {
        let width = Some(width);
        Page::new(View { width, now: 0 })
    }

    #[test]
    fn a_line_goes_on_below_and_a_long_word_is_parted() {
        let mut own = page(12);
        own.line(&[plain("! one two three "), Piece::new(Tone::Bad, "four")], 2);
        own.line(&[plain("a-word-that-has-no-end")], 2);
        assert_eq!(own.text(), "! one two\n  three four\na-word-that-\n  has-no-end");
        let mut command = page(30);
        command.line(&[plain("not ready: run `leasehold init mail` there")], 2);
        assert_eq!(command.text(), "not ready: run\n  `leasehold init mail` there");
        let mut whole = Page::default();
        whole.line(&[plain("one two three four")], 2);
        assert_eq!(whole.text(), "one two three four");
    }

    #[test]
    fn a_table_shrinks_where_it_is_widest() {
        let row = |a: &str, b: &str| (vec![plain(a), plain(b)], vec![plain("below it")]);
        let mut own = page(24);
        own.table(&["NODE", "WHY"], &[row("alpha", "not ready for it today")]);
        assert_eq!(
            own.text(),
            "NODE   WHY\nalpha  not ready for it\n       today\n  below it"
        );
        let mut wide = Page::default();
        wide.table(&["A", "B"], &[row("a\nb", "\x1b[2J")]);
        assert_eq!(wide.text(), "A     B\na\\nb  \\u{1b}[2J\n  below it");
    }

    #[test]
    fn colours_are_for_a_terminal_that_wants_them() {
        let mut own = page(80);
        own.line(&[Piece::new(Tone::Good, "normal\x1b[31m"), plain(".")], 0);
        assert_eq!(own.painted(), "\x1b[32mnormal\\u{1b}[31m\x1b[0m.");
        assert_eq!(own.text(), "normal\\u{1b}[31m.");
        let of = |name: &'static str, value: &'static str| move |asked: &str| (asked == name).then(|| value.to_owned());
        assert!(takes_colours(true, |_| None) && takes_colours(true, of("NO_COLOR", "")));
        assert!(!takes_colours(false, |_| None), "no terminal");
        assert!(!takes_colours(true, of("NO_COLOR", "1")));
        assert!(!takes_colours(true, of("TERM", "dumb")));
    }

    #[test]
    fn a_terminal_has_its_width_and_a_pipe_none_unless_it_is_said() {
        for (terminal, size, columns, wanted) in [
            (true, Some(80), None, Some(80)),
            (true, None, None, Some(80)),
            (true, Some(0), Some(100), Some(100)),
            (true, Some(400), Some(60), Some(120)),
            (true, Some(10), None, Some(40)),
            (false, None, None, None),
            (false, None, Some(80), Some(80)),
            (false, None, Some(0), None),
        ] {
            assert_eq!(
                width(terminal, size, columns),
                wanted,
                "{terminal} {size:?} {columns:?}"
            );
        }
    }
}
