//! `leasehold status --watch`: the status whenever it changes; drawn anew on a terminal, appended anywhere else.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use super::client::{self, Daemon};
use super::page::{self, Page, View};
use super::{plain, status};
use leasehold_api::status::Status;
use leasehold_base::clock;

/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// To the top left; what is left of a line away; everything below away. Without an empty screen between, nothing flickers.
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = "\x1b[K";
const BELOW: &str = "\x1b[J";

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
        let key = match manner {
            // What it says of the time must be true as long as it stands there.
            Manner::Screen => None,
            Manner::Append | Manner::Json => Some(comparable(seen.as_ref().ok(), seen.as_ref().err())),
        };
        if key.is_none() || shown != key {
            draw(manner, &seen, output)?;
            shown = key;
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
    for node in status.nodes.values_mut() {
        node.beat_ms = node.beat_ms.map(|_| 0);
        node.away_s = node.away_s.map(|_| 0);
    }
    let still = View { width: None, now: 0 };
    status::render(&status, still).text()
}

fn draw(manner: Manner, seen: &Result<Status, String>, output: &mut impl Write) -> io::Result<()> {
    match (manner, seen) {
        (Manner::Json, Ok(status)) => writeln!(output, "{}", plain::json(&serde_json::to_string(status)?))?,
        (Manner::Json, Err(why)) => {
            let object = serde_json::json!({ "ok": false, "message": why }).to_string();
            writeln!(output, "{}", plain::json(&object))?;
        }
        (Manner::Screen, seen) => screen(&page(seen, View::of_stdout()), page::has_colours(), output)?,
        (Manner::Append, seen) => {
            let text = page(seen, View::of_stdout()).text();
            writeln!(output, "--- {}\n{text}\n", clock::wall())?;
        }
    }
    output.flush()
}

fn page(seen: &Result<Status, String>, view: View) -> Page {
    match seen {
        Ok(status) => status::render(status, view),
        Err(why) => {
            let mut page = Page::new(view);
            page.line(&[page::plain(why)], 2);
            page
        }
    }
}

fn screen(page: &Page, has_colours: bool, output: &mut impl Write) -> io::Result<()> {
    let text = if has_colours { page.painted() } else { page.text() };
    write!(output, "{HOME}")?;
    for line in text.lines().chain(["", "Ctrl-C ends this"]) {
        writeln!(output, "{line}{END_OF_LINE}")?;
    }
    write!(output, "{BELOW}")
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
    fn a_screen_is_written_over_and_json_is_one_line() {
        let seen = Ok(turn("a", 1).status.into());
        let mut drawn = Vec::new();
        screen(
            &page(
                &seen,
                View {
                    width: Some(80),
                    now: 0,
                },
            ),
            true,
            &mut drawn,
        )
        .unwrap();
        let drawn = String::from_utf8(drawn).unwrap();
        assert!(drawn.starts_with(HOME) && drawn.ends_with(BELOW), "{drawn:?}");
        assert!(
            drawn.lines().all(|line| line == BELOW || line.ends_with(END_OF_LINE)),
            "{drawn:?}"
        );
        let mut json = Vec::new();
        draw(Manner::Json, &seen, &mut json).unwrap();
        draw(Manner::Json, &Err("no sidecar".to_owned()), &mut json).unwrap();
        let text = String::from_utf8(json).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(serde_json::from_str::<Status>(lines[0]).unwrap().node, "a");
        assert_eq!(lines[1], r#"{"message":"no sidecar","ok":false}"#);
    }
}
