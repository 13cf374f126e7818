//! The hard reset of this host, by the kernel's own key: nothing is synced, so that nothing more is written.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What resets: <https://docs.kernel.org/admin-guide/sysrq.html>.
const RESET: &[u8] = b"b";
/// How long the last line may take to reach stderr: a frozen engine holds the pipe, and the reset does not wait for it.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// A host that runs on after this was not reset.
const STILL_HERE: Duration = Duration::from_secs(5);

/// Resets the host, in a thread of its own. `failed` is told when it goes on all the same.
///
/// # Errors
/// No thread could be started.
pub fn order(trigger: PathBuf, why: String, failed: impl FnOnce(String) + Send + 'static) -> io::Result<()> {
    let body = move || {
        let outcome = reset(&trigger, &why);
        if outcome.is_ok() {
            thread::sleep(STILL_HERE);
        }
        let trigger = trigger.display();
        failed(match outcome {
            Ok(()) => format!("it runs on {STILL_HERE:?} after `b` was written to {trigger}"),
            Err(error) => format!("{trigger}: {error}; see `leasehold check`"),
        });
    };
    thread::Builder::new().name("reset".to_owned()).spawn(body).map(drop)
}

fn reset(trigger: &Path, why: &str) -> io::Result<()> {
    // Opened first: a file that can't be written must not leave a line that says otherwise.
    let mut file = std::fs::File::options().write(true).open(trigger)?;
    let (said, heard) = mpsc::channel();
    let line = format!("leasehold: {why} (`b` to {})\n", trigger.display());
    thread::Builder::new().name("last-words".to_owned()).spawn(move || {
        let _ = io::stderr().write_all(line.as_bytes());
        let _ = said.send(());
    })?;
    let _ = heard.recv_timeout(LAST_WORDS);
    file.write_all(RESET)
}

/// Why this host could not be reset.
///
/// # Errors
/// That of opening the file for writing.
pub fn possible(trigger: &Path) -> Result<(), String> {
    let open = std::fs::File::options().write(true).open(trigger);
    open.map(drop)
        .map_err(|error| format!("{}: {error}", trigger.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(trigger: &Path) -> mpsc::Receiver<String> {
        let (tell, told) = mpsc::channel();
        order(
            trigger.to_path_buf(),
            "run 1.1 of mail can't be stopped".into(),
            move |why| {
                tell.send(why).unwrap();
            },
        )
        .unwrap();
        told
    }

    #[test]
    fn the_key_is_written_and_a_host_that_goes_on_is_reported() {
        let trigger = std::env::temp_dir().join(format!("leasehold-sysrq-{}", std::process::id()));
        std::fs::write(&trigger, "").unwrap();
        let why = ordered(&trigger).recv_timeout(STILL_HERE * 2).unwrap();
        let written = std::fs::read(&trigger).unwrap();
        std::fs::remove_file(&trigger).unwrap();
        assert_eq!(written, b"b");
        assert!(why.contains("runs on"), "{why}");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_reported_at_once() {
        let nowhere = Path::new("/nonexistent/sysrq-trigger");
        let why = ordered(nowhere).recv_timeout(Duration::from_secs(2)).unwrap();
        assert!(why.starts_with("/nonexistent/sysrq-trigger: "), "{why}");
        assert!(possible(nowhere).is_err());
    }
}
