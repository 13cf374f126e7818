//! The pages for people: their links lead somewhere, each stands in the book, and what is read first is short.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use leasehold::core::protocol::TxnKind;

/// Pages outside of `docs`.
const AROUND: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "tests/mutants.md",
    "tests/sim/README.md",
];
/// Notes, read a line at a time.
const NOT_PROSE: [&str; 1] = ["CHANGELOG.md"];
/// Longer ones have to be read twice.
const WORDS_MAX: usize = 25;
const README_LINES_MAX: usize = 150;
/// One read of fifteen minutes.
const ARCHITECTURE_LINES_MAX: usize = 220;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|why| panic!("{page}: {why}"))
}

/// All pages, as paths below the root.
fn pages() -> Vec<String> {
    let below = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        let paths = entries.map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_string_lossy()));
        paths.collect()
    };
    let mut found = [below("docs"), below("docs/projects")].concat();
    found.retain(|page| page.ends_with(".md"));
    assert!(found.len() > 10, "where are the pages? {found:?}");
    found.sort();
    found.extend(AROUND.map(str::to_owned));
    found
}

/// The lines outside of blocks of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        is_code ^= fence;
        !fence && !is_code
    })
}

/// A block in which spans of code became one word that can be nothing else.
fn without_code(block: &str) -> String {
    let parts = block.split('`').enumerate();
    let parts = parts.map(|(at, part)| if at % 2 == 0 { part } else { "CODE" });
    parts.collect()
}

/// What a page says, parted where a sentence can't go on: paragraphs, list items, rows of tables, headings.
fn blocks(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for line in prose(text).map(str::trim) {
        let numbered = line
            .split_once(". ")
            .is_some_and(|(head, _)| head.parse::<u32>().is_ok());
        let alone = line.is_empty() || line.starts_with(['|', '#']);
        if alone || numbered || line.starts_with("- ") {
            found.push(String::new());
        }
        let last = found.last_mut().unwrap();
        last.push_str(line);
        last.push(' ');
        if alone {
            found.push(String::new());
        }
    }
    found
}

/// The targets of all links of a block.
fn links(block: &str) -> Vec<String> {
    let plain = without_code(block);
    let targets = plain.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The anchor that GitHub and mdBook give a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(page: &str) -> BTreeSet<String> {
    let text = read(page);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = prose(&text).filter(|line| line.starts_with('#'));
    let of = |heading: &str| {
        let anchor = anchor(heading);
        let count = seen.entry(anchor.clone()).or_default();
        *count += 1;
        match *count {
            1 => anchor,
            more => format!("{anchor}-{}", more - 1),
        }
    };
    headings.map(of).collect()
}

/// A link of a page, as a path below the root and an anchor.
fn target(page: &str, link: &str) -> (String, String) {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    if path.is_empty() {
        return (page.to_owned(), anchor.to_owned());
    }
    let mut place = PathBuf::from(page);
    place.pop();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => assert!(place.pop(), "{page}: {link} leaves the repository"),
            Component::CurDir => {}
            part @ (Component::Prefix(_) | Component::RootDir | Component::Normal(_)) => place.push(part),
        }
    }
    (place.to_string_lossy().into_owned(), anchor.to_owned())
}

/// Every link of a page that stays in the repository.
fn own_links(page: &str) -> Vec<(String, String)> {
    let all = blocks(&read(page)).into_iter().flat_map(|block| links(&block));
    let own = all.filter(|link| !link.contains("://") && !link.starts_with("mailto:"));
    own.map(|link| target(page, &link)).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let (mut wrong, mut followed) = (Vec::new(), 0);
    for page in pages() {
        for (path, anchor) in own_links(&page) {
            followed += 1;
            if !root().join(&path).exists() {
                wrong.push(format!("{page}: there is no {path}"));
            } else if !anchor.is_empty() && !anchors(&path).contains(&anchor) {
                wrong.push(format!("{page}: {path} has no #{anchor}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(followed > 100, "only {followed} links were found");
}

/// The site has nothing else: a link out of it would be dead there.
#[test]
fn a_page_of_the_book_links_to_the_book_alone() {
    for page in pages().iter().filter(|page| page.starts_with("docs/")) {
        for (path, _) in own_links(page) {
            assert!(
                path.starts_with("docs/"),
                "{page} links to {path}: name it as code instead"
            );
        }
    }
}

#[test]
fn every_page_stands_in_the_book() {
    let listed: Vec<String> = own_links("docs/SUMMARY.md").into_iter().map(|(path, _)| path).collect();
    for page in pages().iter().filter(|page| page.starts_with("docs/")) {
        let times = listed.iter().filter(|path| *path == page).count();
        let wanted = usize::from(page != "docs/SUMMARY.md");
        assert_eq!(times, wanted, "{page} in docs/SUMMARY.md");
    }
}

/// All text of the program, with sentences that go over several lines in one.
fn program_text() -> String {
    fn collect(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let lines = fs::read_to_string(&path).unwrap();
                for line in lines.lines().map(str::trim_start) {
                    match line.strip_suffix('\\') {
                        Some(begun) => text.push_str(begun),
                        None => text.extend([line, "\n"]),
                    }
                }
            }
        }
    }
    let mut text = String::new();
    collect(&root().join("src"), &mut text);
    text
}

/// What the table says that a program says.
#[test]
fn the_preflight_table_quotes_the_program() {
    let (page, text) = (read("docs/preflight.md"), program_text());
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    let mut quoted = 0;
    for row in &rows {
        let page = row.split(" | ").nth(1).unwrap_or_default();
        assert!(
            page.starts_with(|c: char| c.is_ascii_digit()),
            "no page of the guide: {row}"
        );
        for words in row.split('"').skip(1).step_by(2) {
            assert!(text.contains(words), "nothing says {words:?}");
            quoted += 1;
        }
    }
    assert!(rows.len() >= 20 && quoted >= 15, "{} rows, {quoted} quotes", rows.len());
}

/// Parted after a full stop, a question mark or an exclamation mark that ends a word.
fn sentences(text: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for word in text.split_whitespace() {
        let last = found.last_mut().unwrap();
        last.push_str(word);
        last.push(' ');
        if word.trim_end_matches([')', '"', '*']).ends_with(['.', '!', '?']) {
            found.push(String::new());
        }
    }
    found
}

/// The text of links without their targets.
fn without_targets(block: &str) -> String {
    let mut parts = block.split("](");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(part.split_once(')').map_or(part, |(_, rest)| rest));
    }
    text
}

/// A block in which each sentence of the program became one word: the program's own tests are about those.
fn without_quotes(block: &str) -> String {
    let parts = block.split('"').enumerate();
    let parts = parts.map(|(at, part)| if at % 2 == 0 { part } else { "QUOTE" });
    parts.collect()
}

/// The sentences of a page that are too long; those of its tables, too, cell by cell.
fn too_long(page: &str, tables: bool) -> Vec<String> {
    let mut long = Vec::new();
    for block in blocks(&read(page)) {
        let said = without_quotes(&without_targets(&without_code(&block)));
        let row = said.starts_with('|');
        let parts: Vec<&str> = if row { said.split('|').collect() } else { vec![&said] };
        if said.starts_with('#') || (row && !tables) {
            continue;
        }
        let all = parts.into_iter().flat_map(sentences);
        let words = |sentence: &str| {
            let all = sentence.split_whitespace();
            all.filter(|word| word.chars().any(char::is_alphanumeric)).count()
        };
        long.extend(
            all.filter(|sentence| words(sentence) > WORDS_MAX)
                .map(|sentence| format!("{page}: {sentence}")),
        );
    }
    long
}

#[test]
fn no_sentence_has_to_be_read_twice() {
    let mut long = too_long("README.md", true);
    for page in pages().iter().filter(|page| !page.starts_with("tests/")) {
        if !NOT_PROSE.contains(&page.as_str()) {
            long.extend(too_long(page, false));
        }
    }
    assert!(long.is_empty(), "more than {WORDS_MAX} words: {long:#?}");
}

#[test]
fn what_is_read_first_is_short() {
    for (page, most) in [
        ("README.md", README_LINES_MAX),
        ("ARCHITECTURE.md", ARCHITECTURE_LINES_MAX),
    ] {
        let lines = read(page).lines().count();
        assert!(lines <= most, "{page} has {lines} lines, more than {most}");
    }
}

/// The spans of code of a page that are paths of this repository.
fn places(page: &str) -> BTreeSet<String> {
    let said = blocks(&read(page));
    let spans = said.iter().flat_map(|block| block.split('`').skip(1).step_by(2));
    let is_path = |span: &&str| {
        let ours = ["src/", "tests/", "docs/", "docker/", "compose/"];
        ours.iter().any(|folder| span.starts_with(folder)) && !span.contains(['*', '<', ' ', ':', 'N'])
    };
    spans.filter(is_path).map(str::to_owned).collect()
}

#[test]
fn every_place_that_a_page_names_exists() {
    let is_there = |place: &str| {
        let path = root().join(place);
        path.exists() || path.with_extension("rs").exists()
    };
    let mut missing = Vec::new();
    for page in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/protocol.md",
        "docs/argument.md",
    ] {
        for place in places(page) {
            if !is_there(&place) {
                missing.push(format!("{page}: {place}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Every source file below a folder.
fn sources(under: &str) -> Vec<(PathBuf, String)> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(under)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no source under {under}");
    found
}

/// The comments of the core, with the path of each file.
fn comments(under: &str) -> Vec<(PathBuf, String)> {
    let of = |(path, text): (PathBuf, String)| {
        let said = text.lines().filter_map(|line| line.split_once("//"));
        let said: Vec<&str> = said.map(|(_, comment)| comment.trim_matches(['/', '!', ' '])).collect();
        (path, said.join(" "))
    };
    sources(under).into_iter().map(of).collect()
}

/// The words of every list in a source file that begins so: the keys that a reader knows.
fn keys(file: &str, begin: &str) -> BTreeSet<String> {
    let text = read(file);
    let lists = text.split(begin).skip(1).filter_map(|rest| rest.split("];").next());
    let words = lists.flat_map(|list| list.split('"').skip(1).step_by(2));
    let is_key = |word: &&str| {
        !word.is_empty()
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || "_0123456789".contains(c))
    };
    let found: BTreeSet<String> = words.filter(is_key).map(str::to_owned).collect();
    assert!(!found.is_empty(), "{file} has no {begin}");
    found
}

#[test]
fn every_key_of_the_compose_file_is_explained() {
    let lists = [
        ("leasehold.rs", "let known = ["),
        ("fence.rs", "let known = ["),
        ("events.rs", "let known = ["),
        ("probes.rs", "const KINDS"),
        ("probes.rs", "const CADENCE"),
    ];
    let mut missing = Vec::new();
    for (file, begin) in lists {
        let page = if file == "probes.rs" {
            "docs/probes.md"
        } else {
            "docs/configuration.md"
        };
        let told = first_words(page);
        let known = keys(&format!("src/compose/{file}"), begin);
        missing.extend(
            known
                .difference(&told)
                .map(|key| format!("{key} of src/compose/{file}")),
        );
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The word that each span of code of a page begins with: of `{smtp: 25}` it is smtp.
fn first_words(page: &str) -> BTreeSet<String> {
    let said = blocks(&read(page));
    let spans = said.iter().flat_map(|block| block.split('`').skip(1).step_by(2));
    let word = |span: &str| -> String {
        let inner = span.trim_start_matches('{');
        inner.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    spans.map(word).collect()
}

#[test]
fn every_variable_of_the_sidecar_is_explained() {
    let page = first_words("docs/configuration.md");
    let mut told = 0;
    for (path, text) in sources("src") {
        for rest in text.split("env = \"LEASEHOLD_").skip(1) {
            let name = rest.split('"').next().unwrap_or_default();
            assert!(
                page.contains(&format!("LEASEHOLD_{name}")),
                "LEASEHOLD_{name} of {}",
                path.display()
            );
            told += 1;
        }
    }
    assert!(told > 10, "only {told} variables were found");
}

/// The numbers that comments cite: those of transactions as `T4`, those of safety rules as `rule 13` or `rules 1 and 9`.
fn cited(comment: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let words: Vec<&str> = comment.split(|c: char| !c.is_alphanumeric()).collect();
    let number = |word: &str| word.parse::<u32>().ok();
    for (at, word) in words.iter().enumerate() {
        if let Some(number) = word.strip_prefix('T').and_then(number) {
            found.insert(format!("T{number}"));
        }
        if matches!(*word, "rule" | "rules") {
            let following = words[at + 1..]
                .iter()
                .take_while(|word| number(word).is_some() || **word == "and");
            found.extend(
                following
                    .filter_map(|word| number(word))
                    .map(|number| format!("Rule {number}")),
            );
        }
    }
    found
}

#[test]
fn what_the_core_cites_stands_in_the_protocol() {
    let text = read("docs/protocol.md");
    let headings = prose(&text).filter_map(|line| line.strip_prefix("### "));
    let told: BTreeSet<&str> = headings.filter_map(|heading| heading.split(':').next()).collect();
    let mut all = BTreeSet::new();
    for (path, comment) in comments("src/core") {
        for name in cited(&comment) {
            assert!(told.contains(name.as_str()), "{} cites {name}", path.display());
            all.insert(name);
        }
    }
    let rules = all.iter().filter(|name| name.starts_with("Rule")).count();
    assert!(rules >= 4 && all.len() >= 14, "only these are cited: {all:?}");
}

#[test]
fn each_kind_of_transaction_is_a_chapter_of_the_protocol_and_each_chapter_a_kind() {
    let text = read("docs/protocol.md");
    let chapters = text
        .lines()
        .filter_map(|line| line.strip_prefix("### T")?.split(':').next());
    let kinds = TxnKind::ALL.iter().filter_map(|kind| kind.word().strip_prefix('T'));
    assert_eq!(kinds.collect::<Vec<_>>(), chapters.collect::<Vec<_>>());
}
