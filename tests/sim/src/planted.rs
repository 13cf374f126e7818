//! Bugs planted inside the shipped core: a copy of its source is edited, compiled, and each bug must turn a test red that
//! is green without it. An edit that no longer fits exactly once fails the test, so that the list can't rot.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A rule taken out: where, what stands there, what stands there instead, and the test that must see it.
struct Bug {
    name: &'static str,
    file: &'static str,
    old: &'static str,
    new: &'static str,
    seen_by: Seen,
}

enum Seen {
    /// A unit test of the core.
    Unit(&'static str),
    /// A unit test of what the core shares with the tether.
    Base(&'static str),
    /// A directed schedule of the simulator.
    Schedule(&'static str),
    /// The same, and the rule of `checks.rs` that it breaks.
    Rule(&'static str, &'static str),
}

include!("planted_table.rs");
include!("planted_policies.rs");
include!("planted_promises.rs");

fn bugs() -> impl Iterator<Item = &'static Bug> {
    BUGS.iter().chain(POLICY_BUGS).chain(PROMISE_BUGS)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

const PACKAGE: &str = r#"[workspace]
members = ["base"]
[package]
name = "planted"
version = "0.0.0"
edition = "2024"
[lib]
name = "leasehold_core"
path = "core/lib.rs"
[[bin]]
name = "planted-sim"
path = "MAIN"
[dependencies]
leasehold-base = { path = "base" }
mimalloc = { version = "0.1", default-features = false }
serde = { version = "1", features = ["derive"] }
serde_json = "1"
[profile.dev.package.planted]
opt-level = 1
"#;

const BASE: &str = r#"[package]
name = "leasehold-base"
version = "0.0.0"
edition = "2024"
[lib]
path = "lib.rs"
[dependencies]
jiff = { version = "0.2", default-features = false, features = ["std"] }
rustix = { version = "1.1", features = ["net", "process", "thread", "fs", "time", "event", "mm", "mount", "system"] }
serde = { version = "1", features = ["derive"] }
"#;

/// What an edit asks; it comes behind the core's own modules.
const ASKED: &str = r#"
pub mod planted {
    pub fn on(bug: &str) -> bool {
        static BUG: std::sync::LazyLock<String> =
            std::sync::LazyLock::new(|| std::env::var("LEASEHOLD_PLANTED").unwrap_or_default());
        *BUG == bug
    }
}
"#;

fn plant(package: &Path) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, manifest) in [("core", None), ("base", Some(BASE))] {
        let into = package.join(name);
        let _ = fs::remove_dir_all(&into);
        copy(&here.join("../../src").join(name), &into);
        // That of the tree takes its versions from the workspace.
        fs::remove_file(into.join("Cargo.toml")).unwrap();
        if let Some(manifest) = manifest {
            fs::write(into.join("Cargo.toml"), manifest).unwrap();
        }
        let library = into.join("lib.rs");
        let text = fs::read_to_string(&library).unwrap();
        fs::write(&library, text + ASKED).unwrap();
    }
    for bug in bugs() {
        let path = package.join("core").join(bug.file);
        let text = fs::read_to_string(&path).unwrap();
        let fits = text.matches(bug.old).count();
        assert_eq!(fits, 1, "{}: its text stands {fits} times in {}", bug.name, bug.file);
        fs::write(&path, text.replacen(bug.old, bug.new, 1)).unwrap();
    }
    let main = here.join("src/main.rs").display().to_string();
    fs::write(package.join("Cargo.toml"), PACKAGE.replace("MAIN", &main)).unwrap();
    fs::copy(here.join("../../Cargo.lock"), package.join("Cargo.lock")).unwrap();
}

/// Builds the tests of a target once: where their program is.
fn program(package: &Path, target: &[&str]) -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["test", "--offline", "--no-run", "--message-format=json"])
        .args(target)
        .current_dir(package)
        .env("CARGO_TARGET_DIR", package.join("target"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&built.stdout);
    let mut programs = told.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    let why = String::from_utf8_lossy(&built.stderr);
    programs
        .next_back()
        .unwrap_or_else(|| panic!("the planted package is not built: {why}"))
}

fn test(program: &Path, bug: &str, name: &str) -> Output {
    let mut command = Command::new(program);
    command.args(["--exact", name]).env("LEASEHOLD_PLANTED", bug);
    command.output().unwrap()
}

#[test]
fn every_bug_planted_in_the_core_is_seen() {
    let exe = std::env::current_exe().unwrap();
    let target: PathBuf = exe.ancestors().nth(3).unwrap().to_owned();
    let package = target.join("planted");
    fs::create_dir_all(&package).unwrap();
    plant(&package);
    let (units, base, schedules) = (
        program(&package, &["--lib"]),
        program(&package, &["--package", "leasehold-base", "--lib"]),
        program(&package, &["--bin", "planted-sim"]),
    );
    let mut wrong = Vec::new();
    for bug in bugs() {
        let (program, name) = match bug.seen_by {
            Seen::Unit(name) => (&units, name),
            Seen::Base(name) => (&base, name),
            Seen::Schedule(name) | Seen::Rule(name, _) => (&schedules, name),
        };
        let healthy = test(program, "", name);
        let ran = String::from_utf8_lossy(&healthy.stdout).contains("1 passed");
        if !healthy.status.success() || !ran {
            let why = String::from_utf8_lossy(&healthy.stderr);
            wrong.push(format!("{}: {name} is not green without it: {why}", bug.name));
            continue;
        }
        let sick = test(program, bug.name, name);
        let told = String::from_utf8_lossy(&sick.stdout);
        if !told.contains("1 failed") {
            wrong.push(format!("{}: not seen by {name}", bug.name));
        } else if let Seen::Rule(_, rule) = bug.seen_by
            && !told.contains(&format!("{rule}: "))
        {
            wrong.push(format!("{}: {name} is red, but not by {rule}", bug.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
