//! What others wrote (etcd's keys and values, a peer's answer, a container's last words) must not steer the terminal that
//! shows it. The one place that makes text plain: everything that the command line and the log write goes through it.

use std::borrow::Cow;
use std::io::{self, Write};

/// Characters that a terminal acts upon, or that turn the order of the text around.
fn acts(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with every such character written out, but for those that `keeps` names.
fn written_out(text: &str, keeps: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(|letter| acts(letter) && !keeps(letter)) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match acts(letter) && !keeps(letter) {
            true => plain.extend(letter.escape_default()),
            false => plain.push(letter),
        }
    }
    Cow::Owned(plain)
}

/// For a cell of a table, or another part of a line.
pub(super) fn part(text: &str) -> Cow<'_, str> {
    written_out(text, |_| false)
}

/// For text of several lines; a line may end as files of Windows do.
pub(super) fn lines(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let (line, end) = line.strip_suffix('\r').map_or((line, ""), |line| (line, "\r"));
        format!("{}{end}", written_out(line, |letter| letter == '\t'))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// For JSON, which has written out what is below a blank, and means the same afterwards: such characters stand in its
/// strings alone.
pub(super) fn json(text: &str) -> Cow<'_, str> {
    let keeps = |letter: char| letter.is_ascii_control() && letter != '\x7f';
    if !text.chars().any(|letter| acts(letter) && !keeps(letter)) {
        return Cow::Borrowed(text);
    }
    let written = text.chars().map(|letter| match acts(letter) && !keeps(letter) {
        true => format!("\\u{:04x}", u32::from(letter)),
        false => letter.to_string(),
    });
    Cow::Owned(written.collect())
}

/// Stderr for the log, which writes one event at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    pub(super) json: bool,
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let plain = if self.json { json(line) } else { part(line) };
        io::stderr().write_all(format!("{plain}\n").as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clears the screen, sets the title, hides the rest of the line, turns the text around, goes back to the line's begin.
    const HOSTILE: &str = "a\u{1b}[2J\u{1b}]0;owned\u{7}\u{9b}8m\u{202e}b\rc\u{7f}";

    #[test]
    fn nothing_that_a_terminal_acts_upon_is_left_and_all_of_it_can_be_read() {
        for plain in [part(HOSTILE).into_owned(), lines(HOSTILE)] {
            assert!(!plain.chars().any(acts), "{plain:?}");
            assert!(
                plain.starts_with("a\\u{1b}[2J") && plain.contains("\\u{9b}8m\\u{202e}b\\rc"),
                "{plain}"
            );
        }
        assert_eq!(part("two\nlines"), "two\\nlines");
        assert_eq!(lines("two\tlines\r\nof a file"), "two\tlines\r\nof a file");
        assert!(matches!(part("größer, 漢字, 🙂"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_means_the_same_afterwards() {
        let document = serde_json::to_string_pretty(&[HOSTILE]).unwrap();
        let plain = json(&document);
        assert!(!plain.chars().any(|letter| acts(letter) && letter != '\n'), "{plain:?}");
        let read: Vec<String> = serde_json::from_str(&plain).unwrap();
        assert_eq!(read, [HOSTILE]);
    }
}
