//! A command line in one string, split into words as Compose splits it.

/// Splits a line. Compose stops in silence at an unquoted `;`, `|`, `&`, `<` or `>`: here that is an error.
pub(super) fn split(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some('\''), '\\') => word.get_or_insert_default().push(c),
            (_, '\\') => {
                let next = chars.next().ok_or("the command ends with a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, ';' | '|' | '&' | '<' | '>' | '(' | ')' | '`') => {
                return Err(format!("an unquoted {c} cuts the command off: no shell reads it"));
            }
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote in the command is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does() {
        let table: [(&str, &[&str]); 11] = [
            ("", &[]),
            ("  ", &[]),
            ("run --now", &["run", "--now"]),
            ("sh -c 'a && b'", &["sh", "-c", "a && b"]),
            ("echo \"a 'b' c\" d", &["echo", "a 'b' c", "d"]),
            ("a\\ b c", &["a b", "c"]),
            ("'' x", &["", "x"]),
            ("pre'fix'ed", &["prefixed"]),
            ("\"\\t\" x\\ty", &["t", "xty"]),
            ("'a\\b'", &["a\\b"]),
            ("\"say \\\"hi\\\"\"\nnext", &["say \"hi\"", "next"]),
        ];
        for (line, words) in table {
            assert_eq!(split(line).unwrap(), words, "{line:?}");
        }
    }

    #[test]
    fn what_compose_would_cut_off_is_refused() {
        for line in ["a && b", "a; b", "a | b", "a > f", "a 'b", "a \\", "$(x)"] {
            assert!(split(line).is_err(), "{line}");
        }
    }
}
