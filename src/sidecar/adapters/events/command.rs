//! Delivery by a program: a few at once, each with a deadline, killed at it with everything that it started.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::{Semaphore, mpsc};

use super::{EventMessage, Kept};
use crate::counters::{Counters, Receiver};

/// At the same time.
const AT_ONCE_MAX: usize = 4;
/// Nothing else of the sidecar's environment is the command's.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) async fn deliver(
    words: Vec<String>,
    deadline: Duration,
    mut queue: mpsc::Receiver<Arc<EventMessage>>,
    counters: Counters,
    kept: Kept,
) {
    let free = Arc::new(Semaphore::new(AT_ONCE_MAX));
    while let Some(told) = queue.recv().await {
        // Only closed by its owner, which is this task.
        let Ok(place) = Arc::clone(&free).acquire_owned().await else {
            return;
        };
        let (words, counters, kept) = (words.clone(), counters.clone(), kept.clone());
        tokio::spawn(async move {
            match run(&words, deadline, &told).await {
                Ok(()) => counters.delivered(Receiver::Command),
                Err(why) => {
                    counters.failed(Receiver::Command);
                    tracing::warn!(
                        code = "command_failed",
                        id = told.id,
                        event = %told.code,
                        why,
                        "the command for events failed"
                    );
                }
            }
            kept.done(Receiver::Command, &told.id);
            drop(place);
        });
    }
}

async fn run(words: &[String], deadline: Duration, told: &EventMessage) -> Result<(), String> {
    let Some((program, arguments)) = words.split_first() else {
        return Ok(());
    };
    let epoch = told.epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .env("LC_ALL", "C.UTF-8")
        .env("LEASEHOLD_EVENT", told.code.as_ref())
        .env("LEASEHOLD_LEVEL", told.level.as_ref())
        .env("LEASEHOLD_ID", &told.id)
        .env("LEASEHOLD_TIME", &told.time)
        .env("LEASEHOLD_CLUSTER", &told.cluster)
        .env("LEASEHOLD_NODE", &told.node)
        .env("LEASEHOLD_GROUP", told.group.as_deref().unwrap_or_default())
        .env("LEASEHOLD_EPOCH", epoch)
        .env("LEASEHOLD_TEXT", &told.text)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| error.to_string())?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).filter(|id| *id > 1);
    let talk = async {
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read its input has it from the environment.
            let _ = stdin.write_all(format!("{}\n", told.line()).as_bytes()).await;
        }
        child.wait().await
    };
    let ended = tokio::time::timeout(deadline, talk).await;
    let result = match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("it did not end within {deadline:?} and was killed")),
    };
    if let Some(group) = group {
        // ESRCH: nothing of it is left, which is as wished.
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), child.wait()).await;
    result
}

pub(super) fn fault(words: &[String]) -> Option<String> {
    let program = words.first()?;
    match std::fs::metadata(program) {
        Ok(file) if !file.is_file() || file.permissions().mode() & 0o111 == 0 => {
            Some(format!("events: command: {program} is not a program"))
        }
        Ok(_) => None,
        Err(error) => Some(format!(
            "events: command: {program}: {error}; the sidecar's own image holds no program: build one that does (see docs/endpoints.md)"
        )),
    }
}
