//! Rules of the architecture that no compiler checks: what the core may not name, who may read a clock, who may kill.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "tidy/shipped.rs"]
mod shipped;

use std::fs;
use std::path::{Path, PathBuf};

use shipped::Shipped;

fn sources(under: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(under)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no source under {under}");
    found
}

/// The code of a file without its comments and without its tests.
fn code(text: &str) -> String {
    Shipped::of(text).code
}

#[test]
fn the_core_is_pure() {
    let foreign = [
        "tokio",
        "async ",
        ".await",
        "etcd_client",
        "bollard",
        "rtnetlink",
        "rustix",
        "nix::",
        "std::fs",
        "std::net",
        "std::process",
        "std::thread",
        "Instant",
        "SystemTime",
        "leasehold_base::clock",
        "tracing",
        "getrandom",
        "utoipa",
        "HashMap",
        "HashSet",
    ];
    for (path, text) in sources("src/core") {
        let code = code(&text);
        for word in foreign {
            assert!(!code.contains(word), "{} names {word}", path.display());
        }
    }
}

/// Which crate of the workspace may know which. The compiler keeps it: a crate that is not named in a manifest can't be used.
#[test]
fn the_crates_know_each_other_in_one_direction() {
    let edges: [(&str, &[&str]); 7] = [
        ("base", &[]),
        ("tether", &["base"]),
        ("core", &["base"]),
        ("compose", &["base", "core"]),
        ("api", &["base", "core"]),
        ("sidecar", &["api", "base", "compose", "core"]),
        ("cli", &["api", "base", "compose", "core", "sidecar"]),
    ];
    for (name, allowed) in edges {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/{name}/Cargo.toml"));
        let manifest = fs::read_to_string(manifest).unwrap();
        let section = manifest.split("\n[dependencies]\n").nth(1).unwrap();
        let section = section.split("\n[").next().unwrap();
        let known = section.lines().filter_map(|line| line.strip_prefix("leasehold-"));
        let known: Vec<&str> = known.filter_map(|line| line.split(['.', ' ']).next()).collect();
        assert_eq!(known, allowed, "what {name} may know");
    }
}

/// The files of the command line that do more than speak to the sidecar: `run` is it, the others look at the host, the engine or
/// etcd themselves, with its adapters. All other verbs know the sidecar by `leasehold_api` alone.
const BESIDE_THE_SIDECAR: [&str; 21] = [
    "adopt.rs",
    "check/addresses.rs",
    "check/certificates.rs",
    "check/engine.rs",
    "check/images.rs",
    "check/mail.rs",
    "check/measured.rs",
    "check/members.rs",
    "check/mod.rs",
    "check/promises.rs",
    "check/relay.rs",
    "check/volumes.rs",
    // A client of the service, by the same probes.
    "drill/mod.rs",
    "drill/watch.rs",
    "group/create.rs",
    "group/delete.rs",
    // Where no sidecar answers.
    "history/etcd.rs",
    "init.rs",
    // `run`, and the flags that it shares with all verbs.
    "lib.rs",
    // Engine, etcd and the files themselves, for a bug report.
    "support/gather.rs",
    // A sidecar that is played.
    "waiting/tests.rs",
];

#[test]
fn a_verb_knows_the_sidecar_by_the_words_of_its_api() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli");
    let mut found = Vec::new();
    for (path, text) in sources("src/cli") {
        // What tests set up may be anything.
        let shipped = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        if shipped.contains("leasehold_sidecar") {
            found.push(path.strip_prefix(&root).unwrap().display().to_string());
        }
    }
    found.sort_unstable();
    assert_eq!(found, BESIDE_THE_SIDECAR);
}

/// Who compares what can be read in one place.
#[test]
fn every_transaction_is_built_in_the_protocol() {
    for (path, text) in sources("src/core") {
        let allowed =
            path.ends_with("core/store.rs") || path.parent().is_some_and(|folder| folder.ends_with("protocol"));
        let code = code(&text);
        for word in ["Compare::", "Op::Put", "Op::Delete"] {
            assert!(allowed || !code.contains(word), "{} builds with {word}", path.display());
        }
    }
}

#[test]
fn only_the_loop_lets_the_core_decide() {
    for (path, text) in sources("src") {
        let allowed = path.ends_with("src/sidecar/run.rs") || path.components().any(|part| part.as_os_str() == "core");
        assert!(
            allowed || !code(&text).contains("node.handle("),
            "{} calls the core",
            path.display()
        );
    }
}

#[test]
fn only_the_clock_reads_clocks() {
    for (path, text) in sources("src") {
        let reads = [
            "clock_gettime",
            "std::time::Instant",
            "SystemTime::now",
            "Timestamp::now",
            "Zoned::now",
        ];
        let allowed = path.ends_with("src/base/clock.rs");
        let code = code(&text);
        for word in reads {
            assert!(
                allowed || !code.contains(word),
                "{} reads a clock with {word}",
                path.display()
            );
        }
    }
}

#[test]
fn one_file_alone_may_kill_everything() {
    let with: Vec<PathBuf> = sources("src")
        .into_iter()
        .filter(|(_, text)| code(text).contains("from_raw(-1)"))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(with.len(), 1, "kill(-1) stands in {with:?}");
    assert!(
        with[0].components().any(|part| part.as_os_str() == "tether"),
        "{with:?}"
    );
}

#[test]
fn no_adapter_imports_another() {
    // A check inside a container can be made through the engine alone.
    let glue = [
        "outbox.rs",
        "containers.rs",
        "http.rs",
        "probe/inside.rs",
        "probe/tests.rs",
    ];
    let names = [
        "cgroup", "engine", "events", "store", "tether", "vip", "probe", "files", "fence", "reset",
    ];
    for (path, text) in sources("src/sidecar/adapters") {
        let part_of = |glue| path.parent().is_some_and(|folder| folder.ends_with(glue));
        let is_part_of_glue = part_of("containers") || part_of("outbox");
        if is_part_of_glue || glue.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        let own = path
            .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sidecar/adapters"))
            .unwrap();
        let own = own
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_string_lossy()
            .replace(".rs", "");
        let code = code(&text);
        for name in names.iter().filter(|name| **name != own) {
            let import = format!("adapters::{name}::");
            assert!(!code.contains(&import), "{} imports {import}", path.display());
        }
    }
}

#[test]
fn files_stay_small_enough_to_have_one_job() {
    for (path, text) in sources("src") {
        let lines = code(&text).lines().count();
        let limit = 650;
        assert!(lines <= limit, "{} has {lines} lines", path.display());
    }
}

/// What is no sentence of the core for people although it looks like one.
const NO_SENTENCES: [(&str, &str, &str); 2] = [
    (
        "takeover/election.rs",
        "a group is released only when its stop is proved",
        "of an assertion: who breaks it reads the source",
    ),
    ("snapshot/status.rs", "not fed", "a stable word of the status"),
];

/// The name of each invariant stands beside its condition, and only a bug ever shows it.
const INVARIANTS: &str = "invariants.rs";

/// Words with a blank beside them, whatever is put in between.
fn is_sentence(literal: &str) -> bool {
    let said = literal.split('{').enumerate();
    let said = said.map(|(place, part)| {
        if place == 0 {
            part
        } else {
            part.split_once('}').map_or("", |(_, after)| after)
        }
    });
    let said: Vec<&str> = said.collect();
    let mut words = said
        .iter()
        .flat_map(|part| part.split(|letter: char| !letter.is_alphabetic()));
    said.iter().any(|part| part.contains(char::is_whitespace)) && words.any(|word| word.chars().count() > 1)
}

/// Who looks for a sentence, or wants to say it better, looks there alone. And what decides can't be read as prose.
#[test]
fn every_sentence_of_the_core_is_in_its_room() {
    let core = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/core");
    let (mut outside, mut excepted) = (Vec::new(), Vec::new());
    for (path, text) in sources("src/core") {
        let file = path.strip_prefix(&core).unwrap();
        if file.starts_with("text") || file.ends_with("tests.rs") || file == Path::new(INVARIANTS) {
            continue;
        }
        for literal in Shipped::of(&text)
            .literals
            .into_iter()
            .filter(|one| is_sentence(&one.text))
        {
            let known = |(of, said, _): &&(&str, &str, &str)| Path::new(of) == file && *said == literal.text;
            match NO_SENTENCES.iter().find(known) {
                Some(known) => excepted.push(*known),
                None => outside.push(format!("{}:{}: {}", file.display(), literal.line, literal.text)),
            }
        }
    }
    assert!(
        outside.is_empty(),
        "these belong into src/core/text:\n{}",
        outside.join("\n")
    );
    excepted.sort_unstable();
    excepted.dedup();
    let mut known = NO_SENTENCES;
    known.sort_unstable();
    assert_eq!(excepted, known, "an exception that nobody needs any more");
}

#[test]
fn a_sentence_is_told_from_a_word() {
    for said in [
        "no answer",
        "{node} fell silent",
        "{group} is {why}",
        " ({why}) on",
        "a\\\n  line",
    ] {
        assert!(is_sentence(said), "{said}");
    }
    for said in [
        "",
        "silent",
        "{a}: {b}",
        "{} {}",
        "groups/{group}/record",
        ", ",
        "{name {x} }",
    ] {
        assert!(!is_sentence(said), "{said}");
    }
}

/// What an operator greps for: a line of the sidecar's log without a code is found by nobody.
#[test]
fn every_line_of_the_log_has_a_code_that_the_catalogue_explains() {
    let catalogue = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/messages.md")).unwrap();
    let headings = catalogue.lines().filter_map(|line| line.strip_prefix("### `"));
    let mut explained: Vec<&str> = headings.filter_map(|line| line.strip_suffix("`, log only")).collect();
    explained.sort_unstable();
    let mut used = Vec::new();
    for (path, text) in sources("src") {
        // Not by the whole path: the copy of somebody may lie in a directory of that name.
        if path
            .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")))
            .unwrap()
            .starts_with("src/cli")
        {
            continue;
        }
        let text = code(&text);
        for said in ["info!(", "warn!(", "error!("]
            .iter()
            .flat_map(|call| text.split(call).skip(1))
        {
            let fields = said.split(");").next().unwrap_or_default();
            let fields = fields.split("tracing::").next().unwrap_or_default();
            match fields.split("code = \"").nth(1) {
                Some(rest) => used.push(rest.split('"').next().unwrap_or_default().to_owned()),
                // A decision's own.
                None => assert!(
                    fields.starts_with("code, "),
                    "{} says something without a code: {fields}",
                    path.display()
                ),
            }
        }
    }
    used.sort_unstable();
    used.dedup();
    assert_eq!(
        used, explained,
        "what the log says, and what docs/messages.md explains as `log only`"
    );
    for code in &used {
        assert!(
            !catalogue.contains(&format!("### `{code}`\n")),
            "{code} is a decision's code"
        );
    }
}

/// What makes an error of the command line, up to its message.
const ERRORS: [&str; 6] = [
    "bail!(",
    "anyhow!(",
    "Answer::bad(",
    ".context(",
    ".with_context(",
    "Err(format!(",
];
/// What a sentence tells to do where no command does it.
const BY_HAND: [&str; 12] = [
    "run this",
    "run it again",
    "restart it",
    "take it down",
    "name a",
    "set `",
    "first",
    "ask again",
    "mend",
    "see `",
    "is safe to run",
    "drill from",
];
/// Whose words are others', or that are no errors: the words that follow the opening bracket.
const WORDS_OF_OTHERS: [&str; 10] = [
    "\"{}\", outcome.message",
    "adopt::lines(&faults)",
    "error.to_string().trim()",
    "format!(\"{error:#}\")",
    "message",
    "outcome.message",
    "text",
    "&outcome.message",
    "ASK",
    "LOOK",
];

/// A tired person is left alone by an error that says only what is wrong.
#[test]
fn every_error_of_the_command_line_says_what_to_do_next() {
    let (mut silent, mut seen) = (Vec::new(), 0);
    for (path, text) in sources("src/cli") {
        if path.ends_with("tests.rs") || path.ends_with("follow_tests.rs") {
            continue;
        }
        let code = code(&text);
        for call in ERRORS {
            for said in code.split(call).skip(1) {
                let mut depth = 1;
                let mut letters = said.char_indices().skip_while(|(_, letter)| {
                    depth += i32::from(*letter == '(') - i32::from(*letter == ')');
                    depth > 0
                });
                let said = said[..letters.next().map_or(said.len(), |(at, _)| at)].trim();
                seen += 1;
                let leads_on = said.contains("`leasehold ") || BY_HAND.iter().any(|words| said.contains(words));
                let of_others = || said.contains("absent(socket)") || WORDS_OF_OTHERS.contains(&said);
                if !leads_on && !of_others() {
                    silent.push(format!("{}: {said}", path.display()));
                }
            }
        }
    }
    assert!(seen > 60, "{seen}");
    assert!(
        silent.is_empty(),
        "these say not what to do next:\n{}",
        silent.join("\n")
    );
}
