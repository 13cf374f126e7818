//! What the service itself wrote on the shared storage, 100 lines a second: `epoch run node boot_id seq boottime_ns`.
//! It tells whether two of its runs ever wrote at the same time, and for how long.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two lines of the ledger.
const PERIOD: Duration = Duration::from_millis(10);
/// Lines further apart than this are not one stretch of writing: the writer was frozen in between.
const STRETCH: Duration = Duration::from_millis(100);

/// One run of the service.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) epoch: u64,
    pub(crate) run: String,
    pub(crate) node: String,
    pub(crate) first: Duration,
    pub(crate) last: Duration,
}

impl Run {
    pub(crate) fn is(&self, other: &Self) -> bool {
        (self.epoch, &self.run, &self.node) == (other.epoch, &other.run, &other.node)
    }
}

/// A stretch of time in which a run wrote although a later one had begun.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    pub(crate) who: Run,
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    pub(crate) lines: usize,
}

impl Late {
    /// Each line stands for its period.
    pub(crate) fn length(&self) -> Duration {
        self.to.saturating_sub(self.from) + PERIOD
    }
}

/// The file, as far as it was read.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: PathBuf,
    offset: u64,
    /// The latest time of any line so far: the order of the lines tells more than a stamp that was taken before a wait.
    latest: Duration,
    /// In the order in which they began to write.
    pub(crate) runs: Vec<Run>,
    /// Every stretch with two writers.
    pub(crate) late: Vec<Late>,
    /// Epochs that came after a higher one.
    pub(crate) fallen: Vec<Run>,
    /// Lines cut off by a kill or a full disk.
    pub(crate) torn: usize,
}

impl Ledger {
    pub(crate) fn new(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            offset: 0,
            latest: Duration::ZERO,
            runs: Vec::new(),
            late: Vec::new(),
            fallen: Vec::new(),
            torn: 0,
        }
    }

    /// Reads what was written since.
    pub(crate) fn update(&mut self) {
        let Ok(mut file) = File::open(&self.file) else {
            return;
        };
        if file.seek(SeekFrom::Start(self.offset)).is_err() {
            return;
        }
        let mut reader = BufReader::new(file);
        let mut line = String::new();
        loop {
            line.clear();
            match reader.read_line(&mut line) {
                Ok(length) if length > 0 && line.ends_with('\n') => {
                    self.offset += length as u64;
                    self.take(line.trim_end());
                }
                Ok(_) | Err(_) => return,
            }
        }
    }

    fn take(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let fields = match words[..] {
            [epoch, run, node, _boot, _seq, time] => epoch
                .parse()
                .ok()
                .zip(time.parse().ok())
                .map(|(epoch, time): (u64, u64)| (epoch, run, node, Duration::from_nanos(time))),
            _ => None,
        };
        let Some((epoch, run, node, time)) = fields else {
            self.torn += 1;
            return;
        };
        let of = |known: &Run| known.run == run && known.node == node && known.epoch == epoch;
        match self.runs.iter().rposition(of) {
            Some(place) if place + 1 == self.runs.len() => {
                self.runs[place].last = self.runs[place].last.max(time);
            }
            Some(place) => self.note_late(place, time.max(self.latest)),
            None => {
                let run = Run {
                    epoch,
                    run: run.to_owned(),
                    node: node.to_owned(),
                    first: time,
                    last: time,
                };
                self.begin(run);
            }
        }
        self.latest = self.latest.max(time);
    }

    fn begin(&mut self, run: Run) {
        if let Some(before) = self.runs.last() {
            if before.epoch > run.epoch {
                self.fallen.push(run.clone());
            }
            // Its line came into the file after all of the other run, but its stamp lies before them.
            if before.last > run.first {
                self.late.push(Late {
                    who: before.clone(),
                    from: run.first,
                    to: before.last,
                    lines: 1,
                });
            }
        }
        self.runs.push(run);
    }

    fn note_late(&mut self, place: usize, at: Duration) {
        let who = self.runs[place].clone();
        match self.late.last_mut() {
            Some(late) if late.who.is(&who) && at.saturating_sub(late.to) < STRETCH => {
                late.to = late.to.max(at);
                late.lines += 1;
            }
            Some(_) | None => self.late.push(Late {
                who,
                from: at,
                to: at,
                lines: 1,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(name: &str, lines: &str) -> Ledger {
        let file = std::env::temp_dir().join(format!("leasehold-ledger-{name}-{}", std::process::id()));
        std::fs::write(&file, lines).unwrap();
        let mut ledger = Ledger::new(&file);
        ledger.update();
        std::fs::remove_file(&file).unwrap();
        ledger
    }

    fn two_writers(ledger: &Ledger) -> Duration {
        ledger.late.iter().map(Late::length).sum()
    }

    #[test]
    fn runs_in_a_row_do_not_overlap() {
        let ledger = ledger(
            "row",
            "1 1.1 a b 0 10\n1 1.1 a b 1 20\n1 1.2 a b 0 30\n2 2.1 c b 0 31\n",
        );
        assert_eq!(ledger.runs.len(), 3);
        assert!(ledger.late.is_empty() && ledger.fallen.is_empty());
    }

    #[test]
    fn a_line_written_late_shows_by_its_time() {
        let ledger = ledger("late", "1 1.1 a b 0 10\n1 1.1 a b 1 50\n2 2.1 c b 0 40\n");
        assert_eq!(two_writers(&ledger), Duration::from_nanos(10) + PERIOD);
    }

    #[test]
    fn two_writers_are_found_even_with_one_line() {
        let ledger = ledger(
            "two",
            "1 1.1 a b 0 10\n2 2.1 c b 0 20\n1 1.1 a b 1 15\n2 2.1 c b 0 40\n",
        );
        assert_eq!(two_writers(&ledger), PERIOD);
    }

    #[test]
    fn a_frozen_writer_counts_while_it_writes() {
        // Frozen at 10 ms, the other begins at 5 s, thawed at 9 s for 20 ms.
        let lines: [(u64, u64); 8] = [
            (1, 10),
            (2, 5_000),
            (2, 9_000),
            (1, 9_001),
            (2, 9_010),
            (1, 9_011),
            (1, 9_021),
            (2, 9_030),
        ];
        let text = lines
            .map(|(epoch, ms)| format!("{epoch} {epoch}.1 n{epoch} b 0 {}\n", ms * 1_000_000))
            .concat();
        let ledger = ledger("thaw", &text);
        assert_eq!(ledger.late.len(), 1, "{:?}", ledger.late);
        assert_eq!(two_writers(&ledger), Duration::from_millis(30));
        assert_eq!(ledger.late[0].lines, 3);
    }

    #[test]
    fn epochs_that_fall_are_found() {
        assert_eq!(ledger("epochs", "2 2.1 c b 0 20\n1 1.1 a b 0 30\n").fallen.len(), 1);
    }

    #[test]
    fn a_torn_line_is_counted_and_an_unfinished_one_waited_for() {
        let ledger = ledger("torn", "1 1.1 a b 0 10\n1 1.\n1 1.1 a b 2 30\n1 1.1 a");
        assert_eq!((ledger.torn, ledger.runs.len()), (1, 1));
        assert_eq!(ledger.runs[0].last, Duration::from_nanos(30));
    }
}
