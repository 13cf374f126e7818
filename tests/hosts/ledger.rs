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
