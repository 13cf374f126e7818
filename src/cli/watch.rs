//! `leasehold status --watch`: the status whenever it changes; drawn anew on a terminal, appended anywhere else.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use super::client::{self, Daemon};
use super::{plain, status};
use leasehold_api::status::Status;
use leasehold_base::clock;

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// To the top left, and everything below it away.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// In place of what was there before.
    Screen,
    /// One below the other, each with its time.
    Append,
    /// A line of JSON each.
    Json,
}

pub(super) async fn show(daemon: &Daemon, json: bool) -> Result<ExitCode> {
    let manner = match (json, io::stdout().is_terminal()) {
        (true, _) => Manner::Json,
        (false, true) => Manner::Screen,
        (false, false) => Manner::Append,
    };
    let mut output = io::stdout();
    tokio::select! {
        ended = follow(daemon, manner, &mut output) => match ended {
            // Whoever read it has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            Err(error) => Err(error.into()),
            Ok(never) => match never {},
        },
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Looks until nobody can be shown anything any more.
async fn follow(daemon: &Daemon, manner: Manner, output: &mut impl Write) -> io::Result<std::convert::Infallible> {
    let mut shown = None;
    loop {
        let seen = client::status(daemon).await.map_err(|error| format!("{error:#}"));
        let key = comparable(seen.as_ref().ok(), seen.as_ref().err());
        if shown.as_ref() != Some(&key) {
            draw(manner, &seen, output)?;
            shown = Some(key);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// What is shown, without what changes with every look.
fn comparable(status: Option<&Status>, error: Option<&String>) -> String {
    let Some(status) = status else {
        return error.cloned().unwrap_or_default();
    };
    let mut status = status.clone();
    status.etcd_age_ms = status.etcd_age_ms.map(|_| 0);
    status::render(&status)
}

fn draw(manner: Manner, seen: &Result<Status, String>, output: &mut impl Write) -> io::Result<()> {
    let text = match (manner, seen) {
        (Manner::Json, Ok(status)) => serde_json::to_string(status)?,
        (Manner::Json, Err(why)) => serde_json::json!({ "ok": false, "message": why }).to_string(),
        (Manner::Screen | Manner::Append, Ok(status)) => status::render(status),
        (Manner::Screen | Manner::Append, Err(why)) => why.clone(),
    };
    match manner {
        Manner::Screen => writeln!(
            output,
            "{CLEAR}{}\n\n{}, Ctrl-C ends this",
            plain::lines(&text),
            clock::wall()
        )?,
        Manner::Append => writeln!(output, "--- {}\n{}\n", clock::wall(), plain::lines(&text))?,
        Manner::Json => writeln!(output, "{}", plain::json(&text))?,
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use clap::Parser;
    use tokio::sync::watch;

    use super::super::Arguments;
    use super::*;
    use leasehold_core::snapshot::status::{self as seen, GroupLine, MemberState};
    use leasehold_sidecar::adapters::http::{self, Snapshot};

    /// What was written so far.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        async fn until(&self, done: impl Fn(&str) -> bool) -> String {
            for _ in 0..400 {
                let text = self.text();
                if done(&text) {
                    return text;
                }
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            panic!("not within 10 s: {}", self.text());
        }
    }

    fn turn(holder: &str, age: u64) -> Snapshot {
        let line = GroupLine {
            holder: Some(holder.to_owned()),
            ..GroupLine::default()
        };
        let status = seen::Status {
            node: "a".to_owned(),
            member: MemberState::Joined,
            etcd_age_ms: Some(age),
            groups: [("mail".to_owned(), line)].into(),
            ..seen::Status::default()
        };
        Snapshot {
            at: clock::now(),
            status,
            recent: Arc::default(),
        }
    }

    #[tokio::test]
    async fn it_is_written_again_when_it_changes_and_not_when_time_passes() {
        let run_dir = std::env::temp_dir().join(format!("leasehold-watch-{}", std::process::id()));
        std::fs::create_dir_all(&run_dir).unwrap();
        let words = [
            "leasehold",
            "--run-dir",
            &run_dir.display().to_string(),
            "status",
            "--watch",
        ]
        .map(str::to_owned);
        let daemon = Daemon::at(Arguments::try_parse_from(words).unwrap().facts.socket());
        let written = Written::default();
        let mut output = written.clone();
        let following = tokio::spawn(async move { follow(&daemon, Manner::Append, &mut output).await });
        // Before the sidecar is there, it says so, and goes on.
        written.until(|text| text.contains("no sidecar answers")).await;
        let (publisher, turns) = watch::channel(turn("alpha", 1));
        let socket = run_dir.join("leasehold.sock");
        let facts = Arguments::try_parse_from(["leasehold", "--run-dir", &run_dir.display().to_string(), "check"]);
        let socket = facts.map_or(socket, |arguments| arguments.facts.socket());
        let archive = Arc::new(http::testing::Nowhere);
        let _asked = http::serve(
            http::testing::nowhere(&socket),
            turns,
            archive,
            tokio::sync::mpsc::channel(8).0,
        );
        written.until(|text| text.contains("alpha")).await;
        for age in 2..5 {
            publisher.send_replace(turn("alpha", age));
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        publisher.send_replace(turn("beta", 5));
        let text = written.until(|text| text.contains("beta")).await;
        following.abort();
        std::fs::remove_dir_all(&run_dir).unwrap();
        assert_eq!(text.matches("--- ").count(), 3, "{text}");
        assert!(!text.contains('\x1b'), "{text}");
    }

    #[test]
    fn a_screen_is_cleared_and_json_is_one_line() {
        let mut screen = Vec::new();
        draw(Manner::Screen, &Ok(turn("a", 1).status.into()), &mut screen).unwrap();
        assert!(screen.starts_with(CLEAR.as_bytes()));
        let mut json = Vec::new();
        draw(Manner::Json, &Ok(turn("a", 1).status.into()), &mut json).unwrap();
        draw(Manner::Json, &Err("no sidecar".to_owned()), &mut json).unwrap();
        let text = String::from_utf8(json).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(serde_json::from_str::<Status>(lines[0]).unwrap().node, "a");
        assert_eq!(lines[1], r#"{"message":"no sidecar","ok":false}"#);
    }
}
