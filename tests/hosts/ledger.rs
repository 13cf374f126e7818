//! What the service itself wrote on the shared storage, 25 lines a second: `epoch run node boot_id seq boottime_ns`.
//! It tells whether two of its runs ever wrote at the same time.

use std::path::Path;
use std::time::Duration;

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

/// The runs in the order in which they began to write.
///
/// # Panics
/// Where a run wrote again after another had begun, or an epoch came after a higher one.
pub(crate) fn read(file: &Path) -> Vec<Run> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let mut runs: Vec<Run> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [epoch, run, node, _boot, _seq, time] = words[..] else {
            panic!("the ledger has the line {line:?}")
        };
        let epoch = epoch
            .parse()
            .unwrap_or_else(|_| panic!("the ledger has the line {line:?}"));
        let time = Duration::from_nanos(
            time.parse()
                .unwrap_or_else(|_| panic!("the ledger has the line {line:?}")),
        );
        let before = runs
            .iter()
            .position(|known| known.run == run && known.node == node && known.epoch == epoch);
        match before {
            Some(place) if place + 1 == runs.len() => runs[place].last = time,
            Some(place) => panic!(
                "two writers: run {run} on {node} wrote at {time:?}, after {:?} had begun",
                &runs[place + 1..]
            ),
            None => runs.push(Run {
                epoch,
                run: run.to_owned(),
                node: node.to_owned(),
                first: time,
                last: time,
            }),
        }
    }
    runs
}

/// How long two runs wrote at the same time, over all pairs that follow each other.
///
/// # Panics
/// Where an epoch came after a higher one.
pub(crate) fn overlap(runs: &[Run]) -> Duration {
    let mut total = Duration::ZERO;
    for pair in runs.windows(2) {
        assert!(
            pair[0].epoch <= pair[1].epoch,
            "the epochs of the ledger fall: {pair:?}"
        );
        total += pair[0].last.saturating_sub(pair[1].first);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(name: &str, lines: &str) -> Vec<Run> {
        let file = std::env::temp_dir().join(format!("leasehold-ledger-{name}-{}", std::process::id()));
        std::fs::write(&file, lines).unwrap();
        let runs = std::panic::catch_unwind(|| read(&file));
        std::fs::remove_file(&file).unwrap();
        runs.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    #[test]
    fn runs_in_a_row_do_not_overlap() {
        let runs = runs(
            "row",
            "1 1.1 a b 0 10\n1 1.1 a b 1 20\n1 1.2 a b 0 30\n2 2.1 c b 0 31\n",
        );
        assert_eq!(runs.len(), 3);
        assert_eq!(overlap(&runs), Duration::ZERO);
    }

    #[test]
    fn a_line_written_late_shows_by_its_time() {
        let runs = runs("late", "1 1.1 a b 0 10\n1 1.1 a b 1 50\n2 2.1 c b 0 40\n");
        assert_eq!(overlap(&runs), Duration::from_nanos(10));
    }

    #[test]
    #[should_panic(expected = "two writers")]
    fn two_writers_are_found() {
        runs("two", "1 1.1 a b 0 10\n2 2.1 c b 0 20\n1 1.1 a b 1 30\n");
    }

    #[test]
    #[should_panic(expected = "epochs")]
    fn epochs_never_fall() {
        overlap(&runs("epochs", "2 2.1 c b 0 20\n1 1.1 a b 0 30\n"));
    }
}
