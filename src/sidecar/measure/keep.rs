//! A thread that sleeps, sees how late it wakes, and writes the file now and then.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::{Measure, day, wall};
use leasehold_base::clock;

/// A pause that is no longer is seen half of the time, and stops nobody.
const TICK: Duration = Duration::from_millis(50);
/// Between two writes of the file.
const WRITE_EVERY: Duration = Duration::from_secs(60);

pub(super) fn start(measure: Measure, state_dir: &Path) {
    match day::load(state_dir) {
        Ok(known) => measure.lock().day = known.unwrap_or_default(),
        Err(error) => tell(&error),
    }
    let dir = state_dir.to_owned();
    let spawned = thread::Builder::new()
        .name("measure".to_owned())
        .spawn(move || watch(&measure, &dir));
    if let Err(error) = spawned {
        tell(&error);
    }
}

/// As long as the process lives. A disk that hangs holds up this thread alone: what it does not see meanwhile is not counted.
fn watch(measure: &Measure, state_dir: &Path) {
    let (mut written, mut has_failed) = (clock::now(), false);
    loop {
        let before = clock::now();
        thread::sleep(TICK);
        let now = clock::now();
        measure.woke(before, now, TICK, wall());
        if now.since(written) < WRITE_EVERY {
            continue;
        }
        written = now;
        let result = measure.write(state_dir);
        let failed_before = std::mem::replace(&mut has_failed, result.is_err());
        if let Some(error) = result.err().filter(|_| !failed_before) {
            tell(&error);
        }
    }
}

pub(super) fn tell(error: &io::Error) {
    tracing::warn!(
        code = "not_measured",
        "what `leasehold check` advises by is incomplete: {error}"
    );
}
