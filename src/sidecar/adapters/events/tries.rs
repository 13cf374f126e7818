//! What every delivery over the network has: its tries, and the one word about a receiver that is down.

use std::path::Path;
use std::time::Duration;

use leasehold_base::small_file;

/// Why a try failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// Another try may go better.
    Passing(String),
    /// The receiver does not want this one.
    Refused(String),
}

/// Tries until it is taken, refused, or no pause is left; why it was not taken.
pub(super) async fn with_tries<T: Future<Output = Result<(), Failure>>>(
    pauses: &[Duration],
    one_try: impl Fn() -> T,
) -> Result<(), String> {
    let mut pauses = pauses.iter();
    loop {
        let why = match one_try().await {
            Ok(()) => return Ok(()),
            Err(Failure::Refused(why)) => return Err(why),
            Err(Failure::Passing(why)) => why,
        };
        match pauses.next() {
            Some(pause) => tokio::time::sleep(*pause).await,
            None => return Err(why),
        }
    }
}

/// Whether a receiver is down, which is said once: the metric counts the others.
#[derive(Debug, Default)]
pub(super) struct Down(bool);

impl Down {
    /// True where it was not known.
    pub(super) fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.0, true)
    }

    /// True where it was down.
    pub(super) fn ends(&mut self) -> bool {
        std::mem::take(&mut self.0)
    }
}

/// What a file of one line holds; `key` names it in a fault.
pub(super) fn first_line(key: &str, path: &Path) -> Result<String, String> {
    let text =
        small_file::read_text(path, small_file::MAX).map_err(|error| format!("{key}: {}: {error}", path.display()))?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return Err(format!("{key}: {} is empty: write its one line", path.display()));
    }
    Ok(line.to_owned())
}
