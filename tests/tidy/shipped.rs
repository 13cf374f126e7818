//! What of a source is shipped: its code without comments and tests, and the string literals in it.

/// A string literal as it is written, with the line that it begins in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Literal {
    pub line: usize,
    pub text: String,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Shipped {
    /// Of a comment its end of line is left, of a test nothing.
    pub code: String,
    /// But for the reasons of lints, which nobody reads who runs the program.
    pub literals: Vec<Literal>,
}

const TEST: &str = "#[cfg(test)]";
const LINTS: [&str; 2] = ["#[expect(", "#[allow("];

impl Shipped {
    pub(crate) fn of(text: &str) -> Self {
        let mut shipped = Self::default();
        let (mut rest, mut line) = (text, 1);
        while !rest.is_empty() {
            let length = match rest {
                _ if rest.starts_with(TEST) => TEST.len() + item(&rest[TEST.len()..]),
                _ if LINTS.iter().any(|lint| rest.starts_with(lint)) => until(rest, "[", "]"),
                _ => {
                    let token = &rest[..token(rest)];
                    shipped.take(token, line);
                    token.len()
                }
            };
            line += rest[..length].matches('\n').count();
            rest = &rest[length..];
        }
        shipped
    }

    fn take(&mut self, token: &str, line: usize) {
        if token.starts_with("//") || token.starts_with("/*") {
            self.code.extend(token.matches('\n'));
            return;
        }
        self.code.push_str(token);
        if let Some(text) = inside(token) {
            let text = text.to_owned();
            self.literals.push(Literal { line, text });
        }
    }
}

/// What stands between the marks of a string literal.
fn inside(token: &str) -> Option<&str> {
    let plain = token.strip_prefix('b').unwrap_or(token);
    let plain = plain.strip_prefix('r').unwrap_or(plain).trim_matches('#');
    plain.strip_prefix('"')?.strip_suffix('"')
}

/// How long the next token is: a comment, a literal, a word, or a letter.
fn token(rest: &str) -> usize {
    let end = |mark: &str, from: usize| rest[from..].find(mark).map_or(rest.len(), |at| from + at + mark.len());
    let word = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    match rest {
        _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
        _ if rest.starts_with("/*") => end("*/", 2),
        _ if rest.starts_with('"') => quoted(rest),
        _ if rest.starts_with("b\"") => 1 + quoted(&rest[1..]),
        _ if raw(rest).is_some() => raw(rest).map_or(1, |(from, mark)| end(&mark, from)),
        _ if rest.starts_with('\'') => letter(rest),
        _ => word.filter(|word| *word > 0).unwrap_or_else(|| {
            let whole = word.is_none();
            if whole {
                rest.len()
            } else {
                rest.chars().next().map_or(1, char::len_utf8)
            }
        }),
    }
}

/// Where a raw string begins, and what ends it.
fn raw(rest: &str) -> Option<(usize, String)> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let marks = after.len() - after.trim_start_matches('#').len();
    let begins = after[marks..].starts_with('"');
    begins.then(|| (rest.len() - after.len() + marks + 1, format!("\"{}", "#".repeat(marks))))
}

fn quoted(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A letter in its marks, or the mark of a lifetime.
fn letter(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    match (letters.next(), letters.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let from = at + escaped.len_utf8();
            rest[from..].find('\'').map_or(rest.len(), |end| from + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// The item that comes next: up to its semicolon, or to the end of its block.
fn item(rest: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < rest.len() {
        let token = &rest[at..at + token(&rest[at..])];
        at += token.len();
        match token {
            "{" | "(" | "[" => depth += 1,
            "}" if depth == 1 => return at,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            ";" if depth == 0 => return at,
            _ => {}
        }
    }
    at
}

/// Up to the end of what the first `open` opens.
fn until(rest: &str, open: &str, close: &str) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < rest.len() {
        let token = &rest[at..at + token(&rest[at..])];
        at += token.len();
        if token == open {
            depth += 1;
        } else if token == close {
            depth -= 1;
            if depth == 0 {
                break;
            }
        }
    }
    at
}

#[test]
fn what_is_shipped_is_told_from_what_is_not() {
    let source = r##"
/// "not this"
#[expect(lint, reason = "nor this")]
fn f<'a>(mark: char) -> &'a str {
    if mark == '"' || mark == '\'' { return "http://a b"; } // "nor this"
    r#"raw "and" whole"#
}
#[cfg(test)]
mod one;
/* "nor
this" */ const LAST: &str = "esc\"aped";
#[cfg(test)]
mod tests { const NOT: [&str; 1] = ["} nor this"]; }
const AFTER: &str = "after";
"##;
    let shipped = Shipped::of(source);
    let found: Vec<(usize, &str)> = shipped
        .literals
        .iter()
        .map(|one| (one.line, one.text.as_str()))
        .collect();
    let expected = [
        (5, "http://a b"),
        (6, "raw \"and\" whole"),
        (11, "esc\\\"aped"),
        (14, "after"),
    ];
    assert_eq!(found, expected);
    assert!(shipped.code.contains("return \"http://a b\"; } \n") && !shipped.code.contains("mod tests"));
}
