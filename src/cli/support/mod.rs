//! `leasehold support`: one archive for a bug report, without secrets. Every step has a deadline, and one that fails is in the
//! archive as a sentence: it is needed most where something is broken.

mod archive;
mod gather;
mod redact;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::oneshot;

use self::archive::Archive;
use super::answer::Answer;
use super::client::Daemon;
use super::version;
use crate::NodeArgs;

/// What one step may take.
const DEADLINE: Duration = Duration::from_secs(15);
/// What is kept of one step.
const PART_MAX: usize = 4 << 20;

/// What is wanted of it.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Wanted {
    /// Where the archive goes; `-` is stdout
    #[arg(long, value_name = "FILE", default_value = "leasehold-support.tar")]
    to: PathBuf,
    /// How many of the last lines of the sidecar's log are in it, at most 20000
    #[arg(long, value_name = "COUNT", default_value_t = 2000)]
    lines: u32,
}

impl Wanted {
    /// Whether stdout gets the archive itself.
    pub(super) fn is_for_stdout(&self) -> bool {
        self.to == Path::new("-")
    }
}

/// A file of the archive: its text, or why there is none.
type Part = (String, Result<String, String>);

pub(super) async fn write(daemon: &Daemon, facts: &NodeArgs, wanted: &Wanted) -> Result<Answer> {
    let (known, parts) = gather::all(daemon, facts, wanted.lines).await;
    let mut archive = Archive::new();
    let failed: Vec<&str> = parts
        .iter()
        .filter(|(_, part)| part.is_err())
        .map(|(name, _)| name.as_str())
        .collect();
    archive.add("README.txt", &about(&failed))?;
    for (name, part) in &parts {
        let text = match part {
            Ok(text) => text.clone(),
            Err(why) => format!("not to be had: {why}\n"),
        };
        archive.add(name, &bounded(known.taken_out(&text)))?;
    }
    let bytes = archive.end()?;
    let place = wanted.to.display();
    let told = match failed.len() {
        0 => String::new(),
        count => format!(" ({count} of {} parts say why they are missing)", parts.len()),
    };
    if wanted.is_for_stdout() {
        archive::to_stdout(&bytes)?;
        return Ok(Answer::Written(std::process::ExitCode::SUCCESS));
    }
    archive::to_file(&wanted.to, &bytes)
        .with_context(|| format!("writing {place}: name a file that can be written, `leasehold support --to FILE`"))?;
    let text = format!("written: {place}{told}; look through it (`tar -xf {place}`), then attach it to your report");
    Ok(Answer::good(text)
        .with("file", place.to_string())
        .with("missing", failed))
}

fn about(failed: &[&str]) -> String {
    let missing = match failed {
        [] => "nothing".to_owned(),
        names => names.join(", "),
    };
    format!(
        "What `leasehold support` of version {} gathered on one host.\nNot to be had: {missing}.\nTaken out ({}): values of environments \
         and labels, whatever is named like a secret, private keys, passwords in URLs.\nLook through it before you send it.\n",
        version::OWN,
        redact::GONE
    )
}

/// The end of a text that is too long: the latest is what matters.
fn bounded(text: String) -> String {
    let Some(over) = text.len().checked_sub(PART_MAX).filter(|over| *over > 0) else {
        return text;
    };
    let at = (over..text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len());
    format!("[{at} bytes before this are left out]\n{}", &text[at..])
}

/// Does one step in a thread of its own: a file system that hangs holds up nothing but that thread, which ends with the process.
async fn step<T, F>(work: impl FnOnce() -> F + Send + 'static) -> Result<T, String>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    step_within(DEADLINE, work).await
}

async fn step_within<T, F>(deadline: Duration, work: impl FnOnce() -> F + Send + 'static) -> Result<T, String>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
{
    let (told, heard) = oneshot::channel();
    let body = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let done = runtime
            .map_err(anyhow::Error::from)
            .and_then(|runtime| runtime.block_on(work()));
        // Whoever waited may have given up.
        let _ = told.send(done.map_err(|error| format!("{error:#}")));
    };
    let spawned = std::thread::Builder::new().name("support".to_owned()).spawn(body);
    spawned.map_err(|error| error.to_string())?;
    match tokio::time::timeout(deadline, heard).await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) => Err("it ended without a word".to_owned()),
        Err(_) => Err(format!("no answer within {deadline:?}: see `leasehold check`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_step_that_hangs_or_panics_is_a_sentence() {
        let quick = Duration::from_millis(50);
        let hangs = step_within(quick, || async {
            std::thread::sleep(Duration::from_secs(2));
            Ok(())
        });
        assert_eq!(
            hangs.await,
            Err("no answer within 50ms: see `leasehold check`".to_owned())
        );
        let fails = step(|| async { anyhow::bail!("no such thing: see `leasehold check`") as Result<()> });
        assert_eq!(fails.await, Err("no such thing: see `leasehold check`".to_owned()));
        assert_eq!(step(|| async { Ok(7) }).await, Ok(7));
    }

    #[test]
    fn a_text_that_is_too_long_keeps_its_end() {
        assert_eq!(bounded("short".to_owned()), "short");
        let long = format!("{}the end", "ä".repeat(PART_MAX));
        let kept = bounded(long);
        assert!(kept.ends_with("the end") && kept.len() < PART_MAX + 100 && kept.starts_with('['));
    }

    /// Where nothing answers and nothing can be read, there is an archive all the same.
    #[tokio::test]
    async fn what_is_missing_is_said_and_no_secret_is_in_it() {
        use clap::Parser;
        let place = std::env::temp_dir().join(format!("leasehold-support-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let file = |name: &str| place.join(name).display().to_string();
        let key = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIPlantedKey\n-----END PRIVATE KEY-----\n";
        std::fs::write(place.join("tokens"), "admin ann planted-t0ken-0001\n").unwrap();
        std::fs::write(place.join("key.pem"), key).unwrap();
        let compose = "name: lost\nx-leasehold: {cluster: lost, etcd: [\"http://u:planted-url-pw@127.0.0.1:9\"], ttl: 3s, events: \
                       {webhook: \"http://127.0.0.1:9/planted-hook\"}}\nservices:\n  mail:\n    image: mail:1\n    environment: \
                       {DB_PASSWORD: planted-password, MODE: planted-mode}\n    command: [serve, --token, planted-argument]\n\
                       configs: {tls: {content: \"-----BEGIN PRIVATE KEY----- planted-content\"}}\n";
        std::fs::write(place.join("compose.yaml"), compose).unwrap();
        let (run, state, compose) = (file("run"), file("state"), file("compose.yaml"));
        let (tokens, key, engine) = (file("tokens"), file("key.pem"), file("no-engine"));
        let words = [
            "leasehold",
            "--run-dir",
            &run,
            "--state-dir",
            &state,
            "--file",
            &compose,
            "--tokens",
            &tokens,
        ];
        let more = [
            "--tls-cert",
            &key,
            "--tls-key",
            &key,
            "--engine",
            &engine,
            "--node",
            "a",
            "support",
        ];
        let arguments = crate::Arguments::try_parse_from([&words[..], &more[..]].concat()).unwrap();
        let daemon = Daemon::at(arguments.facts.socket());
        let to = place.join("own.tar");
        let answer = write(
            &daemon,
            &arguments.facts,
            &Wanted {
                to: to.clone(),
                lines: 10,
            },
        )
        .await
        .unwrap();
        assert!(answer.is_good(), "{answer:?}");
        let bytes = std::fs::read(&to).unwrap();
        std::fs::remove_dir_all(&place).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for planted in ["planted-", "PlantedKey"] {
            let at = text.find(planted).map(|at| &text[at.saturating_sub(80)..at + 20]);
            assert_eq!(at, None, "{planted} is in the archive");
        }
        for kept in [
            "version.json",
            "not to be had: ",
            "no sidecar answers",
            "DB_PASSWORD",
            "compose/compose.yaml.json",
            "mail:1",
        ] {
            assert!(text.contains(kept), "{kept} is not in the archive");
        }
    }
}
