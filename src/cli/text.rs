//! Words in and out.

use std::io::Write;
use std::time::Duration;

use leasehold_base::length;

use super::plain;

/// A line to stderr; nobody to hear it is no error.
pub(super) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", plain::lines(text));
}

/// A line to stdout; a reader that has gone away is no error.
pub(super) fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", plain::lines(text));
}

/// The same for JSON.
pub(super) fn print_json(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", plain::json(text));
}

/// The same for what must arrive as it is: a patch of the user's own file.
pub(super) fn print_as_it_is(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// `120s`, `2m`, `1m30s`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let refused = || format!("{text:?} is no duration: write it as 120s or 2m");
    length::read(text)
        .filter(|length| !length.is_zero())
        .ok_or_else(refused)
}

/// Left-aligned columns, two spaces apart; the last is not padded.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let plain = |row: &Vec<String>| row.iter().map(|cell| plain::part(cell).into_owned()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(plain).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("120s"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        for wrong in ["", "120", "s", "1x", "0s", "m5"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn columns_line_up() {
        let row = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
        assert_eq!(table(&[row("a", "x"), row("long", "y")]), "a     x\nlong  y");
        // What another node wrote is one cell all the same.
        assert_eq!(
            table(&[row("a\nb", "\x1b[2J"), row("c", "y")]),
            "a\\nb  \\u{1b}[2J\nc     y"
        );
    }
}
