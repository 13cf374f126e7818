//! `.env` and `env_file`: lines of `KEY=value` or `KEY: value` with quotes, comments and variables.

use std::collections::BTreeMap;

use super::interpolate::{Lookup, fill};

/// What may stand between a key and its value.
const SEPARATORS: [char; 2] = ['=', ':'];

/// A line that cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) line: u32,
    pub(super) message: String,
}

/// Reads Compose's format. Variables are looked up first, then among the keys further up and those of `before`.
pub(super) fn parse(
    text: &str,
    before: &BTreeMap<String, String>,
    lookup: &Lookup<'_>,
) -> Result<Vec<(String, String)>, Broken> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let lookup = |name: &str, pairs: &[(String, String)]| {
        lookup(name)
            .or_else(|| value_of(pairs, name))
            .or_else(|| before.get(name).cloned())
    };
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let (statement, tail) = split_statement(rest);
        let broken = |message: String| Broken { line, message };
        if let Some((key, value)) = read_statement(statement, &|name| lookup(name, &pairs)).map_err(broken)? {
            pairs.retain(|(known, _)| *known != key);
            pairs.push((key, value));
        }
        line += u32::try_from(statement.matches('\n').count()).unwrap_or(u32::MAX) + 1;
        rest = tail;
    }
    Ok(pairs)
}

/// Reads `format: raw`: everything after the first `=` is the value.
pub(super) fn parse_raw(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
        .collect()
}

/// One statement and what follows its line; a quoted value may span lines.
fn split_statement(text: &str) -> (&str, &str) {
    let end_of_line = text.find('\n').unwrap_or(text.len());
    let mut end = end_of_line;
    let first = &text[..end_of_line];
    if !first.trim_start().starts_with('#')
        && let Some(equals) = first.find(SEPARATORS)
    {
        let value = &text[equals + 1..];
        let indent = value.len() - value.trim_start_matches([' ', '\t']).len();
        if let Some(close) = closing_quote(&value[indent..]) {
            let from = equals + 1 + indent + close;
            end = text[from..].find('\n').map_or(text.len(), |length| from + length);
        }
    }
    (&text[..end], text.get(end + 1..).unwrap_or_default())
}

/// The index of the quote that closes a value which starts with one.
fn closing_quote(value: &str) -> Option<usize> {
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut escaped = false;
    for (index, c) in value.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return Some(index);
        }
    }
    None
}

type Pair = Option<(String, String)>;

fn read_statement(statement: &str, lookup: &Lookup<'_>) -> Result<Pair, String> {
    let statement = statement.trim();
    if statement.is_empty() || statement.starts_with('#') {
        return Ok(None);
    }
    let statement = statement.strip_prefix("export ").map_or(statement, str::trim_start);
    let Some((key, value)) = statement.split_once(SEPARATORS) else {
        check_key(statement)?;
        return Ok(lookup(statement).map(|value| (statement.to_owned(), value)));
    };
    let key = key.trim();
    check_key(key)?;
    Ok(Some((key.to_owned(), read_value(value.trim(), lookup)?)))
}

fn value_of(pairs: &[(String, String)], name: &str) -> Option<String> {
    let pair = pairs.iter().find(|(key, _)| key == name)?;
    Some(pair.1.clone())
}

fn check_key(key: &str) -> Result<(), String> {
    let well_formed = |c: char| matches!(c, '_' | '.' | '-' | '[' | ']') || c.is_alphanumeric();
    if key.is_empty() || !key.chars().all(well_formed) {
        return Err(format!("{key:?} is no name of a variable"));
    }
    Ok(())
}

fn read_value(value: &str, lookup: &Lookup<'_>) -> Result<String, String> {
    match value.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let close = closing_quote(value).ok_or_else(|| "a quote is not closed".to_owned())?;
            let inner = &value[1..close];
            if quote == '\'' {
                return Ok(inner.replace("\\'", "'"));
            }
            Ok(fill(&unescape(inner), lookup)?.text)
        }
        Some(_) | None => {
            let end = value.find(" #").unwrap_or(value.len());
            Ok(fill(value[..end].trim_end(), lookup)?.text)
        }
    }
}

/// The escapes of a double-quoted value; `\$` stays a dollar sign, and what is no escape stays as it is.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('a') => out.push('\u{7}'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('v') => out.push('\u{b}'),
            Some('$') => out.push_str("$$"),
            Some(other @ ('"' | '\\')) => out.push(other),
            Some('0') => octal(&mut chars, &mut out),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

/// `\0` and three digits.
fn octal(chars: &mut std::str::Chars<'_>, out: &mut String) {
    let rest = chars.as_str();
    let code = rest.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
    match code {
        Some(code) => {
            out.push(char::from(code));
            *chars = rest[3..].chars();
        }
        None => out.push_str("\\0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "HOST").then(|| "n1".to_owned())
    }

    #[test]
    fn lines_become_pairs() {
        let text = "\u{feff}# comment\n\nA=1\nexport B = two words  # why\nC='$A # \\' raw'\nD=\"x\\n$A ${HOST} \\$A\"\n\
                    E=$A-${NO:-d}\nF=\nG=a#b\nH=\"two\nlines\"\nHOST\nUNKNOWN\nA=9\nI=\"q\" # c\nJ=k=v\nK=x$$y\nL=\"a\\\\b\\tc\"\r\n\
                    M: yaml\nN: \"a: b\"\nO=$EARLIER$A\nP=\"\\d+\\0101\\09\"\nQ=^x$ # c\nR[0]=r\nS=#s\nT=t:t\n";
        let before = BTreeMap::from([
            ("EARLIER".to_owned(), "e".to_owned()),
            ("A".to_owned(), "not".to_owned()),
        ]);
        let pairs = parse(text, &before, &lookup).unwrap();
        let get = |key: &str| value_of(&pairs, key);
        for (key, value) in [
            ("A", "9"),
            ("B", "two words"),
            ("C", "$A # ' raw"),
            ("D", "x\n1 n1 $A"),
            ("E", "1-d"),
            ("F", ""),
            ("G", "a#b"),
            ("H", "two\nlines"),
            ("HOST", "n1"),
            ("I", "q"),
            ("J", "k=v"),
            ("K", "x$y"),
            ("L", "a\\b\tc"),
            ("M", "yaml"),
            ("N", "a: b"),
            ("O", "e9"),
            ("P", "\\d+A\\09"),
            ("Q", "^x$"),
            ("R[0]", "r"),
            ("S", "#s"),
            ("T", "t:t"),
        ] {
            assert_eq!(get(key).as_deref(), Some(value), "{key}");
        }
        assert_eq!(get("UNKNOWN"), None);
    }

    #[test]
    fn faults_name_their_line() {
        for (text, line) in [
            ("A=1\nB C=2\n", 2),
            ("A=\"1\n2\"\nB='x\n", 3),
            ("=x\n", 1),
            ("A=${B\n", 1),
        ] {
            assert_eq!(
                parse(text, &BTreeMap::new(), &lookup).unwrap_err().line,
                line,
                "{text:?}"
            );
        }
    }

    #[test]
    fn raw_values_stay_as_they_are() {
        assert_eq!(
            parse_raw("# c\nA=\"$X\" # y\nB=\n"),
            [("A".into(), "\"$X\" # y".into()), ("B".into(), String::new())]
        );
    }
}
