//! Acts that the command line does itself, step by step, beside the sidecar: a drill, the preparation of a group, the way back
//! to plain services. The console has this very program do them, with a verb of the command line, as somebody on this host would.
//! It speaks to the sidecar by its socket, in the caller's name.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use maud::{Markup, html};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::look::{said, span, time};
use crate::adapters::http::acts::Act;
use leasehold_base::clock;

/// Jobs at a time.
const AT_ONCE_MAX: usize = 2;
/// Lines that are kept of one, and letters of each.
const LINES_MAX: usize = 64;
const LINE_MAX: usize = 400;
/// What is read of its answer, and of all that it says meanwhile, in bytes.
const ANSWER_MAX: u64 = 256 * 1024;
const SAID_MAX: u64 = 64 * 1024;
/// A drill has bounds of its own for each of its moves; after so long something hangs.
const DRILL_MAX: Duration = Duration::from_secs(900);
/// What the other verbs take at most, with all that they wait for themselves.
const VERB_MAX: Duration = Duration::from_secs(300);
/// A page waits for a check.
const CHECK_MAX: Duration = Duration::from_secs(12);

/// How this program is called once more, for this node.
#[derive(Clone, Debug, Default)]
pub(in crate::adapters::http) struct Program {
    pub(in crate::adapters::http) file: PathBuf,
    /// The flags that every verb shares.
    pub(in crate::adapters::http) words: Vec<OsString>,
}

/// What a verb says with `--json`; each has a part of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    ok: bool,
    message: String,
    /// Of a drill.
    ports: Vec<Port>,
    /// Of a deletion.
    patch: String,
    advice: String,
    /// Of a check.
    faults: Vec<String>,
    warnings: Vec<String>,
}

/// What a client saw of one port; none: it did not come back, or the move was not made.
#[derive(Clone, Debug, Default, Deserialize)]
struct Port {
    port: String,
    there_ms: Option<u64>,
    back_ms: Option<u64>,
}

/// The verb with its own words; none: the sidecar does it by itself.
pub(super) fn words(act: &Act, why: &str, adopt: bool) -> Option<Vec<String>> {
    let of = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    let why = format!("--why={why}");
    match act {
        Act::Drill { group, to } => {
            let mut all = of(&["drill", group, "--yes"]);
            all.extend(to.as_ref().map(|to| format!("--to={to}")));
            Some(all)
        }
        Act::Create { group } => {
            let mut all = of(&["group", "create", group, &why]);
            all.extend(adopt.then(|| "--adopt".to_owned()));
            Some(all)
        }
        Act::Delete { group } => Some(of(&["group", "delete", group, "--yes", &why])),
        Act::Switchover { .. }
        | Act::Failback { .. }
        | Act::Apply { .. }
        | Act::Stop { .. }
        | Act::Start { .. }
        | Act::Pause { .. }
        | Act::Resume { .. }
        | Act::Extend { .. }
        | Act::Unextend { .. }
        | Act::Set { .. }
        | Act::Drain { .. }
        | Act::Undrain { .. }
        | Act::FencedGroup { .. }
        | Act::FencedNode { .. }
        | Act::Remove { .. }
        | Act::Hold { .. } => None,
    }
}

/// One that was begun.
#[derive(Debug, Default)]
pub(super) struct Job {
    said: Mutex<Vec<(String, String)>>,
    end: OnceLock<Result<Told, String>>,
}

impl Job {
    fn hear(&self, line: &str) {
        let line: String = line
            .chars()
            .filter(|letter| !letter.is_control())
            .take(LINE_MAX)
            .collect();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if !line.is_empty() && said.len() < LINES_MAX {
            said.push((clock::wall(), line));
        }
    }

    fn lines(&self) -> Vec<(String, String)> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// None while it goes on; else what it says at its end, or why it failed.
    pub(super) fn end(&self) -> Option<Result<&str, &str>> {
        let end = self.end.get()?;
        Some(match end {
            Ok(told) if told.ok => Ok(&told.message),
            Ok(told) => Err(&told.message),
            Err(why) => Err(why),
        })
    }

    /// What it said last.
    pub(super) fn last(&self) -> String {
        let last = self.lines().pop();
        last.map_or_else(|| "It has begun.".to_owned(), |(_, line)| line)
    }

    /// All that it said, and what it found.
    pub(super) fn page(&self) -> Markup {
        let told = self.end.get().and_then(|end| end.as_ref().ok());
        html! {
            ol.steps { @for (at, line) in self.lines() { li { (time(&at)) " " (said(&line)) } } }
            @if let Some(told) = told {
                @if !told.ports.is_empty() { (outages(&told.ports)) }
                @if !told.patch.is_empty() { (way_back(told)) }
            }
        }
    }
}

/// The table of a drill.
fn outages(ports: &[Port]) -> Markup {
    let cell = |ms: Option<u64>| match ms {
        Some(0) => "none".to_owned(),
        Some(ms) => span(ms),
        None => "not back, or not tried".to_owned(),
    };
    html! {
        div.scroll role="region" aria-labelledby="outages" tabindex="0" {
            table #outages {
                caption { "How long each port was without an answer, as a client on this host saw it" }
                thead { tr { th scope="col" { "Port" } th scope="col" { "There" } th scope="col" { "Back" } } }
                tbody { @for port in ports {
                    tr { th scope="row" { (port.port) } td { (cell(port.there_ms)) } td { (cell(port.back_ms)) } }
                } }
            }
        }
    }
}

/// What the patch changes. The lines around a change are of the compose file and may hold secrets: they are not for a page.
fn way_back(told: &Told) -> Markup {
    let changes = told.patch.lines().filter(|line| !line.starts_with(' '));
    let changes: Vec<&str> = changes.collect();
    html! {
        h2 { "The way back to plain services" }
        p { "What the patch changes. Said on a host, the same command prints it whole, to be applied." }
        pre tabindex="0" { (changes.join("\n")) }
        p { (said(&told.advice)) }
    }
}

/// Of all pages.
#[derive(Debug)]
pub(super) struct Jobs {
    slots: Arc<Semaphore>,
    /// A page that only looks takes no place of what acts.
    checks: Arc<Semaphore>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(AT_ONCE_MAX)),
            checks: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Jobs {
    /// Begins one, in the caller's name; it ends by itself, well or not.
    ///
    /// # Errors
    /// Others are under way, or the program does not start.
    pub(super) fn begin(&self, program: &Program, caller: &str, words: &[String]) -> Result<Arc<Job>, String> {
        let busy = |_| "others are under way: try again in a minute".to_owned();
        let slot = Arc::clone(&self.slots).try_acquire_owned().map_err(busy)?;
        let is_drill = words.first().is_some_and(|verb| verb == "drill");
        let most = if is_drill { DRILL_MAX } else { VERB_MAX };
        let child = start(program, caller, words)?;
        let job = Arc::new(Job::default());
        tokio::spawn(follow(child, Arc::clone(&job), most, slot));
        Ok(job)
    }

    /// What `leasehold check` finds on this node.
    pub(super) async fn check(&self, program: &Program, caller: &str) -> Result<Markup, String> {
        let busy = |_| "another check is under way: open this page again in some seconds".to_owned();
        let slot = Arc::clone(&self.checks).try_acquire_owned().map_err(busy)?;
        let child = start(program, caller, &["check".to_owned()])?;
        let job = Arc::new(Job::default());
        follow(child, Arc::clone(&job), CHECK_MAX, slot).await;
        match job.end.get() {
            Some(Ok(told)) => Ok(findings(told)),
            Some(Err(why)) => Err(why.clone()),
            None => Err("it said nothing".to_owned()),
        }
    }
}

fn findings(told: &Told) -> Markup {
    html! {
        @if told.faults.is_empty() { p { code { "leasehold check" } " finds no fault on this node." } }
        @else {
            p.fault { "This node would refuse it. " code { "leasehold check" } " says:" }
            ul { @for fault in &told.faults { li { (said(fault)) } } }
        }
        @if !told.warnings.is_empty() {
            p { "It warns:" }
            ul { @for warning in &told.warnings { li { (said(warning)) } } }
        }
    }
}

/// In a process group of its own, so that nothing that it starts outlives its deadline.
fn start(program: &Program, caller: &str, words: &[String]) -> Result<Child, String> {
    let mut command = Command::new(&program.file);
    command
        .args(&program.words)
        .args(words)
        .arg("--json")
        // Whoever asked is named in the log and the history, as at the keyboard.
        .env("SUDO_USER", caller)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command
        .spawn()
        .map_err(|error| format!("{}: {error}", program.file.display()))
}

/// The processes of a job. Killed with it when dropped, also where nobody waits for the job any more.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.filter(|id| *id > 1).map(Pid::from_raw))
    }

    /// Its number may be another's from here on.
    fn reaped(&mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

async fn follow(mut child: Child, job: Arc<Job>, most: Duration, slot: OwnedSemaphorePermit) {
    let mut group = ProcessGroup::of(&child);
    let ended = tokio::time::timeout(most, hear(&mut child, &job)).await;
    if ended.is_ok() {
        group.reaped();
    } else {
        drop(group);
    }
    let end = ended.unwrap_or_else(|_| Err(format!("it did not end within {most:?} and was killed")));
    let _ = job.end.set(end);
    let _ = tokio::time::timeout(Duration::from_secs(1), child.wait()).await;
    drop(slot);
}

async fn hear(child: &mut Child, job: &Job) -> Result<Told, String> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let answer = async {
        let mut text = Vec::new();
        if let Some(out) = out {
            let _ = out.take(ANSWER_MAX).read_to_end(&mut text).await;
        }
        text
    };
    let lines = async {
        if let Some(err) = err {
            let mut lines = BufReader::new(err.take(SAID_MAX)).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                job.hear(&line);
            }
        }
    };
    let (text, ()) = tokio::join!(answer, lines);
    let status = child.wait().await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|_| format!("it ended with no answer, {status}: {}", job.last()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program that does what the script says.
    fn program(name: &str, script: &str) -> Program {
        let file = std::env::temp_dir().join(format!("leasehold-job-{}-{name}", std::process::id()));
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o700)).unwrap();
        let words = ["--node", "a"].map(OsString::from).to_vec();
        Program { file, words }
    }

    async fn ended(job: &Job) -> Result<String, String> {
        for _ in 0..500 {
            if let Some(end) = job.end() {
                return end.map(str::to_owned).map_err(str::to_owned);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not end")
    }

    #[test]
    fn each_verb_has_its_words_and_the_reason_is_one_of_them() {
        let group = || "mail".to_owned();
        let drill = Act::Drill {
            group: group(),
            to: Some("b".to_owned()),
        };
        let create = Act::Create { group: group() };
        let delete = Act::Delete { group: group() };
        let said = |act: &Act, adopt| words(act, "a b; --yes", adopt).unwrap().join("|");
        assert_eq!(said(&drill, false), "drill|mail|--yes|--to=b");
        assert_eq!(said(&create, false), "group|create|mail|--why=a b; --yes");
        assert_eq!(said(&create, true), "group|create|mail|--why=a b; --yes|--adopt");
        assert_eq!(said(&delete, false), "group|delete|mail|--yes|--why=a b; --yes");
        assert_eq!(words(&Act::Stop { group: group() }, "", false), None);
    }

    #[tokio::test]
    async fn a_drill_is_told_line_by_line_and_ends_with_its_table() {
        let jobs = Jobs::default();
        let script = r#"echo "by $SUDO_USER: $*" >&2; echo "mail: from a to b" >&2
            echo '{"ok": true, "message": "there and back", "ports": [{"port": "smtp 25", "there_ms": 612, "back_ms": null}]}'"#;
        let program = program("drill", script);
        let job = jobs
            .begin(&program, "ann", &["drill".to_owned(), "mail".to_owned()])
            .unwrap();
        assert_eq!(ended(&job).await.unwrap(), "there and back");
        let page = job.page().into_string();
        for part in [
            "by ann: --node a drill mail --json",
            "mail: from a to b",
            "<td>612 ms</td>",
            "not back",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        std::fs::remove_file(program.file).unwrap();
    }

    #[tokio::test]
    async fn what_fails_says_why_and_what_says_nothing_is_told_so() {
        let jobs = Jobs::default();
        let refused = program("refused", r#"echo '{"ok": false, "message": "no group web"}'; exit 1"#);
        let mute = program("mute", "echo 'no such verb' >&2; exit 2");
        for (program, words) in [(&refused, "no group web"), (&mute, "no such verb")] {
            let job = jobs.begin(program, "ann", &["group".to_owned()]).unwrap();
            let why = ended(&job).await.unwrap_err();
            assert!(why.contains(words), "{why}");
            std::fs::remove_file(&program.file).unwrap();
        }
        let missing = Program::default();
        assert!(jobs.begin(&missing, "ann", &[]).is_err());
    }

    #[tokio::test]
    async fn one_that_says_too_much_is_bounded_and_no_third_is_begun() {
        let jobs = Jobs::default();
        let loud = program("loud", "yes | head -n 2000 >&2; yes | head -c 900000; sleep 60");
        let first = jobs.begin(&loud, "ann", &[]).unwrap();
        let _second = jobs.begin(&loud, "ann", &[]).unwrap();
        let third = jobs.begin(&loud, "ann", &[]).unwrap_err();
        assert!(third.contains("try again"), "{third}");
        for _ in 0..500 {
            if first.lines().len() == LINES_MAX {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(first.lines().len(), LINES_MAX);
        std::fs::remove_file(loud.file).unwrap();
    }

    #[test]
    fn of_a_patch_only_what_it_changes_is_shown() {
        let told = Told {
            patch:
                "--- compose.yaml\n+++ compose.yaml\n@@ -1,4 +1,3 @@\n services:\n   PASSWORD: hunter2\n-    scale: 0"
                    .to_owned(),
            advice: "apply it".to_owned(),
            ..Told::default()
        };
        let page = way_back(&told).into_string();
        assert!(page.contains("-    scale: 0") && page.contains("apply it"), "{page}");
        assert!(!page.contains("hunter2"), "{page}");
    }
}
