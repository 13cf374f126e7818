//! Claims that a standby's helper has watched while their holder was silent: a start need not watch them once more.
//!
//! The helper prints them, the sidecar lays them where the tether finds them. A keeper that finds the very same bytes on the
//! storage knows that nobody has written there since: each beat of a holder changes them.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::time::Time;

/// Its name in the directory that the sidecar shares with the container.
pub const FILE: &str = "watched";

/// The file is no longer than this.
pub const BYTES_MAX: u64 = 64 * 1024;

/// A foreign claim that stands still for this long is dead: two beats, and a little for storage that is slow.
pub const WATCH: Duration = Duration::from_millis(450);

/// What was seen longer ago says nothing: a storage may have been put back to an earlier state since, under a living holder.
const AGE_MAX: Duration = Duration::from_secs(30);

/// Begins each line.
const WORD: &str = "watched";

/// A claim, and since when it is known to stand as it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Of its file, as the container sees it.
    pub path: PathBuf,
    /// The checksum of its bytes.
    pub sum: u64,
    /// The raw clock, awake, right after it was read first.
    pub since: Duration,
}

impl Watched {
    /// Its line.
    #[must_use]
    pub fn line(&self) -> String {
        let path: String = self.path.as_os_str().as_bytes().iter().map(hex).collect();
        format!("{WORD} {} {:016x} {path}\n", self.since.as_nanos(), self.sum)
    }

    /// Whether these bytes have stood there for long enough by now, as far as this was seen.
    #[must_use]
    pub fn shows(&self, path: &Path, sum: u64, now: Time) -> bool {
        let stood = now.awake().saturating_sub(self.since);
        self.path == path && self.sum == sum && (WATCH..=AGE_MAX).contains(&stood)
    }
}

/// The lines of a text; what is no such line is left out.
pub fn read(text: &str) -> impl Iterator<Item = Watched> {
    text.lines().filter_map(parse)
}

fn parse(line: &str) -> Option<Watched> {
    let mut words = line.split(' ');
    let mut next = || words.next();
    if next()? != WORD {
        return None;
    }
    let since = Duration::from_nanos(next()?.parse().ok()?);
    let sum = u64::from_str_radix(next()?, 16).ok()?;
    let digits = next()?;
    let bytes: Option<Vec<u8>> = digits
        .is_ascii()
        .then(|| digits.as_bytes().chunks(2))?
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    let path = PathBuf::from(std::ffi::OsString::from_vec(bytes?));
    next().is_none().then_some(Watched { path, sum, since })
}

fn hex(byte: &u8) -> String {
    format!("{byte:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim() -> Watched {
        Watched {
            path: PathBuf::from("/srv/a b/.leasehold-claim"),
            sum: 0xfeed,
            since: Duration::from_millis(1000),
        }
    }

    fn at(ms: u64) -> Time {
        Time::default().plus(Duration::from_millis(ms))
    }

    #[test]
    fn what_is_written_is_read() {
        let other = Watched { sum: 7, ..claim() };
        let text = format!("noise\n{}{}watched 1 2\nwatched x 1 2f\n", claim().line(), other.line());
        assert_eq!(read(&text).collect::<Vec<_>>(), [claim(), other]);
    }

    #[test]
    fn only_the_same_bytes_at_the_same_place_count_and_only_after_two_beats() {
        let (seen, path) = (claim(), claim().path);
        assert!(seen.shows(&path, 0xfeed, at(1450)));
        assert!(!seen.shows(&path, 0xfeed, at(1449)), "too soon");
        assert!(!seen.shows(&path, 0xfeee, at(1450)), "somebody wrote");
        assert!(!seen.shows(Path::new("/srv/b"), 0xfeed, at(1450)), "another claim");
        assert!(seen.shows(&path, 0xfeed, at(31_000)));
        assert!(!seen.shows(&path, 0xfeed, at(31_001)), "too long ago");
        assert!(!seen.shows(&path, 0xfeed, at(0)), "another boot");
        let mut slept = at(1450);
        slept.slept = Duration::from_millis(10);
        assert!(!seen.shows(&path, 0xfeed, slept), "a suspend counts for nothing");
    }
}
