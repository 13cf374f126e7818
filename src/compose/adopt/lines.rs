//! A file as lines, and where a block of YAML begins and ends in it: edits leave every other line as it is.

/// Lines of a file, by their index from 0.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    all: Vec<&'a str>,
}

/// Lines that are taken out, and what is put in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) at: usize,
    pub(super) remove: usize,
    pub(super) insert: Vec<String>,
}

/// A key with all that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Where the key stands.
    pub(super) first: usize,
    /// After the last line.
    pub(super) end: usize,
    pub(super) indent: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        Self {
            all: text.split_inclusive('\n').collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// A line without its end.
    pub(super) fn line(&self, index: usize) -> &'a str {
        self.all.get(index).map_or("", |line| line.trim_end_matches('\n'))
    }

    /// The block of a key that stands on this line (from 1), if it does.
    pub(super) fn block(&self, key: &str, line: u32) -> Option<Block> {
        let first = usize::try_from(line).ok()?.checked_sub(1)?;
        after_key(self.line(first), key)?;
        let indent = indent(self.line(first));
        let belongs = |index: &usize| {
            let line = self.line(*index);
            is_empty(line) || self.is_deeper(line, indent)
        };
        let mut end = (first + 1..self.len())
            .take_while(belongs)
            .last()
            .map_or(first + 1, |last| last + 1);
        // Comments and empty lines behind it belong to whatever follows.
        while end > first + 1 && is_empty(self.line(end - 1)) && !self.is_deeper_comment(end - 1, indent) {
            end -= 1;
        }
        Some(Block { first, end, indent })
    }

    /// Items of a list may stand as far to the left as their key.
    fn is_deeper(&self, line: &str, key: usize) -> bool {
        let own = indent(line);
        own > key || own == key && (line[own..].starts_with("- ") || &line[own..] == "-")
    }

    fn is_deeper_comment(&self, index: usize, key: usize) -> bool {
        let line = self.line(index);
        !line.trim().is_empty() && indent(line) > key
    }

    /// Whether what belongs to the key stands on lines of its own.
    pub(super) fn is_open(&self, block: Block, key: &str) -> bool {
        let rest = after_key(self.line(block.first), key).unwrap_or_default().trim();
        let rest = rest.strip_prefix('&').map_or(rest, |anchored| {
            anchored
                .split_once(char::is_whitespace)
                .map_or("", |(_, rest)| rest.trim())
        });
        rest.is_empty() || rest.starts_with('#')
    }

    /// How far the keys of a block are indented.
    pub(super) fn inner_indent(&self, block: Block) -> usize {
        let mut lines = (block.first + 1..block.end).map(|index| self.line(index));
        lines.find(|line| !is_empty(line)).map_or(block.indent + 2, indent)
    }

    /// Where comments begin that stand directly above a line.
    pub(super) fn with_comments(&self, index: usize) -> usize {
        let above = (0..index).rev();
        above
            .take_while(|above| self.line(*above).trim_start().starts_with('#'))
            .last()
            .unwrap_or(index)
    }

    /// The text after all edits; of several at one place, what only inserts comes first.
    pub(super) fn apply(&self, mut edits: Vec<Edit>) -> String {
        edits.sort_by_key(|edit| (edit.at, edit.remove));
        let mut text = String::new();
        let mut next = 0;
        for edit in edits {
            for line in self.all.get(next..edit.at).unwrap_or_default() {
                text.push_str(line);
            }
            if !edit.insert.is_empty() && !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            for line in edit.insert {
                text.push_str(&line);
                text.push('\n');
            }
            next = next.max(edit.at + edit.remove);
        }
        text.extend(self.all.get(next..).unwrap_or_default().iter().copied());
        text
    }
}

pub(super) fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Nothing that YAML sees.
fn is_empty(line: &str) -> bool {
    let text = line.trim();
    text.is_empty() || text.starts_with('#')
}

/// What follows `key:`, where the line begins with it.
fn after_key<'l>(line: &'l str, key: &str) -> Option<&'l str> {
    let line = line.trim_start();
    let quoted = |quote: char| line.strip_prefix(quote)?.strip_prefix(key)?.strip_prefix(quote);
    let rest = line
        .strip_prefix(key)
        .or_else(|| quoted('"'))
        .or_else(|| quoted('\''))?;
    let rest = rest.trim_start().strip_prefix(':')?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "services:\n  a: # one\n    image: x\n    ports:\n    - 1\n    # of the ports\n    - 2\n\n  # of b\n  \"b\": &b\n    run: |\n      # text\n      more\n    # last\nvolumes: {}\n";

    #[test]
    fn a_block_ends_where_the_next_begins_without_its_comments() {
        let lines = Lines::of(TEXT);
        let block = |key, line| {
            lines
                .block(key, line)
                .map(|block| (block.first, block.end, block.indent))
        };
        assert_eq!(block("a", 2), Some((1, 7, 2)));
        assert_eq!(block("ports", 4), Some((3, 7, 4)));
        assert_eq!(block("b", 10), Some((9, 14, 2)));
        assert_eq!(block("run", 11), Some((10, 13, 4)));
        assert_eq!(block("services", 1), Some((0, 14, 0)));
        assert_eq!(block("other", 2), None);
        let open = |key, line| lines.is_open(lines.block(key, line).unwrap(), key);
        assert!(open("a", 2) && open("b", 10) && !open("run", 11) && !open("volumes", 15));
    }

    #[test]
    fn edits_are_carried_out_in_the_order_of_the_file() {
        let edit = |at, remove, insert: &str| Edit {
            at,
            remove,
            insert: insert.lines().map(str::to_owned).collect(),
        };
        let lines = Lines::of("a\nb\nc");
        let text = lines.apply(vec![edit(3, 0, "e"), edit(1, 1, "B"), edit(1, 0, "new")]);
        assert_eq!(text, "a\nnew\nB\nc\ne\n");
        assert_eq!(lines.apply(Vec::new()), "a\nb\nc");
    }
}
